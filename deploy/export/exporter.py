"""Writes a network as MINDIR, ONNX or AIR, checks what was written, and puts its contract beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from glorext.deploy.contract.artifact import Artifact, Port, write_artifact
from glorext.deploy.export import mindir
from glorext.deploy.export.onnx_file import open_output_batch
from glorext.deploy.source import Source, add_source_arguments, resolve
from glorext.models.preprocess import normalize
from glorext.runtime import ExportError, UsageError, atomic_path, get_logger, set_device, version

logger = get_logger("deploy")
GOLDEN_COUNT = 4
# Reading a file back and running it repeats float32 sums in another order; logits of order 1 to 100 move by less.
TOLERANCE = 1e-4
DEVICES = {"cpu": "CPU", "gpu": "GPU", "ascend": "Ascend"}
WIDTHS = {"fp32": "float32", "fp16": "float16"}
INT8 = (
    "int8 is not offered: MindSpore Lite 2.0.0 converts these networks to int8, but its runtime cannot build the result "
    '(docs/deploying.md, "int8")'
)


@dataclass(frozen=True)
class Format:
    """One export format and what it allows.

    Attributes:
        suffix: of its files.
        dynamic_batch: the batch may stay open.
        fp16: kernels and matrices may be stored in float16.
        pixels: the normalization may be folded in.
        device: the only device that writes it, None for any.
    """

    suffix: str
    dynamic_batch: bool = True
    fp16: bool = True
    pixels: bool = True
    device: str | None = None


EXPORTS = {
    "mindir": Format(".mindir"),
    "onnx": Format(".onnx"),
    # atc sets the precision of what it makes of an AIR, and AIPP its normalization; neither could be run here.
    "air": Format(".air", dynamic_batch=False, fp16=False, pixels=False, device="Ascend"),
}


@dataclass(frozen=True)
class Variant:
    """What is exported of a network.

    Attributes:
        precision: "fp32", or "fp16": kernels and matrices are stored in half precision and computed with in float32.
        softmax: give probabilities instead of logits.
        pixels: type of the pixels 0 to 255 that the model takes and normalizes itself, "uint8" or "float32"; None: it
            takes normalized input.
        layout: of the pixels, "NCHW" or "NHWC".
    """

    precision: str = "fp32"
    softmax: bool = False
    pixels: str | None = None
    layout: str = "NCHW"

    @property
    def suffix(self) -> str:
        """What the file's name says of it, empty for the plain network."""
        words = [
            self.pixels and f"{self.pixels}{'_nhwc' * (self.layout == 'NHWC')}",
            self.softmax and "softmax",
            self.precision == "fp16" and "fp16",
        ]
        return "".join(f"_{word}" for word in words if word)


def check_request(
    formats: list[str], batch: str | int | None, device: str, variant: Variant = Variant()
) -> dict[str, int]:
    """The batch of each format, -1 for an open one; refuses what cannot be written before any work starts.

    Args:
        batch: a number, "dynamic", or None: open where the format allows it, else 1.

    Raises:
        UsageError: an unknown format or value, or a combination that a format does not allow.
    """
    for name in formats:
        if name not in EXPORTS:
            raise UsageError(expected=f"formats out of {', '.join(EXPORTS)}", found=name, where="--format")
    try:
        number = -1 if batch in ("dynamic", None) else int(batch)
    except ValueError:
        number = 0
    if number == 0 or number < -1:
        raise UsageError(expected="a positive number or 'dynamic'", found=repr(batch), where="--batch")
    _check_variant(variant)
    for name in formats:
        allowed = EXPORTS[name]
        for wanted, possible, what, do in (
            (batch == "dynamic", allowed.dynamic_batch, "a dynamic batch", "Give a number with --batch."),
            (
                variant.precision == "fp16",
                allowed.fp16,
                "float16 weights",
                "Leave out --precision: atc has its own --precision_mode.",
            ),
            (
                variant.pixels,
                allowed.pixels,
                "a folded normalization",
                "Leave out --pixels: AIPP normalizes on the card.",
            ),
        ):
            if wanted and not possible:
                raise UsageError(f"{name} cannot hold {what}", do=do)
        if allowed.device not in (None, device):
            raise UsageError(
                f"MindSpore writes {name} only on {allowed.device}, and this is {device}",
                do="Run the export there, or choose mindir: `glorext convert` makes the Ascend model of it.",
            )
    return {name: -1 if number == -1 and EXPORTS[name].dynamic_batch else max(number, 1) for name in formats}


