"""Which model a backend runs when a package is validated: MindSpore, onnxruntime, MindSpore Lite in its two ways.

"lite" and "lite-cpp" run the same model on the same runtime. The first is fed by the NumPy and Pillow reference of the
preprocessing, the second decodes and preprocesses by itself: a fault that only the second shows lies before the model.
"""

from __future__ import annotations

from pathlib import Path

from glorext.deploy.contract.artifact import Artifact, read_artifact
from glorext.deploy.convert.ascend import AscendOptions
from glorext.deploy.convert.converter import convert, convert_for_card
from glorext.deploy.export.exporter import export
from glorext.deploy.runners import lite, mindspore, onnxruntime
from glorext.deploy.runners.common import BACKENDS, Request, Run, check_request
from glorext.deploy.runners.programs import build
from glorext.models.trained import TrainedModel
from glorext.runtime import AccuracyError, UsageError, set_device


def prepare(source: TrainedModel, request: Request, scratch: Path) -> Run:
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
        return onnxruntime.on_pictures(path, artifact)
    if request.backend == "lite":
        return lite.by_tensors(path, artifact, request, build())
    return lite.by_program(path, request, build())


def _require_same(artifact: Artifact, model: TrainedModel, path: Path) -> None:
    """Whoever validates a file as a package's must have run that package's weights, preprocessing and labels."""
    if difference := model.difference(artifact.model):
        raise AccuracyError(
            f"it was made of another model than {model.name}: {difference}",
            where=path,
            do="Convert this package's model, or name the package that it was made from.",
        )


def _made(source: TrainedModel, request: Request, scratch: Path) -> Path:
    # Models are exported and proved against MindSpore on the CPU, whichever device they are for.
    set_device("CPU")
    # For a card ONNX is the first route: every MindSpore Lite reads it.
    kind = "mindir" if request.device == "cpu" and request.backend != "onnx" else "onnx"
    (exported,) = export(source, scratch, [kind], "dynamic" if request.device == "cpu" else 1)
    path = scratch / exported.file
    if request.backend == "onnx":
        return path
    if request.device == "cpu":
        return scratch / convert(path, scratch, ["mindir"])[0].file
    return scratch / convert_for_card(path, scratch, AscendOptions(request.device)).file
