"""Follows one model along its way to the card and says at which hop its answers changed, and by how much."""
from __future__ import annotations

import ctypes
import json
import tempfile
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Callable

import numpy as np

from glorext.models.preprocess import preprocess
from glorext.runtime import (AccuracyError, ConversionError, DataError, DeviceError, ExportError, InferenceError,
                             SetupError, UsageError, set_device, version, write_json)
from glorext.train.data import PICTURES

from . import native
from .ascend import AscendOptions
from .convert import convert, convert_for_card
from .export import export, run_exported
from .infer import run_tensor
from .source import Source, add_source_arguments, chosen_source

SCHEMA = "glorext.parity/1"
# For logits up to 1; larger ones are summed from larger numbers, so the limit grows with them.
# Another reader of the same graph repeats its sums in another order; MindSpore Lite fuses layers as well.
EXACT, FUSED = 1e-4, 1e-3
BATCH, NOISE = 10, 8


@dataclass(frozen=True)
class Hop:
    """One station on the way, held against the float32 checkpoint in MindSpore.

    Attributes:
        name: what computed the logits.
        state: "pass", "FAIL", or "not measured".
        reason: why it failed or could not be measured.
        tolerance: largest allowed difference of two logits; None for a hop that rounds to float16 on purpose.
        max_difference, mean_difference: of two logits, absolute.
        cosine: smallest cosine between the two logit vectors of an input.
        flips: inputs whose top-1 changed.
        clear_flips: those of them whose two best logits lay further apart than the margin: {"input", "margin"}.
    """

    name: str
    state: str
    reason: str = ""
    tolerance: float | None = None
    max_difference: float | None = None
    mean_difference: float | None = None
    cosine: float | None = None
    flips: tuple[str, ...] = ()
    clear_flips: tuple[dict, ...] = ()


