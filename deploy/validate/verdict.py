"""Judges results by the labels, by the package's evidence and, picture by picture, by MindSpore's answers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

import numpy as np

from glorext.deploy.contract.closeness import (
    FLOAT16_AGREEMENT,
    FLOAT32_AGREEMENT,
    FLOAT32_DIFFERENCE,
    ROUNDING,
    Comparison,
    compare,
    converted_tolerance,
)
from glorext.deploy.validate import stopping_rule
from glorext.deploy.validate.accuracy import (
    FAIL,
    MAX_DROP,
    PASS,
    UNCLEAR,
    Accuracy,
    Check,
    Claim,
    accuracy,
    claim_for,
    judge,
    paths_of,
    truths,
)
from glorext.deploy.validate.custom_metrics import Measured
from glorext.models.answers import Results
from glorext.models.prediction import softmax
from glorext.models.trained import TrainedModel
from glorext.runtime import AccuracyError, DataError, version

SCHEMA = "glorext.validation/1"


@dataclass(frozen=True)
class Agreement:
    """Offline results compared with MindSpore's on the same pictures.

    Attributes:
        reference: MindSpore's accuracy.
        same: pictures with the same top-1 in both.
        max_difference, mean_difference: of two logits, absolute.
        cosine: smallest cosine between the two logit vectors of a picture.
        flips: paths whose top-1 differs.
    """

    reference: Accuracy
    same: int
    max_difference: float
    mean_difference: float
    cosine: float
    flips: tuple[str, ...]


@dataclass(frozen=True)
class EarlyStop:
    """Where the sequential test of an early answer stopped.

    Attributes:
        verdict: "kept" or "dropped"; None when it took the whole folder.
        seen: pictures until the verdict.
        total: pictures in the folder.
        limit: the mean that had to be reached: top-1, or its difference to MindSpore's.
        paired: whether each picture was compared with MindSpore's answer.
        seed: of the pictures' order.
        error: largest probability that the whole folder would have given the other verdict.
    """

    verdict: str | None
    seen: int
    total: int
    limit: float
    paired: bool
    seed: int
    error: float


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    Attributes:
        name: the model's name.
        backend, device: what answered.
        verdict: "pass", "FAIL" or "not clear".
        measured: accuracy of the results.
        claim: the top-1 to expect by the package's evidence, or None.
        mindspore: the comparison picture by picture, or None when it was not made.
        early_stop: where the sequential test stopped, or None when every picture was scored.
        checks: the verdict, line by line.
        environment: versions and digests.
        metrics: what the user's own metrics gave.
    """

    name: str
    backend: str
    device: str
    verdict: str
    measured: Accuracy
    claim: Claim | None
    mindspore: Agreement | None
    early_stop: EarlyStop | None
    checks: tuple[Check, ...]
    environment: dict
    metrics: tuple[Measured, ...] = ()

    def to_dict(self) -> dict:
        """The validation as JSON values."""
        return {"schema": SCHEMA, **asdict(self)}


def right_ones(results: Results, classes: np.ndarray) -> np.ndarray:
    """bool (N,): which pictures are answered rightly."""
    return results.logits.argmax(1) == classes


def validate(
    source: TrainedModel,
    results: Results,
    reference: Results | None = None,
    min_top1: float | None = None,
    max_drop: float = MAX_DROP,
    early_stop: EarlyStop | None = None,
) -> Validation:
    """Judge `results` by the labels, by the package's evidence and, where given, by MindSpore's `reference`.

    Raises:
        DataError: the two do not cover the same pictures, or pictures are missing.
        AccuracyError: they come from other weights than `source`.
    """
    _check_comparable(source, results, reference)
    if reference is not None and results.artifact["output"] == "probabilities":
        reference = replace(reference, logits=softmax(reference.logits))
    paths = paths_of(results)
    stopped = early_stop if early_stop and len(paths) < early_stop.total else None
    classes, early = truths(paths, source.labels), stopped is not None
    measured = accuracy(results.logits, classes, early)
    claim = None if early else claim_for(source.evidence, paths, classes, len(source.labels))
    agreement, checks = None, []
    if reference is not None:
        comparison = compare(results.logits, reference.logits)
        agreement = _agreement(comparison, accuracy(reference.logits, classes, early), paths)
        checks += _against_mindspore(comparison, agreement, measured, results, max_drop)
    if claim is not None:
        checks.append(judge(claim, right_ones(results, classes), classes, len(source.labels), max_drop))
    if stopped:
        checks.append(_stopped(stopped, max_drop))
    if min_top1 is not None:
        state = PASS if measured.top1 >= min_top1 else FAIL
        checks.append(
            Check("top-1 against the wanted value", f"at least {min_top1:.2%}", f"{measured.top1:.2%}", state)
        )
    environment = {
        "glorext": version(),
        "model": results.model.to_dict(),
        "artifact": results.artifact,
        **{f"{which.backend}_versions": which.versions for which in filter(None, (reference, results))},
    }
    return Validation(
        source.name,
        results.backend,
        results.device,
        verdict(checks, agreement is not None),
        measured,
        claim,
        agreement,
        early_stop,
        tuple(checks),
        environment,
    )


