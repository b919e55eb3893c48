"""`glorext train --verify_resume K`: proof on this machine that a killed and resumed run ends with the same bits."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from glorext.models.formats import read_tensors
from glorext.runtime.errors import GlorextError, UsageError

from .distributed import launched
from .run_folder import RunFolder

TIMED = ("images_per_second", "seconds")
# Flags that the check gives itself.
OWN: tuple[str, ...] = ("--verify_resume", "--out", "--ckpt_path", "--save_checkpoint_path", "--resume", "--stop_after")
OWN += ("--ckpt_interval", "--keep_checkpoint_max")


class ResumeError(GlorextError):
    """A resumed run did not end where the uninterrupted one ended."""


def without_flags(argv: list[str], *names: str) -> list[str]:
    """`argv` without the given flags and their values."""
    kept, skip = [], False
    for word in argv:
        if skip:
            skip = False
        elif word in names:
            skip = True
        elif not word.startswith(tuple(f"{name}=" for name in names)):
            kept.append(word)
    return kept


def verify_resume(argv: list[str], steps: int) -> int:
    """Train `steps` steps as `argv` says, once in one go and once killed by SIGKILL halfway and resumed.

    Raises:
        ResumeError: weights, optimizer, loss scale or logged losses differ.
        UsageError: fewer than four steps.
    """
    if launched():
        raise UsageError(
            expected="one process, which starts and kills others",
            found="one of msrun's",
            where="--verify_resume",
            do="Run it without the launcher.",
        )
    if steps < 4:
        raise UsageError(expected="at least 4 steps", found=steps, where="--verify_resume")
    base = without_flags(argv, *OWN)
    base += ["--stop_after", str(steps), "--ckpt_interval", str(max(1, steps // 4)), "--keep_checkpoint_max", "2"]
    with tempfile.TemporaryDirectory(prefix="glorext-verify-") as folder:
        whole, parts = Path(folder, "whole"), Path(folder, "parts")
        print(f"1/3 {steps} steps in one go", flush=True)
        _run(base, whole)
        print(f"2/3 the same, killed after {steps // 2} steps", flush=True)
        _run(base, parts, kill_after=steps // 2)
        print("3/3 resumed", flush=True)
        _run(base + ["--resume", "auto"], parts)
        tensors = _compare(whole, parts)
    print(
        f"the same to the bit after {steps} steps: {tensors} tensors of weights, optimizer and position, "
        "and every logged loss and accuracy"
    )
    return 0


def _run(flags: list[str], out: Path, kill_after: int | None = None) -> None:
    out.mkdir(exist_ok=True)
    log = out.with_suffix(".log")
    with open(log, "ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "glorext.train", *flags, "--out", str(out)], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while kill_after is not None and process.poll() is None and _steps_of(out) < kill_after:
                time.sleep(0.02)
            if kill_after is not None:
                process.send_signal(signal.SIGKILL)
            status = process.wait()
        finally:
            process.kill()
            process.wait()
    if status != (0 if kill_after is None else -signal.SIGKILL):
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        raise ResumeError(f"training ended with status {status}: {tail}", do="Make the run work without the check.")


def _steps_of(out: Path) -> int:
    metrics = out / "metrics.jsonl"
    return metrics.read_text().count('"event": "step"') if metrics.exists() else 0


def _events(out: Path) -> list[dict]:
    return [
        {key: value for key, value in json.loads(line).items() if key not in TIMED}
        for line in (out / "metrics.jsonl").read_text().splitlines()
    ]


def _compare(whole: Path, parts: Path) -> int:
    paths = [RunFolder(folder, resume=True).checkpoints()[0] for folder in (whole, parts)]
    one, other = map(read_tensors, paths)
    differing = [
        name
        for name in sorted(one.keys() | other.keys())
        if name not in one or name not in other or one[name].tobytes() != other[name].tobytes()
    ]
    if paths[0].name != paths[1].name or differing:
        raise ResumeError(
            expected=f"{paths[0].name} to the bit",
            found=f"{paths[1].name}, {len(differing)} tensors differ: {', '.join(differing[:5])}",
        )
    if _events(whole) != _events(parts):
        raise ResumeError(expected="the same metrics.jsonl", found="other losses, rates or accuracies")
    return len(one)
