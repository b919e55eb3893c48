"""Momentum with the published parameter groups: weight decay for weights only."""

from __future__ import annotations

NO_DECAY = ("bias", "gamma", "beta")


def decayed(parameters) -> tuple[list, list]:
    """Parameters split into those with weight decay and those without: biases, gamma and beta."""
    without = [p for p in parameters if p.name.rsplit(".", 1)[-1] in NO_DECAY]
    names = {p.name for p in without}
    return [p for p in parameters if p.name not in names], without


def make_optimizer(parameters, rates, momentum: float, weight_decay: float):
    """MindSpore's Momentum over `parameters` with one learning rate per step.

    Args:
        parameters: the trainable parameters.
        rates: float32 array, one learning rate per step of the run.
    """
    from mindspore import nn

    with_decay, without = decayed(parameters)
    groups = [
        {"params": with_decay, "weight_decay": weight_decay},
        {"params": without, "weight_decay": 0.0},
        {"order_params": list(parameters)},
    ]
    groups = [group for group in groups if group.get("params") or "order_params" in group]
    return nn.Momentum(groups, learning_rate=[float(rate) for rate in rates], momentum=momentum)
