"""The folder of a run: recipe, labels, metrics, checkpoints to resume from, the best weights and their evaluation."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glorext.models.labels import LABELS, labels_digest, write_labels
from glorext.runtime.errors import CheckpointError, SetupError, UsageError
from glorext.runtime.files import atomic_path, sha256_bytes
from glorext.runtime.log import get_logger

logger = get_logger("train")
CHECKPOINT = re.compile(r"(.+)-(\d+)_(\d+)\.ckpt")
# Names under "optimizer." are training state to every reader of checkpoints.
POSITION, BEST, FINGERPRINT = "optimizer.position", "optimizer.best", "optimizer.pictures"


@dataclass
class Position:
    """Where a run stands: `step` steps of `epoch` (both from 0) are done, `overflows` steps were skipped so far, and
    the best top-1 (-1: none yet) was measured after `best_epoch` epochs."""

    epoch: int = 0
    step: int = 0
    overflows: int = 0
    best: float = -1.0
    best_epoch: int = 0

    def arrays(self) -> dict[str, np.ndarray]:
        """As entries of a checkpoint."""
        return {
            POSITION: np.array([self.epoch, self.step, self.overflows, self.best_epoch], np.int64),
            BEST: np.array([self.best], np.float64),
        }

    @classmethod
    def of(cls, tensors: dict) -> Position:
        """From the entries of a checkpoint."""
        epoch, step, overflows, best_epoch = (int(value) for value in tensors[POSITION])
        return cls(epoch, step, overflows, float(tensors[BEST][0]), best_epoch)


def fingerprint(pictures) -> np.ndarray:
    """Names and labels of the training pictures as 32 bytes of a checkpoint: int64 (4,)."""
    digest = sha256_bytes(f"{pictures.digest()} {labels_digest(pictures.labels)}".encode())
    return np.frombuffer(bytes.fromhex(digest), np.int64)


def board_in(folder):
    """A TensorBoard writer into `folder`."""
    try:
        from tensorboard.summary import Writer
    except ImportError as error:
        raise SetupError(
            expected="TensorBoard, as the recipe's key tensorboard asks for",
            found="it is not installed",
            do="Run: pip install tensorboard",
        ) from error
    return Writer(str(folder))


class RunFolder:
    """Reads and writes one run's folder. Every file but metrics.jsonl appears whole or not at all.

    Args:
        folder: may exist only to resume, or if it holds no run.
        resume: whether to go on with what is there.
    """

    def __init__(self, folder, resume: bool = False):
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(expected="a folder for the run", found="a file", where=self.folder)
        if not resume and (self.folder / "recipe.yaml").exists():
            raise UsageError(
                expected="a folder without a run",
                found="the run of an earlier command",
                where=self.folder,
                do="Choose another --out, or go on with --resume auto.",
            )
        if not resume and self.checkpoints():  # they would be counted among those of which the newest stay
            raise UsageError(
                expected="a folder without checkpoints",
                found=self.checkpoints()[0].name,
                where=self.folder,
                do="Choose another --out.",
            )
        self.metrics = self.folder / "metrics.jsonl"
        self.board = None

    def start(self, recipe, labels, steps_per_epoch: int) -> None:
        """Write the effective recipe and the label list; begin a TensorBoard log where the recipe wants one.

        Raises:
            SetupError: TensorBoard is wanted and not installed.
        """
        if recipe.tensorboard:
            self.board, self.steps = board_in(self.folder / "tensorboard"), steps_per_epoch
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_labels(self.folder / LABELS, labels)
            recipe.save(self.folder / "recipe.yaml")
        except OSError as error:
            raise UsageError(
                expected="a folder that can be written",
                found=error.strerror,
                where=self.folder,
                do="Choose another --out.",
            ) from error

    def log(self, **event) -> None:
        """Append one line to metrics.jsonl."""
        with open(self.metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(event, allow_nan=False) + "\n")
        if self.board:
            step = (event["epoch"] - 1) * self.steps + event.get("step", self.steps)
            for key, value in event.items():
                if key not in ("event", "epoch", "step") and value is not None:
                    self.board.add_scalar(f"{event['event']}/{key}", value, step)
            self.board.flush()

    def checkpoints(self) -> list[Path]:
        """Checkpoints to resume from, newest first."""
        return [path for _, path in self._checkpoints()]

    def _checkpoints(self) -> list[tuple]:
        found = [
            ((int(match[2]), int(match[3])), path)
            for path in self.folder.glob("*.ckpt")
            if (match := CHECKPOINT.fullmatch(path.name))
        ]
        return sorted(found, reverse=True)

    @staticmethod
    def _name_of(position: Position, steps_per_epoch: int) -> tuple[int, int]:
        """The steps done in the epoch that the position stands in; after a whole epoch that is all of them."""
        return (position.epoch + 1, position.step) if position.step else (position.epoch, steps_per_epoch)

    def save(self, network: str, tensors: dict, position: Position, steps_per_epoch: int, keep: int) -> Path:
        """Write a checkpoint named like MindSpore's own, NETWORK-EPOCH_STEP.ckpt, and drop the oldest beyond `keep`."""
        from glorext.models import save_checkpoint

        epoch, step = self._name_of(position, steps_per_epoch)
        path = self.folder / f"{network}-{epoch}_{step}.ckpt"
        save_checkpoint(tensors | position.arrays(), path)
        for old in self.checkpoints()[keep:]:
            old.unlink()
        return path

    def newest(self, which: str = "auto") -> tuple[Path, dict] | None:
        """The newest whole checkpoint and its tensors; None without any.

        Args:
            which: "auto", or the path of one checkpoint.

        Raises:
            CheckpointError: there are checkpoints but none is whole, or the named one is not.
            UsageError: the named one lies in another folder.
        """
        from glorext.models.formats import read_tensors

        if which != "auto" and Path(which).resolve().parent != self.folder.resolve():
            raise UsageError(
                expected=f"a checkpoint in the run's folder {self.folder}",
                found=which,
                where="--resume",
                do="Name its folder with --out.",
            )
        candidates = self.checkpoints() if which == "auto" else [Path(which)]
        for path in candidates:
            try:
                tensors = read_tensors(path)
                if not {POSITION, BEST, FINGERPRINT} <= tensors.keys():
                    raise CheckpointError(expected="the state of a training run", found="weights only", where=path)
                return path, tensors
            except CheckpointError as error:
                if which != "auto":
                    raise
                logger.warning("passed over: %s", error)
        if candidates:
            raise CheckpointError(
                expected="a whole checkpoint",
                found=f"{len(candidates)} damaged ones",
                where=self.folder,
                do="Start again in another folder.",
            )
        return None

    def cut(self, position: Position, steps_per_epoch: int) -> None:
        """Remove what lies behind `position`, where the run goes on, and what a killed process left half-written."""
        for path in self.folder.glob(".*.part*"):
            if path.is_file():
                path.unlink()
        newest = self._name_of(position, steps_per_epoch)
        for place, path in self._checkpoints():
            if place > newest:
                path.unlink()
                logger.warning("removed %s: the run goes on before it", path)
        self._cut_metrics(position.epoch, position.step)

    def _cut_metrics(self, epoch: int, step: int) -> None:
        """Drop what was logged after `step` steps of `epoch` (both from 0), and a half-written last line."""
        if not self.metrics.exists():
            return
        kept = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                break
            place = event["epoch"] - 1, event.get("step", 0) if event["event"] == "step" else 0
            if place[0] < epoch or (place[0] == epoch and event["event"] == "step" and place[1] <= step):
                kept.append(line + "\n")
        with atomic_path(self.metrics) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")
