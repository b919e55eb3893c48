"""Small pictures and a small network for the tests of training."""

import numpy as np
import pytest
from PIL import Image

SMALL = {"layers": [1, 1, 1, 1], "groups": 2, "width_per_group": 4, "stem_width": 8}
# A recipe that takes seconds.
TINY = {
    "network": "resnext50",
    "network_args": SMALL,
    "input": {"size": 16, "resize": 16},
    "batch_size": 4,
    "epochs": 2,
    "lr": 0.02,
    "lr_scheduler": "linear",
    "augmentation": "none",
    "workers": 1,
}


@pytest.fixture
def draw(tmp_path):
    """draw(name, classes, each): a tree of 16x16 PNGs, every class a color of its own plus noise."""

    def make(name="train", classes=("ant", "bee"), each=8, seed=0):
        generator = np.random.default_rng(seed)
        for k, label in enumerate(classes):
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            for i in range(each):
                pixels = generator.integers(0, 120, (16, 16, 3)) + 130 * np.eye(3, dtype=int)[k % 3]
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:03}.png")
        return tmp_path / name

    return make


@pytest.fixture
def recipe(tmp_path):
    """recipe(**changes): a run of a small network on 16x16 pictures that takes seconds."""
    from glorext.train.recipe import Recipe

    def make(**changes):
        return Recipe(**({**TINY, "ckpt_path": str(tmp_path / "run")} | changes))

    return make