@dataclass(frozen=True)
class Parity:
    """All hops of one model over `inputs`; what it was measured with."""

    name: str
    weights_sha256: str
    inputs: tuple[str, ...]
    margin: float
    hops: tuple[Hop, ...]
    versions: dict = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether no hop failed."""
        return all(hop.state != "FAIL" for hop in self.hops)


def measure(name: str, reference: np.ndarray, found: np.ndarray, inputs: tuple[str, ...], margin: float,
            tolerance: float | None) -> Hop:
    """Compare logits (N, K) of a hop with the reference's.

    Args:
        inputs: the N inputs' names.
        margin: a flip counts as clear when the reference's two best logits lay further apart.
        tolerance: as in `Hop`, for logits up to 1.
    """
    if found.shape != reference.shape:
        return Hop(name, "FAIL", f"logits of shape {found.shape} instead of {reference.shape}")
    if not np.isfinite(found).all():
        return Hop(name, "FAIL", "NaN or Inf among the logits", tolerance)
    reference, found = reference.astype(np.float64), found.astype(np.float64)
    difference = np.abs(found - reference)
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(reference, axis=1)
    flipped = np.flatnonzero(found.argmax(1) != reference.argmax(1))
    second, best = np.sort(reference, axis=1)[:, -2:].T
    clear = tuple({"input": inputs[row], "margin": float(best[row] - second[row])}
                  for row in flipped if best[row] - second[row] > margin)
    limit = None if tolerance is None else tolerance * max(1.0, float(np.abs(reference).max()))
    worst = float(difference.max())
    reason = "" if limit is None or worst <= limit else f"logits {worst:.1e} apart, at most {limit:.1e} allowed"
    if tolerance is not None and clear and not reason:
        reason = f"{len(clear)} answers changed that were clear"
    return Hop(name, "FAIL" if reason else "pass", reason, limit, worst, float(difference.mean()),
               float(((found * reference).sum(1) / np.maximum(norms, 1e-30)).min()),
               tuple(inputs[row] for row in flipped), clear)


def in_batches(run: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """Logits of all inputs (N, 3, H, W), BATCH of them at a time, since memory grows with the batch."""
    return np.concatenate([run(inputs[start:start + BATCH]) for start in range(0, len(inputs), BATCH)])


def run_network(net, inputs: np.ndarray) -> np.ndarray:
    """Logits (N, K) float32 of a network in MindSpore."""
    import mindspore as ms
    return in_batches(lambda batch: net(ms.Tensor(batch)).asnumpy().astype(np.float32), inputs)


def with_float16_weights(source: Source):
    """The network with its kernels and matrices rounded to float16; norms and biases stay, as in mixed precision.

    Raises:
        ConversionError: a weight is beyond float16's range.
    """
    import mindspore as ms
    net = source.create()
    for parameter in net.get_parameters():
        if parameter.ndim > 1:
            value = parameter.asnumpy()
            if np.abs(value).max() > np.finfo(np.float16).max:
                raise ConversionError(f"{parameter.name} holds {np.abs(value).max():.3g}, beyond float16")
            parameter.set_data(ms.Tensor(value.astype(np.float16).astype(np.float32)))
    return net


def _exported(kind: str, folder: Path, source: Source, inputs: np.ndarray) -> np.ndarray:
    artifact, = export(source, folder, [kind])
    if kind == "onnx" and find_spec("onnxruntime") is None:
        raise SetupError("onnxruntime is not installed (pip install onnxruntime)")
    return in_batches(lambda batch: run_exported(kind, folder / artifact.file, batch), inputs)


def _ascend(folder: Path, source: Source, inputs: np.ndarray) -> np.ndarray:
    try:
        ctypes.CDLL("libascendcl.so")
    except OSError as error:
        raise SetupError(f"no CANN on this machine ({error})") from error
    # The card runs only the batch sizes that a model was built for.
    exported, = export(source, folder, ["mindir"], batch=1)
    converted = convert_for_card(folder / exported.file, folder, AscendOptions("ascend310"))
    return np.concatenate([run_tensor(folder / converted.file, one[None], device="ascend310") for one in inputs])


def stations(source: Source, folder: Path) -> list[tuple[str, float | None, Callable[[np.ndarray], np.ndarray]]]:
    """The hops in their order: name, tolerance, and what computes the logits; files go below `folder`."""
    def lite(kind: str):
        def run(inputs):
            programs = native.build()
            model = folder / "mindir" / f"{source.name}.mindir"
            converted, = convert(model, folder, [kind], programs)
            return in_batches(lambda batch: run_tensor(folder / converted.file, batch, programs), inputs)
        return run

    return [
        ("float16 weights", None, lambda inputs: run_network(with_float16_weights(source), inputs)),
        ("MINDIR in MindSpore", EXACT, lambda inputs: _exported("mindir", folder / "mindir", source, inputs)),
        ("ONNX in onnxruntime", EXACT, lambda inputs: _exported("onnx", folder / "onnx", source, inputs)),
        ("MindSpore Lite .mindir in C++", FUSED, lite("mindir")),
        ("MindSpore Lite .ms in C++", FUSED, lite("ms")),
        ("Ascend 310", None, lambda inputs: _ascend(folder / "ascend", source, inputs)),
    ]


def parity(source: Source, inputs: np.ndarray, names: tuple[str, ...], margin: float) -> Parity:
    """Run `inputs` (N, 3, H, W) float32 through every hop.

    A hop whose software or device is not here is "not measured"; one that fails, or departs too far, is "FAIL".

    Raises:
        AccuracyError: there was nothing to compare, or the checkpoint itself gives no finite logits.
    """
    import mindspore as ms
    if not len(inputs):
        raise AccuracyError("there are no inputs to compare")
    reference = run_network(source.create(), inputs)
    if not np.isfinite(reference).all():
        raise AccuracyError("the checkpoint itself gives NaN or Inf", where=source.checkpoint,
                            do="Look at it with `glorext lint`.")
    hops = []
    with tempfile.TemporaryDirectory(prefix="glorext-parity-") as scratch:
        for name, tolerance, run in stations(source, Path(scratch)):
            try:
                hops.append(measure(name, reference, run(inputs), names, margin, tolerance))
            except (SetupError, DeviceError) as error:
                hops.append(Hop(name, "not measured", str(error)))
            except (ConversionError, ExportError, InferenceError, DataError) as error:
                hops.append(Hop(name, "FAIL", str(error)))
    if all(hop.max_difference is None for hop in hops):
        raise AccuracyError("no hop could be compared with the checkpoint: "
                            + "; ".join(f"{hop.name}: {hop.reason}" for hop in hops))
    return Parity(source.name, source.weights_sha256, names, margin, tuple(hops),
                  {"glorext": version(), "mindspore": ms.__version__})


def load_inputs(source: Source, data: Path | None, count: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Inputs (N, 3, H, W) and their names: at most `count` pictures below `data`, evenly chosen, or seeded noise.

    Raises:
        DataError: no pictures below `data`, or a broken one.
    """
    spec = source.input_spec
    if data is None:
        noise = np.random.default_rng(0).standard_normal((NOISE, 3, spec.size, spec.size)).astype(np.float32)
        return noise, tuple(f"noise {number}" for number in range(NOISE))
    paths = sorted(path for path in Path(data).rglob("*") if path.name.lower().endswith(PICTURES) and path.is_file())
    if not paths:
        raise DataError(expected=f"pictures ({', '.join(PICTURES)})", found="none", where=data)
    chosen = [paths[index] for index in np.unique(np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int))]
    return (np.stack([preprocess(path, spec) for path in chosen]),
            tuple(str(path.relative_to(data)) for path in chosen))