def _check_variant(variant: Variant) -> None:
    if variant.precision == "int8":
        raise UsageError(INT8, do="Choose fp32 or fp16.")
    for flag, value, choices in (
        ("--precision", variant.precision, (*WIDTHS,)),
        ("--pixels", variant.pixels, (None, "uint8", "float32")),
        ("--layout", variant.layout, ("NCHW", "NHWC")),
    ):
        if value not in choices:
            raise UsageError(expected=" or ".join(filter(None, choices)), found=repr(value), where=flag)
    if variant.layout != "NCHW" and not variant.pixels:
        raise UsageError(
            "--layout is the order of pixels, and normalized input is always NCHW", do="Add --pixels uint8."
        )


def golden_paths(folder: Path, stem: str) -> tuple[Path, Path]:
    """Where the golden inputs and outputs stand of the models that are called `stem`, in whatever format."""
    return tuple(Path(folder) / f"{stem}_golden_{what}.npy" for what in ("input", "output"))


def golden_pixels(size: int) -> np.ndarray:
    """Seeded pictures, uint8 (4, size, size, 3): coloured fields with noise, so that they differ in the large as well."""
    generator = np.random.default_rng(0)
    fields = generator.integers(0, 226, (GOLDEN_COUNT, 8, 8, 3))
    place = np.arange(size) * 8 // size
    return (fields[:, place][:, :, place] + generator.integers(0, 30, (GOLDEN_COUNT, size, size, 3))).astype(np.uint8)


def allowed_difference(expected: np.ndarray, output: str, tolerance: float) -> float:
    """How far outputs may lie from `expected`: logits `tolerance` times the largest, at least 1.

    Probabilities move as far, relative to themselves, as logits of order 10 do absolutely.
    """
    largest = float(np.abs(expected).max())
    return 10 * tolerance * largest if output == "probabilities" else tolerance * max(1.0, largest)


def network(source: Source, variant: Variant):
    """The network of `source` as `variant` wants it, in evaluation mode: what is exported."""
    net = source.create()
    if variant == Variant():
        return net
    from glorext.deploy.export.deployed_network import Deployed, store_in_float16

    if variant.precision == "fp16":
        store_in_float16(net)
    return Deployed(net, source.input_spec if variant.pixels else None, variant.layout, variant.softmax).set_train(
        False
    )


def export(
    source: Source,
    out: Path,
    formats=("mindir", "onnx"),
    batch: str | int | None = None,
    device: str = "CPU",
    variant: Variant = Variant(),
    file_name: str | None = None,
) -> list[Artifact]:
    """Write `source` into `out` in each of `formats`, each file verified before it gets its name.

    Also writes what `golden_paths` names: inputs (4, 3, H, W) of the type the model takes, and what the network itself
    computes for them, float32 (4, classes), for every later step to be compared with.

    Args:
        batch: a number, "dynamic", or None: open where the format allows it, else 1.
        file_name: of the files, without ending; the model's name and variant by default.

    Raises:
        UsageError: an impossible request (see `check_request`).
        ExportError: the network gives no finite answer, or a written file does not compute its answers.
    """
    batches = check_request(list(formats), batch, device, variant)
    out, pixels = Path(out), golden_pixels(source.input_spec.size)
    golden = (
        pixels.transpose(0, 3, 1, 2).astype(variant.pixels)
        if variant.pixels
        else np.stack([normalize(one, source.input_spec) for one in pixels])
    )
    net = network(source, variant)
    outputs = _outputs(net, golden, variant)
    # The weights are looked at as well: MindSpore's ReLU on CPU turns NaN into 0, so the outputs alone can look sane.
    broken = [parameter.name for parameter in net.get_parameters() if not np.isfinite(parameter.asnumpy()).all()]
    if broken or not np.isfinite(outputs).all():
        raise ExportError(
            expected="finite weights and outputs",
            where=source.checkpoint,
            found=f"NaN or Inf in {broken[0] if broken else 'the outputs'}",
            do="Look at it with `glorext lint`; do not deploy it.",
        )
    stem = file_name or f"{source.name}{variant.suffix}"
    for path, array in zip(golden_paths(out, stem), (golden, outputs)):
        with atomic_path(path) as temporary:
            np.save(temporary, array)
    deviation = (
        _deviation(outputs, _outputs(network(source, replace(variant, precision="fp32")), golden, variant))
        if variant.precision == "fp16"
        else None
    )
    return [
        _export_one(source, out / stem, name, batches[name], golden, outputs, variant, deviation) for name in formats
    ]


