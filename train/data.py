"""From a folder of pictures to batches: MindSpore's C++ pipeline, made from an InputSpec and a recipe."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from glorext.models.picture_file import PICTURE_ENDINGS
from glorext.runtime.errors import DataError

from .autoaugment import imagenet_policy
from .file_lists import class_of, read_list, read_rows
from .pictures import Pictures, class_folders, list_tree
from .randaugment import rand_augment
from .records import holds_records, read_records
from .run_paths import read_paths
from .split import TRAIN_FILES, VAL_FILES, listed

ENDINGS = "|".join(map(re.escape, PICTURE_ENDINGS))
# How MindSpore's pipeline reports the file at which it failed.
CULPRIT = re.compile(rf"corresponding data file is: (.+?(?:{ENDINGS}))\. (.*?)(?: Dump the abnormal|\n|$)", re.I)


def list_pictures(source, labels=None, num_classes: int | None = None) -> Pictures:
    """The pictures of a tree FOLDER/<class>/<file>, of a folder of MindRecord files, or those that a list names.

    The lists that a run wrote, train_files.txt and val_files.txt, name pictures of the run's own folder.

    Args, Raises: as in `list_tree` and `read_list`.
    """
    if holds_records(source):
        return read_records(source, labels)
    if not Path(source).is_file():
        return list_tree(source, labels, num_classes)
    if divided_by := _divided_by(source):
        return listed(list_pictures(divided_by, labels, num_classes), source)
    return read_list(source, labels, num_classes)


def class_names(source) -> set[str]:
    """The classes of a tree or a list of pictures, for whoever has no label list yet."""
    if not Path(source).is_file():
        return set(class_folders(source))
    if divided_by := _divided_by(source):
        return class_names(divided_by)
    return {class_of(row, source) for row in read_rows(source)}


def _divided_by(path) -> str | None:
    """The pictures that a run divided, if `path` is a list in its folder."""
    path = Path(path)
    paths = read_paths(path.parent) if path.name in (TRAIN_FILES, VAL_FILES) else None
    return paths.data_dir if paths else None


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
            do="Replace or remove the file, or leave it out by --skip_corrupt (train: --skip_corrupt true).",
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
    share, "randaugment" the published GloRe-ResNet101's and 200's, "none" the evaluation pipeline.
    """
    from mindspore.dataset import vision

    if augmentation == "none":
        return evaluation_steps(spec)
    resampling = vision.Inter.BICUBIC if augmentation == "randaugment" else vision.Inter.BILINEAR
    crop = vision.RandomCropDecodeResize(spec.size, (0.08, 1.0), (3 / 4, 4 / 3), resampling)
    flip = vision.RandomHorizontalFlip(0.5)
    if augmentation == "autoaugment":
        return [crop, imagenet_policy(), flip, *_finish(spec)]
    if augmentation == "randaugment":
        return [crop, flip, rand_augment(), *_finish(spec)]
    jitter = [vision.RandomColorAdjust(0.4, 0.4, 0.4)] if augmentation == "color_jitter" else []
    return [crop, flip, *jitter, *_finish(spec)]


def default_workers(group_size: int = 1) -> int:
    """Threads per pipeline stage where the recipe names none: the cores of one device's share, at most 8."""
    return max(1, min(8, (os.cpu_count() or 1) // group_size))


def batches(source, steps: list, batch_size: int, workers: int, seed: int = 0, drop_remainder: bool = True):
    """A pipeline that takes `source` through `steps` into batches (images float32 NCHW, targets int32).

    The same source, steps, workers and seed give the same bits.

    Args:
        source: data set of (image, label), undecoded.
        steps: operations on the image.
        workers: threads of each stage.
        drop_remainder: leave out the last batch where it is not full.
    """
    import mindspore as ms
    import mindspore.dataset as ds
    from mindspore.dataset import transforms

    ds.config.set_seed(seed)
    source = source.map(steps, "image", num_parallel_workers=workers)
    source = source.map([transforms.TypeCast(ms.int32)], "label", num_parallel_workers=1)
    return source.batch(batch_size, drop_remainder=drop_remainder)


def fed(pipeline, from_device_queue: bool):
    """One pass over a pipeline, as tuples of Tensors: fetched by the host, or from the device's own queue.

    The host's begins to compute at once, the device's with the first batch that is asked for.
    """
    if from_device_queue:
        return _from_device_queue(pipeline)
    return iter(pipeline.create_tuple_iterator(num_epochs=1))


def _from_device_queue(pipeline):
    import mindspore as ms

    next_batch = ms.data_sink(lambda *batch: batch, pipeline)
    try:
        for _ in range(pipeline.get_dataset_size()):
            yield next_batch()
    finally:  # also where a run stops early: MindSpore would go on sending the same data
        pipeline.__transfer_dataset__.stop_send()
        pipeline.__transfer_dataset__.release()
