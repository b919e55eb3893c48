"""Precision, recall, F1, confusion and calibration are scikit-learn's and the paper's; what is undefined is None."""

import csv
import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from glorext.models.calibration import BINS, calibration, confidences
from glorext.models.evaluation import EvalResult, parse_evaluation
from glorext.models.labels import labels_digest
from glorext.models.per_class import (
    ClassScore,
    Confused,
    class_scores,
    confusion_matrix,
    mean_of,
    most_confused,
    write_confusion,
)
from glorext.runtime import json_bytes
from glorext.runtime.errors import DataError

LABELS = ("猫", "狗", "bird", "没有图片", "nobody's answer")


# 8 pictures: class 3 has no picture but one answer, class 4 two pictures and no answer.
TRUTHS, ANSWERS = np.array([0, 0, 0, 0, 1, 2, 4, 4]), np.array([0, 0, 1, 3, 1, 2, 1, 1])


def evaluated(truths, answers, labels, confidence=None, **changes) -> EvalResult:
    right = float(np.mean(truths == answers))
    sure = np.full(len(truths), 0.75, np.float32) if confidence is None else confidence
    values: dict[str, Any] = {
        "top1": right,
        "top5": None,
        "count": len(truths),
        **dict.fromkeys(("weights_sha256", "preprocessing_sha256"), "0" * 64),
        "labels_sha256": labels_digest(labels),
        "network": "resnext50",
        "device": "CPU",
        "precision": "O0",
        "versions": {"numpy": "1.26"},
        "data": {"folder": "val", "count": len(truths), "sha256": "0" * 64},
        "confusion": confusion_matrix(truths, answers, len(labels)).tolist() if len(labels) <= 100 else None,
        "classes": class_scores(truths, answers, labels),
        "confused": most_confused(truths, answers, labels),
        "calibration": calibration(sure, truths == answers),
    }
    return EvalResult(**(values | changes))


def written(result: EvalResult, path) -> bytes:
    result.write(path)
    return path.read_bytes()


def test_scores_of_small_classes_are_those_counted_by_hand():
    assert class_scores(TRUTHS, ANSWERS, LABELS) == [
        ClassScore("猫", 4, 2, 2, 1.0, 0.5, 2 / 3),
        ClassScore("狗", 1, 4, 1, 0.25, 1.0, 0.4),
        ClassScore("bird", 1, 1, 1, 1.0, 1.0, 1.0),
        ClassScore("没有图片", 0, 1, 0, None, None, None),
        ClassScore("nobody's answer", 2, 0, 0, None, 0.0, 0.0),
    ]
    assert mean_of(class_scores(TRUTHS, ANSWERS, LABELS), "recall") == pytest.approx(2.5 / 4)
    assert mean_of(class_scores(TRUTHS, ANSWERS, LABELS), "f1") == pytest.approx((2 / 3 + 0.4 + 1 + 0) / 4)
    assert most_confused(TRUTHS, ANSWERS, LABELS) == [
        Confused("nobody's answer", "狗", 2),
        Confused("猫", "狗", 1),
        Confused("猫", "没有图片", 1),
    ]
    assert [pair.times for pair in most_confused(TRUTHS, ANSWERS, LABELS, most=1)] == [2]


@pytest.mark.parametrize("classes, count", [(3, 50), (40, 300), (1000, 5000)])
def test_scores_are_those_of_scikit_learn(classes, count):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn, of the extra `demo`, is the reference")
    rng = np.random.default_rng(classes)
    truths = rng.integers(0, classes, count)
    answers = np.where(rng.random(count) < 0.7, truths, rng.integers(0, classes, count))
    found, everyone = class_scores(truths, answers, [str(i) for i in range(classes)]), list(range(classes))
    expected = metrics.precision_recall_fscore_support(truths, answers, labels=everyone, zero_division=np.nan)
    pictured = np.bincount(truths, minlength=classes) > 0
    for measure, values in zip(("precision", "recall", "f1"), expected):
        ours = np.array([getattr(score, measure) for score in found], float)
        np.testing.assert_allclose(ours[pictured], values[pictured], rtol=1e-12)
        assert np.isnan(ours[~pictured]).all()
    assert [score.count for score in found] == expected[3].tolist()
    present = [i for i in everyone if pictured[i]]
    assert mean_of(found, "recall") == pytest.approx(expected[1][pictured].mean())
    assert mean_of(found, "f1") == pytest.approx(
        metrics.f1_score(truths, answers, labels=present, average="macro", zero_division=0)
    )
    matrix = confusion_matrix(truths, answers, classes)
    np.testing.assert_array_equal(matrix, metrics.confusion_matrix(truths, answers, labels=everyone))


