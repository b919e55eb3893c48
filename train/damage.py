"""Finds damaged pictures before training starts: some of them would crash the whole process inside the decoder."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from glorext.models.picture_file import picture_fault
from glorext.runtime.errors import DataError
from glorext.runtime.log import get_logger

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
    share = group.share(len(pictures))
    with ThreadPoolExecutor() as pool:
        checks = pool.map(lambda i: picture_fault(pictures.folder / pictures.paths[i]), share, chunksize=64)
        found = list(
            tqdm(checks, total=len(share), desc="check pictures", unit="picture", disable=quiet, leave=False, delay=1)
        )
    reasons = {i: reason for i, reason in zip(share, found) if reason}
    damaged = np.zeros(len(pictures), np.int64)
    damaged[list(reasons)] = 1
    damaged = np.flatnonzero(group.sum(damaged))
    if not len(damaged):
        return pictures
    names = [pictures.folder / pictures.paths[i] for i in damaged]
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
