"""One validation on several hosts: each scores every n-th picture into a shard, and the shards are merged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glorext.deploy.runners.common import join, take
from glorext.deploy.source import Source
from glorext.deploy.validate.accuracy import listing_digest, paths_of
from glorext.models.answers import Results, read_results, write_results
from glorext.models.labels import labels_digest
from glorext.runtime import DataError, UsageError, atomic_dir, json_bytes, read_json
from glorext.train.pictures import Pictures

SCHEMA = "glorext.shard/1"
ENTRY = "shard.json"


@dataclass(frozen=True)
class Shard:
    """Number `index` of `of` parts, counted from 1."""

    index: int
    of: int

    def of_pictures(self, pictures: Pictures) -> Pictures:
        """The pictures of this shard: every `of`-th of the listing, so that each shard holds all classes alike."""
        if self.of > len(pictures):
            raise UsageError(expected=f"at most {len(pictures)} shards for as many pictures", found=self.of)
        return take(pictures, np.arange(len(pictures))[self.index - 1 :: self.of])


def parse_shard(text: str) -> Shard:
    """The shard that "i/n" names."""
    parts = text.split("/")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts) or not 1 <= int(parts[0]) <= int(parts[1]):
        raise UsageError(expected="i/n with i from 1 to n, such as 2/8", found=text, where="--shard")
    return Shard(int(parts[0]), int(parts[1]))


def _belongs_to(source: Source, results: Results, listing: str, count: int, of: int) -> dict:
    # MindSpore Lite's converter writes other bytes at every run, so the weights' digest says which model it is.
    return {
        "weights_sha256": source.weights_sha256,
        "preprocessing_sha256": source.input_spec.digest(),
        "labels_sha256": labels_digest(source.labels),
        "backend": results.backend,
        "device": results.device,
        "versions": results.versions,
        "pictures_sha256": listing,
        "pictures": count,
        "shards": of,
    }


def write_shard(folder: Path, shard: Shard, results: Results, source: Source, pictures: Pictures) -> None:
    """Write the results of a shard and what they are a part of into `folder`; an earlier shard there is replaced.

    Args:
        pictures: all pictures, of which `shard` is a part.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / ENTRY).is_file():
        raise UsageError(expected="a new folder, or that of an earlier shard", found="other files", where=folder)
    entry = {
        "schema": SCHEMA,
        "shard": shard.index,
        "count": results.count,
        **_belongs_to(source, results, listing_digest(pictures.paths), len(pictures), shard.of),
    }
    with atomic_dir(folder, replace=True) as temporary:
        write_results(temporary / "results", results)
        (temporary / ENTRY).write_bytes(json_bytes(entry))


def merge(folders: list[Path], source: Source) -> Results:
    """The results of all shards as one, equal to those of a run that was not divided.

    Raises:
        DataError: a shard is missing, there twice, of another model, backend, version or picture list, or damaged.
    """
    found, first = {}, None
    for folder in map(Path, folders):
        entry, results = _read(folder)
        wanted = _belongs_to(source, results, entry["pictures_sha256"], entry["pictures"], entry["shards"])
        _same(entry, wanted, folder, "this model and its own results")
        if first:
            _same(entry, {key: first[key] for key in wanted}, folder, f"the shard {folders[0]}")
        first = first or entry
        if entry["shard"] in found:
            raise DataError(expected="every shard once", found=f"shard {entry['shard']} twice", where=folder)
        found[entry["shard"]] = results
    missing = sorted(set(range(1, first["shards"] + 1)) - found.keys())
    if missing:
        raise DataError(
            expected=f"all {first['shards']} shards",
            where=", ".join(map(str, folders)),
            found=f"no shard {', '.join(map(str, missing))}",
            do="Run those with --shard and add them.",
        )
    results = join([found[number] for number in sorted(found)])
    if results.count != first["pictures"] or listing_digest(paths_of(results)) != first["pictures_sha256"]:
        raise DataError(
            expected=f"the {first['pictures']} pictures of the listing, each once",
            found=f"{results.count} pictures, or others",
            where=", ".join(map(str, folders)),
            do="The folders differed between the hosts: run the shards again on the same pictures.",
        )
    return results


def _read(folder: Path) -> tuple[dict, Results]:
    entry = read_json(folder / ENTRY)
    keys = "shard count weights_sha256 preprocessing_sha256 labels_sha256 backend device versions pictures_sha256"
    keys = (*keys.split(), "pictures", "shards")
    if (
        not isinstance(entry, dict)
        or entry.get("schema") != SCHEMA
        or any(key not in entry for key in keys)
        or not all(type(entry[key]) is int for key in ("shard", "count", "pictures", "shards"))
        or not 1 <= entry["shard"] <= entry["shards"]
    ):
        raise DataError(expected=f"a shard of schema {SCHEMA}", found="something else", where=folder / ENTRY)
    results = read_results(folder / "results")
    if results.count != entry["count"]:
        raise DataError(expected=f"{entry['count']} pictures", found=results.count, where=folder)
    return entry, results


def _same(entry: dict, wanted: dict, folder: Path, whose: str) -> None:
    for key, value in wanted.items():
        if entry[key] != value:
            raise DataError(
                expected=f"{key} {value}, as {whose}",
                found=entry[key],
                where=folder,
                do="Merge only shards of one validation: the same model, backend, versions and pictures.",
            )
