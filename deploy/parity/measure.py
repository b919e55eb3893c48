"""Follows a model from its checkpoint to the card, and says at which hop its answers change and by how much."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from glorext.deploy.contract.closeness import MARGIN, compare
from glorext.deploy.parity import float16_layers, onnx_layers
from glorext.deploy.parity.hops import COUNT, Inputs, all_hops, load_inputs, onnx_file
from glorext.deploy.runners.mindspore import run_network
from glorext.hub.open_model import add_model_arguments, chosen_model
from glorext.models.trained import Identity, TrainedModel
from glorext.runtime import (
    AccuracyError,
    ConversionError,
    DataError,
    DeviceError,
    ExportError,
    InferenceError,
    SetupError,
    UsageError,
    set_device,
    version,
    write_json,
)
from glorext.runtime.cli import parser
from glorext.runtime.fields import Fields

SCHEMA = "glorext.parity/1"


@dataclass(frozen=True)
class Hop:
    """One hop on the way, compared with the float32 checkpoint in MindSpore.

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
    """All hops of one model over `inputs`, and the versions that they were measured with."""

    model: Identity
    inputs: tuple[str, ...]
    margin: float
    hops: tuple[Hop, ...]
    versions: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    def to_dict(self) -> dict:
        """The hops as JSON values."""
        return {"schema": SCHEMA, **asdict(self), "model": self.model.to_dict()}

    @property
    def passed(self) -> bool:
        """Whether no hop failed."""
        return all(hop.state != "FAIL" for hop in self.hops)


def measure(
    name: str, reference: np.ndarray, found: np.ndarray, inputs: tuple[str, ...], margin: float, tolerance: float | None
) -> Hop:
    """Compare logits (N, K) of a hop with the reference's.

    Args:
        inputs: the N inputs' names.
        margin: a flip counts as clear when the reference's two best logits lay further apart.
        tolerance: as in `Hop`, for logits up to 1.
    """
    if found.shape != reference.shape:
        return Hop(name, "FAIL", f"logits of shape {found.shape} instead of {reference.shape}")
    comparison = compare(found, reference, margin)
    if not comparison.finite:
        return Hop(name, "FAIL", "NaN or Inf among the logits", tolerance)
    limit, reason = None, ""
    if tolerance is not None:
        limit = comparison.limit(tolerance)
        if not comparison.within(limit):
            reason = f"logits {comparison.max_difference:.1e} apart, at most {limit:.1e} allowed"
        elif comparison.clear:
            reason = f"{len(comparison.clear)} answers changed that were clear"
    return Hop(
        name,
        "FAIL" if reason else "pass",
        reason,
        limit,
        comparison.max_difference,
        comparison.mean_difference,
        comparison.cosine,
        tuple(inputs[row] for row in comparison.changed),
        tuple({"input": inputs[row], "margin": lead} for row, lead in comparison.clear.items()),
    )


def parity(source: TrainedModel, inputs: Inputs, margin: float = MARGIN, onnx: Path | None = None) -> Parity:
    """Run `inputs` through every hop; `onnx` is a file to use instead of one exported now.

    A hop whose software or device is not here is "not measured"; one that fails, or departs too far, is "FAIL".

    Raises:
        AccuracyError: there was nothing to compare, or the checkpoint itself gives no finite logits.
    """
    import mindspore as ms

    if not len(inputs.names):
        raise AccuracyError("there are no inputs to compare")
    reference = run_network(source.create(), inputs.images)
    if not np.isfinite(reference).all():
        raise AccuracyError(
            "the checkpoint itself gives NaN or Inf", where=source.checkpoint, do="Look at it with `glorext lint`."
        )
    hops = []
    with tempfile.TemporaryDirectory(prefix="glorext-parity-") as scratch:
        for name, tolerance, run in all_hops(source, Path(scratch), inputs, onnx):
            try:
                hops.append(measure(name, reference, run(), inputs.names, margin, tolerance))
            except (SetupError, DeviceError) as error:
                hops.append(Hop(name, "not measured", str(error)))
            except (ConversionError, ExportError, InferenceError, DataError) as error:
                hops.append(Hop(name, "FAIL", str(error)))
    if all(hop.max_difference is None for hop in hops):
        reasons = "; ".join(f"{hop.name}: {hop.reason}" for hop in hops)
        raise AccuracyError(f"no hop could be compared with the checkpoint: {reasons}")
    versions = {"glorext": version(), "mindspore": ms.__version__}
    return Parity(source.identity(), inputs.names, margin, tuple(hops), versions)


