"""Tokens for registries behind plain web servers: one for each host, and never sent to another."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from glorext.runtime import DownloadError, env

BEARER = "bearer"  # as the login in ~/.netrc


def token(url: str) -> str | None:
    """The token for the host of `url`: of GLOREXT_TOKENS, or of a line of ~/.netrc whose login is "bearer".

    Raises:
        DownloadError: there is one, but the address is plain http, and not this machine's own.
        UsageError: GLOREXT_TOKENS cannot be read.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    tokens = env.tokens()
    found = tokens.get(host) or tokens.get((parts.hostname or "").lower()) or _of_netrc(url)
    if found and parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise DownloadError(
            "a token is for https only: plain http shows it to everybody on the way",
            where=f"{parts.scheme}://{host}",
            do="Write https: in the registry's address, or take its token away.",
        )
    return found


def _of_netrc(url: str) -> str | None:
    from requests.utils import get_netrc_auth

    login = get_netrc_auth(url)
    return login[1] if login and login[0].lower() == BEARER else None


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine, so that nothing leaves it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
