"""Accuracy is counted right, held against MindSpore picture by picture, and never passed by accident."""
import dataclasses

import numpy as np
import pytest

from glorext.deploy.source import Source
from glorext.deploy.validate import MAX_DIFFERENCE, accuracy, compare, truths, wilson
from glorext.models import InputSpec
from glorext.runtime import AccuracyError, DataError
from glorext.train.results import Results

LABELS = tuple("abcdefghij")
COUNT = 400


@pytest.fixture
def model(tmp_path):
    return Source("m", "resnext50", {"num_classes": 10}, tmp_path / "m.ckpt", InputSpec(), LABELS, "f" * 64, top1=0.9)


def results(logits, backend="lite-cpp", weights="f" * 64):
    pictures = [{"path": f"{LABELS[i % 10]}/{i:03d}.png", "top5": [], "ms": 1.0} for i in range(len(logits))]
    return Results(backend=backend, model={"file": "m", "sha256": "0" * 64, "weights_sha256": weights}, device="cpu",
                   batch=1, workers=1, threads=1, logits=logits.astype(np.float32), pictures=pictures,
                   latency_ms={"p50": 1, "p90": 1, "p99": 1, "mean": 1, "warmup": 0}, throughput=1.0, seconds=1.0,
                   stages_ms={}, versions={})


@pytest.fixture
def logits():
    """Right on every picture but the first 20."""
    logits = np.random.default_rng(0).normal(size=(COUNT, 10))
    truth = np.arange(COUNT) % 10
    logits[np.arange(COUNT), truth] = 9
    logits[np.arange(20), (truth[:20] + 1) % 10] = 10
    return logits


def test_top1_and_top5_by_hand():
    logits = np.array([[3, 2, 1, 0, -1, -2], [3, 2, 1, 0, -1, -2], [3, 2, 1, 0, -1, -2]], float)
    found = accuracy(logits, np.array([0, 4, 5]))
    assert (found.count, found.top1, found.top5) == (3, 1 / 3, 2 / 3)


def test_a_tie_counts_for_the_lower_class_as_argmax_does():
    logits = np.zeros((2, 10))
    assert accuracy(logits, np.array([0, 1])).top1 == 0.5
    assert accuracy(logits, np.array([4, 5])).top5 == 0.5


def test_wilson_interval_against_published_values():
    # Newcombe 1998, table I, method 3: 81/263 gives 0.2553 to 0.3662; 0/20 gives 0 to 0.1611.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_classes_come_from_the_label_list_not_from_the_folders_there():
    assert truths(["c/1.png", "j/2.png"], LABELS).tolist() == [2, 9]


@pytest.mark.parametrize("path", ["z/1.png", "1.png"])
def test_a_picture_of_no_known_class_is_named(path):
    with pytest.raises(DataError, match=path):
        truths(["a/0.png", path], LABELS)


def test_without_labels_nothing_is_measured():
    with pytest.raises(DataError, match="label list"):
        truths(["a/0.png"], ())


def test_equal_results_pass(model, logits):
    validation = compare(model, results(logits), results(logits, "mindspore"), min_top1=0.95)
    assert validation.passed and validation.agreement == COUNT and not validation.flips
    assert validation.measured.top1 == 0.95 and validation.max_difference == 0 and validation.cosine > 0.999999


def failed(validation):
    return [check.name for check in validation.checks if not check.passed]


def test_a_logit_that_moves_too_far_fails_though_no_answer_changes(model, logits):
    moved = logits.copy()
    moved[7, 3] -= 3 * MAX_DIFFERENCE
    validation = compare(model, results(moved), results(logits, "mindspore"))
    assert failed(validation) == ["logits against MindSpore"]
    assert validation.max_difference == pytest.approx(3e-3, rel=1e-3)


def test_two_flips_in_four_hundred_fail_and_are_named(model, logits):
    near = logits.copy()
    near[[0, 1]] = 0
    flipped = near.copy()
    near[[0, 1], 4], flipped[[0, 1], 5] = 4e-4, 4e-4
    validation = compare(model, results(flipped), results(near, "mindspore"))
    assert validation.agreement == COUNT - 2 and validation.flips == ("a/000.png", "b/001.png")
    assert "same top-1 as MindSpore" not in failed(validation), "two of 400 is what 359 of 360 allows, rounded down"
    flipped[2], near[2] = 0, 0
    near[2, 4], flipped[2, 5] = 4e-4, 4e-4
    assert "same top-1 as MindSpore" in failed(compare(model, results(flipped), results(near, "mindspore")))


def test_accuracy_below_the_packages_evidence_fails(model, logits):
    claimed = dataclasses.replace(model, top1=0.97)
    assert failed(compare(claimed, results(logits), results(logits, "mindspore"))) == \
        ["top-1 against the package's evidence"]


def test_accuracy_below_the_wanted_value_fails(model, logits):
    assert failed(compare(model, results(logits), results(logits, "mindspore"), min_top1=0.97)) == \
        ["top-1 against the wanted value"]


def test_results_of_other_weights_are_refused(model, logits):
    with pytest.raises(AccuracyError, match="lite-cpp"):
        compare(model, results(logits, weights="e" * 64), results(logits, "mindspore"))


def test_other_pictures_are_refused(model, logits):
    with pytest.raises(DataError, match="same pictures"):
        compare(model, results(logits[:-1]), results(logits, "mindspore"))


def test_a_picture_that_was_not_scored_is_not_passed_over(model, logits):
    partial = results(logits)
    partial.failed = [{"path": "a/x.png", "error": "cut off"}]
    with pytest.raises(DataError, match="a/x.png: cut off"):
        compare(model, partial, results(logits, "mindspore"))


def test_not_a_number_does_not_pass(model, logits):
    broken = logits.copy()
    broken[3, 3] = np.nan
    validation = compare(model, results(broken), results(logits, "mindspore"))
    assert "logits against MindSpore" in failed(validation)
