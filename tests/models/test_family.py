"""A new family of networks is one record in the table: nothing else has to know of it."""

from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from glorext import models
from glorext.models import InputSpec, ModelSpec
from glorext.models.arguments import count, network_size
from glorext.models.families import FAMILIES
from glorext.models.family import Family, Naming
from glorext.models.lint import lint
from glorext.runtime import CheckpointError, UsageError


class Tiny(nn.Cell):
    """One convolution, batch norm and ReLU, a second convolution beside the sum, and a classifier. No stem pool."""

    def __init__(self, width=8, num_classes=1000, in_channels=3, include_top=True):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, 2, has_bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.beside = nn.Conv2d(width, width, 1, has_bias=False, weight_init="zeros")
        self.include_top = include_top
        if include_top:
            self.out = nn.Dense(width, num_classes)

    def construct(self, x):
        x = self.relu(self.norm(self.conv(x)))
        x = x + self.beside(x)
        return self.out(ops.mean(x, (2, 3))) if self.include_top else x


def sizes(arguments):
    width = arguments["width"]
    layers = [(1, 9 * arguments["in_channels"] * width), (4, 4 * width), (1, width * width)]
    return layers + [(2, (width + 1) * arguments["num_classes"])] * arguments["include_top"]


def read_arguments(weights):
    width, in_channels, _, _ = weights["conv.weight"].shape
    return {"width": width, "in_channels": in_channels}


def old_names(weights, groups):
    return {f"old/{name}": value for name, value in weights.items()}


def new_names(weights):
    return {name.removeprefix("old/"): value for name, value in weights.items()}


TINY = Family(
    name="tiny",
    class_name="Tiny",
    modules=(__name__,),
    arguments={"width": count, "num_classes": count, "in_channels": count, "include_top": (True, False)},
    sizes=sizes,
    read_arguments=read_arguments,
    classifier="out.",
    namings=(Naming("tiny", r"beside\.weight"), Naming("tiny_old", r"old/.*", new_names, old_names)),
    before_relu="norm",
    idle_while_zero={r"(beside)\.weight": "sums of one term"},
    repo_link="https://example.org/tiny",
    networks=(
        ModelSpec("tiny8", {"width": 8}, 9296, InputSpec(), "A paper, https://example.org"),
        ModelSpec("tiny16", {"width": 16}, 17720, InputSpec(), "A paper, https://example.org"),
    ),
    side_multiple=2,
)


@pytest.fixture
def tiny(monkeypatch):
    """Canonical weights of a network with 16 channels and 5 classes, while the family is in the table."""
    monkeypatch.setitem(FAMILIES, "tiny", TINY)
    rng = np.random.default_rng(3)
    shapes = {p.name: p.shape for p in models.create("tiny16", num_classes=5).get_parameters()}
    return {name: rng.uniform(0.1, 2, shape).astype(np.float32) for name, shape in shapes.items()}


def test_it_is_in_the_registry_and_can_be_made(tiny):
    assert models.names()[-2:] == ["tiny8", "tiny16"]
    for name in ("tiny8", "tiny16"):
        spec = models.spec(name)
        net = models.create(name)
        assert spec.parameters == sum(parameter.size for parameter in net.trainable_params())
        assert spec.family is TINY and (spec.family.side_multiple, spec.family.repo_link[-5:]) == (2, "/tiny")
        assert isinstance(net, spec.constructor) and spec.class_name == "Tiny"
        assert [path.resolve() for path in spec.sources] == [Path(__file__).resolve()]
        made = [parameter.size for parameter in net.get_parameters()]
        assert network_size(spec, {}) == (len(made), sum(made))
    assert network_size(spec, {"include_top": False, "in_channels": 1}) == (6, 9 * 16 + 4 * 16 + 16 * 16)


@pytest.mark.parametrize(
    "arguments, text",
    [({"width": 0}, "width to be a whole number above zero"), ({"stem_pool": "same"}, "out of width, num_classes")],
)
def test_its_arguments_are_checked(tiny, arguments, text):
    with pytest.raises(UsageError, match=text):
        models.create("tiny8", **arguments)


@pytest.mark.parametrize("naming", ["tiny", "tiny_old"])
def test_its_checkpoints_are_written_read_told_apart_and_loaded(tiny, tmp_path, naming):
    path = tmp_path / "x.ckpt"
    models.save_checkpoint(tiny, path, naming=naming)
    assert all(name.startswith("old/") == (naming == "tiny_old") for name in ms.load_checkpoint(str(path)))
    found = models.read_checkpoint(path)
    assert (found.naming.name, found.family, found.num_classes) == (naming, TINY, 5)
    assert models.weights_digest(path) == models.weights_digest(tiny)
    assert models.network_name(found) == "tiny16"
    assert models.network_arguments(found) == {"width": 16, "in_channels": 3, "num_classes": 5}
    net = models.create("tiny16", checkpoint=path, num_classes=5)
    assert models.weights_digest(net) == models.weights_digest(tiny)
    with pytest.raises(CheckpointError, match=r"has 5 classes, the network 7: .*head=\"new\""):
        models.create("tiny16", checkpoint=path, num_classes=7)
    fresh = models.create("tiny16", checkpoint=path, head="new", num_classes=7)
    assert np.array_equal(fresh.conv.weight.asnumpy(), tiny["conv.weight"]) and fresh.out.weight.shape == (7, 16)


def test_lint_looks_through_its_checkpoints(tiny, tmp_path):
    path = tmp_path / "x.safetensors"
    models.save_checkpoint(tiny, path)
    report = lint(path)
    assert (report["network"], report["family"], report["findings"]) == ("tiny16", "tiny", [])
    assert report["stem_pool"] is None
    for name in ("norm.gamma", "norm.beta", "beside.weight"):
        tiny[name] = np.zeros_like(tiny[name])
    models.save_checkpoint(tiny, path)
    dead, idle = lint(path)["findings"]
    assert dead["what"].startswith("1 branches that were never trained") and dead["tensors"] == ["norm"]
    assert idle == {"level": "warning", "what": "1 sums of one term", "tensors": ["beside"]}


def test_its_namings_are_its_own(tiny, weights):
    with pytest.raises(UsageError, match="a naming of tiny networks"):
        models.save_checkpoint(tiny, "unwritten.ckpt", naming="grouped")
    with pytest.raises(UsageError, match="a naming of resnext networks"):
        models.save_checkpoint(weights("resnext50"), "unwritten.ckpt", naming="tiny")
    with pytest.raises(CheckpointError, match=r"Tiny \(tiny, tiny_old\).*found 1 other names: a"):
        models.read_checkpoint({"a": np.ones(1, np.float32)})


def test_without_the_line_in_the_table_it_is_unknown():
    with pytest.raises(UsageError, match="'tiny16'"):
        models.create("tiny16")


def test_names_stand_for_one_thing_and_every_member_knows_its_family():
    for kind in ("namings", "networks"):
        members = [member for family in FAMILIES.values() for member in getattr(family, kind)]
        assert len({member.name for member in members}) == len(members)
        assert all(member.family is family for family in FAMILIES.values() for member in getattr(family, kind))
