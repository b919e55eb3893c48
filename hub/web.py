"""Requests that end in time: every answer, redirect and header is a stranger's, and every fault is said in words."""

from __future__ import annotations

import queue
import random
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit, urlunsplit

from glorext.runtime import DownloadError, MissingFileError, env, get_logger

from . import challenges, reasons
from .tokens import token

logger = get_logger("hub")
CONNECT_SECONDS, READ_SECONDS = 10.0, 15.0
CHUNK = 1 << 20
PROGRESS = 1 << 16
RETRIES = 5
BACKOFF_SECONDS, LONGEST_PAUSE = 0.3, 20.0
RETRIED = {408, 425, 429, 500, 502, 503, 504}
REDIRECTS, MAX_REDIRECTS = {301, 302, 303, 307, 308}, 10
LFS = b"version https://git-lfs.github.com/spec/"
T = TypeVar("T")


class Again(Exception):
    """An attempt failed in a way that may pass; `pause` is how long the server asked to wait."""

    def __init__(self, reason: str, pause: float = 0.0, do: str | None = None):
        super().__init__(reason)
        self.pause, self.do = pause, do


class Budget:
    """The seconds that a request may take as a whole, all attempts together (GLOREXT_TIMEOUT).

    For a large file they are counted anew with each 64 kB that arrive, so that a slow network may bring it and a server
    that drips cannot hold anybody.
    """

    def __init__(self):
        self.seconds, self._fresh = env.timeout(), 0
        self._end = time.monotonic() + self.seconds

    def left(self) -> float:
        """Seconds until it is used up."""
        return max(0.0, self._end - time.monotonic())

    def arrived(self, nbytes: int) -> None:
        """Count bytes of a large file."""
        self._fresh += nbytes
        if self._fresh >= PROGRESS:
            self._end, self._fresh = time.monotonic() + self.seconds, 0

    def used_up(self, where: str, why: object = None, do: str | None = None) -> DownloadError:
        """The error to raise."""
        return DownloadError(
            f"no whole answer within {self.seconds:g} s" + (f": {why}" if why else ""),
            where=where,
            do=do or "GLOREXT_TIMEOUT=SECONDS allows more.",
        )


class Behind(threading.Thread):
    """`call()` in a thread that ends with the process: name servers and dripping headers know no other bound."""

    def __init__(self, call: Callable[[], Any]):
        super().__init__(daemon=True)
        self._call, self._done = call, queue.SimpleQueue[tuple[Any, BaseException | None]]()
        self.start()

    def run(self) -> None:
        """For the thread alone."""
        try:
            self._done.put((self._call(), None))
        except BaseException as error:
            self._done.put((None, error))

    def wait(self, seconds: float) -> Any:
        """What `call` gave or raised; TimeoutError when it takes longer."""
        try:
            value, error = self._done.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None
        if error:
            raise error
        return value


