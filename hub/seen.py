"""What this machine has seen: which digest a registry gave for a version. Published versions never change."""

from __future__ import annotations

from pathlib import Path

from glorext.runtime import DataError, DiskFullError, IntegrityError, get_logger, sha256_bytes, write_json
from glorext.runtime.fields import Fields

from .cache import Cache

logger = get_logger("hub")


def _record(location: str, name: str, version: str) -> Path:
    return Cache().root / "seen" / name / f"{version}-{sha256_bytes(location.encode())[:16]}.json"


def require_unchanged(location: str, name: str, version: str, digest: str) -> None:
    """Raise IntegrityError when `location` gave NAME@VERSION with another manifest digest before."""
    path = _record(location, name, version)
    try:
        known = Fields.read(path).digest("sha256")
    except DataError as error:
        if path.exists():
            logger.warning("what was seen of %s@%s cannot be read: %s", name, version, error)
        return
    if known != digest:
        raise IntegrityError(
            expected=f"{name}@{version} with manifest sha256 {known}, as it was when this machine last saw it",
            found=digest,
            where=location,
            do=f"Ask its publisher what happened: published versions never change. Remove {path} to take the new one.",
        )


def remember(location: str, name: str, version: str, digest: str) -> None:
    """Note the digest; where the cache cannot be written, nothing is remembered."""
    path = _record(location, name, version)
    try:
        if not path.exists() or Fields.read(path).digest("sha256") != digest:
            Cache().folder("seen")
            seen = {"registry": location, "name": name, "version": version, "sha256": digest}
            write_json(path, seen, Cache().root)
    except (OSError, DataError, DiskFullError) as error:
        logger.debug("not remembered: %s", error)
