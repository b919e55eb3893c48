"""The folder for Triton says what the contract says, in the server's own format and as its backends read it."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from glorext.deploy.contract.artifact import Device, Port, write_artifact
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
        (14, "parameters", "ParametersEntry", 1),
    ],
    # A map<string, ModelParameter> is written as its entries.
    "ParametersEntry": [(1, "key", "string", 0), (2, "value", "ModelParameter", 0)],
    "ModelParameter": [(1, "string_value", "string", 0)],
    "ModelInput": [(1, "name", "string", 0), (2, "data_type", "DataType", 0), (4, "dims", "int64", 1)],
    "ModelOutput": [
        (1, "name", "string", 0),
        (2, "data_type", "DataType", 0),
        (3, "dims", "int64", 1),
        (4, "label_filename", "string", 0),
    ],
    "ModelDynamicBatching": [(1, "preferred_batch_size", "int32", 1)],
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
    folder,
    batch=-1,
    kind="onnx",
    ending=".onnx",
    labels=("cat", 'a "dog"', "狗"),
    dtype="float32",
    output="logits",
    device=None,
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
        device=device,
    )
    return path


def parameters(config):
    return {entry.key: entry.value.string_value for entry in config.parameters}


def test_tritons_configuration_is_the_contract(tmp_path):
    folder = write_servable(model(tmp_path, dtype="uint8", output="probabilities"), tmp_path / "repository", "triton")
    config = parse((folder / "config.pbtxt").read_text())
    assert folder.name == config.name == "net" and config.platform == "onnxruntime_onnx" and config.max_batch_size == 8
    image, answer = config.input[0], config.output[0]
    assert (image.name, image.data_type, list(image.dims)) == ("image", DATA_TYPES["TYPE_UINT8"], [3, 32, 32])
    assert (answer.name, answer.data_type, list(answer.dims)) == ("probabilities", DATA_TYPES["TYPE_FP32"], [3])
    assert config.HasField("dynamic_batching") and not config.parameters
    assert (folder / "1" / config.default_model_filename).read_bytes() == b"the model"
    assert (folder / answer.label_filename).read_text().splitlines() == ["cat", 'a "dog"', "狗"]


def test_a_fixed_batch_stands_in_tritons_shapes(tmp_path):
    path = model(tmp_path, 4, "lite-mindir", "_lite.mindir", labels=())
    config = parse((write_servable(path, tmp_path / "repository", "triton") / "config.pbtxt").read_text())
    assert config.backend == "mslite" and config.max_batch_size == 0 and not config.HasField("dynamic_batching")
    assert list(config.input[0].dims) == [4, 3, 32, 32] and list(config.output[0].dims) == [4, 3]
    assert not config.output[0].label_filename


def test_mindspore_lites_backend_finds_its_file_its_device_and_the_prepared_sizes(tmp_path):
    card = Device("ascend310p", "Ascend310P3", (1, 4, 16))
    folder = write_servable(model(tmp_path, -1, "lite-mindir", "_lite.mindir", device=card), tmp_path / "out", "triton")
    config = parse((folder / "config.pbtxt").read_text())
    assert parameters(config) == {"model_type": "mindir", "device_type": "ascend", "device_id": "0"}
    assert config.max_batch_size == 16 and list(config.dynamic_batching.preferred_batch_size) == [1, 4, 16]
    assert not config.default_model_filename
    assert (folder / "1" / f"{config.name}.{parameters(config)['model_type']}").read_bytes() == b"the model"


@pytest.mark.parametrize("kind, ending, save", [("lite-mindir", "_lite.mindir", "mindir"), ("ms", ".ms", "ms")])
def test_on_the_cpu_no_request_is_filled_up(tmp_path, kind, ending, save):
    path = model(tmp_path, -1, kind, ending, device=Device("cpu"))
    folder = write_servable(path, tmp_path / "out", "triton")
    config = parse((folder / "config.pbtxt").read_text())
    assert parameters(config) == {"model_type": save, "device_type": "cpu"} and (folder / "1" / f"net.{save}").is_file()
    assert list(config.dynamic_batching.preferred_batch_size) == list(range(1, config.max_batch_size + 1))


@pytest.mark.parametrize(
    "kind, ending, server, told",
    [
        ("mindir", ".mindir", "triton", "onnx or lite-mindir"),
        ("onnx", ".onnx", "mindspore", "MindSpore Serving reads no model"),
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
