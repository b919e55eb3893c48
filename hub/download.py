"""Downloads that end with the right bytes or a named error: resumed, retried, hashed while they stream."""

from __future__ import annotations

import hashlib
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from glorext.runtime import (
    DiskFullError,
    DownloadError,
    IntegrityError,
    MissingFileError,
    env,
    get_logger,
    require_space,
)
from glorext.runtime.files import disk_full_named

logger = get_logger("hub")
CONNECT_SECONDS, READ_SECONDS = 10, 30
CHUNK = 1 << 20
RETRIES = 5
BACKOFF_SECONDS, LONGEST_PAUSE = 0.3, 20.0
RETRIED = {408, 425, 429, 500, 502, 503, 504}
MEANING = {401: "the server wants a login", 403: "the server forbids it", 404: "no such file", 410: "it was removed"}


class _Again(Exception):
    """An attempt failed in a way that may pass; `pause` is how long the server asked to wait."""

    def __init__(self, reason: str, pause: float = 0.0):
        super().__init__(reason)
        self.pause = pause


@dataclass(frozen=True)
class Wanted:
    """What a download must bring; None where nothing was published about it."""

    sha256: str | None = None
    sha256_prefix: str | None = None
    size: int | None = None


def shown(url: str) -> str:
    """`url` without user name, password and query (which may be a signature), for messages and logs."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def _session():
    import requests

    from glorext.runtime import version

    session = requests.Session()
    # identity: a compressed answer has another length than the file, and Range counts its bytes
    session.headers.update({"User-Agent": f"glorext/{version()}", "Accept-Encoding": "identity"})
    return session


def _refuse_offline(url: str) -> None:
    if env.offline():
        raise DownloadError(
            f"GLOREXT_OFFLINE is set, and {shown(url)} is not in the cache",
            do="Unset GLOREXT_OFFLINE, or load it once on a machine with the same cache.",
        )


def _get(session, url: str, headers: dict):
    """An answer whose body was not read yet; _Again for passing faults, DownloadError for final ones."""
    import requests

    try:
        answer = session.get(url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS))
    except requests.exceptions.SSLError as error:
        # its own text alone: the library's holds the whole address
        reason = getattr(error.args[0], "reason", error) if error.args else error
        raise DownloadError(
            f"the server's certificate is not trusted: {reason}",
            where=shown(url),
            do="Set REQUESTS_CA_BUNDLE if your network has its own authority.",
        ) from error
    except requests.exceptions.TooManyRedirects as error:
        raise DownloadError("it redirects without end", where=shown(url)) from error
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise _Again(f"no answer ({type(error).__name__})") from error
    except (requests.RequestException, ValueError) as error:
        raise DownloadError(
            f"an address, its own or a redirect's or a proxy's, cannot be asked ({type(error).__name__})",
            where=shown(url),
        ) from error
    except OSError as error:
        # such as a REQUESTS_CA_BUNDLE that names no file
        raise DownloadError(str(error), where=shown(url)) from error
    hops = [hop.url for hop in (*answer.history, answer)]
    if urlsplit(url).scheme == "https" and not all(urlsplit(hop).scheme == "https" for hop in hops):
        answer.close()
        raise DownloadError("an https address redirects to plain http", where=shown(url))
    if answer.status_code in RETRIED:
        answer.close()
        after = answer.headers.get("Retry-After", "")
        raise _Again(f"status {answer.status_code}", min(float(after), LONGEST_PAUSE) if after.isdigit() else 0.0)
    if answer.status_code not in (200, 206, 304, 416):
        answer.close()
        raise (MissingFileError if answer.status_code in (404, 410) else DownloadError)(
            f"status {answer.status_code}: {MEANING.get(answer.status_code, answer.reason)}", where=shown(url)
        )
    return answer


def _pause(failures: int, asked: float) -> None:
    # jitter: many processes that lost the same server must not return together
    time.sleep(max(asked, min(BACKOFF_SECONDS * 2**failures * random.uniform(0.5, 1.5), LONGEST_PAUSE)))


def _body(answer):
    import urllib3

    try:
        # read1 hands out what has arrived, so that little is lost when this process dies. Nothing is unpacked on the
        # way: the digest is of the bytes as sent, and an answer cannot swell.
        while piece := answer.raw.read1(CHUNK, decode_content=False):
            yield piece
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _Again(f"the connection broke off ({type(error).__name__})") from error


def get_bytes(url: str, limit: int, etag: str | None = None, retries: int = RETRIES) -> tuple[bytes | None, str | None]:
    """The body of a small file and its ETag; (None, etag) when the server says that `etag` is still current.

    Raises:
        DownloadError: not to be had; more than `limit` bytes.
    """
    _refuse_offline(url)
    headers = {"If-None-Match": etag} if etag else {}
    with _session() as session:
        failures = 0
        while True:
            try:
                with _get(session, url, headers) as answer:
                    if answer.status_code == 304 and etag:
                        return None, etag
                    data = b""
                    for piece in _body(answer):
                        data += piece
                        if len(data) > limit:
                            raise DownloadError(expected=f"at most {limit:,} bytes", where=shown(url))
                    if len(data) < (_announced(answer) or 0):
                        raise _Again("the answer was cut short")
                    _name_odd_answer(data, url)
                    return data, answer.headers.get("ETag")
            except _Again as fault:
                if failures == retries:
                    raise DownloadError(f"{fault}, {retries + 1} times", where=shown(url)) from fault
                _pause(failures, fault.pause)
                failures += 1


def _name_odd_answer(start: bytes, url: str) -> None:
    """Name an empty answer or a web page as what it is, before a digest only says that something is wrong."""
    if not start:
        raise DownloadError("the answer is empty", where=shown(url))
    if start[:256].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise DownloadError(
            "the answer is an HTML page, probably a login or an error page",
            where=shown(url),
            do="Open the address in a browser to see what it says.",
        )


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
            _refuse_offline(url)
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

    failures = 0
    with (
        _session() as session,
        tqdm(total=wanted.size, unit="B", unit_scale=True, desc=title, disable=None, leave=False) as bar,
    ):
        while True:
            before = part.size
            try:
                _attempt(session, url, part, wanted, bar)
                part.sync()
                return
            except _Again as fault:
                failures = 0 if part.size > before else failures + 1
                if failures > RETRIES:
                    raise DownloadError(
                        f"{fault}, {failures} times without progress",
                        where=shown(url),
                        do="What arrived is kept; the next call continues there.",
                    ) from fault
                logger.info("%s: %s after %s bytes; trying again", title, fault, f"{part.size:,}")
                _pause(failures, fault.pause)


def _attempt(session, url: str, part: _Part, wanted: Wanted, bar) -> None:
    """Read one answer to its end into `part`."""
    with _get(session, url, {"Range": f"bytes={part.size}-"} if part.size else {}) as answer:
        if answer.status_code == 416:
            part.restart()
            raise _Again("the server has nothing after the kept bytes")
        continues = f"bytes {part.size}-"
        if part.size and not (
            answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(continues)
        ):
            part.restart()
        total = _announced(answer)
        body = _body(answer)
        if part.size == 0:
            body = _named(answer, body, wanted, url)
        if wanted.size is not None and total not in (None, wanted.size):
            next(body, None)
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
        for piece in body:
            if wanted.size is not None and part.size + len(piece) > wanted.size:
                raise IntegrityError(expected=f"{wanted.size:,} bytes", found="more", where=shown(url))
            part.write(piece)
            bar.update(len(piece))
        if total is not None and part.size < total:
            raise _Again("the answer was cut short")


def _named(answer, body, wanted: Wanted, url: str):
    """`body`, after its first piece was looked at: an empty answer or a web page is an error of its own."""
    first = next(body, b"")
    if wanted.size != 0:
        _name_odd_answer(first, url)
    yield first
    yield from body


def _announced(answer) -> int | None:
    """Bytes of the whole file as the answer announces them."""
    if answer.status_code == 206:
        total = answer.headers.get("Content-Range", "").rpartition("/")[2]
        return int(total) if total.isdigit() else None
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None
