"""`glorext cache`: what the cache holds, what it costs, and how to be rid of it.

A file may stand in the cache under several names that are one on the disk (hard links): it costs once, and its room is
free when the last of its names is gone.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from glorext.runtime import NotFoundError, PackageError, UsageError, printable, sha256_file
from glorext.runtime.cli import parser

from .cache import Cache, is_intact
from .manifest import MANIFEST, Manifest, is_prerelease, read_manifest, version_key

UNFINISHED_SECONDS = 86_400
ACTIONS = ("list", "remove", "prune", "verify")


@dataclass(frozen=True)
class Entry:
    """One package or single checkpoint in the cache.

    Attributes:
        name: of the package, or of the checkpoint's file.
        version: of the package; None for a checkpoint.
        digest: of the package's manifest, or of the checkpoint.
        files: all of its files, in its folder and among the blobs.
    """

    name: str
    version: str | None
    digest: str
    folder: Path
    files: tuple[Path, ...]

    @property
    def title(self) -> str:
        """NAME@VERSION, or the checkpoint's name."""
        return f"{self.name}@{self.version}" if self.version else self.name

    def is_meant(self, what: str) -> bool:
        """Whether `what` is its name, NAME@VERSION, or a digest or at least eight digits of one."""
        digits = what.rpartition("sha256:")[2]
        return what in (self.name, self.title) or (len(digits) >= 8 and self.digest.startswith(digits))


def entries(cache: Cache) -> list[Entry]:
    """Every package and checkpoint in the cache, by name and version; what is no package any more is left out."""
    found = []
    for folder in sorted((cache.root / "packages").glob("*")):
        try:
            manifest = read_manifest(folder)
        except (PackageError, OSError):
            continue
        blobs = [cache.root / "blobs" / entry.sha256 for entry in manifest.files.values()]
        blobs.append(cache.root / "blobs" / folder.name)
        found.append(_entry(manifest.name, manifest.version, folder, blobs))
    for folder in sorted((cache.root / "checkpoints").glob("*")):
        for file in sorted(folder.glob("[!.]*"))[:1]:
            found.append(_entry(file.name, None, folder, [cache.root / "blobs" / folder.name]))
    return sorted(found, key=lambda entry: (entry.name, version_key(entry.version) if entry.version else ()))


def _entry(name: str, version: str | None, folder: Path, blobs: list[Path]) -> Entry:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return Entry(name, version, folder.name, folder, (*files, *(blob for blob in blobs if blob.is_file())))


def room(paths: Iterable[Path]) -> int:
    """Bytes on the disk that these files take together, each once."""
    return sum(status.st_blocks * 512 for status in {(s.st_dev, s.st_ino): s for s in map(os.stat, paths)}.values())


def freed_by(paths: Iterable[Path]) -> int:
    """Bytes on the disk that are free when these names are gone: those of files that have no other name."""
    names: dict[tuple[int, int], list[os.stat_result]] = {}
    for status in map(os.lstat, paths):
        names.setdefault((status.st_dev, status.st_ino), []).append(status)
    return sum(known[0].st_blocks * 512 for known in names.values() if known[0].st_nlink <= len(known))


def remove(cache: Cache, wanted: list[str]) -> tuple[list[Entry], int]:
    """Remove what is called so (see `Entry.is_meant`), but no file that another package has too.

    Returns:
        What is gone, and the bytes that are free now.

    Raises:
        NotFoundError: one of them is not in the cache; nothing is removed.
        RegistryError: the cache cannot be written.
    """
    known = entries(cache)
    for what in wanted:
        if not any(entry.is_meant(what) for entry in known):
            raise NotFoundError(expected=f"{what} in the cache", found="none", where=cache.root)
    gone = [entry for entry in known if any(entry.is_meant(what) for what in wanted)]
    return gone, _remove(cache, gone, known)


