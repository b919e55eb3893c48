"""Steps in parts, and batch norms over all devices."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn
from mindspore.nn.layer import normalization

from glorext.models import create
from glorext.models.sync_batch_norm import sync_batch_norms
from glorext.runtime.errors import RecipeError
from glorext.train import step as step_module
from glorext.train.loop import train
from glorext.train.mixing import draw_plan
from glorext.train.recipe import Recipe
from glorext.train.step import TrainStep

from .conftest import SMALL
from .overflow_on_one import Overflowing, Register

BATCH = 6


def network(training):
    ms.set_seed(1)
    net = create("resnext50", **SMALL, num_classes=2)
    for parameter in net.get_parameters():  # gamma starts as zero in each block's last batch norm: let all parts learn
        if parameter.name.endswith("bn3.gamma"):
            parameter.set_data(ms.Tensor(np.full(parameter.shape, 0.5, np.float32)))
    return net.set_train(training)


def step_of(net, **keys):
    recipe = Recipe(**{"batch_size": BATCH, "input": {"size": 16}, **keys})
    return TrainStep(net, net.trainable_params(), recipe, np.full(4, 0.05, np.float32), 2), recipe


def pictures(seed=0):
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(BATCH, 3, 16, 16)).astype(np.float32)
    return images, generator.integers(0, 2, BATCH).astype(np.int32)


def weights(net):
    return {p.name: p.asnumpy().copy() for p in net.get_parameters()}


@pytest.mark.parametrize(
    "at_once, keys", [(1, {}), (2, {"class_weights": "balanced", "clip_grad": 0.5}), (3, {"random_erasing": 1.0})]
)
def test_parts_give_what_the_whole_gives_where_pictures_do_not_meet(at_once, keys):
    found = []
    for size in (0, at_once):
        net = network(training=False)
        step, recipe = step_of(net, micro_batch_size=size, **keys)
        plans = [draw_plan(recipe, BATCH, 16, 0, i, 0) if recipe.random_erasing else None for i in range(3)]
        results = [step(*map(ms.Tensor, pictures(i)), plan=plan) for i, plan in enumerate(plans)]
        found.append((results, weights(net)))
    (whole, one), (parts, other) = found
    np.testing.assert_allclose([r[:2] for r in parts], [r[:2] for r in whole], rtol=1e-4)
    for name in one:
        np.testing.assert_allclose(other[name], one[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_the_gradient_is_the_mean_of_the_parts_and_batch_norms_see_one_after_the_other():
    keys = {"momentum": 0.0, "weight_decay": 0.0}
    images, targets = pictures()
    net = network(training=True)
    step_of(net, micro_batch_size=3, **keys)[0](ms.Tensor(images), ms.Tensor(targets))
    found, alone = weights(net), []
    for rows in (slice(0, 3), slice(3, 6)):
        net = network(training=True)
        step_of(net, batch_size=3, **keys)[0](ms.Tensor(images[rows]), ms.Tensor(targets[rows]))
        alone.append(weights(net))
    start = weights(network(training=True))
    for name, value in found.items():
        wanted = (alone[0][name] + alone[1][name]) / 2
        if "moving" in name:  # momentum 0.9: 0.9 (0.9 start + 0.1 first) + 0.1 second
            wanted = 0.9 * alone[0][name] + alone[1][name] - 0.9 * start[name]
        np.testing.assert_allclose(value, wanted, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("part", [0, 1])
def test_what_overflows_in_any_part_updates_nothing_and_the_next_step_is_clean(part, monkeypatch):
    register = Register()
    monkeypatch.setattr(step_module, "overflow_register", lambda: register)
    net = network(training=False)
    recipe = Recipe(batch_size=BATCH, micro_batch_size=3, input={"size": 16}, dynamic_loss_scale=True)
    model = Overflowing(net, register).set_train(False)
    step = TrainStep(model, net.trainable_params(), recipe, np.full(4, 0.05, np.float32), 2, "O2")
    images, targets = pictures()
    bad = images.copy()
    bad[3 * part] = 60
    before = weights(net)
    result = step(ms.Tensor(bad), ms.Tensor(targets))
    assert not result.finite and all((before[name] == value).all() for name, value in weights(net).items())
    assert step(ms.Tensor(images), ms.Tensor(targets)).finite
    one = network(training=False)
    step_of(one)[0](ms.Tensor(images), ms.Tensor(targets))
    for name, value in weights(net).items():
        np.testing.assert_allclose(value, weights(one)[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_an_infinite_part_is_forgotten():
    net = network(training=False)
    step, _ = step_of(net, micro_batch_size=3)
    images, targets = pictures()
    bad = images.copy()
    bad[0] = np.inf
    before = weights(net)
    assert not step(ms.Tensor(bad), ms.Tensor(targets)).finite
    assert all((before[name] == value).all() for name, value in weights(net).items())
    good = TrainStep(net, net.trainable_params(), Recipe(batch_size=BATCH), np.full(4, 0.05, np.float32), 2)
    assert np.isfinite(good(ms.Tensor(images), ms.Tensor(targets)).loss)


def test_a_part_that_does_not_divide_the_batch_is_refused():
    with pytest.raises(RecipeError, match=r"a divisor of batch_size, 128.*micro_batch_size"):
        Recipe(micro_batch_size=30)


# ---- batch norms over all devices


def test_batch_norms_become_mindsporess_over_all_devices_under_the_same_names(monkeypatch):
    monkeypatch.setattr(normalization, "get_rank", lambda: 0)
    monkeypatch.setattr(normalization, "get_group_size", lambda: 8)
    monkeypatch.setattr(normalization.context, "get_context", lambda key: "Ascend")
    net = create("resnext50", **SMALL, num_classes=2)
    before = list(weights(net))
    norms = [cell for _, cell in net.cells_and_names() if isinstance(cell, nn.BatchNorm2d)]
    sync_batch_norms(net)
    assert list(weights(net)) == before and len(norms) > 10
    for cell in norms:
        made = cell.bn_train
        assert (made.name, made.device_num, made.group) == ("SyncBatchNorm", 8, "hccl_world_group")
        assert made.epsilon == pytest.approx(cell.eps) and made.momentum == pytest.approx(cell.momentum)


@pytest.mark.parametrize(
    "keys, named",
    [({"sync_batch_norm": True}, "on Ascend alone"), ({"early_stopping": 3}, "validation pictures: --val_dir")],
)
def test_what_cannot_be_is_refused_before_a_run_begins(draw, recipe, tmp_path, keys, named):
    with pytest.raises(RecipeError, match=named):
        train(recipe(**keys), draw(), device="CPU", quiet=True)
    assert not (tmp_path / "run").exists()
