"""Converts an exported model with the real MindSpore Lite converter and proves the result before keeping it."""
from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from glorext.runtime import ConversionError, DataError, UsageError, atomic_path, get_logger, version

from . import mindir, native
from .artifact import Artifact, read_artifact, write_artifact
from .export import GOLDEN_INPUT, GOLDEN_LOGITS
from .infer import run_tensor

logger = get_logger("deploy")
# What `--format` may name -> (the converter's save type, the file's ending, the contract's format)
OUTPUTS = {"mindir": ("mindir", "_lite.mindir", "lite-mindir"), "ms": ("ms", ".ms", "ms")}
# Formats that can be converted -> what the results' names carry beside the model's name; MINDIR is the main route.
ROUTES = {"mindir": "", "onnx": "_onnx"}
# The converter fuses BatchNorm into convolutions, which moves logits by a few float32 roundings per layer.
TOLERANCE = 1e-4


def convert(model: Path, out: Path, formats=("mindir", "ms"), programs: native.Programs | None = None) -> list[Artifact]:
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
        raise UsageError(expected=f"an exported model out of {', '.join(ROUTES)}", found=source.format, where=model,
                         do="Make one with `glorext export`.")
    golden = _golden(model)
    programs = programs or native.build()
    return [_convert_one(source, model, out, name, golden, programs) for name in formats]


def _golden(model: Path) -> tuple[np.ndarray, np.ndarray]:
    paths = [model.parent / name for name in (GOLDEN_INPUT, GOLDEN_LOGITS)]
    for path in paths:
        if not path.is_file():
            raise DataError(expected=f"{path.name} beside the model", found="no such file", where=model.parent,
                            do="Export again: `glorext export` writes it, and no conversion is accepted without it.")
    return np.load(paths[0], allow_pickle=False), np.load(paths[1], allow_pickle=False)


def _convert_one(source: Artifact, model: Path, out: Path, name: str, golden, programs: native.Programs) -> Artifact:
    save, ending, kind = OUTPUTS[name]
    final = out / f"{source.name}{ROUTES[source.format]}{ending}"
    with tempfile.TemporaryDirectory(prefix="glorext-convert-") as scratch:
        readable = _readable(model, Path(scratch), source, programs.lite.version)
        written = _run_converter(readable, Path(scratch) / source.name, save, source, programs)
        values = dict(format=kind, name=source.name, weights_sha256=source.weights_sha256,
                      source={"file": source.file, "sha256": source.sha256}, input=source.input, output=source.output,
                      input_spec=source.input_spec, labels=source.labels,
                      versions={**source.versions, "glorext": version(), "mindspore_lite": programs.lite.version})
        write_artifact(written, **values)
        worst = _prove(written, golden, source, programs)
        with atomic_path(final) as temporary:
            shutil.copyfile(written, temporary)
    for golden_name in (GOLDEN_INPUT, GOLDEN_LOGITS):
        if out.resolve() != model.parent.resolve():
            with atomic_path(out / golden_name) as temporary:
                shutil.copyfile(model.parent / golden_name, temporary)
    artifact = write_artifact(final, **values)
    logger.info("wrote %s (%.1f MB); on the golden inputs its logits differ by at most %.1e", final,
                artifact.size / 1e6, worst)
    return artifact


def _readable(model: Path, scratch: Path, source: Artifact, lite: str) -> Path:
    """`model`, or for the older MindSpore Lite its MINDIR in the version that it reads."""
    if source.format != "mindir" or not lite.startswith("2.0."):
        return model
    rewritten = scratch / "rewritten" / model.name
    rewritten.parent.mkdir()
    mindir.rewrite(model, rewritten, source.input, source.output)
    return rewritten


def converter_command(model: Path, prefix: Path, save: str, source: Artifact, programs: native.Programs) -> list[str]:
    """The converter's command line: our driver of the converter library, or the SDK's converter_lite.

    The input's shape stands in the model, an open batch included; the converter takes no -1 on its command line.
    """
    if programs.convert is not None:
        return [str(programs.convert), "--fmk", source.format, "--model", str(model), "--out", str(prefix),
                "--save", save, "--input_format", source.input.layout, "--optimize", "none"]
    return [str(programs.lite.converter), f"--fmk={source.format.upper()}", f"--modelFile={model}",
            f"--outputFile={prefix}", f"--saveType={'MINDIR' if save == 'mindir' else 'MINDIR_LITE'}",
            f"--inputDataFormat={source.input.layout}", "--optimize=none"]


