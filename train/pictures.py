"""Which pictures there are, of which class, and in which order an epoch and a device see them."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glorext.models.labels import check_labels, imagenet_labels
from glorext.models.picture_file import OTHER_ENDINGS, PICTURE_ENDINGS
from glorext.runtime.errors import DataError
from glorext.runtime.files import sha256_bytes

# What Windows, macOS, Linux and network storage leave in folders beside hidden names: files, and folders that may hold
# pictures. deploy/cpp/src/files.cc has the same names.
SYSTEM_NAMES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "lost+found"}
SYSTEM_NAMES |= {"@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "system volume information"}
SHOWN = 5  # names of such pictures in an error
PARTS = {"train": ("train", "training"), "val": ("val", "valid", "validation", "test")}


@dataclass(frozen=True)
class Pictures:
    """A tree of pictures, FOLDER/<class>/<file>, in the order of the bytes of its paths.

    Attributes:
        folder: root of the tree.
        labels: class names; a class's index is its place here, whichever folders exist.
        paths: "<class>/<file>" of every picture.
        targets: int32 class index of every picture.
        places: where each picture stands among the files that MindSpore finds in the folder.
        extensions: the endings of those files; none for MindRecord.
    """

    folder: Path
    labels: tuple[str, ...]
    paths: tuple[str, ...]
    targets: np.ndarray
    places: np.ndarray
    extensions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def digest(self) -> str:
        """SHA-256 over the relative paths: equal for equal trees of names."""
        return sha256_bytes("".join(f"{path}\n" for path in self.paths).encode("utf-8", "surrogateescape"))

    @property
    def root(self) -> Path:
        """The folder to which `files` are relative."""
        return self.folder

    @property
    def files(self) -> tuple[str, ...]:
        """Where every picture is, relative to `root`."""
        return self.paths

    def file(self, index: int) -> Path:
        """Where a picture is."""
        return self.root / self.files[index]

    def at(self, indices) -> Pictures:
        """The pictures at `indices`, in that order."""
        indices = np.asarray(indices, int)
        return dataclasses.replace(
            self,
            paths=tuple(self.paths[i] for i in indices),
            targets=self.targets[indices],
            places=self.places[indices],
        )

    def without(self, indices) -> Pictures:
        """All pictures but those at `indices`."""
        return self.at(np.setdiff1d(np.arange(len(self)), indices))

    def source(self, indices):
        """The pictures at `indices`, undecoded, in that order, as a MindSpore data set (image, label)."""
        import mindspore.dataset as ds

        indices = np.asarray(indices, int)
        return ds.ImageFolderDataset(
            str(self.folder),
            sampler=ds.SubsetSampler(self.places[indices].tolist()),
            extensions=list(self.extensions),
            class_indexing={label: i for i, label in enumerate(self.labels)},
        )


def is_picture(name: str) -> bool:
    """Whether a file counts as a picture by its name: one of PICTURE_ENDINGS, and not hidden."""
    return _has_ending(name) and not name.startswith(".")


def is_passed_over(name: str) -> bool:
    """Whether a file or folder is hidden or one of SYSTEM_NAMES."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def files_below(folder) -> list[Path]:
    """All files below a folder in the order of their paths, without what is passed over; folders' links are not
    followed."""
    found: list[Path] = []
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_passed_over(name)]
        found += [path for name in files if not is_passed_over(name) and (path := Path(here, name)).is_file()]
    return sorted(found)


def _has_ending(name: str) -> bool:
    return name.lower().endswith(PICTURE_ENDINGS)


def list_tree(folder, labels=None, num_classes: int | None = None) -> Pictures:
    """The pictures FOLDER/<class>/<file>; hidden files are left out.

    Args:
        folder: root of the tree.
        labels: the class names in the order of their indices. A class without a folder is fine. When None: ImageNet's
            synsets, if `num_classes` is 1000 and the folders are among them, else the sorted folder names.
        num_classes: how many the network has, where that is known.

    Raises:
        DataError: a missing folder, a class that is not in `labels`, an empty class folder, a file that is no JPEG or
            PNG by its name; the message names the path.
    """
    folder = Path(folder)
    classes = class_folders(folder)
    labels = tuple(labels or imagenet_labels(classes, num_classes) or classes)
    check_labels(labels, folder)
    if len(labels) < 2:
        raise DataError(expected="at least two classes", found=f"only {labels[0]!r}", where=folder)
    index = {label: i for i, label in enumerate(labels)}
    paths: list[str] = []
    targets, places, seen, extensions = [], [], 0, set()
    for name in classes:
        if name not in index:
            raise DataError(
                expected=f"only the {len(labels)} classes of the label list",
                found=f"the folder {name!r}",
                where=folder,
                do="Remove the folder or use the label list that belongs to these pictures.",
            )
        before = len(paths)
        for file in _files(folder / name):
            if is_picture(file):
                paths.append(f"{name}/{file}")
                targets.append(index[name])
                places.append(seen)
            # MindSpore counts hidden pictures too, such as a Mac leaves behind.
            if _has_ending(file):
                extensions.add(file[file.rindex(".") :])
                seen += 1
        if len(paths) == before:
            raise DataError(
                expected="pictures",
                found="an empty class folder",
                where=folder / name,
                do="Remove the folder or put its pictures into it.",
            )
    return Pictures(
        folder, labels, tuple(paths), np.asarray(targets, np.int32), np.asarray(places), tuple(sorted(extensions))
    )


