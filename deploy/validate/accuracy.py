"""Accuracy over pictures with its interval, and the test that it is no worse than the package claims; numbers only."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np

from glorext.deploy.contract.closeness import ROUNDING
from glorext.models.answers import Results
from glorext.runtime import DataError
from glorext.runtime.files import sha256_bytes
from glorext.train.evaluate import EvalResult

Z = 1.959964
# Accuracy may not fall further than this below what the package claims.
MAX_DROP = 0.005
PASS, FAIL, UNCLEAR = "pass", "FAIL", "not clear"


@dataclass(frozen=True)
class Accuracy:
    """Accuracy over `count` pictures and the 95 % interval of top-1, as fractions; None where there is no interval,
    and for top-5 of five classes or fewer."""

    count: int
    top1: float
    top5: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Check:
    """One line of the verdict: what was demanded, what was found, and "pass", "FAIL" or "not clear"."""

    name: str
    demanded: str
    found: str
    state: str


@dataclass(frozen=True)
class Claim:
    """The top-1 to expect on the pictures at hand by the package's evidence.

    Attributes:
        top1: a fraction.
        count: pictures behind the evidence.
        basis: how it was derived: "same pictures", "same classes" (from the accuracy of each class, for the classes at
            hand), "all classes", or "other classes": the evidence is for more classes than there are pictures of.
    """

    top1: float
    count: int
    basis: str


def wilson(hits: float, count: float, z: float = Z) -> tuple[float, float]:
    """The Wilson score interval of `hits` out of `count` (Wilson 1927), as two fractions."""
    share, spread = hits / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def interval_beyond(right: np.ndarray, classes: np.ndarray, num_classes: int) -> tuple[float, float]:
    """95 % interval of the accuracy over all `num_classes` classes, from pictures of some of them.

    Classes differ in difficulty, so pictures of few classes say less of the others than their number suggests. The
    variance of the ratio over whole classes, with the finite population correction for the classes sampled (Cochran
    1977, Sampling Techniques, chapter 9A), and the variance within classes, divided by the binomial variance, is the
    design effect (Kish 1965, Survey Sampling, section 8.2), by which the number of pictures is divided before Wilson's
    formula. The classes at hand are taken for a random sample.

    Args:
        right: bool (N,), which pictures are answered rightly.
        classes: class index (N,) of each picture.
    """
    names, places = np.unique(classes, return_inverse=True)
    count, share = len(right), float(np.mean(right))
    if len(names) == num_classes:
        return wilson(float(np.sum(right)), count)
    if len(names) == 1:
        return 0.0, 1.0
    sizes, hits = np.bincount(places), np.bincount(places, weights=right)
    chosen, sampled = len(names), len(names) / num_classes
    between = (1 - sampled) * chosen / (chosen - 1) * float(((hits - sizes * share) ** 2).sum()) / count**2
    binomial = share * (1 - share) / count
    # Without a mistake, or without a right answer, there is no variance to compare: each class counts as one picture.
    effect = max(1.0, sampled + between / binomial) if binomial else count / chosen
    return wilson(share * count / effect, count / effect)


def paths_of(results: Results) -> list[str]:
    """The pictures' paths in the order of the logits."""
    return [picture["path"] for picture in results.pictures]


def listing_digest(paths) -> str:
    """The digest that eval.json carries for a tree of these pictures (`train.data.Pictures.digest`)."""
    ordered = sorted(paths, key=lambda path: [os.fsencode(part) for part in path.split("/", 1)])
    return sha256_bytes("".join(f"{path}\n" for path in ordered).encode("utf-8", "surrogateescape"))


def truths(paths: list[str], labels: tuple[str, ...]) -> np.ndarray:
    """Class indices (N,) of pictures called <class>/<file>, by the model's own label list.

    Raises:
        DataError: a picture outside a class folder, or a class that the model does not know.
    """
    if not labels:
        raise DataError(
            "the model's label list is unknown, so accuracy cannot be measured",
            do="Validate a package or a training run instead of a bare checkpoint.",
        )
    index = {label: number for number, label in enumerate(labels)}
    unknown = sorted({path for path in paths if path.split("/")[0] not in index or "/" not in path})
    if unknown:
        raise DataError(
            expected=f"pictures in class folders out of {', '.join(labels[:5])}, ...",
            found=f"{len(unknown)} others, the first {unknown[0]!r}",
            do="Give the folder that holds one folder for each class.",
        )
    return np.array([index[path.split("/")[0]] for path in paths])


