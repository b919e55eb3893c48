"""Pictures in MindRecord files, read back as `glorext.train.mindrecord` wrote them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glorext.models.labels import LABELS, read_labels
from glorext.runtime.errors import DataError

from .pictures import Pictures

FILE = "data.mindrecord"  # the name of one file; several are numbered


@dataclass(frozen=True)
class Records(Pictures):
    """Pictures whose bytes lie in MindRecord files; they were checked when they were written."""

    def source(self, indices):
        """The pictures at `indices`, undecoded, in that order, as a MindSpore data set (image, label)."""
        import mindspore.dataset as ds

        sampler = ds.SubsetSampler(self.places[np.asarray(indices, int)].tolist())
        return ds.MindDataset(_files(self.folder), columns_list=["image", "label"], sampler=sampler)


def holds_records(folder) -> bool:
    """Whether `folder` holds MindRecord files with their label list."""
    return (Path(folder) / LABELS).is_file() and bool(_files(Path(folder)))


def _files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.glob(f"{FILE}*") if path.suffix != ".db")


def read_records(folder, labels=None) -> Records:
    """The pictures in a folder of MindRecord files.

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
