"""One validation on several hosts: each scores every n-th picture into a shard, and the shards are merged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glorext.deploy.runners.common import join, take
from glorext.deploy.validate.accuracy import listing_digest, paths_of
from glorext.models.answers import Results, read_results, write_results
from glorext.models.trained import TrainedModel
from glorext.runtime import DataError, UsageError, atomic_dir, json_bytes
from glorext.runtime.fields import Fields
from glorext.train.pictures import Pictures

SCHEMA = "glorext.shard/1"
ENTRY = "shard.json"
ONE_VALIDATION = "Merge only shards of one validation: the same model, backend, versions and pictures."


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


def write_shard(folder: Path, shard: Shard, results: Results, pictures: Pictures) -> None:
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
        "shards": shard.of,
        "pictures": len(pictures),
        "pictures_sha256": listing_digest(pictures.paths),
    }
    with atomic_dir(folder, replace=True) as temporary:
        write_results(temporary / "results", results)
        (temporary / ENTRY).write_bytes(json_bytes(entry))


def merge(folders: list[Path], model: TrainedModel) -> Results:
    """The results of all shards as one, equal to those of a run that was not divided.

    Raises:
        DataError: a shard is missing, there twice, of another model, backend, version or picture list, or damaged.
    """
    found: dict[int, Results] = {}
    first: dict | None = None
    for folder in map(Path, folders):
        entry, results = _read(folder)
        if difference := model.difference(results.model):
            raise DataError(f"a shard of {difference}", where=folder, do=ONE_VALIDATION)
        first = first or entry
        for key, value in entry.items():
            if key != "shard" and value != first[key]:
                raise DataError(
                    expected=f"{key} {first[key]}, as in {folders[0]}", found=value, where=folder, do=ONE_VALIDATION
                )
        if entry["shard"] in found:
            raise DataError(expected="every shard once", found=f"shard {entry['shard']} twice", where=folder)
        found[entry["shard"]] = results
    if first is None:
        raise UsageError(expected="at least one shard", found="none")
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
    """What a shard is a part of, and its results: shards of one validation agree in all but their number."""
    top = Fields.read(folder / ENTRY, SCHEMA, do=ONE_VALIDATION)
    shards = top.count("shards", 1)
    entry = {
        "shard": top.count("shard", 1, shards),
        "shards": shards,
        "pictures": top.count("pictures", 1),
        "pictures_sha256": top.digest("pictures_sha256"),
    }
    top.done()
    results = read_results(folder / "results")
    return entry | {key: getattr(results, key) for key in ("backend", "device", "versions")}, results
