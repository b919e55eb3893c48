"""A checkpoint of any published naming fills a network completely, or the error says why not."""

import os
import subprocess
import sys

import numpy as np
import pytest

from glorext.models import create, load_checkpoint_into, names, read_checkpoint, save_checkpoint, spec, weights_digest
from glorext.models.namings import from_canonical, namings
from glorext.runtime import CheckpointError, UsageError

RESNEXT = "resnext50"
NAMINGS = ["grouped", "split", "mindcv", "torchvision"]


def same(a, b):
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype and np.array_equal(a[name], b[name]) for name in a
    )


def parameters(net):
    return {parameter.name: parameter.asnumpy() for parameter in net.get_parameters()}


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_saved_and_loaded_weights_are_the_same_bits(name, small, weights, tmp_path, suffix):
    net = create(name, checkpoint=weights(name), num_classes=5, **small[name])
    save_checkpoint(net, tmp_path / f"net{suffix}")
    again = create(name, checkpoint=tmp_path / f"net{suffix}", num_classes=5, **small[name])
    assert same(parameters(again), weights(name))
    assert (tmp_path / f"net{suffix}").stat().st_mode & 0o444 == 0o444
    assert list(tmp_path.iterdir()) == [tmp_path / f"net{suffix}"]


def test_mindspore_reads_what_we_write_and_we_read_what_it_writes(name, small, weights, tmp_path):
    import mindspore as ms

    net = create(name, checkpoint=weights(name), num_classes=5, **small[name])
    save_checkpoint(net, tmp_path / "ours.ckpt")
    loaded = ms.load_checkpoint(str(tmp_path / "ours.ckpt"))
    assert same({key: value.asnumpy() for key, value in loaded.items()}, weights(name))
    for crc_check in (False, True):
        ms.save_checkpoint(
            net,
            str(tmp_path / "theirs.ckpt"),
            crc_check=crc_check,
            append_dict={"epoch_num": 3, "remark": "text", "best": 0.5},
        )
        assert same(read_checkpoint(tmp_path / "theirs.ckpt").weights, weights(name))
        assert sorted(read_checkpoint(tmp_path / "theirs.ckpt").state) == ["best", "epoch_num"]


def test_split_layout_loads_bit_for_bit(small, weights, tmp_path):
    grouped = weights(RESNEXT)
    split = from_canonical(grouped, "split", groups=4)
    assert "backbone.layer1.0.conv2.weight" not in split
    assert split["backbone.layer2.1.conv2.convs.3.weight"].shape == (4, 4, 3, 3)
    last = grouped["backbone.layer2.1.conv2.weight"][12:]
    assert np.array_equal(split["backbone.layer2.1.conv2.convs.3.weight"], last)
    save_checkpoint(split, tmp_path / "split.ckpt")
    net = create(RESNEXT, checkpoint=tmp_path / "split.ckpt", num_classes=5, **small[RESNEXT])
    assert same(parameters(net), grouped)


def test_split_of_the_published_size_has_512_parts_and_763_entries():
    from mindspore.nn.utils import no_init_parameters

    with no_init_parameters():
        net = create(RESNEXT)
    shapes = {parameter.name: tuple(parameter.shape) for parameter in net.get_parameters()}
    split = from_canonical({name: np.broadcast_to(np.float32(1), shape) for name, shape in shapes.items()}, "split")
    assert len(split) == 763 and sum(".convs." in name for name in split) == 512
    assert split["backbone.layer1.0.conv2.convs.31.weight"].shape == (4, 4, 3, 3)
    assert {name: array.shape for name, array in read_checkpoint(split).weights.items()} == shapes


@pytest.mark.parametrize("naming", NAMINGS)
def test_every_layout_and_back_is_bit_exact(weights, tmp_path, naming):
    grouped = weights(RESNEXT)
    for suffix in (".ckpt", ".safetensors"):
        path = tmp_path / f"{naming}{suffix}"
        save_checkpoint(grouped, path, naming=naming, groups=4)
        found = read_checkpoint(path)
        assert found.naming.name == naming
        assert same(found.weights, grouped)
        again = tmp_path / f"again{suffix}"
        save_checkpoint(found.weights, again, naming=naming, groups=4)
        assert again.read_bytes() == path.read_bytes()


def test_names_of_the_other_layouts_are_those_of_their_authors(weights):
    stored = {naming: set(from_canonical(weights(RESNEXT), naming)) for naming in ("mindcv", "torchvision")}
    assert {
        "conv1.weight",
        "bn1.moving_variance",
        "layer1.0.down_sample.0.weight",
        "layer1.0.down_sample.1.gamma",
        "layer2.1.bn3.beta",
        "classifier.bias",
    } <= stored["mindcv"]
    assert {
        "conv1.weight",
        "bn1.running_var",
        "layer1.0.downsample.0.weight",
        "layer1.0.downsample.1.weight",
        "layer2.1.bn3.bias",
        "fc.bias",
    } <= stored["torchvision"]


