"""Runs MindSpore Lite's converter: our driver of its library, or the SDK's own program."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from glorext.deploy.contract.artifact import Artifact
from glorext.deploy.runners.programs import Programs
from glorext.runtime import ConversionError

# The graph's own axes: with NHWC, the converter puts a transposition in front that it cannot always remove again.
LAYOUT = "NCHW"


def converter_command(
    model: Path, prefix: Path, save: str, source: Artifact, programs: Programs, config: Path | None = None
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
        command = f"--fmk {source.format} --save {save} --input_format {LAYOUT} --optimize {optimize}".split()
        command += ["--model", str(model), "--out", str(prefix), *(["--fp16"] if halve else [])]
        return [str(programs.convert), *command, *(["--config", str(config), "--device", "Ascend"] if config else [])]
    kind = "MINDIR" if save == "mindir" else "MINDIR_LITE"
    command = (
        f"--fmk={source.format.upper()} --saveType={kind} --inputDataFormat={LAYOUT} --optimize={optimize}".split()
    )
    command += [f"--modelFile={model}", f"--outputFile={prefix}", *(["--fp16=on"] if halve else [])]
    return [str(programs.lite.converter), *command, *([f"--configFile={config}"] if config else [])]


def run_converter(
    model: Path, prefix: Path, save: str, source: Artifact, programs: Programs, config: Path | None = None
) -> Path:
    """Run the converter: the file it wrote beside `prefix`. Raises ConversionError with its own last words."""
    command = converter_command(model.absolute(), prefix, save, source, programs, config)
    environment = {**os.environ, "GLOREXT_PARENT": str(os.getpid())}  # our program ends with this process
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
