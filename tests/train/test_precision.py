"""Mixed precision, loss scales, overflow, non-finite losses, frozen backbones and kills."""

import json
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest

from glorext.models import create, read_checkpoint, save_checkpoint, weights_digest
from glorext.models.formats import read_tensors
from glorext.runtime import cli
from glorext.runtime.errors import RecipeError
from glorext.train import loop, overflow
from glorext.train import step as step_module
from glorext.train.initial import in_precision
from glorext.train.loop import train
from glorext.train.nonfinite import NonFiniteError, first_nonfinite_layer
from glorext.train.overflow import HOPELESS, Patience
from glorext.train.recipe import Recipe
from glorext.train.step import TrainStep, make_scaler, norm_and_check

from .conftest import SMALL
from .overflow_on_one import Overflowing, Register


def small_step(level, **changes):
    ms.set_seed(1)
    net = create("resnext50", **SMALL, num_classes=2)
    model = ms.amp.auto_mixed_precision(net, level)
    model.set_train(True)
    recipe = Recipe(**changes)
    return net, TrainStep(model, net.trainable_params(), recipe, np.full(50, 0.05, np.float32), 2, level)


def batch():
    generator = np.random.default_rng(0)
    return ms.Tensor(generator.normal(size=(4, 3, 16, 16)).astype(np.float32)), ms.Tensor([0, 1, 0, 1], ms.int32)


def one_update(level):
    net, step = small_step(level, loss_scale=128.0, weight_decay=0.0)
    before = net.head.fc.weight.asnumpy().copy()
    loss, grad_norm, finite, *_ = step(*batch())
    assert finite and step.scale == (1.0 if level == "O0" else 128.0)
    # Without weight decay the first moments are the gradients.
    squares = sum(np.square(p.asnumpy()).sum() for p in step.optimizer.moments)
    assert grad_norm == pytest.approx(np.sqrt(squares), rel=1e-4) and grad_norm > 0
    return net, loss, net.head.fc.weight.asnumpy() - before


@pytest.fixture(scope="module")
def single_precision():
    return one_update("O0")[1:]


@pytest.mark.parametrize("level", ["O2", "O3", "auto"])
def test_every_level_gives_nearly_the_same_step(level, single_precision):
    net, loss, moved = one_update(level)
    expected, expected_move = single_precision
    assert loss == pytest.approx(expected, rel=5e-3)
    np.testing.assert_allclose(moved, expected_move, atol=0.05 * np.abs(expected_move).max())
    assert all(p.dtype == ms.float32 for p in net.get_parameters())


@pytest.mark.parametrize("level", ["O0", "O3"])
def test_gradients_are_scaled_down_to_the_norm_that_the_recipe_allows(level):
    def first_moments(clip):
        _, step = small_step(level, loss_scale=128.0, weight_decay=0.0, clip_grad=clip)
        norm = step(*batch()).grad_norm
        return norm, np.concatenate([p.asnumpy().ravel().astype(np.float64) for p in step.optimizer.moments])

    norm, free = first_moments(0.0)
    half_norm, half = first_moments(norm / 2)
    above_norm, above = first_moments(norm * 2)
    assert norm == half_norm == above_norm and (above == free).all()
    assert half == pytest.approx(free / 2, rel=2e-3, abs=1e-7)


@pytest.mark.parametrize("dynamic", [False, True])
def test_an_overflow_skips_the_update_and_counts_the_step(dynamic):
    net, step = small_step("O3", loss_scale=2.0**32, dynamic_loss_scale=dynamic)
    before = {p.name: p.asnumpy().copy() for p in net.trainable_params()}
    loss, _, finite, stops, *_ = step(*batch())
    assert np.isfinite(loss) and not finite and not stops
    assert all((before[p.name] == p.asnumpy()).all() for p in net.trainable_params())
    assert step.optimizer.global_step.asnumpy() == 1
    assert step.scale == (2.0**31 if dynamic else 2.0**32)
    if dynamic:
        while not finite:
            finite = step(*batch()).finite
        assert step.scale < 2.0**31 and any((before[p.name] != p.asnumpy()).any() for p in net.trainable_params())


@pytest.mark.parametrize(
    "value, finite", [(1e9, True), (-1e-45, True), (np.inf, False), (-np.inf, False), (np.nan, False)]
)
def test_one_element_decides_whether_gradients_are_finite(value, finite):
    gradients: list[np.ndarray] = [
        np.full((300, 400), 3e5, np.float32),
        np.zeros((2, 3), np.float32),
        np.ones(5, np.float16),
    ]
    gradients[1][1, 2] = value
    norm, found = ms.jit(norm_and_check())(tuple(map(ms.Tensor, gradients)))
    assert bool(found.asnumpy()) == finite
    if finite:
        expected = np.sqrt(sum(np.square(gradient.astype(np.float64)).sum() for gradient in gradients))
        assert float(norm.asnumpy()) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("skips", [True, False])