def _outputs(net, golden: np.ndarray, variant: Variant) -> np.ndarray:
    import mindspore as ms

    return net(ms.Tensor(_laid_out(golden, variant.layout))).asnumpy().astype(np.float32)


def _laid_out(batch: np.ndarray, layout: str) -> np.ndarray:
    """(N, 3, H, W) in the order of axes that a model takes."""
    return np.ascontiguousarray(batch.transpose(0, 2, 3, 1)) if layout == "NHWC" else batch


def _deviation(found: np.ndarray, expected: np.ndarray) -> dict:
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    values = {
        "max_difference": float(np.abs(found - expected).max()),
        "cosine": float(((found * expected).sum(1) / np.maximum(norms, 1e-30)).min()),
    }
    logger.info(
        "float16 weights move the outputs by at most %(max_difference).1e, smallest cosine %(cosine).7f", values
    )
    return values


def _export_one(
    source: Source, stem: Path, name: str, batch: int, golden, outputs, variant: Variant, deviation: dict | None
) -> Artifact:
    import mindspore as ms

    final = stem.with_name(f"{stem.name}{EXPORTS[name].suffix}")
    size = source.input_spec.size
    picture = (size, size, 3) if variant.layout == "NHWC" else (3, size, size)
    port = Port(
        "image",
        variant.pixels or "float32",
        (batch, *picture),
        variant.layout,
        "pixels" if variant.pixels else "normalized",
    )
    answer = Port("probabilities" if variant.softmax else "logits", "float32", (batch, outputs.shape[1]))
    with atomic_path(final) as temporary:
        temporary.unlink()
        # A network exports to ONNX only once per instance, so each file comes from a fresh one.
        _write(network(source, variant), name, temporary, port, answer)
        if not temporary.is_file():
            raise ExportError(expected=f"a {name} file", found="none written by MindSpore", where=temporary)
        temporary.chmod(0o644)
        if name == "mindir":
            mindir.name_ports(temporary, port.name, answer.name)
        if name == "onnx" and batch == -1:
            open_output_batch(temporary, "N")
        _verify(
            name,
            temporary,
            golden if batch == -1 else golden[:1].repeat(batch, 0),
            outputs if batch == -1 else outputs[:1].repeat(batch, 0),
            port.layout,
            answer.name,
        )
    artifact = write_artifact(
        final,
        format=name,
        name=source.name,
        weights_sha256=source.weights_sha256,
        source=None,
        input=port,
        output=answer,
        input_spec=source.input_spec,
        labels=source.labels,
        weights_dtype=WIDTHS[variant.precision],
        deviation=deviation,
        versions={"glorext": version(), "mindspore": ms.__version__},
    )
    logger.info("wrote %s (%.1f MB)", final, artifact.size / 1e6)
    return artifact


def _write(net, name: str, path: Path, port: Port, answer: Port) -> None:
    import mindspore as ms

    dtype, (batch, *picture) = getattr(ms, port.dtype), port.shape
    if name == "onnx":
        axes = {port.name: {0: "N"}} if batch == -1 else None
        ms.onnx.export(
            net,
            ms.Tensor(np.zeros((max(batch, 1), *picture)), dtype),
            file_name=str(path),
            input_names=[port.name],
            output_names=[answer.name],
            dynamic_axes=axes,
        )
        return
    sample = ms.Tensor(shape=[None, *picture], dtype=dtype) if batch == -1 else ms.Tensor(np.zeros(port.shape), dtype)
    ms.export(net, sample, file_name=str(path), file_format=name.upper())


def _verify(name: str, path: Path, golden, expected, layout: str, output: str) -> None:
    found = run_exported(name, path, golden, layout)
    if found is None:
        return
    if found.shape != expected.shape:
        raise ExportError(expected=f"{output} of shape {expected.shape}", found=found.shape, where=path)
    worst, limit = float(np.abs(found - expected).max()), allowed_difference(expected, output, TOLERANCE)
    if not worst <= limit:
        raise ExportError(
            expected=f"the network's {output} to {limit:.1e}",
            found=f"a difference of {worst:.1e}",
            where=f"the written {name}",
            do="Report it: the file was not kept.",
        )
    logger.info("%s read back: %s differ from the network's by at most %.1e", name, output, worst)


