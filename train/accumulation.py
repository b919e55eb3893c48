"""A step in parts: gradients of a few pictures at a time add up, so that a large batch needs no more memory."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import ops


@ms.jit_class
class Accumulated:
    """The sums, on the device, of what the parts of a step gave.

    The mean over equal parts is the gradient of the mean loss of all pictures, whatever the loss; only batch norms see
    the pictures of their own part alone.

    Args:
        parameters: what learns.
        parts: of a step; more than one.
    """

    def __init__(self, parameters, parts: int):
        self.parts, self._each = parts, ops.HyperMap()
        sums = [ms.Parameter(ms.Tensor(np.zeros(p.shape, np.float32)), "sum." + p.name, False) for p in parameters]
        self._sums = ms.ParameterTuple(sums)
        self._loss = ms.Parameter(ms.Tensor(0.0, ms.float32), "sum_of_losses", False)
        self._overflows = ms.Parameter(ms.Tensor(0.0, ms.float32), "sum_of_overflows", False)

    def add(self, gradients, loss, overflowed):
        """Add what a part gave that is not the last: gradients, its loss (), and 1 or 0 for whether it overflowed."""
        self._each(ops.partial(_added), self._sums, gradients)
        ops.assign_add(self._loss, ops.cast(loss, ms.float32))
        ops.assign_add(self._overflows, overflowed)

    def mean(self, gradients, loss):
        """The means over all parts, with those of the last one, and whether none of the others overflowed.

        What was added is forgotten.
        """
        share = 1 / self.parts
        mean = self._each(ops.partial(_mean, share), self._sums, gradients)
        loss, whole = (self._loss.value() + loss) * share, self._overflows.value() == 0
        self._each(ops.partial(_forgotten), ops.depend(self._sums, mean))
        ops.assign(self._loss, ops.depend(ms.Tensor(0.0, ms.float32), loss))
        ops.assign(self._overflows, ops.depend(ms.Tensor(0.0, ms.float32), whole))
        return mean, loss, whole


def _added(held, gradient):
    return ops.assign_add(held, ops.cast(gradient, ms.float32))


def _mean(share, held, gradient):
    return (held + ops.cast(gradient, ms.float32)) * share


def _forgotten(held):
    return ops.assign(held, ops.zeros_like(held))
