"""How OCI registries ask for a login, and what they are answered: Basic, or a token from where the challenge says.

A token is for one repository, so each repository whose address was registered has its own.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from glorext.runtime import DownloadError
from glorext.runtime.fields import Fields

from .logins import BY_TOKEN, Login, login_for
from .tokens import is_loopback

PARAMETER = re.compile(r'([a-zA-Z_]+)="([^"]*)"')
MAX_TOKEN_BYTES = 1 << 18
CLIENT = "glorext"
_headers: dict[str, str | None] = {}  # address of a repository -> the header `Authorization` for it
_tried: dict[str, Login] = {}  # host -> the login to use there, whatever is kept


@contextmanager
def trying(host: str, login: Login):
    """Within the block, answer `host` with this login."""
    _tried[host] = login
    try:
        yield
    finally:
        del _tried[host]


def register(address: str) -> None:
    """From now on challenges at this address, and below it, are answered."""
    _headers.setdefault(address, None)


def authorization(url: str) -> str | None:
    """The header `Authorization` for `url`, where a challenge was answered there before."""
    place = _place(url)
    return _headers[place] if place else None


def answer(session: Any, url: str, challenge: str | None, timeout: float) -> bool:
    """Answer the header WWW-Authenticate that came with status 401; whether there is something new to send.

    Raises:
        DownloadError: the registry refuses the login, or asks for it to be sent in the open.
        UsageError: docker's configuration cannot be read.
    """
    place, host = _place(url), urlsplit(url).netloc
    if place is None or not challenge:
        return False
    scheme, _, rest = challenge.partition(" ")
    asked: dict[str, str] = dict(PARAMETER.findall(rest))
    login, before = _tried.get(host) or login_for(host), _headers[place]
    if scheme.lower() == "basic" and login:
        _headers[place] = login.basic
    elif scheme.lower() == "bearer" and asked.get("realm"):
        _headers[place] = "Bearer " + _token(session, asked, login, host, timeout)
        return True
    return _headers[place] != before


def _place(url: str) -> str | None:
    """The registered address at or above `url`, the nearest; nothing goes through all, which other threads add to."""
    place = url.partition("?")[0]
    while place and place not in _headers:
        place = place[: place.rstrip("/").rfind("/") + 1]
    return place or None


def _token(session: Any, asked: dict[str, str], login: Login | None, host: str, timeout: float) -> str:
    realm = asked["realm"]
    parts = urlsplit(realm)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise DownloadError("it wants its login sent in the open", where=f"{host}: realm {realm[:200]!r}")
    wanted: dict[str, str] = {key: asked[key] for key in ("service", "scope") if key in asked}
    options: dict[str, Any] = {"timeout": timeout, "allow_redirects": False, "stream": True}
    if login and login.name == BY_TOKEN:
        form = wanted | {"grant_type": "refresh_token", "refresh_token": login.secret, "client_id": CLIENT}
        got = session.post(realm, data=form, **options)
    else:
        signed = {"Authorization": login.basic} if login else None
        # with a function in `auth` the library adds no login of its own
        got = session.get(realm, params=wanted, headers=signed, auth=lambda request: request, **options)
    with got:
        if got.status_code != 200:
            raise DownloadError(
                f"it gives no token (status {got.status_code})",
                where=f"{host}: realm {realm[:200]}",
                do=f"`glorext login {host}` gives it a name and password" + (", other ones." if login else "."),
            )
        data = got.raw.read(MAX_TOKEN_BYTES, decode_content=True)
    fields = Fields.parse(data, f"the token of {host}", None, DownloadError)
    return fields.take("token" if "token" in fields else "access_token", str)
