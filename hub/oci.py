"""One repository of an OCI registry: its tags, manifests and blobs, by the distribution specification 1.1."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from glorext.runtime import (
    DataError,
    DownloadError,
    MissingFileError,
    RegistryError,
    get_logger,
    sha256_bytes,
    write_json,
)
from glorext.runtime.fields import Fields

from . import challenges, reasons
from .cache import Cache
from .download import get_small
from .tokens import is_loopback
from .web import CONNECT_SECONDS, RETRIES, Budget, pause, refuse_offline, session, shown, signed

logger = get_logger("hub")
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
MAX_BYTES = 4 << 20  # of a manifest, as registries have it, and of a page of a listing
PIECE = 16 << 20  # of an upload: what is sent again where one breaks off
SEND_SECONDS = 300.0  # for a piece
NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')
MAX_PAGES = 100
SAID = 10_000  # bytes of an answer's body that are read


def address(host: str) -> str:
    """Where the API of a registry begins: https, but on this machine itself."""
    name = urlsplit(f"//{host}").hostname or ""
    return f"{'http' if is_loopback(name) else 'https'}://{host}/v2/"


class Repository:
    """A repository.

    Args:
        host: of the registry, with its port where it has one.
        path: of the repository, such as "models/resnext50".
    """

    def __init__(self, host: str, path: str):
        self.base = f"{address(host)}{path}/"
        self.location = f"oci://{host}/{path}"
        challenges.register(self.base)

    def tags(self) -> list[str]:
        """All tags; none where the registry has no such repository."""
        try:
            return list(listed(f"{self.base}tags/list", "tags"))
        except MissingFileError:
            return []

    def manifest(self, tag: str) -> bytes | None:
        """The bytes of the manifest of a tag; None where there is none."""
        try:
            return get_small(f"{self.base}manifests/{tag}", MAX_BYTES, {"Accept": MANIFEST_TYPE})[0]
        except MissingFileError:
            return None

    def blob(self, sha256: str) -> str:
        """The address of a blob."""
        return f"{self.base}blobs/sha256:{sha256}"

    def put_manifest(self, tag: str, data: bytes) -> None:
        """Let `tag` be this manifest, whose blobs are there."""
        with Sending(self) as sending:
            sending("PUT", f"{self.base}manifests/{tag}", (201,), data, {"Content-Type": MANIFEST_TYPE})

    def put_blob(self, source: Path | bytes, sha256: str, size: int, title: str) -> bool:
        """Bring a file or bytes into the repository; False where it has them already.

        A file goes in pieces; where an earlier call was stopped, this one goes on after the last whole piece.

        Raises:
            RegistryError, DownloadError: the registry does not take it.
        """
        with Sending(self) as sending:
            if sending("HEAD", self.blob(sha256), (200, 404)).status_code == 200:
                return False
            upload = _Upload(sending, sha256)
            if isinstance(source, bytes):
                upload.finish(source)
            else:
                upload.send(source, size, title)
            return True


def listed(url: str, key: str) -> Iterator[str]:
    """The strings under `key` of a listing, of all its pages.

    Raises:
        MissingFileError: there is none.
        DownloadError: it cannot be read.
    """
    for _ in range(MAX_PAGES):
        data, headers = get_small(url, MAX_BYTES, {})
        assert data is not None  # nothing was said to be kept
        found = Fields.parse(data, shown(url), None, DownloadError).rest().get(key)
        yield from (text for text in found or [] if isinstance(text, str))
        after = NEXT.search(headers.get("Link", ""))
        if not after:
            return
        following = urljoin(url, after[1])
        if urlsplit(following)[:2] != urlsplit(url)[:2]:
            raise DownloadError("the next page of its listing lies elsewhere", where=shown(url))
        url = following
    raise DownloadError(f"a listing of more than {MAX_PAGES} pages", where=shown(url))


class Answer(NamedTuple):
    """What a registry answered to something that changes it; `said` is the beginning of the body."""

    status_code: int
    reason: str
    headers: Mapping[str, str]
    url: str
    said: bytes


class Sending:
    """A session for what changes a repository."""

    def __init__(self, repository: Repository):
        self.repository = repository
        refuse_offline(repository.base)

    def __enter__(self) -> Sending:
        self._session = session()
        return self

    def __exit__(self, *failure) -> None:
        self._session.close()

    def __call__(
        self, method: str, url: str, accepted: tuple[int, ...], data: bytes | None = None, headers=None
    ) -> Answer:
        """The answer, whose status is one of `accepted`; a login is given where it is asked for.

        Raises:
            RegistryError: another status; the message has what the registry says.
            DownloadError: no answer.
        """
        answer = self._once(method, url, data, headers)
        if answer.status_code == 401 and challenges.answer(
            self._session, url, answer.headers.get("WWW-Authenticate"), CONNECT_SECONDS
        ):
            answer = self._once(method, url, data, headers)
        if answer.status_code not in accepted:
            words, do = reasons.of_status(answer.status_code, answer.reason)
            raise RegistryError(f"{words}{_said(answer.said)}", where=self.repository.location, do=do)
        return answer

    def _once(self, method: str, url: str, data: bytes | None, headers) -> Answer:
        import requests
        import urllib3

        try:
            with self._session.request(
                method,
                url,
                data=data,
                headers={"Content-Length": "0", **(headers or {})} if data is None and method != "HEAD" else headers,
                auth=signed(url),
                timeout=(CONNECT_SECONDS, SEND_SECONDS),
                allow_redirects=False,
                stream=True,
            ) as answer:
                said = answer.raw.read(SAID)
                return Answer(answer.status_code, answer.reason, answer.headers, answer.url, said)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            words, do, _ = reasons.of_error(error)
            raise DownloadError(words, where=self.repository.location, do=do) from None


def _said(data: bytes) -> str:
    """What the registry says of its refusal."""
    try:
        first = json.loads(data)["errors"][0]
        return f" ({ascii(first.get('code'))[1:-1]}: {ascii(first.get('message'))[1:201]})"
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""


class _Upload:
    """The upload of one blob."""

    def __init__(self, sending: Sending, sha256: str):
        self.sending, self.sha256 = sending, sha256
        self.base, self.at = sending.repository.base, ""
        kept = sha256_bytes(f"{self.base} {sha256}".encode())
        self.record = Cache().root / "uploads" / f"{kept}.json"

    def begin(self) -> None:
        """Ask for a place to upload to."""
        self._moved(self.sending("POST", f"{self.base}blobs/uploads/", (202,)))

    def finish(self, data: bytes = b"") -> None:
        """Send the rest, and say which blob that was."""
        if not self.at:
            self.begin()
        joint = "&" if urlsplit(self.at).query else "?"
        headers = {"Content-Type": "application/octet-stream"}
        self.sending("PUT", f"{self.at}{joint}digest=sha256:{self.sha256}", (201,), data, headers)
        self.record.unlink(missing_ok=True)

    def send(self, path: Path, size: int, title: str) -> None:
        """Send a file in pieces, from where an earlier call was stopped; a small one at once."""
        from tqdm import tqdm

        if size <= PIECE:
            self.finish(path.read_bytes())
            return
        there, failures, budget = self._resumed(), 0, Budget()
        with (
            open(path, "rb") as file,
            tqdm(total=size, initial=there, unit="B", unit_scale=True, desc=title, disable=None, leave=False) as bar,
        ):
            while there < size:
                file.seek(there)
                piece = file.read(PIECE)
                try:
                    self._patch(piece, there)
                except DownloadError as fault:
                    if failures == RETRIES:
                        raise
                    logger.info("%s: %s; trying again", self.sending.repository.location, fault)
                    pause(failures, 0, budget)
                    failures, there = failures + 1, self._resumed()
                    continue
                there, failures = there + len(piece), 0
                bar.update(len(piece))
        self.finish()

    def _patch(self, piece: bytes, there: int) -> None:
        headers = {"Content-Type": "application/octet-stream", "Content-Range": f"{there}-{there + len(piece) - 1}"}
        self._moved(self.sending("PATCH", self.at, (202,), piece, headers))
        Cache().folder("uploads")
        write_json(self.record, {"at": self.at}, Cache().root)

    def _resumed(self) -> int:
        """How many bytes the registry has of an upload that was begun; begin one where it has none."""
        try:
            self.at = Fields.read(self.record).take("at", str)
            if not self.at.startswith(self.base):
                raise RegistryError("it was begun elsewhere")
            answer = self.sending("GET", self.at, (204,))
            first, _, last = answer.headers.get("Range", "").partition("-")
            self._moved(answer)
            if first == "0" and last.isdecimal() and len(last) < 16:
                return int(last) + 1
        except (RegistryError, DataError):
            pass  # it was too long ago, or nothing was begun
        self.begin()
        return 0

    def _moved(self, answer) -> None:
        """Note where the registry wants the next piece."""
        after = urljoin(answer.url, answer.headers.get("Location", ""))
        if urlsplit(after)[:2] != urlsplit(self.base)[:2]:
            raise RegistryError("it wants the upload elsewhere", where=self.sending.repository.location)
        self.at = after
