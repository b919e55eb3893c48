"""A tree of pictures as MindRecord, for file systems that are slow with many files."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glorext.models.labels import LABELS, read_labels, write_labels
from glorext.runtime.cli import run
from glorext.runtime.errors import DataError
from glorext.runtime.files import atomic_dir, require_space

from .damage import without_damage
from .data import Pictures, list_pictures

PROGRAM, NAME = "python -m glorext.train.mindrecord", "data.mindrecord"
SHARD_BYTES, CHUNK = 8 << 30, 64


@dataclass(frozen=True)
class Records(Pictures):
    """Pictures whose bytes lie in MindRecord files; they were checked when they were written."""

    def source(self, indices):
        """The pictures at `indices`, undecoded, in that order, as a MindSpore data set (image, label)."""
        import mindspore.dataset as ds

        sampler = ds.SubsetSampler(self.places[np.asarray(indices, int)].tolist())
        return ds.MindDataset(_files(self.folder), columns_list=["image", "label"], sampler=sampler)


def is_record(folder) -> bool:
    """Whether `folder` was written by `write_records`."""
    return (Path(folder) / LABELS).is_file() and bool(_files(Path(folder)))


def _files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.glob(f"{NAME}*") if path.suffix != ".db")


def write_records(folder, out, labels=None, shard_bytes: int = SHARD_BYTES) -> int:
    """Write the pictures of FOLDER/<class>/<file>, byte for byte, into OUT as MindRecord, with the label list.

    Args:
        labels: class names in the order of their indices; by default the folder's, sorted.
        shard_bytes: size from which more than one file is written.

    Returns:
        The number of pictures.

    Raises:
        DataError: a damaged picture or another fault of the tree; nothing is written then.
        UsageError: OUT exists.
    """
    from mindspore.mindrecord import FileWriter
    from tqdm import tqdm

    pictures = without_damage(list_pictures(folder, labels), quiet=False)
    total = sum((pictures.folder / path).stat().st_size for path in pictures.paths)
    require_space(out, total)
    with atomic_dir(out) as temporary:
        writer = FileWriter(str(temporary / NAME), 1 + total // shard_bytes)
        writer.add_schema({"path": {"type": "string"}, "label": {"type": "int32"}, "image": {"type": "bytes"}})
        for i in tqdm(range(0, len(pictures), CHUNK), desc="write", unit="chunk", leave=False, delay=1):
            writer.write_raw_data(
                [
                    {"path": path, "label": int(target), "image": (pictures.folder / path).read_bytes()}
                    for path, target in zip(pictures.paths[i : i + CHUNK], pictures.targets[i : i + CHUNK])
                ]
            )
        writer.commit()
        for path in temporary.iterdir():
            path.chmod(0o644)  # MindSpore writes 0600
        write_labels(temporary / LABELS, pictures.labels)
    return len(pictures)


def read_records(folder, labels=None):
    """The Pictures in a folder that `write_records` wrote.

    Raises:
        DataError: unreadable records, or `labels` that are not those of the records.
    """
    import mindspore.dataset as ds

    folder = Path(folder)
    own = read_labels(folder / LABELS)
    if labels is not None and tuple(labels) != own:
        raise DataError(
            expected="the label list that the records were written with",
            found="another one",
            where=folder,
            do=f"Write them again with --labels, or use {folder / LABELS}.",
        )
    try:
        source = ds.MindDataset(_files(folder), columns_list=["path", "label"], shuffle=False)
        rows = [
            (str(path), int(label)) for path, label in source.create_tuple_iterator(num_epochs=1, output_numpy=True)
        ]
    except RuntimeError as error:
        raise DataError(
            expected="MindRecord files", found=_reason(error), where=folder, do="Write them again."
        ) from error
    paths, targets = zip(*rows)
    return Records(folder, own, paths, np.array(targets, np.int32), np.arange(len(rows)), ())


def _reason(error) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip("- \n")]
    return next((line for line in lines if "failed" in line.lower() or "invalid" in line.lower()), lines[0])


def main(argv: list[str]) -> int:
    """`python -m glorext.train.mindrecord FOLDER OUT`."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("folder", metavar="FOLDER", help="pictures, FOLDER/<class>/<file>")
    parser.add_argument("out", metavar="OUT", help="new folder, which --data_dir and --val_dir take")
    parser.add_argument("--labels", help="class names, one per line; by default those of FOLDER, sorted")
    arguments = parser.parse_args(argv)
    labels = read_labels(arguments.labels) if arguments.labels else None
    print(f"{arguments.out}: {write_records(arguments.folder, arguments.out, labels)} pictures")
    return 0


if __name__ == "__main__":
    sys.exit(run(PROGRAM, lambda: main(sys.argv[1:])))
