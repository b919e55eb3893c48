"""What a run begins with: its complete recipe, and its network: fresh, pretrained or with a new classifier."""

from __future__ import annotations

import dataclasses
import os

from glorext.hub.open_model import open_model
from glorext.models import create
from glorext.models.labels import read_labels
from glorext.models.split_convolutions import split_convolutions
from glorext.models.trained import TrainedModel
from glorext.runtime.device import chip, has_bfloat16
from glorext.runtime.errors import RecipeError
from glorext.runtime.log import get_logger

from .data import class_names, default_workers
from .distributed import Group
from .recipe import Recipe, with_resize
from .records import holds_records

logger = get_logger("train")


def complete_recipe(recipe: Recipe, labels: int, group: Group) -> Recipe:
    """The recipe with everything filled in that was left open, so that the run can be repeated from its file."""
    if recipe.num_classes not in (None, labels):
        raise RecipeError(
            expected=f"{labels}, the number of class folders or labels",
            found=recipe.num_classes,
            where="key num_classes",
            do="For pictures of your own fine-tune a published network: --recipe finetune --from resnext50; or train "
            f"this recipe from nothing with --num_classes {labels}.",
        )
    if recipe.group_size not in (1, group.size):
        raise RecipeError(
            expected=f"{group.size}, the processes that were launched",
            found=recipe.group_size,
            where="key group_size",
            do="Start the run with msrun, see the scripts.",
        )
    workers, cores = recipe.workers or default_workers(group.size), os.cpu_count() or 1
    if workers > cores:
        raise RecipeError(expected=f"at most {cores}, the cores of this machine", found=workers, where="key workers")
    return dataclasses.replace(recipe, num_classes=labels, rank=group.rank, group_size=group.size, workers=workers)


def with_source(recipe: Recipe) -> tuple[Recipe, TrainedModel | None]:
    """The recipe and the model that it starts from, or None.

    What the recipe leaves open follows the weights: the padding of the stem's MaxPool, which checkpoints of the run do
    not tell as they are written under the published names, and the input where the weights come with one.

    Raises:
        GlorextError: what `glorext.hub.open_model` raises for `pretrained`.
        RecipeError: layers are frozen, and there is no model to start from.
    """
    recipe.require_start()
    if not isinstance(recipe.pretrained, str):
        return recipe, None
    source = open_model(recipe.pretrained)
    pool = {key: value for key, value in source.network_args.items() if key == "stem_pool"}
    recipe = dataclasses.replace(recipe, network_args={**pool, **recipe.network_args})
    if source.folder:
        changes = with_resize(recipe.input, source.input_spec)
        recipe = dataclasses.replace(recipe, input={**source.input_spec.to_dict(), **changes})
        for key, trained in source.input_spec.to_dict().items():
            if recipe.input[key] != trained:
                logger.warning("input.%s %s instead of %s of %s", key, recipe.input[key], trained, recipe.pretrained)
    return recipe, source


def labels_for(labels, source: TrainedModel | None, new_head: bool, data_dir) -> tuple[str, ...] | None:
    """The class names in the order of their indices, where something says it: a file, or the weights' own classifier.

    Args:
        labels: the file; None without one.
        source: the model that the run starts from, whose order counts if its classifier is kept, or if the folder has
            its classes.
        new_head: whether the run has a classifier of its own.
    """
    if labels:
        return read_labels(labels)
    if source is None or not source.labels:
        return None
    if new_head and (holds_records(data_dir) or class_names(data_dir) != set(source.labels)):
        return None
    return source.labels


def fresh_network(recipe: Recipe, source: TrainedModel | None = None):
    """The network of `recipe` with `num_classes` logits, filled with `source` or as the recipe says.

    Raises:
        CheckpointError: `source` is no checkpoint of this network.
    """
    arguments = {**recipe.network_args, "num_classes": recipe.num_classes}
    checkpoint = source and source.checkpoint
    net = create(
        recipe.network, checkpoint=checkpoint, head="new" if source and recipe.new_head else "strict", **arguments
    )
    if recipe.weight_init and source is None:
        refill(net, recipe.weight_init)
    if recipe.conv_form == "split":
        split_convolutions(net)
    return net


def in_precision(net, recipe: Recipe, device: str):
    """`net` under the recipe's mixed precision on `device`.

    Raises:
        RecipeError: bfloat16 where the chip has none, or where nothing is mixed.
    """
    import mindspore as ms

    level = recipe.amp_for(device)
    if recipe.amp_dtype == "bfloat16" and (level == "O0" or not has_bfloat16()):
        raise RecipeError(
            expected="float16: MindSpore computes in bfloat16 on Atlas A2 and A3 only, at amp_level O2, O3 or auto",
            found=f"bfloat16 on {chip() or device} at {level}",
            where="key amp_dtype",
        )
    return ms.amp.auto_mixed_precision(net, level, getattr(ms, recipe.amp_dtype))


def refill(net, kind: str) -> None:
    """Initialize every convolution of `net` again: "he_normal", "he_uniform" or "xavier_uniform", over fan-out."""
    from mindspore import nn
    from mindspore.common.initializer import HeNormal, HeUniform, XavierUniform, initializer

    fill = {
        "he_normal": HeNormal(mode="fan_out", nonlinearity="relu"),
        "he_uniform": HeUniform(mode="fan_out", nonlinearity="relu"),
        "xavier_uniform": XavierUniform(),
    }[kind]
    for _, cell in net.cells_and_names():
        if isinstance(cell, nn.Conv2d):
            cell.weight.set_data(initializer(fill, cell.weight.shape, cell.weight.dtype))
