"""The one place that reads glorext's environment variables."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .errors import UsageError


def cache_dir() -> Path:
    """The cache folder: GLOREXT_CACHE, else the platform's own. Not created here."""
    value = os.environ.get("GLOREXT_CACHE")
    if value:
        return _path(value, "GLOREXT_CACHE")
    import platformdirs

    try:
        folder = platformdirs.user_cache_dir("glorext")
    except RuntimeError:
        folder = ""
    if not os.path.isabs(folder):
        raise UsageError(expected="a home folder for the cache", found="none", do="Set GLOREXT_CACHE to a folder.")
    return Path(folder)


def _path(value: str, where: str) -> Path:
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError as error:
        raise UsageError(expected="a folder", found=f"{value!r}, and no home folder", where=where) from error


def registries() -> list[str]:
    """The registries to search first, in order: the entries of GLOREXT_REGISTRIES, separated by commas."""
    return [part.strip() for part in os.environ.get("GLOREXT_REGISTRIES", "").split(",") if part.strip()]


def lock_file() -> Path | None:
    """The file with the pinned versions of names, from GLOREXT_LOCK."""
    value = os.environ.get("GLOREXT_LOCK")
    return _path(value, "GLOREXT_LOCK") if value else None


def offline() -> bool:
    """Whether GLOREXT_OFFLINE forbids every use of the network."""
    value = os.environ.get("GLOREXT_OFFLINE", "").strip().lower()
    if value in ("", "0", "false", "no", "off"):
        return False
    if value in ("1", "true", "yes", "on"):
        return True
    raise UsageError(expected="0 or 1", found=repr(value), where="GLOREXT_OFFLINE", do="Set it to 1, or unset it.")


def timeout() -> float:
    """The seconds that a request may take as a whole, from GLOREXT_TIMEOUT: 60 unless set."""
    value = os.environ.get("GLOREXT_TIMEOUT", "").strip() or "60"
    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", value) and float(value) > 0:
        return float(value)
    raise UsageError(expected="seconds, more than 0", found=repr(value), where="GLOREXT_TIMEOUT")


def tokens() -> dict[str, str]:
    """Host (with its port where that is given) -> token, from GLOREXT_TOKENS: HOST=TOKEN, separated by commas."""
    entries = [part.strip() for part in os.environ.get("GLOREXT_TOKENS", "").split(",") if part.strip()]
    for entry in entries:
        # a token is shown to nobody, not in an error either
        if not re.fullmatch(r"[A-Za-z0-9.:\[\]-]+=[!-~]+", entry):
            raise UsageError(
                expected="HOST=TOKEN, or several of these with commas between them",
                found=f"{len(entries)} entries, of which one is another",
                where="GLOREXT_TOKENS",
            )
    return {host.lower(): token for host, _, token in (entry.partition("=") for entry in entries)}


def docker_config() -> Path | None:
    """docker's configuration file, which may not be there: of the folder DOCKER_CONFIG, else ~/.docker.

    None where there is no home folder.
    """
    if value := os.environ.get("DOCKER_CONFIG"):
        return _path(value, "DOCKER_CONFIG") / "config.json"
    try:
        return Path("~/.docker/config.json").expanduser()
    except RuntimeError:
        return None


def mindspore_lite_home() -> Path | None:
    """The folder of an unpacked MindSpore Lite SDK, from MINDSPORE_LITE_HOME."""
    value = os.environ.get("MINDSPORE_LITE_HOME")
    return _path(value, "MINDSPORE_LITE_HOME") if value else None
