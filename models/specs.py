"""The registry of networks: what each one is, what it expects and what was published about it; and `create`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from glorext.runtime.device import prepare
from glorext.runtime.errors import UsageError
from glorext.runtime.log import get_logger

from .arguments import check_arguments, network_size
from .input_spec import InputSpec

logger = get_logger("models")


@dataclass(frozen=True)
class PublishedResult:
    """An accuracy on ImageNet-2012's 50,000 validation pictures as its authors report it, in fractions of one."""

    top1: float
    top5: float | None
    device: str
    source: str


@dataclass(frozen=True)
class ModelSpec:
    """A network that `create` makes.

    Args:
        name: its name in the registry.
        class_name: the class in the first of `modules`.
        modules: the modules of this folder that it is written in; together they need MindSpore alone.
        family: which namings of checkpoints it reads.
        arguments: of the class: its depth and widths.
        input: how a picture becomes its input.
        recipe: the name of the recipe that trains it on ImageNet, or None.
        paper: title and address.
        licence: of the published checkpoints, as an SPDX name.
        parameters: trainable parameters with 1000 classes.
        published: accuracies of published checkpoints.
    """

    name: str
    class_name: str
    modules: tuple[str, ...]
    family: str
    arguments: dict
    input: InputSpec
    recipe: str | None
    paper: str
    licence: str
    parameters: int
    published: tuple[PublishedResult, ...] = field(default=())

    @property
    def constructor(self):
        """The network's class; MindSpore is imported with it."""
        return getattr(import_module(f".{self.modules[0]}", __package__), self.class_name)

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files that define the network, the class's own first."""
        return tuple(Path(__file__).with_name(f"{module}.py") for module in self.modules)


RESNEXT_PAPER = "Aggregated Residual Transformations for Deep Neural Networks, https://arxiv.org/abs/1611.05431"
GLORE_PAPER = "Graph-Based Global Reasoning Networks, https://arxiv.org/abs/1811.12814"
SQUASH, SHORT_SIDE = InputSpec(resize_rule="squash"), InputSpec(resize_rule="short_side")
ZOO, CARD = "MindSpore model zoo, README", "MindSpore Hub, card"


def _resnext(name, layers, groups, parameters, published=(), recipe=None):
    arguments = {"layers": layers, "groups": groups, "width_per_group": 4, "stem_width": 64}
    return ModelSpec(
        name,
        "ResNeXt",
        ("resnext", "layers"),
        "resnext",
        arguments,
        SQUASH,
        recipe,
        RESNEXT_PAPER,
        "Apache-2.0",
        parameters,
        published,
    )


def _glore(name, version, layers, units, parameters, published=(), recipe=None):
    class_name, module, family = {1: ("GloReResNet", "glore", "glore"), 2: ("GloReResNetV2", "glore_v2", "glore_v2")}[
        version
    ]
    arguments = {"layers": layers, "units": units, "stem_width": 64}
    return ModelSpec(
        name,
        class_name,
        (module, "glore_unit", "layers"),
        family,
        arguments,
        SHORT_SIDE,
        recipe,
        GLORE_PAPER,
        "Apache-2.0",
        parameters,
        published,
    )


