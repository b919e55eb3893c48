"""The built-in registry: checkpoints that others published, with the digests and accuracies on their cards.

`builtin_models/*.json` holds one file per checkpoint. They are single files behind URLs, not packages: there is no evidence of
ours, and no label list.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from glorext.runtime import RegistryError, read_json

from .download import Wanted
from .manifest import NAME, VERSION, Fields

SCHEMA = "glorext.published/1"
LOCATION = "built in"


@dataclass(frozen=True)
class PublishedCheckpoint:
    """A checkpoint of others: where it is, what is known of its bytes, what its authors report, not measured here."""

    name: str
    version: str
    network: str
    url: str
    sha256: str | None
    sha256_prefix: str | None
    top1: float
    top5: float
    published_by: str
    licence: str
    uids: tuple[str, ...]

    @property
    def wanted(self) -> Wanted:
        """What a download of it is held against."""
        return Wanted(sha256=self.sha256, sha256_prefix=self.sha256_prefix)


def parse_published(value, where: str) -> PublishedCheckpoint:
    """A PublishedCheckpoint from JSON; a RegistryError names the field that is wrong."""
    fields = Fields(value, where, RegistryError)
    if (schema := fields.take("schema", str)) != SCHEMA:
        raise RegistryError(expected=f"schema {SCHEMA!r}", found=repr(schema), where=where)
    published = PublishedCheckpoint(
        name=fields.matching("name", NAME, "a package name"),
        version=fields.matching("version", VERSION, "a version of the form 1.0.0"),
        network=fields.take("network", str),
        url=fields.take("url", str),
        sha256=fields.take("sha256", str, optional=True),
        sha256_prefix=fields.take("sha256_prefix", str, optional=True),
        top1=fields.take("top1", float),
        top5=fields.take("top5", float),
        published_by=fields.take("published_by", str),
        licence=fields.take("licence", str),
        uids=tuple(fields.take("uids", list)),
    )
    fields.done()
    if bool(published.sha256) == bool(published.sha256_prefix):
        raise RegistryError(expected="sha256 or sha256_prefix", found="both or none", where=where)
    return published


@lru_cache(maxsize=1)
def published_checkpoints() -> tuple[PublishedCheckpoint, ...]:
    """All of them, in the order of their names and versions."""
    return tuple(
        parse_published(read_json(path), path.name)
        for path in sorted((Path(__file__).parent / "builtin_models").glob("*.json"))
    )