def test_only_an_overflow_during_the_step_counts_and_the_recipe_says_what_follows(skips, monkeypatch):
    register = Register()
    monkeypatch.setattr(step_module, "overflow_register", lambda: register)
    net = create("resnext50", **SMALL, num_classes=2)
    model = Overflowing(net, register).set_train(False)
    recipe = Recipe(skip_overflow=skips)
    step = TrainStep(model, net.trainable_params(), recipe, np.full(50, 0.05, np.float32), 2, "O2")
    images, targets = batch()
    moved = []
    for before, factor in ((0.0, 1), (0.0, 100), (1.0, 1)):  # the last after an evaluation that overflowed
        register.mark.set_data(ms.Tensor(before, ms.float32))
        weights = weights_digest(net)
        result = step(images * factor, targets)
        moved.append((result.finite, weights_digest(net) != weights))
        assert np.isfinite(result.grad_norm)
    assert moved == [(True, True), (False, not skips), (True, True)]


def test_a_run_that_skips_no_step_goes_on_for_as_long_as_its_gradients_are_finite():
    always, skipping = Recipe(skip_overflow=False), Recipe()
    assert Recipe(skip_overflow=False, dynamic_loss_scale=True).skips_overflow
    for recipe, scaled, limit in (
        (always, True, 1),
        (always, False, 1),
        (skipping, False, 1),
        (skipping, True, HOPELESS),
    ):
        patience = Patience(recipe, scaled)
        for _ in range(limit):
            assert bool(patience.lasts())
            patience.lose(ms.Tensor(True))
        assert not patience.lasts() and patience.missed.asnumpy() == limit
    lost = Patience(skipping, True)
    lost.lose(ms.Tensor(False))  # the loss itself
    assert not lost.lasts()


def test_infinite_gradients_end_a_run_that_skips_no_step(draw, recipe):
    with pytest.raises(NonFiniteError, match="epoch 1 step 1 .*--skip_overflow true"):
        train(recipe(amp_level="O3", loss_scale=2.0**32, skip_overflow=False), draw(each=8), device="CPU", quiet=True)


def test_split_convolutions_train_as_grouped_ones(draw, recipe, tmp_path):
    data, found = draw(each=8), []
    for form in ("grouped", "split"):
        folder = tmp_path / form
        outcome = train(recipe(conv_form=form, epochs=1, ckpt_path=str(folder)), data, device="CPU", quiet=True)
        found.append(read_checkpoint(outcome.folder / "best.ckpt").weights)
    grouped, split = found
    assert grouped.keys() == split.keys()
    # Gradients are summed in another order.
    assert max(np.abs(grouped[name] - split[name]).max() for name in grouped) < 1e-4


def test_bfloat16_is_taken_only_where_the_chip_has_it(monkeypatch, draw, recipe):
    net, wish = create("resnext50", **SMALL, num_classes=2), Recipe(amp_dtype="bfloat16")
    with pytest.raises(RecipeError, match="bfloat16 on CPU at O2.*key amp_dtype"):
        train(recipe(amp_dtype="bfloat16", amp_level="O2"), draw(), device="CPU", quiet=True)
    monkeypatch.setattr("glorext.runtime.device.chip", lambda: "Ascend910A")
    monkeypatch.setattr("glorext.train.initial.chip", lambda: "Ascend910A")
    with pytest.raises(RecipeError, match="bfloat16 on Ascend910A at O2"):
        in_precision(net, wish, "Ascend")
    monkeypatch.setattr("glorext.runtime.device.chip", lambda: "Ascend910B3")
    with pytest.raises(RecipeError, match="at O0"):
        in_precision(net, Recipe(amp_dtype="bfloat16", amp_level="O0"), "Ascend")
    model = in_precision(net, wish, "Ascend")
    assert any(cell.bf16 for _, cell in model.cells_and_names() if hasattr(cell, "bf16"))
    assert make_scaler(wish, "O2") is None and make_scaler(Recipe(), "O2") is not None


def test_the_chip_in_use_says_whether_its_register_is_asked(monkeypatch, caplog):
    monkeypatch.delenv("MS_ASCEND_CHECK_OVERFLOW_MODE", raising=False)
    asked = []
    for soc in (None, "Ascend910ProB", "Ascend910B3", "Ascend999"):
        monkeypatch.setattr("glorext.runtime.device.chip", lambda soc=soc: soc)
        asked.append(overflow.overflow_register() is not None)
    assert asked == [False, True, False, False] and "Ascend999 is not among the known chips" in caplog.text


def test_equal_bits_are_asked_for_before_the_processes_join(draw, recipe, monkeypatch):
    calls = []
    monkeypatch.setattr(loop, "set_deterministic", lambda: calls.append("deterministic"))

    def join(device, device_id):
        calls.append("join")
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "join_group", join)
    for wish in (True, False):
        with pytest.raises(KeyboardInterrupt):
            train(recipe(deterministic=wish), draw(f"train{wish}"), device="CPU", quiet=True)
    assert calls == ["deterministic", "join", "join"]
    probe = "import os; from glorext.runtime.device import set_deterministic as s; s(); s()"
    done = subprocess.run(
        [sys.executable, "-c", probe + "; print(os.environ['HCCL_DETERMINISTIC'])"], capture_output=True, text=True
    )
    assert done.stdout.split()[-1:] == ["true"], done.stderr


