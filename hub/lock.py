"""`glorext lock`: pin names to the digests that they have now, for a project or a machine that wants no surprises."""

from __future__ import annotations

import json
from pathlib import Path

from glorext.runtime import UsageError, write_json
from glorext.runtime.cli import parser

from .find import IDENTITY, find_model
from .open_model import add_registry_argument
from .pins import SCHEMA, UID, parse_name, read_lock

LOCK = "glorext.lock"


def lock(names: list[str], path=LOCK, registry=None) -> dict[str, dict]:
    """Write what `names` are now into the lock file `path`; names that it holds already and that are not given stay.

    Returns:
        The models of the file, by name: version, and digest of the manifest (None for what is built in, whose bytes
        this version of glorext holds itself against).

    Raises:
        UsageError: a path or a MindSpore Hub UID, which mean one model anyway; and what `find_model` raises.
    """
    path = Path(path)
    models: dict[str, dict] = {}
    if path.exists():
        models = {
            name: {"version": version, "manifest_sha256": sha256} for name, (version, sha256) in read_lock(path).items()
        }
    for name in names:
        if UID.fullmatch(name):
            raise UsageError(expected="a package name", found=repr(name), do="An identifier of MindSpore Hub is fixed.")
        wanted, _ = parse_name(name)
        model = find_model(name, registry, True, IDENTITY, ignore_lock=True)
        models[wanted] = {"version": model.version, "manifest_sha256": model.manifest_sha256}
    write_json(path, {"schema": SCHEMA, "models": models})
    return models


def main(argv: list[str]) -> None:
    """`glorext lock NAME... --out FILE`."""
    arguments = parser(
        "lock",
        "Pin names to what they are now. With GLOREXT_LOCK=FILE every command and `load` take exactly these.",
        "glorext lock resnext50-digits --out glorext.lock",
    )
    arguments.add_argument("names", nargs="+", metavar="NAME", help="a name, or NAME@VERSION")
    arguments.add_argument("--out", default=LOCK, metavar="FILE", help="the lock file (default: %(default)s)")
    add_registry_argument(arguments)
    arguments.add_argument("--json", action="store_true", help="print JSON")
    options = arguments.parse_args(argv)
    models = lock(options.names, options.out, options.registry)
    if options.json:
        print(json.dumps(models, indent=2))
        return
    for name, entry in models.items():
        print(f"{name}@{entry['version']} {entry['manifest_sha256'] or 'built in'}")
