"""A check in processes of its own, ended as a whole where it does not answer in time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

from glorext.deploy.acceptance.record import FAIL
from glorext.deploy.acceptance.worker import read_answer, why, worker_words
from glorext.train.launch import end_marked

MARK = "GLOREXT_ACCEPTANCE"  # in the environment of every process that one check started
INTERVAL = 0.1


class Stopped(Exception):
    """The command was asked to end while a check ran."""


def run(folder: Path, place: str, words: tuple[str, ...], limit: float, log: Path, stop: threading.Event) -> dict:
    """Call a check, "module:function", with the job of `folder`: state, found and numbers of its row.

    Args:
        limit: seconds; then everything that it started is ended, and the row fails.
        log: file for what it says.
        stop: ends it when set.

    Raises:
        Stopped: `stop` was set.
    """
    answer, mark = folder / f"{uuid.uuid4().hex}.json", uuid.uuid4().hex
    own = worker_words(folder, place)
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, MARK: mark, "GLOG_v": os.environ.get("GLOG_v", "3")}  # noqa: SIM112
    command = [sys.executable, *own[:2], "--row", str(answer), *own[2:], *words]
    with open(log, "wb") as output:
        begun = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
        )
        try:
            while process.poll() is None and time.monotonic() < begun + limit and not stop.wait(INTERVAL):
                pass
            status = process.poll()
        finally:
            end_marked(mark, MARK)
            process.wait()
    if stop.is_set() and status is None:
        raise Stopped
    if status == 0 and answer.is_file():
        return read_answer(answer)
    said = log.read_text(errors="replace")
    if status is None:
        found = f"no answer in {limit:.0f} s, so it was ended; {_last(said)}"
    else:
        found = why(status, said) if status else f"ended without an answer; {_last(said)}"
    return {"state": FAIL, "found": found, "numbers": ()}


def _last(said: str) -> str:
    lines = [line for line in said.strip().splitlines() if line.strip()]
    return f"the last that it said: {lines[-1][:400]}" if lines else "it had said nothing"
