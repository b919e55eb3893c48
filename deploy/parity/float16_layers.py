"""Finds the cell of a network at which float16 first departs from float32, and the cells to keep in float32."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from glorext.deploy.contract.closeness import FLOAT16_LAYER, share_apart
from glorext.models.trained import TrainedModel
from glorext.runtime import AccuracyError

# Every output of one of the two networks is held in memory: some 100 MB a picture of 224 x 224.
INPUTS = 2
HALF = {"fp16": True, "fp32": False, "bf16": False}
FULL = {"fp16": False, "fp32": True, "bf16": False}


@dataclass(frozen=True)
class Departure:
    """How far a cell in float16 is from the same cell in float32, as shares of the largest value of its output.

    Attributes:
        cell: its name in the network, as `cells_and_names` gives it.
        kind: its class.
        arrived: with everything before it in float16 too: the error accumulated so far.
        own: with its input from the float32 network: the error of this cell alone.

    Both are None where the output holds NaN or Inf: a value left float16's range.
    """

    cell: str
    kind: str
    arrived: float | None
    own: float | None


@dataclass(frozen=True)
class Layers:
    """What `bisect` found.

    Attributes:
        tolerance: the share beyond which a cell departs.
        first: the first cell in the order of computation that departs, or None.
        keep: names of the innermost cells that depart by themselves: the ones worth keeping in float32.
        logits: how far the logits are off with every cell in float16, as a share of the largest.
        logits_kept: the same with the cells of `keep` in float32.
        departures: all cells in the order of computation.
        inputs: how many were looked at.
    """

    tolerance: float
    first: Departure | None
    keep: tuple[str, ...]
    logits: float | None
    logits_kept: float | None
    departures: tuple[Departure, ...]
    inputs: int


def _beyond(value: float | None, tolerance: float) -> bool:
    return value is None or value > tolerance


def array(tensor) -> np.ndarray:
    """A Tensor as float32."""
    return tensor.asnumpy().astype(np.float32)


def walk(net, images, visit) -> np.ndarray:
    """Run `net`; `visit(name, cell, inputs, output)` is called whenever a cell is done. The logits."""

    def hook(name):
        return lambda cell, inputs, output: visit(name, cell, inputs, output)

    handles = [cell.register_forward_hook(hook(name)) for name, cell in net.cells_and_names() if name]
    logits = array(net(images))
    for handle in handles:
        handle.remove()
    return logits


def set_precision(net, keep: tuple[str, ...] = ()) -> dict:
    """Set every cell to float16, as a card does with enforce_fp16, except those below `keep`; all cells by name.

    The flags are set cell by cell, since some of the networks' own cells refuse float16 when their parent passes it on.
    """
    cells = dict(net.cells_and_names())
    for name, cell in cells.items():
        cell.add_flags(**FULL if any(name == kept or name.startswith(f"{kept}.") for kept in keep) else HALF)
    return cells


def bisect(source: TrainedModel, inputs: np.ndarray, tolerance: float = FLOAT16_LAYER) -> Layers:
    """Compare all cells of a network in float16 with float32 on the first of `inputs` (N, 3, H, W).

    Works in MindSpore's PYNATIVE mode, in which cells can be watched.

    Raises:
        AccuracyError: no cell could be watched, so nothing was compared.
    """
    import mindspore as ms

    images = ms.Tensor(inputs[:INPUTS])
    half, full = source.create(), source.create()
    twins = set_precision(half)
    rounded, departures = [], []
    half_logits = walk(half, images, lambda name, cell, inputs, output: rounded.append((name, array(output))))
    arrived = iter(rounded)

    def compare(name, cell, inputs, output):
        same, found = next(arrived)
        if same != name:
            raise AccuracyError(expected=f"both networks to compute {name}", found=same)
        exact = array(output)
        departures.append(
            Departure(
                name, type(cell).__name__, share_apart(found, exact), share_apart(array(twins[name](*inputs)), exact)
            )
        )

    logits = walk(full, images, compare)
    if not departures:
        raise AccuracyError(
            "no cell could be watched, so nothing was compared", do="Call it in MindSpore's PYNATIVE mode."
        )
    keep = worth_keeping(departures, tolerance)
    set_precision(half, keep)
    kept_logits = array(half(images))
    first = next((one for one in departures if _beyond(one.arrived, tolerance)), None)
    return Layers(
        tolerance,
        first,
        keep,
        share_apart(half_logits, logits),
        share_apart(kept_logits, logits),
        tuple(departures),
        len(images),
    )


def worth_keeping(departures: list[Departure], tolerance: float) -> tuple[str, ...]:
    """Names of the cells that depart by themselves, without those that only contain one that does."""
    names = list(dict.fromkeys(one.cell for one in departures if _beyond(one.own, tolerance)))
    return tuple(name for name in names if not any(other.startswith(f"{name}.") for other in names))


def _error(value: float | None) -> str:
    return "beyond float16's range" if value is None else f"{value:.2%} off"


def show(layers: Layers) -> None:
    """Print what was found."""
    limit = f"more than {layers.tolerance:.1%}"
    print(f"\nthe first {layers.inputs} inputs with every cell in float16:")
    print(f"the logits are {_error(layers.logits)}, as a share of the largest")
    if layers.first is None:
        print(f"no cell departs by {limit}")
    else:
        first = layers.first
        print(
            f"the first cell that departs by {limit}: {first.cell} ({first.kind}), {_error(first.arrived)}, "
            f"by itself {_error(first.own)}"
        )
    if not layers.keep:
        print(f"no cell departs by {limit} by itself: none is worth keeping in float32")
        return
    own = {one.cell: one for one in layers.departures if _beyond(one.own, layers.tolerance)}
    print(f"cells to keep in float32, with which the logits are {_error(layers.logits_kept)}:")
    for name in layers.keep:
        print(f"  {name} ({own[name].kind}), by itself {_error(own[name].own)}")
    print(f"for an Ascend card: glorext convert MODEL --target ascend310 {convert_flags(layers)}")


def convert_flags(layers: Layers) -> str:
    """The flags of `glorext convert` that keep those cells in float32: a precision mode that can, and their names."""
    return f"--precision_mode preferred_fp32 --keep_fp32 {','.join(layers.keep)}"
