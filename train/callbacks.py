"""What a run tells while it trains: to functions of a user's own, and to what keeps track of experiments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from glorext.runtime.log import get_logger

from .recipe import Recipe

logger = get_logger("train")


class Callback:
    """What is told of a run; each method may be left out.

    They are called by the process that writes (rank 0), in the thread that trains, which waits for them. An event is
    what one line of metrics.jsonl holds, such as `{"event": "step", "epoch": 1, "step": 7, "loss": 2.1, "lr": 0.01,
    "grad_norm": 3.4, "images_per_second": 99.0}`; an epoch's holds `top1`, `top5` and `val_loss` where there are
    validation pictures. Whoever returns True ends the run after the present step or epoch, its state saved. An
    exception does so too, and is raised then.
    """

    ends_a_run = True  # by an exception; else it is a warning, and the run goes on without this callback

    def on_begin(self, folder: Path, recipe: Recipe) -> None:
        """Training begins or goes on, in the run's folder, as the complete recipe says."""

    def on_step(self, event: dict) -> bool | None:
        """A step is done: `loss`, `lr`, `grad_norm` (None where it is not finite) and speed; counted from 1."""

    def on_epoch(self, event: dict) -> bool | None:
        """An epoch is done and evaluated: mean `loss` and what was measured; counted from 1."""

    def on_end(self) -> None:
        """Training has ended, by itself, by a stop or by an error."""


class Told:
    """The callbacks of a run as one, which remembers who wants it to stop.

    Attributes:
        stops: somebody returned True, or failed.
        failure: the first exception; whoever raised it is told nothing more.
    """

    def __init__(self, callbacks: Sequence[Callback] = ()):
        self._callbacks = list(callbacks)
        self.stops = False
        self.failure: Exception | None = None

    def __call__(self, method: str, *arguments) -> None:
        """Call a method of all, in their order."""
        for callback in list(self._callbacks):
            try:
                self.stops |= bool(getattr(callback, method)(*arguments))
            except Exception as error:
                self._callbacks.remove(callback)
                if self.failure is None and (callback.ends_a_run or method == "on_begin"):
                    self.failure, self.stops = error, True
                else:
                    logger.warning("%s failed and is told nothing more: %s", type(callback).__name__, error)