def shown(url: str) -> str:
    """`url` without user name, password and query (which may be a signature), for messages and logs."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def refuse_offline(url: str) -> None:
    """Raise DownloadError where GLOREXT_OFFLINE forbids the network."""
    if env.offline():
        raise DownloadError(
            f"GLOREXT_OFFLINE is set, and {shown(url)} is not in the cache",
            do="Unset GLOREXT_OFFLINE, or load it once on a machine with the same cache.",
        )


def session():
    """A session of `requests` that follows no redirect and asks for bytes as they are."""
    import requests

    from glorext.runtime import version

    class Session(requests.Session):
        def resolve_redirects(self, *args, **kwargs):
            # the library's own reads a redirect's body to its end and unpacks it, whatever its size
            return iter(())

    opened = Session()
    # identity: a compressed answer has another length than the file, and Range counts its bytes
    opened.headers.update({"User-Agent": f"glorext/{version()}", "Accept-Encoding": "identity"})
    return opened


def get(session, url: str, headers: dict, budget: Budget):
    """An answer whose body was not read yet; Again for passing faults, DownloadError for final ones."""
    import requests
    import urllib3

    try:
        answer = Behind(lambda: _followed(session, url, headers, budget)).wait(budget.left())
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError, OSError) as error:
        words, do, passes = reasons.of_error(error)
        if passes:
            raise Again(words, do=do) from None
        # not from the error, which would show a hundred lines of the libraries below
        raise DownloadError(words, where=shown(url), do=do) from None
    code = answer.status_code
    if code in RETRIED:
        answer.close()
        raise Again(f"status {code}", min(_number(answer.headers.get("Retry-After")) or 0, LONGEST_PAUSE))
    if code not in (200, 206, 304, 416):
        answer.close()
        words, do = reasons.of_status(code, answer.reason)
        raise (MissingFileError if code in (404, 410) else DownloadError)(words, where=shown(url), do=do)
    return answer


def _followed(session, url: str, headers: dict, budget: Budget):
    """The answer at the end of all redirects, of which no body is read."""
    asked = False
    for _ in range(MAX_REDIRECTS + 2):
        answer = session.get(
            url,
            headers=headers,
            stream=True,
            auth=signed(url),
            timeout=(min(CONNECT_SECONDS, budget.left()), min(READ_SECONDS, budget.left())),
        )
        if answer.status_code == 401 and not asked:
            asked = True
            if challenges.answer(
                session, url, answer.headers.get("WWW-Authenticate"), min(READ_SECONDS, budget.left())
            ):
                answer.close()
                continue
        target = session.get_redirect_target(answer) if answer.status_code in REDIRECTS else None
        if target is None:
            return answer
        answer.close()
        url = _redirected(url, target)
    raise DownloadError("it redirects without end", where=shown(url))


def _redirected(url: str, target: str) -> str:
    before, after = urlsplit(url), urlsplit(urljoin(url, target))
    if before.scheme == "https" and after.scheme != "https":
        raise DownloadError(
            f"an https address redirects to plain {after.scheme}",
            where=shown(url),
            do="In a guest network, open any page in a browser and log in there.",
        )
    if before.netloc.rpartition("@")[2] == after.netloc and before.scheme == after.scheme:
        after = after._replace(netloc=before.netloc)
    return urlunsplit(after)


def signed(url: str):
    """What `requests` takes as `auth` for a request to `url`; None leaves it what the address or ~/.netrc has."""
    header = challenges.authorization(url)
    if header is None and (found := token(url)):
        header = f"Bearer {found}"
    if header is None:
        return None

    def sign(request):
        request.headers["Authorization"] = header
        return request

    return sign


def pause(failures: int, asked: float, budget: Budget) -> None:
    """Wait before the next attempt."""
    # jitter: many processes that lost the same server must not return together
    wanted = max(asked, min(BACKOFF_SECONDS * 2**failures * random.uniform(0.5, 1.5), LONGEST_PAUSE))
    time.sleep(min(wanted, budget.left()))


def body(answer, budget: Budget) -> Iterator[bytes]:
    """The pieces of an answer as they arrive, none larger than 1 MiB, unpacked where the server packed them unasked."""
    packing = answer.headers.get("Content-Encoding", "").strip().lower()
    if packing in ("", "identity"):
        return _arriving(answer, budget)
    if packing in ("gzip", "x-gzip"):
        return _unpacked(_arriving(answer, budget), answer.url)
    raise DownloadError(
        f"the server packs its answer ({packing}) although it was asked not to",
        where=shown(answer.url),
        do="Switch compression off there for a registry's files.",
    )


def _arriving(answer, budget: Budget) -> Iterator[bytes]:
    import urllib3

    try:
        # read1 hands out what has arrived, so that little is lost when this process dies
        while piece := answer.raw.read1(CHUNK, decode_content=False):
            yield piece
            if not budget.left():
                raise Again("it sends, but hardly anything")
    except (urllib3.exceptions.HTTPError, OSError) as error:
        silent = isinstance(error, (urllib3.exceptions.ReadTimeoutError, TimeoutError))
        raise Again(
            "the server fell silent" if silent else f"the connection broke off ({type(error).__name__})"
        ) from error


def _unpacked(pieces: Iterator[bytes], url: str) -> Iterator[bytes]:
    packed = zlib.decompressobj(wbits=31)
    try:
        for piece in pieces:
            while piece and not packed.eof:
                if part := packed.decompress(piece, CHUNK):
                    yield part
                piece = packed.unconsumed_tail
        yield packed.flush()
    except zlib.error as error:
        raise DownloadError("an answer that is called gzip is none", where=shown(url)) from error
    if not packed.eof:
        raise Again("the answer was cut short")


def is_packed(answer) -> bool:
    """Whether lengths and ranges in the answer count other bytes than the file's."""
    return answer.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity")


def announced(answer) -> int | None:
    """Bytes of the whole file as the answer announces them; None where it does not."""
    if is_packed(answer):
        return None
    if answer.status_code == 206:
        return _number(answer.headers.get("Content-Range", "").rpartition("/")[2])
    return _number(answer.headers.get("Content-Length"))


def _number(text: str | None) -> int | None:
    """A header's whole number; None for anything else, or one that no file has."""
    return int(text) if text and re.fullmatch("[0-9]{1,15}", text) else None


def odd_content(start: bytes, kind: str = "") -> tuple[str, str | None] | None:
    """What the first bytes of a file are instead of one of a registry's, and what to do; `kind` is its Content-Type."""
    head = start[:256].lstrip().lower()
    if not start:
        return "the answer is empty", None
    if start.startswith(LFS):
        return (
            "it is a pointer of Git LFS, not the file itself",
            "Run `git lfs pull` where the registry lies, or give the address that serves the files themselves.",
        )
    if head.startswith((b"<!doctype html", b"<html")) or (head.startswith(b"<") and "html" in kind.lower()):
        return (
            "the answer is an HTML page, probably a login or an error page",
            "Open the address in a browser to see what it says.",
        )
    return None


def name_odd_answer(answer, start: bytes, url: str) -> None:
    """Name an empty answer or a web page as what it is, before a digest only says that something is wrong."""
    if odd := odd_content(start, answer.headers.get("Content-Type", "")):
        raise DownloadError(odd[0], where=shown(url), do=odd[1])
