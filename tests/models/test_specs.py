"""The registry knows six networks, to the parameter; `create` refuses what it does not know."""

import inspect
import subprocess
import sys
import time

import pytest
from mindspore.nn.utils import no_init_parameters

from glorext.models import create, names, network_arguments, network_name, read_checkpoint, spec
from glorext.models.arguments import DEFAULTS, check_arguments, network_size
from glorext.models.glore_unit import WEIGHT_INITS
from glorext.runtime import CheckpointError, UsageError

# Entries, trainable tensors, trainable parameters, parameters with batch norm statistics.
COUNTS = {
    "resnext50": (267, 161, 25_028_904, 25_097_128),
    "resnext101_32x4d": (522, 314, 44_177_704, 44_315_560),
    "resnext101_64x4d": (522, 314, 83_455_272, 83_658_152),
    "glore_res50": (328, 200, 30_506_824, 30_575_432),
    "glore_res101": (611, 371, 50_300_200, 50_422_184),
    "glore_res200": (1106, 668, 70_424_872, 70_617_512),
}

# Names and shapes as in the published checkpoints.
GOLDEN = {
    "resnext50": {
        "backbone.conv.weight": (64, 3, 7, 7),
        "backbone.bn.moving_variance": (64,),
        "backbone.layer1.0.conv1.weight": (128, 64, 1, 1),
        "backbone.layer1.0.conv2.weight": (128, 4, 3, 3),
        "backbone.layer1.0.conv3.weight": (256, 128, 1, 1),
        "backbone.layer1.0.down_sample.conv.weight": (256, 64, 1, 1),
        "backbone.layer1.0.down_sample.bn.gamma": (256,),
        "backbone.layer3.5.bn2.beta": (512,),
        "backbone.layer4.2.conv2.weight": (1024, 32, 3, 3),
        "backbone.layer4.2.bn3.moving_mean": (2048,),
        "head.fc.weight": (1000, 2048),
        "head.fc.bias": (1000,),
    },
    "glore_res50": {
        "conv1.conv_1.weight": (32, 3, 3, 3),
        "conv1.bn1.gamma": (32,),
        "conv1.conv_2.weight": (32, 32, 3, 3),
        "conv1.bn2.moving_mean": (32,),
        "conv1.conv_3.weight": (64, 32, 3, 3),
        "bn1.beta": (64,),
        "layer1.0.conv1.weight": (64, 64, 1, 1),
        "layer1.0.down_sample_layer.1.weight": (256, 64, 1, 1),
        "layer1.0.down_sample_layer.2.gamma": (256,),
        "layer3.1.conv_state.0.gamma": (1024,),
        "layer3.1.conv_state.2.weight": (512, 1024, 1, 1),
        "layer3.4.conv_proj.2.weight": (256, 1024, 1, 1),
        "layer3.7.gcn.conv1.weight": (256, 256, 1, 1),
        "layer3.7.gcn.conv2.weight": (512, 512, 1, 1),
        "layer3.7.conv_extend.0.gamma": (512,),
        "layer3.7.conv_extend.2.weight": (1024, 512, 1, 1),
        "layer3.8.bn3.gamma": (1024,),
        "end_point.weight": (1000, 2048),
        "end_point.bias": (1000,),
    },
    "glore_res200": {
        "layer1.conv.weight": (64, 3, 7, 7),
        "layer1.bn.gamma": (64,),
        "layer2.Residual_Unit1.BN_AC_Conv1.bn.gamma": (64,),
        "layer2.Residual_Unit1.BN_AC_Conv1.conv.weight": (64, 64, 1, 1),
        "layer3.Residual_Unit1.BN_AC_Conv_w.conv.weight": (512, 256, 1, 1),
        "layer3.Residual_Unit12_GloreUnit.conv_state.2.weight": (256, 512, 1, 1),
        "layer4.Residual_Unit32_GloreUnit.gcn.conv1.weight": (256, 256, 1, 1),
        "layer5.Residual_Unit3.BN_AC_Conv3.conv.weight": (2048, 512, 1, 1),
        "tail.bn.gamma": (2048,),
        "classifier.weight": (1000, 2048),
    },
}


