"""Runs models in MindSpore Lite by the C++ program; Python only starts it and reads its answer."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from glorext.deploy.contract.artifact import Artifact, read_artifact
from glorext.deploy.runners.common import Request, Run, join, preprocessed
from glorext.deploy.runners.programs import Programs, build
from glorext.models.answers import Results, read_results
from glorext.runtime import DataError, InferenceError, UsageError
from glorext.runtime.fields import Fields
from glorext.train.pictures import Pictures

# The exit status of a program that was stopped by SIGINT.
INTERRUPTED = 130
# Pictures a call: as tensors of 224 x 224 they are 154 MB.
CHUNK = 256


def run_program(command: list[str], show: bool = False) -> str:
    """Run one of the C++ programs: what it printed.

    Args:
        show: let its progress through, which it draws on stderr.

    Raises:
        UsageError, InferenceError: with its own message.
        KeyboardInterrupt: it was stopped, and has ended.
    """
    with subprocess.Popen(
        command,
        text=True,
        encoding="utf-8",
        errors="backslashreplace",  # the names of files may be of other bytes
        stdout=subprocess.PIPE,
        stderr=None if show else subprocess.PIPE,
        env={**os.environ, "GLOREXT_PARENT": str(os.getpid())},  # it ends with this process
        start_new_session=True,  # a terminal's Ctrl-C reaches it once, from here
    ) as program:
        try:
            stdout, stderr = program.communicate()
        except KeyboardInterrupt:
            _stop(program)
            raise
    if program.returncode == 0:
        return stdout
    if program.returncode == INTERRUPTED:
        raise KeyboardInterrupt
    name = Path(command[0]).name
    if program.returncode < 0:
        raise InferenceError(
            f"{name} was ended by signal {-program.returncode}",
            do="Check the model with `glorext convert` again; if it repeats, report the command: " + " ".join(command),
        )
    error = UsageError if program.returncode == 2 else InferenceError
    lines = [] if show else stderr.strip().splitlines()
    raise error(lines[-1] if lines else f"{name} failed with status {program.returncode}; its message is above")


def _stop(program: subprocess.Popen) -> None:
    """Let a program end in its own way, which keeps what it has computed; after a second Ctrl-C at once."""
    program.send_signal(signal.SIGINT)
    try:
        program.wait()
    except KeyboardInterrupt:
        program.kill()


def input_shape(model: Path, programs: Programs) -> tuple[int, ...]:
    """The four sizes of the input of a converted model as it is built on the CPU, -1 where the batch may vary.

    Raises:
        InferenceError: the model cannot be built, or has other inputs.
    """
    described = run_program([str(programs.infer), "--model", str(model), "--inspect"])
    fields = Fields.parse(described.encode(), f"{model}, as glorext_infer --inspect describes it", error=InferenceError)
    shapes = [port.values("shape", int) for port in fields.inners("inputs")]
    if [len(shape) for shape in shapes] != [4]:
        raise fields.wrong("one input with four axes", list(map(list, shapes)), "inputs")
    return shapes[0]


def infer(
    model: Path,
    images: Path,
    out: Path,
    device: str = "cpu",
    device_id: int = 0,
    batch: int = 0,
    workers: int = 0,
    threads: int = 0,
    decoders: int = 0,
    allow_broken: bool = False,
    resume: bool = False,
    programs: Programs | None = None,
) -> Results:
    """Run a converted model over every picture below `images`; the results folder `out` and what it says.

    Args:
        model: a .ms or .mindir that `glorext convert` wrote, its contract beside it.
        images: folder with pictures, JPEG or PNG, in any depth.
        out: new folder for results.json and logits.npy.
        device: one of LITE_DEVICES; another device is never taken instead.
        device_id: which card.
        batch: pictures per call of the runtime; 0 lets the program choose: the model's own, or where that is open
            2 on the cpu, and on a card the largest prepared size and for the rest the smallest that fits.
        workers: models that run side by side; 0 lets the program choose.
        threads: threads of each model; 0 lets the program choose.
        decoders: pictures that are decoded at once; 0 lets the program choose.
        allow_broken: leave broken pictures out and list them, instead of failing at the end.
        resume: go on with a run that was ended, whose answers are in `out`.partial; without one, begin.

    Raises:
        UsageError: `out`.partial holds the answers of a run that was ended, and `resume` is not asked for, or that run
            was of another model, preprocessing, list of pictures or device.
        DataError, IntegrityError: the model or its contract is not whole.
        SetupError: this MindSpore Lite has nothing for the device.
        InferenceError: the program failed; its message says why. Where it failed in the middle of the run, `out` holds
            what was computed before, and lists the rest as failed.
        KeyboardInterrupt: Ctrl-C; `out` holds as much.
    """
    read_artifact(model)
    programs = programs or build()
    programs.lite.require_for(device)
    command = [str(programs.infer), "--model", str(model), "--images", str(images), "--out", str(out)]
    command += ["--device", device, "--device_id", str(device_id)]
    for flag, value in (("--batch", batch), ("--workers", workers), ("--threads", threads), ("--decoders", decoders)):
        command += [flag, str(value)] if value else []
    for switch, wanted in (("--allow_broken", allow_broken), ("--resume", resume)):
        command += [switch] if wanted else []
    run_program(command, show=True)
    return read_results(out)


def run_tensors(
    model: Path, inputs: np.ndarray, programs: Programs, device: str = "cpu", device_id: int = 0, batch: int = 0
) -> Results:
    """The answers of a converted model to `inputs` (N, 3, H, W), as `infer` gives them, with numbers as paths.

    The inputs are what the model's contract asks for: normalized float32 values, or pixels 0 to 255 as uint8 or
    float32. The program puts them into the model's layout.
    """
    programs.lite.require_for(device)
    with tempfile.TemporaryDirectory(prefix="glorext-tensor-") as scratch:
        tensor, out = Path(scratch) / "input.npy", Path(scratch) / "out"
        np.save(tensor, np.ascontiguousarray(inputs, np.uint8 if inputs.dtype == np.uint8 else np.float32))
        command = [str(programs.infer), "--model", str(model), "--tensor", str(tensor), "--out", str(out)]
        command += ["--device", device, "--device_id", str(device_id)]
        run_program([*command, "--batch", str(batch)] if batch else command)
        return read_results(out)


def run_tensor(model: Path, inputs: np.ndarray, programs: Programs | None = None, device: str = "cpu") -> np.ndarray:
    """Outputs (N, classes) float32 of a converted model for one batch `inputs`, as `run_tensors` takes them."""
    return run_tensors(model, inputs, programs or build(), device, batch=len(inputs)).logits


@contextlib.contextmanager
def linked(pictures: Pictures):
    """A temporary folder that holds links to exactly these pictures, as <class>/<file>; for the C++ program."""
    with tempfile.TemporaryDirectory(prefix="glorext-pictures-") as folder:
        for name in {os.path.dirname(path) for path in pictures.paths}:
            (Path(folder) / name).mkdir(parents=True, exist_ok=True)
        for index, path in enumerate(pictures.paths):
            place = pictures.file(index).absolute()
            if not place.is_file():
                raise DataError(
                    expected="picture files",
                    found="no such file",
                    where=place,
                    do="This backend reads JPEG and PNG files in class folders, no MindRecord.",
                )
            os.symlink(place, Path(folder) / path)
        yield Path(folder)


def by_program(path: Path, request: Request, programs: Programs) -> Run:
    """A function from pictures to the answers of the C++ program alone, which decodes and preprocesses them itself."""

    def run(pictures: Pictures) -> Results:
        with linked(pictures) as folder, tempfile.TemporaryDirectory(prefix="glorext-validate-") as scratch:
            return infer(path, folder, Path(scratch) / "results", request.device, request.device_id, programs=programs)

    return run


def by_tensors(path: Path, artifact: Artifact, request: Request, programs: Programs) -> Run:
    """A function from pictures to the answers of the same model, fed by the NumPy reference of the preprocessing."""

    def answered(pictures: Pictures, indices, inputs: np.ndarray, preprocessing: float) -> Results:
        part = run_tensors(path, inputs, programs, request.device, request.device_id)
        for index, picture in zip(indices, part.pictures):
            picture |= {"path": pictures.paths[index], "ms": picture["ms"] + preprocessing}
        return dataclasses.replace(
            part,
            backend="lite",
            seconds=part.seconds + preprocessing / 1e3 * len(indices),
            stages_ms={"preprocess": preprocessing, "infer": part.stages_ms["infer"]},
        )

    def run(pictures: Pictures) -> Results:
        return join([answered(pictures, *chunk) for chunk in preprocessed(pictures, artifact, CHUNK)])

    return run
