"""A registry over the network: its index is kept, used at once and renewed behind; its files come through the cache."""

from __future__ import annotations

import time
from pathlib import Path

from glorext.runtime import (
    DataError,
    DiskFullError,
    DownloadError,
    RegistryError,
    env,
    get_logger,
    sha256_bytes,
    write_json,
)
from glorext.runtime.fields import Fields

from .cache import Cache
from .index import Indexed, IndexFile, Release, parse_index
from .manifest import MANIFEST, FileEntry, Manifest, manifest_of
from .web import Behind

logger = get_logger("hub")
FRESH_SECONDS = 600
MOMENT = 3.0  # seconds
RENEWALS: dict[Path, Behind] = {}  # of indexes that are kept, by where


class KeptIndex(Indexed):
    """A registry whose index and files are somebody else's server's."""

    location: str
    cache: Cache

    def _fetched(self, path: str, etag: str | None) -> tuple[bytes | None, str | None]:
        """The bytes of a file of the index and their ETag; None as the bytes where `etag` is still current."""
        raise NotImplementedError

    def _address_of(self, name: str, version: str, file: str, entry: FileEntry) -> str:
        """Where the server has a file of a package."""
        raise NotImplementedError

    def _kept_as(self, path: str) -> str:
        """What stands for the file of the index in the cache."""
        raise NotImplementedError

    def _index_file(self, path: str, refresh: bool) -> IndexFile:
        """The kept one while it is fresh, else the server's.

        A server that takes longer than a moment, or fails, is not waited for where one is kept: that serves, with a
        warning, while the new one comes behind. Offline it serves silently.
        """
        place, where = self._kept_at(path), f"{self.location}/{path}"
        kept = self._kept(place) or {}
        if kept and (env.offline() or (not refresh and 0 <= time.time() - kept["time"] < FRESH_SECONDS)):
            return parse_index(kept["index"].encode(), where)
        if not kept or refresh:
            return self._renewed(path, kept)
        # one that is on its way from an earlier call is given no second moment
        known = RENEWALS.get(place)
        renewal = known if known and known.is_alive() else Behind(lambda: self._renewed(path, kept))
        RENEWALS[place] = renewal
        try:
            return renewal.wait(0 if renewal is known else MOMENT)
        except (DownloadError, RegistryError, TimeoutError) as error:
            why = f"no answer within {MOMENT:g} s" if isinstance(error, TimeoutError) else error
            logger.warning("using the index of %s from the cache: %s", self.location, why)
            return parse_index(kept["index"].encode(), where)

    def _renewed(self, path: str, kept: dict) -> IndexFile:
        """The server's file of the index, which is kept if it is one."""
        data, etag = self._fetched(path, kept.get("etag"))
        data = kept["index"].encode() if data is None else data
        found = parse_index(data, f"{self.location}/{path}")
        try:
            self.cache.folder("indexes")
            kept = {"time": time.time(), "etag": etag, "index": data.decode(), "sha256": sha256_bytes(data)}
            write_json(self._kept_at(path), kept, self.cache.root)
        except (OSError, DiskFullError) as error:
            logger.debug("the index is not kept: %s", error)
        return found

    def _kept_at(self, path: str) -> Path:
        return self.cache.root / "indexes" / f"{sha256_bytes(self._kept_as(path).encode())}.json"

    @staticmethod
    def _kept(path: Path) -> dict | None:
        try:
            fields = Fields.read(path)
            index = fields.take("index", str)
            kept = {"time": fields.take("time", float), "etag": fields.take("etag", str, optional=True), "index": index}
            # a damaged index would mislead until it is too old
            return kept if fields.take("sha256", str) == sha256_bytes(index.encode()) else None
        except (DataError, UnicodeEncodeError, OSError):
            return None

    def fetch(self, name: str, version: str, release: Release, wanted=None) -> tuple[Path, Manifest]:
        """Folder in the cache and manifest of a package whose (wanted) files are there and were just hashed."""
        folder, title = self.cache.root / "packages" / release.manifest.sha256, f"{name}@{version}"

        def provided(file: str, entry: FileEntry, shown: str) -> Path:
            return self.cache.provide(folder / file, entry, self._address_of(name, version, file, entry), shown)

        manifest = manifest_of(provided(MANIFEST, release.manifest, title), name, version)
        for file, entry in manifest.files.items():
            if wanted is None or wanted(manifest, file):
                provided(file, entry, f"{title} {file}")
        return folder, manifest
