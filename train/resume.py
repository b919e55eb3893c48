"""Going on with a run: its newest whole state, what may have changed since it began, and everything as it was then."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import mindspore as ms
import numpy as np

from glorext.models.formats import read_tensors
from glorext.runtime.errors import CheckpointError, DataError, RecipeError, UsageError
from glorext.runtime.files import atomic_path
from glorext.runtime.log import get_logger

from .distributed import Group
from .pictures import Pictures
from .recipe import Recipe, load_recipe
from .run_folder import BEST, PICTURES_DIGEST, POSITION, Position, RunFolder, fingerprint

logger = get_logger("train")
# What a resumed run may change: nothing of it decides what is computed.
MAY_CHANGE = {
    "ckpt_path",
    "rank",
    "save_checkpoint",
    "save_checkpoint_epochs",
    "ckpt_interval",
    "keep_checkpoint_max",
    "tensorboard",
}


class State(NamedTuple):
    """A checkpoint to go on from, and its tensors."""

    path: Path
    tensors: dict[str, np.ndarray]

    @property
    def position(self) -> Position:
        """Where the run stood."""
        return Position.of(self.tensors)


def find_state(folder: RunFolder, which: str = "auto") -> State | None:
    """The newest whole checkpoint of a run; None if it has none.

    Args:
        which: "auto", or the path of one checkpoint.

    Raises:
        CheckpointError: there are checkpoints but none is whole, or the named one is not.
        UsageError: the named one lies in another folder.
    """
    if which != "auto" and Path(which).resolve().parent != folder.folder.resolve():
        raise UsageError(
            expected=f"a checkpoint in the run's folder {folder.folder}",
            found=which,
            where="--resume",
            do="Name its folder with --out.",
        )
    candidates = folder.checkpoints() if which == "auto" else [Path(which)]
    for path in candidates:
        try:
            tensors = read_tensors(path)
            if not {POSITION, BEST, PICTURES_DIGEST} <= tensors.keys():
                raise CheckpointError(expected="the state of a training run", found="weights only", where=path)
            return State(path, tensors)
        except CheckpointError as error:
            if which != "auto":
                raise
            logger.warning("passed over: %s", error)
    if candidates:
        raise CheckpointError(
            expected="a whole checkpoint",
            found=f"{len(candidates)} damaged ones",
            where=folder.folder,
            do="Start again in another folder.",
        )
    return None


def require_one_state(state: State | None, group: Group, folder: RunFolder) -> None:
    """Raise CheckpointError unless all processes go on from the same place, or all begin anew."""
    position = state.position if state else Position()
    place = np.array([position.epoch, position.step, state is not None], int)
    if (group.sum(place) != group.size * place).any():
        raise CheckpointError(
            expected="the same checkpoint for every process",
            found=state.path if state else "none",
            where=folder.folder,
            do="Put the run's folder where every host sees it.",
        )


def require_same_run(state: State, recipe: Recipe, pictures: Pictures, folder: RunFolder) -> None:
    """A run goes on only with the recipe and the pictures that it began with, since its position counts them.

    Raises:
        DataError: other pictures or labels.
        RecipeError: another value of a key that decides what is computed.
    """
    if not np.array_equal(state.tensors[PICTURES_DIGEST], fingerprint(pictures)):
        raise DataError(
            expected="the pictures and labels that the run began with",
            found="others, or other names",
            where=f"{pictures.folder}, for {state.path}",
            do="Give the run its own pictures, or start a new one with --pretrained and another --out.",
        )
    before = load_recipe(folder.folder / "recipe.yaml")
    for item in dataclasses.fields(Recipe):
        old, new = getattr(before, item.name), getattr(recipe, item.name)
        if old == new or item.name in MAY_CHANGE:
            continue
        if item.name == "workers":  # another machine may have fewer cores
            logger.warning("workers %d instead of %d: augmentation draws other numbers from here on", new, old)
        else:
            raise RecipeError(
                expected=f"{item.name} {old}, as the run began",
                found=new,
                where=folder.folder / "recipe.yaml",
                do="Resume with the same values.",
            )


def restore(state: State, parameters: dict) -> None:
    """Fill the parameters of network, optimizer and loss scale, by name, from a checkpoint.

    Raises:
        CheckpointError: it has none of that name and shape.
    """
    path, tensors = state
    for name, parameter in parameters.items():
        if name not in tensors or tensors[name].shape != tuple(parameter.shape):
            raise CheckpointError(
                expected=f"{name} {tuple(parameter.shape)}",
                where=path,
                found=tensors[name].shape if name in tensors else "nothing",
            )
        parameter.set_data(ms.Tensor(tensors[name]))
    logger.info("resumed from %s", path)


def cut(folder: RunFolder, position: Position, steps_per_epoch: int) -> None:
    """Remove checkpoints and metrics from after `position`, where the run goes on, and half-written files."""
    for path in folder.folder.glob(".*.part*"):
        if path.is_file():
            path.unlink()
    for path in folder.checkpoints_after(position, steps_per_epoch):
        path.unlink()
        logger.warning("removed %s: the run goes on before it", path)
    if folder.metrics.exists():
        kept = _events_until(position, folder.metrics.read_text(encoding="utf-8"))
        with atomic_path(folder.metrics) as temporary:
            temporary.write_text(kept, encoding="utf-8")


def _events_until(position: Position, metrics: str) -> str:
    """The lines of metrics.jsonl from before `position`; a half-written last line is dropped."""
    kept = []
    for line in metrics.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            break
        epoch, is_step = event["epoch"] - 1, event["event"] == "step"
        if epoch < position.epoch or (epoch == position.epoch and is_step and event["step"] <= position.step):
            kept.append(line + "\n")
    return "".join(kept)
