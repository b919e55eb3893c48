"""Whole runs of a small network: what they write, what they measure, how they go on after a stop."""

import json
import os

import numpy as np
import pytest

from glorext.hub import open_model
from glorext.hub.pack import Details, pack
from glorext.models import create, save_checkpoint, weights_digest
from glorext.models.answers import read_results
from glorext.models.evaluation import parse_evaluation
from glorext.models.formats import read_tensors
from glorext.models.labels import labels_digest
from glorext.runtime import cli
from glorext.runtime.errors import CheckpointError, DataError, RecipeError, SetupError, UsageError
from glorext.train import load_recipe
from glorext.train import run as run_module
from glorext.train.command import parse
from glorext.train.evaluate import main as evaluate_command
from glorext.train.loop import Interrupted, train


def events(folder, kind="step"):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def untimed(events):
    return [{k: v for k, v in event.items() if k not in ("images_per_second", "seconds")} for event in events]


def test_a_run_learns_and_writes_what_it_did(draw, recipe, tmp_path, capsys):
    data, val = draw("train", each=16), draw("val", each=5, seed=1)
    outcome = train(recipe(epochs=4, save_checkpoint_epochs=1, keep_checkpoint_max=2), data, val, device="CPU")
    run = tmp_path / "run"
    assert outcome.top1 >= 0.9 and outcome.folder == run
    assert sorted(path.name for path in run.iterdir()) == [
        "best.ckpt",
        "eval.json",
        "labels.txt",
        "metrics.jsonl",
        "model.json",
        "paths.json",
        "recipe.yaml",
        "resnext50-3_8.ckpt",
        "resnext50-4_8.ckpt",
    ]
    assert (run / "labels.txt").read_text() == "ant\nbee\n"
    effective = load_recipe(run / "recipe.yaml")
    assert (effective.num_classes, effective.workers, effective.epochs) == (2, 1, 4)
    steps, epochs = events(run), events(run, "epoch")
    assert [(e["epoch"], e["step"]) for e in steps] == [(e, s) for e in (1, 2, 3, 4) for s in range(1, 9)]
    assert all(e["grad_norm"] > 0 and e["images_per_second"] > 0 and "overflows" not in e for e in steps)
    assert steps[-1]["loss"] < steps[0]["loss"] and steps[3]["lr"] == pytest.approx(0.02 * 3 / 8)
    result = parse_evaluation((run / "eval.json").read_bytes())
    assert result.top1 == outcome.top1 == max(e["top1"] for e in epochs)
    assert result.weights_sha256 == weights_digest(run / "best.ckpt")
    assert open_model(run).evidence == result and open_model(run).labels == ("ant", "bee")
    assert result.labels_sha256 == labels_digest(["ant", "bee"]) and result.count == 10
    assert np.sum(result.confusion) == 10 and np.trace(result.confusion) == round(10 * result.top1)
    assert [(score.label, score.count) for score in result.classes] == [("ant", 5), ("bee", 5)]
    assert np.sum([row.count for row in result.calibration.bins]) == 10
    shown = capsys.readouterr().out
    assert f"epoch:1 step:8, loss is {np.float32(steps[7]['loss'])}\n" in shown
    assert f"acc={result.top1:.2%}(TOP1)" in shown and "TOP5" not in shown and result.top5 is None
    assert "top5" not in epochs[0] and result.loss in [e["val_loss"] for e in epochs]
    for epoch in epochs:
        assert epoch["loss"] == pytest.approx(np.mean([e["loss"] for e in steps if e["epoch"] == epoch["epoch"]]))

    # 10 pictures in batches of 4: the last batch is not full, and every picture counts.
    assert (
        evaluate_command(
            [
                str(run),
                "--data_dir",
                str(val),
                "--batch_size",
                "4",
                "--device_target",
                "CPU",
                "--out",
                str(tmp_path / "e.json"),
                "--confusion",
                str(tmp_path / "c.csv"),
                "--results",
                str(tmp_path / "r"),
            ]
        )
        == 0
    )
    again = parse_evaluation((tmp_path / "e.json").read_bytes())
    assert again == result
    shown = capsys.readouterr().out
    assert f"{{'Accuracy': {result.top1}}}" in shown
    assert f"calibration error {result.calibration.ece:.2%} (ECE, 15 bins)" in shown
    rows = [line.split(",") for line in (tmp_path / "c.csv").read_text().splitlines()]
    assert rows[0] == ["true class", "ant", "bee"] and [row[0] for row in rows[1:]] == ["ant", "bee"]
    assert [[int(cell) for cell in row[1:]] for row in rows[1:]] == result.confusion
    results = read_results(tmp_path / "r")
    right = [p["top5"][0] == ["ant", "bee"].index(p["path"].split("/")[0]) for p in results.pictures]
    assert results.count == 10 and np.mean(right) == result.top1
    truth = np.array([["ant", "bee"].index(p["path"].split("/")[0]) for p in results.pictures])
    logits = results.logits.astype(np.float64)
    expected = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(10), truth])
    assert result.loss == pytest.approx(expected, rel=1e-6)
    sure = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).max(1)
    apart = [
        abs(np.sum((logits.argmax(1) == truth)[inside]) - np.sum(sure[inside]))
        for inside in (np.ceil(sure * 15) == bin for bin in range(1, 16))
    ]
    assert result.calibration.ece == pytest.approx(sum(apart) / 10, rel=1e-5) and result.calibration.ece > 0


