"""Learning rates of a whole run, one per step, as both networks published them."""

from __future__ import annotations

import numpy as np

from glorext.runtime.errors import UsageError

from .recipe import Recipe


def learning_rates(recipe: Recipe, steps_per_epoch: int) -> np.ndarray:
    """The learning rate of every step of `recipe`.

    Args:
        recipe: names the schedule (`lr_scheduler`) and its numbers.
        steps_per_epoch: steps of one epoch on one device.

    Returns:
        float32 array, one entry per step, `recipe.epochs * steps_per_epoch` long.

    `cosine_annealing` and `exponential` are those of the published ResNeXt50 (constant within an epoch after the
    warm-up); `linear`, `poly`, `steps` and `cosine` those of the published GloRe-ResNet50.
    """
    if steps_per_epoch < 1:
        raise UsageError(expected="at least one step per epoch", found=steps_per_epoch, where="steps_per_epoch")
    total, warmup = recipe.epochs * steps_per_epoch, recipe.warmup_epochs * steps_per_epoch
    step = np.arange(total, dtype=np.float64)
    rates = SHAPES[recipe.lr_scheduler](recipe, step, steps_per_epoch, warmup, total)
    return rates.astype(np.float32)


def _rise(recipe, step, warmup, rates, offset: int, start: float):
    """Replace the first `warmup` steps by a line from `start` up to lr; `offset` is added to their numbers.

    While layers are frozen no step is wasted on a rate of zero.
    """
    if recipe.freeze_epochs and not start:
        offset = 1
    if warmup:
        rising = step < warmup
        rates[rising] = start + (recipe.lr - start) * (step[rising] + offset) / warmup
    return rates


def _cosine_annealing(recipe, step, steps_per_epoch, warmup, total):
    turn = np.pi * np.floor(step / steps_per_epoch) / (recipe.T_max or recipe.epochs)
    rates = recipe.eta_min + (recipe.lr - recipe.eta_min) * (1 + np.cos(turn)) / 2
    return _rise(recipe, step, warmup, rates, 1, 0.0)


def _exponential(recipe, step, steps_per_epoch, warmup, total):
    decays = np.searchsorted(recipe.lr_epochs, np.floor(step / steps_per_epoch), side="right")
    return _rise(recipe, step, warmup, recipe.lr * recipe.lr_gamma**decays, 1, 0.0)


def _share(step, warmup, total):
    return (step - warmup) / max(total - warmup, 1)


def _linear(recipe, step, steps_per_epoch, warmup, total):
    rates = recipe.lr - (recipe.lr - recipe.lr_end) * _share(step, warmup, total)
    return _rise(recipe, step, warmup, rates, 0, recipe.lr_init)


def _poly(recipe, step, steps_per_epoch, warmup, total):
    rates = recipe.lr * (1 - _share(step, warmup, total)) ** 2
    return _rise(recipe, step, warmup, rates, 0, recipe.lr_init)


def _steps(recipe, step, steps_per_epoch, warmup, total):
    return recipe.lr * 0.1 ** np.searchsorted([0.3 * total, 0.6 * total, 0.8 * total], step, side="right")


def _cosine(recipe, step, steps_per_epoch, warmup, total):
    length = max(total - warmup, 1)
    falling = (total - step) / length * 0.5 * (1 + np.cos(0.94 * np.pi * step / length)) + 1e-5
    return _rise(recipe, step, warmup, recipe.lr * falling, 1, recipe.lr_init)


SHAPES = {
    "cosine_annealing": _cosine_annealing,
    "exponential": _exponential,
    "linear": _linear,
    "poly": _poly,
    "steps": _steps,
    "cosine": _cosine,
}