def shapes_of(name, **arguments):
    with no_init_parameters():
        net = create(name, **arguments)
    return net, {parameter.name: tuple(parameter.shape) for parameter in net.get_parameters()}


def test_there_are_six_networks():
    assert names() == list(COUNTS)


@pytest.mark.parametrize("network", COUNTS)
def test_counts_are_the_published_ones(network):
    net, shapes = shapes_of(network)
    trainable = net.trainable_params()
    assert (
        len(shapes),
        len(trainable),
        sum(parameter.size for parameter in trainable),
        sum(parameter.size for parameter in net.get_parameters()),
    ) == COUNTS[network]
    assert spec(network).parameters == COUNTS[network][2]
    for name, shape in GOLDEN.get(network, {}).items():
        assert shapes[name] == shape, name


def test_glore_res50_without_its_units_is_the_trunk():
    net, shapes = shapes_of("glore_res50", units=((), (), (), ()))
    assert (len(shapes), len(net.trainable_params())) == (277, 167)
    assert sum(parameter.size for parameter in net.trainable_params()) == 25_576_264


def test_batch_norm_entries_come_in_the_published_order():
    _, shapes = shapes_of("resnext50")
    assert list(shapes)[:6] == [
        "backbone.conv.weight",
        "backbone.bn.moving_mean",
        "backbone.bn.moving_variance",
        "backbone.bn.gamma",
        "backbone.bn.beta",
        "backbone.layer1.0.conv1.weight",
    ]


@pytest.mark.parametrize("network", COUNTS)
def test_a_checkpoint_tells_its_network(network):
    import numpy as np

    _, shapes = shapes_of(network, num_classes=7)
    checkpoint = read_checkpoint({name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()})
    assert network_name(checkpoint) == network
    assert network_arguments(checkpoint) == spec(network).arguments | {"num_classes": 7, "in_channels": 3}


def test_a_small_network_is_told_as_a_variant(name, small, weights):
    checkpoint = read_checkpoint(weights(name))
    assert network_name(checkpoint) is None
    assert network_arguments(checkpoint) == small[name] | {"num_classes": 5, "in_channels": 3}


def test_resize_rules_and_results_are_the_published_ones():
    assert spec("resnext50").input.resize_rule == "squash"
    assert {spec(name).input.resize_rule for name in names() if "glore" in name} == {"short_side"}
    assert spec("resnext101_64x4d").published == ()
    for name in names():
        for result in spec(name).published:
            assert 0.7 < result.top1 < 0.9 and (result.top5 is None or result.top1 < result.top5 < 1)
            assert result.source and result.device
    assert (0.7816, 0.9388) in {(result.top1, result.top5) for result in spec("resnext50").published}
    assert (0.7833, 0.9402) in {(result.top1, result.top5) for result in spec("glore_res50").published}


def test_the_sources_of_a_network_need_nothing_but_mindspore(tmp_path, small):
    """A published package carries these files: they must work where this project is not installed."""
    code = "import sys\nsys.modules['glorext'] = None\n"
    for name, arguments in small.items():
        package = tmp_path / f"of_{name}"
        package.mkdir()
        (package / "__init__.py").touch()
        for source in spec(name).sources:
            (package / source.name).write_bytes(source.read_bytes())
        code += (
            f"from of_{name}.{spec(name).sources[0].stem} import {spec(name).class_name} as network\n"
            f"print(sum(parameter.size for parameter in network(**{arguments!r}).get_parameters()))\n"
        )
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert list(map(int, found.stdout.split())) == [
        sum(parameter.size for parameter in shapes_of(name, **small[name])[0].get_parameters()) for name in small
    ]


def test_lists_from_json_serve_as_arguments(small):
    import json

    as_json = json.loads(json.dumps(small["glore_res50"]))
    assert shapes_of("glore_res50", **as_json)[1] == shapes_of("glore_res50", **small["glore_res50"])[1]


