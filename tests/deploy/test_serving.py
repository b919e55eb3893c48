"""The folders for Triton and MindSpore Serving say what the contract says, in the servers' own formats."""

import py_compile
import sys
import types

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from glorext.deploy.contract.artifact import Port, write_artifact
from glorext.deploy.ship.serving import main, write_servable
from glorext.models import InputSpec
from glorext.runtime import UsageError

from .made import identity

# The part of Triton's model_config.proto that is used: number, name, type, repeated, as published there.
TRITON = {
    "ModelConfig": [
        (1, "name", "string", 0),
        (2, "platform", "string", 0),
        (17, "backend", "string", 0),
        (4, "max_batch_size", "int32", 0),
        (5, "input", "ModelInput", 1),
        (6, "output", "ModelOutput", 1),
        (8, "default_model_filename", "string", 0),
        (11, "dynamic_batching", "ModelDynamicBatching", 0),
    ],
    "ModelInput": [(1, "name", "string", 0), (2, "data_type", "DataType", 0), (4, "dims", "int64", 1)],
    "ModelOutput": [
        (1, "name", "string", 0),
        (2, "data_type", "DataType", 0),
        (3, "dims", "int64", 1),
        (4, "label_filename", "string", 0),
    ],
    "ModelDynamicBatching": [],
}
DATA_TYPES = {"TYPE_INVALID": 0, "TYPE_UINT8": 2, "TYPE_FP32": 11}


def parse(text):
    """config.pbtxt by Triton's own schema; an unknown field or enumeration is an error."""
    file = descriptor_pb2.FileDescriptorProto(name="triton.proto", package="inference", syntax="proto3")
    enum = file.enum_type.add(name="DataType")
    for name, number in DATA_TYPES.items():
        enum.value.add(name=name, number=number)
    scalars = {"string": 9, "int32": 5, "int64": 3}
    for message, fields in TRITON.items():
        entry = file.message_type.add(name=message)
        for number, name, kind, repeated in fields:
            field = entry.field.add(name=name, number=number, label=3 if repeated else 1)
            field.type = scalars.get(kind) or (14 if kind == "DataType" else 11)
            if kind not in scalars:
                field.type_name = f".inference.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    config = message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))()
    return text_format.Parse(text, config)


def model(
    folder, batch=-1, kind="onnx", ending=".onnx", labels=("cat", 'a "dog"', "狗"), dtype="float32", output="logits"
):
    path = folder / f"net{ending}"
    path.write_bytes(b"the model")
    write_artifact(
        path,
        format=kind,
        model=identity("net", num_classes=3, labels=labels, input_spec=InputSpec(size=32, resize=32)),
        source=None,
        input=Port("image", dtype, (batch, 3, 32, 32), "NCHW"),
        output=Port(output, "float32", (batch, 3)),
        labels=labels,
    )
    return path


def test_tritons_configuration_is_the_contract(tmp_path):
    folder = write_servable(model(tmp_path, dtype="uint8", output="probabilities"), tmp_path / "repository", "triton")
    config = parse((folder / "config.pbtxt").read_text())
    assert folder.name == config.name == "net" and config.platform == "onnxruntime_onnx" and config.max_batch_size == 8
    image, answer = config.input[0], config.output[0]
    assert (image.name, image.data_type, list(image.dims)) == ("image", DATA_TYPES["TYPE_UINT8"], [3, 32, 32])
    assert (answer.name, answer.data_type, list(answer.dims)) == ("probabilities", DATA_TYPES["TYPE_FP32"], [3])
    assert (
        config.HasField("dynamic_batching")
        and (folder / "1" / config.default_model_filename).read_bytes() == b"the model"
    )
    assert (folder / answer.label_filename).read_text().splitlines() == ["cat", 'a "dog"', "狗"]


def test_a_fixed_batch_stands_in_tritons_shapes(tmp_path):
    path = model(tmp_path, 4, "lite-mindir", "_lite.mindir", labels=())
    config = parse((write_servable(path, tmp_path / "repository", "triton") / "config.pbtxt").read_text())
    assert config.backend == "mslite" and config.max_batch_size == 0 and not config.HasField("dynamic_batching")
    assert list(config.input[0].dims) == [4, 3, 32, 32] and list(config.output[0].dims) == [4, 3]
    assert not config.output[0].label_filename


def test_the_servable_calls_mindspore_serving_as_its_interface_wants(tmp_path, monkeypatch):
    folder = write_servable(model(tmp_path, kind="mindir", ending=".mindir"), tmp_path / "servables", "mindspore")
    py_compile.compile(str(folder / "servable_config.py"), doraise=True)
    calls, methods = [], {}

    def declare_model(model_file, model_format, with_batch_dim):
        calls.append((model_file, model_format, with_batch_dim))
        return lambda image: np.array([0.1, 0.7, 0.2])

    def register_method(output_names):
        return lambda function: methods.setdefault(function.__name__, (function, output_names))[0]

    register = types.SimpleNamespace(
        declare_model=declare_model,
        register_method=register_method,
        add_stage=lambda stage, *arguments, outputs_count: stage(*arguments),
    )
    server = types.ModuleType("mindspore_serving.server")
    vars(server).update(register=register)
    monkeypatch.setitem(sys.modules, "mindspore_serving", types.ModuleType("mindspore_serving"))
    monkeypatch.setitem(sys.modules, "mindspore_serving.server", server)
    exec(compile((folder / "servable_config.py").read_text(), "servable_config.py", "exec"), {"__name__": "servable"})
    assert calls == [("net.mindir", "MindIR", True)] and (folder / "1" / "net.mindir").is_file()
    assert methods["predict"][1] == ["logits"] and methods["classify"][1] == ["label", "index"]
    image = np.zeros((3, 32, 32), np.float32)
    assert methods["classify"][0](image) == ('a "dog"', 1)
    with pytest.raises(ValueError, match="expected float32"):
        methods["predict"][0](image.astype(np.float64))


@pytest.mark.parametrize(
    "kind, ending, server, told",
    [
        ("ms", ".ms", "triton", "onnx or lite-mindir"),
        ("onnx", ".onnx", "mindspore", "mindir or ms"),
        ("onnx", ".onnx", "tensorflow", "--server"),
    ],
)
def test_what_a_server_does_not_take_is_refused(tmp_path, kind, ending, server, told):
    with pytest.raises(UsageError, match=told):
        write_servable(model(tmp_path, kind=kind, ending=ending), tmp_path / "out", server)
    assert not (tmp_path / "out").exists()


def test_the_command_replaces_an_older_folder(tmp_path, capsys):
    words = [str(model(tmp_path)), "--server", "triton", "--out", str(tmp_path / "repository")]
    assert main(words) == 0
    (tmp_path / "repository" / "net" / "stale").write_text("")
    assert main(words) == 0 and capsys.readouterr().out.splitlines() == [str(tmp_path / "repository" / "net")] * 2
    assert not (tmp_path / "repository" / "net" / "stale").exists()
