"""Writes a network as MINDIR, ONNX or AIR, checks what was written, and puts its contract beside it."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glorext.runtime import ExportError, UsageError, atomic_path, get_logger, set_device, version

from . import mindir
from .artifact import Artifact, Port, write_artifact
from .source import Source, add_source_arguments, chosen_source

logger = get_logger("deploy")
GOLDEN_INPUT, GOLDEN_LOGITS = "golden_input.npy", "golden_logits.npy"
GOLDEN_COUNT = 4
# Reading a file back and running it repeats float32 sums in another order; logits of order 1 to 100 move by less.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Format:
    """One export format: its file suffix, whether the batch may stay open, and the device it needs."""

    suffix: str
    dynamic_batch: bool
    device: str | None = None


EXPORTS = {
    "mindir": Format(".mindir", dynamic_batch=True),
    "onnx": Format(".onnx", dynamic_batch=True),
    "air": Format(".air", dynamic_batch=False, device="Ascend"),
}


def check_request(formats: list[str], batch: str | int, device: str) -> int:
    """The batch as a number, -1 for dynamic; refuses what cannot be written before any work starts.

    Raises:
        UsageError: an unknown format, an impossible batch, or a format that this device cannot write.
    """
    for name in formats:
        if name not in EXPORTS:
            raise UsageError(expected=f"formats out of {', '.join(EXPORTS)}", found=name, where="--format")
    try:
        number = -1 if batch == "dynamic" else int(batch)
    except ValueError:
        number = 0
    if number == 0 or number < -1:
        raise UsageError(expected="a positive number or 'dynamic'", found=repr(batch), where="--batch")
    for name in formats:
        if number == -1 and not EXPORTS[name].dynamic_batch:
            raise UsageError(f"{name} cannot hold a dynamic batch", do="Give a number with --batch.")
        if EXPORTS[name].device not in (None, device):
            raise UsageError(f"MindSpore writes {name} only on {EXPORTS[name].device}, and this is {device}",
                             do="Run the export there, or choose mindir: `glorext convert` makes the Ascend model of it.")
    return number


def export(source: Source, out: Path, formats=("mindir", "onnx"), batch: str | int = "dynamic",
           device: str = "CPU") -> list[Artifact]:
    """Write `source` into `out` in each of `formats`, each file verified before it gets its name.

    Also writes golden_input.npy (4, 3, H, W) and golden_logits.npy (4, classes), float32: what the network itself
    computes on seeded noise, for every later step to be compared with.

    Raises:
        UsageError: an impossible request (see `check_request`).
        ExportError: a written file does not compute the network's logits.
    """
    number = check_request(list(formats), batch, device)
    import mindspore as ms
    out = Path(out)
    size = source.input_spec.size
    golden = np.random.default_rng(0).standard_normal((GOLDEN_COUNT, 3, size, size)).astype(np.float32)
    net = source.create()
    # The weights are looked at as well: MindSpore's ReLU on CPU turns NaN into 0, so the logits alone can look sane.
    broken = [parameter.name for parameter in net.get_parameters() if not np.isfinite(parameter.asnumpy()).all()]
    logits = net(ms.Tensor(golden)).asnumpy().astype(np.float32)
    if broken or not np.isfinite(logits).all():
        raise ExportError(expected="finite weights and logits", where=source.checkpoint,
                          found=f"NaN or Inf in {broken[0] if broken else 'the logits'}",
                          do="Look at it with `glorext lint`; do not deploy it.")
    for name, array in ((GOLDEN_INPUT, golden), (GOLDEN_LOGITS, logits)):
        with atomic_path(out / name) as temporary:
            np.save(temporary, array)
    return [_export_one(source, out, name, number, golden, logits) for name in formats]


def _export_one(source: Source, out: Path, name: str, batch: int, golden, logits) -> Artifact:
    import mindspore as ms
    final = out / f"{source.name}{EXPORTS[name].suffix}"
    shape = (batch, 3, source.input_spec.size, source.input_spec.size)
    # A network exports to ONNX only once per instance, so each file comes from a fresh one.
    net = source.create()
    with atomic_path(final) as temporary:
        temporary.unlink()
        if name == "onnx":
            sample = ms.Tensor(np.zeros((max(batch, 1), *shape[1:]), np.float32))
            axes = {"image": {0: "N"}} if batch == -1 else None
            ms.onnx.export(net, sample, file_name=str(temporary), input_names=["image"], output_names=["logits"],
                           dynamic_axes=axes)
        else:
            sample = ms.Tensor(shape=[None, *shape[1:]], dtype=ms.float32) if batch == -1 else \
                ms.Tensor(np.zeros(shape, np.float32))
            ms.export(net, sample, file_name=str(temporary), file_format=name.upper())
        if not temporary.is_file():
            raise ExportError(expected=f"a {name} file", found="none written by MindSpore", where=temporary)
        temporary.chmod(0o644)
        if name == "mindir":
            mindir.name_ports(temporary, "image", "logits")
        _verify(name, temporary, golden if batch == -1 else golden[:1].repeat(batch, 0),
                logits if batch == -1 else logits[:1].repeat(batch, 0))
    artifact = write_artifact(
        final, format=name, name=source.name, weights_sha256=source.weights_sha256, source=None,
        input=Port("image", "float32", shape, "NCHW"), output=Port("logits", "float32", (batch, logits.shape[1])),
        input_spec=source.input_spec, labels=source.labels,
        versions={"glorext": version(), "mindspore": ms.__version__})
    logger.info("wrote %s (%.1f MB)", final, artifact.size / 1e6)
    return artifact


def _verify(name: str, path: Path, golden, expected) -> None:
    found = run_exported(name, path, golden)
    if found is None:
        return
    if found.shape != expected.shape:
        raise ExportError(expected=f"logits of shape {expected.shape}", found=found.shape, where=path)
    worst = float(np.abs(found - expected).max())
    limit = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not worst <= limit:
        raise ExportError(expected=f"the network's logits to {limit:.1e}", found=f"a difference of {worst:.1e}",
                          where=f"the written {name}", do="Report it: the file was not kept.")
    logger.info("%s read back: logits differ from the network's by at most %.1e", name, worst)


def run_exported(name: str, path: Path, batch) -> np.ndarray | None:
    """Logits of an exported file for `batch` (N, 3, H, W) float32, by a reader other than the writer where there is one.

    MINDIR runs in MindSpore, ONNX in onnxruntime. None, with a warning, when the reader is not installed or the
    format runs nowhere but on its device.
    """
    if name == "mindir":
        import mindspore as ms
        return ms.nn.GraphCell(ms.load(str(path)))(ms.Tensor(batch)).asnumpy()
    if name == "onnx":
        try:
            import onnxruntime
        except ImportError:
            logger.warning("the ONNX file was not read back: onnxruntime is not installed (pip install onnxruntime)")
            return None
        options = onnxruntime.SessionOptions()
        # MindSpore names the open batch axis of the input only; onnxruntime warns of the output's at every other batch.
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return session.run(["logits"], {"image": batch})[0]
    logger.warning("the %s file was not read back: it runs only on its device", name)
    return None


def main(argv: list[str]) -> int:
    """`glorext export`."""
    from glorext.runtime.cli import parser
    arguments = parser("export", "Write a network as MINDIR or ONNX, with its contract and golden inputs beside it.",
                       "glorext export resnext50-digits --format mindir,onnx --out exported/")
    add_source_arguments(arguments)
    arguments.add_argument("--out", required=True, type=Path, help="folder for the files")
    arguments.add_argument("--format", default="mindir,onnx", help=f"comma list of {', '.join(EXPORTS)}")
    arguments.add_argument("--batch", default="dynamic", help="a number, or dynamic (default)")
    arguments.add_argument("--device_target", default="CPU", help="CPU (default), GPU or Ascend")
    options = arguments.parse_args(argv)
    formats = [name.strip().lower() for name in options.format.split(",")]
    device = {"cpu": "CPU", "gpu": "GPU", "ascend": "Ascend"}.get(options.device_target.lower(), options.device_target)
    check_request(formats, options.batch, device)
    device = set_device(device)
    for artifact in export(chosen_source(options), options.out, formats, options.batch, device):
        print(options.out / artifact.file)
    return 0
