"""What several processes do together: an overflow on one rank, and the real loop, timed, with equal weights."""

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

from glorext.deploy.acceptance.networks import CLASSES, NETWORKS, THIN, arguments, flags
from glorext.deploy.acceptance.worker import Found, Job, command, worker_words
from glorext.models import create, weights_digest
from glorext.runtime import read_json, write_json
from glorext.train import loop
from glorext.train.command import parse
from glorext.train.distributed import join_group, launched
from glorext.train.initial import in_precision
from glorext.train.launch import launch
from glorext.train.recipe import Recipe
from glorext.train.step import TrainStep

HERE = "glorext.deploy.acceptance.ranks"
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


def on_ranks(job: Job, function: str, out: Path, ranks: int) -> list[dict]:
    """Call a function of this file with OUT in so many processes that MindSpore joins; what each wrote."""
    out.mkdir()
    words = [*worker_words(job.path, f"{HERE}:{function}"), str(out)]
    if ranks == 1:
        command(words)
    else:
        launch(words, ranks, log_dir=out / "logs", cluster_timeout=120)
    return [read_json(out / f"{rank}.json") for rank in range(ranks)]


def overflow(job: Job, ranks: str) -> Found:
    """A gradient overflows on the last of the ranks in the second of four steps, while all losses stay finite."""
    several = ranks != "1"
    found = on_ranks(job, "overflowing", job.path / f"overflow-{ranks}", 2 if several else 1)
    wrong = []
    first = found[0]
    if first["finite"] != [True, False, True, True]:
        wrong.append(f"steps counted as finite: {first['finite']} instead of [True, False, True, True]")
    halves = [1.0, 0.5, 0.5, 0.5]
    if [scale / first["scales"][0] for scale in first["scales"]] != halves:
        wrong.append(f"loss scales {first['scales']}: not halved once, at the second step")
    one, two, three, four = first["digests"]
    if one != two or two == three or three == four:
        wrong.append("weights changed at the second step, or did not at another")
    for rank, other in enumerate(found[1:], 1):
        unequal = [key for key in first if other[key] != first[key]]
        if unequal:
            wrong.append(f"rank {rank} has other {', '.join(unequal)} than rank 0: {other[unequal[0]]}")
    return Found(f"the step was left out, the loss scale halved{', alike on 2 ranks' if several else ''}", tuple(wrong))


class Watch:
    """What was seen of a run: its network, its steps' beginnings and ends, seconds waited for pictures."""

    def __init__(self):
        self.spans: list[tuple[float, float]] = []
        self.waits: list[float] = []
        self.net: Any = None
        self.step: Any = None
        self.batch: tuple = ()


@contextlib.contextmanager
def watching():
    """Yield a Watch; the training loop, as it stands, is timed at its step and at its feed of pictures."""
    seen, own_fed = Watch(), loop.fed

    class Timed(TrainStep):
        """The loop's own step, timed."""

        def __init__(self, net, *rest, **named):
            super().__init__(net, *rest, **named)
            seen.net, seen.step = net, super().__call__

        def __call__(self, *batch, **named):
            begun = time.perf_counter()
            found = super().__call__(*batch, **named)
            seen.spans.append((begun, time.perf_counter()))
            seen.batch = batch
            return found

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

    with mock.patch.object(loop, "TrainStep", Timed), mock.patch.object(loop, "fed", timed):
        yield seen


def size_of(job: Job) -> tuple[int, int]:
    """Side and number of the pictures of a measured step: on a card as it is used, on a CPU so that it ends."""
    if job.short:
        return 32, 8
    return (64, 8) if job.device == "CPU" else (224, 32)


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
    with watching() as seen, contextlib.suppress(loop.Interrupted):
        loop.train(recipe, run["data_dir"], device=job.device, quiet=True, stop_after=WARMUP + measured)
    weights = {name: value for name, value in seen.net.parameters_dict().items() if not name.endswith(STATISTICS)}
    digest, rank = weights_digest(weights), ms.communication.get_rank() if launched() else 0
    again = []
    for _ in range(measured):
        begun = time.perf_counter()
        seen.step(*seen.batch)
        again.append(time.perf_counter() - begun)
    spans, waits = seen.spans[WARMUP:], seen.waits[WARMUP:]
    whole = [end - before for (_, before), (_, end) in zip(seen.spans[WARMUP - 1 :], seen.spans[WARMUP:])]
    values = {
        "digest": digest,
        "step_ms": 1000 * statistics.mean(whole),
        "wait_ms": 1000 * statistics.mean(waits),
        "host_ms": 1000 * (statistics.mean(whole) - statistics.mean(waits) - statistics.mean(e - b for b, e in spans)),
        "in_memory_ms": 1000 * statistics.median(again),
        "host_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "card_memory": 0.0 if job.device == "CPU" else ms.runtime.max_memory_allocated() / 1e6,
    }
    write_json(Path(out) / f"{rank}.json", values)


def speed(job: Job, ranks: str) -> Found:
    """Train in the real loop on one device or on all of the job's: speed, host's time, memory, equal weights."""
    several = ranks != "1"
    count, (side, batch) = job.devices if several else 1, size_of(job)
    found = on_ranks(job, "watched", job.path / f"speed-{ranks}", count)
    wrong = [
        f"rank {rank} ends with other weights than rank 0"
        for rank, other in enumerate(found)
        if other["digest"] != found[0]["digest"]
    ]
    step = max(one["step_ms"] for one in found)
    rate, name = 1000 * batch * count / step, f"{NETWORKS[0]} {side}x{side}, batch {batch}, {count} x, training"
    wait = statistics.mean(one["wait_ms"] / one["step_ms"] for one in found)
    values = [
        ("", rate, "pictures/s"),
        (", a step", step, "ms"),
        (", the same step with its batch in memory", statistics.mean(one["in_memory_ms"] for one in found), "ms"),
        (", the host's own time a step", statistics.mean(one["host_ms"] for one in found), "ms"),
        (", share of the time that the host waits for pictures", 100 * wait, "%"),
        (", most memory of a process on the host", max(one["host_memory"] for one in found), "MB"),
    ]
    text = f"{rate:.1f} pictures a second, {step:.0f} ms a step"
    if job.device != "CPU":
        values.append((", most memory of a card", max(one["card_memory"] for one in found), "MB"))
    if several:
        text += f", equal weights on {count} ranks" * (not wrong)
        before = job.path / "speed-1" / "0.json"
        if before.is_file():
            one = 1000 * batch / read_json(before)["step_ms"]
            values.append((", share of one device's speed that each has", 100 * rate / (count * one), "%"))
            text += f", {rate / one:.2f} times the speed of one"
    return Found(text, tuple(wrong), tuple(job.number(f"{name}{what}", *rest) for what, *rest in values))
