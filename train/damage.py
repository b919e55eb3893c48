"""Finds damaged pictures before training starts: some of them would crash the whole process inside the decoder."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from glorext.models.picture_file import picture_fault
from glorext.runtime.errors import DataError
from glorext.runtime.log import get_logger

from .checked import found_whole, marks_of, remember
from .distributed import Group
from .pictures import Pictures
from .records import Records
from .run_folder import fingerprint

logger = get_logger("train")
SHOWN = 20  # names of damaged pictures in a warning


def without_damage(pictures: Pictures, skip: bool = False, group: Group = Group(), quiet: bool = True) -> Pictures:
    """`pictures`, if all of them are whole, and the same in every process; each process checks its share.

    Args:
        skip: leave damaged pictures out and log each, instead of raising.

    Raises:
        DataError: a picture that `picture_fault` refuses; names its path. Or another host has other pictures.
    """
    if group.size > 1:
        group.require_equal(fingerprint(pictures).tobytes(), "names and labels of pictures", pictures.folder)
    if isinstance(pictures, Records):  # checked when they were written
        return pictures
    reasons = _reasons(pictures, group, quiet)
    damaged = np.zeros(len(pictures), np.int64)
    damaged[list(reasons)] = 1
    damaged = np.flatnonzero(group.sum(damaged))
    if not len(damaged):
        return pictures
    names = [pictures.file(i) for i in damaged]
    if not skip:
        raise DataError(
            expected="a whole JPEG or PNG picture",
            found=reasons.get(int(damaged[0]), "a damaged one"),
            where=f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}",
            do="Replace or remove it, or leave it out by --skip_corrupt (train: --skip_corrupt true).",
        )
    if group.is_writer:
        logger.warning(
            "left out %d of %d pictures that cannot be decoded: %s%s",
            len(names),
            len(pictures),
            ", ".join(map(str, names[:SHOWN])),
            ", ..." if len(names) > SHOWN else "",
        )
    return pictures.without(damaged)


def _reasons(pictures: Pictures, group: Group, quiet: bool) -> dict[int, str]:
    """What is wrong with the damaged pictures among this process's share, by index; reads those not known as whole.

    In one thread: most of the time goes into Python, where more threads are slower than one.
    """
    share = group.share(len(pictures))
    marks = dict(zip(share, marks_of(pictures.root, [pictures.files[i] for i in share])))
    known = found_whole(pictures.folder)
    unknown = [i for i, mark in marks.items() if mark not in known]
    reasons = {}
    for i in tqdm(unknown, desc="check pictures", unit="picture", disable=quiet, leave=False, delay=1):
        if reason := picture_fault(pictures.file(i)):
            reasons[i] = reason
    if unknown:
        remember(pictures.folder, group, (mark for i, mark in marks.items() if mark and i not in reasons))
    return reasons