def test_the_stem_pool_follows_the_layout(weights, small, pictures):
    import mindspore as ms

    from . import numpy_networks

    for naming, pool in (("mindcv", "same"), ("torchvision", "torch"), ("split", "same")):
        grouped = weights(RESNEXT, pool)
        stored = from_canonical(grouped, naming, groups=4)
        net = create(RESNEXT, checkpoint=stored, num_classes=5, **small[RESNEXT]).set_train(False)
        expected = numpy_networks.resnext(grouped, pictures.astype(np.float64), stem_pool=pool)
        assert np.abs(net(ms.Tensor(pictures)).asnumpy() - expected).max() < 1e-4


def test_training_state_and_the_network_prefix_are_left_out(name, small, weights):
    stored = weights(name)
    left = {f"network.{key}": value for key, value in stored.items()}
    left |= {f"moments.network.{key}": value for key, value in stored.items()}
    left |= {
        "global_step": np.array([7], np.int32),
        "momentum": np.float32(0.9),
        "learning_rate": np.ones(9, np.float32),
    }
    checkpoint = read_checkpoint(left)
    assert same(checkpoint.weights, stored)
    assert len(checkpoint.state) == len(stored) + 3
    net = create(name, checkpoint=left, num_classes=5, **small[name])
    assert same(parameters(net), stored)


def test_missing_unexpected_and_wrong_shaped_names_are_listed_by_group(small, weights):
    stored = weights(RESNEXT)
    missing = [name for name in stored if name.startswith("backbone.layer4")]
    for name in missing:
        del stored[name]
    stored["backbone.extra.weight"] = np.zeros(3, np.float32)
    stored["backbone.conv.weight"] = np.zeros((8, 3, 5, 5), np.float32)
    stored["backbone.bn.beta"] = np.zeros(8, np.int64)
    with pytest.raises(CheckpointError) as caught:
        create(RESNEXT, checkpoint=stored, num_classes=5, **small[RESNEXT])
    text = str(caught.value)
    assert f"{len(missing)} missing: {missing[0]}" in text and f"and {len(missing) - 10} more" in text
    assert missing[9] in text and missing[10] not in text.split("unexpected")[0].replace(missing[9], "")
    assert "1 unexpected: backbone.extra.weight" in text
    assert "1 of wrong shape: backbone.conv.weight (8, 3, 5, 5) instead of (8, 3, 7, 7)" in text
    assert "1 not floating point: backbone.bn.beta of int64" in text


def test_a_refused_checkpoint_leaves_the_network_untouched(name, small, weights):
    net = create(name, num_classes=5, **small[name])
    before = weights_digest(net)
    stored = weights(name)
    del stored[list(stored)[-1]]
    with pytest.raises(CheckpointError, match="1 missing"):
        load_checkpoint_into(net, stored)
    assert weights_digest(net) == before


@pytest.mark.parametrize("network", ["resnext50", "glore_res50", "glore_res101"])
def test_another_networks_checkpoint_is_refused(network, small, weights):
    for other in small:
        if other != network:
            with pytest.raises(CheckpointError, match="missing.*unexpected"):
                create(network, checkpoint=weights(other), num_classes=5, **small[network])


def test_another_class_count_is_an_error_that_tells_both_ways_out(name, small, weights):
    with pytest.raises(CheckpointError, match=r'has 5 classes, the network 7: give num_classes=5, or head="new"'):
        create(name, checkpoint=weights(name), num_classes=7, **small[name])


@pytest.mark.parametrize("classes", [5, 7])
def test_a_new_head_is_fresh_and_everything_else_loaded(name, small, weights, classes):
    stored = weights(name)
    net = create(name, checkpoint=stored, head="new", num_classes=classes, **small[name])
    head = {"resnext50": "head.fc.", "glore_res50": "end_point.", "glore_res101": "classifier."}[name]
    for key, value in parameters(net).items():
        assert np.array_equal(value, stored[key]) != key.startswith(head), key
    fresh = parameters(net)[f"{head}weight"]
    assert fresh.shape == (classes, 256) and 0.001 < fresh.std() < 0.1
    with pytest.raises(UsageError, match="head"):
        create(name, checkpoint=stored, head="other", num_classes=5, **small[name])


def test_a_new_head_needs_no_old_one(name, small, weights):
    features = {
        key: value
        for key, value in weights(name).items()
        if not key.startswith(("head.fc.", "end_point.", "classifier."))
    }
    assert read_checkpoint(features).num_classes is None
    create(name, checkpoint=features, head="new", num_classes=3, **small[name])
    with pytest.raises(CheckpointError, match="2 missing"):
        create(name, checkpoint=features, num_classes=3, **small[name])


def test_float16_weights_load_as_float32(small, weights, tmp_path):
    halves = {name: value.astype(np.float16) for name, value in weights(RESNEXT).items()}
    save_checkpoint(halves, tmp_path / "half.safetensors")
    net = create(RESNEXT, checkpoint=tmp_path / "half.safetensors", num_classes=5, **small[RESNEXT])
    assert same(parameters(net), {name: value.astype(np.float32) for name, value in halves.items()})


