"""Where a chip notes an overflow that its numbers do not show, and when a run cannot go on after one."""

from __future__ import annotations

import mindspore as ms
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


@ms.jit_class
class Patience:
    """Counts, on the device, the steps in a row that updated nothing, and ends all updates when there is no hope.

    The host may read that a step was hopeless when it has launched the next one already: that one must change nothing,
    so that what the host says about the failure is true of the weights that failed.

    Args:
        recipe: whether overflows are skipped: a step that may not be skipped is hopeless where it cannot update.
        scaled: whether the loss is scaled: without a scale, what overflowed will overflow again.
    """

    def __init__(self, recipe, scaled: bool):
        self.limit = float(HOPELESS if scaled and recipe.skips_overflow else 1)
        self.missed = ms.Parameter(ms.Tensor(0.0, ms.float32), name="missed_updates", requires_grad=False)

    def lasts(self):
        """Whether updates go on."""
        return self.missed < self.limit

    def renew(self):
        """Note that a step updated the weights."""
        ops.assign(self.missed, ms.Tensor(0.0, ms.float32))

    def lose(self, loss_is_finite):
        """Note that a step updated nothing; no smaller scale helps where the loss itself is not finite."""
        ops.assign_add(self.missed, ops.where(loss_is_finite, 1.0, self.limit))
