"""Loads on a runtime that Python calls, which glorext is compared with: those of deploy/cpp/src/load.h.

Each worker prepares its inputs by itself: threads for decoding would only wait for the same cores.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

PERCENTILES = (50, 90, 99, 99.9)
LEAST_CALLS = 2


@dataclass(frozen=True)
class Call:
    """One call of the runtime: when its requests came, when it began and ended (seconds), and who made it."""

    came: tuple[float, ...]
    began: float
    prepared: float
    ended: float
    worker: int


@dataclass
class Load:
    """One load and what came of it.

    Attributes:
        kind: "single" (the next request comes when the last one is answered), "full" (there is always a next one), or
            requests a second, which come at random moments whether or not the ones before are answered.
        answer: the runtime, for an array of 1 to `batch` inputs, from `workers` threads at once.
        source: input number i.
        warmup, seconds: before and of the measurement.
    """

    kind: str
    answer: Callable[[np.ndarray], object]
    source: Callable[[int], np.ndarray]
    workers: int
    batch: int
    warmup: float
    seconds: float
    calls: list[Call] = field(default_factory=list)
    taken: int = 0
    error: BaseException | None = None

    def measure(self) -> dict:
        """Run it; the values of one row of `loads` in glorext_bench's JSON."""
        self.begin = time.perf_counter()
        self.start = self.begin + self.warmup
        self.end = self.start + self.seconds
        self.lock = threading.Lock()
        # What a rate that is too high leaves behind is waited for as long as the measurement took, but no longer.
        self.deadline = self.end + self.seconds
        self.arrivals = self._arrivals() if self.is_rate else []
        count = 1 if self.kind == "single" else self.workers
        threads = [threading.Thread(target=self._work, args=(number,), daemon=True) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.error:
            raise self.error
        return self._described(*(self._of_rate() if self.is_rate else self._of_calls()))

    @property
    def is_rate(self) -> bool:
        """Whether `kind` is a number of requests a second."""
        return self.kind not in ("single", "full")

    def _arrivals(self) -> list[float]:
        generator, arrivals = np.random.default_rng(0), []
        at = self.begin + generator.exponential(1 / float(self.kind))
        while at < self.end:
            arrivals.append(at)
            at += generator.exponential(1 / float(self.kind))
        return arrivals

    def _take(self) -> tuple[range, tuple[float, ...]]:
        """The numbers of the next requests and when they came; none: there are no more."""
        with self.lock:
            first = self.taken
            if not self.is_rate:
                count = 1 if self.kind == "single" else self.batch
                self.taken += count
                return range(first, first + count), (time.perf_counter(),) * count
            if first >= len(self.arrivals):
                return range(0), ()
            time.sleep(max(0.0, self.arrivals[first] - time.perf_counter()))
            now = time.perf_counter()
            if now > self.deadline:
                return range(0), ()
            last = first + 1
            while last < min(first + self.batch, len(self.arrivals)) and self.arrivals[last] <= now:
                last += 1
            self.taken = last
            return range(first, last), tuple(self.arrivals[first:last])

    def _work(self, worker: int) -> None:
        own = 0
        try:
            while self.error is None:
                numbers, came = self._take()
                if not came:
                    return
                began = time.perf_counter()
                inputs = np.stack([self.source(number) for number in numbers])
                prepared = time.perf_counter()
                self.answer(inputs)
                ended = time.perf_counter()
                self.calls.append(Call(came, began, prepared, ended, worker))
                own += ended >= self.start
                if not self.is_rate and ended >= self.end and own >= LEAST_CALLS:
                    return
        except BaseException as error:
            self.error = error

    def _of_rate(self) -> tuple[list[Call], list[float], float]:
        """Calls that count, how long what was not answered has waited, and answers a second."""
        now = time.perf_counter()
        lost = [now - came for came in self.arrivals[self.taken :] if came >= self.start]
        counted = [call for call in self.calls if call.came[0] >= self.start]
        last = max([self.end, *(call.ended for call in counted)])
        return counted, lost, sum(len(call.came) for call in counted) / (last - self.start)

    def _of_calls(self) -> tuple[list[Call], list[float], float]:
        """As `_of_rate`; a worker's answers are counted from the end of one of its calls to the end of another."""
        counted, throughput = [call for call in self.calls if call.ended >= self.start], 0.0
        for worker in {call.worker for call in counted}:
            own = sorted((call for call in counted if call.worker == worker), key=lambda call: call.ended)
            if len(own) > 1:
                throughput += sum(len(call.came) for call in own[1:]) / (own[-1].ended - own[0].ended)
        return counted, [], throughput

    def _described(self, calls: list[Call], lost: list[float], throughput: float) -> dict:
        rows = [(call, came) for call in calls for came in call.came]
        all_ms = np.sort(1e3 * np.array([call.ended - came for call, came in rows] + lost))

        def mean(seconds) -> float:
            return 1e3 * float(np.mean(seconds)) if rows else 0.0

        latency: dict = {"mean": float(all_ms.mean()), "max": float(all_ms[-1])} if len(all_ms) else {}
        for percent in PERCENTILES:
            # Of too few requests a percentile says nothing: there must be one beyond it.
            known = len(all_ms) * (100 - percent) >= 100 - 1e-6
            latency[f"p{percent}"] = float(np.percentile(all_ms, percent)) if known else None
        return {
            "load": "rate" if self.is_rate else self.kind,
            "rate": float(self.kind) if self.is_rate else None,
            "count": len(all_ms),
            "unanswered": len(lost),
            "throughput": throughput,
            "batch": len(rows) / len(calls) if calls else 0.0,
            "latency_ms": latency,
            "stages_ms": {
                "wait": mean([call.began - came for call, came in rows]),
                "prepare": mean([call.prepared - call.began for call, _ in rows]),
                "infer": mean([call.ended - call.prepared for call, _ in rows]),
            },
        }
