"""`glorext.train(...)`: what `glorext train` does, from Python."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .callbacks import Callback
    from .loop import Outcome


def train(
    recipe: str | Path | None = None,
    data=None,
    val=None,
    *,
    out=None,
    from_=None,
    labels=None,
    resume=None,
    device: str | None = None,
    device_id: int | None = None,
    stop_after: int | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    **keys: Any,
) -> Outcome:
    """Train a network: the run that `glorext train` gives with the same arguments, equal to the bit.

    It works in a notebook and in a thread; Ctrl-C and SIGTERM stop it, with its state saved, where it runs in the main
    thread.

    Args:
        recipe: a name or YAML file, "resnext50_imagenet" by default.
        data: training pictures, FOLDER/<class>/<file>, a folder with train and val, or a list.
        val: validation pictures, evaluated after every epoch.
        out: the run's folder.
        from_: a run, a checkpoint, a package or a name to start from, with a new classifier (`--from`).
        labels: file with one class name per line, in index order.
        resume: a run's folder to go on with, one of its checkpoints, or "auto": `out`, if it holds a run.
        device: "auto" (the default), "CPU", "GPU" or "Ascend".
        device_id: which card.
        stop_after: save the state and stop at that step of the whole run.
        callbacks: what is told of every step and epoch, and may end the run; see `Callback`.
        quiet: no progress bar and no lines on stdout.
        keys: of the recipe, such as `epochs=5` or `input={"size": 64}`; published spellings are allowed.

    Returns:
        Where the run is, how good its best weights are, and whether it was stopped before its end.

    Raises:
        UsageError, RecipeError, DataError, CheckpointError, DeviceError: the message names the cause.
        NonFiniteError: the loss is inf or nan.
        Interrupted: a KeyboardInterrupt, after Ctrl-C or SIGTERM, with the state saved.
        Exception: what a callback raised, as it is, after the state was saved.
    """
    from .command import parse, start

    own = {"recipe": recipe, "data": data, "val_dir": val, "out": out, "from": from_, "labels": labels}
    own |= {"resume": resume, "device": device, "device_id": device_id, "stop_after": stop_after}
    return start(*parse(_flags(own | keys)), callbacks=callbacks, quiet=quiet)


def _flags(values: dict[str, Any]) -> list[str]:
    """The command's flags that say the same; what is None is left to the recipe."""
    return [f"--{key}={_word(value)}" for key, value in values.items() if value is not None]


def _word(value) -> str:
    return json.dumps(value) if isinstance(value, (bool, list, tuple, dict)) else str(value)
