"""What several processes do together, started and judged: an overflow on one rank, and the real loop, timed."""

from __future__ import annotations

import statistics
from pathlib import Path

from glorext.deploy.acceptance.setting import NETWORKS, size_of
from glorext.deploy.acceptance.worker import Found, Job, command, worker_words
from glorext.runtime import read_json
from glorext.train.launch import launch

PROCESS = "glorext.deploy.acceptance.process"


def on_ranks(job: Job, function: str, out: Path, ranks: int) -> list[dict]:
    """Call a function of PROCESS with OUT in so many processes that MindSpore joins; what each wrote."""
    out.mkdir()
    words = [*worker_words(job.path, f"{PROCESS}:{function}"), str(out)]
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
    rate, name = 1000 * batch * count / step, f"{NETWORKS[0]}, digits {side}x{side}, batch {batch}, {count} x, training"
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
