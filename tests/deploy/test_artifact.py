"""The contract beside a model: complete, strict, bound to the file's bytes."""

import json

import pytest

from glorext.deploy.contract.artifact import Port, read_artifact, write_artifact
from glorext.models import InputSpec
from glorext.runtime import DataError, IntegrityError

from .made import identity


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"not really a model")
    write_artifact(
        path,
        format="onnx",
        model=identity(num_classes=2, labels=("a", "b"), input_spec=InputSpec(size=8, resize=8)),
        source=None,
        input=Port("image", "float32", (-1, 3, 8, 8), "NCHW"),
        output=Port("logits", "float32", (-1, 2)),
        labels=("a", "b"),
        versions={"glorext": "1"},
    )
    return path


def test_what_is_written_is_read(model):
    artifact = read_artifact(model)
    assert artifact.input == Port("image", "float32", (-1, 3, 8, 8), "NCHW")
    assert artifact.input_spec == InputSpec(size=8, resize=8)
    assert artifact.labels == ("a", "b") and artifact.size == 18


def test_a_changed_model_is_refused(model):
    model.write_bytes(b"not really a m0del")
    with pytest.raises(IntegrityError, match="m.onnx"):
        read_artifact(model)


def test_missing_model_and_missing_contract_are_told_apart(model):
    with pytest.raises(DataError, match="expected a model file"):
        read_artifact(model.with_name("other.onnx"))
    model.with_name("m.onnx.json").unlink()
    with pytest.raises(DataError, match="m.onnx.json"):
        read_artifact(model)


def test_a_contract_that_is_not_one_is_refused(model):
    path = model.with_name("m.onnx.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"labels": "ab"}))
    with pytest.raises(DataError, match=r"m\.onnx\.json: labels"):
        read_artifact(model)


def test_no_contract_is_written_that_its_readers_would_refuse(model):
    artifact = read_artifact(model)
    for change in ({"labels": ("a", "a")}, {"output": Port("logits", "float32", (-1, 9))}):
        values = {**vars(artifact), **change}
        with pytest.raises(DataError, match="expected"):
            write_artifact(model, **{key: values[key] for key in values if key not in ("file", "size", "sha256")})
    assert read_artifact(model) == artifact


def test_the_contract_of_another_file_is_refused(model):
    other = model.with_name("n.onnx")
    model.rename(other)
    model.with_name("m.onnx.json").rename(other.with_name("n.onnx.json"))
    with pytest.raises(DataError, match="the contract of n.onnx"):
        read_artifact(other)