def _run_converter(model: Path, prefix: Path, save: str, source: Artifact, programs: native.Programs) -> Path:
    command = converter_command(model.absolute(), prefix, save, source, programs)
    environment = dict(os.environ)
    if programs.convert is None:
        libraries = programs.lite.root / "tools" / "converter" / "lib"
        environment["LD_LIBRARY_PATH"] = f"{libraries}:{environment.get('LD_LIBRARY_PATH', '')}"
    done = subprocess.run(command, capture_output=True, text=True, cwd=prefix.parent, env=environment)
    written = prefix.with_name(f"{prefix.name}.{save}")
    if done.returncode or not written.is_file():
        lines = (done.stderr + done.stdout).strip().splitlines()
        reason = next((line for line in reversed(lines) if "rror" in line), lines[-1] if lines else "no message")
        raise ConversionError(f"MindSpore Lite {programs.lite.version} could not convert {model.name}: {reason.strip()}",
                              do="Run `glorext doctor`; the converter's command was: " + " ".join(command))
    written.chmod(0o644)
    return written


def _prove(written: Path, golden, source: Artifact, programs: native.Programs) -> float:
    inputs, expected = golden
    if source.input.shape[0] > 0:
        inputs, expected = (array[:1].repeat(source.input.shape[0], 0) for array in (inputs, expected))
    found = run_tensor(written, inputs, programs)
    if found.shape != expected.shape:
        raise ConversionError(expected=f"logits of shape {expected.shape}", found=str(found.shape), where=written.name)
    worst = float(np.abs(found - expected).max())
    limit = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not worst <= limit:
        raise ConversionError(expected=f"MindSpore's logits to {limit:.1e} on the golden inputs",
                              found=f"a difference of {worst:.1e}", where=f"the converted {written.name}",
                              do="The converter said success, but the result computes something else; it was not kept.")
    return worst


def convert_routes(models: list[Path], out: Path, formats=("mindir", "ms"),
                   programs: native.Programs | None = None) -> list[Artifact]:
    """Convert the exports of one network, its MINDIR and its ONNX, and hold all results against each other.

    Raises:
        UsageError: two models of one format, or of different weights; and what `convert` raises.
        ConversionError: two results compute different logits.
    """
    sources = [read_artifact(model) for model in models]
    if len({(source.name, source.weights_sha256) for source in sources}) > 1 \
            or len({source.format for source in sources}) < len(sources):
        raise UsageError(expected="exports of one network in different formats",
                         found=", ".join(f"{source.file} of weights {source.weights_sha256[:16]}..." for source in sources),
                         do="Convert different models one by one.")
    programs = programs or native.build()
    artifacts = [artifact for model in models for artifact in convert(model, out, formats, programs)]
    inputs, expected = _golden(Path(models[0]))
    batch = sources[0].input.shape[0]
    logits = [run_tensor(Path(out) / artifact.file, inputs if batch < 0 else inputs[:1].repeat(batch, 0), programs)
              for artifact in artifacts]
    worst = max(float(np.abs(one - logits[0]).max()) for one in logits)
    limit = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not worst <= limit:
        raise ConversionError(expected=f"the same logits to {limit:.1e} by {' and by '.join(s.format for s in sources)}",
                              found=f"a difference of {worst:.1e}", where="the golden inputs")
    logger.info("the results by %s differ by at most %.1e", " and by ".join(source.format for source in sources), worst)
    return artifacts


def main(argv: list[str]) -> int:
    """`glorext convert`."""
    from glorext.runtime.cli import parser
    arguments = parser("convert", "Convert exported models with MindSpore Lite; the results are run and compared.",
                       "glorext convert exported/resnext50-digits.mindir --out converted/")
    arguments.add_argument("models", type=Path, nargs="+", metavar="model",
                           help="an exported MINDIR or ONNX with its contract beside it; both: one checks the other")
    arguments.add_argument("--out", required=True, type=Path, help="folder for the converted models")
    arguments.add_argument("--format", default="mindir,ms", help=f"comma list of {', '.join(OUTPUTS)}")
    options = arguments.parse_args(argv)
    formats = [name.strip().lower() for name in options.format.split(",")]
    for artifact in convert_routes(options.models, options.out, formats):
        print(options.out / artifact.file)
    return 0
