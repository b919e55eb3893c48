"""Validation pictures held out of one folder: the same share of each class, the same at every start, in file lists."""

import json
import shutil

import numpy as np
import pytest

from glorext.models.evaluation import parse_evaluation
from glorext.runtime.errors import DataError, RecipeError, UsageError
from glorext.train.command import parse
from glorext.train.data import list_pictures
from glorext.train.evaluate import main as evaluate_command
from glorext.train.loop import train
from glorext.train.split import divided, held_out_indices, listed


def test_each_class_gives_its_share():
    targets = np.array([0] * 10 + [1] * 100 + [2] * 2 + [3])
    indices = held_out_indices(targets, 0.2, seed=1)
    assert np.bincount(targets[indices], minlength=4).tolist() == [2, 20, 1, 0]
    assert indices.tolist() == held_out_indices(targets, 0.2, seed=1).tolist()
    assert indices.tolist() != held_out_indices(targets, 0.2, seed=2).tolist()
    # A picture more in one class changes nothing in the others.
    assert set(indices[:2]) == set(held_out_indices(targets[:-1], 0.2, seed=1)[:2])


def test_both_parts_together_are_the_folder(draw):
    pictures = list_pictures(draw(each=8))
    kept, held_out = divided(pictures, 0.25, 1, None)
    assert (len(kept), len(held_out)) == (12, 4)
    assert sorted(kept.paths + held_out.paths) == sorted(pictures.paths)
    with pytest.raises(DataError, match="two or more"):
        divided(list_pictures(draw("one", each=1)), 0.25, 1, None)


def test_a_run_keeps_its_split_and_an_evaluation_reads_it(draw, recipe, tmp_path, capsys):
    data, run, again = draw(each=8), tmp_path / "run", tmp_path / "again"
    made = recipe(val_split=0.25, epochs=2)
    assert train(made, data, device="CPU", quiet=True, stop_after=4).stopped
    lists = {name: (run / name).read_text().splitlines() for name in ("train_files.txt", "val_files.txt")}
    assert [len(names) for names in lists.values()] == [12, 4]
    shutil.copy(data / "bee" / "000.png", data / "bee" / "new.png")  # belongs to neither part
    outcome = train(made, data, device="CPU", quiet=True, resume="auto")
    assert {name: (run / name).read_text().splitlines() for name in lists} == lists
    result = parse_evaluation((run / "eval.json").read_bytes())
    assert result.count == 4 and result.top1 == outcome.top1
    argv = [str(run), "--data", str(data), "--files", str(run / "val_files.txt"), "--platform", "CPU", "--json"]
    assert evaluate_command(argv) == 0
    measured = json.loads(capsys.readouterr().out)
    assert (measured["count"], measured["top1"], measured["data"]) == (4, result.top1, result.data)

    (data / "bee" / "new.png").unlink()  # without a stop, and in another folder: the same bits
    whole = train(recipe(val_split=0.25, epochs=2, ckpt_path=str(again)), data, device="CPU", quiet=True)
    assert whole.top1 == outcome.top1
    for name in (*lists, "best.ckpt"):
        assert (again / name).read_bytes() == (run / name).read_bytes()


def test_a_split_that_cannot_be_is_refused(draw, recipe, tmp_path):
    data, run = draw(each=8), tmp_path / "run"
    with pytest.raises(UsageError, match="share of the training pictures"):
        train(recipe(val_split=0.25), data, data, device="CPU")
    with pytest.raises(RecipeError, match="val_split"):
        recipe(val_split=1.0)
    assert parse(["--recipe", "digits", "--data_dir", "D", "--val_split", "0.2"])[1].val_split == 0.2
    run.mkdir()
    pictures = list_pictures(data)
    for text, found in (("ant/gone.png\nant/000.png\n", "'ant/gone.png', one of 1"), ("\n", "an empty list")):
        (run / "list").write_text(text)
        with pytest.raises(DataError, match=found):
            listed(pictures, run / "list")
    with pytest.raises(DataError, match="No such file"):
        listed(pictures, run / "nowhere")
