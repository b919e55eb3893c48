"""The versions of MindSpore that glorext runs with, what goes with each, and the one thing that differs between them.

Stands on the standard library alone and takes no other file of glorext: `make MINDSPORE=2.7.1` runs it by its path,
before anything is installed, to ask whether a Python has wheels of that version.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

SUPPORTED = ">=2.7.1,<2.11"  # as setup.py asks pip for it
RANGE = "2.7.1 to 2.10"  # for people


@dataclass(frozen=True)
class Release:
    """A MindSpore, and what is documented for it.

    Attributes:
        mindspore: how its version begins.
        cann: the first two numbers of each CANN.
        python: the lowest and the highest 3.x of its wheels.
        old_protobuf: whether its generated protobuf code is older than 3.19 and needs protobuf's Python implementation.
    """

    mindspore: str
    cann: tuple[str, ...]
    python: tuple[int, int]
    old_protobuf: bool = True


# The wheels of the package index; CANN by MindSpore's installation tables, from 2.8 on by its own check, which takes
# more than one (run_check/_check_version.py). All are built against NumPy 1.
RELEASES = (
    Release("2.7.1", ("8.3",), (9, 11)),
    Release("2.7.2", ("8.5",), (9, 12)),
    Release("2.8", ("8.2", "8.3", "8.5"), (9, 12)),
    Release("2.9", ("8.2", "8.3", "8.5", "9.0"), (9, 12)),
    Release("2.10", ("8.2", "8.3", "8.5", "9.0", "9.1"), (10, 12), old_protobuf=False),
)
PROTOBUF = "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"


def release_of(mindspore: str) -> Release | None:
    """The row of RELEASES for a version of MindSpore, "2.7.1.post1" included; None for one that is not supported."""
    return next((row for row in RELEASES if f"{mindspore}.".startswith(f"{row.mindspore}.")), None)


def installed() -> str | None:
    """The version of MindSpore that is installed, without importing it."""
    try:
        return version("mindspore")
    except PackageNotFoundError:
        return None


def choose_protobuf() -> None:
    """Have protobuf take its Python implementation where the installed MindSpore is generated for that alone.

    MindSpore before 2.10 sets the same variable when it is imported, which is too late where protobuf came first. A
    value that the user set stays.
    """
    row = release_of(installed() or "")
    if row and row.old_protobuf:
        os.environ.setdefault(PROTOBUF, "python")


def protobuf_in_the_way() -> str | None:
    """The implementation of protobuf with which the installed MindSpore cannot be imported; None if there is none."""
    row = release_of(installed() or "")
    chosen = sys.modules.get("google.protobuf.internal.api_implementation")
    kind = chosen.Type() if chosen else "python"
    return kind if row and row.old_protobuf and kind != "python" and "mindspore" not in sys.modules else None


def no_wheel(mindspore: str, python: tuple[int, int]) -> str | None:
    """Why there is no wheel of this MindSpore for a Python that glorext runs with; None if there is one."""
    row = release_of(mindspore) if re.fullmatch(r"\d+\.\d+\.\d+(\.post\d+)?", mindspore) else None
    if row is None:
        return f"expected a version of MindSpore from {RANGE}, as in MINDSPORE=2.7.1; found {mindspore}"
    lowest, highest = max(row.python[0], 10), row.python[1]
    if not (3, lowest) <= python <= (3, highest):
        told = f"MindSpore {mindspore} has wheels for Python 3.{lowest} to 3.{highest}, not for 3.{python[1]}"
        return f"{told}: name one that fits, as in PYTHON=/path/to/python3.{highest}"
    return None


if __name__ == "__main__":
    reasons = list(filter(None, (no_wheel(mindspore, sys.version_info[:2]) for mindspore in sys.argv[1:])))
    print(*reasons, end="")
    sys.exit(bool(reasons))
