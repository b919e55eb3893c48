"""Which network a checkpoint's tensors make up, read off their names and shapes."""

from __future__ import annotations

from glorext.runtime.errors import CheckpointError

from .checkpoint import Checkpoint


def network_arguments(checkpoint: Checkpoint) -> dict:
    """The arguments of the network's class that give these names and shapes.

    Raises:
        CheckpointError: a tensor that the answer depends on is missing or of an impossible shape.
    """
    classes = checkpoint.num_classes
    head = {"include_top": False} if classes is None else {"num_classes": classes}
    try:
        return checkpoint.family.read_arguments(checkpoint.weights) | head
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        raise CheckpointError(
            expected=f"the tensors of a {checkpoint.family.name} network",
            found=f"no {error}" if isinstance(error, KeyError) else f"impossible shapes ({error})",
            where=checkpoint.where,
            do="Get the file again, or write it with all of the network's tensors.",
        ) from error


def network_name(checkpoint: Checkpoint) -> str | None:
    """The registered network that has the checkpoint's depth and widths, whatever its classes; None for a variant."""
    found = network_arguments(checkpoint)
    for network in checkpoint.family.networks:
        if all(found[key] == value for key, value in network.arguments.items()):
            return network.name
    return None
