"""Numbers that are read one step late, as on a device with a queue: the same run, to the bit, as with none late."""

import os
import signal

import mindspore as ms
import numpy as np
import pytest

from glorext.models.formats import read_tensors
from glorext.runtime import device
from glorext.train import overflow, run
from glorext.train.loop import Interrupted, train
from glorext.train.nonfinite import NonFiniteError
from glorext.train.step import TrainStep

from .test_loop import events, untimed


@pytest.fixture
def late(monkeypatch):
    """late(ahead): from here on the host launches that many steps before it reads numbers."""

    def switch(ahead=1):
        monkeypatch.setattr(run, "steps_ahead", lambda device: ahead)

    return switch


@pytest.fixture
def watched(monkeypatch):
    """What the host did with each step, in order: ("launch", n), ("read", n), from 1."""
    launch, seen = TrainStep.launch, []

    def noted(self, *arguments):
        result, number = launch(self, *arguments), 1 + sum(kind == "launch" for kind, _ in seen)
        seen.append(("launch", number))

        def read():
            seen.append(("read", number))
            return result()

        return read

    monkeypatch.setattr(TrainStep, "launch", noted)
    return seen


def everything(folder):
    """All that a run leaves but the times: its newest checkpoint, its best one, its log lines."""
    newest = max(folder.glob("resnext50-*.ckpt"), key=lambda path: path.name)
    tensors = {**read_tensors(newest), **{f"best {k}": v for k, v in read_tensors(folder / "best.ckpt").items()}}
    logged = [untimed(events(folder, kind)) for kind in ("step", "epoch")]
    return newest.name, {name: value.tobytes() for name, value in tensors.items()}, logged


def test_only_a_device_with_a_queue_is_read_late():
    assert [device.steps_ahead(name) for name in device.DEVICES] == [0, 1, 1]


def test_a_number_is_asked_for_once_the_next_step_is_launched(draw, recipe, late, watched, tmp_path):
    train(recipe(epochs=1), draw(each=8), device="CPU", quiet=True)
    assert watched == [(kind, n) for n in (1, 2, 3, 4) for kind in ("launch", "read")]
    watched.clear()
    late()
    train(recipe(epochs=1, ckpt_path=str(tmp_path / "late")), draw("other", each=8), device="CPU", quiet=True)
    order = ["launch 1", "launch 2", "read 1", "launch 3", "read 2", "launch 4", "read 3", "read 4"]
    assert [f"{kind} {n}" for kind, n in watched] == order


def test_a_late_run_is_the_same_to_the_bit_stopped_anywhere(draw, recipe, late, tmp_path):
    data, val = draw(each=10), draw("val", each=4, seed=1)
    changes = {"augmentation": "color_jitter", "ckpt_interval": 3, "keep_checkpoint_max": 9}
    changes |= {"amp_level": "O3", "loss_scale": 2.0**20, "dynamic_loss_scale": True}  # some steps overflow

    def folder(name):
        return recipe(ckpt_path=str(tmp_path / name), **changes)

    train(folder("prompt"), data, val, device="CPU", quiet=True)
    late()
    train(folder("late"), data, val, device="CPU", quiet=True)
    for stop in (2, 7):
        outcome = train(folder("parts"), data, val, device="CPU", quiet=True, resume="auto", stop_after=stop)
        assert f"resnext50-{1 + (stop - 1) // 5}_{1 + (stop - 1) % 5}.ckpt" in str(outcome.stopped)
    train(folder("parts"), data, val, device="CPU", quiet=True, resume="auto")
    assert everything(tmp_path / "prompt") == everything(tmp_path / "late") == everything(tmp_path / "parts")
    for path in (tmp_path / "prompt").glob("resnext50-*.ckpt"):  # those in the middle of an epoch too
        one, other = read_tensors(path), read_tensors(tmp_path / "late" / path.name)
        assert all((one[name] == other[name]).all() for name in one)


def test_a_signal_during_a_late_step_saves_the_last_one_launched(draw, recipe, late, watched, monkeypatch, tmp_path):
    late()
    noted = TrainStep.launch

    def signaled(self, *arguments):
        if len(watched) == 3:  # launch 1, launch 2, read 1
            os.kill(os.getpid(), signal.SIGINT)
        return noted(self, *arguments)

    monkeypatch.setattr(TrainStep, "launch", signaled)
    with pytest.raises(Interrupted) as stop:
        train(recipe(), draw(each=12), device="CPU", quiet=True)
    launched = max(n for kind, n in watched if kind == "launch")
    assert stop.value.checkpoint.name == f"resnext50-1_{launched}.ckpt" and ("read", launched) in watched
    assert [event["step"] for event in events(tmp_path / "run")] == list(range(1, launched + 1))


def test_a_loss_that_is_not_finite_is_told_as_if_no_step_had_followed(draw, recipe, late, tmp_path):
    data, found = draw(each=8), []
    for ahead in (0, 1):
        late(ahead)
        this = recipe(lr=900.0, warmup_epochs=0, epochs=20, ckpt_path=str(tmp_path / f"{ahead}"))
        with pytest.raises(NonFiniteError) as failed:
            train(this, data, device="CPU", quiet=True)
        found.append((str(failed.value), untimed(events(tmp_path / f"{ahead}"))))
    assert found[0] == found[1]


def test_a_step_after_a_hopeless_one_changes_no_weight(monkeypatch):
    from .test_precision import batch, small_step

    monkeypatch.setattr(overflow, "HOPELESS", 2)
    net, step = small_step("O3", loss_scale=2.0**32, dynamic_loss_scale=True)
    images, targets = batch()
    assert [step(images, targets).hopeless for _ in range(2)] == [False, True]
    ms.ops.assign(step.scaler.scale_value, ms.Tensor(1.0, ms.float32))  # the next one is fine
    before = {p.name: p.asnumpy().copy() for p in net.trainable_params()}
    result = step(images, targets)
    assert result.finite and result.hopeless
    assert all(np.array_equal(before[p.name], p.asnumpy()) for p in net.trainable_params())
