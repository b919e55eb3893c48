"""Converts an exported model with the real MindSpore Lite converter and proves the result before keeping it."""

from __future__ import annotations

import ctypes
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from glorext.deploy.contract.aipp import pixels_of
from glorext.deploy.contract.artifact import Artifact, Device, Port, read_artifact, write_artifact
from glorext.deploy.contract.closeness import converted_tolerance, require_close
from glorext.deploy.contract.golden import Golden, read_golden, write_golden
from glorext.deploy.convert import cpu_graph
from glorext.deploy.convert.ascend import FORMATS, AscendOptions, for_chip_here, plan, require_no_list, write_files
from glorext.deploy.convert.readable import reads_mindir
from glorext.deploy.convert.run_converter import run_converter
from glorext.deploy.export import mindir
from glorext.deploy.runners.ascend_host import chip_here
from glorext.deploy.runners.lite import input_shape, run_tensor, run_tensors
from glorext.deploy.runners.programs import Programs, build
from glorext.runtime import ConversionError, InferenceError, UsageError, atomic_path, get_logger, version

logger = get_logger("deploy")
# What `--format` may name -> (the converter's save type, the file's ending, the contract's format)
OUTPUTS = {"mindir": ("mindir", "_lite.mindir", "lite-mindir"), "ms": ("ms", ".ms", "ms")}
# Formats that can be converted -> what the results' names carry beside the model's name.
ROUTES = {"mindir": "", "onnx": "_onnx"}


def convert(model: Path, out: Path, formats=("mindir", "ms"), programs: Programs | None = None) -> list[Artifact]:
    """Convert an exported MINDIR or ONNX model for MindSpore Lite, once for each of `formats`, into `out`.

    The converter reports success for models that do not compute, so each result is built in the C++ program, run on
    the golden inputs that the export left beside `model`, and compared; only then it gets its name.

    Raises:
        UsageError: an unknown format, or a source that this MindSpore Lite does not read.
        DataError: no golden inputs beside the model.
        ConversionError: the converter failed, or its result computes something else.
    """
    model, out = Path(model), Path(out)
    check_formats(formats)
    source = read_artifact(model)
    if source.format not in ROUTES:
        raise UsageError(
            expected=f"an exported model out of {', '.join(ROUTES)}",
            found=source.format,
            where=model,
            do="Make one with `glorext export`.",
        )
    golden = read_golden(model)
    programs = programs or build()
    return [_convert_one(source, model, out, name, golden, programs) for name in formats]


def route(kind: str, for_card: bool) -> str:
    """By which route a model of this format goes, for people: the first or the second for its target, and why."""
    order = "first" if (kind == "onnx") == for_card else "second"
    reason = {
        "onnx": "every MindSpore Lite reads it, and atc",
        "mindir": "it can be rearranged for the CPU's kernels and keeps float16 weights",
    }
    return f"{kind.upper()}, the {order} route for {'cards' if for_card else 'the CPU'}" + (
        f" ({reason[kind]})" if order == "first" else ""
    )


def check_formats(formats: list[str]) -> None:
    """Raise UsageError for a format that MindSpore Lite does not write."""
    for name in formats:
        if name not in OUTPUTS:
            raise UsageError(expected=f"formats out of {', '.join(OUTPUTS)}", found=name, where="--format")


