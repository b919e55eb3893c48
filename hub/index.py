"""The index of a registry: which versions of which packages there are, with the digest of each manifest.

index.json      all of it while a registry is small; from SHARDED_FROM packages on only how many parts there are
index/xx.json   a part of a large one: the packages whose name's SHA-256 begins with xx
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from glorext.runtime import RegistryError, sha256_bytes, write_json
from glorext.runtime.fields import Fields

from .manifest import MAX_MANIFEST_BYTES, NAME, VERSION, FileEntry, Manifest

SCHEMA = "glorext.registry/1"
INDEX = "index.json"
MAX_INDEX_BYTES = 64 << 20
SHARDED_FROM, SHARDS = 1000, 256  # packages; parts, as many as two hexadecimal digits name
NOTICES = ("yanked", "deprecated")  # keys of a release, with the reason that its publisher gave
REINDEX = "`glorext reindex FOLDER` makes the index again from the packages."
AT_ONCE = 8
VERSIONS = "versions such as 1.0.0"


@dataclass(frozen=True)
class Release:
    """One version of a package, as the index describes it."""

    manifest: FileEntry
    network: str
    summary: str
    license: str
    num_classes: int
    size: int
    top1: float | None
    count: int | None
    yanked: str | None = None
    deprecated: str | None = None

    @classmethod
    def of(cls, manifest: Manifest, evidence) -> Release:
        """What the index says of a package; `evidence` is its Evidence or None."""
        data = manifest.to_bytes()
        return cls(
            manifest=FileEntry(len(data), sha256_bytes(data)),
            network=manifest.network,
            summary=manifest.summary,
            license=manifest.license,
            num_classes=manifest.num_classes,
            size=manifest.size,
            top1=evidence and evidence.top1,
            count=evidence and evidence.count,
        )

    def to_dict(self) -> dict:
        """The JSON form; a notice that nobody gave has no key."""
        given = {key: value for key, value in vars(self).items() if key not in NOTICES or value is not None}
        return {**given, "manifest": vars(self.manifest)}


Packages = dict[str, dict[str, Release]]  # name -> version -> release


@dataclass(frozen=True)
class IndexFile:
    """A file of an index: its packages; or, of a large index, that they stand in the files of `shard_of`."""

    packages: Packages
    sharded: bool = False


def shard_of(name: str) -> str:
    """The file of a large index that lists the package `name`, relative to the registry's root."""
    return f"index/{sha256_bytes(name.encode())[:2]}.json"


ALL_SHARDS = tuple(f"index/{number:02x}.json" for number in range(SHARDS))


def parse_index(data: bytes, where, do: str | None = None) -> IndexFile:
    """A file of an index from its bytes.

    Keys that nobody here knows are passed over: one registry serves older and newer readers. What a package is, its
    manifest says, and that is read strictly. `do` is what the user can do about a bad one.

    Raises:
        RegistryError: not an index; the message names the field.
    """
    top = Fields.parse(data, where, SCHEMA, RegistryError, do)
    if "shards" in top:
        top.count("shards", SHARDS, SHARDS)
        return IndexFile({}, sharded=True)
    packages = top.inner("packages")
    index: Packages = {}
    for name in packages.names(NAME, "package names of at most 64 characters"):
        versions = packages.inner(name)
        index[name] = {version: read_release(versions.inner(version)) for version in versions.names(VERSION, VERSIONS)}
    return IndexFile(index)


def read_release(fields: Fields) -> Release:
    """A Release from its JSON form; keys that nobody here knows are passed over."""
    manifest = fields.inner("manifest")
    return Release(
        manifest=FileEntry(manifest.count("size", 1, MAX_MANIFEST_BYTES), manifest.digest("sha256")),
        network=fields.take("network", str),
        summary=fields.take("summary", str),
        license=fields.take("license", str),
        num_classes=fields.count("num_classes", 1),
        size=fields.count("size"),
        top1=fields.fraction("top1", optional=True),
        count=fields.count("count", 1, optional=True),
        **{key: fields.take(key, str, optional=True) for key in NOTICES if key in fields},
    )


def read_notices_of(fields: Fields) -> dict[str, dict[str, str]]:
    """Version -> notice -> reason, of an object that holds nothing else."""
    return {version: fields.strings(version) for version in fields.names(VERSION, VERSIONS)}


def set_notice_in(place: dict, notice: str, reason: str | None) -> None:
    """Say in `place`, the notices of a version, that it is `notice`; None takes that back."""
    place.pop(notice, None)
    if reason is not None:
        place[notice] = reason


class Indexed:
    """What registries of static files have in common: how their index is read."""

    def _index_file(self, path: str, refresh: bool) -> IndexFile:
        """The file of the index at `path`, relative to the root."""
        raise NotImplementedError

    def versions(self, name: str, refresh: bool = False) -> dict[str, Release]:
        """What the registry has of one package; `refresh`: ask the server, whatever is kept."""
        top = self._index_file(INDEX, refresh)
        return (self._index_file(shard_of(name), refresh) if top.sharded else top).packages.get(name, {})

    def names(self) -> list[str]:
        """The names of all packages, for suggestions; none where many files would have to be read for them."""
        return list(self._index_file(INDEX, False).packages)

    def index(self, refresh: bool = False) -> Packages:
        """All that the registry offers."""
        top = self._index_file(INDEX, refresh)
        if not top.sharded:
            return top.packages
        with ThreadPoolExecutor(AT_ONCE) as pool:
            files = pool.map(lambda path: self._index_file(path, refresh), ALL_SHARDS)
            return {name: versions for file in files for name, versions in file.packages.items()}


def write_index(root: Path, content: dict, path: Path | None = None) -> None:
    """Write an index, or the file of it at `path`, into the registry folder `root`, in as many files as it needs.

    Args:
        content: the JSON of that file, or of the whole index as one file would have it.
    """
    whole = path is None or path == root / INDEX
    if not whole or (len(content["packages"]) < SHARDED_FROM and not (root / ALL_SHARDS[0]).exists()):
        write_json(path or root / INDEX, content, root)
        return
    rest = {key: value for key, value in content.items() if key != "packages"}
    parts: dict[str, dict] = {path: {} for path in ALL_SHARDS}
    for name, versions in content["packages"].items():
        parts[shard_of(name)][name] = versions
    for part, packages in parts.items():
        write_json(root / part, rest | {"packages": packages}, root)
    # last, since from here on the parts are what is read
    write_json(root / INDEX, rest | {"shards": SHARDS}, root)


def file_that_lists(root: Path, name: str) -> Path:
    """The file of the index of the registry folder `root` that lists the package `name`, or would."""
    sharded = parse_index((root / INDEX).read_bytes(), root / INDEX, REINDEX).sharded
    return root / (shard_of(name) if sharded else INDEX)