def _check_comparable(source: TrainedModel, results: Results, reference: Results | None) -> None:
    if results.failed:
        first = results.failed[0]
        raise DataError(
            f"{len(results.failed)} pictures were not scored, the first {first['path']}: {first['error']}",
            do="Mend or remove them; accuracy counts every picture exactly once.",
        )
    if reference is not None and paths_of(results) != paths_of(reference):
        odd = sorted(set(paths_of(results)) ^ set(paths_of(reference)))
        raise DataError(
            expected="the same pictures in both results",
            found=f"{len(odd)} in only one of them" + (f", the first {odd[0]}" if odd else ""),
            do="Run both over the same folder.",
        )
    for which in filter(None, (results, reference)):
        if difference := source.difference(which.model):
            raise AccuracyError(
                f"the {which.backend} results are of {difference}",
                do="Run the inference again with this package's model.",
            )


def verdict(checks, compared: bool) -> str:
    """All checks as one word.

    Too few pictures to test the claim are no fault where MindSpore, `compared` on the very same pictures, gives the
    same answers. Without that comparison the result is "not clear", and so it is where nothing was checked.
    """
    states = [check.state for check in checks]
    if FAIL in states:
        return FAIL
    return UNCLEAR if PASS not in states or (UNCLEAR in states and not compared) else PASS


def _agreement(comparison: Comparison, reference: Accuracy, paths: list[str]) -> Agreement:
    return Agreement(
        reference,
        len(paths) - len(comparison.changed),
        comparison.max_difference,
        comparison.mean_difference,
        comparison.cosine,
        tuple(paths[row] for row in comparison.changed),
    )


def _against_mindspore(
    comparison: Comparison, agreement: Agreement, measured: Accuracy, results: Results, max_drop: float
):
    weights = results.artifact["weights_dtype"]
    float32 = results.device == "cpu" and weights == "float32"
    least = math.floor(measured.count * (FLOAT32_AGREEMENT if float32 else FLOAT16_AGREEMENT))
    yield Check(
        "same top-1 as MindSpore",
        f"at least {least} of {measured.count}",
        f"{agreement.same} of {measured.count}",
        PASS if agreement.same >= least else FAIL,
    )
    what = results.artifact["output"]
    half_limit = comparison.limit(converted_tolerance(results.device, weights), what)
    limit = FLOAT32_DIFFERENCE if float32 else half_limit
    yield Check(
        f"{what} against MindSpore",
        f"at most {limit:.2g} apart",
        f"{comparison.max_difference:.2e}",
        PASS if comparison.within(limit) else FAIL,
    )
    lowest = agreement.reference.top1 - max_drop
    yield Check(
        "top-1 against MindSpore on the same pictures",
        f"at least {lowest:.2%}",
        f"{measured.top1:.2%}",
        PASS if measured.top1 >= lowest - ROUNDING else FAIL,
    )


def _stopped(early_stop: EarlyStop, max_drop: float) -> Check:
    than = (
        "MindSpore's top-1 on this folder"
        if early_stop.paired
        else f"{early_stop.limit + max_drop:.2%}, the package's claim for these pictures"
    )
    return Check(
        "top-1 of the whole folder, from a random part of it",
        f"at most {max_drop:.2%} below {than}",
        f"{early_stop.verdict}: clear after {early_stop.seen:,} of {early_stop.total:,} pictures; at most "
        f"{early_stop.error:.0%} of such answers are wrong for the whole folder",
        PASS if early_stop.verdict == stopping_rule.KEPT else FAIL,
    )
