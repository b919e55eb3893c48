"""The report's figures as SVG text, the same bytes for the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator

from glorext.deploy.validate.accuracy import Accuracy, Claim
from glorext.deploy.validate.verdict import Validation
from glorext.models.answers import Results
from glorext.models.metrics import read_metrics
from glorext.runtime.charts import BLUE, GRAY, INK, ORANGE, new_chart, style, svg_text

# Beyond this many classes numbers in the cells are too small to read, and beyond that so are the classes' names.
LARGEST_WITH_NUMBERS, LARGEST_WITH_NAMES, MOST_CELLS = 20, 50, 100
HISTOGRAM_BINS = 40


@style()
def accuracy_plot(validation: Validation) -> str:
    """Top-1 with its 95 % interval, MindSpore's, and what the package's evidence claims, on one line each."""
    rows: list[tuple[str, Accuracy | Claim, str, str]] = [
        (f"{validation.backend}, {validation.device}", validation.measured, "o", BLUE)
    ]
    if validation.mindspore:
        rows.append(("MindSpore", validation.mindspore.reference, "o", GRAY))
    if validation.claim:
        rows.append(("evidence", validation.claim, "D", ORANGE))
    figure, axes = new_chart("Top-1", "", "", (5.2, 0.9 + 0.42 * len(rows)))
    for place, (_, found, marker, color) in enumerate(rows):
        if isinstance(found, Accuracy) and found.low is not None:
            band = {"linewidth": 7, "alpha": 0.35, "solid_capstyle": "butt"}
            axes.plot([found.low, found.high], [-place, -place], color=color, **band)
        axes.plot(found.top1, -place, marker, color=color)
        text = {"textcoords": "offset points", "ha": "center", "fontsize": 8}
        axes.annotate(f"{found.top1:.2%}", (found.top1, -place), (0, 6), **text)
    names = [name for name, *_ in rows]
    axes.set_yticks([-place for place in range(len(names))], names)
    axes.set_ylim(-len(names) + 0.5, 0.7)
    axes.margins(x=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.1%}")
    axes.grid(axis="x")
    return svg_text(figure, "top-1 accuracy with its interval")


def latency_counts(results: Results) -> tuple[list[int], list[float]]:
    """Histogram of the latency of a picture: counts, and edges in milliseconds; the last bin has the slowest 0.5 %."""
    times = np.array([picture["ms"] for picture in results.pictures])[results.latency_ms["warmup"] :]
    # A few outliers would squeeze everything else into one bar.
    counts, edges = np.histogram(np.minimum(times, np.percentile(times, 99.5)), bins=HISTOGRAM_BINS)
    return counts.tolist(), edges.tolist()


@style()
def latency_plot(results: Results) -> str:
    """Histogram of the latency of a picture, file to logits without waiting in queues, with p50, p90 and p99."""
    counts, edges = latency_counts(results)
    figure, axes = new_chart("Latency of one picture", "milliseconds", "pictures")
    axes.stairs(counts, edges, fill=True, color=BLUE)
    for name, dashes in (("p50", "-"), ("p90", "--"), ("p99", ":")):
        value = results.latency_ms[name]
        axes.axvline(
            min(value, edges[-1]), color=ORANGE, linestyle=dashes, linewidth=1.4, label=f"{name} {value:.1f} ms"
        )
    axes.legend(edgecolor="none", framealpha=0.9)
    return svg_text(figure, "histogram of latency")


def step_series(lines: list[dict]) -> tuple[list[int], list[float], list[float]]:
    """Steps counted from the start of the run, losses and learning rates; metrics.jsonl counts within each epoch."""
    steps = [line for line in lines if line["event"] == "step"]
    return list(range(1, len(steps) + 1)), [line["loss"] for line in steps], [line["lr"] for line in steps]


@style()
def training_plots(metrics: Path) -> list[str]:
    """Loss and learning rate by step, accuracy by epoch, from a run's metrics.jsonl; empty when there is none."""
    if not metrics.is_file():
        return []
    lines = read_metrics(metrics)
    steps, losses, rates = step_series(lines)
    epochs = [line for line in lines if line["event"] == "epoch" and line["top1"] is not None]
    plots = []
    if steps:
        figure, axes = new_chart("Training loss and learning rate", "step", "loss")
        axes.plot(steps, losses, color=BLUE, linewidth=1)
        rate = axes.twinx()
        rate.plot(steps, rates, color=ORANGE, linewidth=1)
        rate.set_ylabel("learning rate", color=ORANGE)
        rate.spines["left"].set_visible(False)
        rate.spines["right"].set_visible(True)
        plots.append(svg_text(figure, "training loss and learning rate"))
    if epochs:
        figure, axes = new_chart("Validation accuracy", "epoch", "top-1")
        axes.plot([line["epoch"] for line in epochs], [line["top1"] for line in epochs], color=BLUE, marker="o")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_ylim(max(0, min(line["top1"] for line in epochs) - 0.1), 1.01)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        last = epochs[-1]
        place = {"textcoords": "offset points", "ha": "right"}
        axes.annotate(f"{last['top1']:.2%}", (last["epoch"], last["top1"]), (0, -14), **place)
        plots.append(svg_text(figure, "validation accuracy by epoch"))
    return plots


