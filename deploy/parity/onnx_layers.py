"""Finds the layer at which an ONNX file departs from the network it was made from, by the names of the network's cells.

MindSpore's ONNX writer keeps the parameters' names, so a node that takes `backbone.conv.weight` is the cell
`backbone.conv`. Each such node's input and output become outputs of the graph and are compared with what the cell takes
and gives in MindSpore.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glorext.deploy.contract.closeness import ONNX_LAYER, share_apart
from glorext.deploy.export import onnx_file
from glorext.deploy.parity.float16_layers import INPUTS, array, walk
from glorext.deploy.runners.onnxruntime import open_session
from glorext.models.trained import TrainedModel
from glorext.runtime import AccuracyError


@dataclass(frozen=True)
class Layer:
    """A cell and how far its input and its output in the ONNX file are off, as shares of their largest values.

    None stands for NaN or Inf in the ONNX file's values.
    """

    cell: str
    kind: str
    input: float | None
    output: float | None


@dataclass(frozen=True)
class OnnxLayers:
    """All layers with parameters in the order of the graph, and those at which values depart.

    Attributes:
        tolerance: the share beyond which a value departs.
        first: cell of the first layer whose input or output departs, or None.
        before: the last cell before it, when its input departs already: the fault lies between the two.
        culprits: cells whose output departs although their input does not.
        inputs: how many were looked at.
    """

    tolerance: float
    first: str | None
    before: str | None
    culprits: tuple[str, ...]
    layers: tuple[Layer, ...]
    inputs: int


def bisect(source: TrainedModel, path: Path, inputs: np.ndarray, tolerance: float = ONNX_LAYER) -> OnnxLayers:
    """Compare the layers of an ONNX file with the cells of `source` on the first of `inputs` (N, 3, H, W).

    Raises:
        SetupError: onnxruntime is not installed.
        AccuracyError: no node of the file belongs to a cell.
    """
    images = inputs[:INPUTS]
    net = source.create()
    nodes, values = _run(path, images, {name for name, _ in net.cells_and_names() if name})
    cells = {}

    def visit(name, cell, given, output):
        if name in nodes:
            cells[name] = (type(cell).__name__, array(given[0]), array(output))

    import mindspore as ms

    walk(net, ms.Tensor(images), visit)
    layers = tuple(
        Layer(
            name, cells[name][0], share_apart(values[taken], cells[name][1]), share_apart(values[given], cells[name][2])
        )
        for name, (taken, given) in nodes.items()
        if name in cells
    )
    if not layers:
        raise AccuracyError(
            "no node of the ONNX file belongs to a cell of the network, so nothing was compared", where=path
        )

    def off(value):
        return value is None or value > tolerance

    index = next((number for number, layer in enumerate(layers) if off(layer.input) or off(layer.output)), None)
    before = layers[index - 1].cell if index and off(layers[index].input) else None
    return OnnxLayers(
        tolerance,
        None if index is None else layers[index].cell,
        before,
        tuple(layer.cell for layer in layers if off(layer.output) and not off(layer.input)),
        layers,
        len(images),
    )


def _run(path: Path, images: np.ndarray, cells: set[str]):
    """The nodes that belong to cells, {cell: (input's name, output's name)}, and the values of those names."""
    model = onnx_file.read(path)
    weights = {weight.name for weight in model.graph.initializer}
    nodes = {}
    for node in model.graph.node:
        own = {name.rpartition(".")[0] for name in node.input if name in weights} & cells
        if len(own) == 1 and node.input[0] not in weights:
            nodes[own.pop()] = (node.input[0], node.output[0])
    given = {value.name for value in (*model.graph.input, *model.graph.output)}
    wanted = sorted({name for pair in nodes.values() for name in pair} - given)
    for name in wanted:
        model.graph.output.add(name=name)
    # Fusing nodes would leave out the values between them.
    session = open_session(model.SerializeToString(), fuse=False)
    names = [value.name for value in session.get_outputs()]
    feed = model.graph.input[0].name
    values = dict(zip(names, session.run(names, {feed: images}))) | {feed: images}
    return nodes, values


def describe(found: OnnxLayers) -> str:
    """What was found, in a sentence."""
    count, start = len(found.layers), f"ONNX, the first {found.inputs} inputs:"
    if found.first is None:
        worst = max(found.layers, key=lambda layer: layer.output or 0.0)  # None departs
        return (
            f"{start} none of {count} layers departs from MindSpore by more than {found.tolerance:.1%}; the furthest, "
            f"{worst.cell}, by {worst.output:.1e} of its largest value"
        )
    layer = next(layer for layer in found.layers if layer.cell == found.first)
    by = "NaN or Inf" if layer.output is None else f"{layer.output:.2%} off"
    where = f"the fault lies between {found.before} and it" if found.before else "its input does not depart"
    return f"{start} the first of {count} layers that departs is {layer.cell} ({layer.kind}), {by}; {where}"
