"""The keys of a recipe that make better models: what each computes, against NumPy, and that runs go on to the bit."""

import dataclasses
import json
import os
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest

from glorext.models import create, save_checkpoint
from glorext.models.formats import read_tensors
from glorext.runtime.errors import RecipeError
from glorext.train import recipe_names
from glorext.train.averaging import PREFIX, WeightAverage
from glorext.train.loop import train
from glorext.train.loss import SmoothedCrossEntropy, balanced
from glorext.train.mixing import Mixer, draw_plan, mixes
from glorext.train.optimizer import make_optimizer, stage_of
from glorext.train.recipe import Recipe
from glorext.train.recipe_file import load_recipe
from glorext.train.run_folder import RunFolder

from .conftest import SMALL

ALL = {
    "optimizer": "adamw",
    "layer_decay": 0.7,
    "mixup": 0.2,
    "cutmix": 1.0,
    "random_erasing": 0.5,
    "class_weights": "balanced",
    "weight_average": 0.9,
    "early_stopping": 9,
    "clip_grad": 1.0,
    "micro_batch_size": 2,
}


def test_a_recipe_of_our_own_has_some_of_them():
    assert "finetune_strong" in recipe_names() and load_recipe("finetune_strong").optimizer == "adamw"


@pytest.mark.parametrize("name", [name for name in recipe_names() if name != "finetune_strong"])
def test_what_is_published_has_none_of_them(name):
    recipe, none = load_recipe(name), Recipe()
    assert not mixes(recipe)
    assert [key for key in ALL if getattr(recipe, key) != getattr(none, key)] == []


# ---- what is drawn


def plans(count=400, **keys):
    return [draw_plan(Recipe(seed=3, **keys), 4, 32, 0, step, 0) for step in range(count)]


def test_a_plan_follows_from_seed_epoch_step_and_rank_alone():
    recipe = Recipe(seed=3, mixup=0.2, cutmix=1.0, random_erasing=0.5)
    drawn = [draw_plan(recipe, 4, 32, *place) for place in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))]
    assert len({plan.mix.tobytes() + plan.erased.tobytes() for plan in drawn}) == 4
    again = draw_plan(recipe, 4, 32, 1, 0, 0)
    assert all((one == other).all() for one, other in zip(again, drawn[3]))


def test_mixup_draws_its_share_from_the_beta_distribution():
    shares = np.array([plan.mix[0] for plan in plans(mixup=0.4)])
    assert all(plan.mix[0] == plan.mix[1] and plan.mix[2:].tolist() == [0, 32, 0, 32] for plan in plans(9, mixup=0.4))
    # mean 1/2, variance 1 / (4 (2 alpha + 1))
    assert shares.mean() == pytest.approx(0.5, abs=0.06) and shares.var() == pytest.approx(1 / 7.2, abs=0.03)


def test_cutmix_gives_a_picture_the_share_of_its_visible_area():
    for plan in plans(cutmix=1.0):
        share, shows, top, bottom, left, right = plan.mix.tolist()
        assert shows == 0 and 0 <= top <= bottom <= 32 and 0 <= left <= right <= 32
        assert share == pytest.approx(1 - (bottom - top) * (right - left) / 1024)


def test_with_both_each_step_has_one_of_them():
    cut = sum(plan.mix[1] == 0 for plan in plans(mixup=0.4, cutmix=1.0))
    assert 150 < cut < 250


def test_erased_rectangles_have_the_papers_areas_and_ratios():
    holes = np.concatenate([plan.erased for plan in plans(random_erasing=0.3)])
    some = holes[holes[:, 1] > 0]
    heights, widths = some[:, 1] - some[:, 0], some[:, 3] - some[:, 2]
    assert len(some) / len(holes) == pytest.approx(0.3, abs=0.05)
    assert some.min() >= 0 and some.max() <= 32
    areas = heights * widths / 1024
    # a little more and less than 0.02, 1/3 and 0.3, 3.3: sides are whole pixels
    assert areas.min() > 0.01 and areas.max() < 0.37
    assert (heights / widths).min() > 0.2 and (heights / widths).max() < 5


# ---- what is computed


def rectangle(image, top, bottom, left, right):
    return image[..., int(top) : int(bottom), int(left) : int(right)]


@pytest.mark.parametrize(
    "keys", [{"mixup": 0.4}, {"cutmix": 1.0}, {"random_erasing": 1.0}, {"cutmix": 1.0, "random_erasing": 1.0}]
)
def test_pictures_are_erased_and_mixed_as_planned(keys):
    images = np.random.default_rng(0).normal(size=(4, 3, 16, 16)).astype(np.float32)
    plan = draw_plan(Recipe(seed=5, **keys), 4, 16, 0, 0, 0)
    wanted = images.copy()
    for one, hole in zip(wanted, plan.erased):
        rectangle(one, *hole)[:] = 0
    other, shows = wanted[::-1].copy(), plan.mix[1]
    inside = rectangle(wanted, *plan.mix[2:])
    inside[:] = shows * inside + (1 - shows) * rectangle(other, *plan.mix[2:])
    found = Mixer(16).images(*map(ms.Tensor, (images, *plan))).asnumpy()
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert not np.array_equal(found, images)