def test_overflows_of_a_run_are_counted_and_shown(draw, recipe, tmp_path, capsys):
    train(recipe(amp_level="O3", loss_scale=2.0**20, dynamic_loss_scale=True, epochs=1), draw(each=16), device="CPU")
    events = map(json.loads, (tmp_path / "run" / "metrics.jsonl").open())
    steps = [event for event in events if event["event"] == "step"]
    skipped = [event["grad_norm"] is None for event in steps]
    assert 0 < sum(skipped) < len(steps) == 8
    assert [event["overflows"] for event in steps] == np.cumsum(skipped).tolist()
    assert [event["loss_scale"] for event in steps] == (2.0 ** (20 - np.cumsum(skipped))).tolist()
    assert f", {sum(skipped)} skipped" in capsys.readouterr().err


def test_overflows_without_end_stop_the_run(draw, recipe, monkeypatch):
    monkeypatch.setattr(overflow, "HOPELESS", 6)
    with pytest.raises(NonFiniteError, match=r"epoch 2 step 2 .*loss scale 4\.29"):
        train(recipe(amp_level="O3", loss_scale=2.0**32, epochs=3), draw(each=8), device="CPU", quiet=True)


def test_a_non_finite_loss_stops_the_run_and_names_its_cause(draw, recipe):
    with pytest.raises(NonFiniteError) as failure:
        train(recipe(lr=900.0, warmup_epochs=0, epochs=20), draw(each=8), device="CPU", quiet=True)
    text = str(failure.value)
    assert "at epoch" in text and "loss scale 1" in text and ".png" in text and "lr" in text


def test_the_first_non_finite_layer_is_named():
    net = create("resnext50", **SMALL, num_classes=2)
    net.set_train(False)
    images = batch()[0]
    assert first_nonfinite_layer(net, images, 2) is None
    weight = net.backbone.layer2[0].conv2.weight
    weight.set_data(ms.Tensor(np.full(weight.shape, np.inf, np.float32)))
    assert first_nonfinite_layer(net, images, 2) == "backbone.layer2.0.conv2"


def test_a_frozen_backbone_does_not_move_and_then_does(draw, recipe, tmp_path):
    source = create("resnext50", **SMALL, num_classes=7)
    save_checkpoint(source, tmp_path / "source.ckpt")
    before = read_checkpoint(tmp_path / "source.ckpt").weights
    run = recipe(
        pretrained=str(tmp_path / "source.ckpt"), new_head=True, freeze_epochs=1, epochs=2, keep_checkpoint_max=2
    )
    train(run, draw(each=8), device="CPU", quiet=True)
    frozen = read_tensors(tmp_path / "run" / "resnext50-1_4.ckpt")
    after = read_tensors(tmp_path / "run" / "resnext50-2_4.ckpt")
    backbone = [name for name in before if name.startswith("backbone.")]
    assert all((frozen[name] == before[name]).all() for name in backbone)
    assert sum((after[name] != before[name]).any() for name in backbone) > len(backbone) / 2
    assert frozen["head.fc.weight"].shape[0] == 2
    assert (tmp_path / "run" / "labels.txt").read_text() == "ant\nbee\n"


def test_weight_init_fills_the_convolutions():
    from glorext.train.initial import fresh_network

    deviations = {}
    for kind in ("he_normal", "he_uniform", "xavier_uniform"):
        net = fresh_network(Recipe(network_args=SMALL, num_classes=2, weight_init=kind))
        weight = net.backbone.layer4[0].conv3.weight.asnumpy()  # 256 x 64 x 1 x 1
        deviations[kind] = weight.std() * np.sqrt(weight.shape[0] / 2), np.abs(weight).max() / weight.std()
    assert deviations["he_normal"][0] == pytest.approx(1, rel=0.05) and deviations["he_normal"][1] > 3
    assert deviations["he_uniform"][0] == pytest.approx(1, rel=0.05) and deviations["he_uniform"][1] < 1.8
    fan = np.sqrt(2 / (256 + 64)) * np.sqrt(256 / 2)
    assert deviations["xavier_uniform"][0] == pytest.approx(fan, rel=0.05)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(draw, capsys):
    assert (
        cli.main(
            [
                "train",
                "--recipe",
                "digits",
                "--network_args",
                str(SMALL).replace("'", '"'),
                "--input",
                '{"size": 16, "resize": 16}',
                "--batch_size",
                "4",
                "--augmentation",
                "color_jitter",
                "--epochs",
                "3",
                "--data_dir",
                str(draw(each=16)),
                "--device_target",
                "CPU",
                "--verify_resume",
                "12",
            ]
        )
        == 0
    )
    assert "the same to the bit after 12 steps" in capsys.readouterr().out