def test_a_stopped_run_goes_on_to_the_same_bits(draw, recipe, tmp_path, monkeypatch):
    data, val = draw("train", each=12), draw("val", each=4, seed=1)
    whole = recipe(ckpt_path=str(tmp_path / "whole"), augmentation="color_jitter", clip_grad=1.0)
    train(whole, data, val, device="CPU", quiet=True)
    parts = recipe(ckpt_path=str(tmp_path / "parts"), augmentation="color_jitter", clip_grad=1.0)
    stop_after(monkeypatch, 3)
    with pytest.raises(Interrupted, match="resnext50-1_3.ckpt"):
        train(parts, data, val, device="CPU", quiet=True)
    assert (tmp_path / "parts" / "resnext50-1_3.ckpt").exists()
    stop_after(monkeypatch, 6)
    with pytest.raises(Interrupted):
        train(parts, data, val, device="CPU", quiet=True, resume="auto")
    monkeypatch.undo()
    # A newer checkpoint that was cut off is passed over.
    (tmp_path / "parts" / "resnext50-2_5.ckpt").write_bytes(
        (tmp_path / "parts" / "resnext50-1_3.ckpt").read_bytes()[:9]
    )
    outcome = train(parts, data, val, device="CPU", quiet=True, resume="auto")
    one, other = (read_tensors(tmp_path / name / "resnext50-2_6.ckpt") for name in ("whole", "parts"))
    assert one.keys() == other.keys() and all((one[k] == other[k]).all() for k in one)
    for kind in ("step", "epoch"):
        assert untimed(events(tmp_path / "whole", kind)) == untimed(events(tmp_path / "parts", kind))
    assert weights_digest(tmp_path / "whole" / "best.ckpt") == weights_digest(outcome.folder / "best.ckpt")


def test_a_stopped_run_stops_the_pipeline_as_well(draw, recipe, monkeypatch):
    fed, closed = run_module.fed, []

    def watched(pipeline, from_device_queue):
        try:
            yield from fed(pipeline, from_device_queue)
        finally:
            closed.append(True)

    monkeypatch.setattr(run_module, "fed", watched)
    stop_after(monkeypatch, 2)
    with pytest.raises(Interrupted) as stop:  # which keeps every frame that the exception passed through
        train(recipe(), draw(), device="CPU", quiet=True)
    assert closed and stop.value.checkpoint.name == "resnext50-1_2.ckpt"


def stop_after(monkeypatch, steps):
    """Send this process SIGTERM while step number `steps` of the process's run is computed."""
    import signal

    from glorext.train.step import TrainStep

    call, done = TrainStep.launch, []

    def counted(self, *arguments):
        done.append(1)
        if len(done) == steps:
            os.kill(os.getpid(), signal.SIGTERM)
        return call(self, *arguments)

    monkeypatch.setattr(TrainStep, "launch", counted)


def test_a_run_is_not_overwritten(draw, recipe, tmp_path):
    (tmp_path / "run").mkdir()
    other = tmp_path / "run" / "glore_res50-120_1251.ckpt"
    other.touch()
    with pytest.raises(UsageError, match="glore_res50-120_1251.ckpt"):
        train(recipe(), draw(), device="CPU")
    assert other.exists()
    (tmp_path / "run" / "recipe.yaml").write_text("lr: 0.1\n")
    with pytest.raises(UsageError, match="--resume .*run"):
        train(recipe(), tmp_path / "train", device="CPU")


