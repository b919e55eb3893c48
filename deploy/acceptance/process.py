"""What each of the processes does that MindSpore joins: an overflow on one of them, and the real loop, timed."""

from __future__ import annotations

import contextlib
import resource
import statistics
import time
from pathlib import Path
from typing import Any
from unittest import mock

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from glorext.deploy.acceptance.setting import CLASSES, NETWORKS, THIN, arguments, flags, size_of
from glorext.deploy.acceptance.worker import Job
from glorext.models import create, weights_digest
from glorext.runtime import write_json
from glorext.train import loop
from glorext.train import run as run_of_training
from glorext.train.command import parse
from glorext.train.distributed import join_group, launched
from glorext.train.initial import in_precision
from glorext.train.recipe import Recipe
from glorext.train.step import TrainStep

# A pixel beyond MARKED asks for the overflow; the gradient is then larger by FACTOR, beyond float16 at any loss scale.
MARKED, FACTOR = 50.0, 2.0**24
# Steps that are measured, and those before them, in which graphs are compiled and queues filled.
WARMUP, MEASURED, MEASURED_SHORT = 4, 10, 4
STATISTICS = ("moving_mean", "moving_variance")  # each rank has those of its own pictures


class Forced(nn.Cell):
    """`net` with its own logits, whose gradient is larger by FACTOR where a pixel is beyond MARKED."""

    def __init__(self, net):
        super().__init__(auto_prefix=False)
        self.net = net

    def construct(self, images):
        """Logits (N, K), float32, of images (N, 3, H, W)."""
        logits = ops.cast(self.net(images), ms.float32)
        larger = logits * (FACTOR * ops.cast(ops.amax(images) > MARKED, ms.float32))
        return logits + (larger - ops.stop_gradient(larger))


def overflowing(job: Job, out: str) -> None:
    """Four steps under O2 on one of the processes, the second overflowing on the last; writes OUT/<rank>.json."""
    device, group = join_group(job.device)
    ms.set_seed(1)
    recipe = Recipe(dynamic_loss_scale=True, amp_level="O2")
    net = create(NETWORKS[0], **THIN, num_classes=len(CLASSES))
    model = Forced(in_precision(net, recipe, device)).set_train(False)
    rates = np.full(4, 0.01, np.float32)
    step = TrainStep(model, net.trainable_params(), recipe, rates, len(CLASSES), "O2", group_size=group.size)
    images = np.random.default_rng(group.rank).normal(size=(4, 3, 32, 32)).astype(np.float32)
    targets = ms.Tensor(np.arange(4, dtype=np.int32))
    finite, scales, digests = [], [], []
    for number in range(4):
        batch = images.copy()
        if number == 1 and group.rank == group.size - 1:
            batch[0, 0, 0, 0] = 2 * MARKED
        finite.append(bool(step(ms.Tensor(batch), targets).finite))
        scales.append(step.scale)
        digests.append(weights_digest(net.parameters_dict()))
    write_json(Path(out) / f"{group.rank}.json", {"finite": finite, "scales": scales, "digests": digests})


class Watch:
    """What was seen of a run: its network, when its steps ended, seconds spent in each step and waiting for pictures.

    A step's seconds are those in which the host begins it and waits for its numbers, which may be one step late.
    """

    def __init__(self):
        self.ends: list[float] = []
        self.inside: list[float] = []
        self.waits: list[float] = []
        self.net: Any = None
        self.step: Any = None
        self.batch: tuple = ()


@contextlib.contextmanager
def watching():
    """Yield a Watch; the training loop, as it stands, is timed at its step and at its feed of pictures."""
    seen, own_fed = Watch(), run_of_training.fed

    class Timed(TrainStep):
        """The loop's own step, timed."""

        def __init__(self, net, *rest, **named):
            super().__init__(net, *rest, **named)
            seen.net = net
            seen.step = lambda *batch: TrainStep.launch(self, *batch)()

        def launch(self, *batch, **named):
            begun = time.perf_counter()
            read = super().launch(*batch, **named)
            launching = time.perf_counter() - begun
            seen.batch = batch

            def result():
                begun = time.perf_counter()
                found = read()
                seen.ends.append(time.perf_counter())
                seen.inside.append(launching + seen.ends[-1] - begun)
                return found

            return result

    def timed(*feed):
        pictures = own_fed(*feed)
        with contextlib.closing(pictures):
            while True:
                begun = time.perf_counter()
                batch = next(pictures, None)
                if batch is None:
                    return
                seen.waits.append(time.perf_counter() - begun)
                yield batch

    with mock.patch.object(run_of_training, "TrainStep", Timed), mock.patch.object(run_of_training, "fed", timed):
        yield seen


def watched(job: Job, out: str) -> None:
    """Train in the real loop, timed; each process writes OUT/<rank>.json: its weights' digest, times, memory."""
    side, batch = size_of(job)
    words = [
        *flags(job, NETWORKS[0], arguments(job, NETWORKS[0])),
        "--batch_size",
        str(batch),
        "--input.size",
        str(side),
    ]
    run, recipe = parse([*words, "--out", str(Path(out) / "run"), "--save_checkpoint", "false"])
    measured = MEASURED_SHORT if job.short else MEASURED
    with watching() as seen:
        loop.train(recipe, run["data_dir"], device=job.device, quiet=True, stop_after=WARMUP + measured)
    weights = {name: value for name, value in seen.net.parameters_dict().items() if not name.endswith(STATISTICS)}
    digest, rank = weights_digest(weights), ms.communication.get_rank() if launched() else 0
    again = []
    for _ in range(measured):
        begun = time.perf_counter()
        seen.step(*seen.batch)
        again.append(time.perf_counter() - begun)
    waits = seen.waits[WARMUP:]
    whole = [end - before for before, end in zip(seen.ends[WARMUP - 1 :], seen.ends[WARMUP:])]
    values = {
        "digest": digest,
        "step_ms": 1000 * statistics.mean(whole),
        "wait_ms": 1000 * statistics.mean(waits),
        "host_ms": 1000 * (statistics.mean(whole) - statistics.mean(waits) - statistics.mean(seen.inside[WARMUP:])),
        "in_memory_ms": 1000 * statistics.median(again),
        "host_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "card_memory": 0.0 if job.device == "CPU" else ms.runtime.max_memory_allocated() / 1e6,
    }
    write_json(Path(out) / f"{rank}.json", values)
