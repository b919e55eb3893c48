"""Training: two loops that read top to bottom, over epochs and over steps; what they use has files of its own."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import mindspore as ms
import numpy as np

from glorext.hub.open_model import BEST as BEST_WEIGHTS
from glorext.models import save_checkpoint, weights_digest
from glorext.models.evaluation import EvalResult
from glorext.models.labels import labels_digest
from glorext.models.specs import spec
from glorext.models.trained import RUN, Identity, TrainedModel, read_run, write_run
from glorext.runtime.device import set_deterministic
from glorext.runtime.errors import DataError, RecipeError
from glorext.runtime.log import get_logger

from .damage import without_damage
from .data import batches, culprit_named, fed, list_pictures, training_steps
from .distributed import Group, join_group
from .evaluate import evaluation
from .initial import complete_recipe, fresh_network, in_precision, labels_for, with_source
from .nonfinite import NonFiniteError, first_nonfinite_layer
from .overflow import is_hopeless
from .pictures import Pictures, epoch_order, parts_of, shard
from .progress import Progress
from .recipe import Recipe
from .resume import (
    RULES,
    State,
    continued,
    cut,
    find_state,
    require_one_state,
    require_same_pictures,
    restore,
    whole_epochs,
)
from .run_folder import PICTURES_DIGEST, Position, RunFolder, fingerprint
from .run_paths import RunPaths, read_paths, resolved
from .schedules import learning_rates
from .scoring import forward_of, predictions, score, with_bar
from .signals import StopSignals
from .step import TrainStep

logger = get_logger("train")


class Interrupted(KeyboardInterrupt):
    """A run was stopped before its end, with its state saved: by SIGTERM, by Ctrl-C or by `stop_after`."""

    def __init__(self, folder: Path, checkpoint: Path | None):
        self.checkpoint = checkpoint
        place = checkpoint or "the checkpoint of rank 0"
        super().__init__(f"stopped; the state is in {place}; go on with --resume {folder}")


@dataclass
class Outcome:
    """How a run ended: its folder, the best top-1 (-1: not evaluated) and its epoch, and whether this is rank 0."""

    folder: Path
    top1: float
    epoch: int
    is_writer: bool = True


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
) -> Outcome:
    """Train as `recipe` says, into the folder `recipe.ckpt_path`.

    Args:
        data_dir: training pictures, FOLDER/<class>/<file> or MindRecord files; or a folder with `train` and `val`.
        val_dir: validation pictures; without them nothing is evaluated and the last weights count as the best.
        labels: file with the class names in the order of their indices; without it see `list_tree`.
        device: "auto", "CPU", "GPU" or "Ascend".
        resume: "auto" to go on from the newest whole checkpoint of the folder, or the path of a checkpoint.
        stop_after: save the state and stop when that many steps of the whole run are done.
        quiet: no progress bar and no lines on stdout.

    Raises:
        DataError, RecipeError, CheckpointError, DeviceError: the message names the cause.
        NonFiniteError: the loss is inf or nan.
        Interrupted: after SIGTERM, Ctrl-C or `stop_after`, with the state saved.
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
    pictures = list_pictures(data_dir, labels_for(labels, source, bool(recipe.new_head), data_dir), recipe.num_classes)
    held_out = list_pictures(val_dir, pictures.labels) if val_dir else None
    quiet = quiet or not group.is_writer
    pictures = without_damage(pictures, bool(recipe.skip_corrupt), group, quiet)
    if held_out:
        held_out = without_damage(held_out, bool(recipe.skip_corrupt), group, quiet)
    recipe = complete_recipe(recipe, len(pictures.labels), group)
    require_one_state(state, group, folder)
    if state:
        require_same_pictures(state, pictures)
        recipe = continued(recipe, folder, state.position, group.size)
    paths = _paths(recipe, folder, state, source, RunPaths.of(data_dir, val_dir, device))
    run = _Run(recipe, pictures, held_out, folder, device, group, quiet, paths)
    run.prepare(state, source)
    _train(run, stop_after)
    return Outcome(folder.folder, run.position.best, run.position.best_epoch, group.is_writer)


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