def read_parity(path: Path, source: TrainedModel) -> Parity:
    """What `glorext parity --out` wrote for this model.

    Raises:
        DataError: another file, or of another model.
    """
    top = Fields.read(path, SCHEMA, do="Write it with `glorext parity --out`.")
    found = Parity(
        model=Identity.read(top.inner("model")),
        inputs=top.values("inputs", str),
        margin=top.take("margin", float),
        hops=tuple(_hop(one) for one in top.inners("hops")),
        versions=top.strings("versions"),
    )
    for layers in ("onnx_layers", "float16_layers"):  # of --bisect; nothing here reads them
        if layers in top:
            top.take(layers, dict)
    top.done()
    if difference := source.difference(found.model):
        raise DataError(f"the hops of {difference}", where=path)
    return found


def _hop(fields: Fields) -> Hop:
    hop = Hop(
        name=fields.take("name", str),
        state=fields.one_of("state", "pass", "FAIL", "not measured"),
        reason=fields.take("reason", str),
        **{
            key: fields.take(key, float, optional=True)
            for key in ("tolerance", "max_difference", "mean_difference", "cosine")
        },
        flips=tuple(fields.values("flips", str)),
        clear_flips=tuple(
            {"input": one.take("input", str), "margin": one.take("margin", float)}
            for one in fields.inners("clear_flips")
        ),
    )
    fields.done()
    return hop


def main(argv: list[str]) -> int:
    """`glorext parity`: exit status 1 when a hop fails."""
    arguments = parser(
        "parity",
        "Follow a model from its checkpoint to the card; say where its answers change.",
        "glorext parity resnext50-digits --data val/ --out parity.json",
    )
    add_model_arguments(arguments)
    arguments.add_argument("--data", type=Path, help="pictures to compare on, in any depth; noise without it")
    arguments.add_argument("--count", type=int, default=COUNT, help=f"how many of the pictures (default {COUNT})")
    arguments.add_argument(
        "--margin",
        type=float,
        default=MARGIN,
        help="a changed answer counts as clear when its two best logits lay further apart",
    )
    arguments.add_argument("--onnx", type=Path, help="an exported ONNX file to examine, instead of exporting one now")
    arguments.add_argument(
        "--bisect",
        action="store_true",
        help=f"name, on the first {float16_layers.INPUTS} inputs, the first layer of the ONNX file that departs, "
        "the layers that float16 harms, and which ones to keep in float32",
    )
    arguments.add_argument("--out", type=Path, help="write the result as JSON to this file")
    arguments.add_argument("--json", action="store_true", help="print the result as JSON")
    options = arguments.parse_args(argv)
    if options.count < 1:
        raise UsageError(expected="a positive number", found=str(options.count), where="--count")
    set_device("CPU")
    source = chosen_model(options)
    inputs = load_inputs(source, options.data, options.count)
    found = parity(source, inputs, options.margin, options.onnx)
    values = found.to_dict()
    if not options.json:
        _show(found)
    if options.bisect:
        values |= _bisect(source, inputs, options)
    if options.out:
        write_json(options.out, values)
    if options.json:
        print(json.dumps(values))
    return 0 if found.passed else 1


def _bisect(source: TrainedModel, inputs: Inputs, options) -> dict:
    """The layers of the ONNX file and those of float16 as JSON values, printed unless the result is."""
    values = {}
    try:
        with tempfile.TemporaryDirectory(prefix="glorext-bisect-") as scratch:
            path = onnx_file(source, Path(scratch), options.onnx)
            converted = onnx_layers.bisect(source, path, inputs.images)
        values["onnx_layers"] = asdict(converted)
        sentence = onnx_layers.describe(converted)
    except SetupError as error:
        values["onnx_layers"] = {"not_measured": str(error)}
        sentence = f"the layers of the ONNX file: not measured: {error}"
    layers = float16_layers.bisect(source, inputs.images)
    values["float16_layers"] = asdict(layers)
    if not options.json:
        print(f"\n{sentence}")
        float16_layers.show(layers)
    return values


def _show(found: Parity) -> None:
    print(f"{found.name} on {len(found.inputs)} inputs, against its float32 checkpoint in MindSpore")
    print(f"{'hop':<30} {'max abs':>9} {'mean abs':>9} {'min cosine':>11} {'flips':>6} {'clear':>6}")
    for hop in found.hops:
        if hop.max_difference is None:
            print(f"{hop.name:<30} {hop.state}: {hop.reason}")
            continue
        print(
            f"{hop.name:<30} {hop.max_difference:>9.1e} {hop.mean_difference:>9.1e} {hop.cosine:>11.7f} "
            f"{len(hop.flips):>6} {len(hop.clear_flips):>6}  {hop.state}{': ' + hop.reason if hop.reason else ''}"
        )
        for flip in hop.clear_flips:
            print(f"{'':<30} {flip['input']}: another answer, though the first one led by {flip['margin']:.2g}")
