"""The cache of downloaded files, addressed by content: a file stands in it whole and under its SHA-256, or not at all.

    blobs/<sha256>               files, whatever they were called
    packages/<manifest sha256>/  the same files under their names in a package (hard links where the system has them)
    checkpoints/<sha256>/        single published checkpoints under their own name
    partial/, locks/, indexes/   unfinished downloads, one lock per file, registry indexes

Every file is hashed again whenever it is handed out, so a damaged cache repairs itself. A cache that cannot be written
serves what it holds.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from glorext.runtime import DownloadError, GlorextError, RegistryError, atomic_path, env, get_logger, sha256_file

from .download import Wanted, download
from .manifest import FileEntry
from .web import shown

logger = get_logger("hub")
WAIT_SECONDS = 10
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_hub_dir: Path | None = None


def set_hub_dir(dir_path=None) -> None:
    """Use `dir_path` as the cache of this process; None returns to GLOREXT_CACHE or the platform's cache folder."""
    global _hub_dir
    _hub_dir = None if dir_path is None else Path(dir_path).expanduser().absolute()


def get_hub_dir() -> str:
    """The cache folder in use."""
    return str(_hub_dir or env.cache_dir() / "hub")


def is_intact(path: Path, entry: FileEntry) -> bool:
    """Whether `path` is a regular file (no link) of the size and digest of `entry`."""
    return (
        path.is_file()
        and not path.is_symlink()
        and path.stat().st_size == entry.size
        and sha256_file(path) == entry.sha256
    )


class Cache:
    """The cache in `root`, by default the folder of `get_hub_dir`."""

    def __init__(self, root=None):
        self.root = Path(root or get_hub_dir())

    def provide(self, target: Path, entry: FileEntry, url: str, title: str) -> Path:
        """`target` (a path below the cache) holding the file of `entry`, which is downloaded from `url` when missing.

        Of several processes one downloads; the others wait and find the file.

        Raises:
            DownloadError, IntegrityError, DiskFullError: see glorext.hub.download.
            RegistryError: the cache cannot be written.
        """
        if is_intact(target, entry):
            return target
        with self._lock(entry.sha256):
            if is_intact(target, entry):
                return target
            blob = self._blob(entry, url, title)
            _place(blob, target)
        return target

    def _blob(self, entry: FileEntry, url: str, title: str) -> Path:
        blob = self.root / "blobs" / entry.sha256
        if is_intact(blob, entry):
            return blob
        if blob.exists():
            logger.warning("%s is damaged in the cache; it is fetched again", title)
            blob.unlink()
        part = self.root / "partial" / entry.sha256
        part.parent.mkdir(parents=True, exist_ok=True)
        download(url, part, Wanted(sha256=entry.sha256, size=entry.size), title)
        self._keep(part, entry.sha256)
        return blob

    def _keep(self, part: Path, digest: str) -> Path:
        blob = self.root / "blobs" / digest
        blob.parent.mkdir(exist_ok=True)
        # links of it stand in several folders: an edit in one place would reach all
        os.chmod(part, 0o444)
        os.replace(part, blob)
        return blob

    def checkpoint(self, url: str, wanted: Wanted) -> Path:
        """The single file at `url`, whose digest may be known only in part, under its own name."""
        title = url.rsplit("/", 1)[-1]
        known = wanted.sha256 or wanted.sha256_prefix
        if known is None:
            raise DownloadError(expected="a digest to know the file by", found="none", where=shown(url))
        pattern = wanted.sha256 or f"{known}*"
        found = self._named_by_digest(f"checkpoints/{pattern}/{title}")
        if found:
            return found
        with self._lock(known):
            found = self._named_by_digest(f"checkpoints/{pattern}/{title}")
            if found:
                return found
            blob = self._named_by_digest(f"blobs/{pattern}")
            if blob is None:
                part = self.root / "partial" / known
                part.parent.mkdir(parents=True, exist_ok=True)
                blob = self._keep(part, download(url, part, wanted, title))
            target = self.root / "checkpoints" / blob.name / title
            _place(blob, target)
            return target

    def _named_by_digest(self, pattern: str) -> Path | None:
        """A file below the cache that fits `pattern` and has the digest that its path names."""
        for path in sorted(self.root.glob(pattern)):
            digest = path.name if path.parent.name == "blobs" else path.parent.name
            if path.is_file() and not path.is_symlink() and sha256_file(path) == digest:
                return path
            logger.warning("%s is damaged in the cache", path.name)
        return None

    @contextmanager
    def _lock(self, key: str):
        from filelock import FileLock, Timeout

        folder = self.root / "locks"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / key)
            while True:
                try:
                    lock.acquire(timeout=WAIT_SECONDS)
                    break
                except Timeout:
                    logger.info("waiting for another process that fetches the same file (%s)", key[:12])
        except (OSError, NotImplementedError) as error:
            # NotImplementedError: some network file systems have no locks
            raise self._read_only(error) from error
        try:
            yield
        except OSError as error:
            if error.errno in READ_ONLY:
                raise self._read_only(error) from error
            raise
        finally:
            lock.release()

    def _read_only(self, error: Exception) -> GlorextError:
        reason = getattr(error, "strerror", None) or error
        return RegistryError(
            f"the cache lacks a file and cannot be written ({reason})",
            where=self.root,
            do="Set GLOREXT_CACHE to a folder of your own.",
        )


def _place(blob: Path, target: Path) -> None:
    """Make `target` the same file as `blob`, or a copy where links are not possible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        temporary.unlink()
        try:
            os.link(blob, temporary)
        except OSError:
            shutil.copyfile(blob, temporary)