def accuracy(logits: np.ndarray, classes: np.ndarray, early: bool = False) -> Accuracy:
    """Top-1 and top-5 of logits (N, K) against class indices (N,); ties count for the lower index, as argmax does.

    Args:
        early: the pictures were scored until a stopping rule ended it; an interval for a fixed number would be wrong.
    """
    own = logits[np.arange(len(classes)), classes][:, None]
    lower = np.arange(logits.shape[1])[None] < classes[:, None]
    rank = ((logits > own) | ((logits == own) & lower)).sum(1)
    hits = int((rank == 0).sum())
    low, high = (None, None) if early else wilson(hits, len(classes))
    top5 = float((rank < 5).mean()) if logits.shape[1] > 5 else None
    return Accuracy(len(classes), hits / len(classes), top5, low, high)


def accuracy_line(results: Results, labels: tuple[str, ...]) -> str:
    """Accuracy of results against the class folders, as the published postprocessing prints it."""
    found = accuracy(results.logits, truths(paths_of(results), labels))
    top5 = "" if found.top5 is None else f", top5 accuracy: {found.top5:.6g}"
    return f"Total data: {found.count}, top1 accuracy: {found.top1:.6g}{top5}."


def claim_for(evidence: EvalResult | None, paths, classes: np.ndarray, num_classes: int) -> Claim | None:
    """The claim of `evidence` for pictures `paths` with class indices `classes`; None without evidence."""
    if evidence is None:
        return None
    if evidence.data["sha256"] == listing_digest(paths):
        return Claim(evidence.top1, evidence.count, "same pictures")
    if evidence.confusion is not None:
        confusion = np.asarray(evidence.confusion, float)
        known, counts = confusion.sum(1), np.bincount(classes, minlength=num_classes)
        if not ((known == 0) & (counts > 0)).any():
            each = np.diag(confusion) / np.maximum(known, 1)
            return Claim(float((each * counts).sum() / counts.sum()), evidence.count, "same classes")
    whole = len(np.unique(classes)) == num_classes
    return Claim(evidence.top1, evidence.count, "all classes" if whole else "other classes")


def pictures_needed(share: float, drop: float) -> int:
    """About how many pictures make the 95 % interval of `share` reach no further than `drop` below it."""
    return math.ceil(Z * Z * max(share * (1 - share), 1e-3) / drop**2)


def judge(claim: Claim, right: np.ndarray, classes: np.ndarray, num_classes: int, drop: float = MAX_DROP) -> Check:
    """Non-inferiority test: whether top-1 is at most `drop`, the margin, below `claim`.

    On the very pictures of the evidence the two are compared directly. On others the 95 % interval decides: "pass" when
    its lower bound reaches `claim.top1 - drop`, "FAIL" when its upper bound does not, and "not clear" in between, where
    more pictures are needed. Too few pictures therefore never pass.
    """
    least, found = claim.top1 - drop, float(np.mean(right))
    name = "top-1 against the package's evidence"
    if claim.basis == "same pictures":
        return Check(
            name,
            f"at least {least:.2%}, {drop:.2%} below {claim.top1:.2%} on the same pictures",
            f"{found:.2%}",
            PASS if found >= least - ROUNDING else FAIL,
        )
    if claim.basis == "other classes":
        low, high = interval_beyond(right, classes, num_classes)
    else:
        low, high = wilson(float(np.sum(right)), len(right))
    state = PASS if low >= least else FAIL if high < least else UNCLEAR
    of = {
        "same classes": "for these classes",
        "all classes": "on other pictures",
        "other classes": f"on all {num_classes} classes, of which {len(np.unique(classes))} have pictures here",
    }[claim.basis]
    hint = f"; about {pictures_needed(claim.top1, drop):,} pictures would decide" if state == UNCLEAR else ""
    return Check(
        name,
        f"at least {least:.2%}, {drop:.2%} below {claim.top1:.2%} {of}",
        f"{found:.2%}, 95 % interval {low:.2%} to {high:.2%}{hint}",
        state,
    )
