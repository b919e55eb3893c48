"""The hops of a model on its way to the card: what computes the logits at each of them, for `glorext parity`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glorext.deploy.contract.artifact import read_artifact
from glorext.deploy.contract.closeness import EXPORTED, ON_PICTURES
from glorext.deploy.convert.ascend import AscendOptions
from glorext.deploy.convert.converter import convert, convert_for_card
from glorext.deploy.export.exporter import export, network
from glorext.deploy.export.formats import Variant
from glorext.deploy.runners import ascend_host
from glorext.deploy.runners.common import in_batches
from glorext.deploy.runners.lite import infer, run_tensor, run_tensors
from glorext.deploy.runners.mindspore import run_mindir, run_network
from glorext.deploy.runners.onnxruntime import require_onnxruntime, run_onnx
from glorext.deploy.runners.programs import build
from glorext.models.picture_file import PICTURE_ENDINGS
from glorext.models.preprocess import preprocess
from glorext.models.trained import TrainedModel
from glorext.runtime import AccuracyError, DataError, SetupError
from glorext.runtime.chips import family_of
from glorext.train.pictures import files_below, is_picture

NOISE, COUNT = 8, 100


@dataclass(frozen=True)
class Inputs:
    """Inputs to compare on: images (N, 3, H, W) float32, their names, and the files they come from; none for noise."""

    images: np.ndarray
    names: tuple[str, ...]
    files: tuple[Path, ...] = ()


def load_inputs(source: TrainedModel, data: Path | None, count: int = COUNT) -> Inputs:
    """At most `count` pictures below `data`, evenly chosen, preprocessed as for evaluation; or seeded noise.

    Raises:
        DataError: no pictures below `data`, or a broken one.
    """
    spec = source.input_spec
    if data is None:
        noise = np.random.default_rng(0).standard_normal((NOISE, 3, spec.size, spec.size)).astype(np.float32)
        return Inputs(noise, tuple(f"noise {number}" for number in range(NOISE)))
    paths = [path for path in files_below(data) if is_picture(path.name)]
    if not paths:
        raise DataError(expected=f"pictures ({', '.join(PICTURE_ENDINGS)})", found="none", where=data)
    chosen = [paths[index] for index in np.unique(np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int))]
    return Inputs(
        np.stack([preprocess(path, spec) for path in chosen]),
        tuple(str(path.relative_to(data)) for path in chosen),
        tuple(chosen),
    )


def _mindir(folder: Path, source: TrainedModel, inputs: np.ndarray) -> np.ndarray:
    (artifact,) = export(source, folder, ["mindir"])
    return in_batches(lambda batch: run_mindir(folder / artifact.file, batch), inputs)


def onnx_file(source: TrainedModel, folder: Path, given: Path | None) -> Path:
    """The ONNX file to examine: `given`, made from these weights, or one exported now below `folder`.

    Raises:
        SetupError: onnxruntime is not installed.
        AccuracyError: `given` was made from other weights.
    """
    require_onnxruntime()
    if given is None:
        return folder / export(source, folder, ["onnx"])[0].file
    artifact = read_artifact(given)
    difference = source.difference(artifact.model)
    if artifact.format != "onnx" or difference:
        raise AccuracyError(expected=f"an ONNX file of {source.name}", where=given, found=difference or artifact.format)
    return Path(given)


def _from_files(model: Path, folder: Path, files: tuple[Path, ...]) -> np.ndarray:
    pictures = folder / "pictures"
    pictures.mkdir()
    for number, path in enumerate(files):
        # The program goes through the names in order.
        (pictures / f"{number:08d}{path.suffix}").symlink_to(path.absolute())
    return infer(model, pictures, folder / "results").logits


def _lite(folder: Path, source: TrainedModel, kind: str) -> Path:
    model = folder / "mindir" / f"{source.name}.mindir"
    if not model.is_file():
        export(source, model.parent, ["mindir"])
    return folder / convert(model, folder, [kind])[0].file


def _ascend(folder: Path, source: TrainedModel, inputs: np.ndarray) -> np.ndarray:
    try:
        ctypes.CDLL("libascendcl.so")
    except OSError as error:
        raise SetupError(f"no CANN on this machine ({error})") from error
    family = family_of(ascend_host.look().soc)
    if family is None:
        raise SetupError("the chip of this machine is not known; see `glorext doctor`")
    # The card runs only the batch sizes that a model was built for. Every MindSpore Lite reads ONNX.
    (exported,) = export(source, folder, ["onnx"], batch=1)
    programs = build()
    converted = convert_for_card(folder / exported.file, folder, AscendOptions(family), programs)
    results = run_tensors(folder / converted.file, inputs, programs, family)
    if results.device != family:
        raise SetupError(f"{results.count} inputs ran on {results.device}")
    return results.logits


def all_hops(
    source: TrainedModel, folder: Path, inputs: Inputs, onnx: Path | None = None
) -> list[tuple[str, float | None, Callable[[], np.ndarray]]]:
    """The hops in their order: name, tolerance, and what computes the logits of `inputs`; files go below `folder`.

    The C++ hop differs from the one before it by reading the picture files itself: a fault that only it shows lies in
    decoding or preprocessing.
    """
    images, made = inputs.images, {}

    def converted(kind: str) -> Path:
        if kind not in made:
            made[kind] = _lite(folder, source, kind)
        return made[kind]

    def lite(kind: str):
        def run():
            model = converted(kind)
            return in_batches(lambda batch: run_tensor(model, batch), images)

        return run

    def from_files():
        if not inputs.files:
            raise SetupError("noise comes from no picture files; give pictures with --data")
        return _from_files(converted("mindir"), folder, inputs.files)

    def in_onnxruntime():
        path = onnx_file(source, folder / "onnx", onnx)
        return in_batches(lambda batch: run_onnx(path, batch), images)

    return [
        ("float16 weights", None, lambda: run_network(network(source, Variant("fp16")), images)),
        ("MINDIR in MindSpore", EXPORTED, lambda: _mindir(folder / "mindir", source, images)),
        ("ONNX in onnxruntime", EXPORTED, in_onnxruntime),
        ("MindSpore Lite .mindir", ON_PICTURES, lite("mindir")),
        ("MindSpore Lite .ms", ON_PICTURES, lite("ms")),
        ("C++ from the picture files", ON_PICTURES, from_files),
        ("Ascend card", None, lambda: _ascend(folder / "ascend", source, images)),
    ]
