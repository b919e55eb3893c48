"""What can be measured: glorext_bench for MindSpore Lite, and for ONNX files the runtimes that are installed here."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from glorext.deploy.contract.artifact import Artifact, read_artifact
from glorext.deploy.runners.lite import run_program
from glorext.deploy.runners.programs import build
from glorext.runtime import InferenceError, SetupError, UsageError
from glorext.runtime.fields import Fields

PEERS = ("onnxruntime", "openvino")
CPU_BATCHES = (1, 2, 4, 8)
CARD_WORKERS = (1, 2, 4)


@dataclass(frozen=True)
class Setting:
    """How a model is run: `workers` calls at once of up to `batch` inputs, each on `threads` threads."""

    workers: int
    threads: int
    batch: int

    def __str__(self) -> str:
        return f"workers {self.workers}, threads {self.threads}, batch {self.batch}"


@dataclass(frozen=True)
class Runtime:
    """A runtime with the model that it runs.

    Attributes:
        name: "MindSpore Lite", or one of PEERS.
        command: the program, which takes glorext_bench's flags and prints its JSON.
    """

    name: str
    model: Path
    artifact: Artifact
    command: tuple[str, ...]
    device: str

    def measure(self, setting: Setting, loads: list[str], warmup: float, seconds: float, *more: str) -> dict:
        """What the program found for these loads."""
        values = {"workers": setting.workers, "threads": setting.threads, "batch": setting.batch}
        flags = [f"--{name}={value}" for name, value in {**values, "warmup": warmup, "seconds": seconds}.items()]
        found = run_program([*self.command, "--model", str(self.model), "--loads", ",".join(loads), *flags, *more])
        return Fields.parse(found.encode(), f"what {self.name} was measured at", error=InferenceError).rest()

    def settings(self, workers: int, threads: int, batch: int) -> list[Setting]:
        """What to try, where a number is 0 all that is worth it."""
        own = self.artifact.input.batch
        sizes = self.artifact.device.batches if self.artifact.device else ()
        batches = (batch,) if batch else (own,) if own > 0 else sizes or CPU_BATCHES
        cores = len(os.sched_getaffinity(0))
        if self.device != "cpu":
            several = [(count, threads or 1) for count in ((workers,) if workers else CARD_WORKERS)]
        else:
            powers = [2**n for n in range(cores.bit_length()) if 2**n <= cores]
            several = [(workers or max(1, cores // each), each) for each in ((threads,) if threads else powers)]
        return [Setting(count, each, size) for count, each in several for size in batches]


def runtimes(model: Path, device: str, device_id: int) -> list[Runtime]:
    """What runs this model here.

    Raises:
        UsageError: a model that no runtime here takes on this device.
        SetupError: an ONNX file, and none of PEERS is installed.
    """
    artifact = read_artifact(model)
    if artifact.format == "onnx":
        if device != "cpu":
            raise UsageError(expected="a converted model for a card", found="onnx", where=model)
        found = [name for name in PEERS if find_spec(name)]
        if not found:
            raise SetupError(
                f"{model}: an ONNX file is measured in {' and '.join(PEERS)}, and neither is installed",
                do="Run: pip install onnxruntime",
            )
        program = (sys.executable, "-m", "glorext.deploy.bench.peer")
        return [Runtime(name, model, artifact, (*program, name), device) for name in found]
    if artifact.format not in ("lite-mindir", "ms"):
        raise UsageError(
            expected="a converted model or an ONNX file",
            found=artifact.format,
            where=model,
            do="Convert it with `glorext convert`.",
        )
    programs = build()
    programs.lite.require_for(device)
    command = (str(programs.bench), "--device", device, "--device_id", str(device_id))
    return [Runtime("MindSpore Lite", model, artifact, command, device)]