def test_a_run_goes_back_to_a_named_checkpoint(draw, recipe, tmp_path, caplog):
    data, val = draw("train", each=8), draw("val", each=4, seed=1)
    run = tmp_path / "run"
    train(recipe(ckpt_interval=3), data, val, device="CPU", quiet=True)
    names = [f"resnext50-{place}.ckpt" for place in ("1_3", "1_4", "2_2", "2_4")]
    assert sorted(path.name for path in run.glob("resnext50-*")) == names
    before, metrics, best = read_tensors(run / names[3]), untimed(events(run)), weights_digest(run / "best.ckpt")
    with pytest.raises(UsageError, match="the run's folder"):
        train(recipe(ckpt_path=str(tmp_path / "other")), data, device="CPU", quiet=True, resume=str(run / names[0]))
    # What is saved, and how often, may change; without validation pictures the weights measured as best stay.
    again = train(recipe(keep_checkpoint_max=2), data, device="CPU", quiet=True, resume=str(run / names[1]))
    assert sorted(path.name for path in run.glob("resnext50-*")) == [names[1], names[3]]
    assert f"removed {run / names[2]}" in caplog.text
    after = read_tensors(run / names[3])
    assert all((before[name] == after[name]).all() for name in before if name != "optimizer.position")
    assert untimed(events(run)) == metrics
    assert weights_digest(run / "best.ckpt") == best and again.top1 == events(run, "epoch")[0]["top1"]


def test_resuming_with_other_values_is_an_error(draw, recipe, tmp_path):
    data = draw(each=4)
    train(recipe(epochs=1), data, device="CPU", quiet=True)
    with pytest.raises(RecipeError, match="lr 0.02"):
        train(recipe(epochs=1, lr=0.5), data, device="CPU", quiet=True, resume="auto")


def test_resuming_with_other_pictures_is_an_error(draw, recipe, tmp_path):
    data = draw(each=4)
    train(recipe(epochs=1), data, device="CPU", quiet=True)
    (data / "ant" / "000.png").rename(data / "ant" / "new.png")
    with pytest.raises(DataError, match="pictures and labels that the run began with"):
        train(recipe(epochs=1), data, device="CPU", quiet=True, resume="auto")
    (data / "ant" / "new.png").rename(data / "ant" / "000.png")
    (tmp_path / "labels.txt").write_text("bee\nant\n")
    with pytest.raises(DataError, match="pictures and labels that the run began with"):
        train(recipe(epochs=1), data, device="CPU", quiet=True, resume="auto", labels=tmp_path / "labels.txt")


