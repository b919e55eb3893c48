"""Reads and edits an ONNX file's graph: its nodes, its outputs, and their open batch axis."""

from __future__ import annotations

from pathlib import Path

from glorext.runtime.protobuf import message_class

# The fields of onnx.proto that are looked at; this project needs no more of it, and no package for it.
Model = message_class(
    "Model",
    {
        "Model": ("optional Graph graph = 7",),
        "Graph": (
            "repeated Node node = 1",
            "repeated Weight initializer = 5",
            "repeated Value input = 11",
            "repeated Value output = 12",
        ),
        "Node": ("repeated string input = 1", "repeated string output = 2", "optional string name = 3"),
        "Weight": ("optional string name = 8",),
        "Value": ("optional string name = 1", "optional Type type = 2"),
        "Type": ("optional Tensor tensor_type = 1",),
        "Tensor": ("optional Shape shape = 2",),
        "Shape": ("repeated Dimension dim = 1",),
        "Dimension": ("optional int64 dim_value = 1", "optional string dim_param = 2"),
    },
)


def read(path: Path):
    """The model in an ONNX file, as a message with the fields above; `SerializeToString` gives all of it back."""
    model = Model()
    model.ParseFromString(Path(path).read_bytes())
    return model


def open_output_batch(path: Path, axis: str) -> None:
    """Call the first axis of every output `axis`: MindSpore names the input's only."""
    model = read(path)
    for output in model.graph.output:
        first = output.type.tensor_type.shape.dim[0]
        first.ClearField("dim_value")
        first.dim_param = axis
    Path(path).write_bytes(model.SerializeToString())
