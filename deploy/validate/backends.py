"""Answers of one backend for chosen pictures: MindSpore, MindSpore Lite by tensors or by the C++ program, onnxruntime.

"lite" and "lite-cpp" run the same model on the same runtime. The first is fed by the NumPy and Pillow reference of the
preprocessing, the second decodes and preprocesses by itself: a fault that only the second shows lies before the model.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from glorext.deploy.contract.artifact import Artifact, read_artifact
from glorext.deploy.runners import lite as infer
from glorext.deploy.runners import programs as native
from glorext.deploy.source import Source
from glorext.models.answers import Results, best_classes, latencies, read_results
from glorext.models.preprocess import crop, normalize
from glorext.runtime import AccuracyError, DataError, SetupError, UsageError, set_device
from glorext.runtime.chips import CHIPS
from glorext.train.data import Pictures

MINDSPORE_DEVICES = {"cpu": "CPU", "gpu": "GPU", **{chip.family: "Ascend" for chip in CHIPS if chip.trains}}
# backend -> (devices it runs on, formats of the model it takes)
BACKENDS = {
    "mindspore": (tuple(MINDSPORE_DEVICES), ()),
    "onnx": (("cpu",), ("onnx",)),
    "lite": (infer.DEVICES, ("lite-mindir", "ms")),
    "lite-cpp": (infer.DEVICES, ("lite-mindir", "ms")),
}
DEVICES = tuple(dict.fromkeys(device for devices, _ in BACKENDS.values() for device in devices))
# Tensors of 256 pictures of 224 x 224 are 154 MB; onnxruntime's memory grows with the batch, MindSpore Lite's does not.
CHUNK, ONNX_BATCH = 256, 8
Run = Callable[[Pictures], Results]


@dataclass(frozen=True)
class Request:
    """What shall answer: a key of BACKENDS, its device, which card, and a converted model instead of one made now."""

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


def take(pictures: Pictures, indices) -> Pictures:
    """The pictures at `indices`, in the order of the listing."""
    indices = np.sort(np.asarray(indices, int))
    return dataclasses.replace(
        pictures,
        paths=tuple(pictures.paths[i] for i in indices),
        targets=pictures.targets[indices],
        places=pictures.places[indices],
    )


def prepare(source: Source, request: Request, scratch: Path) -> Run:
    """A function from pictures to Results; the model is made or checked now, once.

    Args:
        scratch: a folder for what is made on the way; it must stay as long as the function is used.

    Raises:
        UsageError, SetupError, DeviceError: see `check_request`; what the backend needs is not on this machine.
        AccuracyError: the model was made from other weights.
        ConversionError, InferenceError: the model could not be made, or does not run.
    """
    check_request(request)
    if request.backend == "mindspore":
        from glorext.train.evaluate import evaluate

        device = set_device(MINDSPORE_DEVICES[request.device], request.device_id if request.device != "cpu" else None)
        net = source.create()
        return lambda pictures: evaluate(net, pictures, source.input_spec, source.checkpoint, source.network, device)[1]
    if request.backend == "onnx" and find_spec("onnxruntime") is None:
        raise SetupError(
            "the backend onnx needs onnxruntime, which is not installed", do="Run: pip install onnxruntime"
        )
    path = Path(request.model) if request.model else _made(source, request, Path(scratch))
    artifact = read_artifact(path)
    if artifact.format not in BACKENDS[request.backend][1]:
        raise UsageError(
            expected=f"a model of format {' or '.join(BACKENDS[request.backend][1])}", found=artifact.format, where=path
        )
    _require_same(artifact, source, path)
    if request.backend == "onnx":
        run = _onnx(path, artifact)
    elif request.backend == "lite":
        run = _by_tensors(path, artifact, request, native.build())
    else:
        run = _by_program(path, request, native.build())

    def told(pictures: Pictures) -> Results:
        results = run(pictures)
        return dataclasses.replace(results, model={**results.model, "weights_dtype": artifact.weights_dtype})

    return told


def _require_same(artifact: Artifact, source: Source, path: Path) -> None:
    """Whoever validates a model as a package's must have run that package's weights, preprocessing and labels."""
    for what, wanted, found in (
        ("weights", source.weights_sha256, artifact.weights_sha256),
        ("input spec", source.input_spec.to_dict(), artifact.input_spec.to_dict()),
        ("label list", list(source.labels), list(artifact.labels)),
    ):
        if wanted != found:
            raise AccuracyError(
                expected=f"a model with the {what} of {source.name}, {_apart(wanted, found)}",
                found=_apart(found, wanted),
                where=path,
                do="Convert this package's model, or name the package that it was made from.",
            )


def _apart(value, other) -> str:
    """`value` as text; of two mappings or lists only what differs."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {value[key]}" for key in value if value[key] != other.get(key))
    if isinstance(value, list):
        first = next((i for i, pair in enumerate(zip(value, other)) if pair[0] != pair[1]), min(len(value), len(other)))
        return f"{len(value)} labels" + (f", number {first} is {value[first]!r}" if first < len(value) else "")
    return f"{value[:16]}..."


