"""The search for a name through several registries: which one's package it is, and what may stand in for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from glorext.runtime import (
    DownloadError,
    GlorextError,
    IntegrityError,
    MissingFileError,
    NotFoundError,
    PackageError,
    RegistryError,
    get_logger,
)

from .index import NOTICES
from .manifest import FileEntry, Manifest, version_key
from .pins import is_digest
from .registry import releases
from .seen import remember, require_unchanged
from .sources import Source

logger = get_logger("hub")
ASK_OTHERS = (
    "No other registry was asked, since it may have another model by this name: take this one out of "
    "GLOREXT_REGISTRIES, write mirror: before it if it is a copy of one after it, or name another with --registry."
)
# Which files of a package are wanted, and so fetched and hashed; None stands for all.
Wanted = Callable[[Manifest, str], bool]


@dataclass(frozen=True)
class Found:
    """A package with its (wanted) files, just verified, and the location of the registry that gave it."""

    folder: Path
    manifest: Manifest
    location: str


@dataclass
class Search:
    """One search for the package `name`, in the version that `pin` asks for or the newest.

    `lacking` gets a line for each registry that does not have it.
    """

    name: str
    pin: str | None
    force_reload: bool = False
    wanted: Wanted | None = None
    lacking: list[str] = field(default_factory=list)

    def through(self, searched: tuple[Source, ...]) -> Found | None:
        """The package in the first of these registries that has the name; None when none has.

        Where files of the newest version are lacking, and no copy of it has them, an older version steps in with a
        warning, unless the version was asked for: copying a registry may bring the index before the files.

        Raises:
            RegistryError, DownloadError: a registry that is no mirror cannot be asked.
            IntegrityError, PackageError, DownloadError: the package is there, but not as its index promises.
        """
        attempt = _Attempt(self, self.pin)
        found = attempt.through(searched)
        if found or not attempt.failures:
            return found
        failure = _joined(attempt.failures)
        if attempt.by and attempt.lacks_files:
            # of the registry whose index has the name: one after it may have another model by this name
            source = attempt.by
            for version, _ in releases(source.registry, self.name, self.pin):
                if version_key(version) >= version_key(attempt.version):
                    continue
                again = _Attempt(self, version)
                found = again.through(searched[searched.index(source) :])
                if found:
                    logger.warning("%s@%s is loaded instead: %s", self.name, version, failure)
                    return found
                if not again.lacks_files:
                    break
        raise failure


class _Attempt:
    """A search for what one pin asks for; the first registry that has it says which version that is."""

    def __init__(self, search: Search, pin: str | None):
        self.search, self.pin, self.version = search, pin, ""
        self.by: Source | None = None
        self.promised: FileEntry | None = None
        self.failures: list[GlorextError] = []

    @property
    def lacks_files(self) -> bool:
        """Whether the package is known, and nothing is wrong with it but files that are not there."""
        return bool(self.failures) and all(isinstance(failure, MissingFileError) for failure in self.failures)

    def through(self, searched: tuple[Source, ...]) -> Found | None:
        silent: list[GlorextError] = []
        for source in searched:
            location = source.location
            try:
                return self._in(source)
            except NotFoundError as error:
                self.search.lacking.append(f"{location}: {error.found}")
            except (DownloadError, RegistryError, IntegrityError, PackageError) as error:
                if self.promised is None and not source.mirror and not is_digest(self.pin):
                    # Which model it has by this name nobody knows; one of a later registry may be another.
                    raise type(error)(str(error).rstrip("."), do=ASK_OTHERS) from None
                logger.warning("%s: %s", location, error)
                if self.promised is None:
                    silent.append(error)
                    self.search.lacking.append(f"{location}: not asked")
                else:
                    # Its index has said which package is meant, and a mirror may have the very same. The failure is
                    # not forgotten when none has.
                    self.failures.append(error)
        if silent and len(silent) == len(searched):
            raise _joined(silent)
        return None

    def _in(self, source: Source) -> Found:
        registry, name = source.registry, self.search.name
        version, release = releases(registry, name, self.version or self.pin, self.search.force_reload)[0]
        require_unchanged(registry.location, name, version, release.manifest.sha256)
        if self.promised not in (None, release.manifest):
            raise RegistryError(
                expected=f"the {name}@{version} that the registry before it lists, manifest sha256 "
                f"{self.promised.sha256}",
                found=release.manifest.sha256,
                where=registry.location,
            )
        self.version, self.promised, self.by = version, release.manifest, self.by or source
        folder, manifest = registry.fetch(name, version, release, self.search.wanted)
        remember(registry.location, name, version, release.manifest.sha256)
        for notice in NOTICES:
            if reason := getattr(release, notice):
                logger.warning("%s@%s is %s by its publisher: %s", name, version, notice, reason)
        return Found(folder, manifest, registry.location)


def _joined(failures: list[GlorextError]) -> GlorextError:
    if len(failures) == 1:
        return failures[0]
    return type(failures[0])("; ".join(str(error).rstrip(".") for error in failures))