def class_folders(folder) -> list[str]:
    """Names of the class folders of a tree of pictures, sorted by their bytes.

    Raises:
        DataError: no such folder, or no class folder in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            expected="a folder with one folder of pictures per class",
            found="no such folder",
            where=folder,
            do="Check the path.",
        )
    names = [entry.name for entry in os.scandir(folder) if entry.is_dir() and not is_passed_over(entry.name)]
    if not names:
        raise DataError(
            expected="one folder of pictures per class",
            found="no folder",
            where=folder,
            do="Move the pictures into FOLDER/<class>/.",
        )
    return sorted(names, key=os.fsencode)


def parts_of(folder) -> tuple[Path, Path | None]:
    """The folders of training and validation pictures that `folder` means: PARENT/train and PARENT/val, or itself.

    A class that is called "train" holds pictures; the folder that is meant here holds folders.
    """
    folder = Path(folder)

    def part(names):
        found = (folder / name for name in names)
        return next((path for path in found if path.is_dir() and _has_classes(path)), None)

    train = part(PARTS["train"])
    return (train, part(PARTS["val"])) if train else (folder, None)


def evaluation_part(folder) -> Path:
    """The folder of validation pictures that `folder` means: PARENT/val beside PARENT/train, or itself."""
    return parts_of(folder)[1] or Path(folder)


def _has_classes(folder) -> bool:
    return any(entry.is_dir() and not is_passed_over(entry.name) for entry in os.scandir(folder))


def _files(folder) -> list[str]:
    """Names in a class folder, sorted by their bytes, without what a system leaves there.

    Raises:
        DataError: something is no JPEG or PNG by its name, such as a folder or a picture of another format.
    """
    entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    entries = [entry for entry in entries if entry.name.lower() not in SYSTEM_NAMES]
    for entry in entries:
        if entry.name.startswith(".") or (is_picture(entry.name) and entry.is_file()):
            continue
        if entry.name.lower().endswith(OTHER_ENDINGS):
            raise _other_formats(folder.parent)
        if entry.is_dir():
            raise DataError(
                expected=f"pictures in {folder}, one folder for each class",
                found=f"the folder {entry.name!r} in a class folder",
                where=folder.parent,
                do=f"Name the folder above the classes (is it {folder}?), or move the pictures up into {folder}.",
            )
        raise DataError(
            expected=f"pictures ({', '.join(PICTURE_ENDINGS)})",
            found="something else",
            where=entry.path,
            do="Move it elsewhere.",
        )
    return [entry.name for entry in entries]


def _other_formats(folder: Path) -> DataError:
    """The error that names all pictures of other formats in a tree."""
    found = sorted(path for path in folder.glob("*/*") if path.name.lower().endswith(OTHER_ENDINGS))
    kinds = Counter(path.suffix.lower() for path in found)
    names = ", ".join(str(path.relative_to(folder)) for path in found[:SHOWN]) + (", ..." if len(found) > SHOWN else "")
    return DataError(
        expected=f"pictures ({', '.join(PICTURE_ENDINGS)})",
        found=f"{', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))} ({names})",
        where=folder,
        do=f"Convert them: glorext to-png {folder} {folder.parent / (folder.name + '_png')}",
    )


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of `count` pictures in `epoch`: a permutation that depends on nothing else, so a run can resume."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def shard(order: np.ndarray, batch_size: int, rank: int, group_size: int) -> np.ndarray:
    """Rank's part of an epoch's order: with full batches, step k of all ranks together is what one device with
    `group_size` times the batch would see. The remainder of the last batch is left out."""
    whole = len(order) // (batch_size * group_size) * batch_size * group_size
    return order[:whole][rank::group_size]