def test_the_calibration_error_is_that_of_the_paper():
    rng = np.random.default_rng(0)
    logits = (4 * rng.normal(size=(2000, 10))).astype(np.float32)
    truths = np.where(rng.random(2000) < 0.6, logits.argmax(1), rng.integers(0, 10, 2000))
    probabilities = np.exp(logits.astype(np.float64))
    probabilities /= probabilities.sum(1, keepdims=True)
    sure, right = probabilities.max(1), logits.argmax(1) == truths
    np.testing.assert_allclose(confidences(logits), sure, rtol=1e-6)
    expected = 0.0
    for m in range(1, 16):  # Guo et al., equations 1 to 3
        inside = (sure > (m - 1) / 15) & (sure <= m / 15)
        if inside.any():
            expected += inside.sum() / 2000 * abs(right[inside].mean() - sure[inside].mean())
    found = calibration(confidences(logits), right)
    assert found.ece == pytest.approx(expected, abs=1e-6) and found.ece > 0.05
    assert len(found.bins) == BINS == 15 and sum(row.count for row in found.bins) == 2000
    for row in found.bins:
        inside = (sure > row.low) & (sure <= row.high)
        assert row.count == inside.sum()
        assert row.accuracy == (pytest.approx(right[inside].mean()) if row.count else None)


def test_an_answer_that_is_always_sure_and_right_half_the_time_is_half_off():
    found = calibration(np.ones(4, np.float32), np.array([True, False, True, False]))
    assert found.ece == 0.5 and found.bins[-1].count == 4
    assert {row.confidence for row in found.bins[:-1]} == {row.accuracy for row in found.bins[:-1]} == {None}
    assert confidences(np.array([[1e4, 0, -1e4]], np.float32)).tolist() == [1.0]


def test_an_evaluation_is_read_as_it_was_written(tmp_path):
    result = evaluated(TRUTHS, ANSWERS, LABELS)
    data = written(result, tmp_path / "eval.json")
    assert parse_evaluation(data) == result
    assert "没有图片" in data.decode("utf-8") and '"precision": null' in data.decode("utf-8")
    for key in ("classes", "confused", "calibration"):  # an earlier version wrote none of them, or has no value
        older = {name: value for name, value in result.__dict__.items() if name != key}
        (tmp_path / "eval.json").unlink()
        assert getattr(parse_evaluation(written(EvalResult(**older), tmp_path / "eval.json")), key) is None


def test_a_thousand_classes_keep_their_scores_in_less_than_a_quarter_of_a_megabyte(tmp_path):
    rng = np.random.default_rng(1)
    truths = np.repeat(np.arange(1000), 50)
    answers = np.where(rng.random(50000) < 0.78, truths, rng.integers(0, 1000, 50000))
    result = evaluated(truths, answers, [f"n{i:08d}" for i in range(1000)])
    data = written(result, tmp_path / "eval.json")
    assert len(data) < 250_000
    assert parse_evaluation(data) == result and len(result.classes) == 1000 and len(result.confused) == 20


def changed(result: EvalResult, *path, value) -> bytes:
    """The eval.json of `result` with another value at the end of `path`."""
    tree = {"schema": "glorext.eval/1", **json.loads(json_bytes(asdict(result)))}
    inner = tree
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return json_bytes(tree)


@pytest.mark.parametrize(
    "path, value, words",
    [
        (("classes", 0, "precision"), 0.9, "precision, recall and f1 of these counts"),
        (("classes", 3, "recall"), 0.0, "precision, recall and f1 of these counts"),
        (("classes", 0, "label"), "dog", "the classes whose digest is labels_sha256"),
        (("classes",), [], "the classes whose digest is labels_sha256"),
        (("classes", 0, "sum"), 1, "no other keys"),
        (("confusion",), [[2, 0, 1, 1, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0] * 5, [0, 2, 0, 0, 0]], "sums of the"),
        (("confused", 0, "times"), 3, "mistakes between two classes"),
        (("confused", 0, "truth"), "狗", "mistakes between two classes"),
        (("confused", 0, "answer"), "elk", "mistakes between two classes"),
        (("calibration", "ece"), 0.01, "as the bins give"),
        (("calibration", "bins", 11, "accuracy"), 0.9, "of them right"),
        (("calibration", "bins", 11, "count"), 7, "8 pictures"),
        (("calibration", "bins", 0, "accuracy"), 0.5, "a bin with pictures"),
        (("calibration", "bins"), [], "8 pictures"),
    ],
)
def test_an_evaluation_that_contradicts_itself_is_refused(path, value, words):
    with pytest.raises(DataError, match=words):
        parse_evaluation(changed(evaluated(TRUTHS, ANSWERS, LABELS), *path, value=value))


def test_counts_of_the_classes_agree_with_the_accuracy():
    result = evaluated(TRUTHS, ANSWERS, LABELS, top1=0.9, confusion=None, calibration=None)
    with pytest.raises(DataError, match="8 pictures and answers, 0.9000 of them right"):
        parse_evaluation(changed(result, "top5", value=None))


def test_the_whole_confusion_matrix_is_a_table_that_csv_readers_read(tmp_path):
    labels = ("猫", "cat, tabby", 'the "dog"', "d", "e")
    write_confusion(tmp_path / "matrix.csv", TRUTHS, ANSWERS, labels)
    with open(tmp_path / "matrix.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["true class", *labels] and [row[0] for row in rows[1:]] == list(labels)
    assert [[int(cell) for cell in row[1:]] for row in rows[1:]] == confusion_matrix(TRUTHS, ANSWERS, 5).tolist()
