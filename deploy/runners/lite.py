"""Offline inference over a folder of pictures with the C++ program; Python only starts it and reads its answer."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from glorext.deploy.contract.artifact import read_artifact
from glorext.deploy.runners import programs as native
from glorext.models.answers import Results, read_results
from glorext.runtime import InferenceError, UsageError
from glorext.runtime.chips import FAMILIES

DEVICES = ("cpu", *FAMILIES)


def run_program(command: list[str], show: bool = False) -> None:
    """Run glorext_infer; `show` lets its progress through. Raises UsageError or InferenceError with its own message."""
    # The program draws its own progress on stderr, so stderr goes straight through when it is to be shown.
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=None if show else subprocess.PIPE)
    if done.returncode == 0:
        return
    error = UsageError if done.returncode == 2 else InferenceError
    if done.returncode < 0:
        raise InferenceError(
            f"glorext_infer was ended by signal {-done.returncode}",
            do="Check the model with `glorext convert` again; if it repeats, report the command: " + " ".join(command),
        )
    lines = [] if show else done.stderr.strip().splitlines()
    raise error(lines[-1] if lines else f"glorext_infer failed with status {done.returncode}; its message is above")


def infer(
    model: Path,
    images: Path,
    out: Path,
    device: str = "cpu",
    device_id: int = 0,
    batch: int = 0,
    workers: int = 0,
    threads: int = 0,
    allow_broken: bool = False,
    programs: native.Programs | None = None,
) -> Results:
    """Run a converted model over every picture below `images`; the results folder `out` and what it says.

    Args:
        model: a .ms or .mindir that `glorext convert` wrote, its contract beside it.
        images: folder with pictures, JPEG or PNG, in any depth.
        out: new folder for results.json and logits.npy.
        device: one of DEVICES; another device is never taken instead.
        device_id: which card.
        batch: pictures per call of the runtime; 0 lets the program choose: the model's own, or where that is open
            2 on the cpu and 1 on Ascend.
        workers: models that run side by side; 0 lets the program choose.
        threads: threads of each model; 0 lets the program choose.
        allow_broken: leave broken pictures out and list them, instead of failing at the end.

    Raises:
        DataError, IntegrityError: the model or its contract is not whole.
        InferenceError: the program failed; its message says why.
    """
    read_artifact(model)
    programs = programs or native.build()
    command = [
        str(programs.infer),
        "--model",
        str(model),
        "--images",
        str(images),
        "--device",
        device,
        "--device_id",
        str(device_id),
        "--out",
        str(out),
    ]
    command += ["--batch", str(batch)] if batch else []
    command += ["--workers", str(workers)] if workers else []
    command += ["--threads", str(threads)] if threads else []
    command += ["--allow_broken"] if allow_broken else []
    run_program(command, show=True)
    return read_results(out)


def run_tensor(
    model: Path, inputs: np.ndarray, programs: native.Programs | None = None, device: str = "cpu"
) -> np.ndarray:
    """Outputs (N, classes) float32 of a converted model for `inputs` (N, 3, H, W), as its contract wants them.

    Those are normalized float32 values, or pixels 0 to 255, uint8 or float32; the model's layout is seen to.
    """
    programs = programs or native.build()
    with tempfile.TemporaryDirectory(prefix="glorext-tensor-") as scratch:
        kind = np.uint8 if inputs.dtype == np.uint8 else np.float32
        np.save(Path(scratch) / "input.npy", np.ascontiguousarray(inputs, kind))
        run_program(
            [
                str(programs.infer),
                "--model",
                str(model),
                "--device",
                device,
                "--batch",
                str(len(inputs)),
                "--tensor",
                str(Path(scratch) / "input.npy"),
                "--out",
                str(Path(scratch) / "out"),
            ]
        )
        return np.load(Path(scratch) / "out" / "logits.npy", allow_pickle=False)


def main(argv: list[str]) -> int:
    """`glorext infer`."""
    from glorext.runtime.cli import parser

    arguments = parser(
        "infer",
        "Run a converted model over a folder of pictures with the C++ program.",
        "glorext infer converted/resnext50-digits_lite.mindir --images val/ --out results/",
    )
    arguments.add_argument("model", type=Path, help="a model that `glorext convert` wrote")
    arguments.add_argument("--images", required=True, type=Path, help="folder with JPEG and PNG files, in any depth")
    arguments.add_argument("--out", required=True, type=Path, help="new folder for results.json and logits.npy")
    arguments.add_argument("--device", default="cpu", choices=DEVICES)
    arguments.add_argument("--device_id", type=int, default=0)
    arguments.add_argument(
        "--batch",
        type=int,
        default=0,
        help="pictures per call (default: the model's own; where that is open, cpu 2, Ascend 1)",
    )
    arguments.add_argument("--workers", type=int, default=0, help="models side by side (default: one per core)")
    arguments.add_argument("--threads", type=int, default=0, help="threads per model (default 1)")
    arguments.add_argument("--allow_broken", action="store_true", help="list broken pictures instead of failing")
    arguments.add_argument(
        "--accuracy", action="store_true", help="the class folders are the truth: print the accuracy"
    )
    arguments.add_argument("--json", action="store_true", help="print the summary as JSON")
    options = vars(arguments.parse_args(argv))
    as_json, wants_accuracy = options.pop("json"), options.pop("accuracy")
    results = infer(**options)
    if wants_accuracy:
        from glorext.deploy.validate.accuracy import accuracy_line

        print(
            accuracy_line(results, read_artifact(options["model"]).labels), file=sys.stderr if as_json else sys.stdout
        )
    if as_json:
        print(
            json.dumps(
                {
                    key: getattr(results, key)
                    for key in ("count", "failed", "device", "throughput", "latency_ms", "stages_ms", "seconds")
                }
            )
        )
        return 0
    latency = results.latency_ms
    print(
        f"{results.count} pictures on {results.device}, {results.throughput:.1f} a second; latency p50 "
        f"{latency['p50']:.1f} ms, p90 {latency['p90']:.1f} ms, p99 {latency['p99']:.1f} ms"
    )
    return 0
