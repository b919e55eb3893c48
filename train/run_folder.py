"""The folder of a run: recipe, labels, metrics, checkpoints to resume from, the best weights and their evaluation."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from glorext.models import save_checkpoint
from glorext.models.labels import LABELS, labels_digest, write_labels
from glorext.runtime.errors import UsageError
from glorext.runtime.files import sha256_bytes
from glorext.runtime.log import get_logger

from .recipe import OUTPUTS
from .run_paths import RunPaths

logger = get_logger("train")
CHECKPOINT = re.compile(r"(.+)-(\d+)_(\d+)\.ckpt")
# Names under "optimizer." are training state to every reader of checkpoints.
POSITION, BEST, PICTURES_DIGEST = "optimizer.position", "optimizer.best", "optimizer.pictures"
RATES = "learning_rate"  # what the names of the optimizer's rates begin with, one for each group that has its own
MEASURED_ON, LOSSES = "optimizer.measured_on", "optimizer.losses"


@dataclass
class Position:
    """Where a run stands: `step` steps of `epoch` (both from 0) are done, `overflows` steps were skipped so far, and
    the best top-1 (-1: none yet) was measured after `best_epoch` epochs, on the pictures with the fingerprint
    `measured_on`; `losses` is the sum over the steps of the present epoch."""

    epoch: int = 0
    step: int = 0
    overflows: int = 0
    best: float = -1.0
    best_epoch: int = 0
    measured_on: tuple[int, ...] = (0, 0, 0, 0)
    losses: float = 0.0

    def arrays(self) -> dict[str, np.ndarray]:
        """As entries of a checkpoint."""
        return {
            POSITION: np.array([self.epoch, self.step, self.overflows, self.best_epoch], np.int64),
            BEST: np.array([self.best], np.float64),
            MEASURED_ON: np.array(self.measured_on, np.int64),
            LOSSES: np.array([self.losses], np.float64),
        }

    @classmethod
    def of(cls, tensors: dict) -> Position:
        """From the entries of a checkpoint."""
        epoch, step, overflows, best_epoch = (int(value) for value in tensors[POSITION])
        measured_on = tuple(tensors[MEASURED_ON].tolist())
        best, losses = (float(tensors[name][0]) for name in (BEST, LOSSES))
        return cls(epoch, step, overflows, best, best_epoch, measured_on, losses)

    def steps_done(self, steps_per_epoch: int) -> tuple[int, int]:
        """Number of the last epoch that has begun (from 1) and how many of its steps are done."""
        return (self.epoch + 1, self.step) if self.step else (self.epoch, steps_per_epoch)


def fingerprint(pictures) -> np.ndarray:
    """Names and labels of pictures as 32 bytes of a checkpoint: int64 (4,)."""
    digest = sha256_bytes(f"{pictures.digest()} {labels_digest(pictures.labels)}".encode())
    return np.frombuffer(bytes.fromhex(digest), np.int64)


class RunFolder:
    """Reads and writes one run's folder. Every file but metrics.jsonl appears whole or not at all.

    Args:
        folder: may exist only to resume, or if it holds no run.
        resume: whether to go on with the run that it holds.
    """

    def __init__(self, folder, resume: bool = False):
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(expected="a folder for the run", found="a file", where=self.folder)
        self.resume = resume
        self.require_free()
        self.metrics = self.folder / "metrics.jsonl"

    def require_free(self) -> None:
        """Raise UsageError where a new run would begin in the folder of another one."""
        if self.resume:
            return
        if (self.folder / "recipe.yaml").exists():
            raise UsageError(
                expected="a folder without a run",
                found="the run of an earlier command",
                where=self.folder,
                do=f"Choose another --out, or go on with --resume {self.folder}.",
            )
        if self.checkpoints():  # they would be counted among those of which the newest stay
            raise UsageError(
                expected="a folder without checkpoints",
                found=self.checkpoints()[0].name,
                where=self.folder,
                do="Choose another --out.",
            )

    @contextlib.contextmanager
    def locked(self, is_writer: bool = True):
        """Keep other processes from writing this run while the context lasts; made by the writer alone.

        The lock is on the folder itself and ends with the process, however that ends. A file system without locks,
        such as some networks', does without.

        Raises:
            UsageError: another process trains in this folder.
        """
        if not is_writer:
            yield
            return
        with _writing_to(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder, os.O_RDONLY)
        try:
            self._lock(handle)
            self.require_free()  # another one may have begun, and ended, since this one was asked for
            try:
                yield
            finally:
                if not any(self.folder.iterdir()):  # no run began
                    self.folder.rmdir()
        finally:
            os.close(handle)

    def _lock(self, handle: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                expected="a folder of its own for each run",
                found="another process that trains in it",
                where=self.folder,
                do="Choose another --out, or wait for the end of that run.",
            ) from None
        except OSError as error:
            logger.info("%s cannot be locked (%s)", self.folder, error.strerror)

    def start(self, recipe, labels, paths: RunPaths) -> None:
        """Write the effective recipe, which names no place on this machine, the label list and the paths."""
        source = recipe.pretrained
        if paths.pretrained and Path(paths.pretrained).is_absolute():
            source = Path(paths.pretrained).name
        with _writing_to(self.folder):
            write_labels(self.folder / LABELS, labels)
            replace(recipe, ckpt_path=OUTPUTS, pretrained=source).save(self.folder / "recipe.yaml")
            paths.write(self.folder)

    def checkpoints(self) -> list[Path]:
        """Checkpoints to resume from, newest first."""
        found = [path for path in self.folder.glob("*.ckpt") if CHECKPOINT.fullmatch(path.name)]
        return sorted(found, key=lambda path: (_steps_named(path), path.name), reverse=True)

    def checkpoints_after(self, position: Position, steps_per_epoch: int) -> list[Path]:
        """Those that were written after the run stood at `position`, newest first."""
        return [path for path in self.checkpoints() if _steps_named(path) > position.steps_done(steps_per_epoch)]

    def save(self, network: str, tensors: dict, position: Position, steps_per_epoch: int, keep: int) -> Path:
        """Write a checkpoint named like MindSpore's own, NETWORK-EPOCH_STEP.ckpt, and drop the oldest beyond `keep`."""
        epoch, step = position.steps_done(steps_per_epoch)
        path = self.folder / f"{network}-{epoch}_{step}.ckpt"
        save_checkpoint(tensors | position.arrays(), path)
        for old in self.checkpoints()[keep:]:
            old.unlink()
        return path


@contextlib.contextmanager
def _writing_to(folder: Path):
    """Turn the operating system's refusal into a UsageError that names the folder."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            expected="a folder that can be written", found=error.strerror, where=folder, do="Choose another --out."
        ) from error


def _steps_named(checkpoint: Path) -> tuple[int, int]:
    """Epoch and step in the name of a checkpoint."""
    match = CHECKPOINT.fullmatch(checkpoint.name)
    assert match, checkpoint  # `checkpoints` lists only such names
    _, epoch, step = match.groups()
    return int(epoch), int(step)
