"""Exported files compute the network's logits, at any batch where the batch is open, and carry their contract."""
import numpy as np
import pytest

from glorext.deploy.artifact import read_artifact
from glorext.deploy.export import check_request, export, run_exported
from glorext.runtime import ExportError, UsageError


@pytest.mark.parametrize("name", ["mindir", "onnx"])
@pytest.mark.parametrize("batch", [1, 3])
def test_an_open_batch_computes_the_networks_logits(source, exported, name, batch):
    import mindspore as ms
    inputs = np.random.default_rng(batch).normal(size=(batch, 3, 32, 32)).astype(np.float32)
    expected = source.create()(ms.Tensor(inputs)).asnumpy()
    found = run_exported(name, exported / f"tiny.{name}", inputs)
    assert np.abs(expected).max() > 0.5, "the network must say something"
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_contract_says_what_the_file_is(source, exported):
    artifact = read_artifact(exported / "tiny.onnx")
    assert (artifact.format, artifact.input.shape, artifact.output.shape) == ("onnx", (-1, 3, 32, 32), (-1, 10))
    assert artifact.weights_sha256 == source.weights_sha256
    assert artifact.input_spec == source.input_spec and artifact.labels == source.labels


def test_golden_files_hold_the_networks_own_answer(source, exported):
    import mindspore as ms
    inputs, logits = np.load(exported / "golden_input.npy"), np.load(exported / "golden_logits.npy")
    assert inputs.shape == (4, 3, 32, 32) and logits.shape == (4, 10)
    np.testing.assert_allclose(source.create()(ms.Tensor(inputs)).asnumpy(), logits, atol=1e-5)


def test_a_fixed_batch_is_written_and_checked(source, tmp_path):
    artifact, = export(source, tmp_path, ["onnx"], batch=2)
    assert artifact.input.shape == (2, 3, 32, 32)
    assert run_exported("onnx", tmp_path / "tiny.onnx", np.zeros((2, 3, 32, 32), np.float32)).shape == (2, 10)


@pytest.mark.parametrize("formats, batch, told", [
    (["tflite"], 1, "tflite"), (["onnx"], 0, "--batch"), (["onnx"], "many", "--batch"), (["onnx"], -2, "--batch"),
    (["air"], 1, "only on Ascend"), (["air"], "dynamic", "dynamic batch")])
def test_the_impossible_is_refused_before_work_starts(formats, batch, told):
    with pytest.raises(UsageError, match=told):
        check_request(formats, batch, "CPU")


def test_air_is_allowed_on_ascend():
    assert check_request(["air"], 4, "Ascend") == 4


def test_a_wrong_file_is_not_kept(source, tmp_path, monkeypatch):
    from glorext.deploy import export as module
    monkeypatch.setattr(module, "run_exported", lambda name, path, batch: np.full((len(batch), 10), 9, np.float32))
    with pytest.raises(ExportError, match="difference"):
        export(source, tmp_path, ["onnx"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["golden_input.npy", "golden_logits.npy"]


def test_weights_that_give_nan_are_not_deployed(source, tmp_path):
    import dataclasses
    import mindspore as ms
    from glorext.models import save_checkpoint
    net = source.create()
    next(net.get_parameters()).set_data(ms.Tensor(np.full((16, 3, 7, 7), np.nan, np.float32)))
    save_checkpoint(net, tmp_path / "nan.ckpt")
    with pytest.raises(ExportError, match="NaN"):
        export(dataclasses.replace(source, checkpoint=tmp_path / "nan.ckpt"), tmp_path / "out")
