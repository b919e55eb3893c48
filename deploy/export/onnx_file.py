"""Reads and edits an ONNX file: its nodes, its outputs, their open batch axis, and what it says about itself."""

from __future__ import annotations

from pathlib import Path

from glorext.runtime import ExportError, SetupError
from glorext.runtime.protobuf import message_class

# The fields of onnx.proto that are looked at; this project needs no more of it, and no package for it.
Model = message_class(
    "Model",
    {
        # Protobuf writes undeclared fields last, and OpenVINO does not take a file with its metadata before its version
        # for ONNX: so everything at the top is declared.
        "Model": (
            "optional int64 ir_version = 1",
            "optional string producer_name = 2",
            "optional string producer_version = 3",
            "optional string domain = 4",
            "optional int64 model_version = 5",
            "optional string doc_string = 6",
            "optional Graph graph = 7",
            "repeated Opset opset_import = 8",
            "repeated Entry metadata_props = 14",
        ),
        "Opset": ("optional string domain = 1", "optional int64 version = 2"),
        "Entry": ("optional string key = 1", "optional string value = 2"),
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


def metadata(path: Path) -> dict[str, str]:
    """What an ONNX file says about itself (`metadata_props`), by key."""
    return {entry.key: entry.value for entry in read(path).metadata_props}


def describe(path: Path, values: dict[str, str]) -> None:
    """Let an ONNX file say `values` about itself, in place of what it said before."""
    model = read(path)
    model.ClearField("metadata_props")
    for key, value in values.items():
        model.metadata_props.add(key=key, value=value)
    Path(path).write_bytes(model.SerializeToString())


def to_opset(path: Path, opset: int) -> None:
    """Rewrite an ONNX file in another version of ONNX's operators, by the package onnx.

    Raises:
        SetupError: the package is not installed.
        ExportError: it cannot say this network in that version.
    """
    try:
        import onnx
        from onnx import version_converter
    except ImportError as error:
        do = "pip install 'glorext[onnx]'; or leave --opset away."
        raise SetupError(expected="the package onnx", found="none", where="--opset", do=do) from error
    try:
        model = version_converter.convert_version(onnx.load(path), opset)
        model.ir_version = max(model.ir_version, onnx.helper.find_min_ir_version_for(model.opset_import))
        onnx.checker.check_model(model)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        raise ExportError(
            expected=f"opset {opset} to have this network's operators",
            found=str(error).strip().rpartition(": ")[2][:200],
            where="--opset",
            do=f"MindSpore writes opset {read(path).opset_import[0].version}; later ones can be had, up to "
            f"{onnx.defs.onnx_opset_version()}.",
        ) from error
    onnx.save(model, path)
