"""The names under which checkpoints store the same networks, and the lossless ways between them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from glorext.runtime.errors import CheckpointError, UsageError


@dataclass(frozen=True)
class Naming:
    """A way to store a network's tensors.

    Args:
        name: "grouped" and "split" (ResNeXt as published by MindSpore's model zoo, from GPU and from Ascend),
            "mindcv", "torchvision" (timm's names are the same), "glore" and "glore_v2" (as published).
        family: "resnext", "glore" or "glore_v2": which class of network it belongs to.
        head: the classifier's prefix among the canonical names.
        stem_pool: the MaxPool padding that the weights were trained with.
    """

    name: str
    family: str
    head: str
    stem_pool: str


NAMINGS = {
    naming.name: naming
    for naming in (
        Naming("grouped", "resnext", "head.fc.", "same"),
        Naming("split", "resnext", "head.fc.", "same"),
        Naming("mindcv", "resnext", "head.fc.", "same"),
        Naming("torchvision", "resnext", "head.fc.", "torch"),
        Naming("glore", "glore", "end_point.", "same"),
        Naming("glore_v2", "glore_v2", "classifier.", "same"),
    )
}

CONVS = re.compile(r"(.*\.conv2)\.convs\.(\d+)\.weight")
STATE_PREFIXES = ("moments.", "moment1.", "moment2.", "accum.", "velocity.", "optimizer.")
STATE_NAMES = {
    "global_step",
    "momentum",
    "learning_rate",
    "weight_decay",
    "epoch_num",
    "step_num",
    "loss_scale",
    "scale_sense",
    "current_iterator_step",
    "last_overflow_iterator_step",
    "step",
    "epoch",
}
# Canonical prefix of a ResNeXt tensor beside the same one in the namings without "backbone.".
PREFIXES = {"mindcv": ("down_sample", "classifier."), "torchvision": ("downsample", "fc.")}
TORCH_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def without_state(tensors: dict) -> tuple[dict, dict]:
    """Part the tensors of a file into the network's, without the prefix `network.`, and the training run's."""
    weights, state = {}, {}
    for name, value in tensors.items():
        # No network has a scalar among its tensors: those are counters and remarks of the run.
        if (
            name in STATE_NAMES
            or name.startswith(STATE_PREFIXES)
            or name.endswith("num_batches_tracked")
            or np.ndim(value) == 0
        ):
            state[name] = value
            continue
        short = name
        for prefix in ("network.", "module."):
            short = short.removeprefix(prefix)
        if short in weights:
            raise CheckpointError(expected="each tensor once", found=f"{short!r} with and without a prefix")
        weights[short] = value
    return weights, state


def recognise(names) -> Naming:
    """The naming that tensor names belong to, the training run's own ones left out.

    Raises:
        CheckpointError: none of the known namings.
    """
    names = set(names)
    if any(name.startswith("backbone.") for name in names):
        return NAMINGS["split" if any(map(CONVS.fullmatch, names)) else "grouped"]
    if "conv1.conv_1.weight" in names:
        return NAMINGS["glore"]
    if any(name.startswith("layer2.Residual_Unit1.") for name in names):
        return NAMINGS["glore_v2"]
    if "conv1.weight" in names and "layer1.0.conv1.weight" in names:
        return NAMINGS["torchvision" if "bn1.running_mean" in names else "mindcv"]
    some = ", ".join(sorted(names)[:3]) or "none"
    raise CheckpointError(
        expected="the names of ResNeXt (MindSpore's model zoo, MindCV, torchvision, timm) or GloRe-ResNet",
        found=f"{len(names)} other names: {some}",
        do="`glorext lint` shows what a checkpoint holds.",
    )


def to_canonical(weights: dict, naming: Naming) -> dict:
    """A network's arrays under canonical names: the published ones, ResNeXt's 3x3 convolutions in one tensor each."""
    if naming.name == "split":
        return _merged(weights)
    if naming.name in PREFIXES:
        return {_canonical_name(name, naming.name): value for name, value in weights.items()}
    return dict(weights)


def from_canonical(weights: dict, naming: str, groups: int = 32) -> dict:
    """Canonical arrays under the names of a naming; the way back is `to_canonical`, bit for bit.

    Args:
        groups: for "split", into how many tensors a 3x3 convolution is cut.

    Raises:
        UsageError: no such naming, or one of another family of networks.
    """
    if naming not in NAMINGS:
        raise UsageError(expected=f"a naming out of {', '.join(NAMINGS)}", found=repr(naming))
    family = recognise(weights).family
    if NAMINGS[naming].family != family:
        raise UsageError(expected=f"a naming of {family} networks", found=repr(naming))
    if naming == "split":
        return _cut(weights, groups)
    if naming in PREFIXES:
        return {_stored_name(name, naming): value for name, value in weights.items()}
    return dict(weights)


def _merged(weights: dict) -> dict:
    merged, parts = {}, {}
    for name, value in weights.items():
        match = CONVS.fullmatch(name)
        if match:
            target = f"{match[1]}.weight"
            merged.setdefault(target, None)
            parts.setdefault(target, {})[int(match[2])] = value
        else:
            merged[name] = value
    for target, found in parts.items():
        if sorted(found) != list(range(len(found))) or len({value.shape for value in found.values()}) != 1:
            raise CheckpointError(
                expected=f"parts 0 to n-1 of one shape for {target}",
                found=f"parts {sorted(found)[:10]} (of {len(found)})",
            )
        merged[target] = np.concatenate([found[i] for i in range(len(found))])
    return merged


def _cut(weights: dict, groups: int) -> dict:
    cut = {}
    for name, value in weights.items():
        if name.endswith(".conv2.weight"):
            if value.shape[0] % groups:
                raise UsageError(expected=f"a number of groups that divides {value.shape[0]}", found=groups)
            for i, part in enumerate(np.split(value, groups)):
                cut[f"{name.removesuffix('weight')}convs.{i}.weight"] = part
        else:
            cut[name] = value
    return cut


def _is_norm(name: str) -> bool:
    return bool(re.search(r"(^|\.)(bn\d?|down_?sample\.1)\.[a-z_]+$", name))


def _canonical_name(name: str, naming: str) -> str:
    shortcut, head = PREFIXES[naming]
    if naming == "torchvision" and _is_norm(name):
        stem, _, last = name.rpartition(".")
        name = f"{stem}.{TORCH_NORM.get(last, last)}"
    if name.startswith(head):
        return "head.fc." + name.removeprefix(head)
    if name.startswith(("conv1.", "bn1.")):
        return "backbone." + name.replace("1", "", 1)
    if name.startswith("layer"):
        name = name.replace(f".{shortcut}.0.", ".down_sample.conv.").replace(f".{shortcut}.1.", ".down_sample.bn.")
        return "backbone." + name
    return name


def _stored_name(name: str, naming: str) -> str:
    shortcut, head = PREFIXES[naming]
    if name.startswith("head.fc."):
        return head + name.removeprefix("head.fc.")
    name = name.removeprefix("backbone.")
    if name.startswith(("conv.", "bn.")):
        name = name.replace(".", "1.", 1)
    name = name.replace(".down_sample.conv.", f".{shortcut}.0.").replace(".down_sample.bn.", f".{shortcut}.1.")
    if naming == "torchvision" and _is_norm(name):
        stem, _, last = name.rpartition(".")
        name = f"{stem}.{ {ours: theirs for theirs, ours in TORCH_NORM.items()}.get(last, last) }"
    return name
