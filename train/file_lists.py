"""Pictures that a list names instead of a folder: a text file or CSV of paths, with the class in it or in the path."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glorext.models.labels import check_labels, imagenet_labels
from glorext.models.picture_file import PICTURE_ENDINGS
from glorext.runtime.errors import DataError
from glorext.runtime.files import disk_full_named

from .pictures import Pictures

# In a text file a label follows the picture's name and its ending, which may hold spaces.
LINE = re.compile(rf"(.*(?:{'|'.join(map(re.escape, PICTURE_ENDINGS))}))(?:[\t ]+(\S.*?))?\s*", re.I)
# What the columns are called in the first row of a CSV file.
PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "image", "image_path")
LABEL_COLUMNS = ("label", "class", "class_name", "category", "target")
FORM = "PATH or PATH LABEL on a line; in a .csv file PATH or PATH,LABEL"


class Row(NamedTuple):
    """A line of a list: its number from 1, the path as it stands there, and the class, if the line says it."""

    number: int
    path: str
    label: str | None


@dataclass(frozen=True)
class ListedPictures(Pictures):
    """Pictures that a list names; `folder` is the list.

    Attributes:
        entries: their paths, absolute or relative to the list's folder.
    """

    entries: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        return self.folder.parent

    @property
    def files(self) -> tuple[str, ...]:
        return self.entries

    def at(self, indices) -> ListedPictures:
        chosen = super().at(indices)
        assert isinstance(chosen, ListedPictures)
        return dataclasses.replace(chosen, entries=tuple(self.entries[i] for i in indices))

    def source(self, indices):
        """The pictures at `indices`, undecoded, in that order, as a MindSpore data set (image, label)."""
        import mindspore.dataset as ds

        return ds.ManifestDataset(
            self._manifest.name,
            sampler=ds.SubsetSampler(np.asarray(indices, int).tolist()),
            class_indexing={str(i): i for i in range(len(self.labels))},
        )

    @cached_property
    def _manifest(self):
        """The list as MindSpore's pipeline reads one: a temporary file, which is gone with this object."""
        file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - it lives as long as this object
            "w", prefix="glorext-pictures-", suffix=".json", encoding="ascii"
        )
        with disk_full_named(Path(file.name)):
            for i, target in enumerate(self.targets.tolist()):
                annotation = {"type": "modelarts/image_classification", "name": str(target)}
                entry = {"source": os.path.abspath(self.file(i)), "usage": "train", "annotation": [annotation]}
                file.write(json.dumps(entry) + "\n")
            file.flush()
        return file


def read_rows(path) -> list[Row]:
    """The lines of a list that are not blank.

    Raises:
        DataError: unreadable or empty, or a line of another form; names it.
    """
    path = Path(path)
    if _is_picture(path.name):
        raise DataError(
            expected="a folder with one folder of pictures per class, or a list of them",
            found="a picture",
            where=path,
            do="Name the folder above the classes; `glorext predict MODEL FILE` says what is on one picture.",
        )
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(_csv_rows(file, path) if path.suffix.lower() == ".csv" else _text_rows(file, path))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(expected="a list of pictures in UTF-8", found=error, where=path, do=f"Write {FORM}.") from error
    if not rows:
        raise DataError(expected="names of pictures", found="an empty list", where=path, do=f"Write {FORM}.")
    bare = next((row for row in rows if (row.label is None) != (rows[0].label is None)), None)
    if bare:
        what = ("a class, as line", "none") if bare.label is None else ("no class, as line", repr(bare.label))
        raise _wrong(path, bare.number, f"{what[0]} {rows[0].number} has", what[1])
    return rows


def _wrong(path: Path, number: int, expected: str, found, do: str | None = None) -> DataError:
    return DataError(expected=expected, found=found, where=f"{path}, line {number}", do=do)


def _no_picture(path: Path, number: int, found: str) -> DataError:
    return _wrong(path, number, f"a picture ({', '.join(PICTURE_ENDINGS)})", repr(found)[:200], f"Write {FORM}.")


def _text_rows(file, path: Path):
    for number, line in enumerate(file, 1):
        match = LINE.fullmatch(line.strip("\r\n"))
        if match:
            yield Row(number, match[1].strip(), match[2])
        elif line.strip():
            raise _wrong(
                path, number, f"a picture ({', '.join(PICTURE_ENDINGS)})", repr(line.strip())[:200], f"Write {FORM}."
            )


def _csv_rows(file, path: Path):
    reader = csv.reader(file, strict=True)
    where: tuple[int, int | None] | None = None
    for cells in reader:
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            continue
        if where is None:
            where = _columns(cells, path, reader.line_num)
            if where:
                continue
            where = (0, 1)
        picture, label = (cells[i] if i is not None and i < len(cells) else "" for i in where)
        if not _is_picture(picture):
            raise _wrong(
                path,
                reader.line_num,
                f"a picture ({', '.join(PICTURE_ENDINGS)})",
                repr(picture)[:200],
                f"Write {FORM}.",
            )
        yield Row(reader.line_num, picture, label or None)


