"""TensorBoard, MLflow and Weights & Biases, where they are installed: what they hold after a run that was stopped."""

import importlib.util
import json

import pytest

from glorext.runtime.errors import SetupError
from glorext.train.loop import train
from glorext.train.trackers import FILE, TRACKERS


def needs(module):
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"{module} is not installed")


@pytest.mark.parametrize("kind", TRACKERS, ids=lambda kind: kind.name)
def test_a_tracker_that_is_not_installed_is_told_before_anything_runs(kind, draw, recipe, tmp_path, monkeypatch):
    for module in ("tensorboard.summary", "mlflow", "wandb"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(SetupError, match=rf"key {kind.name} asks for.*pip install 'glorext\[{kind.name}\]'"):
        train(recipe(**{kind.name: True}), draw(), device="CPU", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def stopped_and_gone_on(draw, recipe, tmp_path):
    """stopped_and_gone_on(key): a run with that key, stopped in its first epoch and gone on with."""

    def call(key):
        data, val = draw(), draw("val", seed=1)
        assert train(recipe(**{key: True}), data, val, device="CPU", quiet=True, stop_after=2).stopped
        train(recipe(**{key: True}), data, val, device="CPU", quiet=True, resume="auto")
        lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    return call


@needs("mlflow")
def test_mlflow_holds_one_run_with_every_step(stopped_and_gone_on, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/mlruns")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "pictures")
    logged = stopped_and_gone_on("mlflow")
    import mlflow

    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("pictures").experiment_id])
    assert run.info.status == "FINISHED" and run.info.run_name == "run" and run.data.params["batch_size"] == "4"
    history = client.get_metric_history(run.info.run_id, "step/loss")
    steps = [event for event in logged if event["event"] == "step"]
    assert [one.step for one in history] == list(range(1, len(steps) + 1))
    assert [one.value for one in history] == pytest.approx([event["loss"] for event in steps])
    assert [one.step for one in client.get_metric_history(run.info.run_id, "epoch/top1")] == [4, 8]


@needs("wandb")
def test_wandb_holds_one_run(stopped_and_gone_on, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    stopped_and_gone_on("wandb")
    known = json.loads((tmp_path / "run" / FILE).read_text())["wandb"]
    kept = sorted((tmp_path / "run" / "wandb").glob("offline-run-*"))
    assert kept and all(folder.name.endswith(f"-{known}") for folder in kept)


@needs("tensorboard")
def test_tensorboard_holds_every_step(stopped_and_gone_on, tmp_path):
    logged = stopped_and_gone_on("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    held = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    held.Reload()
    steps = [event for event in logged if event["event"] == "step"]
    assert [one.step for one in held.Tensors("step/loss")] == list(range(1, len(steps) + 1))
