"""Cross entropy with smoothed labels, as both networks published it."""

from mindspore import nn, ops


class SmoothedCrossEntropy(nn.Cell):
    """Mean cross entropy of logits (N, K) and int32 targets (N,).

    The target puts 1 - s on the label and s / (K - 1) on each other class (not s / K).

    Args:
        num_classes: K.
        smoothing: s, from 0 to below 1.
    """

    def __init__(self, num_classes: int, smoothing: float = 0.0):
        super().__init__()
        self.on, self.off = 1.0 - smoothing, smoothing / (num_classes - 1)

    def construct(self, logits, targets):
        logs = ops.log_softmax(logits, -1)
        picked = ops.gather_elements(logs, 1, targets.expand_dims(1)).squeeze(1)
        return -((self.on - self.off) * picked + self.off * logs.sum(-1)).mean()
