"""What a run shows and logs as it goes on: progress bar, printed lines, metrics.jsonl."""

from __future__ import annotations

import contextlib
import json
import time

import numpy as np
from tqdm import tqdm

from glorext.runtime.files import disk_full_named

from .callbacks import Told
from .distributed import Group
from .evaluate import EvalResult, accuracy_lines
from .recipe import Recipe
from .run_folder import Position, RunFolder
from .step import StepResult


class Progress:
    """Shows and logs one run; on all ranks but 0 it does nothing.

    Args:
        folder: where metrics.jsonl is written.
        steps: of one epoch.
        quiet: no progress bar and no printed lines.
        told: the callbacks.
    """

    def __init__(self, folder: RunFolder, recipe: Recipe, steps: int, group: Group, quiet: bool, told: Told):
        self.metrics, self.is_writer, self.quiet = folder.metrics, group.is_writer, quiet
        self.epochs, self.steps, self.images_per_step = recipe.epochs, steps, recipe.batch_size * group.size
        self.overflowed = "skipped" if recipe.skips_overflow else "overflowed"
        self.told = told

    @contextlib.contextmanager
    def epoch(self, epoch: int, first: int):
        """Show a bar and take the time while the steps of `epoch` from `first` on (both from 0) are trained."""
        begun, name = time.perf_counter(), f"epoch {epoch + 1}/{self.epochs}"
        with tqdm(total=self.steps, initial=first, desc=name, unit="step", disable=self.quiet) as self.bar:
            self.step_begun = time.perf_counter()
            yield
        self.speed = (self.steps - first) * self.images_per_step / (time.perf_counter() - begun)

    def step(self, position: Position, result: StepResult, rate: float) -> None:
        """Show and log the step that brought the run to `position`; `rate` is its learning rate."""
        now = time.perf_counter()
        speed, self.step_begun = self.images_per_step / (now - self.step_begun), now
        skipped = f", {position.overflows} {self.overflowed}" if position.overflows else ""
        self.bar.set_postfix_str(
            f"loss {result.loss:.4f}, lr {rate:.4g}, grad norm {result.grad_norm:.3g}, {speed:.1f} images/s{skipped}",
            refresh=False,
        )
        self.bar.update()
        self._log(
            event="step",
            epoch=position.epoch + 1,
            step=position.step,
            loss=result.loss,
            lr=rate,
            grad_norm=result.grad_norm if result.finite else None,
            images_per_second=speed,
            **_scaling(result.scale, position),
        )

    def trained(self, position: Position, loss: float) -> None:
        """Show the loss of an epoch's last step; what follows, up to `epoch_done`, counts as evaluation."""
        self._say(f"epoch:{position.epoch} step:{self.steps}, loss is {np.float32(loss)}")
        self.evaluation_begun = time.perf_counter()

    def evaluated(self, measured: EvalResult) -> None:
        """Show an accuracy."""
        self._say(accuracy_lines(measured))

    def epoch_done(
        self, position: Position, loss: float, rate: float, scale: float | None, measured: EvalResult | None
    ) -> None:
        """Log an epoch: its mean loss, rate and loss scale at its end, and what was measured after it, if anything."""
        self._log(
            event="epoch",
            epoch=position.epoch,
            loss=loss,
            lr=rate,
            images_per_second=self.speed,
            **_scaling(scale, position),
            **_measured(measured),
            seconds=time.perf_counter() - self.evaluation_begun,
        )

    def _say(self, text: str) -> None:
        if not self.quiet:
            print(text, flush=True)

    def _log(self, **event) -> None:
        """Append one line to metrics.jsonl, and tell the callbacks."""
        if not self.is_writer:
            return
        with disk_full_named(self.metrics), open(self.metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(event, allow_nan=False) + "\n")
        self.told(f"on_{event['event']}", event)


def _scaling(scale: float | None, position: Position) -> dict:
    return {} if scale is None else {"loss_scale": scale, "overflows": position.overflows}


def _measured(result: EvalResult | None) -> dict:
    """What an evaluation adds to the line of its epoch; `val_loss` is without label smoothing."""
    values = {"top1": result.top1, "top5": result.top5, "val_loss": result.loss} if result else {}
    return {key: value for key, value in values.items() if value is not None}
