"""What a classifier gets right class by class: precision, recall and F1, and the mistakes that it makes most often."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from glorext.runtime.files import atomic_path

MOST_PAIRS = 20  # kinds of mistakes that are kept, also where the whole matrix is too large to keep


@dataclass(frozen=True)
class ClassScore:
    """How a class fared.

    Attributes:
        count, answered, right: pictures of the class, pictures that were answered as it, and those that are both.
        precision: right / answered; None for a class that was never answered.
        recall: right / count, which is the class's top-1.
        f1: the harmonic mean of the two, 2 right / (count + answered).

    A class without pictures has none of the three: nothing could have been right, so 0 would be no measurement.
    """

    label: str
    count: int
    answered: int
    right: int
    precision: float | None
    recall: float | None
    f1: float | None

    @classmethod
    def of(cls, label: str, count: int, answered: int, right: int) -> ClassScore:
        """The score that follows from the counts."""
        precision = right / answered if count and answered else None
        recall, f1 = (right / count, 2 * right / (count + answered)) if count else (None, None)
        return cls(label, count, answered, right, precision, recall, f1)


@dataclass(frozen=True)
class Confused:
    """A kind of mistake: `times` pictures of the class `truth` were answered as `answer`."""

    truth: str
    answer: str
    times: int


def class_scores(truths: np.ndarray, answers: np.ndarray, labels: Sequence[str]) -> list[ClassScore]:
    """The score of each class of `labels`, from class indices (N,) and the answers (N,) to those pictures."""
    counts, answered, right = (
        np.bincount(indices, minlength=len(labels)).tolist() for indices in (truths, answers, truths[truths == answers])
    )
    return [ClassScore.of(*row) for row in zip(labels, counts, answered, right)]


def most_confused(
    truths: np.ndarray, answers: np.ndarray, labels: Sequence[str], most: int = MOST_PAIRS
) -> list[Confused]:
    """The most frequent mistakes, at most `most` kinds, the most frequent first and then in the order of the labels."""
    wrong = truths != answers
    pairs, times = np.unique(truths[wrong].astype(np.int64) * len(labels) + answers[wrong], return_counts=True)
    order = np.argsort(-times, kind="stable")[:most]
    return [
        Confused(labels[pair // len(labels)], labels[pair % len(labels)], count)
        for pair, count in zip(pairs[order].tolist(), times[order].tolist())
    ]


def mean_of(scores: Iterable[ClassScore], measure: str) -> float:
    """The mean over the classes that have pictures of their "recall" (the balanced accuracy) or "f1" (macro F1)."""
    return float(np.mean([getattr(score, measure) for score in scores if score.count]))


def confusion_matrix(truths: np.ndarray, answers: np.ndarray, classes: int) -> np.ndarray:
    """Counts (K, K): rows are the true classes, columns the answers."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (truths, answers), 1)
    return matrix


def write_confusion(path, truths: np.ndarray, answers: np.ndarray, labels: Sequence[str]) -> None:
    """Write the whole matrix as CSV, atomically: a row for each true class, a column for each answer, both named."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["true class", *labels])
        for index, label in enumerate(labels):  # row by row: the matrix of 21,841 classes would be 4 GB
            writer.writerow([label, *np.bincount(answers[truths == index], minlength=len(labels)).tolist()])
