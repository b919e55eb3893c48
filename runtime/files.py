"""Files that are whole or not there: digests, atomic writes, strict JSON."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

from .errors import DataError, DiskFullError, UsageError
from .log import get_logger

logger = get_logger("runtime")
CHUNK = 1 << 20
WAIT_SECONDS = 10
LEVELS = 64  # of JSON; the reader in C++ has the same limit


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of `data` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path) -> str:
    """SHA-256 of a file as 64 hex digits, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def require_space(folder, nbytes: int) -> None:
    """Raise DiskFullError when the file system of `folder` has less than `nbytes` free."""
    folder = Path(folder)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < nbytes:
        raise DiskFullError(
            expected=f"{nbytes:,} free bytes", found=f"{free:,}", where=folder, do="Make room or choose another folder."
        )


def no_room(error: OSError, where) -> DiskFullError | None:
    """What to say when the operating system had no room for `where`; None where that is not what `error` says."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(f"the disk is full while writing {where}", do="Make room and run the command again.")
    if error.errno == errno.EFBIG:
        return DiskFullError(
            f"{where} would be larger than a file may be here",
            do="Raise the limit (`ulimit -f unlimited`, or another file system) and run the command again.",
        )
    return None


@contextlib.contextmanager
def disk_full_named(where):
    """Turn the operating system's "no space left" and "file too large" into a DiskFullError that names `where`."""
    try:
        yield
    except OSError as error:
        full = no_room(error, where)
        if full is None:
            raise
        raise full from error


def _mode(wanted: int, like: Path | None = None) -> int:
    """`wanted` without what the umask forbids; with `like`, without what that folder forbids."""
    if like is not None:
        return wanted & stat.S_IMODE(like.stat().st_mode)
    # mkstemp and mkdtemp are private; a published file must be readable as the user's umask says.
    mask = os.umask(0)
    os.umask(mask)
    return wanted & ~mask


def make_folder(path, like: Path | None = None) -> Path:
    """Make the folder `path` and its missing parents; with `like`, with that folder's permissions and group.

    Who may write to `like` may then write here too, whatever the umask of the one who came first.
    """
    path = Path(path)
    for missing in reversed([folder for folder in (path, *path.parents) if not folder.exists()]):
        with contextlib.suppress(FileExistsError):
            missing.mkdir()
            if like is not None:
                os.chmod(missing, _mode(0o3777, like))
    return path


@contextlib.contextmanager
def file_lock(path, what: str, like: Path | None = None):
    """Hold the lock file `path`, which may be anybody's; every ten seconds, who waits for it is told for `what`.

    Raises:
        OSError: it cannot be made, or its file system has no locks.
    """
    from filelock import FileLock, Timeout

    lock, start = FileLock(path, mode=_mode(0o666, like)), time.monotonic()
    while True:
        try:
            lock.acquire(timeout=WAIT_SECONDS)
            break
        except Timeout:
            logger.warning("waiting for another process %s, %.0f s so far", what, time.monotonic() - start)
        except NotImplementedError as error:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), str(path)) from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def atomic_path(final, like: Path | None = None):
    """Yield a temporary path beside `final`; move it to `final` when the block ends well, remove it when not.

    The temporary name keeps the suffix of `final`, since many writers choose the format by it. `like` is a folder
    whose readers are the file's (see `make_folder`).
    """
    final = Path(final)
    make_folder(final.parent, like)
    handle, name = tempfile.mkstemp(dir=final.parent, prefix=f".{final.stem}.", suffix=f".part{final.suffix}")
    os.close(handle)
    temporary = Path(name)
    try:
        with disk_full_named(final):
            yield temporary
            os.chmod(temporary, _mode(0o666, like))
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_dir(final, replace: bool = False, like: Path | None = None):
    """Yield a temporary folder beside `final`; rename it to `final` when the block ends well, remove it when not.

    `like` is a folder whose readers and writers are this one's, and its files' (see `make_folder`).

    Raises:
        UsageError: `final` exists and `replace` is false.
    """
    final = Path(final)
    if final.exists() and not replace:
        raise UsageError(
            expected="a folder that does not exist yet", found=f"{final}", do="Choose another name or remove it first."
        )
    make_folder(final.parent, like)
    temporary = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}.", suffix=".part"))
    try:
        with disk_full_named(final):
            yield temporary
            # what the folder's own parent gave it, such as its group, stays
            os.chmod(temporary, _mode(0o777, like) | stat.S_IMODE(temporary.stat().st_mode) & 0o7000)
            for path in temporary.rglob("*") if like is not None else ():
                runs = path.stat().st_mode & stat.S_IXUSR
                os.chmod(path, _mode(0o3777 if path.is_dir() else 0o777 if runs else 0o666, like))
            if final.exists():
                shutil.rmtree(final)
            os.replace(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def json_bytes(value) -> bytes:
    """`value` as JSON, the same bytes for the same value: sorted keys, two spaces, UTF-8, one newline at the end.

    A byte of a file name that is not UTF-8, which Python holds as half of a surrogate pair, is written as its escape.
    """
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode(errors="backslashreplace")


def write_json(path, value, like: Path | None = None) -> None:
    """Write `value` to `path` atomically, in the form of `json_bytes`; `like` as for `atomic_path`."""
    with atomic_path(path, like) as temporary:
        temporary.write_bytes(json_bytes(value))


def _no_duplicates(pairs):
    found = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {ascii(key)[:200]} twice")
        found[key] = value
    return found


def _no_constant(name):
    raise ValueError(f"the non-finite number {name}")


def _require_shallow(value) -> None:
    level = [value]
    for _ in range(LEVELS + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise ValueError(f"more than {LEVELS} levels")


def parse_json(data: bytes, where):
    """JSON text to Python values; `where` names it in errors.

    Raises:
        DataError: not JSON, a key twice in one object, NaN or Infinity, values nested more than 64 deep.
    """
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
        _require_shallow(value)
    except (ValueError, RecursionError) as error:
        raise DataError(
            expected="JSON", found=str(error), where=where, do="Write the file again with the command that made it."
        ) from error
    return value


def read_json(path):
    """Read a JSON file strictly (see `parse_json`); a missing file is a DataError too."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise DataError(expected="a JSON file", found="no such file", where=path) from error
    return parse_json(data, path)
