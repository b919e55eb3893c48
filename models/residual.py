"""What the families of residual networks share: four stages of blocks, as an argument, as sizes and in tensor names."""

from __future__ import annotations

import re

from .arguments import is_count

# The deepest residual networks that were published have some 400 blocks in a stage.
MAX_BLOCKS = 1000


def stages(value, arguments) -> str | None:
    """Check of an argument: how many blocks each of the four stages has."""
    possible = (
        type(value) in (list, tuple) and len(value) == 4 and all(is_count(blocks, MAX_BLOCKS) for blocks in value)
    )
    return None if possible else f"four numbers from 1 to {MAX_BLOCKS}"


def numbers_by_stage(names, pattern: str, first: int = 1) -> list[list[int]]:
    """For each of four stages, from number `first`, the numbers that stand in tensor names.

    Args:
        pattern: of whole names, with two groups: the stage's number and the number wanted.
    """
    found = {tuple(map(int, match.groups())) for name in names if (match := re.fullmatch(pattern, name))}
    return [sorted(number for stage, number in found if stage == i) for i in range(first, first + 4)]


def conv(in_channels: int, out_channels: int, side: int = 1, groups: int = 1) -> tuple[int, int]:
    """Tensors and values of a convolution without bias."""
    return 1, in_channels // groups * out_channels * side * side


def norm(channels: int) -> tuple[int, int]:
    """Tensors and values of a batch norm, its statistics among them."""
    return 4, 4 * channels


def trunk(arguments: dict, width: int, groups: int = 1, norm_first: bool = False) -> list[tuple[int, int]]:
    """Sizes of four stages of bottlenecks, and of the classifier if there is one.

    Args:
        arguments: of the network's class.
        width: channels of the 3x3 convolutions in the first stage; doubles with each stage, as the output does.
        groups: of the 3x3 convolutions.
        norm_first: whether each batch norm stands before its convolution.
    """

    def block(in_channels):
        ends = in_channels if norm_first else out_channels
        convs = [conv(in_channels, width), conv(width, width, 3, groups), conv(width, out_channels)]
        return [*convs, norm(width), norm(width), norm(ends)]

    sizes, in_channels = [], arguments["stem_width"]
    for i, blocks in enumerate(arguments["layers"]):
        out_channels = 4 * arguments["stem_width"] * 2**i
        shortcut = [conv(in_channels, out_channels), norm(in_channels if norm_first else out_channels)]
        sizes += shortcut + block(in_channels) + block(out_channels) * (blocks - 1)
        in_channels, width = out_channels, 2 * width
    if arguments["include_top"]:
        sizes.append((2, (in_channels + 1) * arguments["num_classes"]))
    return sizes
