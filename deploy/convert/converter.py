"""Converts an exported model with the real MindSpore Lite converter and proves the result before keeping it."""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from glorext.deploy.contract.aipp import pixels_of
from glorext.deploy.contract.artifact import Artifact, Port, read_artifact, write_artifact
from glorext.deploy.convert import cpu_graph
from glorext.deploy.convert.ascend import AscendOptions, add_card_arguments, chosen_card, plan, write_files
from glorext.deploy.export import mindir
from glorext.deploy.export.exporter import allowed_difference, golden_paths
from glorext.deploy.runners import programs as native
from glorext.deploy.runners.lite import run_tensor
from glorext.runtime import ConversionError, DataError, UsageError, atomic_path, get_logger, version
from glorext.runtime.chips import FAMILIES

logger = get_logger("deploy")
# What `--format` may name -> (the converter's save type, the file's ending, the contract's format)
OUTPUTS = {"mindir": ("mindir", "_lite.mindir", "lite-mindir"), "ms": ("ms", ".ms", "ms")}
# Formats that can be converted -> what the results' names carry beside the model's name; MINDIR is the main route.
ROUTES = {"mindir": "", "onnx": "_onnx"}
# The graph's axes as they are: told NHWC, the converter puts a transposition in front that it cannot always see through.
LAYOUT = "NCHW"
# The converter fuses BatchNorm into convolutions, which moves logits by a few float32 roundings per layer.
TOLERANCE = 1e-4
HALF_TOLERANCE = 2e-3
# Half precision on a card keeps three digits. Not measured: no card was at hand.
CARD_TOLERANCE = 2e-2


def convert(
    model: Path, out: Path, formats=("mindir", "ms"), programs: native.Programs | None = None
) -> list[Artifact]:
    """Convert an exported MINDIR or ONNX model for MindSpore Lite, once for each of `formats`, into `out`.

    The converter reports success for models that do not compute, so each result is built in the C++ program, run on
    the golden inputs that the export left beside `model`, and compared; only then it gets its name.

    Raises:
        UsageError: an unknown format, or a source that this MindSpore Lite does not read.
        DataError: no golden inputs beside the model.
        ConversionError: the converter failed, or its result computes something else.
    """
    model, out = Path(model), Path(out)
    for name in formats:
        if name not in OUTPUTS:
            raise UsageError(expected=f"formats out of {', '.join(OUTPUTS)}", found=name, where="--format")
    source = read_artifact(model)
    if source.format not in ROUTES:
        raise UsageError(
            expected=f"an exported model out of {', '.join(ROUTES)}",
            found=source.format,
            where=model,
            do="Make one with `glorext export`.",
        )
    golden = _golden(model)
    programs = programs or native.build()
    return [_convert_one(source, model, out, name, golden, programs) for name in formats]


def _golden(model: Path) -> tuple[np.ndarray, np.ndarray]:
    paths = golden_paths(model.parent, model.stem)
    for path in paths:
        if not path.is_file():
            raise DataError(
                expected=f"{path.name} beside the model",
                found="no such file",
                where=model.parent,
                do="Export again: `glorext export` writes it, and no conversion is accepted without it.",
            )
    return tuple(np.load(path, allow_pickle=False) for path in paths)


