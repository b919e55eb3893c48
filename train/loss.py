"""Cross entropy with smoothed labels, as both networks published it."""

import mindspore as ms
import numpy as np
from mindspore import nn, ops


class SmoothedCrossEntropy(nn.Cell):
    """Mean cross entropy of logits (N, K) and int32 targets (N,).

    The target puts 1 - s on the label and s / (K - 1) on each other class (not s / K).

    Args:
        num_classes: K.
        smoothing: s, from 0 to below 1.
        weights: float32 (K,), by which the loss of a picture of that class counts; by default all alike.
    """

    def __init__(self, num_classes: int, smoothing: float = 0.0, weights: np.ndarray | None = None):
        super().__init__()
        self.weights = None if weights is None else ms.Tensor(weights, ms.float32)
        self.on, self.off = 1.0 - smoothing, smoothing / (num_classes - 1)

    def construct(self, logits, targets):
        logs = ops.log_softmax(logits, -1)
        picked = ops.gather_elements(logs, 1, targets.expand_dims(1)).squeeze(1)
        losses = (self.on - self.off) * picked + self.off * logs.sum(-1)
        if self.weights is not None:
            losses = losses * self.weights[targets]
        return -losses.mean()


def balanced(targets: np.ndarray, num_classes: int) -> np.ndarray:
    """Weights (K,) by which every class counts alike: pictures / (classes that have some x pictures of the class).

    Their mean over the pictures is 1, so the loss keeps its size. A class without pictures has 0.
    """
    counts = np.bincount(targets, minlength=num_classes)
    return np.where(counts, len(targets) / (np.count_nonzero(counts) * np.maximum(counts, 1)), 0).astype(np.float32)
