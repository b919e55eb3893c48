"""The family of GloRe-ResNet50, and what it shares with the pre-activation one: the GloRe units."""

from __future__ import annotations

from collections.abc import Callable

from .arguments import count, is_count
from .family import Family, ModelSpec, Naming, PublishedResult
from .input_spec import InputSpec
from .residual import conv, norm, numbers_by_stage, stages, trunk

PAPER = "Graph-Based Global Reasoning Networks, https://arxiv.org/abs/1811.12814"
REPO_LINK = "https://gitee.com/mindspore/models/tree/master/research/cv/glore_res"
ZOO, CARD = "MindSpore model zoo, README", "MindSpore Hub, card"


def _units(value, arguments) -> str | None:
    """Check of an argument: for each stage, after which of its blocks a unit follows."""
    layers = arguments["layers"]
    if stages(layers, arguments):
        return None  # the stages are wrong, and their own check says so

    def possible(after, blocks):
        # The length first: a hostile list may be long.
        if type(after) not in (list, tuple) or len(after) > blocks:
            return False
        return all(is_count(block, blocks) for block in after) and len(set(after)) == len(after)

    if type(value) in (list, tuple) and len(value) == 4 and all(map(possible, value, layers)):
        return None
    return f"for each of four stages some of its blocks, each once, from 1 to {tuple(layers)}"


ARGUMENTS: dict[str, tuple | Callable] = {
    "layers": stages,
    "units": _units,
    "stem_width": count,
    "num_classes": count,
    "in_channels": count,
    "include_top": (True, False),
    "stem_pool": ("same", "torch"),
    "weight_init": ("xavier_uniform", "he_normal", "he_uniform"),
}
IDLE_UNIT = {r"(.+)\.conv_extend\.2\.weight": "GloRe units that are the identity, as in a fresh network"}


def unit_sizes(arguments) -> list[tuple[int, int]]:
    """Sizes of the GloRe units: three branches with a norm each, and two convolutions on the graph."""
    sizes = []
    for i, after in enumerate(arguments["units"]):
        channels = 4 * arguments["stem_width"] * 2**i
        nodes, states = channels // 4, channels // 4 * 2
        branches = [norm(channels), conv(channels, states), norm(channels), conv(channels, nodes)]
        graph = [conv(nodes, nodes), conv(states, states), norm(states), conv(states, channels)]
        sizes += (branches + graph) * len(after)
    return sizes


def network(name, layers, units, parameters, *published, recipe=None) -> ModelSpec:
    """A network as it was published."""
    arguments = {"layers": layers, "units": units, "stem_width": 64}
    spec = InputSpec(resize_rule="short_side")
    return ModelSpec(name, arguments, parameters, spec, PAPER, published, recipe)


def _sizes(arguments):
    stem_width, half = arguments["stem_width"], arguments["stem_width"] // 2
    convs = [conv(arguments["in_channels"], half, 3), conv(half, half, 3), conv(half, stem_width, 3)]
    norms = [norm(half), norm(half), norm(stem_width)]
    return convs + norms + trunk(arguments, stem_width) + unit_sizes(arguments)


def _read_arguments(weights):
    blocks = numbers_by_stage(weights, r"layer([1-4])\.(\d+)\.conv1\.weight")
    units = numbers_by_stage(weights, r"layer([1-4])\.(\d+)\.conv_extend\.2\.weight")
    return {
        "layers": tuple(map(len, blocks)),
        # Blocks and units share one numbering within a stage.
        "units": tuple(
            tuple(sum(block < unit for block in of_stage) for unit in after) for of_stage, after in zip(blocks, units)
        ),
        "stem_width": weights["conv1.conv_3.weight"].shape[0],
        "in_channels": weights["conv1.conv_1.weight"].shape[1],
    }


GLORE = Family(
    name="glore",
    class_name="GloReResNet",
    modules=("glorext.models.glore", "glorext.models.glore_unit", "glorext.models.layers"),
    arguments=ARGUMENTS,
    sizes=_sizes,
    read_arguments=_read_arguments,
    classifier="end_point.",
    namings=(Naming("glore", r"conv1\.conv_1\.weight"),),
    before_relu=r"(conv1\.bn\d|bn1|layer\d\.\d+\.(bn[12]|conv_(state|proj|extend)\.0))",
    idle_while_zero={
        r"(layer\d\.\d+\.bn3)\.gamma": "blocks that add nothing: the last gamma is all zero, as in a fresh network",
        **IDLE_UNIT,
    },
    repo_link=REPO_LINK,
    networks=(
        network(
            "glore_res50",
            (3, 4, 6, 3),
            ((), (), (1, 3, 5), ()),
            30_506_824,
            PublishedResult(0.78446, None, "Ascend 910", ZOO),
            PublishedResult(0.7850, None, "GPU", ZOO),
            PublishedResult(0.7833, 0.9402, "Ascend 910", f"{CARD} glore_res50 1.3, 1.5, 1.6"),
            recipe="glore_res50_imagenet",
        ),
    ),
    side_multiple=32,  # a block's branch and its shortcut halve an odd side differently
)