def test_the_loss_counts_both_classes_by_their_shares():
    logits = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    targets, mix = np.array([0, 4, 2, 1], np.int32), np.array([0.3, 0, 0, 8, 0, 8], np.float32)
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    wanted = -np.mean(0.3 * logs[range(4), targets] + 0.7 * logs[range(4), targets[::-1]])
    found = Mixer(8).loss(SmoothedCrossEntropy(5), *map(ms.Tensor, (logits, targets, mix)))
    assert float(found.asnumpy()) == pytest.approx(wanted, rel=1e-5)


def test_balanced_weights_are_scikit_learns_and_keep_the_size_of_the_loss():
    from sklearn.utils.class_weight import compute_class_weight

    targets = np.array([0] * 7 + [1] * 2 + [3], np.int32)
    weights = balanced(targets, 4)
    present = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=targets)
    np.testing.assert_allclose(weights, [present[0], present[1], 0, present[2]], rtol=1e-6)
    assert weights[targets].mean() == pytest.approx(1)


def test_the_loss_counts_a_picture_by_the_weight_of_its_class():
    logits, targets = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32), np.array([0, 1, 1], np.int32)
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    wanted = -np.mean(np.array([2.0, 0.5, 0.5]) * logs[range(3), targets])
    loss = SmoothedCrossEntropy(2, 0.0, np.array([2.0, 0.5], np.float32))(ms.Tensor(logits), ms.Tensor(targets))
    assert float(loss.asnumpy()) == pytest.approx(wanted, rel=1e-6)


