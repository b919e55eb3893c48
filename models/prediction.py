"""What a model says of a picture: class names with their probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .answers import best_classes


@dataclass(frozen=True)
class Prediction:
    """The answer for one picture.

    Attributes:
        label: name of the most probable class.
        probability: its probability, 0..1.
        top5: the five most probable classes, or all where there are fewer: (name, probability), best first.
    """

    label: str
    probability: float
    top5: tuple[tuple[str, float], ...]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (N, K) of logits (N, K)."""
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def predictions(answers: np.ndarray, labels, output: str = "logits") -> list[Prediction]:
    """A Prediction for each row of `answers` (N, K).

    Args:
        labels: class names in the order of the columns.
        output: what the answers are, "logits" or "probabilities".
    """
    values = answers if output == "probabilities" else softmax(answers.astype(np.float64))
    found = []
    # by the answers, not by the probabilities: two logits may round to the same one
    for row, best in zip(values, best_classes(answers).tolist()):
        top5 = tuple((labels[index], float(row[index])) for index in best)
        found.append(Prediction(*top5[0], top5))
    return found
