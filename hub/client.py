"""The client: from a short name to a ready network, verified to the byte; no downloaded code is ever run."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from glorext.hub.builtin import LOCATION, PublishedCheckpoint, published_checkpoints
from glorext.models.input_spec import InputSpec
from glorext.runtime import (
    DownloadError,
    IntegrityError,
    NotFoundError,
    PackageError,
    RegistryError,
    UsageError,
    env,
    get_logger,
)

from .cache import Cache, is_intact
from .manifest import MANIFEST, NAME, VERSION, Manifest, read_manifest, version_key
from .registry import find_release, inside, open_registry

logger = get_logger("hub")
SOURCES = ("gitee", "github", "local")
UID = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_.-]+){2,3}")
ASK_OTHERS = (
    "No other registry was asked, since it may have another model by this name: take this one out of "
    "GLOREXT_REGISTRIES, or name another with --registry, to load from elsewhere."
)


@dataclass(frozen=True)
class Package:
    """A model at hand, its files verified to the byte.

    `folder`, `manifest`, `labels` and `weights_sha256` are None for a published checkpoint of the built-in registry:
    it is a single file without evidence or label list.
    """

    name: str
    version: str
    network: str
    network_args: dict
    num_classes: int
    checkpoint: Path
    input_spec: InputSpec
    labels: tuple[str, ...] | None
    weights_sha256: str | None
    folder: Path | None
    manifest: Manifest | None
    source: str


def load(name, *args, source: str = "gitee", pretrained: bool = True, force_reload: bool = False, **kwargs):
    """The network called `name`, with its weights, in evaluation state.

    Args:
        name: "resnext50", "resnext50@1.0.0", a MindSpore Hub UID such as "mindspore/1.10/resnext50_imagenet2012" or
            the address of its card there, or the path of a package folder or its card.
        args, kwargs: arguments of the network's constructor, in place of the package's; with another `num_classes`,
            head="new" starts a new classifier on the pretrained features.
        source: "local" takes `name` as a path only. "gitee" and "github" are what the official client calls its two
            sites; here a name always means the registries of GLOREXT_REGISTRIES, then the built-in one.
        pretrained: False gives random weights and downloads none.
        force_reload: ask the registries again for what they hold now. Files are found by their digest, so complete
            ones are not fetched twice.

    Returns:
        mindspore.nn.Cell: pictures (N, 3, H, W) as the package's InputSpec makes them, to logits (N, num_classes).

    Raises:
        NotFoundError: no registry has the name or version.
        IntegrityError: the bytes are not the promised ones.
        DownloadError, RegistryError, PackageError, CheckpointError, UsageError: see there.
    """
    _check_call(name, source, pretrained=pretrained, force_reload=force_reload)
    from glorext import models

    package = _resolve(name, None, force_reload, _for_loading if pretrained else _nothing_large, source == "local")
    arguments = {
        **package.network_args,
        "num_classes": package.num_classes,
        **_named(models.spec(package.network).constructor, args),
        **kwargs,
    }
    net = models.create(package.network, checkpoint=package.checkpoint if pretrained else None, **arguments)
    return net.set_train(False)


def load_weights(name, source: str = "gitee", force_reload: bool = False) -> dict:
    """The weights published as `name`, for `mindspore.load_param_into_net` or a network of one's own.

    Args:
        name, source, force_reload: as for `load`.

    Returns:
        dict: mindspore.Parameter by its name in the network, whatever names the checkpoint's naming has.
    """
    _check_call(name, source, force_reload=force_reload)
    import mindspore as ms

    from glorext.models import read_checkpoint

    package = _resolve(name, None, force_reload, _for_loading, source == "local")
    return {
        key: ms.Parameter(ms.Tensor(array), name=key)
        for key, array in read_checkpoint(package.checkpoint).weights.items()
    }


def _check_call(name, source, **flags) -> None:
    if not isinstance(name, (str, os.PathLike)):
        raise UsageError(expected="a name, a UID or a path", found=type(name).__name__)
    for key, value in flags.items():
        if not isinstance(value, bool):
            raise UsageError(expected=f"{key} to be True or False", found=repr(value))
    if source not in SOURCES:
        raise UsageError(expected=f"source to be one of {', '.join(SOURCES)}", found=repr(source))


def resolve(name, registry=None, force_reload: bool = False) -> Package:
    """The package behind a name or path, with all of its files verified.

    Args:
        name: as `load` takes it.
        registry: a folder, an address or several in order, to search instead of GLOREXT_REGISTRIES and the built-in
            one.
        force_reload: see `load`.
    """
    return _resolve(name, registry, force_reload, None, False)


def _named(constructor, args: tuple) -> dict:
    import inspect

    try:
        return dict(inspect.signature(constructor).bind_partial(*args).arguments)
    except TypeError as error:
        raise UsageError(expected=f"arguments of {constructor.__name__}", found=str(error)) from error


def _for_loading(manifest: Manifest, file: str) -> bool:
    return file in (manifest.checkpoint, manifest.labels)


def _nothing_large(manifest: Manifest, file: str) -> bool:
    return file == manifest.labels


def is_path(name) -> bool:
    """Whether `name` is meant as a path: a Path, "./x", "/x", "~/x", a card, or a package folder that exists."""
    text = os.fspath(name)
    return (
        isinstance(name, os.PathLike)
        or text.startswith(("/", "./", "../", "~"))
        or text.endswith(".md")
        or os.path.isfile(os.path.join(text, MANIFEST))
    )


def _resolve(name, registry, force_reload, wanted, local) -> Package:
    if not local:
        name = official_uid(name)
    if local or is_path(name):
        return from_folder(name, wanted)
    wanted_name, version = parse_name(name)
    # a UID names a card of the official hub: no registry can have it
    is_uid = "/" in wanted_name
    failures, lacking, promised = [], [], None
    for opened in map(open_registry, [] if is_uid else locations(registry)):
        try:
            version, release = find_release(opened, wanted_name, version, force_reload)
            if promised not in (None, release.manifest):
                raise RegistryError(
                    expected=f"the {wanted_name}@{version} that the registry before it lists, manifest "
                    f"sha256 {promised.sha256}",
                    found=release.manifest.sha256,
                    where=opened.location,
                )
            promised = release.manifest
            folder, manifest = opened.fetch(wanted_name, version, release, wanted)
            return _package(folder, manifest, opened.location)
        except NotFoundError as error:
            lacking.append(f"{opened.location}: {error.found}")
        except (DownloadError, RegistryError, IntegrityError, PackageError) as error:
            if promised is None:
                # Which model it has by this name nobody knows; one of a later registry may be another.
                raise type(error)(str(error).rstrip("."), do=ASK_OTHERS) from error
            # Its index has said which package is meant, and a mirror may have the very same. The failure is not
            # forgotten when none has.
            logger.warning("%s: %s", opened.location, error)
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise type(failures[0])("; ".join(str(error).rstrip(".") for error in failures))
    built_in = registry is None or is_uid
    published = _published(name, wanted_name, version) if built_in else None
    if published:
        return _from_published(published, wanted is not _nothing_large)
    looked = "; ".join(lacking + ([f"{LOCATION}: not there"] if built_in else []))
    raise NotFoundError(
        expected=f"a registry that has {str(name)!r}",
        found=looked,
        do="`glorext list` shows what there is; GLOREXT_REGISTRIES or --registry names the registries to search.",
    )


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


def locations(registry) -> list:
    """The registries to search: `registry` (one, or several in order), or those of GLOREXT_REGISTRIES for None."""
    if registry is None:
        return env.registries()
    return [registry] if isinstance(registry, (str, os.PathLike)) else list(registry)


def parse_name(name) -> tuple[str, str | None]:
    """Name and version (or None) of "resnext50", "resnext50@1.0.0" or a UID; else a UsageError."""
    text = os.fspath(name)
    if len(text) <= 200 and ".." not in text and UID.fullmatch(text):
        return text, None
    head, at, version = text.partition("@")
    if len(text) > 200 or not NAME.fullmatch(head) or (at and not VERSION.fullmatch(version)):
        raise UsageError(
            expected='a name such as "resnext50", "resnext50@1.0.0" or "mindspore/1.10/resnext50_imagenet2012"',
            found=repr(text[:200]),
        )
    return head, version or None


def _published(name, wanted_name: str, version: str | None) -> PublishedCheckpoint | None:
    for entry in published_checkpoints():
        if str(name) in entry.uids:
            return entry
    fitting = [
        entry for entry in published_checkpoints() if entry.name == wanted_name and version in (None, entry.version)
    ]
    return max(fitting, key=lambda entry: version_key(entry.version), default=None)


def _from_published(entry: PublishedCheckpoint, with_weights: bool) -> Package:
    from glorext import models

    if with_weights and entry.sha256_prefix:
        logger.warning(
            "%s: its card publishes only %d digits of the digest (%s); the file is checked against those",
            entry.name,
            len(entry.sha256_prefix),
            entry.sha256_prefix,
        )
    checkpoint = Cache().checkpoint(entry.url, entry.wanted) if with_weights else Path(os.devnull)
    return Package(
        name=entry.name,
        version=entry.version,
        network=entry.network,
        network_args={},
        num_classes=1000,
        checkpoint=checkpoint,
        input_spec=models.spec(entry.network).input,
        labels=None,
        weights_sha256=None,
        folder=None,
        manifest=None,
        source=LOCATION,
    )


def from_folder(path, wanted=None) -> Package:
    """The package in a folder (or beside a card), its (wanted) files verified."""
    given = Path(path).expanduser()
    folder = given.parent if given.suffix == ".md" else given
    if not folder.is_dir() or (given.suffix == ".md" and not given.is_file()):
        raise PackageError(expected="a package folder, or the card in one", found="no such file or folder", where=given)
    manifest = read_manifest(folder)
    for file, entry in manifest.files.items():
        if (wanted is None or wanted(manifest, file)) and not is_intact(inside(folder, file), entry):
            raise IntegrityError(
                expected=f"{entry.size:,} bytes with sha256 {entry.sha256}",
                found="another file" if (folder / file).exists() else "no file",
                where=folder / file,
                do="`glorext verify` checks the whole package.",
            )
    return _package(folder.absolute(), manifest, str(folder))


def _package(folder: Path, manifest: Manifest, source: str) -> Package:
    labels = read_labels(folder / manifest.labels, manifest)
    return Package(
        name=manifest.name,
        version=manifest.version,
        network=manifest.network,
        network_args=manifest.network_args,
        num_classes=manifest.num_classes,
        checkpoint=folder / manifest.checkpoint,
        input_spec=manifest.input,
        labels=labels,
        weights_sha256=manifest.weights_sha256,
        folder=folder,
        manifest=manifest,
        source=source,
    )


def read_labels(path: Path, manifest: Manifest) -> tuple[str, ...]:
    """The labels of a package; their digest and number must be the manifest's, else a PackageError."""
    from glorext.runtime import sha256_bytes

    data = path.read_bytes()
    found = data.decode("utf-8", "replace").split("\n")
    if sha256_bytes(data) != manifest.labels_sha256 or len(found) != manifest.num_classes + 1 or found.pop():
        raise PackageError(
            expected=f"{manifest.num_classes} labels, one a line, sha256 {manifest.labels_sha256}",
            found=f"sha256 {sha256_bytes(data)}",
            where=path,
        )
    return tuple(found)
