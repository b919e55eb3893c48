"""Accuracy is counted right, and called kept, lost or unclear by what the pictures can tell."""

import numpy as np
import pytest

from glorext.deploy.validate.accuracy import (
    FAIL,
    PASS,
    UNCLEAR,
    Claim,
    accuracy,
    claim_for,
    interval_beyond,
    judge,
    listing_digest,
    pictures_needed,
    truths,
    wilson,
)
from glorext.models.evaluation import EvalResult
from glorext.runtime import DataError

LABELS = tuple("abcdefghij")


def evidence(confusion=None, top1=0.8, count=1000, paths=()):
    return EvalResult(
        top1,
        0.95,
        count,
        "f" * 64,
        "e" * 64,
        "d" * 64,
        "resnext50",
        "CPU",
        "O0",
        {},
        {"folder": "val", "count": count, "sha256": listing_digest(paths)},
        confusion,
    )


def answers(right, count, classes=10) -> tuple[np.ndarray, np.ndarray]:
    """The first `right` of `count` pictures, going through the classes in turn, are right."""
    return np.arange(count) < right, np.arange(count) % classes


def test_top1_and_top5_by_hand():
    logits = np.array([[3, 2, 1, 0, -1, -2], [3, 2, 1, 0, -1, -2], [3, 2, 1, 0, -1, -2]], float)
    found = accuracy(logits, np.array([0, 4, 5]))
    assert (found.count, found.top1, found.top5) == (3, 1 / 3, 2 / 3)


def test_no_top5_is_claimed_where_every_answer_would_have_it():
    logits = np.array([[3, 2, 1, 0, -1, -2], [3, 2, 1, 0, -1, -2]], float)
    assert accuracy(logits[:, :5], np.array([0, 4])).top5 is None
    assert accuracy(logits, np.array([0, 4])).top5 == 1


def test_a_tie_counts_for_the_lower_class_as_argmax_does():
    logits = np.zeros((2, 10))
    assert accuracy(logits, np.array([0, 1])).top1 == 0.5
    assert accuracy(logits, np.array([4, 5])).top5 == 0.5


def test_no_interval_is_claimed_for_pictures_that_stopped_when_the_answer_was_clear():
    found = accuracy(np.eye(3), np.arange(3), early=True)
    assert found.top1 == 1 and (found.low, found.high) == (None, None)


def test_wilson_interval_against_published_values():
    # Newcombe 1998, table I, method 3: 81/263 gives 0.2553 to 0.3662; 0/20 gives 0 to 0.1611.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_an_interval_from_some_classes_holds_for_all_of_them():
    generator = np.random.default_rng(1)
    # The variance between 1000 classes like ImageNet's, of which 40 with 50 pictures each are there.
    each = generator.beta(5, 1.4, 1000)
    covered, naive = 0, 0
    for _ in range(400):
        chosen = generator.choice(1000, 40, replace=False)
        classes = np.repeat(chosen, 50)
        right = generator.random(2000) < each[classes]
        low, high = interval_beyond(right, classes, 1000)
        covered += low <= each.mean() <= high
        low, high = wilson(right.sum(), 2000)
        naive += low <= each.mean() <= high
    assert 0.92 <= covered / 400 <= 0.98 and naive / 400 < 0.6


def test_one_class_tells_nothing_of_the_others_and_all_classes_need_no_widening():
    right, classes = answers(90, 100)
    assert interval_beyond(right, np.zeros(100, int), 10) == (0, 1)
    assert interval_beyond(right, classes, 10) == wilson(90, 100)


def test_the_digest_of_a_listing_is_that_of_the_evidence(tmp_path):
    from glorext.train.data import list_pictures

    # A folder's name that sorts before another one only until the slash counts.
    for path in ("a/2.png", "a/10.png", "a-b/1.png", "ä/1.png"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    pictures = list_pictures(tmp_path)
    assert listing_digest(reversed(pictures.paths)) == pictures.digest()


def test_on_the_pictures_of_the_evidence_the_two_are_compared_as_they_are():
    paths = [f"{LABELS[number % 10]}/{number}.png" for number in range(1000)]
    right, classes = answers(796, 1000)
    claim = claim_for(evidence(paths=paths), paths, classes, 10)
    assert claim == Claim(0.8, 1000, "same pictures")
    assert judge(claim, right, classes, 10).state == PASS
    assert judge(claim, answers(795, 1000)[0], classes, 10).state == PASS, "exactly 0.5 % lower is allowed"
    assert judge(claim, answers(794, 1000)[0], classes, 10).state == FAIL


def test_a_partial_set_is_held_against_what_its_classes_are_worth():
    confusion = np.diag([90, 50] + [83] * 8) + 0
    confusion[:, 9] += 100 - confusion.sum(1)
    paths, classes = ["b/1.png", "b/2.png", "a/1.png", "b/3.png"], np.array([1, 1, 0, 1])
    claim = claim_for(evidence(confusion.tolist()), paths, classes, 10)
    assert claim.basis == "same classes" and claim.top1 == pytest.approx((3 * 0.5 + 0.9) / 4)


@pytest.mark.parametrize("confusion", [None, [[0, 0], [0, 5]]])
def test_without_numbers_for_each_class_missing_classes_are_named(confusion):
    claim = claim_for(evidence(confusion), ["a/1.png"], np.array([0]), 2)
    assert claim.basis == "other classes" and claim.top1 == 0.8
    assert claim_for(evidence(confusion), ["a/1.png", "b/1.png"], np.array([0, 1]), 2).basis == "all classes"
    assert claim_for(None, ["a/1.png"], np.array([0]), 2) is None


@pytest.mark.parametrize(
    "right, count, state",
    [
        (80, 100, UNCLEAR),
        (60, 100, FAIL),
        (100, 100, PASS),
        (40100, 50000, PASS),
        (39900, 50000, UNCLEAR),
        (39000, 50000, FAIL),
    ],
)
def test_other_pictures_decide_by_the_interval(right, count, state):
    check = judge(Claim(0.8, 50000, "all classes"), *answers(right, count), 10)
    assert check.state == state
    assert ("pictures would decide" in check.found) == (state == UNCLEAR)


def test_few_classes_do_not_decide_what_all_would():
    right, classes = answers(950, 1000, classes=3)
    assert judge(Claim(0.9, 50000, "all classes"), right, classes, 100).state == PASS
    right = classes > 0
    assert judge(Claim(0.6, 50000, "other classes"), right, classes, 100).state == UNCLEAR


def test_the_number_of_pictures_that_would_decide_is_enough():
    count = pictures_needed(0.8, 0.005)
    assert judge(Claim(0.8, 50000, "all classes"), *answers(int(0.8005 * count), count), 10).state == PASS
    assert judge(Claim(0.8, 50000, "all classes"), *answers(int(0.8 * count / 2), count // 2), 10).state == UNCLEAR


def test_classes_come_from_the_label_list_not_from_the_folders_there():
    assert truths(["c/1.png", "j/2.png"], LABELS).tolist() == [2, 9]


@pytest.mark.parametrize("path", ["z/1.png", "1.png"])
def test_a_picture_of_no_known_class_is_named(path):
    with pytest.raises(DataError, match=path):
        truths(["a/0.png", path], LABELS)


def test_without_labels_nothing_is_measured():
    with pytest.raises(DataError, match="label list"):
        truths(["a/0.png"], ())