def _train(run: _Run, stop_after: int | None) -> None:
    """The epochs that are left, each with the steps that are left, its evaluation and its checkpoint."""
    recipe, group, steps, position, progress = run.recipe, run.group, run.steps, run.position, run.progress
    overflows_in_a_row = 0
    with StopSignals() as stop:
        for epoch in range(position.epoch, recipe.epochs):
            first = position.step
            # Batch norms of a frozen backbone use and keep the statistics they came with.
            run.model.set_train(not run.frozen)
            order = shard(epoch_order(len(run.pictures), recipe.seed, epoch), recipe.batch_size, group.rank, group.size)
            with closing(run.feed(order, epoch, first)) as feed, culprit_named(), progress.epoch(epoch, first):
                for i, (images, targets) in enumerate(feed, first):
                    done = epoch * steps + i + 1
                    rate = float(run.rates[done - 1])
                    stop.requested |= done == stop_after
                    result = run.step(images, targets, stop.requested)
                    overflows_in_a_row = 0 if result.finite else overflows_in_a_row + 1
                    if not result.finite:
                        position.overflows += 1
                        scaled = run.step.scaler is not None
                        if is_hopeless(recipe, scaled, result.loss, result.grad_norm, overflows_in_a_row):
                            batch = order[i * recipe.batch_size : (i + 1) * recipe.batch_size]
                            paths = [run.pictures.paths[k] for k in batch]
                            layer = first_nonfinite_layer(run.model, images)
                            raise NonFiniteError(epoch + 1, i + 1, result.loss, rate, run.step.scale, layer, paths)
                    position.step = i + 1
                    progress.step(position, result, rate, run.scale)
                    if position.step < steps:  # at the end of an epoch both come after the evaluation
                        if result.stops or (stop.requested and group.size == 1):
                            raise Interrupted(run.folder.folder, run.save_for_all())
                        if recipe.ckpt_interval and done % recipe.ckpt_interval == 0:
                            run.save()

            group.average_statistics(run.net)
            position.epoch, position.step = epoch + 1, 0
            if position.epoch == recipe.freeze_epochs < recipe.epochs:
                run.make_step()  # from here on all parameters learn
            progress.trained(position, result.loss)
            measured = run.measure(position.epoch)
            progress.epoch_done(position, result.loss, rate, run.scale, measured)
            last = position.epoch == recipe.epochs
            if recipe.save_checkpoint and (last or position.epoch % recipe.save_checkpoint_epochs == 0):
                run.save()
            # Signals reach the processes at different moments, but all must stop at the same one.
            if not last and group.any(stop.requested):
                raise Interrupted(run.folder.folder, run.save_for_all())


