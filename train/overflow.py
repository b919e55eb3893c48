"""Where a chip notes an overflow that its numbers do not show, and when a run cannot go on after one."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import ops
from mindspore.ops.operations.math_ops import NPUClearFloatStatusV2, NPUGetFloatStatusV2

from glorext.runtime.device import saturates

HOPELESS = 50  # overflows in a row: halving the loss scale that often has not helped


@ms.jit_class
class StatusRegister:
    """The register of an Ascend chip that saturates: an overflow gives its largest number and leaves a mark here.

    The order of its use is that of MindSpore's own training cell (nn.TrainOneStepWithLossScaleCell).
    """

    def cleared_before(self, inputs):
        """`inputs` of a computation, once marks from before it, such as an evaluation's, are gone."""
        return ops.depend(inputs, NPUClearFloatStatusV2()(ms.Tensor([0] * 8, ms.int32)))

    def clear_after(self, outputs):
        """Whether the computation of `outputs` left no mark: a truth value of shape ()."""
        status = NPUGetFloatStatusV2()(ops.depend(ms.Tensor([0] * 8, ms.int32), outputs))
        return ops.equal(status, 0).all()


def overflow_register() -> StatusRegister | None:
    """The register of the device in use; None where an overflow gives inf, which the gradients' norm shows."""
    return StatusRegister() if saturates() else None


def is_hopeless(recipe, scaled: bool, loss: float, grad_norm: float, in_a_row: int) -> bool:
    """Whether a run must stop after a step that overflowed.

    Args:
        scaled: whether the loss is scaled.
        grad_norm: inf or nan too where the chip does not saturate.
        in_a_row: this step and the ones before it that overflowed.
    """
    if not np.isfinite(loss):
        return True
    if recipe.skips_overflow:
        return not scaled or in_a_row >= HOPELESS
    return not np.isfinite(grad_norm)  # no step is skipped, and an update by inf would end the network