SPECS = {
    spec.name: spec
    for spec in (
        _resnext(
            "resnext50",
            (3, 4, 6, 3),
            32,
            25_028_904,
            (
                PublishedResult(0.7816, 0.9388, "Ascend 910", ZOO),
                PublishedResult(0.7805, None, "GPU V100", ZOO),
                PublishedResult(0.7846, 0.9418, "Ascend 310", ZOO),
                PublishedResult(0.7851, 0.9418, "Ascend 910", f"{CARD} resnext50 1.3 to 1.10"),
                PublishedResult(0.7864, 0.9418, "Ascend 910", f"{CARD} resnext50_32x4d 2.3, 2.5 (MindCV)"),
            ),
            recipe="resnext50_imagenet",
        ),
        _resnext(
            "resnext101_32x4d",
            (3, 4, 23, 3),
            32,
            44_177_704,
            (PublishedResult(0.7946, 0.9463, "Ascend 910", f"{CARD} resnext101 1.9, 1.10"),),
        ),
        _resnext("resnext101_64x4d", (3, 4, 23, 3), 64, 83_455_272),
        _glore(
            "glore_res50",
            1,
            (3, 4, 6, 3),
            ((), (), (1, 3, 5), ()),
            30_506_824,
            (
                PublishedResult(0.78446, None, "Ascend 910", ZOO),
                PublishedResult(0.7850, None, "GPU", ZOO),
                PublishedResult(0.7833, 0.9402, "Ascend 910", f"{CARD} glore_res50 1.3, 1.5, 1.6"),
            ),
            recipe="glore_res50_imagenet",
        ),
        _glore("glore_res101", 2, (3, 4, 23, 3), ((), (1, 3), (3, 11, 19), ()), 50_300_200),
        _glore(
            "glore_res200",
            2,
            (3, 24, 36, 3),
            ((), (12, 18), (16, 24, 32), ()),
            70_424_872,
            (PublishedResult(0.7995, 0.9489, "Ascend 910", f"{CARD} glore_res200 1.3, 1.5, 1.6"),),
        ),
    )
}


def names() -> list[str]:
    """The names of the networks that `create` makes."""
    return list(SPECS)


def spec(name: str) -> ModelSpec:
    """What the registry knows of a network.

    Raises:
        UsageError: no such network.
    """
    if name not in SPECS:
        raise UsageError(expected=f"a network out of {', '.join(SPECS)}", found=repr(name))
    return SPECS[name]


def create(name: str, checkpoint=None, head: str = "strict", **overrides):
    """Make a network, with random weights or a checkpoint's.

    Args:
        name: one of `names()`.
        checkpoint: a file in any known format and naming, or what else `read_checkpoint` takes. It fills the network
            completely, or that is an error.
        head: "strict", or "new" for a freshly initialised classifier over a checkpoint's features.
        overrides: arguments of the network's class: num_classes, in_channels, include_top, stem_pool, layers, widths.
            `stem_pool` follows the checkpoint's naming where it is not given.

    Returns:
        The network, a mindspore.nn.Cell that maps (N, in_channels, H, W) to float32 logits (N, num_classes).

    Raises:
        UsageError: no such network or argument, or an impossible value.
        CheckpointError: the checkpoint is unreadable or not this network's.
    """
    model = spec(name)
    arguments = model.arguments | overrides
    check_arguments(model, arguments)
    _require_memory(model, arguments)
    prepare()
    constructor = model.constructor
    if checkpoint is None:
        return _built(constructor, arguments, name)
    from .checkpoint import load_checkpoint_into, read_checkpoint, require_likely

    content = read_checkpoint(checkpoint)
    require_likely(content, model, arguments | ({"num_classes": 1} if head == "new" else {}))
    stem_pool = arguments.setdefault("stem_pool", content.naming.stem_pool)
    if stem_pool != content.naming.stem_pool:
        logger.warning(
            "stem_pool=%r: %s was trained with %r, its logits will differ",
            stem_pool,
            content.where,
            content.naming.stem_pool,
        )
    from mindspore.nn.utils import no_init_parameters

    with no_init_parameters():
        net = _built(constructor, arguments, name)
    load_checkpoint_into(net, content, head)
    return net


def _require_memory(model: ModelSpec, arguments: dict) -> None:
    needed = 4 * network_size(model, arguments)[1]
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise UsageError(
            expected=f"a network that fits into this machine's {there / 1e9:.3g} GB of memory",
            found=f"arguments that make one of {needed / 1e9:.3g} GB",
            where=model.name,
        )


def _built(constructor, arguments: dict, name: str):
    try:
        return constructor(**arguments)
    except (ValueError, TypeError) as error:
        raise UsageError(expected="possible arguments", found=str(error), where=name) from error
