"""One static HTML page of what was measured, with the curve of latency over load; it needs no other file."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from matplotlib.ticker import NullFormatter

from glorext.deploy.validate.report import environment
from glorext.runtime import atomic_path
from glorext.runtime.charts import new_chart, style, svg_text

LAYERS_SHOWN = 20


def curve(report: dict, percentile: str) -> str:
    """Latency at that percentile over answered requests a second, a line for each runtime, as SVG; "" without any."""
    with style():
        figure, axes = new_chart(f"Latency {percentile} over load", "answered requests a second", "milliseconds")
        for found in report["runtimes"]:
            points = [
                (row["throughput"], row["latency_ms"].get(percentile))
                for row in found["rates"]
                if row["latency_ms"].get(percentile) is not None
            ]
            if points:
                axes.plot(*zip(*points), marker="o", markersize=3, label=f"{found['runtime']}, {found['file']}")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(left=0)
        axes.grid(axis="y")
        if not axes.lines:
            return ""
        axes.legend(frameon=False, fontsize=8)
        return svg_text(figure, f"Latency {percentile} over load")


def layer_rows(layers: list[dict]) -> tuple[list[dict], list[dict]]:
    """(types of layers by their time, the slowest layers), each with its share of the whole."""
    total = sum(layer["ms"] for layer in layers) or 1.0
    kinds: dict[str, list[float]] = defaultdict(list)
    for layer in layers:
        kinds[layer["type"]].append(layer["ms"])
    by_kind = [
        {"name": name, "count": len(all_ms), "ms": sum(all_ms), "share": sum(all_ms) / total}
        for name, all_ms in kinds.items()
    ]
    slowest = sorted(layers, key=lambda layer: -layer["ms"])[:LAYERS_SHOWN]
    return sorted(by_kind, key=lambda row: -row["ms"]), [layer | {"share": layer["ms"] / total} for layer in slowest]


def write_page(path: Path, report: dict) -> None:
    """Write the page of `report`, as `glorext bench` measured it."""
    layers = {number: layer_rows(found["layers"]) for number, found in enumerate(report["runtimes"]) if found["layers"]}
    curves = [curve(report, name) for name in ("p50", "p99")]
    page = environment().get_template("bench.html.j2").render(r=report, curves=curves, layers=layers)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
