"""Which network a checkpoint's tensors make up, read off their names and shapes."""

from __future__ import annotations

import re

from glorext.runtime.errors import CheckpointError

from .checkpoint import Checkpoint
from .specs import SPECS


def network_arguments(checkpoint: Checkpoint) -> dict:
    """The arguments of the network's class that give these names and shapes.

    Raises:
        CheckpointError: a tensor that the answer depends on is missing or of an impossible shape.
    """
    try:
        return _READERS[checkpoint.naming.family](checkpoint.weights) | _head(checkpoint)
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        raise CheckpointError(
            expected=f"the tensors of a {checkpoint.naming.family} network",
            found=f"no usable {error}",
            where=checkpoint.where,
            do="Get the file again, or write it with all of the network's tensors.",
        ) from error


def network_name(checkpoint: Checkpoint) -> str | None:
    """The registered network that has the checkpoint's depth and widths, whatever its classes; None for a variant."""
    found = network_arguments(checkpoint)
    return next(
        (
            spec.name
            for spec in SPECS.values()
            if spec.family == checkpoint.naming.family
            and all(found[key] == value for key, value in spec.arguments.items())
        ),
        None,
    )


def _head(checkpoint) -> dict:
    classes = checkpoint.num_classes
    return {"include_top": False} if classes is None else {"num_classes": classes}


def _numbers(weights, pattern: str) -> list[tuple[int, ...]]:
    matches = (re.fullmatch(pattern, name) for name in weights)
    return sorted({tuple(map(int, match.groups())) for match in matches if match})


def _resnext(weights) -> dict:
    blocks = _numbers(weights, r"backbone\.layer([1-4])\.(\d+)\.conv1\.weight")
    stem_width, in_channels, _, _ = weights["backbone.conv.weight"].shape
    width, width_per_group, _, _ = weights["backbone.layer1.0.conv2.weight"].shape
    return {
        "layers": tuple(sum(stage == i for stage, _ in blocks) for i in (1, 2, 3, 4)),
        "groups": width // width_per_group,
        "width_per_group": width_per_group,
        "stem_width": stem_width,
        "in_channels": in_channels,
    }


def _glore(weights) -> dict:
    blocks = _numbers(weights, r"layer([1-4])\.(\d+)\.conv1\.weight")
    units = _numbers(weights, r"layer([1-4])\.(\d+)\.conv_extend\.2\.weight")
    # Blocks and units share one numbering within a stage.
    after = tuple(
        tuple(
            sum(stage == i and index < unit for stage, index in blocks) for unit_stage, unit in units if unit_stage == i
        )
        for i in (1, 2, 3, 4)
    )
    return {
        "layers": tuple(sum(stage == i for stage, _ in blocks) for i in (1, 2, 3, 4)),
        "units": after,
        "stem_width": weights["conv1.conv_3.weight"].shape[0],
        "in_channels": weights["conv1.conv_1.weight"].shape[1],
    }


def _glore_v2(weights) -> dict:
    blocks = _numbers(weights, r"layer([2-5])\.Residual_Unit(\d+)\.BN_AC_Conv1\.conv\.weight")
    units = _numbers(weights, r"layer([2-5])\.Residual_Unit(\d+)_GloreUnit\.conv_extend\.2\.weight")
    stem_width, in_channels, _, _ = weights["layer1.conv.weight"].shape
    return {
        "layers": tuple(sum(stage == i for stage, _ in blocks) for i in (2, 3, 4, 5)),
        "units": tuple(tuple(unit for stage, unit in units if stage == i) for i in (2, 3, 4, 5)),
        "stem_width": stem_width,
        "in_channels": in_channels,
    }


_READERS = {"resnext": _resnext, "glore": _glore, "glore_v2": _glore_v2}
