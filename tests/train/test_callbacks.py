"""`glorext.train(...)`: the command's run from Python, and what is told of it."""

import inspect
import json
import sys
import threading
from typing import Any

import pytest

import glorext
from glorext.runtime.errors import DataError, UsageError
from glorext.train.callbacks import Callback
from glorext.train.command import main
from glorext.train.run_folder import RunFolder

from .conftest import TINY

KEYS = {**TINY, "num_classes": 2}


class Recorded(Callback):
    """Keeps everything it is told; stops or fails at a step or epoch of the whole run."""

    def __init__(self, stops=None, fails=None):
        self.heard, self.stops, self.fails = [], stops, fails

    def _note(self, name, event=None):
        self.heard.append((name, event))
        times = sum(one == name for one, _ in self.heard)
        if self.fails == (name, times):
            raise LookupError("of the user's own")
        return self.stops == (name, times)

    def on_begin(self, folder, recipe):
        self._note("begin", (folder, recipe.epochs))

    def on_step(self, event):
        return self._note("step", event)

    def on_epoch(self, event):
        return self._note("epoch", event)

    def on_end(self):
        self._note("end")

    def names(self):
        return [name for name, _ in self.heard]


@pytest.fixture
def call(draw, tmp_path):
    """call(out, **changes): a run of seconds, with `glorext.train`."""
    data, val = draw(), draw("val", seed=1)

    def train(out="run", **changes):
        values = {"data": data, "val": val, "device": "CPU", "quiet": True, **KEYS}
        return glorext.train("resnext50_imagenet", out=tmp_path / out, **values | changes)

    return train


def test_it_is_the_commands_run_to_the_bit(call, tmp_path, capsys):
    outcome = call()
    assert capsys.readouterr().out == ""
    words = ["--recipe", "resnext50_imagenet", "--data", str(tmp_path / "train"), "--val_dir", str(tmp_path / "val")]
    for key, value in KEYS.items():
        words += [f"--{key}", json.dumps(value) if isinstance(value, dict) else str(value)]
    assert main([*words, "--device", "CPU", "--out", str(tmp_path / "other"), "--json"]) == 0
    assert (outcome.folder / "best.ckpt").read_bytes() == (tmp_path / "other" / "best.ckpt").read_bytes()
    assert json.loads(capsys.readouterr().out)["top1"] == outcome.top1 and outcome.stopped is None


def test_every_step_and_epoch_is_told_as_it_is_logged(call):
    heard = Recorded()
    outcome = call(callbacks=[heard])
    assert heard.names() == ["begin", *["step"] * 4, "epoch", *["step"] * 4, "epoch", "end"]
    assert heard.heard[0][1] == (outcome.folder, 2)
    logged = [json.loads(line) for line in (outcome.folder / "metrics.jsonl").read_text().splitlines()]
    assert [event for _, event in heard.heard[1:-1]] == logged
    assert heard.heard[-2][1]["top1"] >= 0 and heard.heard[1][1]["step"] == 1


def test_a_callback_ends_a_run_which_goes_on_to_the_same_bits(call, tmp_path):
    whole = call("whole").folder
    heard = Recorded(stops=("step", 2))
    outcome = call(callbacks=[heard])
    assert heard.names() == ["begin", "step", "step", "end"]
    assert outcome.stopped.checkpoint.is_file() and "--resume" in str(outcome.stopped)
    assert glorext.train(resume=outcome.folder, quiet=True).stopped is None
    assert (outcome.folder / "best.ckpt").read_bytes() == (whole / "best.ckpt").read_bytes()


def test_a_callback_ends_a_run_after_an_epoch(call):
    outcome = call(callbacks=[Recorded(stops=("epoch", 1))])
    assert outcome.stopped and outcome.epoch == 1


def test_a_wish_to_stop_after_the_last_epoch_is_no_stop(call):
    assert call(callbacks=[Recorded(stops=("epoch", 2))]).stopped is None


@pytest.mark.parametrize("fails", [("step", 3), ("epoch", 1)])
def test_what_a_callback_raises_comes_through_with_the_state_saved(call, tmp_path, fails, caplog):
    failing, other = Recorded(fails=fails), Recorded()
    with pytest.raises(LookupError, match="of the user's own"):
        call(callbacks=[failing, other])
    assert failing.names()[-1] == fails[0] and other.names()[-1] == "end"
    assert RunFolder(tmp_path / "run", True).checkpoints() and "go on with --resume" in caplog.text


def test_what_a_callback_raises_at_the_beginning_ends_the_run_before_its_first_step(call, tmp_path):
    with pytest.raises(LookupError):
        call(callbacks=[Recorded(fails=("begin", 1))])
    assert not RunFolder(tmp_path / "run", True).checkpoints()


def test_one_that_must_not_end_a_run_is_a_warning(call, caplog):
    failing = Recorded(fails=("step", 2))
    failing.ends_a_run = False
    assert call(callbacks=[failing]).stopped is None
    assert failing.names() == ["begin", "step", "step"] and "Recorded failed and is told nothing more" in caplog.text


def test_it_trains_in_a_thread(call, tmp_path):
    whole = call("whole").folder
    found = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    assert (found[0].folder / "best.ckpt").read_bytes() == (whole / "best.ckpt").read_bytes()


def test_the_result_answers_pictures(call, tmp_path):
    outcome = call()
    (one,) = glorext.load(outcome.folder).predict([tmp_path / "val" / "ant" / "000.png"])
    assert one.label in ("ant", "bee")


def test_wrong_arguments_are_errors_of_the_same_classes(call, tmp_path):
    with pytest.raises(UsageError, match="no flag --learning_rate: did you mean --lr"):
        call(learning_rate=0.1)
    with pytest.raises(DataError, match="nowhere"):
        call(data=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="--data FOLDER"):
        glorext.train("digits")


def test_the_room_is_still_a_module_and_shows_the_functions_arguments():
    room: Any = sys.modules["glorext.train"]
    assert room is glorext.train and inspect.ismodule(room) and room.load_recipe("digits").network
    assert list(inspect.signature(glorext.train).parameters)[:3] == ["recipe", "data", "val"]
