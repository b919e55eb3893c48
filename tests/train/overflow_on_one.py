"""What each process of test_distributed.py runs: three steps, and only the last rank's chip reports an overflow in one.

The register stands for that of an Ascend 910, which saturates: no gradient is inf, only the register tells.
"""

import sys
from pathlib import Path

import mindspore as ms
import numpy as np

from glorext.models import create, weights_digest
from glorext.runtime import write_json
from glorext.train import step as step_module
from glorext.train.distributed import join_group
from glorext.train.recipe import Recipe

SMALL = {"layers": [1, 1, 1, 1], "groups": 2, "width_per_group": 4, "stem_width": 8, "num_classes": 2}


def run(out: Path) -> None:
    group = join_group("CPU")[1]
    register = ms.Parameter(ms.Tensor(0.0, ms.float32), name="register", requires_grad=False)
    by_norm = step_module.norm_and_check()

    def check(gradients):
        norm, finite = by_norm(gradients)
        return norm, ms.ops.logical_and(finite, register == 0)

    step_module.norm_and_check = lambda: check
    ms.set_seed(1)
    net = create("resnext50", **SMALL)
    net.set_train(False)
    step = step_module.TrainStep(
        net, net.trainable_params(), Recipe(dynamic_loss_scale=True), np.full(3, 0.05), 2, "O2", group_size=group.size
    )
    images = np.random.default_rng(group.rank).normal(size=(4, 3, 16, 16)).astype(np.float32)
    finite, scales, digests = [], [], []
    for number in range(3):
        ms.ops.assign(register, ms.Tensor(float(number == 1 and group.rank == group.size - 1), ms.float32))
        finite.append(step(ms.Tensor(images), ms.Tensor(np.array([0, 1, 0, 1], np.int32))).finite)
        scales.append(step.scale)
        digests.append(
            weights_digest({name: value for name, value in net.parameters_dict().items() if "moving_" not in name})
        )
    write_json(out / f"{group.rank}.json", {"finite": finite, "scales": scales, "digests": digests})


if __name__ == "__main__":
    run(Path(sys.argv[1]))
