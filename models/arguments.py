"""Arguments of the networks' classes, checked without MindSpore: what may be, and how large a network it makes."""

from __future__ import annotations

from numbers import Integral

from glorext.runtime.errors import UsageError

# The deepest residual networks that were published have some 400 blocks in a stage.
MOST_BLOCKS = 1000
LEAST_BYTES_OF_A_TENSOR = 20  # its name, element type and shape in any checkpoint format
LEAST_BYTES_OF_A_VALUE = 2  # float16
CHOICES = {
    "include_top": (True, False),
    "stem_pool": ("same", "torch"),
    "weight_init": ("xavier_uniform", "he_normal", "he_uniform"),
}
GLORE = ("layers", "units", "stem_width", "num_classes", "in_channels", "include_top", "stem_pool", "weight_init")
ARGUMENTS = {
    "resnext": (
        "layers",
        "groups",
        "width_per_group",
        "stem_width",
        "num_classes",
        "in_channels",
        "include_top",
        "stem_pool",
    ),
    "glore": GLORE,
    "glore_v2": GLORE,
}
DEFAULTS = {"num_classes": 1000, "in_channels": 3, "include_top": True}


def check_arguments(model, arguments: dict) -> None:
    """Raise UsageError, naming the argument, for one that the class of the ModelSpec `model` cannot take.

    Args:
        model: a ModelSpec.
        arguments: of its class; what is missing takes the value that the class gives it.
    """

    def wrong(key, expected):
        # No repr: a hostile list may be long or deep.
        found = arguments[key] if type(arguments[key]) in (int, float, bool, str) else type(arguments[key]).__name__
        raise UsageError(expected=f"{key} to be {expected}", found=repr(found)[:100], where=model.name)

    known = ARGUMENTS[model.family]
    for key, value in arguments.items():
        if key not in known:
            raise UsageError(expected=f"arguments out of {', '.join(known)}", found=repr(key)[:100], where=model.name)
        if key in CHOICES:
            if type(value) not in (bool, str) or value not in CHOICES[key]:
                wrong(key, " or ".join(map(repr, CHOICES[key])))
        elif key not in ("layers", "units") and not _is_number(value):
            wrong(key, "a whole number above zero")
    layers, units = arguments.get("layers", (1, 1, 1, 1)), arguments.get("units", ((), (), (), ()))
    if type(layers) not in (list, tuple) or len(layers) != 4 or not all(_is_number(n, MOST_BLOCKS) for n in layers):
        wrong("layers", f"four numbers from 1 to {MOST_BLOCKS}")
    if type(units) not in (list, tuple) or len(units) != 4 or not all(map(_are_blocks, units, layers)):
        wrong("units", f"for each of four stages some of its blocks, each once, from 1 to {tuple(layers)}")


def _is_number(value, most=float("inf")) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and 1 <= value <= most


def _are_blocks(after, blocks: int) -> bool:
    return (
        type(after) in (list, tuple)
        and len(after) <= blocks
        and all(_is_number(block, blocks) for block in after)
        and len(set(after)) == len(after)
    )


def network_size(model, arguments: dict) -> tuple[int, int]:
    """Tensors of a network, batch norm's statistics among them, and the values in them together.

    Args:
        model: a ModelSpec.
        arguments: of its class, checked by `check_arguments`; what is missing is the ModelSpec's or the class's own.
    """
    arguments = DEFAULTS | model.arguments | arguments
    parts = _SIZES[model.family](
        **{
            key: arguments[key]
            for key in ARGUMENTS[model.family]
            if key not in ("num_classes", "include_top", "stem_pool", "weight_init")
        }
    )
    if arguments["include_top"]:
        channels, classes = 32 * arguments["stem_width"], arguments["num_classes"]
        parts.append((1, (2, (channels + 1) * classes)))
    return tuple(sum(times * size[index] for times, size in parts) for index in (0, 1))


def least_bytes(model, arguments: dict) -> int:
    """Bytes that a checkpoint file of this network has at least, in any format and element type."""
    tensors, values = network_size(model, arguments)
    return tensors * LEAST_BYTES_OF_A_TENSOR + values * LEAST_BYTES_OF_A_VALUE


# Sizes are pairs (tensors, values); a network is a list of (how many times, size).


def _conv(in_channels, out_channels, side=1, groups=1):
    return 1, in_channels // groups * out_channels * side * side


def _norm(channels):
    return 4, 4 * channels


def _block(in_channels, width, out_channels, groups, norm_last):
    """A bottleneck; its norms follow its convolutions, or stand before them."""
    convs = [_conv(in_channels, width), _conv(width, width, 3, groups), _conv(width, out_channels)]
    norms = [_norm(width), _norm(width), _norm(out_channels if norm_last else in_channels)]
    return [(1, size) for size in convs + norms]


def _stages(layers, widths, stem_width, groups, norm_last):
    """The blocks of four stages; the first of each has a convolution and a norm in its shortcut."""
    parts, channels = [], stem_width
    for i, (blocks, width) in enumerate(zip(layers, widths)):
        out = 4 * stem_width * 2**i
        parts += _block(channels, width, out, groups, norm_last)
        parts += [(1, _conv(channels, out)), (1, _norm(out if norm_last else channels))]
        parts += [((blocks - 1) * times, size) for times, size in _block(out, width, out, groups, norm_last)]
        channels = out
    return parts


def _units(units, stem_width):
    """The GloRe units: three branches with a norm each, and two convolutions on the graph."""
    parts = []
    for i, after in enumerate(units):
        channels = 4 * stem_width * 2**i
        nodes, states = channels // 4, channels // 4 * 2
        parts += [
            (len(after), size)
            for size in (
                _norm(channels),
                _conv(channels, states),
                _norm(channels),
                _conv(channels, nodes),
                _conv(nodes, nodes),
                _conv(states, states),
                _norm(states),
                _conv(states, channels),
            )
        ]
    return parts


def _resnext(layers, groups, width_per_group, stem_width, in_channels):
    widths = [groups * width_per_group * 2**i for i in range(4)]
    return [
        (1, _conv(in_channels, stem_width, 7)),
        (1, _norm(stem_width)),
        *_stages(layers, widths, stem_width, groups, True),
    ]


def _glore(layers, units, stem_width, in_channels):
    half = stem_width // 2
    stem = [
        _conv(in_channels, half, 3),
        _norm(half),
        _conv(half, half, 3),
        _norm(half),
        _conv(half, stem_width, 3),
        _norm(stem_width),
    ]
    return [(1, size) for size in stem] + _trunk(layers, units, stem_width, True)


def _glore_v2(layers, units, stem_width, in_channels):
    ends = [_conv(in_channels, stem_width, 7), _norm(stem_width), _norm(32 * stem_width)]
    return [(1, size) for size in ends] + _trunk(layers, units, stem_width, False)


def _trunk(layers, units, stem_width, norm_last):
    widths = [stem_width * 2**i for i in range(4)]
    return _stages(layers, widths, stem_width, 1, norm_last) + _units(units, stem_width)


_SIZES = {"resnext": _resnext, "glore": _glore, "glore_v2": _glore_v2}
