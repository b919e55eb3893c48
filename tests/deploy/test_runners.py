"""Each runner answers every picture once, under its own name, as MindSpore does; what cannot run is refused."""

import os

import numpy as np
import pytest

from glorext.deploy.export.exporter import export
from glorext.deploy.runners import lite, onnxruntime
from glorext.deploy.runners.common import BACKENDS, DEVICES, Request, check_request
from glorext.deploy.validate.backends import prepare
from glorext.runtime import InferenceError, SetupError, UsageError
from glorext.train.data import list_pictures


def check(results, by_mindspore, backend):
    """The same pictures in the order of their paths' bytes, and MindSpore's logits for each."""
    paths = [picture["path"] for picture in results.pictures]
    assert paths == sorted(paths, key=os.fsencode) == [picture["path"] for picture in by_mindspore.pictures]
    assert np.abs(results.logits - by_mindspore.logits).max() < 1e-4 and np.ptp(results.logits, axis=0).min() > 0
    assert [picture["top5"][0] for picture in results.pictures] == results.logits.argmax(1).tolist()
    assert results.backend == backend and results.artifact["weights_dtype"] == "float32"
    assert results.seconds > 0 and results.throughput == pytest.approx(len(paths) / results.seconds)
    assert sum(results.stages_ms.values()) == pytest.approx(results.latency_ms["mean"], rel=0.5)


@pytest.mark.parametrize("batch", ["dynamic", 16])
def test_onnxruntime_answers_as_mindspore_at_an_open_and_at_a_fixed_batch(
    source, pictures, by_mindspore, tmp_path, batch
):
    pytest.importorskip("onnxruntime", reason="an option")
    (artifact,) = export(source, tmp_path, ["onnx"], batch=batch)
    run = prepare(source, Request("onnx", model=tmp_path / artifact.file), tmp_path)
    check(run(list_pictures(pictures, source.labels)), by_mindspore, "onnx")


@pytest.mark.native
def test_tensors_go_through_the_program_in_parts(
    source, pictures, by_mindspore, converted, native, tmp_path, monkeypatch
):
    monkeypatch.setattr(lite, "CHUNK", 16)
    run = prepare(source, Request("lite", model=converted / "tiny.ms"), tmp_path)
    check(run(list_pictures(pictures, source.labels)), by_mindspore, "lite")


@pytest.mark.native
def test_a_program_that_refuses_says_why_in_its_own_words(converted, native):
    with pytest.raises(InferenceError, match=r"glorext_infer: .*expected <f4 \[N, 3, 32, 32\]"):
        lite.run_tensor(converted / "tiny.ms", np.zeros((2, 3, 16, 16), np.float32), native.programs)


def test_onnxruntime_reports_every_warning_and_has_none_for_an_export(exported, capfd):
    pytest.importorskip("onnxruntime", reason="an option")
    onnxruntime.run_onnx(exported / "tiny.onnx", np.zeros((3, 3, 32, 32), np.float32))
    assert "onnxruntime" not in capfd.readouterr().err


def test_without_onnxruntime_its_name_and_the_way_to_get_it_are_told(monkeypatch):
    monkeypatch.setattr(onnxruntime, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match="not installed. Run: pip install onnxruntime"):
        onnxruntime.open_session(b"")


def test_every_backend_refuses_the_devices_that_it_does_not_run_on():
    for backend, (devices, _) in BACKENDS.items():
        for device in DEVICES:
            if device in devices:
                check_request(Request(backend, device))
            else:
                with pytest.raises(UsageError, match=f"a device of {backend}: .*found {device}"):
                    check_request(Request(backend, device))
