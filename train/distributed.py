"""One process or many: this process's device, its rank among the devices, and sums and means over all of them."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from glorext.runtime.device import set_device
from glorext.runtime.errors import DataError, UsageError


@dataclass(frozen=True)
class Group:
    """The devices that work together; MindSpore's launcher (msrun) starts one process per device."""

    rank: int = 0
    size: int = 1

    @property
    def is_writer(self) -> bool:
        """Whether this process writes files and shows progress: rank 0 only."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """This process's part of `count` items: every `size`-th, from its rank on."""
        return range(self.rank, count, self.size)

    def sum(self, numbers: np.ndarray) -> np.ndarray:
        """The sum of an array over all processes, in every process.

        In float32, the one type that MindSpore sums on CPU, GPU and Ascend: exact for whole numbers up to 2**24.
        """
        if self.size == 1:
            return numbers
        from mindspore import Tensor, ops

        return ops.AllReduce()(Tensor(numbers.astype(np.float32))).asnumpy().astype(numbers.dtype)

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in any process; each waits here for all others."""
        return bool(self.sum(np.array([flag], np.int64))[0])

    def require_equal(self, digest: bytes, what: str, where) -> None:
        """Raise DataError unless all processes have the same `digest` of `what`; each waits here for all others.

        A process's message holds its own digest and the first that differs from it.
        """
        everyone = np.zeros((self.size, len(digest)), np.int64)
        everyone[self.rank] = list(digest)
        for rank, other in enumerate(self.sum(everyone).tolist()):
            if bytes(other) != digest:
                raise DataError(
                    expected=f"{what} the same in every process",
                    found=f"SHA-256 {digest[:6].hex()} for rank {self.rank}, {bytes(other[:6]).hex()} for rank {rank}",
                    where=where,
                    do="Give every host the same files.",
                )

    def average_statistics(self, parameters) -> None:
        """Give the batch norms of every process the mean of all processes' running statistics.

        Each device normalizes by its own batch, so their running means and variances differ a little.
        """
        if self.size == 1:
            return
        from mindspore import ops

        all_reduce = ops.AllReduce()
        for parameter in parameters:
            if parameter.name.endswith(("moving_mean", "moving_variance")):
                # assign, not set_data: compiled graphs keep using the old memory.
                ops.assign(parameter, all_reduce(parameter.value() * 1.0) / self.size)


def launched() -> bool:
    """Whether msrun started this process."""
    return "MS_WORKER_NUM" in os.environ and "MS_SCHED_PORT" in os.environ


def join_group(device: str = "auto", device_id: int | None = None) -> tuple[str, Group]:
    """Choose this process's device, then join the other processes if msrun started them.

    Args:
        device, device_id: see `glorext.runtime.set_device`. Under msrun MindSpore gives each process its own card.

    Raises:
        UsageError: msrun and a `device_id`: all processes would take the same card.
        DeviceError: this machine has no such device.
    """
    if not launched():
        return set_device(device, device_id), Group()
    if device_id is not None:
        raise UsageError(
            expected="no number, as each process takes its own card",
            found=device_id,
            where="--device_id",
            do="Name the cards to the launcher: glorext launch --device_ids 0,1 ...",
        )
    device = set_device(device)
    from mindspore import communication

    communication.init()
    return device, Group(communication.get_rank(), communication.get_group_size())
