"""Golden inputs: pictures and the network's own answers to them, beside a model, for every later step to compare."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from glorext.runtime import DataError, atomic_path

COUNT = 4


class Golden(NamedTuple):
    """Inputs (4, 3, H, W) of the type that the model takes, and the network's outputs, float32 (4, classes)."""

    inputs: np.ndarray
    outputs: np.ndarray

    def at_batch(self, batch: int) -> Golden:
        """For a model of this batch: all of them where it is open (-1), else as many, from the first one again."""
        return self if batch < 0 else Golden(*(np.resize(array, (batch, *array.shape[1:])) for array in self))


def golden_pixels(size: int) -> np.ndarray:
    """Seeded pictures, uint8 (4, size, size, 3): colored fields with noise, so that their averages differ too."""
    generator = np.random.default_rng(0)
    fields = generator.integers(0, 226, (COUNT, 8, 8, 3))
    place = np.arange(size) * 8 // size
    return (fields[:, place][:, :, place] + generator.integers(0, 30, (COUNT, size, size, 3))).astype(np.uint8)


def golden_paths(folder: Path, stem: str) -> tuple[Path, Path]:
    """Where golden inputs and outputs stand of the models that are called `stem`, in whatever format."""
    return Path(folder) / f"{stem}_golden_input.npy", Path(folder) / f"{stem}_golden_output.npy"


def write_golden(folder: Path, stem: str, golden: Golden) -> None:
    """Write what `golden_paths` names."""
    for path, array in zip(golden_paths(folder, stem), golden):
        with atomic_path(path) as temporary:
            np.save(temporary, array)


def read_golden(model: Path) -> Golden:
    """The golden inputs and outputs beside an exported model; DataError if there are none."""
    paths = golden_paths(model.parent, model.stem)
    for path in paths:
        if not path.is_file():
            raise DataError(
                expected=f"{path.name} beside the model",
                found="no such file",
                where=model.parent,
                do="Export again: `glorext export` writes it, and no conversion is accepted without it.",
            )
    return Golden(*(np.load(path, allow_pickle=False) for path in paths))
