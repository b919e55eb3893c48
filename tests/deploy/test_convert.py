"""The real converter's results compute what MindSpore computes, or are not kept."""

import shutil

import numpy as np
import pytest

from glorext.deploy.contract.artifact import read_artifact
from glorext.deploy.convert.converter import convert
from glorext.deploy.runners.lite import infer, run_tensor
from glorext.models.labels import labels_digest
from glorext.runtime import ConversionError, DataError, InferenceError, IntegrityError, UsageError, write_json

pytestmark = pytest.mark.native
MODELS = ("tiny_lite.mindir", "tiny.ms")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("batch", [1, 4, 7])
def test_a_converted_model_gives_mindspores_logits_at_any_batch(source, converted, native, model, batch):
    import mindspore as ms

    inputs = np.random.default_rng(batch).normal(size=(batch, 3, 32, 32)).astype(np.float32)
    expected = source.create()(ms.Tensor(inputs)).asnumpy()
    found = run_tensor(converted / model, inputs, native.programs)
    assert np.abs(found - expected).max() < 1e-3 and (found.argmax(1) == expected.argmax(1)).all()


@pytest.mark.parametrize("model", MODELS)
def test_the_contract_follows_the_model(source, exported, converted, model):
    artifact, origin = read_artifact(converted / model), read_artifact(exported / "tiny.mindir")
    assert artifact.source == {"file": "tiny.mindir", "sha256": origin.sha256}
    assert artifact.model == source.identity() and artifact.input == origin.input
    assert artifact.versions["mindspore_lite"] == "2.0.0"


def test_a_result_that_computes_something_else_is_not_kept(exported, native, tmp_path):
    for name in ("tiny.onnx", "tiny.onnx.json", "tiny_golden_input.npy", "tiny_golden_output.npy"):
        shutil.copy(exported / name, tmp_path)
    np.save(tmp_path / "tiny_golden_output.npy", np.load(tmp_path / "tiny_golden_output.npy") + 0.01)
    with pytest.raises(ConversionError, match="difference of 1.0e-02"):
        convert(tmp_path / "tiny.onnx", tmp_path / "out", ["ms"], native.programs)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_model_that_the_converter_refuses_is_named(exported, native, tmp_path):
    from glorext.deploy.contract.artifact import write_artifact

    for name in ("tiny_golden_input.npy", "tiny_golden_output.npy"):
        shutil.copy(exported / name, tmp_path)
    origin = read_artifact(exported / "tiny.onnx")
    (tmp_path / "tiny.onnx").write_bytes((exported / "tiny.onnx").read_bytes()[:50_000])
    write_artifact(
        tmp_path / "tiny.onnx",
        format="onnx",
        model=origin.model,
        source=None,
        input=origin.input,
        output=origin.output,
        labels=origin.labels,
    )
    with pytest.raises(ConversionError, match="could not convert tiny.onnx"):
        convert(tmp_path / "tiny.onnx", tmp_path / "out", ["ms"], native.programs)


def test_golden_files_are_demanded(exported, native, tmp_path):
    for name in ("tiny.onnx", "tiny.onnx.json"):
        shutil.copy(exported / name, tmp_path)
    with pytest.raises(DataError, match="tiny_golden_input.npy"):
        convert(tmp_path / "tiny.onnx", tmp_path / "out", ["ms"], native.programs)


def test_a_format_that_lite_does_not_write_is_refused(exported, tmp_path):
    with pytest.raises(UsageError, match="tflite"):
        convert(exported / "tiny.onnx", tmp_path, ["tflite"])


@pytest.mark.parametrize("model", MODELS)
def test_pictures_to_logits_agree_with_mindspore(source, converted, native, pictures, by_mindspore, tmp_path, model):
    from glorext.deploy.validate.verdict import validate

    results = infer(converted / model, pictures, tmp_path / "results", programs=native.programs)
    validation = validate(source, results, by_mindspore)
    assert validation.verdict == "pass", validation.checks
    assert validation.mindspore.same == 40 and results.count == 40 and results.throughput > 0


def test_a_flipped_bit_in_the_model_is_found_before_it_runs(converted, native, pictures, tmp_path):
    for name in ("tiny.ms", "tiny.ms.json"):
        shutil.copy(converted / name, tmp_path)
    data = bytearray((tmp_path / "tiny.ms").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "tiny.ms").write_bytes(data)
    with pytest.raises(IntegrityError, match="tiny.ms"):
        infer(tmp_path / "tiny.ms", pictures, tmp_path / "results", programs=native.programs)


def test_ascend_is_never_replaced_by_the_cpu(converted, native, pictures, tmp_path, capfd):
    with pytest.raises(InferenceError):
        infer(converted / "tiny.ms", pictures, tmp_path / "results", device="ascend310", programs=native.programs)
    assert "libascendcl" in capfd.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_broken_picture_fails_the_run_unless_allowed(converted, native, pictures, tmp_path, capfd):
    broken = tmp_path / "pictures"
    shutil.copytree(pictures, broken)
    (broken / "3" / "cut.png").write_bytes((pictures / "1" / "01.png").read_bytes()[:200])
    with pytest.raises(InferenceError):
        infer(converted / "tiny.ms", broken, tmp_path / "results", programs=native.programs)
    assert "3/cut.png" in capfd.readouterr().err
    results = infer(converted / "tiny.ms", broken, tmp_path / "allowed", allow_broken=True, programs=native.programs)
    assert results.count == 40 and [entry["path"] for entry in results.failed] == ["3/cut.png"]


def test_a_contract_that_contradicts_the_model_is_refused(converted, native, pictures, tmp_path):
    import json

    shutil.copy(converted / "tiny.ms", tmp_path)
    values = json.loads((converted / "tiny.ms.json").read_text())
    values["output"]["shape"] = [-1, 7]
    values["model"] |= {"num_classes": 7, "labels_sha256": labels_digest(())}
    values["labels"] = []
    write_json(tmp_path / "tiny.ms.json", values)
    with pytest.raises(InferenceError):
        infer(tmp_path / "tiny.ms", pictures, tmp_path / "results", programs=native.programs)


def test_a_fixed_batch_model_runs_in_its_own_batch_and_pads_the_last(source, native, pictures, by_mindspore, tmp_path):
    from glorext.deploy.export.exporter import export
    from glorext.deploy.validate.verdict import validate

    export(source, tmp_path, ["mindir"], batch=16)
    (artifact,) = convert(tmp_path / "tiny.mindir", tmp_path, ["ms"], native.programs)
    results = infer(tmp_path / artifact.file, pictures, tmp_path / "results", programs=native.programs)
    assert results.batch == 16 and results.count == 40, "40 pictures are two and a half batches"
    assert validate(source, results, by_mindspore).verdict == "pass"
