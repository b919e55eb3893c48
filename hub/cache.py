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
from contextlib import ExitStack, contextmanager
from pathlib import Path

from glorext.runtime import DownloadError, GlorextError, RegistryError, atomic_path, env, get_logger, sha256_file
from glorext.runtime.files import disk_full_named, file_lock, make_folder

from .download import Wanted, download
from .manifest import FileEntry
from .web import shown

logger = get_logger("hub")
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
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

    def folder(self, name: str) -> Path:
        """The folder `name` of the cache, made when missing; whoever may write to the cache may write to it."""
        shared = self.root.parent
        # of the folder that GLOREXT_CACHE names, somebody has said who may write to it
        make_folder(self.root, shared if shared == env.cache_dir() and shared.is_dir() else None)
        return make_folder(self.root / name, self.root)

    def provide(self, target: Path, entry: FileEntry, url: str, title: str) -> Path:
        """`target` (a path below the cache) holding the file of `entry`, which is downloaded from `url` when missing.

        Of several processes one downloads; the others wait and find the file.

        Raises:
            DownloadError, IntegrityError, DiskFullError: see glorext.hub.download.
            RegistryError: the cache cannot be written.
        """
        if is_intact(target, entry):
            return target
        with self.lock(entry.sha256) as locked:
            if is_intact(target, entry):
                return target
            self._place(self._blob(entry, url, title, locked), target)
        return target

    def _blob(self, entry: FileEntry, url: str, title: str, locked: bool) -> Path:
        blob = self.root / "blobs" / entry.sha256
        if is_intact(blob, entry):
            return blob
        if blob.exists():
            logger.warning("%s is damaged in the cache; it is fetched again", title)
            blob.unlink()
        part = self._part(entry.sha256, locked)
        download(url, part, Wanted(sha256=entry.sha256, size=entry.size), title)
        return self._keep(part, entry.sha256)

    def _part(self, key: str, locked: bool) -> Path:
        """The file to download into: with what earlier processes brought, of which this user is the owner."""
        part = self.folder("partial") / key
        if not locked:
            return part.with_name(f"{key}-{os.getpid()}")
        if part.exists() and part.stat().st_uid != os.geteuid():
            # another user could go on writing to it
            try:
                with atomic_path(part, self.root) as own:
                    shutil.copyfile(part, own)
            except PermissionError:
                try:
                    part.unlink()
                except PermissionError:
                    return part.with_name(f"{key}-user{os.geteuid()}")
        return part

    def _keep(self, part: Path, digest: str) -> Path:
        blob = self.folder("blobs") / digest
        # links of it stand in several folders: an edit in one place would reach all
        os.chmod(part, 0o444)
        os.replace(part, blob)
        return blob

    def _place(self, blob: Path, target: Path) -> None:
        """Make `target` the same file as `blob`, or a copy where links are not possible."""
        make_folder(target.parent, self.root)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
        temporary.unlink(missing_ok=True)
        try:
            try:
                os.link(blob, temporary)
            except OSError:
                # no links here, or the blob is another user's
                with disk_full_named(target):
                    shutil.copyfile(blob, temporary)
                os.chmod(temporary, 0o444)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)

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
        with self.lock(known) as locked:
            found = self._named_by_digest(f"checkpoints/{pattern}/{title}")
            if found:
                return found
            blob = self._named_by_digest(f"blobs/{pattern}")
            if blob is None:
                part = self._part(known, locked)
                blob = self._keep(part, download(url, part, wanted, title))
            target = self.root / "checkpoints" / blob.name / title
            self._place(blob, target)
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
    def changing(self):
        """A block that writes to the cache: what the system forbids it is a RegistryError."""
        try:
            yield
        except OSError as error:
            if error.errno in READ_ONLY:
                raise self._read_only(error) from error
            raise

    @contextmanager
    def lock(self, key: str):
        """Keep other processes from fetching the same file; False where the file system has no locks."""
        with ExitStack() as held:
            try:
                lock = self.folder("locks") / key
                held.enter_context(file_lock(lock, f"that fetches the same file ({key[:12]})", self.root))
                locked = True
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise self._read_only(error) from error
                locked = False
                logger.warning("%s has no file locks: two processes may fetch the same file", self.root)
            with self.changing():
                yield locked

    def _read_only(self, error: Exception) -> GlorextError:
        reason = getattr(error, "strerror", None) or error
        return RegistryError(
            f"the cache cannot be written, and lacks a file or holds one too many ({reason})",
            where=self.root,
            do="Set GLOREXT_CACHE to a folder of your own.",
        )