def _convert_one(
    source: Artifact,
    model: Path,
    out: Path,
    name: str,
    golden: Golden,
    programs: Programs,
    card: AscendOptions | None = None,
) -> Artifact:
    save, ending, kind = OUTPUTS[name]
    target = f"_{card.target}" if card else ""
    final = out / f"{model.stem}{ROUTES[source.format]}{target}{ending}"
    with tempfile.TemporaryDirectory(prefix="glorext-convert-") as scratch:
        readable, rearranged = _readable(model, Path(scratch), source, programs, card)
        planned = plan(source, card, final.stem) if card else None
        config = write_files(planned, Path(scratch)) if planned else None
        written = run_converter(readable, Path(scratch) / model.stem, save, source, programs, config)
        port = planned.input if planned else _built_input(written, source.input, programs)
        values = {
            "format": kind,
            "model": source.model,
            "source": {"file": source.file, "sha256": source.sha256},
            "input": port,
            "output": source.output,
            "labels": source.labels,
            "weights_dtype": source.weights_dtype,
            "deviation": source.deviation,
            "device": card.device if card else Device("cpu") if rearranged else None,
            "versions": {**source.versions, "glorext": version(), "mindspore_lite": programs.lite.version},
        }
        proved = write_artifact(written, **values)
        given = golden._replace(inputs=pixels_of(golden.inputs, source.input_spec)) if card and card.aipp else golden
        ran_on, worst = _prove(written, given, proved, programs)
        with atomic_path(final) as temporary:
            shutil.copyfile(written, temporary)
    if out.resolve() != model.parent.resolve():
        write_golden(out, model.stem, golden)
    artifact = write_artifact(final, **values)
    if artifact.size > 1.5 * source.size:
        message = "%s is larger than %s: this route does not keep float16 weights, the MINDIR route does"
        logger.warning(message, final.name, source.file)
    message = "wrote %s (%.1f MB) by %s; on %s its %s for the golden inputs differ by at most %.1e"
    way = route(source.format, card is not None)
    logger.info(message, final, artifact.size / 1e6, way, ran_on, source.output.name, worst)
    return artifact


def _built_input(written: Path, port: Port, programs: Programs) -> Port:
    """`port` in the layout that the built model has: the converter drops or adds a transposition at its input."""
    try:
        shape = input_shape(written, programs)
    except InferenceError as error:
        raise ConversionError(
            f"the converted {written.name} cannot be built: {error}",
            do="The converter reported success; the result was not kept.",
        ) from error
    layout = "NCHW" if shape[1] == 3 else "NHWC"
    size = port.shape[2]
    return replace(port, layout=layout, shape=(port.batch, *((3, size, size) if layout == "NCHW" else (size, size, 3))))


def convert_for_card(model: Path, out: Path, card: AscendOptions, programs: Programs | None = None) -> Artifact:
    """Convert an exported model for an Ascend card and prove the result on that card.

    Raises:
        UsageError: a combination that cannot work (see `ascend.plan`), or another chip than the one that is here.
        SetupError: this MindSpore Lite drives no card.
        ConversionError: CANN is not there, the converter failed, or the card computes something else.
        InferenceError: the card is not in this machine, so nothing could be proved and nothing was kept.
    """
    model, card = Path(model), for_chip_here(card)
    source = read_artifact(model)
    plan(source, card, model.stem)
    require_no_list(card)
    here = chip_here(card.target)
    if here and here != card.chip:
        raise UsageError(
            expected=f"the chip of this machine, {here}: the result is proved on it",
            found=card.chip,
            where="--target",
            do="Convert on the machine with that chip; `glorext bundle` packs what it needs.",
        )
    golden = read_golden(model)
    try:
        ctypes.CDLL("libge_compiler.so")
    except OSError as error:
        raise ConversionError(
            expected="CANN, which compiles models for Ascend",
            found=str(error),
            where=card.target,
            do="Install CANN and source its set_env.sh; --dry_run shows the plan without it.",
        ) from error
    programs = programs or build()
    programs.lite.require_for(card.target)
    return _convert_one(source, model, Path(out), "mindir", golden, programs, card)


def _readable(
    model: Path, scratch: Path, source: Artifact, programs: Programs, card: AscendOptions | None
) -> tuple[Path, bool]:
    """`model`, or its MINDIR in the version that an older MindSpore Lite reads; whether rearranged for the CPU."""
    if source.format != "mindir" or reads_mindir(source, programs):
        return model, False
    rewritten = scratch / "rewritten" / model.name
    rewritten.parent.mkdir()
    mindir.rewrite(model, rewritten)
    if card is None:
        cpu_graph.rearrange(rewritten)
    return rewritten, card is None


