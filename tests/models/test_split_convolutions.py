"""Grouped convolutions one group at a time: the same parameters and the same logits."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from glorext.models import create, weights_digest
from glorext.models.split_convolutions import split_convolutions

SMALL = {"layers": [1, 1, 1, 1], "groups": 4, "width_per_group": 4, "stem_width": 8, "num_classes": 5}


@pytest.mark.parametrize("compiled", [False, True])
def test_a_split_network_has_the_weights_and_logits_of_the_grouped_one(compiled):
    ms.set_seed(1)
    net = create("resnext50", **SMALL).set_train(False)
    for parameter in net.get_parameters():  # zero at first, so that no grouped convolution would count
        if parameter.name.endswith("bn3.gamma"):
            parameter.set_data(ms.Tensor(np.full(parameter.shape, 0.5, np.float32)))
    images = ms.Tensor(np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32))
    names, digest, logits = [p.name for p in net.get_parameters()], weights_digest(net), net(images).asnumpy()
    split_convolutions(net)
    assert [p.name for p in net.get_parameters()] == names and weights_digest(net) == digest
    assert all(
        primitive.group == 1
        for _, cell in net.cells_and_names()
        for primitive in [*vars(cell).values()]
        if isinstance(primitive, ops.Conv2D)
    )

    @ms.jit
    def forward(images):
        return net(images)

    found = (forward if compiled else net)(images).asnumpy()
    np.testing.assert_allclose(found, logits, atol=1e-6)
    assert np.ptp(logits) > 0.01
