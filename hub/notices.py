"""What a publisher says of a version after it was published: that it is yanked, or deprecated, and why.

A notice stands in the index, which every reader asks, and in `packages/NAME/notices.json`, from where `reindex` takes
it when the index is lost. The package itself never changes.
"""

from __future__ import annotations

import json
from pathlib import Path

from glorext.runtime import NotFoundError, RegistryError, UsageError, write_json
from glorext.runtime.cli import parser
from glorext.runtime.fields import Fields
from glorext.runtime.files import parse_json

from .card import check_text
from .index import REINDEX, file_that_lists, parse_index, read_notices_of, set_notice_in, write_index
from .manifest import VERSION
from .oci_registry import OciRegistry
from .pins import parse_name
from .publish import writing
from .registry import UrlRegistry, open_registry

SCHEMA = "glorext.notices/1"
FILE = "notices.json"


def read_notices(root: Path, name: str) -> dict[str, dict[str, str]]:
    """Version -> notice -> reason of the package `name` in the registry folder `root`; RegistryError for a bad file."""
    path = root / "packages" / name / FILE
    if not path.exists():
        return {}
    top = Fields.read(path, SCHEMA, RegistryError)
    versions = top.inner("notices")
    top.done()
    return read_notices_of(versions)


def set_notice(registry, title: str, notice: str, reason: str | None) -> None:
    """Let the registry, a folder or an oci:// address, say of "NAME@VERSION" that it is `notice`; None takes that back.

    Args:
        notice: one of NOTICES.
        reason: for whoever loads it.

    Raises:
        UsageError: another address, not NAME@VERSION, or a reason that is no line of plain text.
        NotFoundError: the registry has no such version.
        RegistryError: it cannot be read or written.
    """
    opened = open_registry(registry)
    name, version = parse_name(title)
    if isinstance(opened, UrlRegistry):
        raise UsageError(expected="a registry folder or an oci:// address", found=opened.location)
    if version is None or not VERSION.fullmatch(version):
        raise UsageError(expected="NAME@VERSION", found=repr(title))
    if reason is not None:
        check_text(reason, "--reason")
    if isinstance(opened, OciRegistry):
        return opened.set_notice(name, version, notice, reason)
    opened.versions(name)
    with writing(opened.root):
        path = file_that_lists(opened.root, name)
        data = path.read_bytes()
        if version not in parse_index(data, path, REINDEX).packages.get(name, {}):
            raise NotFoundError(expected=title, found="no such version", where=opened.location)
        content, notices = parse_json(data, path), read_notices(opened.root, name)
        for place in (content["packages"][name][version], notices.setdefault(version, {})):
            set_notice_in(place, notice, reason)
        write_json(opened.root / "packages" / name / FILE, {"schema": SCHEMA, "notices": notices}, opened.root)
        write_index(opened.root, content, path)


def command(name: str, notice: str, description: str, argv: list[str]) -> None:
    """The command that sets one of NOTICES: `glorext NAME NAME@VERSION --reason TEXT --registry REGISTRY`."""
    arguments = parser(
        name, description, f'glorext {name} resnext50-digits@1.0.0 --reason "labels in wrong order" --registry registry'
    )
    arguments.add_argument("title", metavar="NAME@VERSION", help="which version")
    arguments.add_argument(
        "--registry", required=True, metavar="REGISTRY", help="the registry: a folder or oci://HOST/PROJECT"
    )
    what = arguments.add_mutually_exclusive_group(required=True)
    what.add_argument("--reason", help="one line for whoever loads it, ASCII, without a colon")
    what.add_argument("--undo", action="store_true", help="take it back")
    arguments.add_argument("--json", action="store_true", help="print JSON")
    options = arguments.parse_args(argv)
    set_notice(options.registry, options.title, notice, options.reason)
    if options.json:
        print(json.dumps({"name": options.title, "registry": options.registry, notice: options.reason}))
    else:
        print(f"{options.title} is {'no longer ' if options.undo else ''}{notice} in {options.registry}")
