"""Checkpoints of every published naming: read, told apart, loaded completely or not at all, written, digested."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glorext.runtime.errors import CheckpointError, UsageError
from glorext.runtime.log import get_logger

from .arguments import network_size
from .family import Family, ModelSpec, Naming
from .formats import read_tensors, write_tensors
from .namings import from_canonical, recognize, without_state

logger = get_logger("models")
SHOWN = 10
# A network up to this many times as large as the checkpoint, or as the registered network, is built all the same: the
# error can then list the differences.
LIKELY = 10


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's content.

    Args:
        weights: the network's arrays under canonical names, in the file's order.
        naming: how the file named them.
        state: what the training run left: optimizer moments, step counters.
        where: the file, or "memory".
    """

    weights: dict[str, np.ndarray]
    naming: Naming
    state: dict[str, np.ndarray]
    where: str

    @property
    def family(self) -> Family:
        """The family of the network."""
        return self.naming.family

    @property
    def num_classes(self) -> int | None:
        """Rows of the classifier, or None without one."""
        head = self.weights.get(self.family.classifier + "weight")
        return None if head is None else head.shape[0]


def read_checkpoint(source) -> Checkpoint:
    """Read a checkpoint in any known format and naming. Never imports MindSpore, and torch only for a .pth file.

    Args:
        source: a .ckpt, .safetensors, .pth or .pt file, a dict of names to arrays or MindSpore parameters, or a
            network.

    Raises:
        CheckpointError: unreadable, damaged, or of no known naming.
    """
    if isinstance(source, Checkpoint):
        return source
    where = str(source) if isinstance(source, (str, Path)) else "memory"
    try:
        weights, state = without_state(_arrays(source))
        naming = recognize(weights)
        return Checkpoint(naming.to_canonical(weights), naming, state, where)
    except CheckpointError as error:
        if error.where is None:
            raise CheckpointError(expected=error.expected, found=error.found, where=where, do=error.do) from error
        raise


def _arrays(source) -> dict[str, np.ndarray]:
    if isinstance(source, (str, Path)):
        return read_tensors(source)
    if hasattr(source, "parameters_and_names"):
        source = {parameter.name: parameter for parameter in source.get_parameters()}
    # A parameter's array is a view: it would change with the next optimizer step.
    return {
        name: value.asnumpy().copy() if hasattr(value, "asnumpy") else np.asarray(value)
        for name, value in source.items()
    }


def load_checkpoint_into(net, source, head: str = "strict") -> Checkpoint:
    """Load a checkpoint into a network: every tensor of the network, or an error and an untouched network.

    Args:
        net: a network made by `create`, under any precision mode.
        source: what `read_checkpoint` takes.
        head: "strict": the classifier must fit too; "new": the network keeps its own, the checkpoint's is left out.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: missing, unexpected or wrong-shaped tensors, listed by group; the classifier's are named apart.
    """
    if head not in ("strict", "new"):
        raise UsageError(expected="head to be 'strict' or 'new'", found=repr(head))
    import mindspore as ms

    checkpoint = read_checkpoint(source)
    parameters = {parameter.name: parameter for parameter in net.get_parameters()}
    prefix = checkpoint.family.classifier
    # In the order of the network: each initialization below takes the next random numbers, and a set's order is
    # different in every process.
    own_head = [name for name in parameters if name.startswith(prefix)]
    # A network without a classifier takes the features of a whole one.
    left_out = prefix if head == "new" or not own_head else None
    weights = {
        name: array for name, array in checkpoint.weights.items() if not (left_out and name.startswith(left_out))
    }
    kept = own_head if head == "new" else []
    wanted = {name: tuple(parameter.shape) for name, parameter in parameters.items() if name not in kept}
    _require_match(wanted, weights, checkpoint)
    for name in kept:
        parameters[name].init_data()
    for name in wanted:
        parameters[name].set_data(ms.Tensor(weights[name].astype(np.float32)))
    wider = sum(weights[name].dtype == np.float64 for name in wanted)
    if wider:
        logger.warning("%s: %d float64 tensors were rounded to float32", checkpoint.where, wider)
    return checkpoint


