"""The networks compute what the papers say, learn, stay finite, and leave the framework whole."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from glorext.models import create, spec

from . import numpy_networks


def logits_of(net, pictures):
    net.set_train(False)
    return net(ms.Tensor(pictures)).asnumpy()


def reference(name, weights, pictures, **options):
    return numpy_networks.FORWARD[spec(name).family.name](weights, pictures.astype(np.float64), **options)


def every_network_and_both_pools_once(function):
    """All networks with the published pool, one of them with the other: the pool is the same code in all."""
    cases = [("resnext50", "torch"), *((name, "same") for name in ("resnext50", "glore_res50", "glore_res101"))]
    return pytest.mark.parametrize("name, stem_pool", cases)(function)


@every_network_and_both_pools_once
def test_logits_equal_an_independent_float64_implementation(name, small, weights, pictures, mode, stem_pool):
    stored = weights(name, stem_pool)
    net = create(name, checkpoint=stored, num_classes=5, stem_pool=stem_pool, **small[name])
    expected = reference(name, stored, pictures, stem_pool=stem_pool)
    assert 0.1 < expected.std() < 10
    assert np.abs(logits_of(net, pictures) - expected).max() < 1e-4


def test_the_two_stem_pools_differ(name, weights, pictures):
    same, torch = (reference(name, weights(name), pictures, stem_pool=pool) for pool in ("same", "torch"))
    assert np.abs(same - torch).max() > 0.01


@pytest.mark.parametrize("channels", [1, 4])
def test_pictures_of_other_channels(name, small, channels):
    net = create(name, in_channels=channels, num_classes=3, **small[name])
    assert logits_of(net, np.zeros((2, channels, 32, 32), np.float32)).shape == (2, 3)


def test_without_top_the_output_is_the_last_feature_map(name, small, weights, pictures):
    whole = create(name, checkpoint=weights(name), num_classes=5, **small[name])
    features = create(name, checkpoint=weights(name), include_top=False, **small[name])
    found = logits_of(features, pictures)
    assert found.shape == (2, 256, 2, 3)
    head = {"resnext50": "head.fc", "glore_res50": "end_point", "glore_res101": "classifier"}[name]
    expected = numpy_networks.Network(weights(name), 0).logits(found.astype(np.float64), head)
    assert np.abs(logits_of(whole, pictures) - expected).max() < 1e-4


def test_a_fresh_glore_unit_is_the_identity(pictures):
    from mindspore.common.initializer import XavierUniform

    from glorext.models.glore_unit import GloReUnit

    unit = GloReUnit(8, 4, XavierUniform())
    x = np.random.default_rng(0).normal(0, 3, (2, 8, 5, 7)).astype(np.float32)
    for train in (True, False):
        unit.set_train(train)
        assert np.array_equal(unit(ms.Tensor(x)).asnumpy(), x)


def moved_by(net, optimizer, pictures, labels):
    before = {parameter.name: parameter.asnumpy().copy() for parameter in net.trainable_params()}
    loss = nn.CrossEntropyLoss()
    step = ms.value_and_grad(lambda x, y: loss(net(x), y), None, optimizer.parameters)
    optimizer(step(ms.Tensor(pictures), ms.Tensor(labels))[1])
    return {
        parameter.name
        for parameter in net.trainable_params()
        if not np.array_equal(before[parameter.name], parameter.asnumpy())
    }


LABELS = np.array([1, 4], np.int32)


def test_every_parameter_learns_in_one_step(name, small, weights, pictures):
    net = create(name, checkpoint=weights(name), num_classes=5, **small[name]).set_train()
    optimizer = nn.Momentum(net.trainable_params(), 0.1, 0.9)
    assert moved_by(net, optimizer, pictures, LABELS) == {parameter.name for parameter in net.trainable_params()}


def test_a_fresh_network_opens_its_branches_and_then_learns_everywhere(name, small, pictures):
    ms.set_seed(1)
    net = create(name, num_classes=5, **small[name]).set_train()
    everything = {parameter.name for parameter in net.trainable_params()}
    # What starts at zero hides the branch behind it from the first gradient; it must itself move at once.
    gates = {
        parameter.name
        for parameter in net.trainable_params()
        if not parameter.asnumpy().any() and parameter.name.endswith(("bn3.gamma", "conv_extend.2.weight"))
    }
    assert gates
    optimizer = nn.Momentum(net.trainable_params(), 0.1, 0.9)
    assert gates <= moved_by(net, optimizer, pictures, LABELS)
    assert moved_by(net, optimizer, pictures, LABELS) == everything


def deviations(name, **arguments):
    """Measured standard deviation over the expected one, for each tensor of a freshly made network."""
    ms.set_seed(3)
    return {parameter.name: parameter.asnumpy() for parameter in create(name, **arguments).get_parameters()}


SIZES = {"layers": (1, 1, 1, 1), "stem_width": 32}
UNITS = {"units": ((), (1,), (1,), ())}


def test_resnext_starts_as_he_normal_over_fan_out_with_zero_last_gammas():
    fresh = deviations("resnext50", **SIZES)
    for name, value in fresh.items():
        if name.endswith(".gamma"):
            assert (value == (0 if ".bn3." in name else 1)).all(), name
        elif name.endswith((".beta", "moving_mean")):
            assert not value.any(), name
        elif name.endswith("moving_variance"):
            assert (value == 1).all(), name
        elif value.ndim == 4:
            fan_out = value.shape[0] * value.shape[2] * value.shape[3]
            assert value.std() == pytest.approx(np.sqrt(2 / fan_out), rel=0.1), name
            assert abs(value.mean()) < 0.1 * value.std(), name
    bound = 1 / np.sqrt(fresh["head.fc.weight"].shape[1])
    assert fresh["head.fc.weight"].std() == pytest.approx(bound / np.sqrt(3), rel=0.05)
    assert np.abs(fresh["head.fc.weight"]).max() <= bound


@pytest.mark.parametrize("network", ["glore_res50", "glore_res101"])
@pytest.mark.parametrize("weight_init", ["xavier_uniform", "he_normal", "he_uniform"])
def test_glore_starts_as_weight_init_says_and_its_units_closed(network, weight_init):
    fresh = deviations(network, weight_init=weight_init, **SIZES, **UNITS)
    checked = 0
    for name, value in fresh.items():
        if name.endswith(("conv_extend.2.weight", "bn3.gamma")):
            assert not value.any(), name
        elif name.endswith((".gamma", "moving_variance")):
            assert (value == 1).all(), name
        elif value.ndim == 4 and value.size > 500:
            area = value.shape[2] * value.shape[3]
            fan_in, fan_out = value.shape[1] * area, value.shape[0] * area
            variance = 2 / (fan_in + fan_out) if weight_init == "xavier_uniform" else 2 / fan_in
            assert value.std() == pytest.approx(np.sqrt(variance), rel=0.1), name
            # A uniform distribution ends at sqrt(3) standard deviations, a normal one does not.
            assert (np.abs(value).max() <= np.sqrt(3 * variance) * 1.0001) == weight_init.endswith("uniform"), name
            checked += 1
    assert checked > 10
    head = fresh["end_point.weight" if network == "glore_res50" else "classifier.weight"]
    assert head.std() == pytest.approx(0.01, rel=0.05)


def test_the_same_seed_gives_the_same_weights(name, small):
    from glorext.models import weights_digest

    digests = []
    for seed in (5, 5, 6):
        ms.set_seed(seed)
        np.random.seed(seed)
        digests.append(weights_digest(create(name, **small[name])))
    assert digests[0] == digests[1] != digests[2]


def test_running_statistics_keep_the_published_part_of_the_past(name, small):
    kept = {"resnext50": 0.9, "glore_res50": 0.92, "glore_res101": 0.92}[name]
    first = {"resnext50": "backbone.bn", "glore_res50": "conv1.bn1", "glore_res101": "layer1.bn"}[name]
    net = create(name, **small[name])
    cells = dict(net.cells_and_names())
    norms = [cell for cell in cells.values() if isinstance(cell, nn.BatchNorm2d)]
    assert {round(1 - norm.momentum, 6) for norm in norms} == {kept}
    assert {norm.eps for norm in norms} == {1e-5 if name == "resnext50" else 1e-4}
    norm = cells[first].set_train()
    x = np.random.default_rng(0).normal(3, 1, (4, norm.num_features, 8, 8)).astype(np.float32)
    norm(ms.Tensor(x))
    assert norm.moving_mean.asnumpy() == pytest.approx((1 - kept) * x.mean((0, 2, 3)), rel=1e-4)


LEVELS = ["O2", "O3", "auto"]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ["resnext50", "glore_res50"])
def test_logits_are_float32_under_every_precision_mode(name, small, weights, pictures, mode, level):
    net = create(name, checkpoint=weights(name), num_classes=5, **small[name])
    expected = reference(name, weights(name), pictures)
    net = ms.amp.auto_mixed_precision(net, level).set_train(False)
    logits = net(ms.Tensor(pictures))
    assert logits.dtype == ms.float32
    # The small networks amplify float16's rounding; a wrong cast or an overflow is off by whole deviations.
    assert (logits.asnumpy() - expected).std() < 0.25 * expected.std()


def test_logits_of_a_network_set_to_float16_are_float32(name, small, weights, pictures):
    net = create(name, checkpoint=weights(name), num_classes=5, **small[name]).to_float(ms.float16).set_train(False)
    assert net(ms.Tensor(pictures)).dtype == ms.float32


def overflowing_unit():
    """A GloRe unit's weights and input for which X = S P^T, and Y too, are far beyond float16's 65504."""
    from mindspore.common.initializer import XavierUniform

    from glorext.models.glore_unit import GloReUnit

    rng = np.random.default_rng(2)
    unit = GloReUnit(8, 4, XavierUniform())
    shapes = {f"unit.{parameter.name}": parameter.shape for parameter in unit.get_parameters()}
    x = rng.normal(0, 1, (2, 8, 14, 14))
    net = numpy_networks.Network({}, 1e-4)

    def forward(weights, x, settle):
        for branch in ("conv_state", "conv_proj"):
            weights[f"unit.{branch}.2.weight"] *= 30
        net.weights, net.settle = weights, settle
        return numpy_networks.glore_unit(net, x, "unit")

    weights = numpy_networks.settled_weights(shapes, forward, x)
    for parameter in unit.get_parameters():
        parameter.set_data(ms.Tensor(weights[f"unit.{parameter.name}"]))
    net.settle = None
    return unit, x, numpy_networks.glore_unit(net, x, "unit"), weights


@pytest.mark.parametrize("level", LEVELS)
def test_graph_reasoning_stays_finite_where_float16_overflows(mode, level):
    unit, x, expected, weights = overflowing_unit()
    assert np.abs(weights["unit.conv_extend.0.moving_mean"]).max() > 65504
    net = ms.amp.auto_mixed_precision(nn.SequentialCell(unit), level).set_train(False)
    found = net(ms.Tensor(x.astype(np.float32))).asnumpy()
    assert np.isfinite(found).all()
    assert (found - expected).std() < 0.02 * expected.std()


def test_gradients_of_an_overflowing_unit_are_finite_in_o2():
    unit, x, _, _ = overflowing_unit()
    net = ms.amp.auto_mixed_precision(nn.SequentialCell(unit), "O2").set_train()
    gradients = ms.grad(lambda x: net(x).mean(), None, net.trainable_params())(ms.Tensor(x.astype(np.float32)))
    assert all(np.isfinite(gradient.asnumpy()).all() for gradient in gradients)


@every_network_and_both_pools_once
def test_exports_to_mindir_with_a_dynamic_batch(name, small, weights, pictures, tmp_path, stem_pool):
    net = create(name, checkpoint=weights(name, stem_pool), num_classes=5, stem_pool=stem_pool, **small[name])
    expected = logits_of(net, pictures)
    ms.export(
        net,
        ms.Tensor(shape=[None, *pictures.shape[1:]], dtype=ms.float32),
        file_name=str(tmp_path / "net"),
        file_format="MINDIR",
    )
    graph = nn.GraphCell(ms.load(str(tmp_path / "net.mindir")))
    assert np.abs(graph(ms.Tensor(pictures)).asnumpy() - expected).max() < 1e-5
    assert np.abs(graph(ms.Tensor(pictures[:1])).asnumpy() - expected[:1]).max() < 1e-5


@every_network_and_both_pools_once
def test_exports_to_onnx_with_a_dynamic_batch(name, small, weights, pictures, tmp_path, stem_pool):
    onnxruntime = pytest.importorskip("onnxruntime")
    import mindspore.onnx

    stored = weights(name, stem_pool)
    net = create(name, checkpoint=stored, num_classes=5, stem_pool=stem_pool, **small[name]).set_train(False)
    mindspore.onnx.export(
        net,
        ms.Tensor(pictures[:1]),
        file_name=str(tmp_path / "net.onnx"),
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "N"}},
    )
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    expected = reference(name, stored, pictures, stem_pool=stem_pool)
    for batch in (1, 2):
        found = session.run(None, {"image": pictures[:batch]})[0]
        assert np.abs(found - expected[:batch]).max() < 1e-4
