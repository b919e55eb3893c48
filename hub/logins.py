"""Names and passwords for OCI registries, where docker, skopeo and oras keep them: `config.json` and helpers."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from glorext.runtime import UsageError, atomic_path, env
from glorext.runtime.files import parse_json

HELPER_SECONDS = 60
BY_TOKEN = "<token>"  # in place of a name, where the secret is a token to be exchanged


class Login(NamedTuple):
    """A name and its password or token."""

    name: str
    secret: str

    @property
    def basic(self) -> str:
        """The header `Authorization` that carries both."""
        return "Basic " + base64.b64encode(f"{self.name}:{self.secret}".encode()).decode()


def login_for(host: str) -> Login | None:
    """The login for a registry: of docker's helper for it, of docker's `config.json`, or of ~/.netrc.

    Raises:
        UsageError: the file cannot be read, or a helper that it names cannot be run.
    """
    path = env.docker_config()
    config = _read(path) if path else {}
    helper = _helper(config, host)
    if helper and path and (found := _ask(helper, host, path)):
        return found
    entry = next((entry for place, entry in _table(config, "auths").items() if _host(place) == host), None)
    return _of_entry(entry) or _of_netrc(host)


def keep_login(host: str, login: Login) -> str:
    """Keep a login where docker would; the words for where that is."""
    path = env.docker_config()
    if path is None:
        raise UsageError(expected="a home folder", found="none", do="Set DOCKER_CONFIG to a folder.")
    config = _read(path)
    helper = _helper(config, host)
    if helper:
        given = {"ServerURL": host, "Username": login.name, "Secret": login.secret}
        _run(helper, "store", json.dumps(given), path)
        return f"docker-credential-{helper}"
    auths = _table(config, "auths")
    auths[host] = {"auth": base64.b64encode(f"{login.name}:{login.secret}".encode()).decode()}
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        os.chmod(temporary, 0o600)
        temporary.write_text(json.dumps({**config, "auths": auths}, indent=2) + "\n", encoding="utf-8")
    os.chmod(path, 0o600)
    return str(path)


def _read(path: Path) -> dict:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(expected="docker's configuration", found=error.strerror, where=path) from error
    found = parse_json(data, path)
    if not isinstance(found, dict):
        raise UsageError(expected="docker's configuration, a JSON object", found="something else", where=path)
    return found


def _table(config: dict, key: str) -> dict:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _helper(config: dict, host: str) -> str | None:
    """The name of the credential helper that keeps the login for `host`."""
    return _text(_table(config, "credHelpers").get(host) or config.get("credsStore"))


def _text(value) -> str | None:
    return value if isinstance(value, str) and value else None


def _host(place: str) -> str:
    """The host of a key of `auths`, which may be an address."""
    return place.partition("://")[2].partition("/")[0] if "://" in place else place


def _of_entry(entry) -> Login | None:
    if not isinstance(entry, dict):
        return None
    if token := _text(entry.get("identitytoken")):
        return Login(BY_TOKEN, token)
    try:
        name, colon, secret = base64.b64decode(entry.get("auth") or "").decode().partition(":")
    except (ValueError, TypeError):
        return None
    if colon:
        return Login(name, secret)
    name, secret = _text(entry.get("username")) or "", _text(entry.get("password")) or ""
    return Login(name, secret) if name and secret else None


def _of_netrc(host: str) -> Login | None:
    from requests.utils import get_netrc_auth

    found = get_netrc_auth(f"https://{host}")
    return Login(*found) if found else None


def _ask(helper: str, host: str, path: Path) -> Login | None:
    done = _run(helper, "get", host, path, needed=False)
    if done is None:
        return None
    found = parse_json(done, f"the answer of docker-credential-{helper}")
    name, secret = (_text(found.get(key)) if isinstance(found, dict) else None for key in ("Username", "Secret"))
    return Login(name, secret) if name and secret else None


def _run(helper: str, action: str, given: str, path: Path, needed: bool = True) -> bytes | None:
    """What a credential helper answers; None where it knows nothing and need not."""
    command = [f"docker-credential-{os.path.basename(helper)}", action]
    try:
        done = subprocess.run(command, input=given.encode(), capture_output=True, timeout=HELPER_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            expected=f"the program {command[0]}",
            found=getattr(error, "strerror", None) or f"no answer in {HELPER_SECONDS} s",
            where=path,
            do="Install it, or take its name out of that file.",
        ) from error
    if done.returncode == 0:
        return done.stdout
    if needed:
        raise UsageError(expected=f"{command[0]} to keep the login", found=f"status {done.returncode}", where=path)
    return None
