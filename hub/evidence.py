"""Evidence: what `glorext eval` measured, held against the weights, preprocessing and labels it is for."""

from __future__ import annotations

from pathlib import Path

from glorext.runtime import DataError, GlorextError, PackageError, parse_json
from glorext.train.evaluate import SCHEMA, EvalResult

from .manifest import SHA256, Fields

METRICS = "metrics.jsonl"


def parse_evidence(data: bytes, where="eval.json") -> Evidence:
    """The evidence in the bytes of an eval.json.

    Raises:
        PackageError: not written by our evaluation, or impossible: no pictures, an accuracy outside 0..1, a count that
            contradicts the data set's or the confusion matrix.
    """
    where = str(where)
    try:
        value = parse_json(data, where)
    except DataError as error:
        raise PackageError(expected=error.expected, found=error.found, where=where) from error
    top = Fields(value, where)
    if (schema := top.take("schema", str)) != SCHEMA:
        raise PackageError(
            expected=f"schema {SCHEMA!r}", found=repr(schema[:80]), where=where, do="`glorext eval` writes it."
        )
    folder = Fields(top.take("data", dict), f"{where}: data")
    evidence = EvalResult(
        top1=top.take("top1", float),
        top5=top.take("top5", float),
        count=top.take("count", int),
        weights_sha256=top.matching("weights_sha256", SHA256, "64 hex digits"),
        preprocessing_sha256=top.matching("preprocessing_sha256", SHA256, "64 hex digits"),
        labels_sha256=top.matching("labels_sha256", SHA256, "64 hex digits"),
        network=top.take("network", str),
        device=top.take("device", str),
        precision=top.take("precision", str),
        versions=top.take("versions", dict),
        data={
            "folder": folder.take("folder", str),
            "count": folder.take("count", int),
            "sha256": folder.matching("sha256", SHA256, "64 hex digits"),
        },
        confusion=top.take("confusion", list, optional=True),
    )
    _check(evidence, where)
    return evidence


def _check(evidence: EvalResult, where: str) -> None:
    if evidence.count < 1:
        raise PackageError(expected="at least one scored picture", found=evidence.count, where=f"{where}: count")
    if evidence.count != evidence.data["count"]:
        raise PackageError(
            expected=f"every picture of the data set scored once ({evidence.data['count']})",
            found=evidence.count,
            where=f"{where}: count",
            do="Evaluate again with `glorext eval`.",
        )
    if not 0 <= evidence.top1 <= evidence.top5 <= 1:
        raise PackageError(expected="0 <= top1 <= top5 <= 1", found=f"{evidence.top1} and {evidence.top5}", where=where)
    if evidence.confusion is None:
        return
    rows = evidence.confusion
    if not all(
        type(row) is list and len(row) == len(rows) and all(type(cell) is int and cell >= 0 for cell in row)
        for row in rows
    ):
        raise PackageError(expected="a square matrix of counts", where=f"{where}: confusion")
    total, right = sum(map(sum, rows)), sum(row[index] for index, row in enumerate(rows))
    if total != evidence.count or abs(right - evidence.top1 * evidence.count) > 0.5:
        raise PackageError(
            expected=f"{evidence.count} pictures, {evidence.top1:.4f} of them right",
            found=f"{total}, {right} of them right",
            where=f"{where}: confusion",
        )


def check_evidence(
    evidence: EvalResult,
    *,
    weights_sha256: str,
    preprocessing_sha256: str,
    labels_sha256: str,
    num_classes: int,
    network: str,
    where="eval.json",
    error: type[GlorextError] = PackageError,
) -> None:
    """Raise `error` unless `evidence` was measured with exactly these weights, this preprocessing and these labels."""
    wanted = {
        "network": network,
        "weights_sha256": weights_sha256,
        "preprocessing_sha256": preprocessing_sha256,
        "labels_sha256": labels_sha256,
    }
    for key, value in wanted.items():
        if getattr(evidence, key) != value:
            raise error(
                expected=f"{key} {value}",
                found=getattr(evidence, key),
                where=where,
                do="This accuracy belongs to something else: evaluate these weights with `glorext eval`.",
            )
    if evidence.confusion is not None and len(evidence.confusion) != num_classes:
        raise error(
            expected=f"a row for each of {num_classes} classes",
            found=len(evidence.confusion),
            where=f"{where}: confusion",
        )


def read_epochs(path: Path) -> list[dict]:
    """The epochs in a metrics.jsonl, each with "epoch", "loss" and "top1" (a fraction); the latter two may be None.

    Raises:
        PackageError: a line is not JSON, or a value is no number.
    """
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        where = f"{path}, line {number}"
        try:
            value = parse_json(line, where)
        except DataError as error:
            raise PackageError(expected=error.expected, found=error.found, where=where) from error
        if not isinstance(value, dict) or value.get("event") != "epoch":
            continue
        row = {key: value.get(key) for key in ("epoch", "loss", "top1")}
        if type(row["epoch"]) is not int or not all(type(item) in (int, float, type(None)) for item in row.values()):
            raise PackageError(expected="numbers for epoch, loss and top1", found=str(row)[:200], where=where)
        rows.append(row)
    return rows