def _columns(cells: list[str], path: Path, number: int) -> tuple[int, int | None] | None:
    """Which columns hold path and label, if the first row names them; None where it is a picture already."""
    if any(map(_is_picture, cells)):
        return None
    names = [cell.lower() for cell in cells]
    picture, label = (
        next((names.index(name) for name in known if name in names), None) for known in (PATH_COLUMNS, LABEL_COLUMNS)
    )
    if picture is None:
        raise _wrong(
            path, number, f"a picture, or a row that names a column {', '.join(PATH_COLUMNS)}", ",".join(cells)[:200]
        )
    return picture, label


def _is_picture(path: str) -> bool:
    return path.lower().endswith(PICTURE_ENDINGS)


def class_of(row: Row, path) -> str:
    """The class of a picture: what its line says, or the folder that it lies in.

    Raises:
        DataError: the line says none, and the path has no folder.
    """
    if row.label is not None:
        return row.label
    folder = os.path.basename(os.path.dirname(os.path.abspath(Path(path).parent / row.path)))
    if not folder or "/" not in row.path:
        raise _wrong(Path(path), row.number, "a class, or CLASS/FILE", repr(row.path), f"Write {FORM}.")
    return folder


def read_list(path, labels=None, num_classes: int | None = None) -> ListedPictures:
    """The pictures that the list `path` names, in the order that their folder would have.

    A path is absolute, or relative to the list. The class of a picture is what its line says, else the folder that it
    lies in. Where all lines say whole numbers, and the label list has no such names, they are indices.

    Args:
        labels, num_classes: as in `list_tree`.

    Raises:
        DataError: a line of another form, a picture that is not there or stands twice, a class that is not in
            `labels`; names the line.
    """
    path = Path(path)
    rows = read_rows(path)
    classes = [class_of(row, path) for row in rows]
    numbers = all(re.fullmatch("[0-9]{1,9}", name) for name in classes)
    labels = tuple(labels or _labels(set(classes), num_classes, numbers))
    check_labels(labels, path)
    if len(labels) < 2:
        raise DataError(expected="at least two classes", found=f"only {labels[0]!r}", where=path)
    if numbers and not set(classes) & set(labels):
        wrong = next((i for i, name in enumerate(classes) if int(name) >= len(labels)), None)
        if wrong is not None:
            raise _wrong(path, rows[wrong].number, f"a class from 0 to {len(labels) - 1}", classes[wrong])
        classes = [labels[int(name)] for name in classes]
    index = {label: i for i, label in enumerate(labels)}
    for row, name in zip(rows, classes):
        if name not in index:
            do = "Remove the line, or use the label list that belongs to these pictures."
            raise _wrong(path, row.number, f"only the {len(labels)} classes of the label list", repr(name), do)
        if "/" in name or name in (".", ".."):
            raise _wrong(path, row.number, "a class that could be the name of a folder", repr(name))
    names = _names(path, rows, classes)
    order = sorted(range(len(rows)), key=lambda i: (os.fsencode(classes[i]), os.fsencode(names[i])))
    return ListedPictures(
        folder=path,
        labels=labels,
        paths=tuple(names[i] for i in order),
        targets=np.asarray([index[classes[i]] for i in order], np.int32),
        places=np.arange(len(rows)),
        extensions=(),
        entries=tuple(rows[i].path for i in order),
    )


def _labels(names: set[str], num_classes: int | None, numbers: bool) -> tuple[str, ...]:
    """The label list that follows from the classes of a list: numbers in their order, others in that of their bytes."""
    if not numbers:
        return imagenet_labels(names, num_classes) or tuple(sorted(names, key=os.fsencode))
    if num_classes and all(int(name) < num_classes and name == str(int(name)) for name in names):
        return tuple(map(str, range(num_classes)))
    return tuple(sorted(names, key=lambda name: (int(name), name)))


def _names(path: Path, rows: list[Row], classes: list[str]) -> list[str]:
    """A name CLASS/FILE for each picture, different ones: FILE is more of its path where a file's name alone is not.

    Raises:
        DataError: a picture is not there, or stands twice.
    """
    seen: dict[str, int] = {}
    for row in rows:
        place = os.path.normpath(os.path.join(path.parent, row.path))
        if not os.path.isfile(place):
            raise _wrong(path, row.number, "a picture file", f"none at {place}", "Paths are relative to the list.")
        if place in seen:
            raise _wrong(path, row.number, "every picture once", f"{row.path!r}, as in line {seen[place]}")
        seen[place] = row.number
    names = [f"{name}/{os.path.basename(row.path)}" for row, name in zip(rows, classes)]
    if max(Counter(names).values()) > 1:
        above = os.path.commonpath(seen)
        names = [f"{name}/{os.path.relpath(place, above)}" for place, name in zip(seen, classes)]
    return names