def require_likely(checkpoint: Checkpoint, model: ModelSpec, arguments: dict) -> None:
    """Raise CheckpointError for a network so much larger than the checkpoint that building it would only cost time.

    Args:
        arguments: of the network's class, checked.
    """
    wanted = network_size(model, arguments)
    stored = len(checkpoint.weights), sum(array.size for array in checkpoint.weights.values())
    if any(want > LIKELY * max(have, usual) for want, have, usual in zip(wanted, stored, network_size(model, {}))):
        raise CheckpointError(
            expected="a checkpoint of {:,} tensors with {:,} values, as the network's arguments say".format(*wanted),
            found="{:,} with {:,}".format(*stored),
            where=checkpoint.where,
            do="Check the network's name and arguments.",
        )


def compare(wanted: dict, weights: dict) -> dict[str, list[str]]:
    """How a checkpoint's arrays differ from a network's names and shapes: a list for each kind of difference."""
    shared = [name for name in wanted if name in weights]
    return {
        "missing": [name for name in wanted if name not in weights],
        "unexpected": [name for name in weights if name not in wanted],
        "of wrong shape": [
            f"{name} {weights[name].shape} instead of {wanted[name]}"
            for name in shared
            if weights[name].shape != wanted[name]
        ],
        "not floating point": [
            f"{name} of {weights[name].dtype}" for name in shared if weights[name].dtype.kind != "f"
        ],
    }


def _require_match(wanted: dict, weights: dict, checkpoint: Checkpoint) -> None:
    differences = {title: found for title, found in compare(wanted, weights).items() if found}
    if not differences:
        return
    head = checkpoint.family.classifier
    do = "Check the network's name and arguments; `glorext lint` tells which network a checkpoint belongs to."
    if list(differences) == ["of wrong shape"] and all(text.startswith(head) for text in differences["of wrong shape"]):
        do = (
            f"The checkpoint has {checkpoint.num_classes} classes, the network {wanted[head + 'weight'][0]}: give "
            f'num_classes={checkpoint.num_classes}, or head="new" to train a new classifier.'
        )
    raise CheckpointError(
        expected=f"all {len(wanted)} tensors of the network and no others",
        found="; ".join(_listed(*group) for group in differences.items()),
        where=checkpoint.where,
        do=do,
    )


def _listed(title: str, items: list) -> str:
    more = f", and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return f"{len(items)} {title}: {', '.join(items[:SHOWN])}{more}"


def save_checkpoint(source, path, naming: str | None = None, groups: int = 32) -> None:
    """Write a network's weights as .ckpt or .safetensors, by the suffix; readable, and whole or not there.

    Args:
        source: a network, or a dict of names to arrays or parameters. A dict keeps all its entries, optimizer state
            among them, unless a naming is given.
        path: the file; MindSpore reads both formats.
        naming: None for the names as they are, else "grouped", "split", "mindcv" or "torchvision": the network's
            tensors alone under those names.
        groups: of the network's 3x3 convolutions, for "split".

    Raises:
        CheckpointError: another suffix or no known naming.
        UsageError: a naming of another family of networks.
        DiskFullError: no room.
    """
    tensors = _arrays(source)
    if naming is not None:
        tensors = from_canonical(read_checkpoint(tensors).weights, naming, groups)
    write_tensors(tensors, path)


def weights_digest(source) -> str:
    """SHA-256 over name, element type, shape and bytes of the network's tensors in the order of canonical names.

    Training state, naming and file format do not matter, every bit of every weight does.

    Args:
        source: what `read_checkpoint` takes.
    """
    digest = hashlib.sha256()
    for name, array in sorted(read_checkpoint(source).weights.items()):
        digest.update(f"{name}\n{array.dtype.name}\n{','.join(map(str, array.shape))}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
