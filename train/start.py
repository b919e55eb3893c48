"""The network that a run begins with: fresh, pretrained, or pretrained with a new classifier."""
from __future__ import annotations

from pathlib import Path

from glorext.runtime.errors import CheckpointError

SUFFIXES = (".ckpt", ".safetensors", ".pth", ".pt")


def fresh_network(recipe):
    """The network of `recipe` with `num_classes` logits, filled as the recipe says.

    Raises:
        CheckpointError: `pretrained` is no checkpoint of this network, or a name without a file.
    """
    from glorext.models import create
    arguments = {**recipe.network_args, "num_classes": recipe.num_classes}
    source = checkpoint_of(recipe.pretrained) if recipe.pretrained else None
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
    """Fill every convolution of `net` anew: "he_normal", "he_uniform" or "xavier_uniform", over fan-out."""
    from mindspore import nn
    from mindspore.common.initializer import HeNormal, HeUniform, XavierUniform, initializer
    fill = {"he_normal": HeNormal(mode="fan_out", nonlinearity="relu"),
            "he_uniform": HeUniform(mode="fan_out", nonlinearity="relu"), "xavier_uniform": XavierUniform()}[kind]
    for _, cell in net.cells_and_names():
        if isinstance(cell, nn.Conv2d):
            cell.weight.set_data(initializer(fill, cell.weight.shape, cell.weight.dtype))
