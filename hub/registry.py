"""Registries: static trees of packages, in a folder or behind any web server.

index.json, index/                        what there is, with the digest of each package's manifest
packages/NAME/VERSION/manifest.json ...   the packages; the index holds no paths, so none can lead elsewhere
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from glorext.runtime import (
    IntegrityError,
    MissingFileError,
    NotFoundError,
    PackageError,
    RegistryError,
    UsageError,
    env,
    get_logger,
)

from .cache import Cache, is_intact
from .download import get_bytes
from .index import INDEX, MAX_INDEX_BYTES, REINDEX, Indexed, IndexFile, Release, parse_index
from .kept_index import KeptIndex
from .manifest import MANIFEST, FileEntry, Manifest, is_prerelease, manifest_of, version_key
from .oci_registry import OciRegistry, is_oci
from .pins import fits, may_give
from .web import odd_content, shown

logger = get_logger("hub")
# the parameters of object stores' signed addresses, which are others each hour
SIGNED = re.compile(
    r"(?:x-(?:amz|goog|oss|obs|cos)-|(?:signature|expires|awsaccesskeyid|ossaccesskeyid|accesskeyid|googleaccessid"
    r"|q-sign-[a-z]+|security-token|sig|se|st|sp|sv|sr|spr|skoid|sktid|skt|ske|sks|skv)=)",
    re.IGNORECASE,
)
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def release_path(name: str, version: str) -> str:
    """Where a registry keeps a package, relative to its root."""
    return f"packages/{name}/{version}"


class FolderRegistry(Indexed):
    """A registry in a local folder; its files are used where they are."""

    def __init__(self, root):
        self.root = Path(root).expanduser().absolute()
        self.location = str(self.root)

    def _index_file(self, path: str, refresh: bool) -> IndexFile:
        """Read anew every time."""
        try:
            return parse_index((self.root / path).read_bytes(), self.root / path, REINDEX)
        except OSError as error:
            lost = isinstance(error, FileNotFoundError) and (self.root / "packages").is_dir()
            raise RegistryError(
                expected=f"a registry folder with {path}",
                found=error.strerror,
                where=self.root,
                do=REINDEX if lost else "`glorext publish PKG --to FOLDER` makes registries.",
            ) from error

    def fetch(self, name: str, version: str, release: Release, wanted=None) -> tuple[Path, Manifest]:
        """Folder and manifest of a package whose files were just hashed; `wanted` picks files by their path."""
        folder = self.root / release_path(name, version)
        path = folder / MANIFEST
        require_intact(path, release.manifest)
        manifest = manifest_of(path, name, version)
        for file, entry in manifest.files.items():
            if wanted is None or wanted(manifest, file):
                require_intact(inside(folder, file), entry, "Publish the package again from its source.")
        return folder, manifest


class UrlRegistry(KeptIndex):
    """A registry behind a web server; its files come through the cache.

    A query in its address, such as an object store's signature, goes along with every request.
    """

    def __init__(self, url: str):
        parts = urlsplit(url)
        self.url = urlunsplit(parts._replace(path=parts.path.rstrip("/"), fragment=""))
        self.location = shown(self.url)
        self.cache = Cache()

    def _address(self, path: str) -> str:
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(path=f"{parts.path}/{quote(path)}"))

    def _fetched(self, path: str, etag: str | None) -> tuple[bytes | None, str | None]:
        return get_bytes(self._address(path), MAX_INDEX_BYTES, etag)

    def _kept_as(self, path: str) -> str:
        """One name for all signatures of one address."""
        parts = urlsplit(self.url)
        query = "&".join(part for part in parts.query.split("&") if not SIGNED.match(part))
        return urlunsplit(parts._replace(query=query)) + ("" if path == INDEX else f"#{path}")

    def _address_of(self, name: str, version: str, file: str, entry: FileEntry) -> str:
        return self._address(f"{release_path(name, version)}/{file}")


def require_intact(path: Path, entry: FileEntry, do: str | None = None) -> None:
    """Raise MissingFileError where no file is, IntegrityError where another one is than `entry` says."""
    if is_intact(path, entry):
        return
    found, lost = "another file", not path.is_file()
    if not lost:
        with open(path, "rb") as file:
            start = file.read(256)
        if odd := odd_content(start) if start else None:
            found, do = odd
    raise (MissingFileError if lost else IntegrityError)(
        expected=f"{entry.size:,} bytes with sha256 {entry.sha256}",
        found="no file" if lost else found,
        where=path,
        do=do,
    )


def inside(folder: Path, file: str) -> Path:
    """`folder`/`file` when no part of it below `folder` is a symbolic link; else PackageError."""
    path = folder
    for part in file.split("/"):
        path = path / part
        if path.is_symlink():
            raise PackageError(expected="files and folders", found="a symbolic link", where=path)
    return path


Registry = FolderRegistry | UrlRegistry | OciRegistry


def open_registry(location) -> Registry:
    """The registry at a folder, or at an http, https, file or oci address."""
    text = os.fspath(location)
    if text and not ADDRESS.match(text):
        return FolderRegistry(text)
    if is_oci(text):
        return OciRegistry(text)
    try:
        parts = urlsplit(text)
        if parts.scheme in ("http", "https") and parts.hostname:
            return UrlRegistry(text)
        if parts.scheme == "file" and parts.netloc in ("", "localhost"):
            return FolderRegistry(unquote(parts.path))
    except ValueError:
        pass
    raise UsageError(
        expected="a folder, or an http, https, file or oci address",
        found=repr(text.partition("?")[0][:200]),
        where="a registry",
    )


def releases(registry, name: str, pin: str | None, force_reload: bool = False) -> list[tuple[str, Release]]:
    """Version and Release of all that `registry` has of `name` and that fits `pin`, the highest first.

    Yanked versions and pre-releases are passed over, unless `pin` is one whole version or a digest.

    Raises:
        NotFoundError: none.
    """

    def fitting(versions: dict[str, Release]) -> list[str]:
        return [version for version, release in versions.items() if fits(pin, version, release.manifest.sha256)]

    versions = registry.versions(name, force_reload)
    if not force_reload and not fitting(versions):
        # an index that was kept from an earlier day may not know it yet
        versions = registry.versions(name, not env.offline())
    chosen = [version for version in fitting(versions) if may_give(pin, version, versions[version].yanked)]
    if not chosen:
        there = ", ".join(
            version
            + (f" (yanked: {release.yanked})" if release.yanked else " (pre-release)" if is_prerelease(version) else "")
            for version, release in sorted(versions.items(), key=lambda item: version_key(item[0]))
        )
        if there and not pin:
            there += f"; {name}@VERSION gives one of these"
        raise NotFoundError(expected=name, found=f"only {there}" if there else "no such name", where=registry.location)
    return [(version, versions[version]) for version in sorted(chosen, key=version_key, reverse=True)]


def latest(versions) -> str:
    """The highest version; a pre-release only where there is nothing else."""
    return max(versions, key=lambda version: (not is_prerelease(version), version_key(version)))
