"""`glorext publish`: put a package into a registry folder or an OCI registry, whole and for good."""

from __future__ import annotations

import json
import shlex
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path

from glorext.runtime import GlorextError, RegistryError, UsageError, atomic_dir, get_logger, require_space, write_json
from glorext.runtime.cli import parser
from glorext.runtime.files import disk_full_named, file_lock, make_folder, parse_json

from .builtin import published_checkpoints
from .index import INDEX, REINDEX, SCHEMA, Release, file_that_lists, parse_index, write_index
from .manifest import MANIFEST, Manifest
from .oci_registry import OciRegistry
from .registry import UrlRegistry, open_registry, release_path
from .seen import remember
from .verify import sources_note, verify

logger = get_logger("hub")
LOCK = ".lock"


def publish(package, registry) -> tuple[str, bool]:
    """Bring a verified package into `registry`: a folder, which is made when missing, or an oci:// address.

    In a folder the package appears under its final name at once, then the index names it, and publishers take turns, so
    none overwrites another's entry. A published version never changes.

    Returns:
        "NAME@VERSION", and whether it is new (False: the very same package was there already).

    Raises:
        PackageError, IntegrityError: the package does not verify.
        RegistryError: the version is there with other content, or the index is damaged or lost.
        DiskFullError: no room; the registry is as it was.
        UsageError: `registry` is another address.
    """
    opened, package = open_registry(registry), Path(package)
    if isinstance(opened, UrlRegistry):
        raise UsageError(
            expected="a folder or an oci:// address to publish to",
            found=opened.location,
            do="Publish to a folder, and copy that to where the server takes its files from.",
        )
    manifest, evidence = verify(package)
    if note := sources_note(package, manifest):
        logger.warning("%s", note)
    release = Release.of(manifest, evidence)
    if isinstance(opened, OciRegistry):
        new = opened.push(package, manifest, release)
        opened.versions(manifest.name, refresh=True)
    else:
        with writing(opened.root):
            new = _publish(package, manifest, release, opened.root)
        opened.fetch(manifest.name, manifest.version, release)
    remember(opened.location, manifest.name, manifest.version, release.manifest.sha256)
    return f"{manifest.name}@{manifest.version}", new


@contextmanager
def writing(root: Path):
    """The registry folder `root`, made when missing, while nobody else writes to it."""
    try:
        with disk_full_named(root), file_lock(make_folder(root) / LOCK, f"that writes to {root}", root):
            yield
    except OSError as error:
        raise RegistryError(
            expected="a folder that can be written", found=error.strerror or error, where=root
        ) from error


def _listing(root: Path, name: str) -> Path:
    """The file of the index that lists `name`; a new registry gets an empty index, so that a later one without has
    lost it."""
    if not (root / INDEX).exists():
        if any((root / "packages").glob("*/*")):
            raise RegistryError(expected=f"{INDEX} beside the packages", found="none", where=root, do=REINDEX)
        write_json(root / INDEX, {"schema": SCHEMA, "packages": {}}, root)
    path = file_that_lists(root, name)
    if not path.exists():
        raise RegistryError(expected=path.name, found="none", where=path.parent, do=REINDEX)
    return path


def _publish(package: Path, manifest: Manifest, release: Release, root: Path) -> bool:
    """Copy and list the package while nobody else writes to the registry; whether the index changed."""
    path = _listing(root, manifest.name)
    data = path.read_bytes()
    index = parse_index(data, path, REINDEX).packages
    known = index.get(manifest.name, {}).get(manifest.version)
    if known and known.manifest.sha256 != release.manifest.sha256:
        raise RegistryError(
            expected=f"a version that {root} does not have yet",
            found=f"{manifest.name}@{manifest.version} with other content (manifest sha256 {known.manifest.sha256})",
            do="Published versions never change: pack it with a higher --version.",
        )
    final = root / release_path(manifest.name, manifest.version)
    # only a publisher that was killed leaves these
    for left in (*root.glob(".index.*.part.json"), *final.parent.glob(".[0-9]*.part")):
        with suppress(PermissionError):
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    if not _is_there(final, manifest):
        _copy(package, manifest, final, root)
    if known:
        return False
    # as it was read, with what a newer publisher wrote into it
    content = parse_json(data, path)
    content["packages"].setdefault(manifest.name, {})[manifest.version] = release.to_dict()
    write_index(root, content, path)
    return True


def _is_there(final: Path, manifest) -> bool:
    """Whether `final` holds exactly this package: from an earlier publisher that died before it wrote the index."""
    if not final.exists():
        return False
    try:
        return verify(final)[0] == manifest
    except (GlorextError, OSError):
        return False


def _copy(package: Path, manifest, final: Path, root: Path) -> None:
    require_space(final.parent, manifest.size)
    with atomic_dir(final, replace=True, like=root) as folder:
        for file in (MANIFEST, *manifest.files):
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(package / file, target)
        verify(folder)


def main(argv: list[str]) -> None:
    """`glorext publish PKG --to REGISTRY`."""
    arguments = parser(
        "publish",
        "Put a package into a registry: a folder, which is one wherever it is copied or served (a disk, a web server, "
        "an object store), or a project of an OCI registry, oci://HOST/PROJECT.",
        "glorext publish packages/resnext50-digits --to registry",
    )
    arguments.add_argument("package", help="the package folder")
    arguments.add_argument(
        "--to", required=True, metavar="REGISTRY", help="a folder, made when missing, or oci://HOST/PROJECT"
    )
    arguments.add_argument("--json", action="store_true", help="print JSON")
    options = arguments.parse_args(argv)
    title, new = publish(options.package, options.to)
    if options.json:
        print(json.dumps({"name": title, "registry": open_registry(options.to).location, "new": new}))
    else:
        print(f"{title} {'published to' if new else 'was already in'} {options.to}")
        name = title.partition("@")[0]
        # a name of the built-in registry has to be bound
        bound = f"{name}=" if any(entry.name == name for entry in published_checkpoints()) else ""
        load = f"import mindspore_hub; mindspore_hub.load('{title}')"
        print(f'load it: GLOREXT_REGISTRIES={shlex.quote(f"{bound}{options.to}")} python -c "{load}"')
