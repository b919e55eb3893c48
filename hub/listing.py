"""What the registries offer: `hub_list`, `info` and the command `glorext list`."""

from __future__ import annotations

import json

from glorext.runtime import DownloadError, NotFoundError, RegistryError, get_logger, printable
from glorext.runtime.cli import parser

from .builtin import LOCATION, published_checkpoints
from .find import official_uid
from .index import NOTICES
from .manifest import version_key
from .open_model import add_registry_argument
from .pins import fits, is_digest, locked, may_give, parse_name
from .registry import latest
from .sources import Sources

logger = get_logger("hub")


def offers(registry=None, force_reload: bool = False) -> list[dict]:
    """Everything that can be loaded, in the order in which names are searched; one entry per name and version.

    `sha256` is the digest of the manifest (of a built-in checkpoint: of the file, where it is known), `yanked` and
    `deprecated` the reason that the publisher gave. `top1` is a fraction; `evidence` says whose it is: "measured" (by
    the publisher with `glorext eval`, on `count` pictures) or "published by ..., not measured here". A registry that
    cannot be read is left out with a warning.

    Raises:
        RegistryError, DownloadError: none of the named registries can be read.
    """
    rows, failures, sources = [], [], Sources.of(registry)
    for source in sources.all:
        try:
            found = _rows(source.registry, force_reload)
        except (DownloadError, RegistryError) as error:
            logger.warning("%s: %s", source.location, error)
            failures.append(error)
            continue
        rows += [row for row in found if source in sources.holding(row["name"])[0]]
        for name in sorted({row["name"] for row in found if sources.holding(row["name"]) == ((), True)}):
            logger.warning(
                "%s: has a %s too, which is built in; to load that one, write %s=ADDRESS", source.location, name, name
            )
    if failures and len(failures) == len(sources.all):
        raise failures[0]
    return rows + [row for row in _built_in() if sources.holding(row["name"])[1]]


def _rows(opened, force_reload: bool, only: str | None = None) -> list[dict]:
    """What a registry offers, or has of the name `only`."""
    offered = {only: opened.versions(only, force_reload)} if only else opened.index(force_reload)
    return [
        {
            "name": name,
            "version": version,
            "network": release.network,
            "top1": release.top1,
            "count": release.count,
            "evidence": "measured" if release.top1 is not None else None,
            "size": release.size,
            "license": release.license,
            "summary": release.summary,
            "sha256": release.manifest.sha256,
            "yanked": release.yanked,
            "deprecated": release.deprecated,
            "registry": opened.location,
            "uids": [],
        }
        for name, versions in sorted(offered.items())
        for version, release in sorted(versions.items(), key=lambda item: version_key(item[0]), reverse=True)
    ]


def _built_in() -> list[dict]:
    return [
        {
            "name": entry.name,
            "version": entry.version,
            "network": entry.network,
            "top1": entry.top1,
            "count": None,
            "evidence": f"published by {entry.published_by}, not measured here",
            "size": None,
            "license": entry.license,
            "summary": "",
            "sha256": entry.sha256,
            "yanked": None,
            "deprecated": None,
            "registry": LOCATION,
            "uids": list(entry.uids),
        }
        for entry in published_checkpoints()
    ]


def hub_list(version: str | None = None, force_reload: bool = False) -> list[str]:
    """The names that `load` takes, without doubles; with `version` only those that have this version.

    What its publisher yanked does not count, nor a pre-release unless it is `version`.
    """
    rows = [row for row in offers(force_reload=force_reload) if may_give(version, row["version"], row["yanked"])]
    return sorted({row["name"] for row in rows if version in (None, row["version"])})


def info(name: str, force_reload: bool = False, registry=None) -> dict:
    """What the registries say of one model, without fetching it: the entry that `load(name)` would take.

    Args:
        name: as `load` takes it, but no path.
        force_reload: ask the registries again.
        registry: a folder, an address or several in order, instead of GLOREXT_REGISTRIES and the built-in one.

    Raises:
        NotFoundError: no registry has it.
        RegistryError, DownloadError: one that comes first cannot be read: it may have another model by this name.
    """
    name = official_uid(name)
    wanted, pin = parse_name(name)
    is_uid = "/" in wanted
    pin = pin if is_uid else locked(wanted, pin)
    searched, built_in = ((), True) if is_uid else Sources.of(registry).holding(wanted)
    silent: list[Exception] = []
    for source in (*searched, *([None] if built_in else [])):
        try:
            rows = _rows(source.registry, force_reload, wanted) if source else _built_in()
        except (DownloadError, RegistryError) as error:
            silent.append(error)
            if not source or not (source.mirror or is_digest(pin)) or len(silent) == len(searched):
                raise
            logger.warning("%s: %s", source.location, error)
            continue
        fitting = {
            row["version"]: row
            for row in rows
            if (name in row["uids"] or row["name"] == wanted)
            and fits(pin, row["version"], row["sha256"])
            and may_give(pin, row["version"], row["yanked"])
        }
        if fitting:
            return fitting[latest(fitting)]
    raise NotFoundError(
        expected=f"a registry that has {name!r}", found="none", do="`glorext list` shows what there is."
    )


def main(argv: list[str]) -> None:
    """`glorext list [NAME]`."""
    arguments = parser("list", "Show what the registries offer.", "glorext list --registry models/registry")
    arguments.add_argument("name", nargs="?", help="show only this model, with all that is known of it")
    add_registry_argument(arguments)
    arguments.add_argument("--digest", action="store_true", help="show the digests, for NAME@sha256:DIGEST")
    arguments.add_argument("--json", action="store_true", help="print JSON")
    options = arguments.parse_args(argv)
    rows = offers(options.registry)
    if options.name:
        rows = [row for row in rows if options.name in (row["name"], f"{row['name']}@{row['version']}", *row["uids"])]
        if not rows:
            raise NotFoundError(expected=f"a registry that has {options.name!r}", found="none")
    if options.json:
        print(json.dumps(rows, indent=2))
    elif options.name:
        print("\n\n".join("\n".join(f"{key}: {_text(value)}" for key, value in row.items()) for row in rows))
    else:
        print(table(rows, options.digest) if rows else "no packages")


def _text(value) -> str:
    return printable(", ".join(value) if isinstance(value, list) else "-" if value is None else str(value))


def table(rows: list[dict], with_digests: bool = False) -> str:
    """Entries of `offers` as lines for people."""
    cells = [("name", "network", "top-1", "size", "from", *(["sha256"] if with_digests else []))]
    for row in rows:
        top1 = "-" if row["top1"] is None else f"{row['top1'] * 100:.2f} %" + ("" if row["count"] else " (published)")
        size = "-" if row["size"] is None else f"{row['size'] / 1e6:.1f} MB"
        title = f"{row['name']}@{row['version']}" + "".join(f" ({notice})" for notice in NOTICES if row[notice])
        line = (title, row["network"], top1, size, row["registry"], *([row["sha256"] or "-"] if with_digests else []))
        cells.append(tuple(map(printable, line)))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in cells)
