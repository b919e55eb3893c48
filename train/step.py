"""One training step: forward, backward, averaging over devices, overflow check, update; compiled as one graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import mindspore as ms
import numpy as np
from mindspore import amp, nn, ops

from glorext.models.specs import spec
from glorext.runtime.device import fetching

from .accumulation import Accumulated
from .averaging import WeightAverage
from .loss import SmoothedCrossEntropy
from .mixing import Mixer, Plan, mixes
from .optimizer import make_optimizer
from .overflow import Patience, overflow_register
from .run_folder import RATES

DYNAMIC_FACTOR, DYNAMIC_WINDOW = 2, 2000


class StepResult(NamedTuple):
    """What one step gave.

    Attributes:
        loss: mean of all devices, before the update.
        grad_norm: L2 norm of all averaged gradients together, before clipping and without the loss scale.
        finite: whether nothing overflowed. If something did, the step was counted but nothing was updated, unless the
            recipe's `skip_overflow` is false and the chip saturated: then gradients are finite all the same.
        stops: whether any device was asked to stop.
        scale: the loss scale of the next step; None where the loss is not scaled.
        hopeless: whether no later step can update anything, see `Patience`.
    """

    loss: float
    grad_norm: float
    finite: bool
    stops: bool
    scale: float | None
    hopeless: bool


class TrainStep:
    """A compiled training step and the state that belongs to it.

    Args:
        net: the network, already under its precision mode; the step runs in the mode it is in (training or not).
        parameters: what the step changes.
        recipe: batch size and its parts, momentum, weight decay, clipping, label smoothing, loss scale, whether
            overflows are skipped, jit level.
        rates: learning rate of every step of the run.
        num_classes: K.
        level: precision mode; under every one but O0 the loss is scaled, unless it is in bfloat16.
        group_size: devices over which gradients are averaged.
        average: of the weights, which follows each update; by default none.
        class_weights: as in `SmoothedCrossEntropy`.
    """

    def __init__(
        self,
        net,
        parameters,
        recipe,
        rates,
        num_classes: int,
        level: str = "O0",
        group_size: int = 1,
        average: WeightAverage | None = None,
        class_weights: np.ndarray | None = None,
    ):
        self.optimizer = make_optimizer(parameters, rates, recipe, spec(recipe.network).family.classifier)
        self.scaler = make_scaler(recipe, level)
        loss_fn = SmoothedCrossEntropy(num_classes, recipe.smoothing, class_weights)
        self.patience = Patience(recipe, scaled=self.scaler is not None)
        mixer = Mixer(recipe.input_spec().size) if mixes(recipe) else None
        parts = recipe.batch_size // recipe.at_once
        held = Accumulated(self.optimizer.parameters, parts) if parts > 1 else None
        self.parts, self.at_once, register = parts, recipe.at_once, overflow_register()
        gradient = _gradient(net, loss_fn, self.optimizer.parameters, self.scaler, mixer, register)
        self._add = _adding(gradient, held, register, recipe.jit_level) if held else None
        self._run = _compiled(
            gradient, self.optimizer, self.scaler, self.patience, group_size, recipe, average, held, register
        )

    def launch(self, images, targets, stop=False, plan: Plan | None = None) -> Callable[[], StepResult]:
        """Begin to train on images (N, 3, H, W) and targets (N,); what it returns waits for the end of this step alone.

        Args:
            stop: ask all devices to stop; each learns it from the result.
            plan: what happens to the pictures, where the recipe mixes or erases; a part of a step mixes its own.
        """
        asked = ms.Tensor(float(stop), ms.float32)
        for part in range(self.parts):
            rows = slice(part * self.at_once, (part + 1) * self.at_once)
            inputs = (images, targets) if self.parts == 1 else (images[rows], targets[rows])
            drawn = () if plan is None else (ms.Tensor(plan.mix), ms.Tensor(plan.erased[rows]))
            if self._add and part + 1 < self.parts:
                self._add(*inputs, *drawn)
            else:
                arrived = fetching(self._run(*inputs, asked, *drawn))

        def result() -> StepResult:
            loss, grad_norm, stops, finite, missed, scale = map(float, arrived())
            hopeless = missed >= self.patience.limit
            return StepResult(loss, grad_norm, finite > 0, stops > 0, scale if self.scaler else None, hopeless)

        return result

    def __call__(self, images, targets, stop=False, plan: Plan | None = None) -> StepResult:
        """Train one step and wait for it; arguments as in `launch`."""
        return self.launch(images, targets, stop, plan)()

    @property
    def scale(self) -> float:
        """The present loss scale; 1 without one."""
        return float(self.scaler.scale_value.asnumpy()) if self.scaler else 1.0

    def parameters(self) -> dict:
        """What a checkpoint holds besides the network: moments, step count, learning rates, loss scale."""
        found = {p.name: p for p in self.optimizer.get_parameters() if _is_state(p.name)}
        if self.scaler:
            found |= {p.name: p for p in vars(self.scaler).values() if hasattr(p, "asnumpy") and hasattr(p, "name")}
        return found

    def start_at(self, step: int) -> None:
        """Count as if `step` steps were done."""
        self.optimizer.global_step.set_data(ms.Tensor(np.array([step], np.int32)))


def _is_state(name: str) -> bool:
    return name.startswith(("moments.", "adam_m.", "adam_v.", "lamb_m.", "lamb_v.", RATES)) or name == "global_step"


def make_scaler(recipe, level: str):
    """The loss scaler of a recipe under a precision mode; None where float32 or its range needs none."""
    if level == "O0" or recipe.amp_dtype == "bfloat16":
        return None
    if recipe.dynamic_loss_scale:
        return amp.DynamicLossScaler(recipe.loss_scale, DYNAMIC_FACTOR, DYNAMIC_WINDOW)
    return amp.StaticLossScaler(recipe.loss_scale)


def norm_and_check():
    """A function from a tuple of gradients to their L2 norm and to whether all are finite.

    The norm answers both: on the CPU MindSpore's own check takes six times as long, since a reduction to a truth value
    does not use the processor's vector instructions.
    """
    half_of_squares, each = ops.L2Loss(), ops.HyperMap()

    def half(gradient):
        return half_of_squares(ops.cast(gradient, ms.float32))

    def check(gradients):
        norm = ops.sqrt(2 * ops.addn(each(half, gradients)))
        return norm, ops.isfinite(norm)

    return check


def clip_to(limit: float):
    """A function from gradients and their L2 norm to the gradients, scaled down to the norm `limit` where it is larger.

    Pascanu et al., 2013, arXiv:1211.5063, algorithm 1.
    """
    each = ops.HyperMap()

    def scaled(factor, gradient):
        return gradient * ops.cast(factor, gradient.dtype)

    def clip(gradients, norm):
        return each(ops.partial(scaled, ops.minimum(ops.ones_like(norm), limit / norm)), gradients)

    return clip


def _gradient(net, loss_fn, parameters, scaler, mixer, register):
    """A function from images, targets and a plan to (loss with the scale, loss) and gradients with the scale."""

    def forward(images, targets, *drawn):
        if mixer is None:
            loss = loss_fn(net(images), targets)
        else:
            loss = mixer.loss(loss_fn, net(mixer.images(images, *drawn)), targets, drawn[0])
        return (scaler.scale(loss) if scaler is not None else loss), loss

    gradient = ms.value_and_grad(forward, None, parameters, has_aux=True)

    def cleared(images, targets, *drawn):
        if register is not None:
            images = register.cleared_before(images)
        return gradient(images, targets, *drawn)

    return cleared


def _adding(gradient, held, register, jit_level):
    """The graph of a part of a step that is not the last."""
    none = ms.Tensor(0.0, ms.float32)

    @ms.jit(jit_level=jit_level)
    def add(images, targets, *drawn):
        (_, loss), gradients = gradient(images, targets, *drawn)
        overflowed = none if register is None else 1 - ops.cast(register.clear_after(gradients), ms.float32)
        held.add(gradients, loss, overflowed)
        return loss

    return add


def _compiled(gradient, optimizer, scaler, patience, group_size, recipe, average, held, register):
    reducer = nn.DistributedGradReducer(optimizer.parameters, mean=True, degree=group_size) if group_size > 1 else None
    all_reduce = ops.AllReduce() if group_size > 1 else None
    check, skips_overflow = norm_and_check(), recipe.skips_overflow
    one, finite_so_far = ms.Tensor(1.0, ms.float32), ms.Tensor(True)
    clip = clip_to(recipe.clip_grad) if recipe.clip_grad else None

    @ms.jit(jit_level=recipe.jit_level)
    def run(images, targets, stop, *drawn):
        (_, loss), gradients = gradient(images, targets, *drawn)
        whole = finite_so_far
        if held is not None:
            gradients, loss, whole = held.mean(gradients, loss)
        if reducer is not None:
            gradients = reducer(gradients)
        if scaler is not None:
            gradients = scaler.unscale(gradients)
        norm, bounded = check(gradients)
        if clip is not None:
            gradients = clip(gradients, norm)
        finite = bounded if register is None else ops.logical_and(bounded, register.clear_after(gradients))
        finite = ops.logical_and(finite, whole)
        if all_reduce is not None:
            # The check is summed too: where chips saturate, summed gradients are finite on every rank, and only the
            # register of the chip that overflowed shows it. A rank that decided alone would diverge from the others.
            sums = all_reduce(ops.stack((loss, stop, 1 - ops.cast(finite, ms.float32))))
            loss, stop, finite = sums[0] / group_size, sums[1], sums[2] == 0
        finite = ops.logical_and(finite, ops.isfinite(loss))
        if scaler is not None:
            scaler.adjust(finite)
        updates = finite if skips_overflow else ops.logical_and(bounded, ops.isfinite(loss))
        if ops.logical_and(updates, patience.lasts()):
            optimizer(gradients)
            patience.renew()
            if average is not None:
                average.update(optimizer.global_step)
        else:
            ops.assign_add(optimizer.global_step, ops.ones_like(optimizer.global_step))
            patience.lose(ops.isfinite(loss))
        scale = one if scaler is None else ops.cast(scaler.scale_value, ms.float32)
        return ops.stack((loss, norm, stop, ops.cast(finite, ms.float32), patience.missed.value(), scale))

    return run
