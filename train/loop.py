"""Training: two loops that read top to bottom, over epochs and over steps; what they use has files of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from glorext.models.trained import RUN, read_run
from glorext.runtime.device import set_deterministic
from glorext.runtime.errors import DiskFullError, UsageError
from glorext.runtime.log import get_logger

from .callbacks import Callback, Told
from .damage import without_damage
from .data import culprit_named, list_pictures
from .distributed import Group, join_group
from .initial import complete_recipe, labels_for, with_source
from .pictures import epoch_order, parts_of, shard
from .recipe import Recipe
from .resume import RULES, State, continued, find_state, require_one_state, require_same_pictures
from .run import Launched, Run
from .run_folder import RunFolder
from .run_paths import RunPaths, read_paths, resolved
from .signals import StopSignals
from .split import divided
from .trackers import trackers_of

logger = get_logger("train")


class Interrupted(KeyboardInterrupt):
    """A run was stopped before its end, with its state saved: by SIGTERM or Ctrl-C, by `stop_after` or a callback."""

    def __init__(self, folder: Path, checkpoint: Path | None, signaled: bool):
        self.checkpoint, self.signaled = checkpoint, signaled
        place = checkpoint or "the checkpoint of rank 0"
        super().__init__(f"stopped; the state is in {place}; go on with --resume {folder}")


@dataclass
class Outcome:
    """How a run ended.

    Attributes:
        folder: the run's.
        top1: the best one, a fraction; -1 where nothing was evaluated.
        epoch: after which it was measured.
        is_writer: whether this process is rank 0, which writes.
        stopped: says where the state is, if `stop_after` or a callback ended the run before its last epoch.
    """

    folder: Path
    top1: float
    epoch: int
    is_writer: bool = True
    stopped: Interrupted | None = None


def train(
    recipe: Recipe,
    data_dir,
    val_dir=None,
    *,
    labels=None,
    device: str = "auto",
    device_id: int | None = None,
    resume: str | None = None,
    stop_after: int | None = None,
    quiet: bool = False,
    callbacks: Sequence[Callback] = (),
) -> Outcome:
    """Train as `recipe` says, into the folder `recipe.ckpt_path`.

    Args:
        data_dir: training pictures, FOLDER/<class>/<file>, MindRecord files or a list; or a folder with `train` and
            `val`.
        val_dir: validation pictures or a list; without them nothing is evaluated, and the last weights are the best.
        labels: file with the class names in the order of their indices; without it see `list_tree`.
        device: "auto", "CPU", "GPU" or "Ascend".
        resume: "auto" to go on from the newest whole checkpoint of the folder, or the path of a checkpoint.
        stop_after: save the state and stop when that many steps of the whole run are done.
        quiet: no progress bar and no lines on stdout.
        callbacks: what is told of every step and epoch.

    Raises:
        DataError, RecipeError, CheckpointError, DeviceError: the message names the cause.
        NonFiniteError: the loss is inf or nan.
        Interrupted: after SIGTERM or Ctrl-C, with the state saved.
        Exception: what a callback raised, after the state was saved.
    """
    recipe.input_spec()  # an impossible one is an error before a device is taken
    if recipe.deterministic:
        set_deterministic()
    # First, since the others wait for the slowest disk only once they have met.
    device, group = join_group(device, device_id)
    folder = RunFolder(recipe.ckpt_path, resume is not None)
    state = find_state(folder, resume) if resume else None
    recipe, source = (recipe, None) if state else with_source(recipe)
    data_dir, beside = parts_of(data_dir)
    val_dir = val_dir or beside
    order = labels_for(labels, source, bool(recipe.new_head), data_dir)
    quiet = quiet or not group.is_writer
    pictures, held_out = _pictures(recipe, data_dir, val_dir, order, folder.folder if state else None, group, quiet)
    recipe = complete_recipe(recipe, len(pictures.labels), group)
    require_one_state(state, group, folder)
    if state:
        require_same_pictures(state, pictures)
        recipe = continued(recipe, folder, state.position, group.size)
    paths = _paths(recipe, folder, state, source, RunPaths.of(data_dir, val_dir, device))
    run = Run(recipe, pictures, held_out, folder, device, group, quiet, paths)
    told = Told([*trackers_of(recipe, folder.folder, run.steps), *callbacks] if group.is_writer else ())
    with folder.locked(group.is_writer), _room_asked_for(folder):
        run.prepare(state, source, told)
        stopped = _trained(run, stop_after, told)
    return Outcome(folder.folder, run.position.best, run.position.best_epoch, group.is_writer, stopped)


def _trained(run: Run, stop_after: int | None, told: Told) -> Interrupted | None:
    """Train, and tell the callbacks of the end; what says where the state is, if the run was to stop before that."""
    stopped = None
    try:
        if not told.failure:
            _train(run, stop_after, told)
    except Interrupted as stop:
        if stop.signaled:
            raise
        stopped = stop.with_traceback(None)  # whose frames would keep the run's memory
    finally:
        told("on_end")
    if told.failure:
        logger.warning("a callback failed%s", f"; {stopped}" if stopped else "")
        raise told.failure
    return stopped


def _pictures(recipe: Recipe, data_dir, val_dir, labels, resumed: Path | None, group: Group, quiet: bool):
    """The pictures to train on and those to evaluate, or None, without damage; `resumed`: the run's folder, if any."""
    if recipe.val_split and val_dir:
        raise UsageError(
            expected="validation pictures in a folder, or a share of the training pictures",
            found=f"{val_dir} and {recipe.val_split}",
            where="--val_split",
            do="Leave --val_dir away and name the folder of classes itself, or leave --val_split away.",
        )
    pictures = list_pictures(data_dir, labels, recipe.num_classes)
    pictures = without_damage(pictures, bool(recipe.skip_corrupt), group, quiet)
    if recipe.val_split:
        return divided(pictures, recipe.val_split, recipe.seed, resumed)
    if not val_dir:
        return pictures, None
    return pictures, without_damage(list_pictures(val_dir, pictures.labels), bool(recipe.skip_corrupt), group, quiet)


