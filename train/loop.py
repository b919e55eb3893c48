"""The training loop: reads top to bottom; everything it uses has a file of its own."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glorext.models.labels import read_labels
from glorext.models.specs import spec
from glorext.runtime.errors import CheckpointError, DataError, RecipeError
from glorext.runtime.log import get_logger
from glorext.train.initial import fresh_network, settled, with_source

from .damage import without_damage
from .data import batches, culprit_named, fed, list_pictures, training_steps
from .distributed import join_group
from .evaluate import evaluation
from .pictures import epoch_order, shard
from .recipe import Recipe, load_recipe
from .run_folder import FINGERPRINT, Position, RunFolder, fingerprint
from .schedules import learning_rates
from .scoring import forward_of, predictions, score, with_bar
from .signals import StopSignals
from .step import TrainStep

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
HOPELESS = 50  # overflows in a row: halving the loss scale that often has not helped


class Interrupted(KeyboardInterrupt):
    """A run was stopped before its end, with its state saved: by SIGTERM, by Ctrl-C or by `stop_after`."""

    def __init__(self, checkpoint: Path | None):
        self.checkpoint = checkpoint
        place = checkpoint or "the checkpoint of rank 0"
        super().__init__(f"stopped; the state is in {place}; go on with --resume auto")


@dataclass
class Outcome:
    """How a run ended: the best top-1 and its epoch, where the run is, and whether this is the process that speaks."""

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
        data_dir: training pictures, FOLDER/<class>/<file>.
        val_dir: validation pictures; without them nothing is evaluated and the last weights count as the best.
        labels: file with the class names in the order of their indices; see `list_pictures` for what is taken else.
        device: "auto", "CPU", "GPU" or "Ascend".
        resume: "auto" to go on from the newest whole checkpoint of the folder, or the path of a checkpoint.
        stop_after: save the state and stop when that many steps of the whole run are done.
        quiet: no progress bar and no lines on stdout.

    Raises:
        DataError, RecipeError, CheckpointError, DeviceError: named causes; see the message.
        NonFiniteError: the loss is inf or nan.
        Interrupted: after SIGTERM, Ctrl-C or `stop_after`, with the state saved.
    """
    pictures = list_pictures(data_dir, read_labels(labels) if labels else None, recipe.num_classes)
    held_out = list_pictures(val_dir, pictures.labels) if val_dir else None
    folder = RunFolder(recipe.ckpt_path, resume is not None)
    recipe.input_spec()
    device, group = join_group(device, device_id)
    quiet = quiet or not group.is_writer
    pictures = without_damage(pictures, recipe.skip_corrupt, group, quiet)
    held_out = held_out and without_damage(held_out, recipe.skip_corrupt, group, quiet)
    run = _Run(settled(recipe, len(pictures.labels), group), pictures, held_out, folder, device, group, quiet)
    run.stop_after = stop_after
    run.prepare(resume)
    return run.go()