@pytest.mark.parametrize(
    "network, arguments, text",
    [
        ("resnet50", {}, "resnext50.*'resnet50'"),
        ("resnext50", {"layer": (1, 1, 1, 1)}, "'layer'"),
        ("resnext50", {"layers": (1, 1, 1)}, "layers"),
        ("resnext50", {"layers": (1, 1, 1, 0)}, "layers"),
        ("resnext50", {"stem_pool": "valid"}, "stem_pool"),
        ("glore_res50", {"weight_init": "ones"}, "weight_init"),
        ("glore_res50", {"units": ((), (), (7,), ())}, "units"),
        ("glore_res101", {"units": ((1,),)}, "units"),
        ("resnext50", {"num_classes": 0, "layers": (1, 1, 1, 1)}, "num_classes"),
        ("resnext50", {"num_classes": "ten", "layers": (1, 1, 1, 1)}, "num_classes"),
        ("resnext50", {"stem_width": 10**9}, "GB of memory"),
        ("resnext50", {"layers": (100_000, 1, 1, 1)}, "layers"),
        ("resnext50", {"include_top": 1}, "include_top"),
        ("glore_res50", {"units": ((1, 1), (), (), ())}, "each once"),
    ],
)
def test_an_unknown_network_or_argument_is_named(network, arguments, text):
    with pytest.raises(UsageError, match=text):
        create(network, **arguments)


def test_arguments_are_checked_beside_those_that_a_network_has_anyway():
    model = spec("glore_res50")
    check_arguments(model, {"units": ((), (), (1, 6), ())})
    with pytest.raises(UsageError, match="units"):
        check_arguments(model, {"units": ((), (), (1, 7), ())})
    with pytest.raises(UsageError, match="units"):
        check_arguments(model, {"layers": (3, 4, 4, 3)})
    with pytest.raises(UsageError, match="layers"):
        check_arguments(model, {"layers": 5, "units": ((), (), (1,), ())})


def test_sizes_are_known_without_making_the_network(small):
    """A hostile package is refused by its size alone, so the formula must be the networks'."""
    cases = [
        *small.items(),
        ("resnext50", small["resnext50"] | {"num_classes": 7, "in_channels": 4}),
        ("glore_res50", small["glore_res50"] | {"include_top": False}),
        ("glore_res200", small["glore_res101"] | {"layers": (2, 1, 3, 1), "units": ((1, 2), (), (1, 3), (1,))}),
    ]
    for name, arguments in cases:
        made = [parameter.size for parameter in shapes_of(name, **arguments)[0].get_parameters()]
        assert network_size(spec(name), arguments) == (len(made), sum(made)), name
    assert all(network_size(spec(name), {}) == (COUNTS[name][0], COUNTS[name][3]) for name in names())


def test_arguments_that_are_checked_are_those_of_the_classes():
    for name in names():
        taken = inspect.signature(spec(name).constructor).parameters
        assert tuple(taken) == tuple(spec(name).family.arguments)
        assert all(taken[key].default == value for key, value in DEFAULTS.items())
    assert spec("glore_res50").family.arguments["weight_init"] == tuple(WEIGHT_INITS)


def test_a_network_far_beyond_its_checkpoint_is_not_made(small):
    content = read_checkpoint(create("resnext50", **small["resnext50"]))
    for arguments in ({"layers": (900, 900, 900, 900)}, {"stem_width": 600}, {"num_classes": 3 * 10**6}):
        start = time.process_time()
        with pytest.raises(CheckpointError, match="as the network's arguments say"):
            create("resnext50", checkpoint=content, **small["resnext50"] | arguments)
        assert time.process_time() - start < 10
    net = create("resnext50", checkpoint=content, head="new", **small["resnext50"] | {"num_classes": 5000})
    assert net.head.fc.weight.shape[0] == 5000


def test_importing_the_room_imports_neither_mindspore_nor_numpy():
    code = (
        "import sys, glorext.models as m; m.spec('resnext50').input.digest(); m.names(); "
        "print(sorted({'mindspore', 'numpy', 'torch', 'PIL'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
