"""The results folder: what a backend answered for every picture of a folder, as results.json and logits.npy."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from glorext.runtime.errors import DataError
from glorext.runtime.fields import Fields
from glorext.runtime.files import atomic_dir, json_bytes

from .trained import Identity

SCHEMA = "glorext.results/1"
RESULTS, LOGITS = "results.json", "logits.npy"
STAGE = re.compile("[a-z]+")


@dataclass
class Results:
    """Answers of one backend.

    Attributes:
        model: what answered.
        artifact: the file that answered: {"file", "sha256", "output", "weights_dtype"}, the output "logits" or
            "probabilities", and what its kernels and matrices are stored in.
        logits: float32 (N, K), one row per entry of `pictures`.
        pictures: {"path": "<class>/<file>", "top5": class indices, best first, "ms": time for this picture}, sorted by
            the bytes of the paths.
        failed: {"path", "error"} of pictures without an answer.
        latency_ms: p50, p90, p99, mean, and how many first pictures ("warmup") they leave out.
        throughput: pictures per second of wall time.
        card: the Ascend card that answered, as AscendCL names it: {"id", "count", "chip"}; None for none.
        stages_ms: mean time per picture of each stage that the backend can tell apart.
    """

    backend: str
    model: Identity
    artifact: dict[str, str]
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
    card: dict | None = None

    @property
    def paths(self) -> list[str]:
        """The pictures' paths in the order of the logits."""
        return [picture["path"] for picture in self.pictures]

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
    entry = {key: value for key, value in vars(results).items() if key not in ("logits", "model")}
    entry |= {"schema": SCHEMA, "model": results.model.to_dict(), "count": results.count, "logits": LOGITS}
    with atomic_dir(folder, replace=True) as temporary:
        np.save(temporary / LOGITS, np.ascontiguousarray(results.logits, np.float32))
        (temporary / RESULTS).write_bytes(json_bytes(_plain(entry)))


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def read_results(folder) -> Results:
    """Read a results folder and check that its parts fit together.

    Raises:
        DataError: a missing or damaged file, another schema, an unknown, missing or wrongly typed key, a count that
            does not fit, or an array that is not of float32 (N, K).
    """
    folder = Path(folder)
    top = Fields.read(folder / RESULTS, SCHEMA, do="Run the inference again.")
    count, file = top.count("count"), top.one_of("logits", LOGITS)
    try:
        logits = np.load(folder / file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(expected="an array of logits", found=str(error), where=folder / file) from error
    artifact, latency, stages = top.inner("artifact"), top.inner("latency_ms"), top.inner("stages_ms")
    results = Results(
        logits=logits,
        backend=top.take("backend", str),
        model=Identity.read(top.inner("model")),
        artifact={
            "file": artifact.file_name("file"),
            "sha256": artifact.digest("sha256"),
            "output": artifact.one_of("output", "logits", "probabilities"),
            "weights_dtype": artifact.one_of("weights_dtype", "float32", "float16"),
        },
        device=top.take("device", str),
        card=_card(top.inner("card", optional=True)),
        batch=top.count("batch", 1),
        workers=top.count("workers", 1),
        threads=top.count("threads", 1),
        pictures=[_picture(one) for one in top.inners("pictures")],
        failed=[_failed(one) for one in top.inners("failed")],
        latency_ms={key: latency.take(key, float) for key in ("p50", "p90", "p99", "mean")}
        | {"warmup": latency.count("warmup")},
        throughput=top.take("throughput", float),
        seconds=top.take("seconds", float),
        stages_ms={key: stages.take(key, float) for key in list(stages.names(STAGE, "names of stages"))},
        versions=top.strings("versions"),
    )
    for part in (artifact, latency, top):
        part.done()
    if logits.dtype != np.float32 or logits.ndim != 2 or not len(logits) == count == results.count:
        raise DataError(
            expected=f"float32 logits for {count} pictures",
            where=folder,
            found=f"{logits.dtype} {logits.shape} for {results.count}",
        )
    return results


def _card(fields: Fields | None) -> dict | None:
    if fields is None:
        return None
    card = {"id": fields.count("id"), "count": fields.count("count", 1), "chip": fields.take("chip", str)}
    fields.done()
    return card


def _picture(fields: Fields) -> dict:
    found = {"path": fields.file_name("path"), "top5": list(fields.values("top5", int)), "ms": fields.take("ms", float)}
    fields.done()
    return found


def _failed(fields: Fields) -> dict:
    found = {"path": fields.file_name("path"), "error": fields.file_name("error")}
    fields.done()
    return found