class _Run:
    """A run in progress."""

    def __init__(self, recipe, pictures, held_out, folder, device, group, quiet):
        self.recipe, self.pictures, self.held_out, self.folder = recipe, pictures, held_out, folder
        self.device, self.group, self.quiet = device, group, quiet
        self.level, self.spec = recipe.amp_for(device), recipe.input_spec()
        self.steps = len(pictures) // (recipe.batch_size * group.size)
        if not self.steps:
            raise DataError(
                expected=f"at least one batch of {recipe.batch_size} x {group.size} devices",
                found=f"{len(pictures)} pictures",
                where=pictures.folder,
                do="Choose a smaller batch_size.",
            )
        self.sink = device != "CPU" if recipe.data_sink is None else recipe.data_sink
        if self.sink and device == "CPU":
            raise RecipeError(expected="false: only GPU and Ascend have a queue", found=True, where="key data_sink")
        self.rates = learning_rates(recipe, self.steps)
        self.position = Position(epoch=recipe.pretrain_epoch_size)
        self.stopping = False
        self.in_a_row = 0  # overflows, one after the other

    def prepare(self, resume: str | None) -> None:
        """Make the network and bring it to where the run starts or goes on."""
        import mindspore as ms

        self.recipe, source = with_source(self.recipe)
        found = self.folder.newest(resume) if resume else None
        self._require_one_place(found)
        if found:
            self._require_same(*found)
        ms.set_seed(self.recipe.seed)
        self.net = fresh_network(self.recipe, source)
        self.weights = {p.name: p for p in self.net.get_parameters()}
        self.model = ms.amp.auto_mixed_precision(self.net, self.level)
        self.forward = forward_of(self.model, self.recipe.jit_level)
        if found:
            self.position = Position.of(found[1])
        self._build_step()
        if found:
            self._restore(*found)
        if self.group.is_writer:
            self.folder.start(self.recipe, self.pictures.labels, self.steps)
            self.folder.cut(self.position, self.steps)

    @property
    def frozen(self) -> bool:
        """Whether only the classifier learns in the present epoch."""
        return self.position.epoch < self.recipe.freeze_epochs

    def _build_step(self):
        parameters = self.net.trainable_params()
        if self.frozen:
            head = spec(self.recipe.network).family.classifier
            parameters = [parameter for parameter in parameters if parameter.name.startswith(head)]
        self.step = TrainStep(
            self.model, parameters, self.recipe, self.rates, self.recipe.num_classes, self.level, self.group.size
        )
        self.step.start_at(self.position.epoch * self.steps)

    def _require_one_place(self, found) -> None:
        position = Position.of(found[1]) if found else Position()
        place = np.array([position.epoch, position.step, found is not None], int)
        if (self.group.sum(place) != self.group.size * place).any():
            raise CheckpointError(
                expected="the same checkpoint for every process",
                found=found[0] if found else "none",
                where=self.folder.folder,
                do="Put the run's folder where every host sees it.",
            )

    def _require_same(self, path, tensors) -> None:
        """A run goes on only with the recipe and the pictures that it began with: its position counts them."""
        if not np.array_equal(tensors[FINGERPRINT], fingerprint(self.pictures)):
            raise DataError(
                expected="the pictures and labels that the run began with",
                found="others, or other names",
                where=f"{self.pictures.folder}, for {path}",
                do="Give the run its own pictures, or start a new one with --pretrained and another --out.",
            )
        before = load_recipe(self.folder.folder / "recipe.yaml")
        for item in dataclasses.fields(Recipe):
            old, new = getattr(before, item.name), getattr(self.recipe, item.name)
            if old == new or item.name in MAY_CHANGE:
                continue
            if item.name == "workers":  # another machine may have fewer cores
                logger.warning("workers %d instead of %d: augmentation draws other numbers from here on", new, old)
            else:
                raise RecipeError(
                    expected=f"{item.name} {old}, as the run began",
                    found=new,
                    where=self.folder.folder / "recipe.yaml",
                    do="Resume with the same values.",
                )

    def _restore(self, path, tensors) -> None:
        import mindspore as ms

        wanted = self.weights | self.step.parameters()
        for name, parameter in wanted.items():
            if name not in tensors or tensors[name].shape != tuple(parameter.shape):
                raise CheckpointError(
                    expected=f"{name} {tuple(parameter.shape)}",
                    where=path,
                    found=tensors[name].shape if name in tensors else "nothing",
                )
            parameter.set_data(ms.Tensor(tensors[name]))
        logger.info("resumed from %s", path)

    def go(self) -> Outcome:
        """Train to the end."""
        with StopSignals(self.ask_to_stop):
            while self.position.epoch < self.recipe.epochs:
                self._epoch()
        return Outcome(self.folder.folder, self.position.best, self.position.best_epoch, self.group.is_writer)

    def ask_to_stop(self) -> None:
        """Save the state and stop after the present step."""
        self.stopping = True

    def _epoch(self) -> None:
        epoch, begun = self.position.epoch, time.perf_counter()
        first = self.position.step
        # Batch norms of a frozen backbone use and keep the statistics they came with.
        self.model.set_train(not self.frozen)
        for loss, rate in self._steps_of(epoch, first):
            pass
        seconds = time.perf_counter() - begun
        speed = (self.steps - first) * self.recipe.batch_size * self.group.size / seconds
        self.group.average_statistics(self.net)
        self.position = dataclasses.replace(self.position, epoch=epoch + 1, step=0)
        if epoch + 1 == self.recipe.freeze_epochs < self.recipe.epochs:
            self._build_step()
        self._say(f"epoch:{epoch + 1} step:{self.steps}, loss is {np.float32(loss)}")
        self._finish_epoch(
            {
                "event": "epoch",
                "epoch": epoch + 1,
                "loss": loss,
                "lr": rate,
                "images_per_second": speed,
                **self._scaling(),
            }
        )

    def _steps_of(self, epoch: int, first: int):
        """Train on the rest of an epoch, from step `first`; yields loss and learning rate of each step."""
        recipe, group = self.recipe, self.group
        order = shard(epoch_order(len(self.pictures), recipe.seed, epoch), recipe.batch_size, group.rank, group.size)
        # The augmentation's random numbers depend on the epoch and on how many pictures came before, so skipped
        # batches are computed as well: that is what makes a resumed run equal to the bit.
        seed = int(np.random.default_rng([recipe.seed, epoch, group.rank]).integers(2**31))
        source = batches(
            self.pictures.source(order),
            training_steps(self.spec, recipe.augmentation),
            recipe.batch_size,
            recipe.workers,
            seed,
        )
        if first:
            source = source.skip(first)
        with culprit_named(), self._bar(epoch, first) as bar:
            last = time.perf_counter()
            for i, (images, targets) in enumerate(fed(source, self.sink), first):
                self.stopping |= epoch * self.steps + i + 1 == self.stop_after
                result = self.step(images, targets, self.stopping)
                rate = float(self.rates[epoch * self.steps + i])
                if result.finite:
                    self.in_a_row = 0
                else:
                    batch = order[i * recipe.batch_size : (i + 1) * recipe.batch_size]
                    self._not_finite(epoch, i, result.loss, rate, images, batch)
                now = time.perf_counter()
                speed, last = recipe.batch_size * group.size / (now - last), now
                bar.set_postfix_str(
                    f"loss {result.loss:.4f}, lr {rate:.4g}, grad norm {result.grad_norm:.3g}, "
                    f"{speed:.1f} images/s{self._skipped()}",
                    refresh=False,
                )
                bar.update()
                self.position = dataclasses.replace(self.position, step=i + 1)
                self._log(
                    event="step",
                    epoch=epoch + 1,
                    step=i + 1,
                    loss=result.loss,
                    lr=rate,
                    grad_norm=result.grad_norm if result.finite else None,
                    images_per_second=speed,
                    **self._scaling(),
                )
                yield result.loss, rate
                if (result.stops or (self.stopping and group.size == 1)) and i + 1 < self.steps:
                    self._stop()
                if (
                    recipe.ckpt_interval
                    and (epoch * self.steps + i + 1) % recipe.ckpt_interval == 0
                    and i + 1 < self.steps
                ):
                    self._save()

    def _finish_epoch(self, event: dict) -> None:
        epoch, begun = event["epoch"], time.perf_counter()
        if self.held_out:
            result = self._evaluate()
            event |= {"top1": result.top1, "top5": result.top5}
            self._say(f"acc={result.top1:.2%}(TOP1)\nacc={result.top5:.2%}(TOP5)")
            better = result.top1 > self.position.best
        else:  # the last weights count as the best, unless better ones were measured before the run was resumed
            result, better = None, self.position.best < 0
        if better:
            self.position.best, self.position.best_epoch = result.top1 if result else -1.0, epoch
            if self.group.is_writer:
                self._keep_best(result)
        self._log(**event, seconds=time.perf_counter() - begun)
        if self.recipe.save_checkpoint and (
            epoch % self.recipe.save_checkpoint_epochs == 0 or epoch == self.recipe.epochs
        ):
            self._save()
        # Signals reach the processes at different moments, but all must stop at the same one.
        if epoch < self.recipe.epochs and self.group.any(self.stopping):
            self._stop()

    def _evaluate(self):
        self.model.set_train(False)
        answers = predictions(
            self.forward, self.held_out, self.spec, self.recipe.batch_size, self.recipe.workers, self.group
        )
        answers = with_bar(answers, len(self.group.share(len(self.held_out))), self.quiet)
        scores = score(answers, self.held_out, self.group)
        return evaluation(scores, self.held_out, self.spec, "", self.recipe.network, self.device, self.level)

    def _keep_best(self, result) -> None:
        from glorext.models import save_checkpoint, weights_digest

        save_checkpoint(self.weights, self.folder.folder / "best.ckpt")
        if result:
            result.weights_sha256 = weights_digest(self.weights)
            result.write(self.folder.folder / "eval.json")

    def _save(self) -> Path:
        path = None
        if self.group.is_writer:
            path = self.folder.save(
                self.recipe.network,
                self.weights | self.step.parameters() | {FINGERPRINT: fingerprint(self.pictures)},
                self.position,
                self.steps,
                self.recipe.keep_checkpoint_max,
            )
        return path

    def _stop(self):
        path = self._save()
        # A process that ends while rank 0 still writes would have it killed by msrun.
        self.group.any(True)
        raise Interrupted(path)

    def _not_finite(self, epoch, i, loss, rate, images, batch) -> None:
        """Count an overflow that a smaller loss scale can cure; stop the run for everything else."""
        from .nonfinite import NonFiniteError, first_nonfinite_layer

        self.position.overflows += 1
        self.in_a_row += 1
        if self.step.scaler is not None and np.isfinite(loss) and self.in_a_row < HOPELESS:
            return
        raise NonFiniteError(
            epoch + 1,
            i + 1,
            loss,
            rate,
            self.step.scale,
            first_nonfinite_layer(self.model, images),
            [self.pictures.paths[k] for k in batch],
        )

    def _scaling(self) -> dict:
        """The loss scale of the next step, and how many steps overflowed so far; nothing without a scale."""
        return {} if self.step.scaler is None else {"loss_scale": self.step.scale, "overflows": self.position.overflows}

    def _skipped(self) -> str:
        return f", {self.position.overflows} skipped" if self.position.overflows else ""

    def _bar(self, epoch, first):
        from tqdm import tqdm

        return tqdm(
            total=self.steps,
            initial=first,
            desc=f"epoch {epoch + 1}/{self.recipe.epochs}",
            unit="step",
            disable=self.quiet,
        )

    def _say(self, text: str) -> None:
        if not self.quiet:
            print(text, flush=True)

    def _log(self, **event) -> None:
        if self.group.is_writer:
            self.folder.log(**event)
