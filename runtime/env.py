"""The one place that reads glorext's environment variables."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import UsageError


def cache_dir() -> Path:
    """The cache folder: GLOREXT_CACHE, else the platform's own. Not created here."""
    value = os.environ.get("GLOREXT_CACHE")
    if value:
        return Path(value).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("glorext"))


def registries() -> list[str]:
    """The registries to search first, in order: the entries of GLOREXT_REGISTRIES, separated by commas."""
    return [part.strip() for part in os.environ.get("GLOREXT_REGISTRIES", "").split(",") if part.strip()]


def lock_file() -> Path | None:
    """The file with the pinned versions of names, from GLOREXT_LOCK."""
    value = os.environ.get("GLOREXT_LOCK")
    return Path(value).expanduser().absolute() if value else None


def offline() -> bool:
    """Whether GLOREXT_OFFLINE forbids every use of the network."""
    value = os.environ.get("GLOREXT_OFFLINE", "").strip().lower()
    if value in ("", "0", "false", "no", "off"):
        return False
    if value in ("1", "true", "yes", "on"):
        return True
    raise UsageError(expected="0 or 1", found=repr(value), where="GLOREXT_OFFLINE", do="Set it to 1, or unset it.")


def mindspore_lite_home() -> Path | None:
    """The folder of an unpacked MindSpore Lite SDK, from MINDSPORE_LITE_HOME."""
    value = os.environ.get("MINDSPORE_LITE_HOME")
    return Path(value).expanduser().absolute() if value else None
