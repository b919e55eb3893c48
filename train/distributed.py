"""One process or many: who I am among the devices, and sums and means over them."""
from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Group:
    """The devices that train together; MindSpore's launcher (msrun) starts one process per device."""

    rank: int = 0
    size: int = 1

    @property
    def is_writer(self) -> bool:
        """Whether this process writes files and shows progress: rank 0 only."""
        return self.rank == 0

    def sum(self, counts: np.ndarray) -> np.ndarray:
        """The sum of an int64 array over all processes, in every process."""
        if self.size == 1:
            return counts
        from mindspore import Tensor, mint
        total = Tensor(counts)
        mint.distributed.all_reduce(total)
        return total.asnumpy()

    def average_statistics(self, net) -> None:
        """Give the batch norms of every process the mean of all processes' running statistics.

        Each device normalises by its own batch, so their running means and variances differ a little.
        """
        if self.size == 1:
            return
        from mindspore import ops
        all_reduce = ops.AllReduce()
        for parameter in net.get_parameters():
            if parameter.name.endswith(("moving_mean", "moving_variance")):
                # assign, not set_data: graphs that are compiled already hold on to the old memory.
                ops.assign(parameter, all_reduce(parameter.value() * 1.0) / self.size)


def launched() -> bool:
    """Whether msrun started this process."""
    return "MS_WORKER_NUM" in os.environ and "MS_SCHED_PORT" in os.environ


def join_group() -> Group:
    """Join the processes that msrun started, after the device is chosen; alone when it was not msrun."""
    if not launched():
        return Group()
    from mindspore import communication
    communication.init()
    return Group(communication.get_rank(), communication.get_group_size())
