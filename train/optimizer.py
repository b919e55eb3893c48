"""Momentum with the published parameter groups: only weights decay."""

from __future__ import annotations

from typing import Any

from mindspore import nn

NO_DECAY = ("bias", "gamma", "beta")


def decayed(parameters) -> tuple[list, list]:
    """Parameters split into those with weight decay and those without: biases, gamma and beta."""
    no_decay = {p.name for p in parameters if p.name.rsplit(".", 1)[-1] in NO_DECAY}
    return [p for p in parameters if p.name not in no_decay], [p for p in parameters if p.name in no_decay]


def make_optimizer(parameters, rates, momentum: float, weight_decay: float):
    """MindSpore's Momentum over `parameters` with one learning rate per step.

    Args:
        parameters: the trainable parameters.
        rates: float32 array, one learning rate per step of the run.
    """
    with_decay, without_decay = decayed(parameters)
    groups: list[dict[str, Any]] = [
        {"params": with_decay, "weight_decay": weight_decay},
        {"params": without_decay, "weight_decay": 0.0},
        {"order_params": list(parameters)},
    ]
    groups = [group for group in groups if group.get("params") or "order_params" in group]
    return nn.Momentum(groups, learning_rate=[float(rate) for rate in rates], momentum=momentum)
