"""An exponential moving average of the weights, which is what is evaluated and kept as the best."""

from __future__ import annotations

from contextlib import contextmanager

import mindspore as ms
from mindspore import ops

PREFIX = "optimizer.average."  # training state to every reader of checkpoints


class WeightAverage:
    """The average of a network's weights and running statistics over the steps of a run.

    After each update, average = d x average + (1 - d) x weights, with d = min(decay, (1 + t) / (10 + t)) at step t, so
    that the first weights, which are far from good, fade sooner. Polyak and Juditsky, 1992; as Tarvainen and Valpola
    use it, 2017, arXiv:1703.01780.

    Args:
        weights: {name: Parameter} of the network.
        decay: of the average, below 1.
    """

    def __init__(self, weights: dict, decay: float):
        self.decay, self.weights = decay, list(weights.values())
        self.held = [ms.Parameter(p.value().copy(), name=PREFIX + p.name, requires_grad=False) for p in self.weights]
        # Tuples of parameters are what a compiled graph may go through and change.
        self._weights, self._held = ms.ParameterTuple(self.weights), ms.ParameterTuple(self.held)
        self._each = ops.HyperMap()

    def parameters(self) -> dict:
        """What a checkpoint holds of it."""
        return {p.name: p for p in self.held}

    def update(self, step):
        """Within a compiled step: move towards the weights; `step` int32 (1,) counts the steps so far, this one too."""
        steps = ops.cast(step, ms.float32)[0]
        decay = ops.minimum(ops.ones_like(steps) * self.decay, (1 + steps) / (10 + steps))
        return self._each(ops.partial(_moved, decay), self._held, self._weights)

    @contextmanager
    def in_place(self):
        """The network has the average as its weights while the context lasts."""
        before = [ms.Tensor(p.asnumpy()) for p in self.weights]
        self._fill(self.weights, [p.value() for p in self.held])
        try:
            yield
        finally:
            self._fill(self.weights, before)

    def _fill(self, parameters, values) -> None:
        for parameter, value in zip(parameters, values):
            # assign, not set_data: graphs that are compiled already keep using the old memory
            ops.assign(parameter, value)


def _moved(decay, held, weight):
    return ops.assign(held, held * decay + weight * (1 - decay))
