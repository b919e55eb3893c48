"""The results folder: what a backend answered for every picture of a folder, as results.json and logits.npy."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from glorext.runtime.errors import DataError
from glorext.runtime.files import atomic_dir, json_bytes, read_json

SCHEMA = "glorext.results/1"


@dataclass
class Results:
    """Answers of one backend.

    Attributes:
        logits: float32 (N, K), one row per entry of `pictures`.
        pictures: {"path": "<class>/<file>", "top5": class indices, best first, "ms": time for this picture}, sorted by
            the bytes of the paths.
        failed: {"path", "error"} of pictures without an answer.
        latency_ms: p50, p90, p99, mean, and how many first pictures ("warmup") they leave out.
        throughput: pictures per second of wall time.
        stages_ms: mean time per picture of each stage that the backend can tell apart.
    """

    backend: str
    model: dict
    device: str
    batch: int
    workers: int
    threads: int
    logits: np.ndarray
    pictures: list[dict]
    latency_ms: dict
    throughput: float
    seconds: float
    stages_ms: dict
    versions: dict
    failed: list[dict] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Number of pictures that were answered."""
        return len(self.pictures)


def latencies(milliseconds, warmup: int) -> dict:
    """p50, p90, p99 and mean of the times after the first `warmup` ones (of all of them, if there are no more)."""
    kept = np.asarray(milliseconds[warmup:] or milliseconds, float)
    p50, p90, p99 = np.percentile(kept, [50, 90, 99])
    return {"p50": p50, "p90": p90, "p99": p99, "mean": kept.mean(), "warmup": len(milliseconds) - len(kept)}


def best_classes(logits: np.ndarray, k: int = 5) -> np.ndarray:
    """Class indices of the `k` highest logits of each row, best first; the lower index wins a tie."""
    return np.argsort(-logits, axis=1, kind="stable")[:, :k]


def write_results(folder, results: Results) -> None:
    """Write the results folder, all of it or nothing; an existing one is replaced."""
    entry = {key: value for key, value in asdict(results).items() if key != "logits"}
    entry |= {"schema": SCHEMA, "count": results.count, "logits": "logits.npy"}
    with atomic_dir(folder, replace=True) as temporary:
        np.save(temporary / "logits.npy", np.ascontiguousarray(results.logits, np.float32))
        (temporary / "results.json").write_bytes(json_bytes(_plain(entry)))


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def read_results(folder) -> Results:
    """Read a results folder and check that its parts fit together.

    Raises:
        DataError: a missing or damaged file, another schema, a count that does not fit, or logits that are not finite.
    """
    folder = Path(folder)
    where = folder / "results.json"
    entry = read_json(where)
    if not isinstance(entry, dict) or entry.get("schema") != SCHEMA:
        found = entry.get("schema") if isinstance(entry, dict) else type(entry).__name__
        raise DataError(expected=f"schema {SCHEMA}", found=repr(found), where=where)
    missing = [key for key in (*KEYS, "count", "logits") if key not in entry]
    if missing:
        raise DataError(expected="every key of a results file", found=f"no {', '.join(missing)}", where=where)
    try:
        logits = np.load(folder / entry["logits"], allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(expected="an array of logits", found=str(error), where=folder / entry["logits"]) from error
    if logits.dtype != np.float32 or logits.ndim != 2 or not len(logits) == entry["count"] == len(entry["pictures"]):
        raise DataError(
            expected=f"float32 logits for {entry['count']} pictures",
            where=folder,
            found=f"{logits.dtype} {logits.shape} for {len(entry['pictures'])}",
        )
    return Results(logits=logits, **{key: entry[key] for key in KEYS})


KEYS = [key for key in Results.__dataclass_fields__ if key != "logits"]
