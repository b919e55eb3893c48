"""Arguments of the networks' classes, checked without MindSpore: possible values, and the size of the network."""

from __future__ import annotations

from numbers import Integral

from glorext.runtime.errors import UsageError

from .family import ModelSpec

LEAST_BYTES_OF_A_TENSOR = 20  # its name, element type and shape in any checkpoint format
LEAST_BYTES_OF_A_VALUE = 2  # float16
# Of arguments that no ModelSpec gives; every class has them.
DEFAULTS = {"num_classes": 1000, "in_channels": 3, "include_top": True}


def is_count(value, most: float = float("inf")) -> bool:
    """Whether it is a whole number from 1 to `most`."""
    return not isinstance(value, bool) and isinstance(value, Integral) and 1 <= int(value) <= most


def count(value, arguments) -> str | None:
    """Check of an argument: a whole number above zero."""
    return None if is_count(value) else "a whole number above zero"


def check_arguments(model: ModelSpec, arguments: dict) -> None:
    """Raise UsageError, naming the argument, for one that the network's class cannot take.

    Args:
        arguments: of the class; what is missing is the ModelSpec's or the class's own.
    """
    possible, together = model.family.arguments, model.arguments | arguments
    for key, value in together.items():
        if key not in possible:
            raise UsageError(
                expected=f"arguments out of {', '.join(possible)}", found=repr(key)[:100], where=model.name
            )
        expected = _expected(possible[key], value, together)
        if expected:
            # No repr: a hostile list may be long or deep.
            found = value if type(value) in (int, float, bool, str) else type(value).__name__
            raise UsageError(expected=f"{key} to be {expected}", found=repr(found)[:100], where=model.name)


def _expected(possible, value, arguments) -> str | None:
    if callable(possible):
        return possible(value, arguments)
    # 1 == True, but only one of them is meant.
    if any(type(value) is type(choice) and value == choice for choice in possible):
        return None
    return " or ".join(map(repr, possible))


def network_size(model: ModelSpec, arguments: dict) -> tuple[int, int]:
    """Tensors of a network, batch norm's statistics among them, and the values in them together.

    Args:
        arguments: of its class, checked by `check_arguments`; what is missing is the ModelSpec's or the class's own.
    """
    sizes = model.family.sizes(DEFAULTS | model.arguments | arguments)
    return sum(tensors for tensors, _ in sizes), sum(values for _, values in sizes)


def least_bytes(model: ModelSpec, arguments: dict) -> int:
    """Bytes that a checkpoint file of this network has at least, in any format and element type."""
    tensors, values = network_size(model, arguments)
    return tensors * LEAST_BYTES_OF_A_TENSOR + values * LEAST_BYTES_OF_A_VALUE
