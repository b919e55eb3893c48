"""Which model a backend runs when a package is validated: MindSpore, onnxruntime, MindSpore Lite in its two ways.

"lite" and "lite-cpp" run the same model on the same runtime. The first is fed by the NumPy and Pillow reference of the
preprocessing, the second decodes and preprocesses by itself: a fault that only the second shows lies before the model.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from glorext.deploy.contract.artifact import Artifact, read_artifact
from glorext.deploy.convert.ascend import AscendOptions
from glorext.deploy.convert.converter import convert, convert_for_card
from glorext.deploy.export.exporter import export
from glorext.deploy.runners import lite, mindspore, onnxruntime
from glorext.deploy.runners.common import BACKENDS, Request, Run, check_request
from glorext.deploy.runners.programs import build
from glorext.deploy.source import Source
from glorext.models.answers import Results
from glorext.runtime import AccuracyError, UsageError, set_device
from glorext.train.pictures import Pictures


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
        return mindspore.on_pictures(source, request)
    if request.backend == "onnx":
        onnxruntime.require_onnxruntime()
    path = Path(request.model) if request.model else _made(source, request, Path(scratch))
    artifact = read_artifact(path)
    if artifact.format not in BACKENDS[request.backend][1]:
        raise UsageError(
            expected=f"a model of format {' or '.join(BACKENDS[request.backend][1])}", found=artifact.format, where=path
        )
    _require_same(artifact, source, path)
    if request.backend == "onnx":
        run = onnxruntime.on_pictures(path, artifact)
    elif request.backend == "lite":
        run = lite.by_tensors(path, artifact, request, build())
    else:
        run = lite.by_program(path, request, build())

    def with_weights_dtype(pictures: Pictures) -> Results:
        results = run(pictures)
        return replace(results, model={**results.model, "weights_dtype": artifact.weights_dtype})

    return with_weights_dtype


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
