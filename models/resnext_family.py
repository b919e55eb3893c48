"""The family of ResNeXt: its arguments, the four namings of its checkpoints, the networks that were published."""

from __future__ import annotations

import re
from functools import partial

from glorext.runtime.errors import CheckpointError, UsageError

from .arguments import count, is_count
from .family import Family, ModelSpec, Naming, PublishedResult
from .input_spec import InputSpec
from .residual import conv, norm, numbers_by_stage, stages, trunk

PAPER = "Aggregated Residual Transformations for Deep Neural Networks, https://arxiv.org/abs/1611.05431"
ZOO, CARD = "MindSpore model zoo, README", "MindSpore Hub, card"
SPLIT_CONV = re.compile(r"(.*\.conv2)\.convs\.(0|[1-9][0-9]{0,5})\.weight")
NORM = re.compile(r"(.*\bbn\d?)\.(\w+)")
TORCH_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def _sizes(arguments):
    stem_width, groups = arguments["stem_width"], arguments["groups"]
    stem = [conv(arguments["in_channels"], stem_width, 7), norm(stem_width)]
    return stem + trunk(arguments, groups * arguments["width_per_group"], groups)


def _read_arguments(weights):
    stem_width, in_channels, _, _ = weights["backbone.conv.weight"].shape
    width, width_per_group, _, _ = weights["backbone.layer1.0.conv2.weight"].shape
    return {
        "layers": tuple(map(len, numbers_by_stage(weights, r"backbone\.layer([1-4])\.(\d+)\.conv1\.weight"))),
        "groups": width // width_per_group,
        "width_per_group": width_per_group,
        "stem_width": stem_width,
        "in_channels": in_channels,
    }


def _merged(weights: dict) -> dict:
    """The parts of each 3x3 convolution in one tensor."""
    import numpy as np

    merged: dict = {}
    parts: dict[str, dict] = {}
    for name, value in weights.items():
        match = SPLIT_CONV.fullmatch(name)
        target = f"{match[1]}.weight" if match else name
        merged[target] = value
        if match:
            parts.setdefault(target, {})[int(match[2])] = value
    for target, found in parts.items():
        if sorted(found) != list(range(len(found))) or len({value.shape for value in found.values()}) != 1:
            raise CheckpointError(
                expected=f"parts 0 to n-1 of one shape for {target}",
                found=f"parts {sorted(found)[:10]} (of {len(found)})",
            )
        merged[target] = np.concatenate([found[i] for i in range(len(found))])
    return merged


def _cut(weights: dict, groups: int) -> dict:
    """Each 3x3 convolution in as many tensors as it has groups."""
    cut = {}
    for name, value in weights.items():
        if name.endswith(".conv2.weight"):
            if not is_count(groups) or value.shape[0] % groups:
                raise UsageError(expected=f"a number of groups that divides {value.shape[0]}", found=groups)
            size = value.shape[0] // groups
            for i in range(groups):
                cut[f"{name.removesuffix('weight')}convs.{i}.weight"] = value[i * size : (i + 1) * size]
        else:
            cut[name] = value
    return cut


def _without_backbone(name, shortcut, head, norm_parts, stem_pool):
    """A naming in which stem and stages have no prefix, and a shortcut's two layers have numbers.

    Args:
        shortcut, head: its words for a block's shortcut and the classifier.
        norm_parts: its words for the tensors of a batch norm, and the canonical ones, where they differ.
    """
    starts = {"conv1.": "backbone.conv.", "bn1.": "backbone.bn.", "layer": "backbone.layer", head: "head.fc."}
    inner = {f".{shortcut}.0.": ".down_sample.conv.", f".{shortcut}.1.": ".down_sample.bn."}

    def canonical(name):
        return _norm_part_replaced(_replaced(name, starts, inner), norm_parts)

    def stored(name):
        return _replaced(_norm_part_replaced(name, _swapped(norm_parts)), _swapped(starts), _swapped(inner))

    mark = rf"layer\d\.\d+\.{shortcut}\.0\.weight"
    return Naming(name, mark, partial(_renamed, canonical), lambda weights, _: _renamed(stored, weights), stem_pool)


def _swapped(words):
    return {new: old for old, new in words.items()}


def _replaced(name, starts, inner):
    start = next((start for start in starts if name.startswith(start)), "")
    name = starts.get(start, "") + name.removeprefix(start)
    for old, new in inner.items():
        name = name.replace(old, new)
    return name


def _norm_part_replaced(name, norm_parts):
    norm = NORM.fullmatch(name)
    return f"{norm[1]}.{norm_parts.get(norm[2], norm[2])}" if norm else name


def _renamed(rename, weights: dict) -> dict:
    renamed = {rename(name): value for name, value in weights.items()}
    if len(renamed) < len(weights):
        raise CheckpointError(expected="each tensor once", found="one tensor under two names")
    return renamed


def _network(name, layers, groups, parameters, *published, recipe=None):
    arguments = {"layers": layers, "groups": groups, "width_per_group": 4, "stem_width": 64}
    spec = InputSpec(resize_rule="squash")
    return ModelSpec(name, arguments, parameters, spec, PAPER, published, recipe)


RESNEXT = Family(
    name="resnext",
    class_name="ResNeXt",
    modules=("glorext.models.resnext", "glorext.models.layers"),
    arguments={
        "layers": stages,
        "groups": count,
        "width_per_group": count,
        "stem_width": count,
        "num_classes": count,
        "in_channels": count,
        "include_top": (True, False),
        "stem_pool": ("same", "torch"),
    },
    sizes=_sizes,
    read_arguments=_read_arguments,
    classifier="head.fc.",
    namings=(
        # MindSpore's model zoo, trained on GPU and on Ascend.
        Naming("grouped", r"backbone\.layer\d\.\d+\.conv2\.weight"),
        Naming("split", rf"backbone\.{SPLIT_CONV.pattern}", _merged, _cut),
        _without_backbone("mindcv", "down_sample", "classifier.", {}, "same"),
        # timm's names are the same.
        _without_backbone("torchvision", "downsample", "fc.", TORCH_NORM, "torch"),
    ),
    before_relu=r"backbone\.(bn|layer\d\.\d+\.bn[12])",
    idle_while_zero={
        r"(backbone\.layer\d\.\d+\.bn3)\.gamma": "blocks that add nothing: the last gamma is all zero, as in a fresh "
        "network"
    },
    repo_link="https://gitee.com/mindspore/models/tree/master/official/cv/ResNeXt",
    networks=(
        _network(
            "resnext50",
            (3, 4, 6, 3),
            32,
            25_028_904,
            PublishedResult(0.7816, 0.9388, "Ascend 910", ZOO),
            PublishedResult(0.7805, None, "GPU V100", ZOO),
            PublishedResult(0.7846, 0.9418, "Ascend 310", ZOO),
            PublishedResult(0.7851, 0.9418, "Ascend 910", f"{CARD} resnext50 1.3 to 1.10"),
            PublishedResult(0.7864, 0.9418, "Ascend 910", f"{CARD} resnext50_32x4d 2.3, 2.5 (MindCV)"),
            recipe="resnext50_imagenet",
        ),
        _network(
            "resnext101_32x4d",
            (3, 4, 23, 3),
            32,
            44_177_704,
            PublishedResult(0.7946, 0.9463, "Ascend 910", f"{CARD} resnext101 1.9, 1.10"),
        ),
        _network("resnext101_64x4d", (3, 4, 23, 3), 64, 83_455_272),
    ),
)
