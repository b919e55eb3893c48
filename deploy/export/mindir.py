"""Edits MINDIR files: names their ports, and rewrites those of MindSpore 2.10 for MindSpore Lite 2.0.0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from glorext.runtime import ConversionError, DataError
from glorext.runtime.protobuf import DecodeError

# Version 3 keeps enumerations as numbers, version 1 as their names (mindspore.ops' Format and PadMode).
FORMATS = {0: "NCHW", 1: "NHWC"}
PAD_MODES = {1: "SAME", 2: "VALID"}


@dataclass(frozen=True)
class Primitive:
    """How version 1 writes a primitive.

    Attributes:
        inputs: names of its inputs.
        outputs: names of its outputs.
        attributes: (name, encoder) of what version 3 passes as constants after the inputs; the encoder writes the
            constant's value into the attribute, and None leaves the value as it is.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...] = ("output",)
    attributes: tuple[tuple[str, Callable | None], ...] = ()


def _named(names: dict[int, str]) -> Callable:
    def encode(attribute, value) -> None:
        if value.i not in names:
            raise ConversionError(expected=f"{attribute.name} out of {names}", found=str(value.i))
        attribute.type, attribute.s = attribute.STRING, names[value.i].encode()

    return encode


def _window(attribute, value) -> None:
    """(height, width) as the window over all four axes, N, C, H, W."""
    attribute.type = attribute.TUPLE
    for size in (1, 1, *(entry.ints[0] for entry in value.values)):
        attribute.values.add(type=attribute.INT64).ints.append(size)


_format = ("format", _named(FORMATS))
_transposes = ("transpose_a", None), ("transpose_b", None)
# What version 3 holds as a function of tensors and constants, and version 1 as a primitive with attributes.
FUNCTIONS = {
    "Add": Primitive(("x", "y")),
    "AvgPool": Primitive(
        ("x",), attributes=(("kernel_size", _window), ("strides", _window), ("pad_mode", _named(PAD_MODES)), _format)
    ),
    "BatchMatMul": Primitive(("x1", "x2"), attributes=_transposes),
    "BatchNorm": Primitive(
        ("x", "scale", "offset", "mean", "variance"),
        ("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2"),
        (("is_training", None), ("epsilon", None), ("momentum", None), _format),
    ),
    "BiasAdd": Primitive(("x", "b"), attributes=(_format,)),
    "Cast": Primitive(("x", "dst_type")),
    "MatMul": Primitive(("x1", "x2"), attributes=_transposes),
    "Mul": Primitive(("x", "y")),
    "ReLU": Primitive(("x",)),
    "ReduceMean": Primitive(("input_x", "axis"), ("y",), (("keep_dims", None),)),
    "Reshape": Primitive(("tensor", "shape")),
    "Softmax": Primitive(("x",), attributes=(("axis", None),)),
    "Sub": Primitive(("x", "y")),
    "Transpose": Primitive(("x", "perm")),
}
# Written alike in both versions.
UNCHANGED = ("Conv2D", "Depend", "Load", "MakeTuple", "MaxPool", "Pad", "TupleGetItem", "UpdateState")
VERSION = 1


def read(source: Path):
    """The `ModelProto` of a MINDIR file; DataError if it is none."""
    from mindspore.train.mind_ir_pb2 import ModelProto

    model = ModelProto()
    try:
        model.ParseFromString(Path(source).read_bytes())
        found = f"{len(model.graph.node)} nodes, version {model.mind_ir_version}"
    except DecodeError as error:
        found = str(error)
    if not model.graph.node or not model.mind_ir_version:
        raise DataError(
            expected="a MINDIR file",
            found=found,
            where=source,
            do="Export it again with `glorext export --format mindir`.",
        )
    return model


def name_ports(path: Path, input: str, output: str) -> None:
    """Name the one input and the one output of a MINDIR file; MindSpore names them after its own sources."""
    model = read(path)
    graph = model.graph
    names = {graph.input[0].name: input, graph.output[0].name: output}
    for value in (*graph.input, *graph.output):
        value.name = names[value.name]
    for node in graph.node:
        node.name = names.get(node.name, node.name)
        for fields in (node.input, node.output):
            fields[:] = [names.get(name, name) for name in fields]
    Path(path).write_bytes(model.SerializeToString())


def rewrite(source: Path, target: Path) -> None:
    """Write the MINDIR `source`, IR version 3, as version 1 to `target`.

    Raises:
        DataError: `source` is no MINDIR.
        ConversionError: it holds something for which the way to version 1 is not known; the message names it.
    """
    model = read(source)
    _check(model, source)
    graph = model.graph
    primitives = {primitive.name: primitive for primitive in model.primitives}
    constants = {node.output[0]: node.attribute[0] for node in graph.node if node.op_type == "Constant"}
    del model.primitives[:]
    for number, node in enumerate(node for node in graph.node if node.op_type != "Constant"):
        # One for each node: nodes that share a function may differ in what become its attributes.
        primitive = model.primitives.add()
        primitive.CopyFrom(primitives[node.op_type.removeprefix("REF::")])
        primitive.name = f"{primitive.op_type}:{number}"
        if primitive.op_type in FUNCTIONS:
            _make_primitive(primitive, node, constants, source)
        node.op_type = f"REF::{primitive.name}"
    used = {name for node in graph.node for name in node.input}
    kept = [node for node in graph.node if node.op_type != "Constant" or node.output[0] in used]
    del graph.node[:]
    graph.node.extend(kept)
    model.mind_ir_version = VERSION
    Path(target).write_bytes(model.SerializeToString())


def _check(model, source: Path) -> None:
    graph = model.graph
    unknown = sorted(
        {primitive.op_type for primitive in model.primitives} - FUNCTIONS.keys() - set(UNCHANGED)
        | {node.op_type for node in graph.node if not node.op_type.startswith(("REF::", "Constant"))}
    )
    if unknown or model.functions or len(graph.input) != 1 or len(graph.output) != 1:
        found = (
            f"the primitives {', '.join(unknown)}"
            if unknown
            else f"{len(model.functions)} further functions, {len(graph.input)} inputs, {len(graph.output)} outputs"
        )
        raise ConversionError(
            expected=f"one function of one picture, of the primitives {', '.join(sorted([*FUNCTIONS, *UNCHANGED]))}",
            found=found,
            where=source,
            do="How MindSpore Lite 2.0.0 would write it is not known: `glorext export --format onnx` and convert that.",
        )


def _make_primitive(primitive, node, constants: dict, source: Path) -> None:
    """Move the constants after a function's inputs into attributes, in the primitive and out of the node."""
    known = FUNCTIONS[primitive.op_type]
    primitive.prim_type = primitive.PRIMITIVE
    values = list(node.input[len(known.inputs) :])
    if len(values) != len(known.attributes) or not all(name in constants for name in values):
        raise ConversionError(
            expected=f"{len(known.inputs)} inputs and {len(known.attributes)} constants",
            found=f"{len(node.input)} inputs",
            where=f"{primitive.op_type} in {source}",
            do="It was written by another MindSpore than 2.10: export again, or use ONNX.",
        )
    for (name, encode), value in zip(known.attributes, values):
        attribute = primitive.attribute.add(name=name)
        if encode is None:
            attribute.CopyFrom(constants[value])
            attribute.name = name
        else:
            encode(attribute, constants[value])
    for name, entries in (("input_names", known.inputs), ("output_names", known.outputs)):
        attribute = primitive.attribute.add(name=name)
        attribute.type = attribute.LIST
        for entry in entries:
            attribute.values.add(type=attribute.STRING).strings.append(entry.encode())
    del node.input[len(known.inputs) :]
