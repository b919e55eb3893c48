"""What a deployment starts from: a published name, a package folder, a training run, or a checkpoint file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from glorext.hub.listing import add_registry_argument
from glorext.models import InputSpec, read_checkpoint, weights_digest
from glorext.runtime import DataError, get_logger
from glorext.train.evaluate import EvalResult

logger = get_logger("deploy")


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
        evidence: the accuracy that the package or run claims, with its confusion matrix and digests, or None.
        folder: the run or package it comes from, with metrics.jsonl; None for a bare checkpoint.
    """

    name: str
    network: str
    arguments: dict
    checkpoint: Path
    input_spec: InputSpec
    labels: tuple[str, ...]
    weights_sha256: str
    evidence: EvalResult | None = None
    folder: Path | None = None

    def create(self):
        """A new network in evaluation mode with these weights, an `nn.Cell`."""
        from glorext.models import create

        net = create(self.network, checkpoint=str(self.checkpoint), **self.arguments)
        return net.set_train(False)


def add_source_arguments(parser, optional: bool = False) -> None:
    """Give a command's parser what says which model it works on; `chosen_source` reads it.

    With `optional` the command has another way of naming the model, and looks at both.
    """
    parser.add_argument(
        "source",
        nargs="?" if optional else None,
        help="a published name, a package folder, a training run or a checkpoint file",
    )
    parser.add_argument("--network", help="the network of a checkpoint; by default as recipe.yaml or its shapes say")
    add_registry_argument(parser)


def chosen_source(options) -> Source:
    """The model that a command's parsed arguments name; raises what `resolve` raises."""
    return resolve(options.source, options.network, options.registry)


def resolve(name_or_path: str, network: str | None = None, registry=None) -> Source:
    """Find what `name_or_path` means: a training run's folder, a checkpoint file, a package folder or a published name.

    Args:
        name_or_path: see above; existing files and folders come before names.
        network: the network of a checkpoint file; by default as recipe.yaml beside it says, or its tensors' shapes.
        registry: where to look for a name, as `glorext.hub.resolve` takes it.

    Raises:
        UsageError: a checkpoint with nothing beside it that says which network it is, of no registered one's shapes.
        NotFoundError: no registry has the name.
    """
    path = Path(name_or_path)
    if path.is_file() or ((path / "recipe.yaml").is_file() and not (path / "manifest.json").is_file()):
        return _from_run(path, network)
    if path.suffix in (".ckpt", ".safetensors", ".pth"):
        raise DataError(expected="a checkpoint", found="no such file", where=path)
    from glorext.hub import resolve as resolve_package

    package = resolve_package(name_or_path, registry)
    evidence = None
    if package.manifest is not None and package.manifest.evidence:
        from glorext.hub.evidence import parse_evidence

        evidence = parse_evidence((package.folder / package.manifest.evidence).read_bytes())
    return Source(
        package.name,
        package.network,
        {**package.network_args, "num_classes": package.num_classes},
        package.checkpoint,
        package.input_spec,
        package.labels or (),
        package.weights_sha256 or weights_digest(package.checkpoint),
        evidence,
        package.folder,
    )


def _from_run(path: Path, network: str | None) -> Source:
    from glorext.train.evaluate import find_run

    beside = path if path.is_dir() else path.parent
    checkpoint, recipe, labels = find_run(path, network=network)
    content = read_checkpoint(checkpoint)
    weights = weights_digest(content)
    return Source(
        beside.resolve().name if checkpoint.stem == "best" else checkpoint.stem,
        recipe.network,
        {**recipe.network_args, "num_classes": content.num_classes},
        checkpoint,
        recipe.input_spec(),
        labels or (),
        weights,
        _evidence(beside / "eval.json", weights),
        beside,
    )


def _evidence(path: Path, weights_sha256: str) -> EvalResult | None:
    from glorext.hub.evidence import parse_evidence

    if not path.is_file():
        return None
    evidence = parse_evidence(path.read_bytes(), path)
    if evidence.weights_sha256 != weights_sha256:
        logger.warning("%s was measured with other weights, so it says nothing of this checkpoint", path)
        return None
    return evidence
