"""`glorext site`: a registry as a static catalog of web pages that need no server program and no other site.

The curves are a few lines of SVG, written here and not by matplotlib: the page's own style sheet colors them, light or
dark as the reader wants it, and each point says its value under the pointer.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from glorext.models.metrics import METRICS, read_epochs
from glorext.runtime import PackageError, UsageError, atomic_dir, write_json
from glorext.runtime.cli import parser

from .card import environment, read_card
from .index import Release
from .manifest import Manifest, read_evidence, version_key
from .oci_registry import is_oci
from .registry import FolderRegistry, latest, open_registry, release_path

SHOWN_MISTAKES = 10
MARK = "glorext-site.json"
CURVES = (  # title, key of an epoch in metrics.jsonl, in percent
    ("Training loss", "loss", False),
    ("Validation loss", "val_loss", False),
    ("Top-1 after each epoch", "top1", True),
)
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 400, 210, 54, 30, 12, 12


def write_site(registry, out, address: str | None = None) -> int:
    """Write the catalog of `registry` (a folder or an address) into the folder `out`; how many pages.

    Args:
        address: under which the pages' readers reach the registry, http(s) or oci; by default its own, if it has one. A
            folder of this machine is named to nobody.

    A folder that an earlier call wrote is replaced at once; any other existing folder is an error. What the pages say
    is read from packages whose digests were checked; everything is escaped, and no page loads anything from elsewhere.

    Raises:
        UsageError: `out` exists and is not a catalog.
        RegistryError, IntegrityError, PackageError, DownloadError: a package is not what the registry promises.
    """
    out = Path(out)
    if out.exists() and not (out / MARK).is_file():
        raise UsageError(expected="a new folder, or one that `glorext site` wrote", found=str(out))
    opened = open_registry(registry)
    address = _address(opened, address)
    index = opened.index()
    pages = []
    with atomic_dir(out, replace=True) as folder:
        for name in sorted(index):
            pages += _pages_of(name, index[name], opened, address, folder)
        _write(
            folder / "index.html",
            "site_index.html.j2",
            address=address,
            models=[page for page in pages if page["is_newest"]],
        )
        for name in ("site.css", "site.js"):
            (folder / name).write_bytes((Path(__file__).parent / "templates" / name).read_bytes())
        write_json(folder / MARK, {"schema": "glorext.site/1", "registry": address, "pages": len(pages)})
    return len(pages)


def _pages_of(name: str, versions: dict[str, Release], opened, address: str | None, folder: Path) -> list[dict]:
    """Write a page for each version of a package; what the first page of the catalog says of them."""
    newest, pages = latest(versions), []
    links = [(one, _page(name, one, newest)) for one in sorted(versions, key=version_key, reverse=True)]
    for version, page in links:
        package, manifest = opened.fetch(name, version, versions[version], _shown)
        facts = _facts(package, manifest)
        _write(
            folder / page,
            "site_model.html.j2",
            manifest=manifest,
            versions=links,
            newer=(newest, _page(name, newest, newest)) if version_key(newest) > version_key(version) else None,
            release=versions[version],
            address=address,
            # the files of an OCI registry are behind its login
            files=f"{address}/{release_path(name, version)}/" if address and not is_oci(address) else None,
            **facts,
        )
        pages.append(
            {
                "page": page,
                "manifest": manifest,
                "evidence": facts["evidence"],
                "release": versions[version],
                "is_newest": version == newest,
                "versions": len(versions),
            }
        )
    return pages


def _address(opened, address: str | None) -> str | None:
    """Where readers of the pages reach the registry."""
    if address is None:
        return None if isinstance(opened, FolderRegistry) else opened.location
    if isinstance(open_registry(address), FolderRegistry):
        raise UsageError(expected="an http, https or oci address", found=repr(address), where="--address")
    return open_registry(address).location


def _page(name: str, version: str, newest: str) -> str:
    # the catalog's first page is called index.html, and so may a package be
    return f"{name}.html" if version == newest and name != "index" else f"{name}@{version}.html"


def _shown(manifest: Manifest, file: str) -> bool:
    return file in (manifest.card, manifest.evidence, manifest.labels, METRICS)


def _write(path: Path, template: str, **facts) -> None:
    path.write_text(environment().get_template(template).render(**facts), encoding="utf-8")


def _facts(package: Path, manifest: Manifest) -> dict:
    front, _ = read_card(package / manifest.card)
    evidence = read_evidence(package, manifest)
    labels = (package / manifest.labels).read_text(encoding="utf-8").split("\n")[:-1]
    epochs = read_epochs(package / METRICS, PackageError) if METRICS in manifest.files else []
    curves = [
        (title, curve([row[0] for row in rows], [row[1] for row in rows], percent))
        for title, key, percent in CURVES
        if len(rows := [(row["epoch"], row[key]) for row in epochs if row.get(key) is not None]) > 1
    ]
    confusion = evidence and evidence.confusion
    peak = max((max(row) for row in confusion), default=1) if confusion else 1
    return {
        "front": front,
        "card": (package / manifest.card).read_text(encoding="ascii"),
        "evidence": evidence,
        "labels": labels,
        "curves": curves,
        "confusion": confusion,
        "mistakes": ((evidence and evidence.confused) or [])[:SHOWN_MISTAKES],
        # ten shades, by the square root: single mistakes among hundreds stay visible
        "shade": lambda cell: math.ceil(9 * math.sqrt(cell / peak)) if cell else 0,
    }


def curve(xs: list, ys: list, percent: bool) -> dict:
    """Where a line chart's marks stand, in an SVG of WIDTH x HEIGHT: the line, the points, the ticks of both axes."""
    low, high = min(ys), max(ys)
    steps = nice_ticks(low, high)
    low, high = min(low, steps[0]), max(high, steps[-1])

    def x_of(x):
        return round(LEFT + (x - xs[0]) / max(xs[-1] - xs[0], 1) * (WIDTH - LEFT - RIGHT), 1)

    def y_of(y):
        return round(HEIGHT - BOTTOM - (y - low) / ((high - low) or 1) * (HEIGHT - TOP - BOTTOM), 1)

    def text(y):
        return f"{y * 100:.4g} %" if percent else f"{y:.4g}"

    stride = max(1, math.ceil(len(xs) / 7))
    points = [(x_of(x), y_of(y), x, text(y)) for x, y in zip(xs, ys)]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "bottom": HEIGHT - BOTTOM,
        "line": " ".join(f"{x},{y}" for x, y, _, _ in points),
        "points": points if len(points) <= 60 else [],
        "x_ticks": [(x_of(x), x) for x in xs[::stride]],
        "y_ticks": [(y_of(y), text(y)) for y in steps],
    }


def nice_ticks(low: float, high: float) -> list[float]:
    """Four to six round numbers that enclose low..high."""
    span = (high - low) or abs(high) or 1.0
    size = 10 ** math.floor(math.log10(span / 4))
    size *= next(factor for factor in (1, 2, 2.5, 5, 10) if span / (size * factor) <= 5)
    first, last = math.floor(low / size + 1e-9), math.ceil(high / size - 1e-9)
    return [round(step * size, 12) for step in range(first, max(last, first + 1) + 1)]


def main(argv: list[str]) -> None:
    """`glorext site REGISTRY OUT`."""
    arguments = parser("site", "Write a registry's catalog as static web pages.", "glorext site registry catalog")
    arguments.add_argument("registry", help="a registry's folder or address")
    arguments.add_argument("out", help="folder for the pages; replaced when it holds an older catalog")
    arguments.add_argument("--address", help="under which readers reach the registry; by default its own")
    arguments.add_argument("--json", action="store_true", help="print JSON")
    options = arguments.parse_args(argv)
    pages = write_site(options.registry, options.out, options.address)
    start = str(Path(options.out).absolute() / "index.html")
    print(json.dumps({"pages": pages, "start": start}) if options.json else f"pages: {pages}; open {start}")