def run_exported(name: str, path: Path, batch, layout: str = "NCHW") -> np.ndarray | None:
    """Outputs of an exported file for `batch` (N, 3, H, W), by a reader other than the writer where there is one.

    MINDIR runs in MindSpore, ONNX in onnxruntime. None, with a warning, when the reader is not installed or the
    format runs nowhere but on its device. `batch` has the type that the model takes, `layout` is the model's.
    """
    batch = _laid_out(batch, layout)
    if name == "mindir":
        import mindspore as ms

        return ms.nn.GraphCell(ms.load(str(path)))(ms.Tensor(batch)).asnumpy()
    if name == "onnx":
        try:
            import onnxruntime
        except ImportError:
            logger.warning("the ONNX file was not read back: onnxruntime is not installed (pip install onnxruntime)")
            return None
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return session.run(None, {"image": batch})[0]
    logger.warning("the %s file was not read back: it runs only on its device", name)
    return None


def add_variant_arguments(parser) -> None:
    """Give a command's parser what says which variant of a network is exported; `chosen_variant` reads it."""
    parser.add_argument("--precision", default="fp32", help="fp32, or fp16: weights stored in half precision")
    parser.add_argument("--softmax", action="store_true", help="probabilities instead of logits")
    parser.add_argument("--pixels", help="fold the normalization in: the model takes 0 to 255 as uint8 or float32")
    parser.add_argument("--layout", default="NCHW", help="of the pixels: NCHW (default) or NHWC")


def chosen_variant(options) -> Variant:
    """The variant that a command's parsed arguments name."""
    return Variant(options.precision, options.softmax, options.pixels, options.layout)


def make_parser():
    """The flags of `glorext export`, the published ones among them."""
    from glorext.runtime.cli import parser

    arguments = parser(
        "export",
        "Write a network as MINDIR or ONNX, with its contract and golden inputs beside it.",
        "glorext export resnext50-digits --format mindir,onnx --out exported/",
    )
    add_source_arguments(arguments, optional=True)
    arguments.add_argument("--ckpt_file", metavar="CKPT", help="published spelling of the source")
    arguments.add_argument("--out", type=Path, default=Path(), help="folder for the files (default: this one)")
    arguments.add_argument("--file_name", help="name of the files, without ending (default: the model's)")
    arguments.add_argument(
        "--format", "--file_format", default="mindir,onnx", help=f"comma list of {', '.join(EXPORTS)}, in any case"
    )
    arguments.add_argument("--batch", "--batch_size", help="a number, or dynamic (default, where the format allows it)")
    add_variant_arguments(arguments)
    arguments.add_argument("--width", type=int, help="published; must be the side the network was trained for")
    arguments.add_argument("--height", type=int, help="published; as --width")
    arguments.add_argument("--device_target", default="CPU", help="CPU (default), GPU or Ascend")
    arguments.add_argument("--device_id", type=int, help="which card")
    return arguments


def main(argv: list[str]) -> int:
    """`glorext export` and `python -m glorext.deploy.export.exporter`."""
    options = make_parser().parse_args(argv)
    if (options.source is None) == (options.ckpt_file is None):
        raise UsageError(expected="one model: SOURCE or --ckpt_file CKPT", found="none or two")
    formats = [name.strip().lower() for name in options.format.split(",")]
    device = DEVICES.get(options.device_target.lower(), options.device_target)
    variant = chosen_variant(options)
    check_request(formats, options.batch, device, variant)
    source = resolve(options.source or options.ckpt_file, options.network, options.registry)
    size = source.input_spec.size
    for flag in ("width", "height"):
        if getattr(options, flag) not in (None, size):
            raise UsageError(
                expected=f"{size}, the side that {source.name} was trained for",
                found=getattr(options, flag),
                where=f"--{flag}",
                do="Leave it out: the preprocessing belongs to that size.",
            )
    device = set_device(device, options.device_id)
    for artifact in export(source, options.out, formats, options.batch, device, variant, options.file_name):
        print(options.out / artifact.file)
    return 0
