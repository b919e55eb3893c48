"""The names under which checkpoints store the same networks: told apart, and exchanged without loss."""

from __future__ import annotations

import re

import numpy as np

from glorext.runtime.errors import CheckpointError, UsageError

from .families import FAMILIES
from .family import Naming

STATE = re.compile(
    r"(moments|moment[12]|adam_[mv]|lamb_[mv]|accum|velocity|optimizer)\..*|.*num_batches_tracked|global_step|"
    r"momentum|learning_rate(_group_[0-9]+)?|weight_decay|epoch(_num)?|step(_num)?|loss_scale|scale_sense|"
    r"(current|last_overflow)_iterator_step",
    re.DOTALL,
)


def without_state(tensors: dict) -> tuple[dict, dict]:
    """Split the tensors of a file into the network's, without the prefix `network.`, and the training run's."""
    weights, state = {}, {}
    for name, value in tensors.items():
        # No network has a scalar among its tensors: those are counters and notes of the run.
        if STATE.fullmatch(name) or np.ndim(value) == 0:
            state[name] = value
            continue
        short = name
        for prefix in ("network.", "module."):
            short = short.removeprefix(prefix)
        if short in weights:
            raise CheckpointError(expected="each tensor once", found=f"{short!r} with and without a prefix")
        weights[short] = value
    return weights, state


def namings() -> dict[str, Naming]:
    """The namings of all families by name."""
    return {naming.name: naming for family in FAMILIES.values() for naming in family.namings}


def recognize(names) -> Naming:
    """The naming that tensor names belong to, the training run's own ones left out.

    Raises:
        CheckpointError: none of the known namings, or names of several.
    """
    names = list(names)
    found = [each for each in namings().values() if any(re.fullmatch(each.mark, name) for name in names)]
    if len(found) == 1:
        return found[0]
    known = (f"{family.class_name} ({', '.join(each.name for each in family.namings)})" for family in FAMILIES.values())
    some = ", ".join(sorted(names)[:3]) or "none"
    raise CheckpointError(
        expected=f"the tensor names of one network: {', '.join(known)}",
        found=" and ".join(naming.name for naming in found) if found else f"{len(names)} other names: {some}",
    )


def from_canonical(weights: dict, naming: str, groups: int = 32) -> dict:
    """Canonical arrays under the names of a naming; the way back is the naming's `to_canonical`, bit for bit.

    Args:
        groups: for "split", into how many tensors a 3x3 convolution is cut.

    Raises:
        UsageError: no such naming, or one of another family of networks.
    """
    known = namings()
    if naming not in known:
        raise UsageError(expected=f"a naming out of {', '.join(known)}", found=repr(naming))
    family = recognize(weights).family
    if known[naming].family is not family:
        raise UsageError(expected=f"a naming of {family.name} networks", found=repr(naming))
    return known[naming].from_canonical(weights, groups)
