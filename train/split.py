"""Pictures of one folder, divided into those to train on and those to evaluate; two file lists in the run say which."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from glorext.runtime.errors import DataError
from glorext.runtime.files import atomic_path
from glorext.runtime.log import get_logger

from .pictures import Pictures
from .run_paths import read_paths

logger = get_logger("train")
TRAIN_FILES, VAL_FILES = "train_files.txt", "val_files.txt"


def held_out_indices(targets: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which pictures are held out: of each class that share, rounded, at least one, and never all; int (M,), sorted.

    A class of one picture is trained on.
    """
    chosen = []
    for target in np.unique(targets):
        of_class = np.flatnonzero(targets == target)
        count = min(max(1, round(share * len(of_class))), len(of_class) - 1)
        chosen.append(np.random.default_rng([seed, int(target)]).permutation(of_class)[:count])
    return np.sort(np.concatenate(chosen)).astype(int)


def divided(pictures: Pictures, share: float, seed: int, run: Path | None) -> tuple[Pictures, Pictures]:
    """The pictures to train on and those held out.

    Args:
        share: of each class, that is held out.
        run: the folder of the run that goes on, whose file lists count; None, or one that lost them: drawn by `seed`.

    Raises:
        DataError: a listed picture is not there, or nothing can be held out.
    """
    if run and all((run / name).is_file() for name in (TRAIN_FILES, VAL_FILES)):
        return listed(pictures, run / TRAIN_FILES), listed(pictures, run / VAL_FILES)
    indices = held_out_indices(pictures.targets, share, seed)
    if not len(indices):
        raise DataError(expected="a class of two or more pictures", found="none", where=pictures.folder)
    return pictures.without(indices), pictures.without(np.setdiff1d(np.arange(len(pictures)), indices))


def listed(pictures: Pictures, path) -> Pictures:
    """Those of `pictures` that a file list names, one `<class>/<file>` a line.

    Raises:
        DataError: no such list, an empty one, or one that names a picture which is not there.
    """
    try:
        names = set(_names_in(path))
    except OSError as error:
        raise DataError(expected="a file list", found=error.strerror or error, where=path) from error
    missing = sorted(names.difference(pictures.paths))
    if missing or not names:
        raise DataError(
            expected=f"names of pictures in {pictures.folder}, <class>/<file>",
            found=f"{missing[0]!r}, one of {len(missing)} that are not there" if missing else "an empty list",
            where=path,
            do="Name the folder that the list was made for.",
        )
    return pictures.without([i for i, name in enumerate(pictures.paths) if name not in names])


def unseen(pictures: Pictures, run: Path | None) -> Pictures:
    """Those of `pictures` that a run held out, where they are the ones that it divided; others as they are.

    What it was trained on says little of its accuracy; so a line says what was left out, and warns where the pictures
    are, or by their names may be, what it was trained on.

    Args:
        run: the folder of the run that is evaluated; None without one.
    """
    paths = read_paths(run) if run else None
    if not (run and paths):
        return pictures
    same = os.path.realpath(pictures.folder) == os.path.realpath(paths.data_dir)
    if not (run / VAL_FILES).is_file():
        if same:
            logger.warning("%s: the pictures that %s was trained on", pictures.folder, run)
        return pictures
    if same:
        held_out = listed(pictures, run / VAL_FILES)
        left = "%s was trained on others of these %d pictures: only the %d of its %s count"
        logger.warning(left, run, len(pictures), len(held_out), VAL_FILES)
        return held_out
    if (run / TRAIN_FILES).is_file() and set(_names_in(run / TRAIN_FILES)) <= set(pictures.paths):
        logger.warning(
            "among them are all names that %s was trained on: leave them out by a list, as %s", run, VAL_FILES
        )
    return pictures


def _names_in(path) -> list[str]:
    return [name for name in os.fsdecode(Path(path).read_bytes()).split("\n") if name]


def write_lists(folder: Path, train: Pictures, held_out: Pictures) -> None:
    """Write both file lists into a run's folder, atomically.

    Raises:
        DataError: a name that holds a line break.
    """
    for name, pictures in ((TRAIN_FILES, train), (VAL_FILES, held_out)):
        broken = next((path for path in pictures.paths if "\n" in path), None)
        if broken:
            raise DataError(expected="names of one line", found=repr(broken), where=pictures.folder, do="Rename it.")
        with atomic_path(folder / name) as temporary:
            temporary.write_bytes(os.fsencode("".join(f"{path}\n" for path in pictures.paths)))