def test_a_folder_that_cannot_be_written_is_named(draw, recipe, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file/run"):
        train(recipe(ckpt_path=str(tmp_path / "file" / "run")), draw(each=4), device="CPU", quiet=True)


def test_nothing_is_left_behind_by_a_run_that_cannot_start(draw, recipe, tmp_path):
    data = draw(each=2)
    for changes, error, named in (
        ({"batch_size": 99}, DataError, "one batch"),
        ({"num_classes": 7}, RecipeError, "7"),
        ({"workers": 999}, RecipeError, "workers"),
        ({"pretrained": "no.ckpt"}, CheckpointError, "no.ckpt"),
    ):
        with pytest.raises(error, match=named):
            train(recipe(**{"batch_size": 2} | changes), data, device="CPU", quiet=True)
        assert not list((tmp_path / "run").glob("*.ckpt"))


def test_evaluating_what_is_not_there_is_an_error(draw, tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        evaluate_command([str(tmp_path / "nowhere"), "--data_dir", str(draw())])


def test_what_a_run_needs_from_outside_is_named(draw, recipe, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tensorboard.summary", None)
    with pytest.raises(SetupError, match=r"pip install 'glorext\[tensorboard\]'"):
        train(recipe(tensorboard=True), draw(), device="CPU", quiet=True)
    with pytest.raises(RecipeError, match="data_sink"):
        train(recipe(data_sink=True), tmp_path / "train", device="CPU", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_package_is_fine_tuned_for_other_classes(draw, recipe, tmp_path, capsys):
    val = draw("val", each=3)
    train(recipe(epochs=1), draw(each=6), val, device="CPU", quiet=True)
    pack(tmp_path / "run", tmp_path / "package", Details("tiny", "1.0.0", date="2026-01-02"))
    other = draw("other", classes=("x", "y", "z"), each=6)
    # Network and input are those of the package.
    assert (
        cli.main(
            [
                "train",
                "--recipe",
                "finetune",
                "--from",
                str(tmp_path / "package"),
                "--data_dir",
                str(other),
                "--batch_size",
                "6",
                "--epochs",
                "2",
                "--workers",
                "1",
                "--device_target",
                "CPU",
                "--out",
                str(tmp_path / "mine"),
            ]
        )
        == 0
    )
    assert (tmp_path / "mine" / "labels.txt").read_text() == "x\ny\nz\n"
    start, end = (read_tensors(tmp_path / name / "best.ckpt") for name in ("run", "mine"))
    assert end["head.fc.weight"].shape[0] == 3 and start["head.fc.weight"].shape[0] == 2
    steps = events(tmp_path / "mine")
    assert len(steps) == 6 and "best.ckpt" in capsys.readouterr().out
    frozen = load_recipe(tmp_path / "mine" / "recipe.yaml")
    assert (frozen.freeze_epochs, frozen.new_head, frozen.num_classes) == (1, True, 3)
    assert frozen.input["size"] == 16 and frozen.network_args == recipe().network_args


def test_weights_of_torchvision_keep_their_stem(draw, recipe, tmp_path):
    save_checkpoint(
        create("resnext50", **recipe().network_args, num_classes=7), tmp_path / "theirs.ckpt", naming="torchvision"
    )
    val = draw("val", each=9, seed=1)
    outcome = train(
        recipe(pretrained=str(tmp_path / "theirs.ckpt"), new_head=True, epochs=1),
        draw(each=8),
        val,
        device="CPU",
        quiet=True,
    )
    assert load_recipe(outcome.folder / "recipe.yaml").network_args["stem_pool"] == "torch"
    assert (
        evaluate_command(
            [
                str(outcome.folder),
                "--data_dir",
                str(val),
                "--device_target",
                "CPU",
                "--batch_size",
                "4",
                "--out",
                str(tmp_path / "e.json"),
            ]
        )
        == 0
    )
    assert (tmp_path / "e.json").read_bytes() == (outcome.folder / "eval.json").read_bytes()


def test_input_and_labels_follow_the_weights(draw, recipe, tmp_path, caplog):
    """A run at 16 x 16 without margin, with classes in an order of their own, goes on as what it is."""
    data = draw(each=4)
    (tmp_path / "labels.txt").write_text("bee\nant\n")
    own = {"size": 16, "resize": 18, "mean": [0.5, 0.5, 0.5]}
    train(recipe(epochs=1, input=own), data, device="CPU", quiet=True, labels=tmp_path / "labels.txt")
    source = str(tmp_path / "run")
    for name, new_head, changes in (("same", False, {}), ("new", True, {"size": 32})):
        values = {"pretrained": source, "new_head": new_head, "input": changes, "ckpt_path": str(tmp_path / name)}
        train(recipe(epochs=1, **values), data, device="CPU", quiet=True)
        assert open_model(tmp_path / name).labels == ("bee", "ant")
    spec, other = (open_model(tmp_path / name).input_spec for name in ("same", "new"))
    assert (spec.size, spec.resize, spec.mean) == (16, 18, (0.5, 0.5, 0.5))
    assert (other.size, other.resize) == (32, 36) and "input.size 32 instead of 16" in caplog.text
    for flags, sides in (([], (16, 18)), (["--image_size", "32"], (32, 36))):
        begun = parse(["--recipe", "digits", "--data_dir", str(data), "--from", source, *flags])[1].input_spec()
        assert (begun.size, begun.resize, *begun.mean) == (*sides, 0.5, 0.5, 0.5)


def test_a_run_finds_both_parts_of_its_pictures_in_their_parent(draw, recipe, tmp_path):
    draw("data/train"), draw("data/val", each=3)
    train(recipe(epochs=1), tmp_path / "data", device="CPU", quiet=True)
    assert parse_evaluation((tmp_path / "run" / "eval.json").read_bytes()).count == 6
    paths = json.loads((tmp_path / "run" / "paths.json").read_text())
    assert (paths["data_dir"], paths["val_dir"]) == tuple(str(tmp_path / "data" / part) for part in ("train", "val"))
