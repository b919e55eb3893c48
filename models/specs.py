"""The registry of networks: `names`, `spec`, and `create`, which makes one."""

from __future__ import annotations

import os

from glorext.runtime.device import prepare
from glorext.runtime.errors import UsageError, did_you_mean
from glorext.runtime.log import get_logger

from .arguments import check_arguments, network_size
from .families import FAMILIES
from .family import ModelSpec

logger = get_logger("models")


def _networks() -> dict[str, ModelSpec]:
    return {network.name: network for family in FAMILIES.values() for network in family.networks}


def names() -> list[str]:
    """The names of the networks that `create` makes."""
    return list(_networks())


def spec(name: str) -> ModelSpec:
    """What the registry knows of a network.

    Raises:
        UsageError: no such network.
    """
    networks = _networks()
    if name not in networks:
        raise UsageError(expected=f"a network out of {', '.join(networks)}", found=did_you_mean(name, networks))
    return networks[name]


def create(name: str, checkpoint=None, head: str = "strict", **overrides):
    """Make a network, with random weights or a checkpoint's.

    Args:
        name: one of `names()`.
        checkpoint: a file in any known format and naming, or anything else that `read_checkpoint` takes. It fills the
            network completely, or that is an error.
        head: "strict", or "new" for a freshly initialized classifier over a checkpoint's features.
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
    if checkpoint is None:
        return _built(model, arguments)
    from .checkpoint import load_checkpoint_into, read_checkpoint, require_likely

    content = read_checkpoint(checkpoint)
    require_likely(content, model, arguments | ({"num_classes": 1} if head == "new" else {}))
    trained = content.naming.stem_pool
    if "stem_pool" in model.family.arguments and arguments.setdefault("stem_pool", trained) != trained:
        given = arguments["stem_pool"]
        logger.warning("stem_pool=%r: %s was trained with %r, its logits will differ", given, content.where, trained)
    from mindspore.nn.utils import no_init_parameters

    with no_init_parameters():
        net = _built(model, arguments)
    load_checkpoint_into(net, content, head)
    return net


def _require_memory(model: ModelSpec, arguments: dict) -> None:
    needed = 4 * network_size(model, arguments)[1]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise UsageError(
            expected=f"a network that fits into this machine's {memory / 1e9:.3g} GB of memory",
            found=f"arguments that make one of {needed / 1e9:.3g} GB",
            where=model.name,
        )


def _built(model: ModelSpec, arguments: dict):
    try:
        return model.constructor(**arguments)
    except (ValueError, TypeError) as error:
        raise UsageError(expected="possible arguments", found=str(error), where=model.name) from error
