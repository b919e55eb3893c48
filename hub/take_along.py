"""`glorext download`: a package as a folder of one's own, for a machine without network, without MindSpore."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from glorext.models.trained import TrainedModel
from glorext.runtime import atomic_dir, require_space
from glorext.runtime.cli import parser

from .find import find_model
from .manifest import MANIFEST, read_manifest
from .open_model import add_registry_argument
from .verify import verify


def download_package(name, to, registry=None) -> TrainedModel:
    """The model `name` with every file of its package in the new folder `to`, which appears whole or not at all.

    Of a built-in checkpoint that is one file. The copy belongs to the user: no later command changes it.

    Raises:
        UsageError: `to` exists.
        DiskFullError: no room for it; and what `find_model` and `verify` raise.
    """
    with atomic_dir(to) as folder:
        model = find_model(name, registry)
        if model.folder is None:
            require_space(folder, model.checkpoint.stat().st_size)
            shutil.copyfile(model.checkpoint, folder / model.checkpoint.name)
            return model
        manifest = read_manifest(model.folder)
        require_space(folder, manifest.size)
        for file in (MANIFEST, *manifest.files):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(model.folder / file, folder / file)
        verify(folder)
    return model


def main(argv: list[str]) -> None:
    """`glorext download NAME --to DIR`."""
    arguments = parser(
        "download",
        "Fetch a package with all its files into a folder, verified to the byte. Needs no MindSpore.",
        "glorext download resnext50-digits --to usb_stick",
    )
    arguments.add_argument("name", metavar="NAME", help="a name, NAME@VERSION or NAME@sha256:DIGEST")
    arguments.add_argument("--to", required=True, metavar="DIR", help="the folder; must not exist yet")
    add_registry_argument(arguments)
    arguments.add_argument("--json", action="store_true", help="print JSON")
    options = arguments.parse_args(argv)
    model = download_package(options.name, options.to, options.registry)
    size = sum(path.stat().st_size for path in Path(options.to).rglob("*") if path.is_file())
    if options.json:
        known = {"name": model.name, "version": model.version, "manifest_sha256": model.manifest_sha256}
        print(json.dumps({**known, "folder": options.to, "size": size}))
    else:
        print(f"{model.name}@{model.version} of {model.source}: {size / 1e6:.1f} MB in {options.to}")