def _convert_one(
    source: Artifact,
    model: Path,
    out: Path,
    name: str,
    golden,
    programs: native.Programs,
    card: AscendOptions | None = None,
) -> Artifact:
    save, ending, kind = OUTPUTS[name]
    target = f"_{card.target}" if card else ""
    final = out / f"{model.stem}{ROUTES[source.format]}{target}{ending}"
    with tempfile.TemporaryDirectory(prefix="glorext-convert-") as scratch:
        readable = _readable(model, Path(scratch), source, programs.lite.version, card)
        planned = plan(source, card, final.stem) if card else None
        config = write_files(planned, Path(scratch)) if card else None
        written = _run_converter(readable, Path(scratch) / model.stem, save, source, programs, config)
        port = planned.input if card else _built_input(written, source.input, programs)
        values = dict(
            format=kind,
            name=source.name,
            weights_sha256=source.weights_sha256,
            source={"file": source.file, "sha256": source.sha256},
            input=port,
            output=source.output,
            input_spec=source.input_spec,
            labels=source.labels,
            weights_dtype=source.weights_dtype,
            deviation=source.deviation,
            versions={**source.versions, "glorext": version(), "mindspore_lite": programs.lite.version},
        )
        proved = write_artifact(written, **values)
        golden = (pixels_of(golden[0], source.input_spec) if card and card.aipp else golden[0], golden[1])
        worst = _prove(written, golden, proved, programs, card.target if card else "cpu")
        with atomic_path(final) as temporary:
            shutil.copyfile(written, temporary)
    if out.resolve() != model.parent.resolve():
        for golden_path in golden_paths(model.parent, model.stem):
            with atomic_path(out / golden_path.name) as temporary:
                shutil.copyfile(golden_path, temporary)
    artifact = write_artifact(final, **values)
    if artifact.size > 1.5 * source.size:
        logger.warning(
            "%s is larger than %s: this route does not keep float16 weights, the MINDIR route does",
            final.name,
            source.file,
        )
    logger.info(
        "wrote %s (%.1f MB); on the golden inputs its %s differ by at most %.1e",
        final,
        artifact.size / 1e6,
        source.output.name,
        worst,
    )
    return artifact


