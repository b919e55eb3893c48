"""A registry in an OCI registry, `oci://HOST/PROJECT`: a repository for each package, a tag for each version.

Tags are never moved; what a publisher says of a version later stands under the tag NOTICES_TAG.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from glorext.runtime import DownloadError, NotFoundError, RegistryError, UsageError, json_bytes, sha256_bytes

from . import challenges
from .cache import Cache
from .index import AT_ONCE, SCHEMA, Packages, Release, set_notice_in
from .kept_index import KeptIndex
from .manifest import MANIFEST, NAME, VERSION, FileEntry, Manifest
from .oci import Repository, address, listed
from .oci_artifact import EMPTY, EMPTY_SHA256, artifact, notices_artifact, notices_of, release_of

OCI = "oci://"
NOTICES_TAG = "glorext-notices"
PLACE = re.compile(
    r"oci://(?P<host>[A-Za-z0-9.-]+(?::[0-9]{1,5})?|\[[0-9a-fA-F:]+\](?::[0-9]{1,5})?)"
    r"(?P<path>(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)+)/?"
)


def is_oci(place: str) -> bool:
    """Whether an address is that of an OCI registry."""
    return place.lower().startswith(OCI)


class OciRegistry(KeptIndex):
    """Packages in the repositories below one path of an OCI registry.

    Raises:
        UsageError: not of the form oci://HOST/PROJECT.
    """

    def __init__(self, place: str):
        found = PLACE.fullmatch(place)
        if not found:
            raise UsageError(
                expected="oci://HOST/PROJECT, the project in lower case", found=repr(place[:200]), where="a registry"
            )
        self.host, self.path = found["host"].lower(), found["path"].strip("/")
        self.location, self.cache = f"{OCI}{self.host}/{self.path}", Cache()
        self._catalog = f"{address(self.host)}_catalog"
        challenges.register(self._catalog)

    def repository(self, name: str) -> Repository:
        """The repository of a package."""
        return Repository(self.host, f"{self.path}/{name}")

    def versions(self, name: str, refresh: bool = False) -> dict[str, Release]:
        """What the registry has of one package."""
        return self._index_file(name, refresh).packages.get(name, {})

    def names(self) -> list[str]:
        """None: a registry is not asked for all that it has only to suggest a name."""
        return []

    def index(self, refresh: bool = False) -> Packages:
        """All packages, by the registry's catalog.

        Raises:
            RegistryError: it has none for this login, as hosted registries have not; names can be loaded all the same.
        """
        base = f"{self.path}/"
        try:
            found = [
                path.removeprefix(base)
                for path in listed(f"{self._catalog}?n=1000", "repositories")
                if path.startswith(base)
            ]
        except DownloadError as error:
            raise RegistryError(
                f"the registry shows no catalog: {error}".rstrip("."),
                do="Name what you want: names can be loaded without it. Some show it to administrators only.",
            ) from error
        names = sorted(name for name in found if len(name) <= 64 and NAME.fullmatch(name))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            every = list(pool.map(lambda name: self.versions(name, refresh), names))
        return {name: versions for name, versions in zip(names, every) if versions}

    def _fetched(self, path: str, etag: str | None) -> tuple[bytes | None, str | None]:
        """The index of one package, from its tags and their manifests."""
        name, repository = path, self.repository(path)
        tags = repository.tags()
        versions = [tag for tag in tags if VERSION.fullmatch(tag) and len(tag) <= 64]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            manifests = list(pool.map(repository.manifest, versions))
        releases = {}
        for version, data in zip(versions, manifests):
            release = release_of(data, f"{repository.location}:{version}") if data else None
            if release:
                releases[version] = release.to_dict()
        if NOTICES_TAG in tags:
            for version, said in self._notices(repository).items():
                releases.get(version, {}).update(said)
        return json_bytes({"schema": SCHEMA, "packages": {name: releases} if releases else {}}), None

    def _kept_as(self, path: str) -> str:
        return f"{self.location}/{path}"

    @staticmethod
    def _notices(repository: Repository) -> dict[str, dict[str, str]]:
        data = repository.manifest(NOTICES_TAG)
        return notices_of(data, f"{repository.location}:{NOTICES_TAG}") if data else {}

    def _address_of(self, name: str, version: str, file: str, entry: FileEntry) -> str:
        return self.repository(name).blob(entry.sha256)

    def push(self, package: Path, manifest: Manifest, release: Release) -> bool:
        """Bring a verified package into its repository; False where it is there already.

        Raises:
            RegistryError: the version is there with other content, or the registry does not take it.
            DownloadError: the registry cannot be reached.
        """
        repository, tag = self.repository(manifest.name), manifest.version
        there = repository.manifest(tag)
        if there is not None:
            known = release_of(there, f"{repository.location}:{tag}")
            if known and known.manifest == release.manifest:
                return False
            raise RegistryError(
                expected=f"a version that {self.location} does not have yet",
                found=f"{manifest.name}@{tag} with other content",
                do="Published versions never change: pack it with a higher --version.",
            )
        data, config = artifact(manifest, release)
        for file, entry in {**manifest.files, MANIFEST: release.manifest}.items():
            repository.put_blob(package / file, entry.sha256, entry.size, f"{manifest.name}@{tag} {file}")
        repository.put_blob(config, sha256_bytes(config), len(config), "config")
        # last: whoever sees the tag finds all that it names
        repository.put_manifest(tag, data)
        return True

    def set_notice(self, name: str, version: str, notice: str, reason: str | None) -> None:
        """Say of a version that it is `notice`, one of NOTICES; None takes that back.

        Raises:
            NotFoundError: no such version.
            RegistryError, DownloadError: the registry cannot be asked, or does not take it.
        """
        if version not in self.versions(name, refresh=True):
            raise NotFoundError(expected=f"{name}@{version}", found="no such version", where=self.location)
        repository = self.repository(name)
        notices = self._notices(repository)
        set_notice_in(notices.setdefault(version, {}), notice, reason)
        repository.put_blob(EMPTY, EMPTY_SHA256, len(EMPTY), NOTICES_TAG)
        repository.put_manifest(NOTICES_TAG, notices_artifact(notices))
        self.versions(name, refresh=True)
