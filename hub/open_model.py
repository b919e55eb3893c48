"""One way to say which model is meant, for every command: a run, a checkpoint, a package, or a name."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

from glorext.models import network_arguments, network_name, read_checkpoint, spec, weights_digest
from glorext.models.arguments import DEFAULTS
from glorext.models.checkpoint import Checkpoint
from glorext.models.evaluation import EVAL, parse_evaluation
from glorext.models.labels import LABELS, labels_digest, read_labels
from glorext.models.picture_file import OTHER_ENDINGS, PICTURE_ENDINGS
from glorext.models.trained import RUN, Identity, TrainedModel, read_run
from glorext.runtime import CheckpointError, DataError, DownloadError, RegistryError, UsageError, get_logger

from .builtin import published_checkpoints
from .find import WITHOUT_ARTIFACTS, Wanted, find_model, from_folder
from .manifest import MANIFEST, NAME
from .pins import UID
from .sources import Sources

logger = get_logger("hub")
MODEL = "a run, a checkpoint, a package or a name"
BEST = "best.ckpt"
SUFFIXES = (".ckpt", ".safetensors", ".pth", ".pt")


def open_model(
    what, registry=None, network: str | None = None, labels=None, wanted: Wanted = WITHOUT_ARTIFACTS
) -> TrainedModel:
    """The model that `what` means.

    Args:
        what: a run's folder (its best checkpoint counts), a checkpoint file, a package's folder or card, a published
            name such as "resnext50" or "resnext50@1.0.0", a MindSpore Hub UID or the address of its card.
        registry: what to search for a name, instead of GLOREXT_REGISTRIES and the built-in registry.
        network: the network of a checkpoint that lies in no run; by default what its tensors' shapes say.
        labels: file with the class names of a checkpoint that lies in no run.
        wanted: which files of a package are fetched and verified.

    Raises:
        DataError: no such file or folder, or a folder that holds no model.
        CheckpointError: a checkpoint that is none, or not the one that its run describes.
        UsageError: a name that is also a folder here; another `network` or other `labels` than the model's own.
        NotFoundError: no registry has the name; and what else `find.find_model` raises.
    """
    text, path = os.fspath(what), Path(what).expanduser()
    if isinstance(what, str) and (NAME.fullmatch(text) or UID.fullmatch(text)) and path.exists():
        _require_no_published(text, registry)
    if path.is_file() and path.suffix.lower() in PICTURE_ENDINGS + OTHER_ENDINGS:
        raise UsageError(expected=MODEL, found="a picture", where=path, do="MODEL comes first, then what it looks at.")
    if path.is_file() and path.suffix != ".md":
        return _of_checkpoint(path, network, labels)
    if (path / RUN).is_file():
        return _agreeing(_of_run(path / BEST), network, labels)
    if path.is_file() or (path / MANIFEST).is_file():
        return _agreeing(from_folder(path, wanted), network, labels)
    if path.exists() or path.suffix in SUFFIXES or text.startswith(("/", "./", "../", "~")):
        raise (CheckpointError if path.suffix in SUFFIXES else DataError)(
            expected=f"{MODEL}: a folder with {RUN} or {MANIFEST}, or a file",
            found="another folder" if path.exists() else "no such file or folder",
            where=path,
            do="Check the path.",
        )
    model = _agreeing(find_model(what, registry, wanted=wanted), network, labels)
    if not model.weights_sha256 and model.checkpoint.is_file():
        model = replace(model, weights_sha256=weights_digest(model.checkpoint))
    return model


def _require_no_published(name: str, registry) -> None:
    """A folder in the current directory never stands in for a published name, nor the other way round."""
    listed = [entry.name for entry in published_checkpoints()] if registry is None else []
    listed += [uid for entry in published_checkpoints() for uid in entry.uids]
    published = name in listed
    for source in Sources.of(registry).holding(name)[0]:
        try:
            published = published or bool(source.registry.versions(name))
        except (DownloadError, RegistryError):
            if not source.mirror:
                raise
    if published:
        raise UsageError(
            expected="one model",
            found=f"a folder or file {name!r} here and a published name",
            do=f"Write ./{name} for what lies here, or {name}@VERSION for the published one.",
        )


def _agreeing(model: TrainedModel, network: str | None, labels) -> TrainedModel:
    """`model`, which says its network and labels itself: what a flag says as well must be the same."""
    if network not in (None, model.network):
        raise UsageError(expected=f"{model.network}, as {model.source} says", found=network, where="--network")
    if labels is not None and model.labels and read_labels(labels) != model.labels:
        raise UsageError(expected=f"the labels of {model.source}", found="others", where=f"--labels {labels}")
    if labels is not None and not model.labels:
        return _with_labels(model, read_labels(labels), labels)
    return model


def _with_labels(model: TrainedModel, labels: tuple[str, ...], where) -> TrainedModel:
    if len(labels) != model.num_classes:
        raise DataError(
            expected=f"{model.num_classes} class names, as many as there are logits", found=len(labels), where=where
        )
    return replace(model, labels=labels, labels_sha256=labels_digest(labels))


def _of_run(checkpoint: Path) -> TrainedModel:
    folder = checkpoint.parent
    identity, _ = read_run(folder)
    content = read_checkpoint(checkpoint)
    weights = weights_digest(content)
    name = folder.resolve().name if checkpoint.name == BEST else checkpoint.stem
    if checkpoint.name == BEST and weights != identity.weights_sha256:
        raise CheckpointError(
            expected=f"weights with sha256 {identity.weights_sha256}, as {RUN} says",
            found=weights,
            where=checkpoint,
            do="The run was stopped while it wrote them: go on with --resume auto, or copy the file elsewhere.",
        )
    labels = read_labels(folder / LABELS)
    if labels_digest(labels) != identity.labels_sha256:
        raise DataError(
            expected=f"the labels of the run, sha256 {identity.labels_sha256}", found="others", where=folder / LABELS
        )
    identity = replace(
        identity, name=name, weights_sha256=weights, network_args={**_stem_pool(content), **identity.network_args}
    )
    return TrainedModel(
        **vars(identity),
        checkpoint=checkpoint,
        labels=labels,
        evidence=_evidence(folder / EVAL, identity),
        folder=folder,
        source=str(folder),
    )


def _evidence(path: Path, identity: Identity):
    if not path.is_file():
        return None
    evidence = parse_evaluation(path.read_bytes(), path)
    if evidence.weights_sha256 != identity.weights_sha256:
        logger.warning("%s was measured with other weights, so it says nothing of this checkpoint", path)
        return None
    identity.check_evidence(evidence, path)
    return evidence


def _of_checkpoint(path: Path, network: str | None, labels) -> TrainedModel:
    if (path.parent / RUN).is_file():
        return _agreeing(_of_run(path), network, labels)
    content = read_checkpoint(path)
    chosen = network or network_name(content) or first_of_family(content)
    model = TrainedModel(
        name=path.stem,
        version=None,
        network=chosen,
        network_args=differing_arguments(content, chosen),
        num_classes=content.num_classes,
        input_spec=spec(chosen).input,
        labels_sha256=labels_digest(()),
        weights_sha256=weights_digest(content),
        license=None,
        checkpoint=path,
        source=str(path),
    )
    return _with_labels(model, read_labels(labels), labels) if labels else model


def first_of_family(content: Checkpoint) -> str:
    """A registered network of the checkpoint's family, of which its arguments make the variant that it is."""
    return content.family.networks[0].name