def test_the_average_follows_the_weights_with_a_decay_that_grows():
    weight = ms.Parameter(ms.Tensor([1.0, -2.0], ms.float32), name="w")
    average, wanted = WeightAverage({"w": weight}, 0.5), np.array([1.0, -2.0])
    for step in range(1, 20):
        ms.ops.assign(weight, ms.Tensor([float(step), 0.5], ms.float32))
        average.update(ms.Tensor([step], ms.int32))
        decay = min(0.5, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * np.array([step, 0.5])
    np.testing.assert_allclose(average.parameters()[f"{PREFIX}w"].asnumpy(), wanted, rtol=1e-5)
    with average.in_place():
        np.testing.assert_allclose(weight.asnumpy(), wanted, rtol=1e-5)
    assert weight.asnumpy().tolist() == [19.0, 0.5]


def parameters(*names):
    return [ms.Parameter(ms.Tensor([1.0, -2.0], ms.float32), name=name) for name in names]


def test_stages_are_told_by_names():
    assert [
        stage_of(name, "head.") for name in ("backbone.conv.weight", "layer1.0.x", "a.layer4.2.x", "head.fc.bias")
    ] == [0, 1, 4, 5]


def test_lower_stages_learn_slower():
    names = ("backbone.conv.weight", "backbone.layer4.0.conv1.weight", "head.fc.weight")
    given = parameters(*names)
    recipe = Recipe(layer_decay=0.5, weight_decay=0.0, momentum=0.0)
    optimizer = make_optimizer(given, np.array([0.1, 0.1], np.float32), recipe)
    optimizer(tuple(ms.Tensor([1.0, 1.0]) for _ in given))
    moved = [1 - float(p.asnumpy()[0]) for p in given]
    np.testing.assert_allclose(moved, [0.1 * 0.5**5, 0.1 * 0.5, 0.1], rtol=1e-4)


def test_adamw_decays_the_weights_beside_the_gradient():
    (given,) = parameters("x.weight")
    optimizer = make_optimizer([given], np.full(2, 0.1, np.float32), Recipe(optimizer="adamw", weight_decay=0.5))
    w, m, v = np.array([1.0, -2.0]), 0, 0
    for gradient in (np.array([0.5, 0.25]), np.array([-1.0, 2.0])):
        optimizer((ms.Tensor(gradient, ms.float32),))
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        w = w - 0.1 * (m / (np.sqrt(v) + 1e-6) + 0.5 * w)
    np.testing.assert_allclose(given.asnumpy(), w, rtol=1e-4)


def test_lamb_is_refused_where_mindspore_has_none(draw, recipe, tmp_path):
    with pytest.raises(RecipeError, match="MindSpore has no LAMB on the CPU.*key optimizer"):
        train(recipe(optimizer="lamb"), draw(), device="CPU", quiet=True)
    assert not (tmp_path / "run").exists()


# ---- whole runs


def everything(folder):
    return read_tensors(RunFolder(folder, resume=True).checkpoints()[0])


def test_the_best_weights_are_the_average(draw, recipe, tmp_path):
    train(recipe(weight_average=0.9, epochs=1), draw(), draw("val", seed=1), device="CPU", quiet=True)
    kept, best = everything(tmp_path / "run"), read_tensors(tmp_path / "run" / "best.ckpt")
    assert all((best[name] == kept[PREFIX + name]).all() for name in best)
    assert not all((best[name] == kept[name]).all() for name in best)


def test_a_run_ends_where_nothing_gets_better_and_does_not_go_on(draw, recipe, tmp_path, caplog):
    data, val = draw(), draw("val", seed=1)
    changes = {"lr": 0.0, "epochs": 9, "early_stopping": 2}
    first = train(recipe(**changes), data, val, device="CPU", quiet=True)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert first.epoch == 1 and first.stopped is None
    epochs = [json.loads(line)["epoch"] for line in lines.splitlines() if '"event": "epoch"' in line]
    assert epochs == [1, 2, 3]
    train(recipe(**changes), data, val, device="CPU", quiet=True, resume="auto")
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == lines


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "source.ckpt"
    save_checkpoint(create("resnext50", **SMALL, num_classes=7), path)
    return path


@pytest.mark.parametrize("optimizer", ["adamw", "momentum"])
def test_a_run_with_everything_goes_on_to_the_bit(draw, recipe, source, tmp_path, optimizer):
    data, val = draw(), draw("val", seed=1)
    keys = {**ALL, "optimizer": optimizer, "pretrained": str(source), "new_head": True, "freeze_epochs": 1, "epochs": 3}

    def folder(name):
        return recipe(ckpt_path=str(tmp_path / name), **keys)

    train(folder("whole"), data, val, device="CPU", quiet=True)
    for stop in (2, 4, 7, None):  # in the frozen epoch, at its end, in the middle of a later one
        resume = {"resume": "auto"} if (tmp_path / "parts").exists() else {}
        train(folder("parts"), data, val, device="CPU", quiet=True, stop_after=stop, **resume)
    one, other = everything(tmp_path / "whole"), everything(tmp_path / "parts")
    assert one.keys() == other.keys() and [name for name in one if one[name].tobytes() != other[name].tobytes()] == []
    assert (tmp_path / "whole" / "best.ckpt").read_bytes() == (tmp_path / "parts" / "best.ckpt").read_bytes()


@pytest.fixture
def flags(draw, source):
    """The flags of a short run with everything."""
    given = ["--data", str(draw()), "--val_dir", str(draw("val", seed=1)), "--recipe", "digits", "--from", str(source)]
    given += ["--network_args", json.dumps(SMALL), "--input", '{"size": 16, "resize": 16}', "--batch_size", "4"]
    given += ["--workers", "1", "--epochs", "3", "--freeze_epochs", "1", "--device", "CPU"]
    return given + [f"--{key}={value}" for key, value in ALL.items()]


def commanded(words, seed):
    done = subprocess.run(
        [sys.executable, "-m", *words], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stderr, "MindSpore's notes inside the bar"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["0", "1"])
def test_the_check_of_going_on_holds_with_everything_whatever_the_hash_seed(flags, seed):
    shown = commanded(["glorext.train", *flags, "--verify-resume", "8"], seed)
    assert "the same to the bit after 8 steps" in shown


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_runs_end_with_equal_bits_whatever_the_hash_seed(flags, tmp_path, devices):
    """And begin so: ranks whose weights differ at the start end the run."""
    found = []
    for seed in ("0", "1", "random"):
        out = tmp_path / f"run{seed}"
        start = ["glorext", "train"] if devices == 1 else ["glorext.train.launch", "--devices", "2", "train"]
        commanded([*start, *flags, "--out", str(out)], seed)
        found.append({name: tensor.tobytes() for name, tensor in everything(out).items()})
    assert found[0] == found[1] == found[2]


def test_a_checkpoint_with_all_of_it_is_read_as_weights(draw, recipe, tmp_path):
    from glorext.hub.open_model import open_model
    from glorext.train.initial import fresh_network

    train(recipe(**ALL, epochs=1), draw(), draw("val", seed=1), device="CPU", quiet=True)
    path = RunFolder(tmp_path / "run", resume=True).checkpoints()[0]
    model = open_model(path)
    net = fresh_network(dataclasses.replace(recipe(), num_classes=2), model)
    kept = read_tensors(path)
    assert all((p.asnumpy() == kept[p.name]).all() for p in net.get_parameters())
