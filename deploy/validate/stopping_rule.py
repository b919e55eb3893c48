"""Stops a validation early, with a guaranteed error rate however often one looks: a sequential test by betting.

A bet is placed on each answer. Under the hypothesis to be refuted the bettor's capital is a supermartingale, and by
Ville's inequality (Ville 1939) it ever reaches 1/error with probability at most `error`, so one may look after every
picture. For right-or-wrong answers and one bet the capital is the likelihood ratio of Wald's sequential test (Wald
1945, Annals of Mathematical Statistics 16, 117-186). Pictures are drawn without replacement from a folder of known
size, so each picture seen updates what the hypothesis says of the next one (Waudby-Smith and Ramdas 2020, Confidence
sequences for sampling without replacement; 2024, Estimating means of bounded random variables by betting).
"""

from __future__ import annotations

import math

import numpy as np

from glorext.deploy.contract.closeness import ROUNDING

# At most this share of the early answers differs from the answer of the whole folder.
ERROR = 0.05
# For the difference to MindSpore, nearly always 0: small bets survive many changed answers, large ones decide quickly.
PAIRED_BETS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
KEPT, DROPPED = "kept", "dropped"


class SequentialTest:
    """Decides whether the mean of `total` values reaches `limit`, from as few of them as it takes, in random order.

    Args:
        limit: the mean that the whole must reach.
        total: how many values there are in all.
        low, high: bounds of a value.
        bets: stakes, each a share of the capital per unit that a value departs from its expected mean; the capital
            is divided evenly among them.
        error: largest probability that an early answer is wrong.

    Attributes:
        verdict: "kept", "dropped", or None while the values do not decide.
        seen: values taken until the verdict.
    """

    def __init__(self, limit: float, total: int, low: float, high: float, bets, error: float = ERROR):
        self.limit, self.total, self.low, self.high = limit, total, low, high
        self.bets, self.needed = np.asarray(bets, float), math.log(1 / error)
        self.verdict: str | None = None
        self.seen, self._sum = 0, 0.0
        self._above, self._below = np.zeros(len(self.bets)), np.zeros(len(self.bets))

    def add(self, values) -> str | None:
        """Take the next values in their order; those after the verdict are ignored."""
        values = np.asarray(values, float)
        if self.verdict is not None or not len(values):
            return self.verdict
        left = self.total - self.seen - np.arange(len(values))
        sums = self._sum + np.concatenate([[0.0], values.cumsum()])
        # The mean of all values not yet seen, if the whole has the mean `limit`.
        means = (self.total * self.limit - sums[:-1]) / left
        # Beyond the bounds the hypothesis is certainly true or false (see `_certain`): there is nothing to bet on.
        open_ = ((means > self.low) & (means < self.high))[:, None]
        with np.errstate(divide="ignore"):
            up = np.minimum(self.bets, 0.99 / np.abs(means - self.low)[:, None])
            down = np.minimum(self.bets, 0.99 / np.abs(self.high - means)[:, None])
        moved = (values - means)[:, None]
        above = self._above + np.log1p(np.where(open_, up * moved, 0)).cumsum(0)
        below = self._below + np.log1p(np.where(open_, -down * moved, 0)).cumsum(0)
        kept, dropped = self._certain(sums[1:], left - 1)
        kept = kept | ~dropped & (self._capital(above) >= self.needed)
        dropped = dropped | ~kept & (self._capital(below) >= self.needed)
        decided = np.flatnonzero(kept | dropped)
        last = decided[0] if len(decided) else len(values) - 1
        self.seen += int(last) + 1
        self._sum, self._above, self._below = sums[last + 1], above[last], below[last]
        if len(decided):
            self.verdict = KEPT if kept[last] else DROPPED
        return self.verdict

    def _certain(self, sums: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the limit is reached, or missed, whatever the values that are left."""
        needed = self.total * (self.limit - ROUNDING)
        return sums + self.low * left >= needed, sums + self.high * left < needed

    @staticmethod
    def _capital(logs: np.ndarray) -> np.ndarray:
        return np.logaddexp.reduce(logs, axis=1) - math.log(logs.shape[1])


def against_claim(top1: float, drop: float, total: int, error: float = ERROR) -> SequentialTest:
    """For values 1 (right) and 0 (wrong): does top-1 reach `top1 - drop`? The bet is that of Wald's test."""
    limit = top1 - drop
    return SequentialTest(limit, total, 0, 1, [drop / max(limit * (1 - limit), 1e-3)], error)


def against_mindspore(drop: float, total: int, error: float = ERROR) -> SequentialTest:
    """For values 1, 0 and -1, right offline minus right in MindSpore: is top-1 at most `drop` below MindSpore's?"""
    return SequentialTest(-drop, total, -1, 1, PAIRED_BETS, error)