def differing_arguments(content: Checkpoint, network: str) -> dict:
    """What the checkpoint's tensors say of the network's arguments, where the registered `network` says otherwise.

    The padding of the stem's MaxPool follows the naming: no tensor tells it.
    """
    if spec(network).family != content.family:
        return {}  # `create` then says what is missing and what is too much
    usual = DEFAULTS | spec(network).arguments
    found = {
        key: value
        for key, value in network_arguments(content).items()
        if key not in ("num_classes", "include_top") and usual.get(key) != value
    }
    return found | _stem_pool(content)


def _stem_pool(content: Checkpoint) -> dict:
    return {"stem_pool": content.naming.stem_pool} if content.naming.stem_pool != "same" else {}


def add_model_arguments(parser: ArgumentParser, optional: bool = False, network: bool = True) -> None:
    """Give a command's parser MODEL and what belongs to it; `chosen_model` reads them.

    Args:
        optional: the command has another way of naming the model, and looks at both.
        network: whether the command takes the network of a bare checkpoint.
    """
    parser.add_argument("what", metavar="MODEL", nargs="?" if optional else None, help=MODEL)
    if network:
        parser.add_argument("--network", help="the network of a bare checkpoint; by default as its shapes say")
    parser.add_argument("--labels", metavar="FILE", help="class names of a bare checkpoint, one per line")
    add_registry_argument(parser)


def add_registry_argument(parser: ArgumentParser) -> None:
    """Give a command's parser the option --registry, for `registry` of `open_model`, `offers` and `info`."""
    parser.add_argument(
        "--registry",
        action="append",
        metavar="FOLDER_OR_URL",
        help="registry to search instead of GLOREXT_REGISTRIES and the built-in one; given several times, they are "
        "searched in order; NAMES=ADDRESS and mirror:ADDRESS as in GLOREXT_REGISTRIES",
    )


def chosen_model(options: Namespace) -> TrainedModel:
    """The model that a command's parsed arguments name; raises what `open_model` raises."""
    return open_model(options.what, options.registry, options.network, options.labels)
