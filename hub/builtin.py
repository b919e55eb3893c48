"""The built-in registry: checkpoints that others published, with the digests and accuracies on their cards.

`builtin_models/*.json` holds one file per checkpoint. They are single files behind URLs, not packages: there is no
evidence of ours, and no label list.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from glorext.runtime import RegistryError
from glorext.runtime.fields import Fields

from .download import Wanted
from .manifest import NAME, VERSION, VERSION_FORM

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
    license: str
    uids: tuple[str, ...]

    @property
    def wanted(self) -> Wanted:
        """What a download of it is held against."""
        return Wanted(sha256=self.sha256, sha256_prefix=self.sha256_prefix)


def read_published(path: Path) -> PublishedCheckpoint:
    """A PublishedCheckpoint from its file; a RegistryError names the field that is wrong."""
    fields = Fields.read(path, SCHEMA, RegistryError)
    published = PublishedCheckpoint(
        name=fields.matching("name", NAME, "a package name"),
        version=fields.matching("version", VERSION, VERSION_FORM),
        network=fields.take("network", str),
        url=fields.take("url", str),
        sha256=fields.digest("sha256", optional=True),
        sha256_prefix=fields.take("sha256_prefix", str, optional=True),
        top1=fields.fraction("top1"),
        top5=fields.fraction("top5"),
        published_by=fields.take("published_by", str),
        license=fields.take("license", str),
        uids=fields.values("uids", str),
    )
    fields.done()
    if bool(published.sha256) == bool(published.sha256_prefix):
        raise fields.wrong("sha256 or sha256_prefix", "both or none")
    return published


@lru_cache(maxsize=1)
def published_checkpoints() -> tuple[PublishedCheckpoint, ...]:
    """All of them, in the order of their names and versions."""
    return tuple(read_published(path) for path in sorted((Path(__file__).parent / "builtin_models").glob("*.json")))
