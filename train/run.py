"""One training run: its pictures, network, compiled step and folder, and where it stands."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import mindspore as ms
import numpy as np

from glorext.hub.open_model import BEST as BEST_WEIGHTS
from glorext.models import save_checkpoint, weights_digest
from glorext.models.evaluation import EvalResult
from glorext.models.labels import labels_digest
from glorext.models.specs import spec
from glorext.models.sync_batch_norm import sync_batch_norms
from glorext.models.trained import Identity, TrainedModel, write_run
from glorext.runtime.device import steps_ahead
from glorext.runtime.errors import DataError, RecipeError
from glorext.runtime.log import get_logger

from .averaging import WeightAverage
from .callbacks import Told
from .data import batches, fed, training_steps
from .distributed import Group
from .evaluate import evaluation
from .initial import fresh_network, in_precision
from .loss import balanced
from .mixing import draw_plan, mixes
from .nonfinite import NonFiniteError, first_nonfinite_layer
from .pictures import Pictures
from .progress import Progress
from .recipe import Recipe
from .resume import State, cut, restore, whole_epochs
from .run_folder import PICTURES_DIGEST, Position, RunFolder, fingerprint
from .schedules import learning_rates
from .scoring import forward_of, predictions, score, with_bar
from .split import write_lists
from .step import StepResult, TrainStep

logger = get_logger("train")
SEGMENT = 2**15  # pictures: ten seconds or so to compute


class Launched(NamedTuple):
    """A step whose numbers were not read yet.

    Attributes:
        number: of its epoch, from 0.
        images: (N, 3, H, W), of the pictures at `indices`.
        rate: its learning rate.
        result: waits for its end and gives its numbers.
    """

    number: int
    images: ms.Tensor
    indices: np.ndarray
    rate: float
    result: Callable[[], StepResult]


class Run:
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
        impossible = (
            (
                "optimizer",
                recipe.optimizer == "lamb" and device == "CPU",
                "momentum or adamw: MindSpore has no LAMB on the CPU",
            ),
            (
                "sync_batch_norm",
                recipe.sync_batch_norm and device != "Ascend",
                "false: MindSpore has it on Ascend alone",
            ),
            (
                "early_stopping",
                recipe.early_stopping and not held_out,
                "0, or validation pictures: --val_dir, --val_split",
            ),
        )
        for key, wrong, expected in impossible:
            if wrong:
                raise RecipeError(expected=expected, found=getattr(recipe, key), where=f"key {key}")
        self.rates, self.ahead = learning_rates(recipe, self.steps), steps_ahead(device)
        assert recipe.workers  # `complete_recipe` filled it in
        self.workers = recipe.workers

    def prepare(self, state: State | None, source: TrainedModel | None, told: Told) -> None:
        """Make the network and bring it to where the run goes on, or starts: with the weights of `source`, if any."""
        ms.set_seed(self.recipe.seed)
        self.net = fresh_network(self.recipe, source)
        if self.recipe.sync_batch_norm and self.group.size > 1:
            sync_batch_norms(self.net)
        self.weights = {p.name: p for p in self.net.get_parameters()}
        self.model = in_precision(self.net, self.recipe, self.device)
        self.forward = forward_of(self.model, self.recipe.jit_level)
        decay = self.recipe.weight_average
        self.average = WeightAverage(self.weights, decay) if decay else None
        self.position = state.position if state else Position(epoch=self.recipe.pretrain_epoch_size)
        self.make_step()
        if state:
            restore(state, self.state())
            logger.info("resumed from %s", state.path)
        self.progress = Progress(self.folder, self.recipe, self.steps, self.group, self.quiet, told)
        if self.group.is_writer:
            self.folder.start(self.recipe, self.pictures.labels, self.paths)
            if self.recipe.val_split:
                write_lists(self.folder.folder, self.pictures, self.held_out)
            cut(self.folder, self.position, self.steps)
        if self.group.size > 1:
            digest = bytes.fromhex(weights_digest(self.weights))
            self.group.require_equal(digest, "the weights that training starts from", self.folder.folder)
        if state:
            self.check_best(state)
        told("on_begin", self.folder.folder, self.recipe)

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
            restore(kept, self.averaged())
            self.measure(kept.position.epoch)
        restore(state, self.averaged())
        logger.warning(
            "best.ckpt was gone: found again among the checkpoints left, after epoch %d", position.best_epoch
        )

    def averaged(self) -> dict:
        """The parameters of the network, and of the average of them, if there is one; by name."""
        return self.weights | (self.average.parameters() if self.average else {})

    def state(self) -> dict:
        """All parameters that a run goes on from, by name."""
        return self.averaged() | self.step.parameters()

    @property
    def is_over(self) -> bool:
        """Whether the run has found nothing better for as many epochs as `early_stopping` allows."""
        patience, position = self.recipe.early_stopping, self.position
        return bool(patience) and position.best >= 0 and position.epoch - position.best_epoch >= patience

    @property
    def frozen(self) -> bool:
        """Whether only the classifier learns in the present epoch."""
        return self.position.epoch < self.recipe.freeze_epochs

    def rate_of(self, epoch: int, number: int) -> float:
        """The learning rate of step `number` of `epoch`, both from 0."""
        return float(self.rates[epoch * self.steps + number])

    def make_step(self) -> None:
        """Compile the training step for what learns in the present epoch, with a fresh optimizer and loss scale."""
        parameters = self.net.trainable_params()
        if self.frozen:
            head = spec(self.recipe.network).family.classifier
            parameters = [parameter for parameter in parameters if parameter.name.startswith(head)]
        classes, weights = len(self.pictures.labels), None
        if self.recipe.class_weights == "balanced":
            weights = balanced(self.pictures.targets, classes)
        self.step = TrainStep(
            self.model, parameters, self.recipe, self.rates, classes, self.level, self.group.size, self.average, weights
        )
        self.step.start_at(self.position.epoch * self.steps)

    def feed(self, order: np.ndarray, epoch: int, first: int):
        """The batches of an epoch from step `first` on, of the pictures in `order`: images (N, 3, H, W), targets (N,).

        The augmentation's random numbers depend on the epoch and on how many pictures came before, so what comes before
        is computed again: that is what makes a resumed run equal to the bit. Where the host fetches the batches they
        begin anew every SEGMENT pictures, which bounds how many those are. The next segment's pipeline starts, with a
        listing of all pictures, before the present one's has ended, so nothing waits for it. A device's queue cannot be
        exchanged like that: its segment is the epoch.
        """
        size = self.recipe.batch_size
        steps = self.steps if self.sink else max(1, SEGMENT // size)
        begin, upcoming = first // steps * steps, None
        while begin < self.steps:
            present = self._segment(order, epoch, begin, steps, first) if upcoming is None else upcoming
            upcoming = None
            for number, batch in enumerate(present, max(begin, first)):
                if number == begin + steps * 3 // 4 and begin + steps < self.steps:
                    upcoming = self._segment(order, epoch, begin + steps, steps)
                yield batch
            begin += steps

    def _segment(self, order: np.ndarray, epoch: int, begin: int, steps: int, first: int = 0):
        """The batches of up to `steps` steps of an epoch from step `begin` on, without those before `first`."""
        recipe, size = self.recipe, self.recipe.batch_size
        place = [recipe.seed, epoch, self.group.rank, *([begin // steps] if begin else [])]
        seed = int(np.random.default_rng(place).integers(2**31))
        source = self.pictures.source(order[begin * size : (begin + steps) * size])
        pipeline = batches(source, training_steps(self.spec, recipe.augmentation), size, self.workers, seed)
        return fed(pipeline.skip(first - begin) if first > begin else pipeline, self.sink)

    def launch(self, number: int, images, targets, order: np.ndarray, stop: bool) -> Launched:
        """Begin step `number` of the present epoch, which sees its pictures in `order`; `stop` as in TrainStep."""
        size = self.recipe.batch_size
        rate, indices = self.rate_of(self.position.epoch, number), order[number * size : (number + 1) * size]
        plan = None
        if mixes(self.recipe):
            plan = draw_plan(self.recipe, size, self.spec.size, self.position.epoch, number, self.group.rank)
        return Launched(number, images, indices, rate, self.step.launch(images, targets, stop, plan))

    def read(self, launched: Launched) -> StepResult:
        """Wait for a step, bring `position` to its end, and show and log it.

        Raises:
            NonFiniteError: it could not update anything, and no later one would; none has since.
        """
        result, position = launched.result(), self.position
        position.overflows += not result.finite
        if result.hopeless:
            raise NonFiniteError(
                position.epoch + 1,
                launched.number + 1,
                result.loss,
                launched.rate,
                result.scale or 1.0,
                first_nonfinite_layer(self.model, launched.images, self.recipe.at_once),
                [self.pictures.paths[i] for i in launched.indices],
            )
        position.step, position.losses = launched.number + 1, position.losses + result.loss
        self.progress.step(position, result, launched.rate)
        return result

    def evaluate(self) -> EvalResult:
        """Top-1 and top-5 on the validation pictures."""
        pictures, recipe = self.held_out, self.recipe
        self.model.set_train(False)
        answers = predictions(self.forward, pictures, self.spec, recipe.at_once, self.workers, self.group)
        scores = score(with_bar(answers, len(self.group.share(len(pictures))), self.quiet), pictures, self.group)
        precision = self.level if recipe.amp_dtype == "float16" else f"{self.level} {recipe.amp_dtype}"
        measured = evaluation(scores, pictures, self.identity(), self.device, precision)
        self.progress.evaluated(measured)
        return measured

    def measure(self, epoch: int) -> EvalResult | None:
        """Evaluate the present weights, those after `epoch`, where there are validation pictures; keep the best.

        Where the weights are averaged, it is the average that counts.
        """
        with self.average.in_place() if self.average else nullcontext():
            return self._measure(epoch)

    def _measure(self, epoch: int) -> EvalResult | None:
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
        tensors = self.state() | {PICTURES_DIGEST: fingerprint(self.pictures)}
        keep = self.recipe.keep_checkpoint_max
        return self.folder.save(self.recipe.network, tensors, self.position, self.steps, keep)

    def save_for_all(self) -> Path | None:
        """`save`, and wait for rank 0: msrun kills it while it still writes if another process ends before."""
        path = self.save()
        self.group.any(True)
        return path