def test_nothing_is_initialized_that_a_checkpoint_overwrites(small, weights, monkeypatch):
    from mindspore.common import initializer

    drawn = []
    for kind in (initializer.HeNormal, initializer.HeUniform, initializer.One, initializer.Zero):
        monkeypatch.setattr(kind, "_initialize", lambda self, array: drawn.append(array))
    create(RESNEXT, checkpoint=weights(RESNEXT), num_classes=5, **small[RESNEXT])
    assert not drawn


def test_the_digest_sees_every_bit_and_no_packaging(weights, tmp_path):
    stored = weights(RESNEXT)
    digest = weights_digest(stored)
    for naming in NAMINGS:
        save_checkpoint(stored, tmp_path / "x.safetensors", naming=naming, groups=4)
        assert weights_digest(tmp_path / "x.safetensors") == digest
    save_checkpoint(stored | {"moments.a": np.ones(3), "global_step": np.array([1])}, tmp_path / "x.ckpt")
    assert weights_digest(tmp_path / "x.ckpt") == digest
    assert weights_digest(dict(reversed(stored.items()))) == digest
    for name in (next(iter(stored)), list(stored)[-1]):
        flipped = stored[name].copy()
        flipped.view(np.uint8).reshape(-1)[0] ^= 1
        assert weights_digest(stored | {name: flipped}) != digest


def test_a_checkpoint_in_memory_does_not_follow_the_network(name, small, weights):
    net = create(name, checkpoint=weights(name), num_classes=5, **small[name])
    held = read_checkpoint(net)
    for parameter in net.get_parameters():
        parameter.set_data(parameter * 0)
    assert same(held.weights, weights(name))


def test_writing_in_a_layout_of_another_family_is_refused(weights, tmp_path):
    with pytest.raises(UsageError, match="glore"):
        save_checkpoint(weights("glore_res50"), tmp_path / "x.ckpt", naming="torchvision")
    with pytest.raises(UsageError, match="naming"):
        save_checkpoint(weights(RESNEXT), tmp_path / "x.ckpt", naming="keras")
    with pytest.raises(UsageError, match="groups"):
        save_checkpoint(weights(RESNEXT), tmp_path / "x.ckpt", naming="split", groups=7)
    assert list(tmp_path.iterdir()) == []


def test_parts_of_a_split_convolution_that_do_not_fit_are_named(weights):
    split = from_canonical(weights(RESNEXT), "split", groups=4)
    del split["backbone.layer1.0.conv2.convs.2.weight"]
    with pytest.raises(CheckpointError, match=r"backbone\.layer1\.0\.conv2\.weight.*\[0, 1, 3\]"):
        read_checkpoint(split)


def test_unknown_names_are_shown():
    with pytest.raises(CheckpointError, match="2 other names: a.weight, b.weight"):
        read_checkpoint({"a.weight": np.ones(1, np.float32), "b.weight": np.ones(1, np.float32)})


def test_the_same_tensor_twice_is_refused(weights):
    stored = weights(RESNEXT)
    with pytest.raises(CheckpointError, match="with and without a prefix"):
        read_checkpoint(stored | {"network.backbone.conv.weight": stored["backbone.conv.weight"]})


def test_one_tensor_under_two_names_of_a_layout_is_refused(weights):
    torch_names = from_canonical(weights(RESNEXT), "torchvision")
    with pytest.raises(CheckpointError, match="one tensor under two names"):
        read_checkpoint(torch_names | {"layer1.0.bn1.gamma": torch_names["layer1.0.bn1.weight"]})


def test_names_of_two_layouts_at_once_are_refused(weights):
    whole = weights(RESNEXT)
    with pytest.raises(CheckpointError, match="found grouped and split"):
        read_checkpoint(whole | from_canonical(whole, "split", groups=4))


def test_every_registered_network_has_a_layout():
    assert {spec(name).family.name for name in names()} == {naming.family.name for naming in namings().values()}


NEW_HEAD = """
import sys
import mindspore as ms
from glorext.models import create, weights_digest
ms.set_seed(1)
print(weights_digest(create("resnext50", checkpoint=sys.argv[1], head="new", num_classes=3, layers=(1, 1, 1, 1),
                            groups=2, width_per_group=4, stem_width=8)))
"""


def python(hash_seed, *arguments):
    return subprocess.run(
        [sys.executable, "-c", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": str(hash_seed)},
    ).stdout.strip()


def test_a_new_classifier_is_the_same_in_every_process(tmp_path):
    """Python orders a set of strings by a seed of the process: two ranks trained two classifiers."""
    create_small = {"num_classes": 5, "layers": (1, 1, 1, 1), "groups": 2, "width_per_group": 4, "stem_width": 8}
    save_checkpoint(create(RESNEXT, **create_small), tmp_path / "net.ckpt")
    order = "print(list({'head.fc.weight', 'head.fc.bias'}))"
    other = next(seed for seed in range(1, 100) if python(seed, order) != python(0, order))
    assert python(0, NEW_HEAD, tmp_path / "net.ckpt") == python(other, NEW_HEAD, tmp_path / "net.ckpt")
