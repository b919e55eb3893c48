"""The label list: one class name per line, a name's index is its line; read, written and hashed in one way."""

from __future__ import annotations

from pathlib import Path

from glorext.runtime.errors import DataError
from glorext.runtime.files import atomic_path, sha256_bytes

LABELS = "labels.txt"  # its name beside a checkpoint and beside records
SYNSETS = Path(__file__).with_name("imagenet_synsets.txt")  # the 1000 classes of ImageNet-2012


def labels_bytes(labels) -> bytes:
    """The label list as a file holds it."""
    return "".join(f"{label}\n" for label in labels).encode("utf-8")


def check_labels(labels, where) -> None:
    """Raise DataError where a name, such as that of a folder, cannot be a line of UTF-8 text."""
    for label in labels:
        if not label or set("\n\r") & set(label) or label != label.encode("utf-8", "replace").decode("utf-8"):
            raise DataError(
                expected="class names that fit on a line of UTF-8 text",
                found=repr(label),
                where=where,
                do="Rename the folder.",
            )


def labels_digest(labels) -> str:
    """SHA-256 of the label list, which says what an accuracy or a model is for."""
    return sha256_bytes(labels_bytes(labels))


def imagenet_labels(folders, num_classes: int | None) -> tuple[str, ...] | None:
    """ImageNet's label list, where there are 1000 classes and all class folders are among them, however few; else None.

    A part of the pictures then keeps the indices of the whole.
    """
    synsets = read_labels(SYNSETS)
    return synsets if num_classes == len(synsets) and set(folders) <= set(synsets) else None


def write_labels(path, labels) -> None:
    """Write the label list, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(labels_bytes(labels))


def read_labels(path) -> tuple[str, ...]:
    """Class names from a text file.

    Raises:
        DataError: no such file, fewer than two names, an empty or repeated one.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(expected="a text file with one class per line", found=str(error), where=path) from error
    names = tuple(text.removesuffix("\n").split("\n"))
    if len(names) < 2 or len(set(names)) < len(names) or not all(names):
        raise DataError(
            expected="two or more different names, one per line",
            found=f"{len(names)} lines, {len(set(names) - {''})} different names",
            where=path,
        )
    return names
