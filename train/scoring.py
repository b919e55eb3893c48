"""A network's answers for pictures, each answered by exactly one device, and how many of them are right."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from glorext.models.answers import best_classes
from glorext.models.calibration import confidences
from glorext.runtime.errors import CheckpointError, DataError

from .data import batches, culprit_named, evaluation_steps
from .distributed import Group
from .pictures import Pictures


@dataclass
class Scores:
    """What was answered over all devices.

    Attributes:
        hits1, hits5: right answers among `count` pictures, by the best answer and by five.
        loss: mean cross entropy.
        answers: class index (N,) of each picture's answer.
        confidences: float32 (N,), its probability.
    """

    hits1: int
    hits5: int | None
    count: int
    loss: float
    answers: np.ndarray
    confidences: np.ndarray


def forward_of(net, jit_level: str = "O0"):
    """`net` compiled for inference: images (N, 3, H, W) to logits (N, K). Only for a `net` in evaluation mode."""
    import mindspore as ms

    @ms.jit(jit_level=jit_level)
    def forward(images):
        return net(images)

    return forward


def predictions(forward, pictures: Pictures, spec, batch_size: int, workers: int, group: Group = Group()):
    """Answers for every picture of this process, batch by batch.

    The last batch is padded with zeros so that the graph sees one shape; the answers for the padding are dropped.

    Yields:
        indices into `pictures`, float32 logits (N, K), seconds for the batch.
    """
    import mindspore as ms

    share = np.array(group.share(len(pictures)), int)
    if not len(share):  # fewer pictures than devices
        return
    pipeline = batches(pictures.source(share), evaluation_steps(spec), batch_size, workers, drop_remainder=False)
    with culprit_named():
        for i, (images, _) in enumerate(pipeline.create_tuple_iterator(num_epochs=1)):
            if len(images) < batch_size:
                padding = ((0, batch_size - len(images)), (0, 0), (0, 0), (0, 0))
                images = ms.Tensor(np.pad(images.asnumpy(), padding))
            start = time.perf_counter()
            logits = forward(images).asnumpy()
            seconds = time.perf_counter() - start
            indices = share[i * batch_size : (i + 1) * batch_size]
            if not np.isfinite(logits).all():
                raise CheckpointError(
                    expected="finite logits", found="inf or nan", where=f"the batch from {pictures.paths[indices[0]]}"
                )
            yield indices, logits[: len(indices)].astype(np.float32), seconds


def score(answers, pictures: Pictures, group: Group = Group()) -> Scores:
    """Count the right answers over all processes of `group`, each of which has its own `answers` of `predictions`.

    Raises:
        DataError: not every picture was answered exactly once.
        CheckpointError: the number of logits is not the number of labels.
    """
    classes = len(pictures.labels)
    seen, found, hits5 = (np.zeros(len(pictures), np.int64) for _ in range(3))
    losses, sure = (np.zeros(len(pictures), np.float32) for _ in range(2))
    for indices, logits, _ in answers:
        if logits.shape[1] != classes:
            raise CheckpointError(expected=f"{classes} logits, as the label list has names", found=logits.shape[1])
        best, truth = best_classes(logits), pictures.targets[indices]
        np.add.at(seen, indices, 1)
        found[indices], hits5[indices] = best[:, 0], (best == truth[:, None]).any(1)
        losses[indices], sure[indices] = cross_entropy(logits, truth), confidences(logits)
    # Each process has the values of its own pictures and zeros for the others: their sums are exact.
    seen, found, hits5 = group.sum(np.stack([seen, found, hits5]))
    if not (seen == 1).all():
        wrong = int(np.flatnonzero(seen != 1)[0])
        raise DataError(
            expected=f"each of the {len(pictures)} pictures scored once",
            found=f"{pictures.paths[wrong]} {seen[wrong]} times",
            where=pictures.folder,
        )
    losses, sure = group.sum(np.stack([losses, sure]))
    right = int((found == pictures.targets).sum())
    loss = float(losses.mean(dtype=np.float64))
    return Scores(right, int(hits5.sum()) if classes > 5 else None, len(pictures), loss, found, sure)


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The loss of each row of logits (N, K), -log softmax at its target, in float64."""
    above = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return np.log(np.exp(above).sum(1)) - above[np.arange(len(targets)), targets]


def with_bar(answers, total: int, quiet: bool = False):
    """`answers` with a progress bar over `total` pictures."""
    with tqdm(total=total, desc="evaluate", unit="picture", disable=quiet, leave=False) as bar:
        for answer in answers:
            bar.update(len(answer[0]))
            yield answer
