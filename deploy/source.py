"""What a deployment starts from: a published name, a package folder, a training run, or a checkpoint file."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from glorext.models import InputSpec, spec, weights_digest
from glorext.runtime import DataError, UsageError


@dataclass(frozen=True)
class Source:
    """A network with weights, and what is known about its pictures and classes.

    Attributes:
        name: what its exported files are called.
        network: a name of `glorext.models.names()`.
        arguments: constructor arguments, with `num_classes`.
        checkpoint: the weights' file.
        input_spec: how a picture becomes the input.
        labels: class names in the order of the logits; empty when unknown.
        weights_sha256: digest of the weights.
        top1: accuracy that the package claims, with its evidence, or None.
        count: pictures behind `top1`.
        folder: the run or package it comes from, with metrics.jsonl; None for a bare checkpoint.
    """

    name: str
    network: str
    arguments: dict
    checkpoint: Path
    input_spec: InputSpec
    labels: tuple[str, ...]
    weights_sha256: str
    top1: float | None = None
    count: int | None = None
    folder: Path | None = None

    def create(self):
        """A new network in evaluation mode with these weights, an `nn.Cell`."""
        from glorext.models import create
        net = create(self.network, checkpoint=str(self.checkpoint), **self.arguments)
        return net.set_train(False)


def resolve(name_or_path: str, network: str | None = None) -> Source:
    """Find what `name_or_path` means: a training run's folder, a checkpoint file, a package folder or a published name.

    Args:
        name_or_path: see above; existing files and folders come before names.
        network: the network of a checkpoint file that has no recipe.yaml beside it.

    Raises:
        UsageError: a checkpoint with nothing beside it that says which network it is.
        NotFoundError: no registry has the name.
    """
    path = Path(name_or_path)
    if path.is_dir() and (path / "recipe.yaml").is_file():
        return _from_run(path, path / "best.ckpt")
    if path.is_file():
        if (path.parent / "recipe.yaml").is_file() and network is None:
            return _from_run(path.parent, path)
        if network is None:
            raise UsageError(expected="recipe.yaml beside the checkpoint, or --network", found="neither", where=path,
                             do="Say which network it is, such as --network resnext50.")
        return Source(path.stem, network, {}, path, spec(network).input, (), weights_digest(path))
    if path.suffix in (".ckpt", ".safetensors", ".pth"):
        raise DataError(expected="a checkpoint", found="no such file", where=path)
    from glorext.hub import resolve as resolve_package
    package = resolve_package(name_or_path)
    manifest = package.manifest
    evidence = package.evidence
    return Source(manifest.name, manifest.network, dict(manifest.arguments), package.checkpoint, package.input_spec,
                  tuple(package.labels), package.weights_sha256,
                  evidence.top1 if evidence else None, evidence.count if evidence else None, package.folder)


def _from_run(folder: Path, checkpoint: Path) -> Source:
    from glorext.train import load_recipe
    from glorext.train.results import read_labels
    if not checkpoint.is_file():
        raise DataError(expected="a checkpoint", found="no such file", where=checkpoint,
                        do="Train it to the end of an epoch, or name another checkpoint.")
    recipe = load_recipe(folder / "recipe.yaml")
    labels = read_labels(folder / "labels.txt")
    return Source(folder.name if checkpoint.stem == "best" else checkpoint.stem, recipe.network,
                  {**recipe.network_args, "num_classes": recipe.num_classes}, checkpoint, recipe.input_spec(), labels,
                  weights_digest(checkpoint), folder=folder)