@contextmanager
def _room_asked_for(folder: RunFolder):
    """Say of a full disk how the run goes on once there is room."""
    try:
        yield
    except DiskFullError as error:
        newest = next(iter(folder.checkpoints()), None)
        start = newest.name if newest else "the beginning: nothing was saved"
        do = f"Make room, or raise the limit of `ulimit -f`; then go on with --resume {folder.folder}, from {start}."
        raise DiskFullError(error.problem, do=do) from error


def _paths(recipe: Recipe, folder: RunFolder, state: State | None, source, given: RunPaths) -> RunPaths:
    """What the run takes from this machine: `given`, and what it started from, which a resumed one does not open."""
    if state is None:
        return replace(given, pretrained=resolved(recipe.source), started_from=source and source.identity())
    before = read_paths(folder.folder)
    if before is None:  # lost: the best checkpoint's record, if there is one, says what the run started from too
        started_from = read_run(folder.folder)[1] if (folder.folder / RUN).is_file() else None
        before = replace(given, pretrained=recipe.source, started_from=started_from)
    if before.device != given.device:
        logger.warning("device %s instead of %s: %s", given.device, before.device, RULES["device"].meaning)
    return replace(
        given, val_dir=given.val_dir or before.val_dir, pretrained=before.pretrained, started_from=before.started_from
    )


def _train(run: Run, stop_after: int | None, told: Told) -> None:
    """The epochs that are left, each with the steps that are left, its evaluation and its checkpoint."""
    recipe, group, steps, position, progress = run.recipe, run.group, run.steps, run.position, run.progress
    with StopSignals() as stop:
        for epoch in range(position.epoch, recipe.epochs):
            if run.is_over:
                logger.info("nothing better than after epoch %d for %d", position.best_epoch, recipe.early_stopping)
                break
            first, stops = position.step, False
            # Batch norms of a frozen backbone use and keep the statistics they came with.
            run.model.set_train(not run.frozen)
            order = shard(epoch_order(len(run.pictures), recipe.seed, epoch), recipe.batch_size, group.rank, group.size)
            with closing(run.feed(order, epoch, first)) as feed, culprit_named(), progress.epoch(epoch, first):
                launched: deque[Launched] = deque()
                for i, (images, targets) in enumerate(feed, first):
                    done = epoch * steps + i + 1
                    stop.requested |= done == stop_after or told.stops
                    launched.append(run.launch(i, images, targets, order, stop.requested))
                    saves = bool(recipe.ckpt_interval) and done % recipe.ckpt_interval == 0
                    alone = stop.requested and group.size == 1
                    # What is read at once must be the same for all processes, which learn of a stop from these numbers.
                    at_once = saves or alone or done == stop_after or i + 1 == steps
                    while launched and (at_once or stops or len(launched) > run.ahead):
                        result = run.read(launched.popleft())
                        stops |= result.stops
                    # A callback's wish comes with the numbers of a step, so one more may have begun where several do.
                    alone |= told.stops and group.size == 1 and not launched
                    if position.step < steps:  # at the end of an epoch both come after the evaluation
                        if stops or alone:
                            raise Interrupted(run.folder.folder, run.save_for_all(), stop.signaled)
                        if saves:
                            run.save()

            group.average_statistics(run.averaged().values())
            loss = position.losses / steps
            position.epoch, position.step, position.losses = epoch + 1, 0, 0.0
            if position.epoch == recipe.freeze_epochs < recipe.epochs:
                run.make_step()  # from here on all parameters learn
            progress.trained(position, result.loss)
            measured = run.measure(position.epoch)
            progress.epoch_done(position, loss, run.rate_of(epoch, steps - 1), result.scale, measured)
            last = position.epoch == recipe.epochs or run.is_over
            if recipe.save_checkpoint and (last or position.epoch % recipe.save_checkpoint_epochs == 0):
                run.save()
            # Signals reach the processes at different moments, but all must stop at the same one.
            if not last and group.any(stop.requested or told.stops):
                raise Interrupted(run.folder.folder, run.save_for_all(), stop.signaled)