def _prove(written: Path, golden: Golden, model: Artifact, programs: Programs) -> tuple[str, float]:
    """What ran it, and how far the outputs are off at most; at every batch size that the model was prepared for."""
    device = model.device or Device("cpu")
    ran_on, differences = "", []
    for size in device.batches or (model.input.batch,):
        given = golden.at_batch(size)
        results = run_tensors(written, given.inputs, programs, device.family, batch=len(given.inputs))
        ran_on = results.device
        comparison = require_close(
            results.logits,
            given.outputs,
            converted_tolerance(device.family, model.weights_dtype),
            model.output.name,
            ConversionError,
            of="as MindSpore gives them for the golden inputs",
            where=f"the converted {written.name}" + (f" at the batch size {size}" if device.batches else ""),
            do="The converter reported success, but the result computes something else; it was not kept.",
        )
        differences.append(comparison.max_difference)
    return ran_on, max(differences)


def convert_routes(
    models: list[Path], out: Path, formats=("mindir", "ms"), programs: Programs | None = None
) -> list[Artifact]:
    """Convert the exports of one network, its MINDIR and its ONNX, and hold all results against each other.

    Raises:
        UsageError: two models of one format, or of different weights; and what `convert` raises.
        ConversionError: two results compute different logits.
    """
    _require_one_network(models)
    programs = programs or build()
    artifacts = [artifact for model in models for artifact in convert(model, out, formats, programs)]
    _hold_against_each_other(artifacts, Path(out), read_golden(Path(models[0])), programs)
    return artifacts


def convert_routes_for_card(
    models: list[Path], out: Path, card: AscendOptions, programs: Programs | None = None
) -> list[Artifact]:
    """Convert the exports of one network for a card, ONNX first, and hold both results against each other on it.

    Raises:
        UsageError: two models of one format, or of different weights; and what `convert_for_card` raises.
        ConversionError: two results compute different logits.
    """
    sources = _require_one_network(models)
    order = sorted(zip(sources, models), key=lambda pair: FORMATS.index(pair[0].format))
    artifacts = [convert_for_card(model, out, card, programs) for _, model in order]
    golden = read_golden(Path(models[0]))
    if card.aipp:
        golden = golden._replace(inputs=pixels_of(golden.inputs, sources[0].input_spec))
    _hold_against_each_other(artifacts, Path(out), golden, programs or build())
    return artifacts


def _require_one_network(models: list[Path]) -> list[Artifact]:
    """The contracts of `models`; UsageError if they are not the exports of one network in different formats."""
    sources = [read_artifact(model) for model in models]
    alike = {(source.weights_dtype, source.input, source.output) for source in sources}
    difference = next(filter(None, (sources[0].model.difference(source.model) for source in sources)), None)
    formats_apart = len({source.format for source in sources}) == len(sources)
    if len({model.stem for model in models}) > 1 or len(alike) > 1 or difference or not formats_apart:
        raise UsageError(
            expected="exports of one network in different formats",
            found=difference or ", ".join(f"{source.file}, {source.weights_dtype}" for source in sources),
            do="Convert different models one by one.",
        )
    return sources


def _hold_against_each_other(artifacts: list[Artifact], folder: Path, golden: Golden, programs: Programs) -> None:
    first, *others = artifacts
    device = first.device or Device("cpu")
    inputs = golden.at_batch(device.batches[0] if device.batches else first.input.batch).inputs
    outputs = [run_tensor(folder / artifact.file, inputs, programs, device.family) for artifact in artifacts]
    for artifact, found in zip(others, outputs[1:]):
        comparison = require_close(
            found,
            outputs[0],
            converted_tolerance(device.family, first.weights_dtype),
            first.output.name,
            ConversionError,
            of=f"as {first.file} gives them for the golden inputs",
            where=artifact.file,
        )
        logger.info(
            "%s and %s differ by at most %.1e on the golden inputs",
            first.file,
            artifact.file,
            comparison.max_difference,
        )
