"""`glorext reindex`: make the index of a registry folder again from the packages that lie in it."""

from __future__ import annotations

import json
from pathlib import Path

from glorext.runtime import GlorextError, RegistryError, UsageError
from glorext.runtime.cli import parser
from glorext.runtime.files import parse_json

from .index import ALL_SHARDS, INDEX, SCHEMA, Release, parse_index, write_index
from .manifest import NAME, VERSION
from .notices import read_notices
from .publish import writing
from .registry import FolderRegistry, open_registry
from .verify import verify


def reindex(registry) -> tuple[list[str], list[str]]:
    """Write the index of a registry folder from its packages, every one of which is verified first.

    Returns:
        "NAME@VERSION" of all that the index now lists, and of what the old one listed although it lies here no more.

    Raises:
        RegistryError: a package is not whole, or not the one that a readable old index promises. The message names
            every such package; the old index stays.
        UsageError: no folder, or one without packages.
    """
    opened = open_registry(registry)
    if not isinstance(opened, FolderRegistry) or not (opened.root / "packages").is_dir():
        raise UsageError(expected="a registry folder with packages", found=opened.location)
    with writing(opened.root):
        return _reindex(opened.root)


def _reindex(root: Path) -> tuple[list[str], list[str]]:
    old = _old_index(root)
    packages: dict[str, dict[str, dict]] = {}
    problems = []
    for folder in sorted((root / "packages").glob("*/*")):
        name, version = folder.parent.name, folder.name
        if not folder.is_dir() or not NAME.fullmatch(name) or not VERSION.fullmatch(version):
            continue
        try:
            known = old["packages"].get(name, {}).get(version)
            said = read_notices(root, name).get(version, {})
            packages.setdefault(name, {})[version] = (known or {}) | said | _release(folder, name, version, known)
        except GlorextError as error:
            problems.append(str(error))
    if problems:
        raise RegistryError(
            f"{len(problems)} packages are not whole: {' '.join(problems)}",
            where=root,
            do="Bring their files back from where they were published, or move them out of the registry, and run this "
            "again; until then the index stays as it was.",
        )
    write_index(root, old | {"packages": packages})
    listed = [f"{name}@{version}" for name, versions in packages.items() for version in versions]
    before = [f"{name}@{version}" for name, versions in old["packages"].items() for version in versions]
    return listed, sorted(set(before) - set(listed))


def _old_index(root: Path) -> dict:
    """The JSON of the index that is there, as one file would have it, without the parts that cannot be read."""
    content = {"schema": SCHEMA, "packages": {}}
    for path in (INDEX, *ALL_SHARDS):
        try:
            data = (root / path).read_bytes()
            sharded = parse_index(data, root / path).sharded
        except (OSError, RegistryError):
            continue
        found = parse_json(data, root / path)
        found.pop("shards", None)
        content = found | {"packages": content["packages"] | found.get("packages", {})}
        if path == INDEX and not sharded:
            break
    return content


def _release(folder: Path, name: str, version: str, known: dict | None) -> dict:
    manifest, evidence = verify(folder)
    if (manifest.name, manifest.version) != (name, version):
        raise RegistryError(
            expected=f"the package {name}@{version}", found=f"{manifest.name}@{manifest.version}", where=folder
        )
    if known and known["manifest"]["sha256"] != manifest.digest():
        # a published version never changes, and whoever has loaded it knows it by this digest
        raise RegistryError(
            expected=f"manifest sha256 {known['manifest']['sha256']}, as the index says",
            found=manifest.digest(),
            where=folder,
        )
    return Release.of(manifest, evidence).to_dict()


def main(argv: list[str]) -> None:
    """`glorext reindex FOLDER`."""
    arguments = parser(
        "reindex",
        "Make the index of a registry folder again from its packages, after verifying every one of them.",
        "glorext reindex registry",
    )
    arguments.add_argument("registry", metavar="FOLDER", help="the registry folder")
    arguments.add_argument("--json", action="store_true", help="print JSON")
    options = arguments.parse_args(argv)
    listed, gone = reindex(options.registry)
    if options.json:
        print(json.dumps({"listed": listed, "gone": gone}))
        return
    print(f"the index of {options.registry} lists {len(listed)} packages")
    if gone:
        print(f"no longer listed, since they lie here no more: {', '.join(gone)}")
