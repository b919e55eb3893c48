"""From a name, a card's address or a package's folder to the model, its files verified to the byte."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from glorext.models import spec
from glorext.models.formats import require_no_pickle
from glorext.models.labels import labels_digest
from glorext.models.trained import TrainedModel
from glorext.runtime import DownloadError, NotFoundError, PackageError, RegistryError, UsageError, get_logger
from glorext.runtime.errors import nearest

from .builtin import LOCATION, PublishedCheckpoint, published_checkpoints
from .cache import Cache
from .manifest import ARTIFACTS, MANIFEST, Manifest, read_evidence, read_labels, read_manifest, version_key
from .pins import fits, locked, parse_name
from .registry import inside, require_intact
from .search import Search, Wanted
from .sources import Source, Sources

logger = get_logger("hub")


def _identity(manifest: Manifest, file: str) -> bool:
    return file == manifest.labels


def _for_loading(manifest: Manifest, file: str) -> bool:
    return file in (manifest.checkpoint, manifest.labels)


def _without_artifacts(manifest: Manifest, file: str) -> bool:
    return not file.startswith(f"{ARTIFACTS}/")


IDENTITY, FOR_LOADING, WITHOUT_ARTIFACTS = _identity, _for_loading, _without_artifacts


def is_path(name) -> bool:
    """Whether `name` is meant as a path: a Path, "./x", "/x", "~/x", a card, or "x/y" that is a package's folder.

    A folder in the current directory never stands in for a bare name.
    """
    text = os.fspath(name)
    return (
        isinstance(name, os.PathLike)
        or text.startswith(("/", "./", "../", "~"))
        or text.endswith(".md")
        or ("/" in text and os.path.isfile(os.path.join(text, MANIFEST)))
    )


def find_model(
    name,
    registry=None,
    force_reload: bool = False,
    wanted: Wanted | None = None,
    local: bool = False,
    ignore_lock: bool = False,
) -> TrainedModel:
    """The model behind a name, a UID, the address of a card, or a package's folder or card.

    Args:
        registry: what to search instead of GLOREXT_REGISTRIES and the built-in one.
        force_reload: ask the registries again for what they hold now.
        wanted: which files are fetched and verified.
        local: take `name` as a path only.
        ignore_lock: ask for what `name` is now, whatever the file of GLOREXT_LOCK says.

    Raises:
        NotFoundError: no registry has the name or version.
        RegistryError, DownloadError: a registry cannot be asked.
        IntegrityError, PackageError: its bytes or what they say are not what was promised.
    """
    if not local:
        name = official_uid(name)
    if local or is_path(name):
        return from_folder(name, wanted)
    wanted_name, pin = parse_name(name)
    # a UID names a card of the official hub: no registry can have it
    is_uid = "/" in wanted_name
    if not is_uid and not ignore_lock:
        pin = locked(wanted_name, pin)
    searched, built_in = ((), True) if is_uid else Sources.of(registry).holding(wanted_name)
    search = Search(wanted_name, pin, force_reload, wanted)
    if found := search.through(searched):
        return _package(found.folder, found.manifest, found.location, wanted)
    published = _published(name, wanted_name, pin) if built_in else None
    if published:
        return _from_published(published, wanted is not IDENTITY)
    near = _near(wanted_name, searched, built_in)
    raise NotFoundError(
        expected=f"a registry that has {str(name)!r}",
        found="; ".join(search.lacking + ([f"{LOCATION}: not there"] if built_in else [])) or "none that may give it",
        do=(f"Did you mean {near}? " if near else "")
        + "`glorext list` shows what there is; GLOREXT_REGISTRIES or --registry names the registries to search"
        + (
            f", and {wanted_name}=ADDRESS in it one that may give a built-in name."
            if built_in and not searched
            else "."
        ),
    )


def _near(name: str, searched: tuple[Source, ...], built_in: bool) -> str | None:
    """A name that the searched registries have and that differs in a few letters."""
    known = [entry.name for entry in published_checkpoints()] if built_in else []
    for source in searched:
        with suppress(DownloadError, RegistryError):
            known += source.registry.names()
    return nearest(name, set(known) - {name}, 0.8)


def official_uid(name):
    """`name`, or the UID at the end of it when it is a card's address on MindSpore Hub's sites; nothing is fetched.

    Raises:
        UsageError: another address.
    """
    address = str(name)
    if not address.startswith(("http://", "https://")):
        return name
    for entry in published_checkpoints():
        for uid in entry.uids:
            if address.removesuffix(".md").endswith(f"/{uid}"):
                return uid
    raise UsageError(
        expected="the address of a card that is built in",
        found=repr(address[:200]),
        do="Put the address of a registry into GLOREXT_REGISTRIES and load by name.",
    )


def _published(name, wanted_name: str, pin: str | None) -> PublishedCheckpoint | None:
    for entry in published_checkpoints():
        if str(name) in entry.uids:
            return entry
    fitting = [
        entry
        for entry in published_checkpoints()
        if entry.name == wanted_name and fits(pin, entry.version, entry.sha256)
    ]
    return max(fitting, key=lambda entry: version_key(entry.version), default=None)


def _from_published(entry: PublishedCheckpoint, with_weights: bool) -> TrainedModel:
    if with_weights and entry.sha256_prefix:
        logger.warning(
            "%s: its card publishes only %d digits of the digest (%s); the file is checked against those",
            entry.name,
            len(entry.sha256_prefix),
            entry.sha256_prefix,
        )
    checkpoint = Path(os.devnull)
    if with_weights:
        checkpoint = Cache().checkpoint(entry.url, entry.wanted)
        require_no_pickle(checkpoint)
    return TrainedModel(
        name=entry.name,
        version=entry.version,
        network=entry.network,
        network_args={},
        num_classes=1000,
        input_spec=spec(entry.network).input,
        labels_sha256=labels_digest(()),
        weights_sha256="",
        license=entry.license,
        checkpoint=checkpoint,
        source=LOCATION,
    )


def from_folder(path, wanted: Wanted | None = None) -> TrainedModel:
    """The package in a folder (or beside a card), its (wanted) files verified."""
    given = Path(path).expanduser()
    folder = given.parent if given.suffix == ".md" else given
    if not folder.is_dir() or (given.suffix == ".md" and not given.is_file()):
        raise PackageError(expected="a package folder, or the card in one", found="no such file or folder", where=given)
    manifest = read_manifest(folder)
    for file, entry in manifest.files.items():
        if wanted is None or wanted(manifest, file):
            require_intact(inside(folder, file), entry, "`glorext verify` checks the whole package.")
    return _package(folder.absolute(), manifest, str(folder), wanted)


def _package(folder: Path, manifest: Manifest, source: str, wanted: Wanted | None) -> TrainedModel:
    if wanted is None or wanted(manifest, manifest.checkpoint):
        require_no_pickle(folder / manifest.checkpoint)
    with_evidence = manifest.evidence and (wanted is None or wanted(manifest, manifest.evidence))
    return TrainedModel(
        **vars(manifest.identity()),
        checkpoint=folder / manifest.checkpoint,
        labels=read_labels(folder / manifest.labels, manifest),
        evidence=read_evidence(folder, manifest) if with_evidence else None,
        folder=folder,
        source=source,
        summary=manifest.summary,
        manifest_sha256=manifest.digest(),
    )