class _Run:
    """What the loops work with: pictures, network, compiled step, folder, and where the run stands."""

    def __init__(
        self, recipe: Recipe, pictures: Pictures, held_out, folder: RunFolder, device, group: Group, quiet, paths
    ):
        self.recipe, self.pictures, self.held_out, self.folder = recipe, pictures, held_out, folder
        self.paths, self.device, self.group, self.quiet = paths, device, group, quiet
        self.level, self.spec = recipe.amp_for(device), recipe.input_spec()
        self.steps = len(pictures) // (recipe.batch_size * group.size)  # of an epoch
        if not self.steps:
            raise DataError(
                expected=f"at least one batch of {recipe.batch_size} x {group.size} devices",
                found=f"{len(pictures)} pictures",
                where=pictures.folder,
                do="Choose a smaller batch_size.",
            )
        self.sink = device != "CPU" if recipe.data_sink is None else bool(recipe.data_sink)
        if self.sink and device == "CPU":
            raise RecipeError(expected="false: only GPU and Ascend have a queue", found=True, where="key data_sink")
        self.rates = learning_rates(recipe, self.steps)
        assert recipe.workers  # `complete_recipe` filled it in
        self.workers = recipe.workers

    def prepare(self, state: State | None, source: TrainedModel | None) -> None:
        """Make the network and bring it to where the run goes on, or starts: with the weights of `source`, if any."""
        ms.set_seed(self.recipe.seed)
        self.net = fresh_network(self.recipe, source)
        self.weights = {p.name: p for p in self.net.get_parameters()}
        self.model = in_precision(self.net, self.recipe, self.device)
        self.forward = forward_of(self.model, self.recipe.jit_level)
        self.position = state.position if state else Position(epoch=self.recipe.pretrain_epoch_size)
        self.make_step()
        if state:
            restore(state, self.weights | self.step.parameters())
            logger.info("resumed from %s", state.path)
        self.progress = Progress(self.folder, self.recipe, self.steps, self.group, self.quiet)
        if self.group.is_writer:
            self.folder.start(self.recipe, self.pictures.labels, self.paths)
            cut(self.folder, self.position, self.steps)
        if self.group.size > 1:
            digest = bytes.fromhex(weights_digest(self.weights))
            self.group.require_equal(digest, "the weights that training starts from", self.folder.folder)
        if state:
            self.check_best(state)

    def check_best(self, state: State) -> None:
        """Begin a new best for other validation pictures, and find it again where best.ckpt is lost."""
        position = self.position
        if self.held_out and position.best >= 0 and position.measured_on != tuple(fingerprint(self.held_out).tolist()):
            logger.warning("other validation pictures: the best top-1 so far, %.2f %%, ends", 100 * position.best)
            position.best, position.best_epoch = -1.0, 0
        lost = position.best_epoch > 0 and not (self.folder.folder / BEST_WEIGHTS).is_file()
        if not self.group.any(lost):
            return
        position.best, position.best_epoch = -1.0, 0
        for kept in whole_epochs(self.folder, position, self.steps):
            restore(kept, self.weights)
            self.measure(kept.position.epoch)
        restore(state, self.weights)
        logger.warning(
            "best.ckpt was gone: found again among the checkpoints left, after epoch %d", position.best_epoch
        )

    @property
    def frozen(self) -> bool:
        """Whether only the classifier learns in the present epoch."""
        return self.position.epoch < self.recipe.freeze_epochs

    @property
    def scale(self) -> float | None:
        """The loss scale of the next step; None where the loss is not scaled."""
        return None if self.step.scaler is None else self.step.scale

    def make_step(self) -> None:
        """Compile the training step for what learns in the present epoch, with a fresh optimizer and loss scale."""
        parameters = self.net.trainable_params()
        if self.frozen:
            head = spec(self.recipe.network).family.classifier
            parameters = [parameter for parameter in parameters if parameter.name.startswith(head)]
        self.step = TrainStep(
            self.model, parameters, self.recipe, self.rates, len(self.pictures.labels), self.level, self.group.size
        )
        self.step.start_at(self.position.epoch * self.steps)

    def feed(self, order: np.ndarray, epoch: int, first: int):
        """The batches of an epoch from step `first` on, of the pictures in `order`: images (N, 3, H, W), targets (N,).

        The augmentation's random numbers depend on the epoch and on how many pictures came before, so skipped batches
        are computed as well: that is what makes a resumed run equal to the bit.
        """
        recipe = self.recipe
        seed = int(np.random.default_rng([recipe.seed, epoch, self.group.rank]).integers(2**31))
        operations = training_steps(self.spec, recipe.augmentation)
        pipeline = batches(self.pictures.source(order), operations, recipe.batch_size, self.workers, seed)
        return fed(pipeline.skip(first) if first else pipeline, self.sink)

    def evaluate(self) -> EvalResult:
        """Top-1 and top-5 on the validation pictures."""
        pictures, recipe = self.held_out, self.recipe
        self.model.set_train(False)
        answers = predictions(self.forward, pictures, self.spec, recipe.batch_size, self.workers, self.group)
        scores = score(with_bar(answers, len(self.group.share(len(pictures))), self.quiet), pictures, self.group)
        precision = self.level if recipe.amp_dtype == "float16" else f"{self.level} {recipe.amp_dtype}"
        measured = evaluation(scores, pictures, self.identity(), self.device, precision)
        self.progress.evaluated(measured)
        return measured

    def measure(self, epoch: int) -> EvalResult | None:
        """Evaluate the present weights, those after `epoch`, where there are validation pictures; keep the best."""
        position, measured = self.position, self.evaluate() if self.held_out else None
        # Without validation pictures the last weights count as the best, unless others were measured before.
        if measured.top1 > position.best if measured else position.best < 0:
            position.best, position.best_epoch = measured.top1 if measured else -1.0, epoch
            position.measured_on = tuple(fingerprint(self.held_out).tolist()) if self.held_out else (0, 0, 0, 0)
            if self.group.is_writer:
                self.keep_best(measured)
        return measured

    def identity(self, weights_sha256: str = "") -> Identity:
        """What the run trains, with the digest of some of its weights."""
        started = self.paths.started_from
        return Identity(
            name=self.folder.folder.resolve().name,
            version=None,
            network=self.recipe.network,
            network_args=self.recipe.network_args,
            num_classes=self.recipe.num_classes,
            input_spec=self.spec,
            labels_sha256=labels_digest(self.pictures.labels),
            weights_sha256=weights_sha256,
            license=started.license if started else None,
        )

    def keep_best(self, measured: EvalResult | None) -> None:
        """Write the present weights as best.ckpt, what they are as model.json, and what was measured with them, if
        anything, as eval.json."""
        identity = self.identity(weights_digest(self.weights))
        save_checkpoint(self.weights, self.folder.folder / BEST_WEIGHTS)
        write_run(self.folder.folder, identity, self.paths.started_from)
        if measured:
            measured.weights_sha256 = identity.weights_sha256
            measured.write(self.folder.folder / "eval.json")

    def save(self) -> Path | None:
        """Write a checkpoint to resume from; None where another process writes it."""
        if not self.group.is_writer:
            return None
        tensors = self.weights | self.step.parameters() | {PICTURES_DIGEST: fingerprint(self.pictures)}
        keep = self.recipe.keep_checkpoint_max
        return self.folder.save(self.recipe.network, tensors, self.position, self.steps, keep)

    def save_for_all(self) -> Path | None:
        """`save`, and wait for rank 0: msrun kills it while it still writes if another process ends before."""
        path = self.save()
        self.group.any(True)
        return path
