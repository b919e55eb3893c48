"""A measured accuracy with the digests of everything it depends on: eval.json, which `glorext eval` writes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from glorext.runtime.errors import DataError, GlorextError
from glorext.runtime.fields import Fields
from glorext.runtime.files import write_json

SCHEMA = "glorext.eval/1"
EVAL = "eval.json"
AGAIN = "Evaluate again with `glorext eval`."


@dataclass
class EvalResult:
    """A measured accuracy.

    Attributes:
        top1, top5: fractions of `count`, 0..1; no top5 for five classes or fewer, where every answer would count.
        loss: mean cross entropy, without label smoothing; None where an earlier version evaluated.
        weights_sha256, preprocessing_sha256, labels_sha256: digests of weights, InputSpec and label list.
        data: name of the folder, number of pictures and digest of their relative paths.
        confusion: rows are classes, columns answers, for up to 100 classes; else None.
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

    def write(self, path) -> None:
        """Write eval.json, atomically."""
        write_json(path, {"schema": SCHEMA, **asdict(self)})


def parse_evaluation(data: bytes, where=EVAL, error: type[GlorextError] = DataError) -> EvalResult:
    """The measurement in the bytes of an eval.json.

    Raises:
        GlorextError: of the class `error`: not written by our evaluation, or impossible: no pictures, an accuracy
            outside 0..1, a count that contradicts the data set's or the confusion matrix.
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
    return result


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
