"""What each process of test_distributed.py runs: four steps, and only the last rank's chip overflows in one.

The register stands for that of an Ascend 910, which saturates: no gradient is inf, only the register tells. Before the
last step it is marked on the first rank, as by an evaluation.
"""

import sys
from pathlib import Path
from unittest import mock

import mindspore as ms
import numpy as np

from glorext.models import create, weights_digest
from glorext.runtime import write_json
from glorext.train import step as step_module
from glorext.train.distributed import join_group
from glorext.train.recipe import Recipe

SMALL = {"layers": [1, 1, 1, 1], "groups": 2, "width_per_group": 4, "stem_width": 8, "num_classes": 2}


@ms.jit_class
class Register:
    """Stands for the status register of a chip that saturates, whose gradients stay finite: a parameter."""

    def __init__(self):
        self.mark = ms.Parameter(ms.Tensor(0.0, ms.float32), name="register", requires_grad=False)

    def cleared_before(self, inputs):
        """`inputs`, once the mark is gone."""
        return ms.ops.depend(inputs, ms.ops.assign(self.mark, ms.Tensor(0.0, ms.float32)))

    def clear_after(self, outputs):
        """Whether the computation of `outputs` left no mark."""
        return ms.ops.depend(self.mark.value(), outputs) == 0


class Overflowing(ms.nn.Cell):
    """`net`, whose forward overflows where a pixel is above 50."""

    def __init__(self, net, register):
        super().__init__(auto_prefix=False)
        self.net, self.mark = net, register.mark

    def construct(self, images):
        """Logits of images (N, 3, H, W)."""
        above = ms.ops.cast(ms.ops.amax(images) > 50, ms.float32)
        ms.ops.assign(self.mark, ms.ops.maximum(self.mark, above))
        return self.net(images)


def run(out: Path) -> None:
    group = join_group("CPU")[1]
    register = Register()
    ms.set_seed(1)
    net = create("resnext50", **SMALL)
    model = Overflowing(net, register).set_train(False)
    recipe, rates = Recipe(dynamic_loss_scale=True), np.full(4, 0.05)
    with mock.patch.object(step_module, "overflow_register", return_value=register):
        step = step_module.TrainStep(model, net.trainable_params(), recipe, rates, 2, "O2", group_size=group.size)
    images = np.random.default_rng(group.rank).normal(size=(4, 3, 16, 16)).astype(np.float32)
    finite, scales, digests = [], [], []
    for number in range(4):
        register.mark.set_data(ms.Tensor(float(number == 3 and group.is_writer), ms.float32))
        factor = 100 if number == 1 and group.rank == group.size - 1 else 1
        finite.append(step(ms.Tensor(images * factor), ms.Tensor(np.array([0, 1, 0, 1], np.int32))).finite)
        scales.append(step.scale)
        digests.append(
            weights_digest({name: value for name, value in net.parameters_dict().items() if "moving_" not in name})
        )
    write_json(out / f"{group.rank}.json", {"finite": finite, "scales": scales, "digests": digests})


if __name__ == "__main__":
    run(Path(sys.argv[1]))
