"""Which pictures were found whole before: by name, size and time, so that no start of a run reads them all again.

The cache holds a file of marks for each folder and each process that checked a part of it. A mark is a hash of a
picture's name, size and time and of the rule that it was held to.
"""

from __future__ import annotations

import hashlib
import os
import time
from functools import lru_cache
from pathlib import Path

from glorext.models import jpeg_file, picture_file, picture_limits, png_file
from glorext.runtime import env
from glorext.runtime.files import atomic_path, sha256_bytes
from glorext.runtime.log import get_logger

from .distributed import Group

logger = get_logger("train")
MARK = 16  # bytes
YOUNG = 2_000_000_000  # ns: a file this young may change again without another time


@lru_cache(maxsize=1)
def _rule() -> bytes:
    """A hash of the code that judges pictures: what an earlier version found whole counts no longer."""
    modules = (picture_file, picture_limits, jpeg_file, png_file)
    return hashlib.blake2b(b"".join(Path(str(module.__file__)).read_bytes() for module in modules)).digest()


def marks_of(root: Path, files) -> list[bytes | None]:
    """The mark of each picture ROOT/FILE; None for one that cannot be asked, or is too young to be known again."""
    above, rule, newest = os.fsencode(root), _rule(), time.time_ns() - YOUNG
    marks: list[bytes | None] = []
    for path in map(os.fsencode, files):
        try:
            state = os.stat(os.path.join(above, path))
        except OSError:
            marks.append(None)
            continue
        if state.st_mtime_ns > newest:
            marks.append(None)
            continue
        text = b"%d %d " % (state.st_size, state.st_mtime_ns)
        marks.append(hashlib.blake2b(text + path, key=rule, digest_size=MARK).digest())
    return marks


def _place(folder: Path) -> tuple[Path, str]:
    return env.cache_dir() / "checked", sha256_bytes(os.fsencode(folder.resolve()))[:32]


def found_whole(folder: Path) -> set[bytes]:
    """The marks of the pictures of `folder` that were found whole."""
    place, name = _place(folder)
    known: set[bytes] = set()
    try:
        for path in place.glob(f"{name}-*"):
            data = path.read_bytes()
            known.update(data[i : i + MARK] for i in range(0, len(data), MARK))
    except OSError as error:
        logger.info("all pictures are checked: %s", error)
    return known


def remember(folder: Path, group: Group, marks) -> None:
    """Note the marks of the pictures that this process found whole; a cache that cannot be written does without."""
    place, name = _place(folder)
    try:
        with atomic_path(place / f"{name}-{group.rank}of{group.size}") as temporary:
            temporary.write_bytes(b"".join(marks))
    except OSError as error:
        logger.info("the pictures will be checked again: %s", error)
