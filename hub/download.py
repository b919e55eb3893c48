"""Downloads that end with the right bytes or a named error: resumed, retried, hashed while they stream."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from glorext.runtime import DiskFullError, DownloadError, IntegrityError, get_logger, require_space
from glorext.runtime.files import disk_full_named

from .web import (
    CHUNK,
    RETRIES,
    Again,
    Behind,
    Budget,
    announced,
    body,
    get,
    is_packed,
    name_odd_answer,
    pause,
    refuse_offline,
    session,
    shown,
)

logger = get_logger("hub")
QUIET_SECONDS = 2
KEPT = "What arrived is kept; the next call continues there."


Told = Callable[[str, int, "int | None"], None]
_told: ContextVar[Told | None] = ContextVar("progress", default=None)


@contextmanager
def progress(call: Told):
    """Within the block, tell `call` of downloads in place of a bar on stderr.

    Args:
        call: takes what is fetched ("resnext50-digits@1.0.0 labels.txt"), how many bytes of it are there, and of how
            many (None where the server does not say), each time some arrived. What it raises ends the download, whose
            bytes are kept for the next one.
    """
    before = _told.set(call)
    try:
        yield
    finally:
        _told.reset(before)


@dataclass(frozen=True)
class Wanted:
    """What a download must bring; None where nothing was published about it."""

    sha256: str | None = None
    sha256_prefix: str | None = None
    size: int | None = None


def get_bytes(url: str, limit: int, etag: str | None = None) -> tuple[bytes | None, str | None]:
    """The body of a small file and its ETag; (None, etag) when the server says that `etag` is still current.

    Raises:
        DownloadError: not to be had within GLOREXT_TIMEOUT, all attempts together; more than `limit` bytes.
    """
    data, headers = get_small(url, limit, {"If-None-Match": etag} if etag else {})
    return data, headers.get("ETag", etag if data is None else None)


def get_small(url: str, limit: int, headers: Mapping[str, str]) -> tuple[bytes | None, Mapping[str, str]]:
    """The body and the headers of a small file, asked for with `headers`; None as the body where it is still current.

    Raises:
        DownloadError: as `get_bytes`.
    """
    refuse_offline(url)
    budget = Budget()
    try:
        return Behind(lambda: _small(url, limit, headers, budget)).wait(budget.seconds)
    except TimeoutError as error:
        raise budget.used_up(shown(url)) from error


def _small(url: str, limit: int, headers, budget: Budget) -> tuple[bytes | None, Mapping[str, str]]:
    failures = 0
    with session() as opened:
        while True:
            try:
                with get(opened, url, headers, budget) as answer:
                    if answer.status_code == 304 and "If-None-Match" in headers:
                        return None, answer.headers
                    data = bytearray()
                    for piece in body(answer, budget):
                        data += piece
                        if len(data) > limit:
                            raise DownloadError(expected=f"at most {limit:,} bytes", where=shown(url))
                    if len(data) < (announced(answer) or 0):
                        raise Again("the answer was cut short")
                    name_odd_answer(answer, bytes(data[:256]), url)
                    return bytes(data), answer.headers
            except Again as fault:
                _next_attempt(fault, failures, budget, url, "", f"{failures + 1} times")
                failures += 1


def _next_attempt(fault: Again, failures: int, budget: Budget, url: str, kept: str, count: str) -> None:
    """Wait for the next attempt, and say so; DownloadError where there is none."""
    if failures == RETRIES:
        raise DownloadError(f"{fault}, {count}", where=shown(url), do=fault.do or kept) from fault
    if not budget.left():
        raise budget.used_up(shown(url), fault, fault.do or kept) from fault
    late = budget.seconds - budget.left() > QUIET_SECONDS
    level = logging.WARNING if late else logging.INFO
    logger.log(level, "%s: %s; trying again, for at most %.0f s", shown(url), fault, budget.left())
    pause(failures, fault.pause, budget)


def download(url: str, part, wanted: Wanted, title: str) -> str:
    """Bring `url` into the file `part` and return the SHA-256 of its bytes, which are the wanted ones.

    Bytes that `part` already holds from an earlier process are kept when the server continues after them. The caller
    owns `part` (one process at a time) and moves it to its final name.

    Raises:
        DownloadError: not to be had, after retries; what arrived stays in `part`.
        IntegrityError: another size or digest than wanted; `part` is removed.
        DiskFullError: no room; `part` is removed, since it holds the room that the user needs.
    """
    path = Path(part)
    resumed = path.exists() and path.stat().st_size > 0
    try:
        try:
            return _checked(url, path, wanted, title)
        except IntegrityError:
            if not resumed:
                raise
            # The kept bytes may be the wrong ones (another file under the same address): once more, from the start.
            logger.warning("%s: the resumed download is not the wanted file; starting again", title)
            path.unlink(missing_ok=True)
            return _checked(url, path, wanted, title)
    except (IntegrityError, DiskFullError):
        path.unlink(missing_ok=True)
        raise


def _checked(url: str, path: Path, wanted: Wanted, title: str) -> str:
    with disk_full_named(path.name), _Part(path) as part:
        if wanted.size is not None and part.size > wanted.size:
            part.restart()
        if wanted.size is None or part.size < wanted.size or part.size == 0:
            refuse_offline(url)
            if wanted.size is not None:
                require_space(path.parent, wanted.size - part.size)
            _stream(url, part, wanted, title)
        found, size = part.digest.hexdigest(), part.size
    wrong_size = wanted.size is not None and size != wanted.size
    if wrong_size or (wanted.sha256 or found) != found or not found.startswith(wanted.sha256_prefix or ""):
        expected = wanted.sha256 or f"{wanted.sha256_prefix}..."
        raise IntegrityError(
            expected=f"sha256 {expected}" + (f" of {wanted.size:,} bytes" if wanted.size is not None else ""),
            found=f"{found} of {size:,} bytes",
            where=shown(url),
            do="The file was changed or is another one; nothing of it was kept.",
        )
    return found


class _Part:
    """A partial file together with the digest of the bytes it holds."""

    def __init__(self, path: Path):
        self.folder, self.size, self.digest = path.parent, 0, hashlib.sha256()
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 - closed by __exit__
        self._file.seek(0)
        while piece := self._file.read(CHUNK):
            self._count(piece)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

    def _count(self, piece) -> None:
        self.digest.update(piece)
        self.size += len(piece)

    def restart(self) -> None:
        self._file.truncate(0)
        self.size, self.digest = 0, hashlib.sha256()

    def write(self, piece: bytes) -> None:
        view = memoryview(piece)
        while view:
            written = self._file.write(view)
            self._count(view[:written])
            view = view[written:]

    def sync(self) -> None:
        os.fsync(self._file.fileno())


def _stream(url: str, part: _Part, wanted: Wanted, title: str) -> None:
    from tqdm import tqdm

    failures, budget, hidden = 0, Budget(), bool(_told.get()) or None
    with (
        session() as opened,
        tqdm(total=wanted.size, unit="B", unit_scale=True, desc=title, disable=hidden, leave=False) as bar,
    ):
        while True:
            before = part.size
            try:
                _attempt(opened, url, part, wanted, bar, budget, title)
                part.sync()
                return
            except Again as fault:
                failures = -1 if part.size > before else failures
                _next_attempt(fault, failures, budget, url, KEPT, f"{failures + 1} times without progress")
                failures += 1


def _attempt(opened, url: str, part: _Part, wanted: Wanted, bar, budget: Budget, title: str) -> None:
    """Read one answer to its end into `part`."""
    with get(opened, url, {"Range": f"bytes={part.size}-"} if part.size else {}, budget) as answer:
        if answer.status_code == 416 or (answer.status_code == 206 and is_packed(answer)):
            part.restart()
            raise Again("the server has nothing after the kept bytes")
        continues = f"bytes {part.size}-"
        if part.size and not (
            answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(continues)
        ):
            part.restart()
        total = announced(answer)
        pieces = body(answer, budget)
        if part.size == 0:
            pieces = _named(answer, pieces, wanted, url)
        if wanted.size is not None and total not in (None, wanted.size):
            next(pieces, None)
            raise IntegrityError(
                expected=f"{wanted.size:,} bytes",
                found=f"{total:,}",
                where=shown(url),
                do="The server has another file there; nothing of it was kept.",
            )
        if total is not None:
            require_space(part.folder, total - part.size)
        bar.total = total
        bar.update(part.size - bar.n)
        for piece in pieces:
            if wanted.size is not None and part.size + len(piece) > wanted.size:
                raise IntegrityError(expected=f"{wanted.size:,} bytes", found="more", where=shown(url))
            part.write(piece)
            budget.arrived(len(piece))
            bar.update(len(piece))
            if told := _told.get():
                told(title, part.size, total)
        if total is not None and part.size < total:
            raise Again("the answer was cut short")


def _named(answer, pieces, wanted: Wanted, url: str):
    """`pieces`, after the first was looked at: an empty answer or a web page is an error of its own."""
    first = next(pieces, b"")
    if wanted.size != 0:
        name_odd_answer(answer, first, url)
    yield first
    yield from pieces
