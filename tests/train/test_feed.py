"""The batches of an epoch: the same ones wherever a run goes on, without computing all that came before."""

import dataclasses
from contextlib import closing

import numpy as np
import pytest

from glorext.train import run as run_module
from glorext.train.data import list_pictures
from glorext.train.distributed import Group
from glorext.train.pictures import Pictures
from glorext.train.run import Run
from glorext.train.run_folder import RunFolder

STEPS, BATCH = 12, 4


@pytest.fixture
def run(draw, recipe, tmp_path, monkeypatch):
    """A run of 12 steps an epoch, whose pipeline begins anew every 4 steps."""
    monkeypatch.setattr(run_module, "SEGMENT", 4 * BATCH)
    made = dataclasses.replace(recipe(augmentation="color_jitter", batch_size=BATCH), num_classes=2)
    pictures = list_pictures(draw(each=STEPS * BATCH // 2))
    return Run(made, pictures, None, RunFolder(tmp_path / "run", False), "CPU", Group(0, 1), True, None)


@pytest.fixture
def asked(monkeypatch):
    """Of each pipeline that starts, the pictures that it takes."""
    found, source = [], Pictures.source

    def noted(self, indices):
        found.append(list(indices))
        return source(self, indices)

    monkeypatch.setattr(Pictures, "source", noted)
    return found


ORDER = np.random.default_rng(3).permutation(STEPS * BATCH)


def batches_from(run, first, epoch=0):
    with closing(run.feed(ORDER, epoch, first)) as feed:
        return [(images.asnumpy(), targets.asnumpy()) for images, targets in feed]


@pytest.mark.parametrize("first", [1, 3, 4, 7, 8, 11])
def test_batches_are_the_same_wherever_an_epoch_is_entered(run, asked, first):
    whole = batches_from(run, 0)
    assert len(whole) == STEPS and asked == [list(ORDER[at : at + 16]) for at in (0, 16, 32)]
    asked.clear()
    rest = batches_from(run, first)
    assert len(rest) == STEPS - first
    for one, other in zip(whole[first:], rest):
        assert one[0].tobytes() == other[0].tobytes() and one[1].tobytes() == other[1].tobytes()
    assert asked == [list(ORDER[at : at + 16]) for at in (0, 16, 32) if at + 16 > first * BATCH]


def test_every_segment_and_epoch_draws_its_own_numbers(run):
    run.pictures = dataclasses.replace(run.pictures, places=np.zeros_like(run.pictures.places))  # one picture, always
    drawn = [images.tobytes() for epoch in (0, 1) for images, _ in batches_from(run, 0, epoch)]
    assert len(set(drawn)) == 2 * STEPS


def test_the_next_segment_starts_before_the_present_one_ends(run, asked):
    with closing(run.feed(ORDER, 0, 0)) as feed:
        started = []
        for _ in feed:
            started.append(len(asked))
    assert started == [1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3]


def test_from_a_devices_queue_an_epoch_is_one_pipeline(run, asked, monkeypatch):
    run.sink = True
    monkeypatch.setattr(run_module, "fed", lambda pipeline, sink: iter(pipeline.create_tuple_iterator(num_epochs=1)))
    assert len(batches_from(run, 5)) == STEPS - 5 and asked == [list(ORDER)]
