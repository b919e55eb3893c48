"""Loss, parameter groups and the numbers of one update against formulas worked out in NumPy."""

import mindspore as ms
import numpy as np
import pytest

from glorext.models import create
from glorext.train.loss import SmoothedCrossEntropy
from glorext.train.optimizer import decayed, make_optimizer
from glorext.train.recipe import Recipe


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_smoothing_gives_the_other_classes_a_share_of_k_minus_one(smoothing):
    logits = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    targets = np.array([0, 4, 2, 2, 1, 3], np.int32)
    soft = np.full((6, 5), smoothing / 4)
    soft[np.arange(6), targets] = 1 - smoothing
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    loss = SmoothedCrossEntropy(5, smoothing)(ms.Tensor(logits), ms.Tensor(targets))
    np.testing.assert_allclose(loss.asnumpy(), -(soft * logs).sum(1).mean(), rtol=1e-6)


@pytest.mark.parametrize("network, counts", [("resnext50", (54, 107)), ("glore_res50", (71, 129))])
def test_weight_decay_spares_biases_gamma_and_beta(network, counts):
    from mindspore.nn.utils import no_init_parameters

    with no_init_parameters():
        parameters = create(network).trainable_params()
    with_decay, without = decayed(parameters)
    assert (len(with_decay), len(without)) == counts
    assert all(p.name.endswith("weight") for p in with_decay)


def test_update_is_momentum_with_decay_and_the_rate_of_the_step():
    weight = ms.Parameter(ms.Tensor([1.0, -2.0], ms.float32), name="x.weight")
    gamma = ms.Parameter(ms.Tensor([3.0], ms.float32), name="x.gamma")
    optimizer = make_optimizer([gamma, weight], np.array([0.1, 0.01], np.float32), Recipe(weight_decay=0.5))
    w, g, mw, mg = np.array([1.0, -2.0]), np.array([3.0]), 0, 0
    for rate in (0.1, 0.01):
        optimizer((ms.Tensor([1.0]), ms.Tensor([0.5, 0.25])))
        mw, mg = 0.9 * mw + np.array([0.5, 0.25]) + 0.5 * w, 0.9 * mg + 1.0
        w, g = w - rate * mw, g - rate * mg
    np.testing.assert_allclose(weight.asnumpy(), w, rtol=1e-6)
    np.testing.assert_allclose(gamma.asnumpy(), g, rtol=1e-6)