def main(argv: list[str]) -> int:
    """`glorext parity`: exit status 1 when a hop fails."""
    from glorext.runtime.cli import parser
    arguments = parser("parity", "Follow a model from its checkpoint to the card; say where its answers change.",
                       "glorext parity resnext50-digits --data val/ --out parity.json")
    add_source_arguments(arguments)
    arguments.add_argument("--data", type=Path, help="pictures to compare on, in any depth; noise without it")
    arguments.add_argument("--count", type=int, default=100, help="how many of the pictures (default 100)")
    arguments.add_argument("--margin", type=float, default=0.1,
                           help="a changed answer counts as clear when its two best logits lay further apart")
    arguments.add_argument("--bisect", action="store_true",
                           help="name the layers that float16 harms, and which ones to keep in float32")
    arguments.add_argument("--out", type=Path, help="write the result as JSON to this file")
    arguments.add_argument("--json", action="store_true", help="print the result as JSON")
    options = arguments.parse_args(argv)
    if options.count < 1:
        raise UsageError(expected="a positive number", found=str(options.count), where="--count")
    set_device("CPU")
    source = chosen_source(options)
    inputs, names = load_inputs(source, options.data, options.count)
    found = parity(source, inputs, names, options.margin)
    values = {"schema": SCHEMA, **asdict(found)}
    if options.bisect:
        from .bisect import bisect, show
        layers = bisect(source, inputs)
        values["float16_layers"] = asdict(layers)
    if options.out:
        write_json(options.out, values)
    if options.json:
        print(json.dumps(values))
    else:
        _show(found)
        if options.bisect:
            show(layers)
    return 0 if found.passed else 1


def _show(found: Parity) -> None:
    print(f"{found.name} on {len(found.inputs)} inputs, against its float32 checkpoint in MindSpore")
    print(f"{'hop':<30} {'max abs':>9} {'mean abs':>9} {'min cosine':>11} {'flips':>6} {'clear':>6}")
    for hop in found.hops:
        if hop.max_difference is None:
            print(f"{hop.name:<30} {hop.state}: {hop.reason}")
            continue
        print(f"{hop.name:<30} {hop.max_difference:>9.1e} {hop.mean_difference:>9.1e} {hop.cosine:>11.7f} "
              f"{len(hop.flips):>6} {len(hop.clear_flips):>6}  {hop.state}{': ' + hop.reason if hop.reason else ''}")
        for flip in hop.clear_flips:
            print(f"{'':<30} {flip['input']}: another answer, though the first one led by {flip['margin']:.2g}")