def _made(source: Source, request: Request, scratch: Path) -> Path:
    from glorext.deploy.convert.ascend import AscendOptions
    from glorext.deploy.convert.converter import convert, convert_for_card
    from glorext.deploy.export.exporter import export

    # Models are exported and proved against MindSpore on the CPU, whichever device they are for.
    set_device("CPU")
    kind = "onnx" if request.backend == "onnx" else "mindir"
    (exported,) = export(source, scratch, [kind], "dynamic" if request.device == "cpu" else 1)
    path = scratch / exported.file
    if request.backend == "onnx":
        return path
    if request.device == "cpu":
        return scratch / convert(path, scratch, ["mindir"])[0].file
    return scratch / convert_for_card(path, scratch, AscendOptions(request.device)).file


@contextlib.contextmanager
def linked(pictures: Pictures):
    """A temporary folder that holds links to exactly these pictures, as <class>/<file>; for the C++ program."""
    with tempfile.TemporaryDirectory(prefix="glorext-pictures-") as folder:
        for name in {path.split("/")[0] for path in pictures.paths}:
            (Path(folder) / name).mkdir()
        for path in pictures.paths:
            place = (pictures.folder / path).absolute()
            if not place.is_file():
                raise DataError(
                    expected="picture files",
                    found="no such file",
                    where=place,
                    do="This backend reads JPEG and PNG files in class folders, no MindRecord.",
                )
            os.symlink(place, Path(folder) / path)
        yield Path(folder)


def _by_program(path: Path, request: Request, programs) -> Run:
    def run(pictures: Pictures) -> Results:
        with linked(pictures) as folder, tempfile.TemporaryDirectory(prefix="glorext-validate-") as scratch:
            return infer.infer(
                path, folder, Path(scratch) / "results", request.device, request.device_id, programs=programs
            )

    return run


def _tensors(pictures: Pictures, artifact: Artifact, chunk: int):
    """Yield (indices, inputs (N, 3, H, W), milliseconds of one picture's preprocessing), `chunk` pictures at a time."""
    for start in range(0, len(pictures), chunk):
        indices = range(start, min(start + chunk, len(pictures)))
        begun = time.perf_counter()
        cropped = [crop(pictures.folder / pictures.paths[index], artifact.input_spec) for index in indices]
        inputs = (
            [one.transpose(2, 0, 1) for one in cropped]
            if artifact.input.values == "pixels"
            else [normalize(one, artifact.input_spec) for one in cropped]
        )
        yield indices, np.stack(inputs).astype(artifact.input.dtype), 1e3 * (time.perf_counter() - begun) / len(indices)


