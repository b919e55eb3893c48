"""Going on with a run: its newest whole state, what may have changed since it began, and everything as it was then."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from glorext.models.formats import read_tensors
from glorext.runtime.errors import CheckpointError, DataError, RecipeError, UsageError
from glorext.runtime.files import atomic_path
from glorext.runtime.log import get_logger

from .distributed import Group
from .pictures import Pictures
from .recipe import Recipe
from .recipe_file import load_recipe
from .run_folder import BEST, LOSSES, MEASURED_ON, PICTURES_DIGEST, POSITION, RATES, Position, RunFolder, fingerprint
from .run_paths import read_paths, resolved

logger = get_logger("train")


class Rule(NamedTuple):
    """Whether a resumed run may change something, and under which condition or with which effect."""

    may: Literal["yes", "told", "no"]
    meaning: str


SCHEDULE = "rates from here on are those of the new schedule; no fewer epochs than have begun"
GLOBAL_BATCH = "batch_size x devices stays the same; batch_size follows by itself where it divides"
# What may change when a run goes on: keys of the recipe, then what the run took from the machine. All other keys: "no".
RULES = {
    "ckpt_path": Rule("yes", "the folder may be moved"),
    "rank": Rule("yes", "set by the launcher"),
    "save_checkpoint": Rule("yes", "decides nothing that is computed"),
    "save_checkpoint_epochs": Rule("yes", "decides nothing that is computed"),
    "ckpt_interval": Rule("yes", "decides nothing that is computed"),
    "keep_checkpoint_max": Rule("yes", "decides nothing that is computed"),
    "tensorboard": Rule("yes", "decides nothing that is computed"),
    "mlflow": Rule("yes", "decides nothing that is computed"),
    "wandb": Rule("yes", "decides nothing that is computed"),
    "early_stopping": Rule("yes", "says only when the run ends"),
    "epochs": Rule("told", SCHEDULE),
    "T_max": Rule("told", SCHEDULE),
    "lr_epochs": Rule("told", SCHEDULE),
    "batch_size": Rule("told", GLOBAL_BATCH),
    "micro_batch_size": Rule("told", "batch norms see the pictures of other parts from here on"),
    "group_size": Rule("told", GLOBAL_BATCH),
    "workers": Rule("told", "augmentation draws other numbers from here on"),
    "pretrained": Rule("no", "it is not opened again, so it may be moved or gone; another one is refused"),
    "data_dir": Rule("yes", "the folder may be moved; other file names in it are refused"),
    "labels": Rule("no", "the run's own labels.txt counts"),
    "val_dir": Rule("told", "other pictures start a new best"),
    "device": Rule("told", "another device rounds differently from here on"),
    "best.ckpt": Rule("told", "if lost, it is found again by evaluating the checkpoints that are left"),
}


class State(NamedTuple):
    """A checkpoint to go on from, and its tensors."""

    path: Path
    tensors: dict[str, np.ndarray]

    @property
    def position(self) -> Position:
        """Where the run stood."""
        return Position.of(self.tensors)


def read_state(path: Path) -> State:
    """The state in a checkpoint of a run; raises CheckpointError where it is cut off or holds weights only."""
    tensors = read_tensors(path)
    if not {POSITION, BEST, MEASURED_ON, LOSSES, PICTURES_DIGEST} <= tensors.keys():
        raise CheckpointError(expected="the state of a training run", found="weights only", where=path)
    return State(path, tensors)


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
            return read_state(path)
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


def require_same_pictures(state: State, pictures: Pictures) -> None:
    """Raise DataError unless a run goes on with the pictures that it began with, since its position counts them."""
    if not np.array_equal(state.tensors[PICTURES_DIGEST], fingerprint(pictures)):
        raise DataError(
            expected="the pictures and labels that the run began with",
            found="others, or other names",
            where=f"{pictures.folder}, for {state.path}",
            do="Give the run its own pictures, or start a new one with --pretrained and another --out.",
        )


def continued(recipe: Recipe, folder: RunFolder, position: Position, devices: int) -> Recipe:
    """The recipe with which a run goes on at `position` on that many devices; RULES say what of it may be new.

    Raises:
        RecipeError: another value of a key that decides what is computed, or fewer epochs than have begun.
    """
    path = folder.folder / "recipe.yaml"
    before = load_recipe(path)
    recipe = fitted(recipe, before, devices, path)
    if "stem_pool" in before.network_args:  # with the weights that the run started from
        pool = {"stem_pool": before.network_args["stem_pool"]}
        recipe = dataclasses.replace(recipe, network_args={**pool, **recipe.network_args})
    if recipe.input_spec() == before.input_spec() or (
        before.pretrained and recipe.input.items() <= before.input.items()
    ):
        recipe = dataclasses.replace(recipe, input=before.input)
    for item in dataclasses.fields(Recipe):
        old, new = getattr(before, item.name), getattr(recipe, item.name)
        rule = RULES.get(item.name, Rule("no", ""))
        if item.name == "pretrained":
            paths = read_paths(folder.folder)
            if paths and new != old:  # recipe.yaml holds the name of a file alone
                old = new if resolved(new) == paths.pretrained else paths.pretrained
        if old == new or rule.may == "yes":
            continue
        if rule.may == "told":
            logger.warning("%s %s instead of %s: %s", item.name, new, old, rule.meaning)
            continue
        raise RecipeError(
            expected=f"{item.name} {old}, as the run began",
            found=new,
            where=path,
            do="Resume with the run's folder alone.",
        )
    begun = position.epoch + (position.step > 0)
    if recipe.epochs < begun:
        raise RecipeError(
            expected=f"at least {begun} epochs, which have begun", found=recipe.epochs, where="key epochs"
        )
    return recipe


def fitted(recipe: Recipe, before: Recipe, devices: int, where) -> Recipe:
    """The recipe of a resumed run with the batch size of each of `devices`: together they take what they took before.

    Raises:
        RecipeError: that many devices cannot share the pictures of a step evenly.
    """
    together = before.batch_size * before.group_size
    each = together // devices if recipe.batch_size == before.batch_size else recipe.batch_size
    if each * devices != together:
        sizes = [str(count) for count in range(1, 2 * max(devices, before.group_size) + 1) if together % count == 0]
        raise RecipeError(
            expected=f"{together} pictures a step, as {before.group_size} x {before.batch_size} when the run began",
            found=f"{devices} devices" + (f" x {each}" if recipe.batch_size != before.batch_size else ""),
            where=where,
            do=f"Resume on {' or '.join(sizes)} devices, without --batch_size.",
        )
    return dataclasses.replace(recipe, batch_size=each, group_size=devices)


def restore(state: State, parameters: dict) -> None:
    """Fill the parameters of network, optimizer and loss scale, by name, from a checkpoint.

    Raises:
        CheckpointError: it has none of that name and shape.
    """
    import mindspore as ms  # here, as the launcher needs the rules alone

    path, tensors = state
    for name, parameter in parameters.items():
        if name.startswith(RATES):  # follows from the recipe, whose epochs may be others
            continue
        if name not in tensors or tensors[name].shape != tuple(parameter.shape):
            raise CheckpointError(
                expected=f"{name} {tuple(parameter.shape)}",
                where=path,
                found=tensors[name].shape if name in tensors else "nothing",
            )
        # assign, not set_data: graphs that are compiled already keep using the old memory.
        ms.ops.assign(parameter, ms.Tensor(tensors[name]))


def whole_epochs(folder: RunFolder, position: Position, steps_per_epoch: int) -> list[State]:
    """The checkpoints that were written at the end of an epoch up to `position`, oldest first; no damaged ones."""
    later = set(folder.checkpoints_after(position, steps_per_epoch))
    states = []
    for path in reversed(folder.checkpoints()):
        if path not in later:
            try:
                state = read_state(path)
            except CheckpointError as error:
                logger.warning("passed over: %s", error)
                continue
            states += [state] if state.position.step == 0 else []
    return states


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
