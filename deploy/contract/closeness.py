"""How near answers must be: every tolerance of deployment once, with its reason, and the comparison they judge."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# Tolerances of outputs, as `Comparison.limit` takes them: of the largest expected logit, at least 1.
#
# An exported file, by another reader: its float32 sums run in another order.
EXPORTED = 1e-4
# A converted model on the golden inputs: the converter fuses BatchNorm into convolutions, which moves logits by a few
# float32 roundings per layer.
CONVERTED = 1e-4
# The same on a user's pictures: the worst of a hundred and more lies further off than the worst of four.
ON_PICTURES = 1e-3
# Kernels and matrices in float16, computed with in float32: the converter rounds biases as well when it halves a .ms.
FLOAT16_WEIGHTS = 2e-3
# Half precision on a card keeps three digits. Not measured: no card was at hand.
CARD = 2e-2
# A whole network under mixed precision, of logits that are centered and scaled to order 1: what all of them share is
# taken away, and with it most of what rounding is small against. On a CPU 0.010 (resnext50) and 0.029 (glore_res50)
# were measured; an Ascend or a GPU multiplies so under O0 as well. bfloat16 has three bits fewer.
FLOAT16 = 6e-2
BFLOAT16 = 8 * FLOAT16
# Losses in mixed precision, relative to float32's: each of the first five steps, and the mean of twenty. Rounding moves
# the weights that the next step starts from, so single losses part further with each (0.08 at the twentieth, on a CPU);
# there 0.005 and 0.02 were measured for these two.
EARLY_LOSS, MEAN_LOSS = 1e-2, 5e-2

# What `glorext validate` allows between two float32 implementations, absolute: on logits of order 1 to 10 they differ
# by less than this. And the share of pictures with the same answer: one in 360 may lie so close to the border of two
# classes that rounding decides; in half precision (not measured on cards: none was at hand) more of them do.
FLOAT32_DIFFERENCE = 1e-3
FLOAT32_AGREEMENT, FLOAT16_AGREEMENT = 359 / 360, 0.99
# A changed answer is a clear one when the two best logits lay further apart: rounding decides between closer ones.
MARGIN = 0.1

# Layers, as `share_apart` gives them. One float16 rounding is 0.0005 of a value, and a cell adds up many. Summing
# float32 in another order moves values by about 1e-6; a layer of the ONNX file beyond this computes something else.
FLOAT16_LAYER, ONNX_LAYER = 1e-2, 1e-3

# Preprocessing, against training's own. Levels of 255, for the stages in uint8: the ways on the host are meant to be
# equal, and beyond this accuracy was seen to move. Then normalized values of order 1: AIPP has half precision.
MAX_LEVELS, MEAN_LEVELS = 3, 0.5
NORMALIZED = {"numpy": 1e-5, "cpp": 1e-5, "aipp": 2e-2}
# In levels: golden inputs are made of whole ones, and normalizing in float32 and back moves them by less.
WHOLE_LEVEL = 1e-3

# For shares such as 0.8 - 0.005, which are no binary numbers: what equals a limit must not miss it.
ROUNDING = 1e-9


def converted_tolerance(device: str, weights_dtype: str = "float32") -> float:
    """What a converted model is allowed on the golden inputs, by the device and its weights' type."""
    if device != "cpu":
        return CARD
    return CONVERTED if weights_dtype == "float32" else FLOAT16_WEIGHTS


def relative_tolerance(tolerance: float, output: str) -> float:
    """`tolerance` as a share of the largest expected of the outputs, "logits" or "probabilities".

    A probability moves, relative to itself, by as much as its logit moves absolutely: for logits of order 10, tenfold.
    """
    return 10 * tolerance if output == "probabilities" else tolerance


@dataclass(frozen=True)
class Comparison:
    """How far outputs (N, K) are from the expected ones.

    Attributes:
        max_difference, mean_difference: of two values, absolute; NaN or infinite where an output is.
        cosine: smallest cosine between the two rows of an input.
        changed: rows whose largest value stands at another class.
        clear: {row: how far the two best expected values lay apart} for those of `changed` where that is more than the
            margin.
        largest: largest expected value, absolute.
    """

    max_difference: float
    mean_difference: float
    cosine: float
    changed: tuple[int, ...]
    clear: dict[int, float]
    largest: float

    @property
    def finite(self) -> bool:
        """Whether no output is NaN or infinite."""
        return math.isfinite(self.max_difference)

    def within(self, limit: float) -> bool:
        """Whether no value is further off than `limit`; never with NaN."""
        return self.max_difference <= limit

    def limit(self, tolerance: float, output: str = "logits") -> float:
        """How far outputs may lie apart: logits by `tolerance` times the largest expected one, at least 1."""
        largest = self.largest if output == "probabilities" else max(1.0, self.largest)
        return relative_tolerance(tolerance, output) * largest


def compare(found: np.ndarray, expected: np.ndarray, margin: float = MARGIN) -> Comparison:
    """Hold outputs (N, K) against the expected ones of the same shape."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(found - expected)
        products = [
            np.einsum("nk,nk->n", *pair, dtype=np.float64)
            for pair in ((found, expected), (found, found), (expected, expected))
        ]
        cosine = products[0] / np.maximum(np.sqrt(products[1] * products[2]), 1e-30)
    changed = np.flatnonzero(found.argmax(1) != expected.argmax(1))
    best = np.sort(expected[changed], axis=1)[:, -2:].astype(np.float64)
    lead = best[:, -1] - best[:, 0]
    return Comparison(
        float(difference.max()),
        float(difference.mean(dtype=np.float64)),
        float(cosine.min()),
        tuple(changed.tolist()),
        {int(row): float(apart) for row, apart in zip(changed, lead) if apart > margin},
        float(np.abs(expected).max()),
    )


def require_close(
    found: np.ndarray, expected: np.ndarray, tolerance: float, output: str, error: type, *, of: str, where, do=None
) -> Comparison:
    """The comparison of outputs; raises `error` where they are not within `tolerance`.

    Args:
        output: "logits" or "probabilities".
        of: whose outputs are expected, to follow that word in the message.
    """
    if found.shape != expected.shape:
        raise error(expected=f"{output} of shape {expected.shape}", found=found.shape, where=where)
    comparison = compare(found, expected)
    limit = comparison.limit(tolerance, output)
    if not comparison.within(limit):
        raise error(
            expected=f"{output} {of}, to {limit:.1e}",
            found=f"a difference of {comparison.max_difference:.1e}",
            where=where,
            do=do,
        )
    return comparison


def share_apart(found: np.ndarray, expected: np.ndarray) -> float | None:
    """Largest difference of a layer's values as a share of the largest expected one; None for NaN or Inf in `found`."""
    if not np.isfinite(found).all():
        return None
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30))
