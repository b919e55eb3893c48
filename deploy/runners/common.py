"""What all runners share: the table of backends and devices, the request, and how pictures and results are divided."""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glorext.deploy.contract.artifact import Artifact
from glorext.models.answers import Results, latencies
from glorext.models.preprocess import crop, normalize
from glorext.runtime import DataError, UsageError
from glorext.runtime.chips import CHIPS, FAMILIES
from glorext.train.pictures import Pictures

# Device -> MindSpore's name for it.
MINDSPORE_DEVICES = {"cpu": "CPU", "gpu": "GPU", **{chip.family: "Ascend" for chip in CHIPS if chip.trains}}
LITE_DEVICES = ("cpu", *FAMILIES)
# backend -> (devices it runs on, formats of the model it takes)
BACKENDS = {
    "mindspore": (tuple(MINDSPORE_DEVICES), ()),
    "onnx": (("cpu",), ("onnx",)),
    "lite": (LITE_DEVICES, ("lite-mindir", "ms")),
    "lite-cpp": (LITE_DEVICES, ("lite-mindir", "ms")),
}
DEVICES = tuple(dict.fromkeys(device for devices, _ in BACKENDS.values() for device in devices))
# Memory grows with the batch.
BATCH = 10
Run = Callable[[Pictures], Results]


@dataclass(frozen=True)
class Request:
    """What answers: a key of BACKENDS, its device, which card, and a converted model instead of one made now."""

    backend: str = "lite-cpp"
    device: str = "cpu"
    device_id: int = 0
    model: Path | None = None


def check_request(request: Request) -> None:
    """Refuse what cannot run before any work starts.

    Raises:
        UsageError: a backend that does not run on the device, or takes no model.
    """
    devices, formats = BACKENDS[request.backend]
    if request.device not in devices:
        raise UsageError(
            expected=f"a device of {request.backend}: {', '.join(devices)}",
            found=request.device,
            where="--device",
            do="Choose another --backend for this device.",
        )
    if request.model and not formats:
        raise UsageError("the backend mindspore runs the package's own weights", do="Leave out --model.")


def laid_out(batch: np.ndarray, layout: str) -> np.ndarray:
    """(N, 3, H, W) in the order of axes that a model takes, "NCHW" or "NHWC"."""
    return np.ascontiguousarray(batch.transpose(0, 2, 3, 1)) if layout == "NHWC" else batch


def in_batches(run: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """Outputs of `run` for all inputs (N, 3, H, W), BATCH of them at a time."""
    return np.concatenate([run(inputs[start : start + BATCH]) for start in range(0, len(inputs), BATCH)])


def take(pictures: Pictures, indices) -> Pictures:
    """The pictures at `indices`, in the order of the listing."""
    return pictures.at(np.sort(np.asarray(indices, int)))


def preprocessed(pictures: Pictures, artifact: Artifact, chunk: int) -> Iterator[tuple[range, np.ndarray, float]]:
    """Yield (indices, inputs (N, 3, H, W) as the model takes them, milliseconds for one picture), `chunk` at a time."""
    for start in range(0, len(pictures), chunk):
        indices = range(start, min(start + chunk, len(pictures)))
        begun = time.perf_counter()
        cropped = [crop(pictures.file(index), artifact.input_spec) for index in indices]
        inputs = (
            [one.transpose(2, 0, 1) for one in cropped]
            if artifact.input.values == "pixels"
            else [normalize(one, artifact.input_spec) for one in cropped]
        )
        yield indices, np.stack(inputs).astype(artifact.input.dtype), 1e3 * (time.perf_counter() - begun) / len(indices)


def join(parts: list[Results]) -> Results:
    """One Results of several by the same backend over different pictures; the seconds of all are added up.

    Raises:
        DataError: a picture stands in two of them.
    """
    rows = [
        (os.fsencode(picture["path"]), number, row, picture)
        for number, part in enumerate(parts)
        for row, picture in enumerate(part.pictures)
    ]
    rows.sort(key=lambda row: row[0])
    for one, other in itertools.pairwise(rows):
        if one[0] == other[0]:
            raise DataError(expected="every picture once", found=f"{one[3]['path']} twice")
    seconds = sum(part.seconds for part in parts)
    return dataclasses.replace(
        parts[0],
        logits=np.stack([parts[number].logits[row] for _, number, row, _ in rows]),
        pictures=[picture for *_, picture in rows],
        failed=[failed for part in parts for failed in part.failed],
        latency_ms=latencies([picture["ms"] for *_, picture in rows], 0),
        throughput=len(rows) / seconds,
        seconds=seconds,
        stages_ms={
            stage: sum(part.stages_ms[stage] * part.count for part in parts) / len(rows) for stage in parts[0].stages_ms
        },
    )