@style()
def reliability_plot(bins: list[dict]) -> str:
    """The share of right answers by confidence, bar by bar, against the line on which a calibrated model lies."""
    figure, axes = new_chart("Right answers by confidence", "confidence", "right")
    shown = [row for row in bins if row["count"]]
    widths = [row["high"] - row["low"] for row in shown]
    axes.bar(
        [row["low"] for row in shown],
        [row["accuracy"] for row in shown],
        widths,
        align="edge",
        color=BLUE,
        edgecolor="white",
    )
    axes.plot([0, 1], [0, 1], color=ORANGE, linestyle="--", linewidth=1.4, label="as often right as confident")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.legend(edgecolor="none", framealpha=0.9, loc="upper left")
    return svg_text(figure, "share of right answers by confidence")


def blocks(matrix: np.ndarray, most: int = MOST_CELLS) -> tuple[np.ndarray, int]:
    """The matrix (K, K) summed over blocks of neighboring classes, at most `most` a side; and a block's classes."""
    width = -(-len(matrix) // most)
    padded = np.pad(matrix, (0, -len(matrix) % width))
    side = len(padded) // width
    return padded.reshape(side, width, side, width).sum((1, 3)), width


@style()
def confusion_plot(matrix: np.ndarray, labels: tuple[str, ...]) -> str:
    """The confusion matrix, mistakes colored against the largest of them; of many classes, blocks of neighbors."""
    if len(labels) > LARGEST_WITH_NAMES:
        return _large_confusion_plot(matrix)
    side = min(8.0, max(3.2, 0.36 * len(labels)))
    figure, axes = new_chart("Confusion matrix", "answer", "true class", (side + 0.6, side))
    mistakes = matrix * (1 - np.eye(len(labels), dtype=int))
    # A single mistake is no dark spot.
    darkest = max(5, mistakes.max())
    axes.imshow(np.ma.masked_equal(mistakes, 0), cmap="Oranges", vmin=0, vmax=darkest)
    for row, column in zip(*np.nonzero(matrix)) if len(labels) <= LARGEST_WITH_NUMBERS else ():
        dark = mistakes[row, column] > darkest / 2
        color = BLUE if row == column else "white" if dark else INK
        axes.text(column, row, matrix[row, column], ha="center", va="center", fontsize=7.5, color=color)
    short = [label if len(label) <= 14 else f"{label[:13]}…" for label in labels]
    axes.set_xticks(range(len(labels)), short, rotation=90 if max(map(len, labels)) > 2 else 0)
    axes.set_yticks(range(len(labels)), short)
    if len(labels) > LARGEST_WITH_NUMBERS:
        axes.tick_params(labelsize=6)
    return svg_text(figure, "confusion matrix")


def _large_confusion_plot(matrix: np.ndarray) -> str:
    mistakes, width = blocks(matrix * (1 - np.eye(len(matrix), dtype=int)))
    figure, axes = new_chart(
        f"Mistakes, {width} classes a cell" if width > 1 else "Mistakes",
        "answer, class number",
        "true class number",
        (4.4, 3.8),
    )
    extent = (-0.5, len(mistakes) * width - 0.5, len(mistakes) * width - 0.5, -0.5)
    shown = axes.imshow(
        np.ma.masked_equal(mistakes, 0),
        cmap="Oranges",
        norm=LogNorm(1, max(2, mistakes.max())),
        extent=extent,
        interpolation="nearest",
    )
    bar = figure.colorbar(shown, ax=axes, shrink=0.8, label="pictures", format="%d")
    bar.minorticks_off()
    bar.set_ticks(sorted({1, *(power for power in (10, 100, 1000) if power < mistakes.max()), max(2, mistakes.max())}))
    return svg_text(figure, "confusion matrix")
