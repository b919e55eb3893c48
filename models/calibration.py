"""Whether a classifier's probabilities are as high as it is right: the reliability table and the calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 15


@dataclass(frozen=True)
class Bin:
    """The pictures whose confidence lies above `low` and not above `high`: how many, their mean confidence, and the
    share of them that is right; None for both where there are none."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """The expected calibration error (ECE), a fraction, and the reliability table that it is the mean of.

    As in Guo et al., On Calibration of Modern Neural Networks (arXiv:1706.04599), equation 3, with their 15 bins of
    equal width: the mean over all pictures of |accuracy - confidence| of the bin. The confidence is the highest softmax
    probability, without temperature.
    """

    ece: float
    bins: list[Bin]


def confidences(logits: np.ndarray) -> np.ndarray:
    """The highest softmax probability of each row of logits (N, K), float32 (N,)."""
    above = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return (1 / np.exp(above).sum(1)).astype(np.float32)


def calibration(confidence: np.ndarray, right: np.ndarray) -> Calibration:
    """The calibration of answers with these confidences (N,), 0 to 1, of which `right` (N,), bool, are right."""
    values = confidence.astype(np.float64)
    places = np.clip(np.ceil(values * BINS).astype(int) - 1, 0, BINS - 1)
    counts = np.bincount(places, minlength=BINS)
    sums, hits = (np.bincount(places, weights=weights, minlength=BINS) for weights in (values, right.astype(float)))
    bins = [
        Bin(i / BINS, (i + 1) / BINS, int(n), float(sums[i] / n) if n else None, float(hits[i] / n) if n else None)
        for i, n in enumerate(counts)
    ]
    return Calibration(ece_of(bins), bins)


def ece_of(bins: list[Bin]) -> float:
    """The expected calibration error of a reliability table."""
    apart = sum(row.count * abs((row.accuracy or 0) - (row.confidence or 0)) for row in bins)
    return apart / sum(row.count for row in bins)
