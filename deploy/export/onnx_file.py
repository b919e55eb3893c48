"""Reads and edits an ONNX file's graph: its nodes, its outputs, and their open batch axis."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# The fields of onnx.proto that are looked at: (number, name, type, repeated). All others stay in the
# message as they were read, so the file needs no more of onnx.proto and this project no package for it.
FIELDS = {
    "Model": [(7, "graph", "Graph", False)],
    "Graph": [
        (1, "node", "Node", True),
        (5, "initializer", "Weight", True),
        (11, "input", "Value", True),
        (12, "output", "Value", True),
    ],
    "Node": [(1, "input", "string", True), (2, "output", "string", True)],
    "Weight": [(8, "name", "string", False)],
    "Value": [(1, "name", "string", False), (2, "type", "Type", False)],
    "Type": [(1, "tensor_type", "Tensor", False)],
    "Tensor": [(2, "shape", "Shape", False)],
    "Shape": [(1, "dim", "Dimension", True)],
    "Dimension": [(1, "dim_value", "int64", False), (2, "dim_param", "string", False)],
}
SCALARS = {
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
}


def _model_class():
    file = descriptor_pb2.FileDescriptorProto(name="glorext_onnx.proto", package="glorext.onnx", syntax="proto2")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for number, field, kind, repeated in fields:
            entry = message.field.add(name=field, number=number, label=3 if repeated else 1)
            if kind in SCALARS:
                entry.type = SCALARS[kind]
            else:
                entry.type, entry.type_name = entry.TYPE_MESSAGE, f".glorext.onnx.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("glorext.onnx.Model"))


def read(path: Path):
    """The model in an ONNX file, as a message with the fields above; `SerializeToString` gives all of it back."""
    model = _model_class()()
    model.ParseFromString(Path(path).read_bytes())
    return model


def open_output_batch(path: Path, axis: str) -> None:
    """Call the first axis of every output `axis` instead of the sample's size: MindSpore names the input's axis only."""
    model = read(path)
    for output in model.graph.output:
        first = output.type.tensor_type.shape.dim[0]
        first.ClearField("dim_value")
        first.dim_param = axis
    Path(path).write_bytes(model.SerializeToString())