def _by_tensors(path: Path, artifact: Artifact, request: Request, programs) -> Run:
    def answered(inputs: np.ndarray) -> Results:
        with tempfile.TemporaryDirectory(prefix="glorext-tensor-") as scratch:
            np.save(Path(scratch) / "input.npy", np.ascontiguousarray(inputs))
            infer.run_program(
                [
                    str(programs.infer),
                    "--model",
                    str(path),
                    "--device",
                    request.device,
                    "--device_id",
                    str(request.device_id),
                    "--tensor",
                    str(Path(scratch) / "input.npy"),
                    "--out",
                    str(Path(scratch) / "out"),
                ]
            )
            return read_results(Path(scratch) / "out")

    def run(pictures: Pictures) -> Results:
        parts = []
        for indices, inputs, spent in _tensors(pictures, artifact, CHUNK):
            part = answered(inputs)
            for index, picture in zip(indices, part.pictures):
                picture |= {"path": pictures.paths[index], "ms": picture["ms"] + spent}
            parts.append(
                dataclasses.replace(
                    part,
                    backend="lite",
                    seconds=part.seconds + spent / 1e3 * len(indices),
                    stages_ms={"preprocess": spent, "infer": part.stages_ms["infer"]},
                )
            )
        return join(parts)

    return run


def _onnx(path: Path, artifact: Artifact) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # MindSpore names the open batch axis of the input only; onnxruntime warns of the output's at every other batch.
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    fixed = artifact.input.batch

    def run(pictures: Pictures) -> Results:
        logits, milliseconds, begun, stages = [], [], time.perf_counter(), {"preprocess": 0.0, "infer": 0.0}
        for indices, inputs, spent in _tensors(pictures, artifact, fixed if fixed > 0 else ONNX_BATCH):
            # A fixed batch is filled up with the first picture, and the filling cut off again.
            filled = np.concatenate([inputs, inputs[:1].repeat(max(0, fixed - len(inputs)), 0)])
            if artifact.input.layout == "NHWC":
                filled = np.ascontiguousarray(filled.transpose(0, 2, 3, 1))
            start = time.perf_counter()
            logits.append(session.run([artifact.output.name], {artifact.input.name: filled})[0][: len(indices)])
            each = 1e3 * (time.perf_counter() - start) / len(indices)
            milliseconds += [spent + each] * len(indices)
            stages["preprocess"] += spent * len(indices) / len(pictures)
            stages["infer"] += each * len(indices) / len(pictures)
        seconds, found = time.perf_counter() - begun, np.concatenate(logits).astype(np.float32)
        order = sorted(range(len(pictures)), key=lambda index: os.fsencode(pictures.paths[index]))
        best = best_classes(found).tolist()
        return Results(
            backend="onnx",
            device="cpu",
            batch=fixed if fixed > 0 else ONNX_BATCH,
            workers=1,
            threads=os.cpu_count(),
            model={
                "file": artifact.file,
                "sha256": artifact.sha256,
                "weights_sha256": artifact.weights_sha256,
                "output": artifact.output.name,
            },
            logits=found[order],
            pictures=[
                {"path": pictures.paths[index], "top5": best[index], "ms": milliseconds[index]} for index in order
            ],
            latency_ms=latencies(milliseconds, 0),
            throughput=len(pictures) / seconds,
            seconds=seconds,
            stages_ms=stages,
            versions={"onnxruntime": onnxruntime.__version__},
        )

    return run


def join(parts: list[Results]) -> Results:
    """One Results of several by the same backend over different pictures; the seconds of all are added up.

    Raises:
        DataError: a picture stands in two of them.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    rows = [
        (os.fsencode(picture["path"]), number, row, picture)
        for number, part in enumerate(parts)
        for row, picture in enumerate(part.pictures)
    ]
    rows.sort(key=lambda row: row[0])
    for one, other in zip(rows, rows[1:]):
        if one[0] == other[0]:
            raise DataError(expected="every picture once", found=f"{one[3]['path']} twice")
    seconds = sum(part.seconds for part in parts)
    return dataclasses.replace(
        first,
        logits=np.stack([parts[number].logits[row] for _, number, row, _ in rows]),
        pictures=[picture for *_, picture in rows],
        failed=[failed for part in parts for failed in part.failed],
        latency_ms=latencies([picture["ms"] for *_, picture in rows], 0),
        throughput=len(rows) / seconds,
        seconds=seconds,
        stages_ms={
            stage: sum(part.stages_ms[stage] * part.count for part in parts) / len(rows) for stage in first.stages_ms
        },
    )