def _remove(cache: Cache, gone: list[Entry], known: list[Entry]) -> int:
    kept = {path for entry in known if entry not in gone for path in entry.files}
    paths = sorted({path for entry in gone for path in entry.files} - kept)
    freed = freed_by(paths)
    with cache.changing():
        for entry in gone:
            # the manifest goes first: a folder without one is no package, wherever this ends
            (entry.folder / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(entry.folder)
        _unlink(cache, [path for path in paths if path.parent == cache.root / "blobs"])
    return freed


def _unlink(cache: Cache, paths: list[Path]) -> None:
    for path in paths:
        # not while another process takes it from here
        with cache.lock(path.name):
            path.unlink(missing_ok=True)


def prune(cache: Cache, old_versions: bool = False) -> tuple[list[Entry], int]:
    """Remove what nothing needs: files of no package, and downloads that nobody went on with for a day.

    Args:
        old_versions: remove packages too of which a higher version is here; no pre-release stands in for a release.

    Returns:
        The packages that are gone, and the bytes that are free now.

    Raises:
        RegistryError: the cache cannot be written.
    """
    known = entries(cache)
    # they are sorted, so the last one stays
    newest = {entry.name: entry.version for entry in known if entry.version and not is_prerelease(entry.version)}
    gone = [
        entry
        for entry in known
        if entry.version and version_key(entry.version) < version_key(newest.get(entry.name) or "0.0.0")
    ]
    gone = gone if old_versions else []
    freed = _remove(cache, gone, known)
    needed = {path for entry in entries(cache) for path in entry.files}
    blobs = [path for path in (cache.root / "blobs").glob("*") if path not in needed]
    broken = [folder for folder in (cache.root / "packages").glob("*") if not (folder / MANIFEST).is_file()]
    before = time.time() - UNFINISHED_SECONDS
    late = [path for path in (cache.root / "partial").glob("*") if path.stat().st_mtime < before]
    left = (path for folder in broken for path in folder.rglob("*") if path.is_file())
    freed += freed_by([*blobs, *late, *left])
    with cache.changing():
        _unlink(cache, blobs)
        for path in late:
            path.unlink(missing_ok=True)
        for folder in broken:
            shutil.rmtree(folder)
    return gone, freed


def damaged(cache: Cache) -> list[Path]:
    """The files in the cache that are not what their names or manifests promise, each of them hashed."""
    found = [path for path in (cache.root / "blobs").glob("*") if sha256_file(path) != path.name]
    for entry in entries(cache):
        if entry.version is None:
            found += [path for path in entry.folder.glob("[!.]*") if sha256_file(path) != entry.digest]
        else:
            found += _damaged_files(entry.folder, read_manifest(entry.folder))
    return sorted(found)


def _damaged_files(folder: Path, manifest: Manifest) -> list[Path]:
    found = [] if manifest.digest() == folder.name else [folder / MANIFEST]
    for file, entry in manifest.files.items():
        # a file that nobody has asked for is not there
        if (folder / file).exists() and not is_intact(folder / file, entry):
            found.append(folder / file)
    return found


def main(argv: list[str]) -> int:
    """`glorext cache list | remove NAME... | prune | verify`; status 1 where `verify` finds damage."""
    arguments = parser(
        "cache",
        "List what was downloaded, remove packages, prune what none of them needs, or verify every file.",
        "glorext cache remove resnext50-digits@1.0.0",
    )
    arguments.add_argument("action", choices=ACTIONS, help="what to do")
    arguments.add_argument("names", nargs="*", metavar="NAME", help="to remove: NAME, NAME@VERSION or a digest")
    arguments.add_argument(
        "--old-versions", action="store_true", help="prune packages too that have a newer version here"
    )
    arguments.add_argument("--json", action="store_true", help="print JSON")
    options = arguments.parse_args(argv)
    if (options.action == "remove") != bool(options.names) or (options.old_versions and options.action != "prune"):
        raise UsageError(
            expected="`glorext cache list`, `remove NAME...`, `prune` with or without --old-versions, or `verify`",
            found=" ".join(argv),
        )
    cache = Cache()
    if options.action == "list":
        _list(cache, options.json)
    elif options.action == "verify":
        bad = damaged(cache)
        text = "\n".join(map(str, bad)) or f"all files in {cache.root} are whole"
        print(json.dumps(list(map(str, bad))) if options.json else printable(text))
        return int(bool(bad))
    else:
        gone, freed = prune(cache, options.old_versions) if options.action == "prune" else remove(cache, options.names)
        titles = [entry.title for entry in gone]
        if options.json:
            print(json.dumps({"removed": titles, "freed": freed}))
        else:
            print(f"removed: {', '.join(titles) or 'no package'}; {freed / 1e6:.1f} MB are free now")
    return 0


def _list(cache: Cache, as_json: bool) -> None:
    known = entries(cache)
    everything = room(path for path in cache.root.rglob("*") if path.is_file())
    rows = []
    for entry in known:
        others = {path for other in known if other is not entry for path in other.files}
        alone = freed_by([path for path in entry.files if path not in others])
        rows.append((entry.title, entry.digest, room(entry.files), alone))
    if as_json:
        keys = ("name", "sha256", "size", "freed_when_removed")
        print(
            json.dumps({"folder": str(cache.root), "size": everything, "held": [dict(zip(keys, row)) for row in rows]})
        )
        return
    for title, digest, size, alone in rows:
        print(f"{printable(title)}  {size / 1e6:.1f} MB, {alone / 1e6:.1f} MB free when removed  {digest[:12]}")
    print(f"{cache.root}: {len(rows)} packages and checkpoints, {everything / 1e6:.1f} MB in all")
