"""Pictures to batches on MindSpore's C++ pipeline, compiled from an InputSpec and a recipe."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glorext.models.labels import check_labels, imagenet_labels
from glorext.runtime.errors import DataError
from glorext.runtime.files import sha256_bytes

PICTURES = (".jpg", ".jpeg", ".png")
CULPRIT = re.compile(r"corresponding data file is: (.+?\.(?:jpe?g|png))\. (.*?)(?: Dump the abnormal|\n|$)", re.I)


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

    def without(self, indices) -> Pictures:
        """All pictures but those at `indices`."""
        kept = np.setdiff1d(np.arange(len(self)), indices)
        return dataclasses.replace(
            self, paths=tuple(self.paths[i] for i in kept), targets=self.targets[kept], places=self.places[kept]
        )

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


def class_folders(folder) -> list[str]:
    """Names of the class folders of a tree of pictures, sorted by their bytes.

    Raises:
        DataError: no such folder, or none with classes.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            expected="a folder with one folder of pictures per class",
            found="no such folder",
            where=folder,
            do="Check the path.",
        )
    names = [entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")]
    if not names:
        raise DataError(
            expected="one folder of pictures per class",
            found="no folder",
            where=folder,
            do="Move the pictures into FOLDER/<class>/.",
        )
    return sorted(names, key=os.fsencode)


def list_pictures(folder, labels=None, num_classes: int | None = None) -> Pictures:
    """Look through FOLDER/<class>/<file>; hidden files are left out. A folder of MindRecord files is taken as well.

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
    from .mindrecord import is_record, read_records

    if is_record(folder):
        return read_records(folder, labels)
    classes = class_folders(folder)
    labels = tuple(labels or imagenet_labels(classes, num_classes) or classes)
    check_labels(labels, folder)
    if len(labels) < 2:
        raise DataError(expected="at least two classes", found=f"only {labels[0]!r}", where=folder)
    index = {label: i for i, label in enumerate(labels)}
    paths, targets, places, seen, extensions = [], [], [], 0, set()
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
            if not file.startswith("."):
                paths.append(f"{name}/{file}")
                targets.append(index[name])
                places.append(seen)
            # MindSpore counts hidden pictures too, such as a Mac leaves behind.
            if file.lower().endswith(PICTURES):
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


def _files(folder) -> list[str]:
    """Names in a class folder, sorted by their bytes; all but hidden ones must be pictures by their names."""
    entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    for entry in entries:
        if not entry.name.startswith(".") and not (entry.name.lower().endswith(PICTURES) and entry.is_file()):
            raise DataError(
                expected=f"pictures ({', '.join(PICTURES)})",
                found="something else",
                where=entry.path,
                do="Move it elsewhere.",
            )
    return [entry.name for entry in entries]


@contextlib.contextmanager
def culprit_named():
    """Turn the pipeline's RuntimeError about a picture into a DataError with the picture's path."""
    try:
        yield
    except RuntimeError as error:
        found = CULPRIT.search(str(error))
        if not found:
            raise
        raise DataError(
            expected="a whole JPEG or PNG picture",
            found=found[2].strip().rstrip("."),
            where=found[1],
            do="Replace or remove the file, or train with --skip_corrupt true.",
        ) from error


def evaluation_steps(spec) -> list:
    """The InputSpec as operations of MindSpore's pipeline: encoded bytes to a float32 CHW tensor."""
    from mindspore.dataset import vision

    size = (spec.resize, spec.resize) if spec.resize_rule == "squash" else spec.resize
    return [vision.Decode(), vision.Resize(size, vision.Inter.BILINEAR), vision.CenterCrop(spec.size), *_finish(spec)]


def _finish(spec) -> list:
    from mindspore.dataset import vision

    return [vision.Normalize([255 * m for m in spec.mean], [255 * s for s in spec.std]), vision.HWC2CHW()]


def training_steps(spec, augmentation: str) -> list:
    """The training pipeline of a recipe's `augmentation`: encoded bytes to a float32 CHW tensor.

    "color_jitter" is the published ResNeXt50's, "autoaugment" the published GloRe-ResNet50's, "crop_flip" what both
    share, "none" the evaluation pipeline.
    """
    from mindspore.dataset import vision

    if augmentation == "none":
        return evaluation_steps(spec)
    crop = vision.RandomCropDecodeResize(spec.size, (0.08, 1.0), (3 / 4, 4 / 3), vision.Inter.BILINEAR)
    flip = vision.RandomHorizontalFlip(0.5)
    if augmentation == "autoaugment":
        from .autoaugment import imagenet_policy

        return [crop, imagenet_policy(), flip, *_finish(spec)]
    jitter = [vision.RandomColorAdjust(0.4, 0.4, 0.4)] if augmentation == "color_jitter" else []
    return [crop, flip, *jitter, *_finish(spec)]


def default_workers(group_size: int = 1) -> int:
    """Threads per pipeline stage where the recipe names none: the cores of one device's share, at most 8."""
    return max(1, min(8, (os.cpu_count() or 1) // group_size))


def batches(source, steps: list, batch_size: int, workers: int, seed: int = 0, drop_remainder: bool = True):
    """`source` through `steps` in batches, full ones alone unless `drop_remainder` is false: an iterator over (images
    float32 NCHW, targets int32) Tensors.

    The same source, steps, workers and seed give the same bits.
    """
    import mindspore as ms
    import mindspore.dataset as ds
    from mindspore.dataset import transforms

    ds.config.set_seed(seed)
    source = source.map(steps, "image", num_parallel_workers=workers)
    source = source.map([transforms.TypeCast(ms.int32)], "label", num_parallel_workers=1)
    return source.batch(batch_size, drop_remainder=drop_remainder)


def fed(pipeline, from_device_queue: bool):
    """One pass over a pipeline: tuples of Tensors, fetched by the host or from the device's own queue (GPU, Ascend)."""
    if not from_device_queue:
        yield from pipeline.create_tuple_iterator(num_epochs=1)
        return
    import mindspore as ms

    next_batch = ms.data_sink(lambda *batch: batch, pipeline)
    try:
        for _ in range(pipeline.get_dataset_size()):
            yield next_batch()
    finally:  # also where a run is stopped: MindSpore would send the same data for ever
        pipeline.__transfer_dataset__.stop_send()
        pipeline.__transfer_dataset__.release()


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of `count` pictures in `epoch`: a permutation that depends on nothing else, so a run can resume."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def shard(order: np.ndarray, batch_size: int, rank: int, group_size: int) -> np.ndarray:
    """Rank's part of an epoch's order: with full batches, step k of all ranks together is what one device with
    `group_size` times the batch would see. The remainder of the last batch is left out."""
    whole = len(order) // (batch_size * group_size) * batch_size * group_size
    return order[:whole][rank::group_size]