def _built_input(written: Path, port: Port, programs: native.Programs) -> Port:
    """`port` in the layout that the built model has: the converter drops or adds a transposition at its input."""
    done = subprocess.run([str(programs.infer), "--model", str(written), "--inspect"], capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ConversionError(
            f"the converted {written.name} cannot be built: {reason}",
            do="The converter said success; the result was not kept.",
        )
    layout = "NCHW" if json.loads(done.stdout)["inputs"][0]["shape"][1] == 3 else "NHWC"
    size = port.shape[2]
    return replace(port, layout=layout, shape=(port.batch, *((3, size, size) if layout == "NCHW" else (size, size, 3))))


def convert_for_card(model: Path, out: Path, card: AscendOptions) -> Artifact:
    """Convert an exported model for an Ascend card and prove the result on that card.

    Raises:
        UsageError: a combination that cannot work (see `ascend.plan`).
        ConversionError: CANN is not there, the converter failed, or the card computes something else.
        InferenceError: the card is not in this machine, so nothing could be proved and nothing was kept.
    """
    model = Path(model)
    source = read_artifact(model)
    plan(source, card, model.stem)
    golden = _golden(model)
    try:
        ctypes.CDLL("libge_compiler.so")
    except OSError as error:
        raise ConversionError(
            expected="CANN, which compiles models for Ascend",
            found=str(error),
            where=card.target,
            do="Install CANN and source its set_env.sh; --dry_run shows the plan without it.",
        ) from error
    return _convert_one(source, model, Path(out), "mindir", golden, native.build(), card)


def _readable(model: Path, scratch: Path, source: Artifact, lite: str, card: AscendOptions | None) -> Path:
    """`model`, or for the older MindSpore Lite its MINDIR in the version that it reads, rearranged for the CPU."""
    if source.format != "mindir" or not lite.startswith("2.0."):
        return model
    rewritten = scratch / "rewritten" / model.name
    rewritten.parent.mkdir()
    mindir.rewrite(model, rewritten)
    if card is None:
        cpu_graph.rearrange(rewritten)
    return rewritten


def converter_command(
    model: Path, prefix: Path, save: str, source: Artifact, programs: native.Programs, config: Path | None = None
) -> list[str]:
    """The converter's command line: our driver of the converter library, or the SDK's converter_lite.

    The input's shape stands in the model, an open batch included; the converter takes no -1 on its command line.
    With `config` the conversion is for the Ascend card that it describes.
    """
    # A .mindir is fused when it is loaded, and `general` stores its weights twice; a .ms is fused now or never.
    optimize = "ascend_oriented" if config else "general" if save == "ms" else "none"
    # By ONNX the converter computes the casts beforehand, and the weights would be float32 again. By MINDIR they stay.
    halve = source.weights_dtype == "float16" and source.format == "onnx" and save == "ms"
    if programs.convert is not None:
        return [
            str(programs.convert),
            "--fmk",
            source.format,
            "--model",
            str(model),
            "--out",
            str(prefix),
            "--save",
            save,
            "--input_format",
            LAYOUT,
            "--optimize",
            optimize,
            *(["--fp16"] if halve else []),
            *(["--config", str(config), "--device", "Ascend"] if config else []),
        ]
    return [
        str(programs.lite.converter),
        f"--fmk={source.format.upper()}",
        f"--modelFile={model}",
        f"--outputFile={prefix}",
        f"--saveType={'MINDIR' if save == 'mindir' else 'MINDIR_LITE'}",
        f"--inputDataFormat={LAYOUT}",
        f"--optimize={optimize}",
        *(["--fp16=on"] if halve else []),
        *([f"--configFile={config}"] if config else []),
    ]


def _run_converter(
    model: Path, prefix: Path, save: str, source: Artifact, programs: native.Programs, config: Path | None = None
) -> Path:
    command = converter_command(model.absolute(), prefix, save, source, programs, config)
    environment = dict(os.environ)
    if programs.convert is None:
        libraries = programs.lite.root / "tools" / "converter" / "lib"
        environment["LD_LIBRARY_PATH"] = f"{libraries}:{environment.get('LD_LIBRARY_PATH', '')}"
    done = subprocess.run(command, capture_output=True, text=True, cwd=prefix.parent, env=environment)
    written = prefix.with_name(f"{prefix.name}.{save}")
    if done.returncode or not written.is_file():
        lines = (done.stderr + done.stdout).strip().splitlines()
        reason = next((line for line in reversed(lines) if "rror" in line), lines[-1] if lines else "no message")
        raise ConversionError(
            f"MindSpore Lite {programs.lite.version} could not convert {model.name}: {reason.strip()}",
            do="Run `glorext doctor`; the converter's command was: " + " ".join(command),
        )
    written.chmod(0o644)
    return written


def _prove(written: Path, golden, model: Artifact, programs: native.Programs, device: str = "cpu") -> float:
    inputs, expected = golden
    if model.input.batch > 0:
        inputs, expected = (array[:1].repeat(model.input.batch, 0) for array in (inputs, expected))
    found = run_tensor(written, inputs, programs, device)
    if found.shape != expected.shape:
        raise ConversionError(expected=f"outputs of shape {expected.shape}", found=str(found.shape), where=written.name)
    worst = float(np.abs(found - expected).max())
    # The converter rounds biases as well when it halves a .ms by itself.
    base = CARD_TOLERANCE if device != "cpu" else TOLERANCE if model.weights_dtype == "float32" else HALF_TOLERANCE
    limit = allowed_difference(expected, model.output.name, base)
    if not worst <= limit:
        raise ConversionError(
            expected=f"MindSpore's {model.output.name} to {limit:.1e} on the golden inputs",
            found=f"a difference of {worst:.1e}",
            where=f"the converted {written.name}",
            do="The converter said success, but the result computes something else; it was not kept.",
        )
    return worst


def convert_routes(
    models: list[Path], out: Path, formats=("mindir", "ms"), programs: native.Programs | None = None
) -> list[Artifact]:
    """Convert the exports of one network, its MINDIR and its ONNX, and hold all results against each other.

    Raises:
        UsageError: two models of one format, or of different weights; and what `convert` raises.
        ConversionError: two results compute different logits.
    """
    sources = [read_artifact(model) for model in models]
    alike = {(source.weights_sha256, source.weights_dtype, source.input, source.output) for source in sources}
    if (
        len({model.stem for model in models}) > 1
        or len(alike) > 1
        or len({source.format for source in sources}) < len(sources)
    ):
        raise UsageError(
            expected="exports of one network in different formats",
            found=", ".join(f"{source.file} of weights {source.weights_sha256[:16]}..." for source in sources),
            do="Convert different models one by one.",
        )
    programs = programs or native.build()
    artifacts = [artifact for model in models for artifact in convert(model, out, formats, programs)]
    inputs, expected = _golden(Path(models[0]))
    batch = sources[0].input.batch
    logits = [
        run_tensor(Path(out) / artifact.file, inputs if batch < 0 else inputs[:1].repeat(batch, 0), programs)
        for artifact in artifacts
    ]
    worst = max(float(np.abs(one - logits[0]).max()) for one in logits)
    limit = allowed_difference(
        expected, sources[0].output.name, TOLERANCE if sources[0].weights_dtype == "float32" else HALF_TOLERANCE
    )
    if not worst <= limit:
        raise ConversionError(
            expected=f"the same {sources[0].output.name} to {limit:.1e} by {' and by '.join(s.format for s in sources)}",
            found=f"a difference of {worst:.1e}",
            where="the golden inputs",
        )
    logger.info("the results by %s differ by at most %.1e", " and by ".join(source.format for source in sources), worst)
    return artifacts


def main(argv: list[str]) -> int:
    """`glorext convert`."""
    from glorext.runtime.cli import parser

    arguments = parser(
        "convert",
        "Convert exported models with MindSpore Lite; the results are run and compared.",
        "glorext convert exported/resnext50-digits.mindir --out converted/",
    )
    arguments.add_argument(
        "models",
        type=Path,
        nargs="+",
        metavar="model",
        help="an exported MINDIR or ONNX with its contract beside it; both: one checks the other",
    )
    arguments.add_argument("--out", type=Path, help="folder for the converted models")
    arguments.add_argument("--format", default="mindir,ms", help=f"comma list of {', '.join(OUTPUTS)}; for the cpu")
    arguments.add_argument("--target", default="cpu", choices=("cpu", *FAMILIES))
    add_card_arguments(arguments)
    arguments.add_argument("--dry_run", action="store_true", help="print configuration and commands, do nothing")
    options = arguments.parse_args(argv)
    if options.out is None and not options.dry_run:
        raise UsageError(expected="--out FOLDER", found="none")
    if options.target != "cpu":
        return _main_for_card(options)
    formats = [name.strip().lower() for name in options.format.split(",")]
    if options.dry_run:
        for model in options.models:
            _show_commands(model, formats)
        return 0
    for artifact in convert_routes(options.models, options.out, formats):
        print(options.out / artifact.file)
    return 0


def _main_for_card(options) -> int:
    card = chosen_card(options)
    for model in options.models:
        if options.dry_run:
            _show_plan(model, card)
        else:
            print(options.out / convert_for_card(model, options.out, card).file)
    return 0


def _show_commands(model: Path, formats: list[str], config: Path | None = None, ending: str = "") -> None:
    """The converter's commands as they would be run here, for each of `formats`."""
    source, lite = read_artifact(model), native.lite.locate(fetch=False)
    for name in formats:
        if name not in OUTPUTS:
            raise UsageError(expected=f"formats out of {', '.join(OUTPUTS)}", found=name, where="--format")
    if lite is None:
        print("# MindSpore Lite is not on this machine yet: its command depends on which one it will be")
        return
    programs = native.Programs(
        Path("glorext_infer"), Path("glorext_pixels"), None if lite.converter else Path("glorext_convert"), lite
    )
    old = source.format == "mindir" and lite.version.startswith("2.0.")
    print(
        f"# MindSpore Lite {lite.version}'s converter"
        + (f"; it reads MINDIR version 1 only, so it gets a rewritten copy of {model.name}" if old else "")
    )
    for name in formats:
        prefix = Path(f"{model.stem}{ROUTES[source.format]}{ending}")
        print(shlex.join(converter_command(model, prefix, OUTPUTS[name][0], source, programs, config)))


def _show_plan(model: Path, card: AscendOptions) -> None:
    source = read_artifact(model)
    found = plan(source, card, f"{model.stem}_{card.target}")
    for name, text in found.files.items():
        print(f"# {name}\n{text}")
    _show_commands(model, ["mindir"], Path("ascend.cfg"), f"_{card.target}")
    print("# the same with atc\n" + shlex.join(found.atc))
    print(
        f"# the result takes {found.input.dtype} {list(found.input.shape)}; not converted, not measured: "
        "this was a dry run"
    )
