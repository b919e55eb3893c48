"""Checks as `glorext acceptance` runs them, in processes of their own: one that passes, and every way to fail."""

import os
import signal
import subprocess
import sys
import time

from glorext.deploy.acceptance import command
from glorext.deploy.acceptance.checks import Check
from glorext.deploy.acceptance.worker import Found
from glorext.deploy.acceptance.worker import command as python
from glorext.runtime import DataError, SetupError
from glorext.runtime.cli import run


def good(job, word):
    print("said on the way")
    return Found(f"{word} of {job.device}", (), (job.number("speed", 12.3456789, "pictures/s"),))


def wrong(job):
    return Found("1 of 2 agree", ("0.5 apart, 0.1 allowed",), (job.number("apart", 0.5, ""),))


def refused(job):
    raise DataError(expected="ten pictures", found="nine", where="/home/somebody/secret/pictures")


def broken(job):
    return 1 / 0


def killed(job):
    print("so far so good", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def silent(job):
    os._exit(0)


def part_killed(job):
    python(["-c", "import os; os.kill(os.getpid(), 9)"])


def unable(job):
    raise SetupError(expected="a compiler", found="none")


def hangs(job):
    """Never answers, and leaves a process in a session of its own whose number it writes."""
    left = subprocess.Popen(["sleep", "600"], start_new_session=True)
    (job.path.parent / f"left-{os.environ['ROWS']}").write_text(str(left.pid))
    print("waiting for a card", flush=True)
    time.sleep(600)


def check(name, *words, **more):
    return Check(name, f"Row {name}", "what is right", f"rows:{name.split('-')[0]}", words, **{"after": (), **more})


NAMES = ("good", "wrong", "refused", "broken", "killed", "silent", "part_killed", "unable", "hangs")
TABLE = (
    *(check(name, *(["word"] if name == "good" else [])) for name in NAMES),
    check("good-after-killed", "word", after=("good", "killed")),
    check("good-lacks", "word", lacks="no card here"),
    check("good-last", "word", after=("good",)),
)
ENDLESS = tuple(one for one in TABLE if one.name in ("good", "hangs", "good-last"))


if __name__ == "__main__":
    command.checks = lambda job: ENDLESS
    sys.exit(run("glorext acceptance", lambda: command.main(sys.argv[1:])))
