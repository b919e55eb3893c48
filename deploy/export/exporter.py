"""Writes a network as MINDIR, ONNX or AIR, checks what was written, and puts its contract beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from glorext.deploy.contract.artifact import Artifact, Port, write_artifact
from glorext.deploy.contract.closeness import EXPORTED, compare, require_close
from glorext.deploy.contract.golden import Golden, golden_pixels, write_golden
from glorext.deploy.export import mindir
from glorext.deploy.export.formats import EXPORTS, Variant, add_variant_arguments, check_request, chosen_variant
from glorext.deploy.export.onnx_file import describe, open_output_batch, to_opset
from glorext.deploy.runners.common import laid_out
from glorext.deploy.runners.mindspore import run_mindir, run_network
from glorext.deploy.runners.onnxruntime import run_onnx
from glorext.hub.open_model import add_model_arguments, open_model
from glorext.models.preprocess import normalize
from glorext.models.trained import TrainedModel
from glorext.runtime import ExportError, SetupError, UsageError, atomic_path, get_logger, set_device, version
from glorext.runtime.cli import parser
from glorext.runtime.device import device_name

logger = get_logger("deploy")


def network(source: TrainedModel, variant: Variant):
    """The network of `source` as `variant` wants it, in evaluation mode: what is exported."""
    net = source.create()
    if variant == Variant():
        return net
    from glorext.deploy.export.deployed_network import Deployed, store_in_float16

    if variant.precision == "fp16":
        store_in_float16(net)
    spec = source.input_spec if variant.pixels else None
    return Deployed(net, spec, variant.layout, variant.softmax).set_train(False)


def export(
    source: TrainedModel,
    out: Path,
    formats=("mindir", "onnx"),
    batch: str | int | None = None,
    device: str = "CPU",
    variant: Variant = Variant(),
    file_name: str | None = None,
    opset: int | None = None,
) -> list[Artifact]:
    """Write `source` into `out` in each of `formats`, each file verified before it gets its name.

    Golden inputs and the network's own outputs for them (`contract.golden`) are written beside, for every later step.

    Args:
        batch: a number, "dynamic", or None: open where the format allows it, else 1.
        file_name: of the files, without ending; the model's name and variant by default.
        opset: version of ONNX's operators; by default the one that MindSpore writes.

    Raises:
        UsageError: an impossible request (see `check_request`).
        SetupError: another opset is wanted, and the package onnx is not there.
        ExportError: the network gives no finite answer, or a written file does not compute its answers.
    """
    batches = check_request(list(formats), batch, device, variant)
    out, pixels = Path(out), golden_pixels(source.input_spec.size)
    inputs = (
        pixels.transpose(0, 3, 1, 2).astype(variant.pixels)
        if variant.pixels
        else np.stack([normalize(one, source.input_spec) for one in pixels])
    )
    net = network(source, variant)
    outputs = _outputs(net, inputs, variant)
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
    golden = Golden(inputs, outputs)
    write_golden(out, stem, golden)
    deviation = None
    if variant.precision == "fp16":
        deviation = _deviation(outputs, _outputs(network(source, replace(variant, precision="fp32")), inputs, variant))
    return [_export_one(source, out / stem, name, batches[name], golden, variant, deviation, opset) for name in formats]


def _outputs(net, inputs: np.ndarray, variant: Variant) -> np.ndarray:
    return run_network(net, laid_out(inputs, variant.layout))


def _deviation(found: np.ndarray, expected: np.ndarray) -> dict:
    comparison = compare(found, expected)
    values = {"max_difference": comparison.max_difference, "cosine": comparison.cosine}
    logger.info(
        "float16 weights move the outputs by at most %(max_difference).1e, smallest cosine %(cosine).7f", values
    )
    return values


def _export_one(
    source: TrainedModel,
    stem: Path,
    name: str,
    batch: int,
    golden: Golden,
    variant: Variant,
    deviation: dict | None,
    opset: int | None,
) -> Artifact:
    final = stem.with_name(f"{stem.name}{EXPORTS[name].suffix}")
    size = source.input_spec.size
    picture = (size, size, 3) if variant.layout == "NHWC" else (3, size, size)
    values = "pixels" if variant.pixels else "normalized"
    port = Port("image", variant.pixels or "float32", (batch, *picture), variant.layout, values)
    answer = Port("probabilities" if variant.softmax else "logits", "float32", (batch, golden.outputs.shape[1]))
    versions = _versions()
    with atomic_path(final) as temporary:
        temporary.unlink()
        # A network exports to ONNX only once per instance, so each file comes from a fresh one.
        _write(network(source, variant), name, temporary, port, answer)
        if not temporary.is_file():
            raise ExportError(expected=f"a {name} file", found="none written by MindSpore", where=temporary)
        temporary.chmod(0o644)
        if name == "mindir":
            mindir.name_ports(temporary, port.name, answer.name)
        if name == "onnx":
            describe(temporary, _metadata(source, port, answer, variant, versions))
            if batch == -1:
                open_output_batch(temporary, "N")
            if opset is not None:
                to_opset(temporary, opset)
        _verify(name, temporary, golden.at_batch(batch), port.layout, answer.name)
    artifact = write_artifact(
        final,
        format=name,
        model=source.identity(),
        source=None,
        input=port,
        output=answer,
        labels=source.labels,
        weights_dtype=variant.weights_dtype,
        deviation=deviation,
        versions=versions,
    )
    logger.info("wrote %s (%.1f MB)", final, artifact.size / 1e6)
    return artifact


def _versions() -> dict[str, str]:
    import mindspore as ms

    return {"glorext": version(), "mindspore": ms.__version__}


def _metadata(
    source: TrainedModel, port: Port, answer: Port, variant: Variant, versions: dict[str, str]
) -> dict[str, str]:
    """What an ONNX file says about itself, so that it can be used without its contract; what is unknown is left out.

    `preprocessing`, `input`, `labels` and `versions` are JSON, the others text.
    """
    known = {
        "name": source.name,
        "version": source.version,
        "network": source.network,
        "license": source.license,
        "weights_sha256": source.weights_sha256,
        "weights_dtype": variant.weights_dtype,
        "output": answer.name,
        "input": json.dumps(asdict(port)),
        "preprocessing": json.dumps(source.input_spec.to_dict()),
        "labels": json.dumps(source.labels, ensure_ascii=False) if source.labels else None,
        "versions": json.dumps(versions),
    }
    return {key: value for key, value in known.items() if value is not None}


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


def _verify(name: str, path: Path, golden: Golden, layout: str, output: str) -> None:
    found = run_exported(name, path, golden.inputs, layout)
    if found is None:
        return
    comparison = require_close(
        found,
        golden.outputs,
        EXPORTED,
        output,
        ExportError,
        of="as the network gives them",
        where=f"the written {name}",
        do="Report it: the file was not kept.",
    )
    logger.info("%s read back: %s differ from the network's by at most %.1e", name, output, comparison.max_difference)


def run_exported(name: str, path: Path, batch: np.ndarray, layout: str = "NCHW") -> np.ndarray | None:
    """Outputs of an exported file for `batch` (N, 3, H, W), by a reader other than the writer where there is one.

    MINDIR runs in MindSpore, ONNX in onnxruntime. None, with a warning, when the reader is not installed or the
    format runs nowhere but on its device. `batch` has the type that the model takes, `layout` is the model's.
    """
    batch = laid_out(batch, layout)
    if name == "mindir":
        return run_mindir(path, batch)
    if name == "onnx":
        try:
            return run_onnx(path, batch)
        except SetupError as error:
            logger.warning("the ONNX file was not read back: %s", error)
            return None
    logger.warning("the %s file was not read back: it runs only on its device", name)
    return None


def make_parser():
    """The flags of `glorext export`, the published ones among them."""
    arguments = parser(
        "export",
        "Write a network as MINDIR or ONNX, with its contract and golden inputs beside it.",
        "glorext export resnext50-digits --format mindir,onnx --out exported/",
    )
    add_model_arguments(arguments, optional=True)
    arguments.add_argument("--ckpt_file", metavar="MODEL", help="published spelling of MODEL")
    arguments.add_argument("--out", type=Path, default=Path(), help="folder for the files (default: this one)")
    arguments.add_argument("--file_name", help="name of the files, without ending (default: the model's)")
    arguments.add_argument(
        "--format", "--file_format", default="mindir,onnx", help=f"comma list of {', '.join(EXPORTS)}, in any case"
    )
    arguments.add_argument("--batch", "--batch_size", help="a number, or dynamic (default, where the format allows it)")
    add_variant_arguments(arguments)
    arguments.add_argument(
        "--opset", type=int, help="ONNX: version of the operators (default: what MindSpore writes, 11)"
    )
    arguments.add_argument("--width", type=int, help="published; must be the side the network was trained for")
    arguments.add_argument("--height", type=int, help="published; as --width")
    arguments.add_argument(
        "--device", dest="device_target", metavar="DEVICE", default="CPU", help="CPU (default), GPU or Ascend"
    )
    arguments.add_argument("--device_id", type=int, help="which card")
    return arguments


def main(argv: list[str]) -> int:
    """`glorext export` and `python -m glorext.deploy.export`."""
    options = make_parser().parse_args(argv)
    if (options.what is None) == (options.ckpt_file is None):
        raise UsageError(expected="one model: MODEL or --ckpt_file MODEL", found="none or two")
    formats = [name.strip().lower() for name in options.format.split(",")]
    device = device_name(options.device_target)
    variant = chosen_variant(options)
    check_request(formats, options.batch, device, variant)
    if options.opset is not None and "onnx" not in formats:
        raise UsageError(expected="ONNX among the formats", found=options.format, where="--opset")
    source = open_model(options.what or options.ckpt_file, options.registry, options.network, options.labels)
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
    for artifact in export(
        source, options.out, formats, options.batch, device, variant, options.file_name, options.opset
    ):
        print(options.out / artifact.file)
    return 0
