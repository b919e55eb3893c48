"""A measured accuracy with the digests of everything it depends on: eval.json, which `glorext eval` writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from glorext.runtime.errors import DataError, GlorextError
from glorext.runtime.fields import Fields
from glorext.runtime.files import write_json

from .calibration import Bin, Calibration, ece_of
from .labels import labels_digest
from .per_class import ClassScore, Confused

SCHEMA = "glorext.eval/1"
EVAL = "eval.json"
AGAIN = "Evaluate again with `glorext eval`."
T = TypeVar("T")


@dataclass
class EvalResult:
    """A measured accuracy.

    Attributes:
        top1, top5: fractions of `count`, 0..1; no top5 for five classes or fewer, where every answer would count.
        loss: mean cross entropy, without label smoothing; None where an earlier version evaluated.
        weights_sha256, preprocessing_sha256, labels_sha256: digests of weights, InputSpec and label list.
        data: name of the folder, number of pictures and digest of their relative paths.
        confusion: rows are classes, columns answers, for up to 100 classes; else None.
        classes: of each class, in the order of the labels.
        confused: the most frequent mistakes, the most frequent first.
        calibration: of the probabilities.

    The last three are None where an earlier version evaluated.
    """

    top1: float
    top5: float | None
    count: int
    weights_sha256: str
    preprocessing_sha256: str
    labels_sha256: str
    network: str
    device: str
    precision: str
    versions: dict[str, str]
    data: dict[str, Any]
    confusion: list | None
    loss: float | None = None
    classes: list[ClassScore] | None = None
    confused: list[Confused] | None = None
    calibration: Calibration | None = None

    def write(self, path) -> None:
        """Write eval.json, atomically."""
        write_json(path, {"schema": SCHEMA, **asdict(self)})


def parse_evaluation(data: bytes, where=EVAL, error: type[GlorextError] = DataError) -> EvalResult:
    """The measurement in the bytes of an eval.json.

    Raises:
        GlorextError: of the class `error`: not written by our evaluation, or impossible: no pictures, an accuracy
            outside 0..1, a count that contradicts the data set's, the classes' or the confusion matrix.
    """
    top = Fields.parse(data, where, SCHEMA, error, AGAIN)
    folder = top.inner("data")
    result = EvalResult(
        top1=top.take("top1", float),
        top5=top.take("top5", float, optional=True),
        count=top.count("count", 1),
        weights_sha256=top.digest("weights_sha256"),
        preprocessing_sha256=top.digest("preprocessing_sha256"),
        labels_sha256=top.digest("labels_sha256"),
        network=top.take("network", str),
        device=top.take("device", str),
        precision=top.take("precision", str),
        versions=top.strings("versions"),
        data={
            "folder": folder.take("folder", str),
            "count": folder.take("count", int),
            "sha256": folder.digest("sha256"),
        },
        confusion=top.take("confusion", list, optional=True),
        loss=top.take("loss", float, optional=True) if "loss" in top else None,
        classes=_rows(top, "classes", _class),
        confused=_rows(top, "confused", _pair),
        calibration=_calibration(top.inner("calibration", optional=True)) if "calibration" in top else None,
    )
    folder.done()
    top.done()
    if result.count != result.data["count"]:
        raise top.wrong(f"every picture of the data set scored once ({result.data['count']})", result.count, "count")
    if not 0 <= result.top1 <= (1 if result.top5 is None else result.top5) <= 1:
        raise top.wrong("0 <= top1 <= top5 <= 1", f"{result.top1} and {result.top5}")
    if result.loss is not None and not 0 <= result.loss < float("inf"):
        raise top.wrong("a loss of at least 0", result.loss, "loss")
    if result.confusion is not None:
        _check_confusion(result, result.confusion, top)
    if result.classes is not None:
        _check_classes(result, result.classes, top)
    if result.calibration is not None:
        _check_calibration(result, result.calibration, top)
    return result


def _rows(top: Fields, key: str, read: Callable[[Fields], T]) -> list[T] | None:
    """A list that earlier versions did not write, each of its objects read by `read`."""
    rows = top.inners(key, optional=True) if key in top else None
    return None if rows is None else [read(row) for row in rows]


def _class(row: Fields) -> ClassScore:
    score = ClassScore.of(row.take("label", str), row.count("count"), row.count("answered"), row.count("right"))
    given = [row.take(key, float, optional=True) for key in ("precision", "recall", "f1")]
    if given != [score.precision, score.recall, score.f1]:
        raise row.wrong("precision, recall and f1 of these counts", "others")
    row.done()
    return score


def _pair(row: Fields) -> Confused:
    pair = Confused(row.take("truth", str), row.take("answer", str), row.count("times", 1))
    row.done()
    return pair


def _calibration(fields: Fields | None) -> Calibration | None:
    if fields is None:
        return None
    found = Calibration(fields.take("ece", float), [_bin(row) for row in fields.inners("bins")])
    fields.done()
    return found


def _bin(row: Fields) -> Bin:
    found = Bin(
        low=row.take("low", float),
        high=row.take("high", float),
        count=row.count("count"),
        confidence=row.take("confidence", float, optional=True),
        accuracy=row.take("accuracy", float, optional=True),
    )
    row.done()
    if any((value is None) != (found.count == 0) for value in (found.confidence, found.accuracy)):
        raise row.wrong("confidence and accuracy of a bin with pictures, and of no other", f"{found.count} pictures")
    return found


def _check_classes(result: EvalResult, classes: list[ClassScore], top: Fields) -> None:
    """Raise unless the classes are those of the labels, agree with top-1 and the matrix, and hold the mistakes."""
    labels, mistakes = {score.label: score for score in classes}, result.confused or []
    sums = [sum(getattr(score, key) for score in classes) for key in ("count", "answered", "right")]
    if labels_digest(score.label for score in classes) != result.labels_sha256:
        raise top.wrong("the classes whose digest is labels_sha256", "others", "classes")
    if sums[:2] != [result.count] * 2 or abs(sums[2] - result.top1 * result.count) > 0.5:
        raise top.wrong(f"{result.count} pictures and answers, {result.top1:.4f} of them right", sums, "classes")
    if not all(
        pair.truth != pair.answer
        and {pair.truth, pair.answer} <= labels.keys()
        and pair.times <= labels[pair.truth].count - labels[pair.truth].right
        for pair in mistakes
    ):
        raise top.wrong("mistakes between two classes, as many as they have", "others", "confused")
    if result.confusion is not None:
        rows = result.confusion
        counted = [(sum(row), sum(column), row[i]) for i, (row, column) in enumerate(zip(rows, zip(*rows)))]
        if counted != [(score.count, score.answered, score.right) for score in classes]:
            raise top.wrong("the sums of the confusion matrix", "others", "classes")


def _check_calibration(result: EvalResult, found: Calibration, top: Fields) -> None:
    counts, right = [row.count for row in found.bins], sum(row.count * (row.accuracy or 0) for row in found.bins)
    if sum(counts) != result.count or abs(right - result.top1 * result.count) > 0.5:
        raise top.wrong(f"{result.count} pictures, {result.top1:.4f} of them right", counts, "calibration")
    if abs(found.ece - ece_of(found.bins)) > 1e-9:
        raise top.wrong(f"ece {ece_of(found.bins)}, as the bins give", found.ece, "calibration")


def _check_confusion(result: EvalResult, rows: list, top: Fields) -> None:
    if not all(
        type(row) is list and len(row) == len(rows) and all(type(cell) is int and cell >= 0 for cell in row)
        for row in rows
    ):
        raise top.wrong("a square matrix of counts", "another list", "confusion")
    total, right = sum(map(sum, rows)), sum(row[index] for index, row in enumerate(rows))
    if total != result.count or abs(right - result.top1 * result.count) > 0.5:
        raise top.wrong(
            f"{result.count} pictures, {result.top1:.4f} of them right", f"{total}, {right} of them right", "confusion"
        )
