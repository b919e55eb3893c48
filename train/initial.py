"""What a run begins with: its complete recipe, and its network: fresh, pretrained or with a new classifier."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from glorext.models import create, read_checkpoint
from glorext.runtime.errors import CheckpointError, RecipeError

from .data import default_workers
from .distributed import Group
from .recipe import Recipe

SUFFIXES = (".ckpt", ".safetensors", ".pth", ".pt")


def complete_recipe(recipe: Recipe, labels: int, group: Group) -> Recipe:
    """The recipe with everything filled in that was left open, so that the run can be repeated from its file."""
    if recipe.num_classes not in (None, labels):
        raise RecipeError(
            expected=f"{labels}, the number of class folders or labels",
            found=recipe.num_classes,
            where="key num_classes",
        )
    if recipe.group_size not in (1, group.size):
        raise RecipeError(
            expected=f"{group.size}, the processes that were launched",
            found=recipe.group_size,
            where="key group_size",
            do="Start the run with msrun, see the scripts.",
        )
    workers = recipe.workers or default_workers(group.size)
    if workers > os.cpu_count():
        raise RecipeError(
            expected=f"at most {os.cpu_count()}, the cores of this machine", found=workers, where="key workers"
        )
    return dataclasses.replace(recipe, num_classes=labels, rank=group.rank, group_size=group.size, workers=workers)


def with_source(recipe: Recipe):
    """The recipe and the checkpoint that it starts from, or None.

    The padding of the stem's MaxPool that the weights were trained with becomes part of the recipe: checkpoints of the
    run are written under the published names, which do not tell it.

    Raises:
        CheckpointError: `pretrained` is no checkpoint, or a name without a file.
    """
    if not recipe.pretrained:
        return recipe, None
    source = read_checkpoint(checkpoint_of(recipe.pretrained))
    if source.naming.stem_pool != "same":
        arguments = {"stem_pool": source.naming.stem_pool, **recipe.network_args}
        recipe = dataclasses.replace(recipe, network_args=arguments)
    return recipe, source


def fresh_network(recipe: Recipe, source=None):
    """The network of `recipe` with `num_classes` logits, filled with `source` or as the recipe says.

    Raises:
        CheckpointError: `source` is no checkpoint of this network.
    """
    arguments = {**recipe.network_args, "num_classes": recipe.num_classes}
    net = create(recipe.network, checkpoint=source, head="new" if recipe.new_head else "strict", **arguments)
    if recipe.weight_init and source is None:
        refill(net, recipe.weight_init)
    return net


def checkpoint_of(name_or_path: str) -> Path:
    """The checkpoint behind a file, a run's folder, a package's folder or a published name (see `glorext.hub`).

    Raises:
        CheckpointError: a checkpoint file that does not exist.
        GlorextError: what `glorext.hub.resolve` raises.
    """
    path = Path(name_or_path)
    if path.is_dir() and (path / "best.ckpt").is_file():
        path = path / "best.ckpt"
    if path.suffix in SUFFIXES:
        if not path.is_file():
            raise CheckpointError(expected="a checkpoint file", found="nothing", where=path, do="Check the path.")
        return path
    from glorext.hub import resolve

    return resolve(name_or_path).checkpoint


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
