"""MindSpore's optimizers with the published parameter groups: only weights decay; lower stages may learn slower."""

from __future__ import annotations

import re
from typing import Any

from mindspore import nn

NO_DECAY = ("bias", "gamma", "beta")


def decayed(parameters) -> tuple[list, list]:
    """Parameters split into those with weight decay and those without: biases, gamma and beta."""
    no_decay = {p.name for p in parameters if p.name.rsplit(".", 1)[-1] in NO_DECAY}
    return [p for p in parameters if p.name not in no_decay], [p for p in parameters if p.name in no_decay]


def stage_of(name: str, classifier: str) -> int:
    """How high in the network a parameter is: 0 the stem, 1 to 4 the stages, 5 what follows them."""
    found = re.search(r"(?:^|\.)layer([1-4])\.", name)
    return 5 if name.startswith(classifier) else int(found[1]) if found else 0


def make_optimizer(parameters, rates, recipe, classifier: str = "head."):
    """The recipe's optimizer over `parameters` with one learning rate per step.

    Args:
        parameters: the trainable parameters.
        rates: float32 array, one learning rate per step of the run.
        recipe: its `optimizer`, `momentum`, `weight_decay` and `layer_decay`.
        classifier: what the names of the classifier's parameters begin with.
    """
    groups: list[dict[str, Any]] = []
    stages = {p.name: stage_of(p.name, classifier) if recipe.layer_decay != 1 else 5 for p in parameters}
    for stage in sorted(set(stages.values()), reverse=True):
        of_stage = [p for p in parameters if stages[p.name] == stage]
        own_rates = [float(rate) * recipe.layer_decay ** (5 - stage) for rate in rates]
        own = {"lr": own_rates} if recipe.layer_decay != 1 else {}
        for part, decay in zip(decayed(of_stage), (recipe.weight_decay, 0.0)):
            if part:
                groups.append({"params": part, "weight_decay": decay, **own})
    groups.append({"order_params": list(parameters)})
    learning_rate = [float(rate) for rate in rates]
    if recipe.optimizer == "adamw":
        return nn.AdamWeightDecay(groups, learning_rate=learning_rate)
    if recipe.optimizer == "lamb":
        return nn.Lamb(groups, learning_rate=learning_rate)
    return nn.Momentum(groups, learning_rate=learning_rate, momentum=recipe.momentum)
