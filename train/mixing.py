"""Pictures mixed with each other, and parts of them erased, within the training step: mixup, CutMix, random erasing.

What is drawn depends on the seed, the epoch, the step and the rank alone, so a run that goes on in the middle of an
epoch draws what the unbroken one drew.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ERASED_AREA, ERASED_RATIO, ATTEMPTS = (0.02, 1 / 3), (0.3, 1 / 0.3), 10


class Plan(NamedTuple):
    """What happens to the batch of one step.

    Attributes:
        mix: float32 (6,): the share of the loss that a picture's own class has; by how much, from 0 to 1, the picture
            itself shows in the rectangle that follows; and its top, bottom, left and right, pixels from 0. Beside it
            in the rectangle shows the picture that stands at the same place from the batch's end.
        erased: float32 (N, 4): of each picture, top, bottom, left and right of what is set to 0.
    """

    mix: np.ndarray
    erased: np.ndarray


def mixes(recipe) -> bool:
    """Whether a recipe does any of it."""
    return bool(recipe.mixup or recipe.cutmix or recipe.random_erasing)


def draw_plan(recipe, count: int, side: int, epoch: int, step: int, rank: int) -> Plan:
    """What happens to `count` pictures of `side` x `side` pixels in step `step` of `epoch`, both from 0, on a rank."""
    generator = np.random.default_rng([recipe.seed, epoch, step, rank])
    return Plan(
        _drawn_mix(generator, recipe.mixup, recipe.cutmix, side),
        np.array([_drawn_hole(generator, recipe.random_erasing, side) for _ in range(count)], np.float32),
    )


def _drawn_mix(generator, mixup: float, cutmix: float, side: int) -> np.ndarray:
    if not (mixup or cutmix):
        return np.array([1, 1, 0, 0, 0, 0], np.float32)
    cuts = bool(cutmix) and (not mixup or generator.random() < 0.5)
    alpha = cutmix if cuts else mixup
    share = generator.beta(alpha, alpha)
    if not cuts:  # Zhang et al., 2018, arXiv:1710.09412
        return np.array([share, share, 0, side, 0, side], np.float32)
    # Yun et al., 2019, arXiv:1905.04899: a rectangle of the picture's shape around any point, cut at the border
    half, middle = side * np.sqrt(1 - share) / 2, generator.integers(side, size=2)
    top, left = np.clip(np.round(middle - half), 0, side)
    bottom, right = np.clip(np.round(middle + half), 0, side)
    own = 1 - (bottom - top) * (right - left) / side**2
    return np.array([own, 0, top, bottom, left, right], np.float32)


def _drawn_hole(generator, probability: float, side: int) -> tuple[int, int, int, int]:
    """Zhong et al., 2017, arXiv:1708.04896, algorithm 1; nothing where no rectangle fits in a few attempts."""
    if generator.random() >= probability:
        return 0, 0, 0, 0
    for _ in range(ATTEMPTS):
        area = side**2 * generator.uniform(*ERASED_AREA)
        ratio = np.exp(generator.uniform(*np.log(ERASED_RATIO)))
        height, width = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if 0 < height < side and 0 < width < side:
            top, left = (int(generator.integers(side - length + 1)) for length in (height, width))
            return top, top + height, left, left + width
    return 0, 0, 0, 0


class Mixer:
    """The part of a compiled step that carries a `Plan` out.

    Args:
        side: of the pictures, pixels.
    """

    def __init__(self, side: int):
        import mindspore as ms
        from mindspore import ops

        places = np.arange(side, dtype=np.float32)
        self.rows = ms.Tensor(places.reshape(1, 1, side, 1))
        self.columns = ms.Tensor(places.reshape(1, 1, 1, side))
        self.reverse = ops.ReverseV2(axis=[0])

    def _inside(self, top, bottom, left, right, images):
        """1 within rectangles, 0 elsewhere, as (N or 1, 1, H, W)."""
        rows = (self.rows >= top).astype(images.dtype) * (self.rows < bottom).astype(images.dtype)
        columns = (self.columns >= left).astype(images.dtype) * (self.columns < right).astype(images.dtype)
        return rows * columns

    def images(self, images, mix, erased):
        """The batch (N, 3, H, W) after the plan."""
        holes = erased.reshape(-1, 4, 1, 1, 1)
        images = images * (1 - self._inside(holes[:, 0], holes[:, 1], holes[:, 2], holes[:, 3], images))
        other = self._inside(mix[2], mix[3], mix[4], mix[5], images) * (1 - mix[1])
        return images * (1 - other) + self.reverse(images) * other

    def loss(self, loss_fn, logits, targets, mix):
        """The loss of both classes that a picture shows, each by its share."""
        return mix[0] * loss_fn(logits, targets) + (1 - mix[0]) * loss_fn(logits, self.reverse(targets))
