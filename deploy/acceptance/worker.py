"""`python -m glorext.deploy.acceptance.worker`: a piece of a check in a process of its own, and what it works with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from glorext.deploy.acceptance.record import FAIL, NOT_RUN, PASS, Number
from glorext.runtime import GlorextError, InferenceError, SetupError, read_json, write_json
from glorext.runtime.log import log_to_stderr

MODULE = "glorext.deploy.acceptance.worker"
JOB = "job.json"


class NotRun(Exception):
    """A check has nothing to run on here; says why."""


@dataclass(frozen=True)
class Job:
    """What a check works with.

    Attributes:
        folder: for all files of this run of the command.
        device, target, devices: see `Acceptance`.
        on, infers_on, processor: names beside numbers: of what trains, of what offline inference runs on, and of the
            computer's own processor.
        short: whether networks and inputs are small.
    """

    folder: str
    device: str
    target: str
    devices: int
    on: str
    infers_on: str
    processor: str
    short: bool

    @property
    def path(self) -> Path:
        """`folder` as a path."""
        return Path(self.folder)

    def write(self) -> None:
        """Leave it in its folder, for the processes of the checks."""
        write_json(self.path / JOB, asdict(self))

    def number(self, what: str, value: float, unit: str) -> Number:
        """A number that the device gave."""
        return Number(what, round(float(value), 6), unit, self.on)


@dataclass(frozen=True)
class Found:
    """What a check found: a sentence, what misses its bound (nothing: the row passes), and numbers."""

    text: str
    wrong: tuple[str, ...] = ()
    numbers: tuple[Number, ...] = ()


def worker_words(folder: Path, place: str) -> list[str]:
    """The words after `python` that call "module:function" with the job of `folder`."""
    return ["-m", MODULE, str(folder), place]


def command(words, **environment: str) -> str:
    """Run `python WORDS`: what it printed.

    Raises:
        InferenceError: it failed; the message has the end of what it said.
    """
    texts = [str(word) for word in words]
    done = subprocess.run(
        [sys.executable, *texts], capture_output=True, text=True, errors="replace", env=os.environ | environment
    )
    sys.stderr.write(done.stderr)
    if done.returncode:
        raise InferenceError(f"python {' '.join(texts)}: {why(done.returncode, done.stdout + done.stderr)}")
    return done.stdout


def why(status: int, said: str) -> str:
    """How a process ended that failed, with the last line of what it said."""
    lines = [line.strip() for line in said.strip().splitlines() if line.strip()]
    how = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
    return f"{how}: {lines[-1][:400]}" if lines else how


def answer(job: Job, function, *words) -> dict[str, Any]:
    """What a check says as the values of a row: state, found, numbers."""
    try:
        found = function(job, *words)
    except (NotRun, SetupError) as reason:
        return {"state": NOT_RUN, "found": str(reason), "numbers": []}
    except GlorextError as error:
        return {"state": FAIL, "found": f"{type(error).__name__}: {error}", "numbers": []}
    except Exception as error:  # a check that dies must not end the others: its row says how
        traceback.print_exc()
        return {"state": FAIL, "found": f"{type(error).__name__}: {error}", "numbers": []}
    text = "; ".join([*found.wrong, found.text]) if found.wrong else found.text
    return {"state": FAIL if found.wrong else PASS, "found": text, "numbers": [asdict(one) for one in found.numbers]}


def main(argv: list[str]) -> int:
    """`worker FOLDER MODULE:FUNCTION WORDS...`, with `--row FILE` in front for the answer of a check."""
    out = None
    if argv[0] == "--row":
        out, argv = Path(argv[1]), argv[2:]
    folder, place, *words = argv
    job = Job(**read_json(Path(folder) / JOB))
    module, name = place.split(":")
    function = getattr(import_module(module), name)
    if out is None:
        function(job, *words)
    else:
        write_json(out, answer(job, function, *words))
    return 0


def read_answer(path: Path) -> dict[str, Any]:
    """The values of a row that a worker wrote."""
    values = json.loads(path.read_text(encoding="utf-8"))
    return {**values, "numbers": tuple(Number(**one) for one in values["numbers"])}


if __name__ == "__main__":
    # By its name: the checks raise that module's NotRun, not the one of __main__.
    log_to_stderr()
    sys.exit(import_module(MODULE).main(sys.argv[1:]))
