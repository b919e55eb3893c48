"""Programs that keep track of experiments, as callbacks: TensorBoard, MLflow and Weights & Biases."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from glorext.runtime.errors import SetupError
from glorext.runtime.fields import Fields
from glorext.runtime.files import write_json

from .callbacks import Callback
from .recipe import Recipe

# Which run of a tracker's a folder is, so that a resumed one goes on with it.
FILE, SCHEMA = "trackers.json", "glorext.trackers/1"
SENT_EVERY = 5.0  # seconds between two requests to MLflow, which waits for each


class Tracker(Callback):
    """Numbers of steps and epochs, by name and by the number of the step in the whole run.

    Args:
        folder: the run's.
        steps: of an epoch.

    Raises:
        SetupError: the program is not installed.
    """

    name = ""
    ends_a_run = False  # a server that does not answer must not end days of training

    def __init__(self, folder: Path, steps: int):
        self.folder, self.steps = folder, steps

    def log(self, values: dict[str, float], step: int) -> None:
        """Keep `values` as those at `step`."""
        raise NotImplementedError

    def on_step(self, event: dict) -> None:
        self.log(dict(_numbers(event)), (event["epoch"] - 1) * self.steps + event["step"])

    def on_epoch(self, event: dict) -> None:
        self.log(dict(_numbers(event)), event["epoch"] * self.steps)


def _numbers(event: dict) -> Iterator[tuple[str, float]]:
    for key, value in event.items():
        if key not in ("event", "epoch", "step") and value is not None:
            yield f"{event['event']}/{key}", float(value)


def _keys(recipe: Recipe) -> dict:
    return {key: value for key, value in dataclasses.asdict(recipe).items() if value is not None}


class TensorBoard(Tracker):
    """Event files in RUN/tensorboard."""

    name = "tensorboard"

    def __init__(self, folder: Path, steps: int):
        super().__init__(folder, steps)
        with _wanted("TensorBoard", self.name):
            from tensorboard.summary import Writer
        self.kind = Writer

    def on_begin(self, folder: Path, recipe: Recipe) -> None:
        self.writer = self.kind(str(folder / "tensorboard"))

    def log(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def on_end(self) -> None:
        self.writer.close()


class MLflow(Tracker):
    """A run of MLflow's, where MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME say; named as the run's folder."""

    name = "mlflow"

    def __init__(self, folder: Path, steps: int):
        super().__init__(folder, steps)
        with _wanted("MLflow", self.name):
            import mlflow
        self.mlflow, self.client, self.sent = mlflow, mlflow.MlflowClient(), 0.0
        self.waiting: list = []

    def on_begin(self, folder: Path, recipe: Recipe) -> None:
        self.id = _known(folder).get(self.name, "")
        if self.id:
            self.client.update_run(self.id, "RUNNING")
            return
        self.id = self.client.create_run(self._experiment(), run_name=folder.resolve().name).info.run_id
        _remember(folder, self.name, self.id)
        for key, value in _keys(recipe).items():
            self.client.log_param(self.id, key, value)

    def _experiment(self) -> str:
        from mlflow.environment_variables import MLFLOW_EXPERIMENT_ID, MLFLOW_EXPERIMENT_NAME

        name = MLFLOW_EXPERIMENT_NAME.get()
        if MLFLOW_EXPERIMENT_ID.get() or not name:
            return MLFLOW_EXPERIMENT_ID.get() or "0"
        found = self.client.get_experiment_by_name(name)
        return found.experiment_id if found else self.client.create_experiment(name)

    def log(self, values: dict[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        self.waiting += [self.mlflow.entities.Metric(name, value, now, step) for name, value in values.items()]
        if time.monotonic() - self.sent > SENT_EVERY:
            self._send()

    def _send(self) -> None:
        for i in range(0, len(self.waiting), 1000):  # MLflow takes no more in one request
            self.client.log_batch(self.id, self.waiting[i : i + 1000])
        self.waiting, self.sent = [], time.monotonic()

    def on_end(self) -> None:
        self._send()
        self.client.set_terminated(self.id)


class WandB(Tracker):
    """A run of Weights & Biases, where its own variables (WANDB_PROJECT, WANDB_MODE) say."""

    name = "wandb"

    def __init__(self, folder: Path, steps: int):
        super().__init__(folder, steps)
        with _wanted("Weights & Biases", self.name):
            import wandb
        self.wandb = wandb

    def on_begin(self, folder: Path, recipe: Recipe) -> None:
        known = _known(folder).get(self.name)
        self.run = self.wandb.init(
            dir=str(folder), id=known, name=folder.resolve().name, resume="allow", config=_keys(recipe)
        )
        if not known:
            _remember(folder, self.name, self.run.id)

    def log(self, values: dict[str, float], step: int) -> None:
        self.run.log(values, step=step)

    def on_end(self) -> None:
        self.run.finish()


TRACKERS: tuple[type[Tracker], ...] = (TensorBoard, MLflow, WandB)


def trackers_of(recipe: Recipe, folder: Path, steps: int) -> list[Tracker]:
    """The trackers that a recipe asks for."""
    return [kind(folder, steps) for kind in TRACKERS if getattr(recipe, kind.name)]


@contextmanager
def _wanted(program: str, key: str):
    """Say of an import in this context that fails which key of the recipe asks for it, and how to get it."""
    try:
        yield
    except ImportError as error:
        raise SetupError(
            expected=f"{program}, as the recipe's key {key} asks for",
            found="it is not installed",
            do=f"Run: pip install 'glorext[{key}]'",
        ) from error


def _known(folder: Path) -> dict[str, str]:
    path = folder / FILE
    if not path.is_file():
        return {}
    fields = Fields.read(path, SCHEMA, do="Remove it; the trackers then begin new runs.")
    found = {kind.name: fields.take(kind.name, str) for kind in TRACKERS if kind.name in fields}
    fields.done()
    return found


def _remember(folder: Path, name: str, run: str) -> None:
    write_json(folder / FILE, {"schema": SCHEMA, **_known(folder), name: run})
