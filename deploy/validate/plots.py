"""The report's figures as SVG text, the same bytes for the same numbers."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from glorext.deploy.validate.verdict import Validation
from glorext.models.answers import Results

INK, BLUE, ORANGE, GREY, RED = "#1f2933", "#1d6fb8", "#d9730d", "#9aa5b1", "#b42318"
# Beyond this many classes numbers in the cells are too small to read, and beyond that so are the classes' names.
LARGEST_WITH_NUMBERS, LARGEST_WITH_NAMES, MOST_CELLS = 20, 50, 100
HISTOGRAM_BINS = 40


def _svg(figure, title: str) -> str:
    import matplotlib.pyplot as plt

    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = buffer.getvalue()[buffer.getvalue().index("<svg") :]
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


def _axes(title: str, x: str, y: str, size=(5.2, 3.0)):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    # A fixed salt keeps the ids inside the SVG, and so the page, the same from run to run.
    plt.rcParams.update(
        {
            "svg.hashsalt": "glorext",
            "svg.fonttype": "none",
            "font.size": 9,
            "text.color": INK,
            "font.family": "sans-serif",
            "axes.edgecolor": GREY,
            "axes.labelcolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "text.parse_math": False,
        }
    )
    figure, axes = plt.subplots(figsize=size)
    axes.set(xlabel=x, ylabel=y)
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def accuracy_plot(validation: Validation) -> str:
    """Top-1 with its interval, MindSpore's, and the evidence's with what may not be fallen below, on one line each."""
    rows = [(f"{validation.backend}, {validation.device}", validation.measured, BLUE)]
    if validation.mindspore:
        rows.append(("MindSpore", validation.mindspore.reference, GREY))
    figure, axes = _axes("Top-1", "", "", (5.2, 0.9 + 0.42 * (len(rows) + bool(validation.claim))))
    for place, (_, found, colour) in enumerate(rows):
        if found.low is not None:
            axes.plot(
                [found.low, found.high], [-place, -place], color=colour, linewidth=7, alpha=0.35, solid_capstyle="butt"
            )
        axes.plot(found.top1, -place, "o", color=colour)
        axes.annotate(
            f"{found.top1:.2%}", (found.top1, -place), (0, 6), textcoords="offset points", ha="center", fontsize=8
        )
    names = [name for name, *_ in rows]
    if validation.claim:
        axes.plot(validation.claim.top1, -len(rows), "D", color=ORANGE)
        axes.annotate(
            f"{validation.claim.top1:.2%}",
            (validation.claim.top1, -len(rows)),
            (0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
        names.append("evidence")
    axes.set_yticks([-place for place in range(len(names))], names)
    axes.set_ylim(-len(names) + 0.5, 0.7)
    axes.margins(x=0.12)
    axes.xaxis.set_major_locator(_few_ticks())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.1%}")
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    return _svg(figure, "top-1 accuracy with its interval")


def _few_ticks():
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5)


def latency_counts(results: Results) -> tuple[list[int], list[float]]:
    """Histogram of what one picture costs: counts, and edges in milliseconds. The slowest 0.5 % count in the last bin."""
    times = np.array([picture["ms"] for picture in results.pictures])[results.latency_ms["warmup"] :]
    # A few outliers would squeeze everything else into one bar.
    counts, edges = np.histogram(np.minimum(times, np.percentile(times, 99.5)), bins=HISTOGRAM_BINS)
    return counts.tolist(), edges.tolist()


def latency_plot(results: Results) -> str:
    """Histogram of what one picture costs, file to logits without waiting in queues, with p50, p90 and p99."""
    counts, edges = latency_counts(results)
    figure, axes = _axes("Latency of one picture", "milliseconds", "pictures")
    axes.stairs(counts, edges, fill=True, color=BLUE)
    for name, style in (("p50", "-"), ("p90", "--"), ("p99", ":")):
        value = results.latency_ms[name]
        axes.axvline(
            min(value, edges[-1]), color=ORANGE, linestyle=style, linewidth=1.4, label=f"{name} {value:.1f} ms"
        )
    axes.legend(edgecolor="none", framealpha=0.9)
    return _svg(figure, "histogram of latency")


def step_series(lines: list[dict]) -> tuple[list[int], list[float], list[float]]:
    """Steps counted from the start of the run, losses and learning rates; metrics.jsonl counts within each epoch."""
    steps = [line for line in lines if line["event"] == "step"]
    return list(range(1, len(steps) + 1)), [line["loss"] for line in steps], [line["lr"] for line in steps]


def training_plots(metrics: Path) -> list[str]:
    """Loss and learning rate by step, accuracy by epoch, from a run's metrics.jsonl; empty when there is none."""
    if not metrics.is_file():
        return []
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    steps, losses, rates = step_series(lines)
    epochs = [line for line in lines if line["event"] == "epoch" and line.get("top1") is not None]
    plots = []
    if steps:
        figure, axes = _axes("Training loss and learning rate", "step", "loss")
        axes.plot(steps, losses, color=BLUE, linewidth=1)
        rate = axes.twinx()
        rate.plot(steps, rates, color=ORANGE, linewidth=1)
        rate.set_ylabel("learning rate", color=ORANGE)
        rate.spines[["top", "left"]].set_visible(False)
        plots.append(_svg(figure, "training loss and learning rate"))
    if epochs:
        figure, axes = _axes("Validation accuracy", "epoch", "top-1")
        axes.plot([line["epoch"] for line in epochs], [line["top1"] for line in epochs], color=BLUE, marker="o")
        axes.xaxis.set_major_locator(_few_ticks())
        axes.set_ylim(max(0, min(line["top1"] for line in epochs) - 0.1), 1.01)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.annotate(
            f"{epochs[-1]['top1']:.2%}",
            (epochs[-1]["epoch"], epochs[-1]["top1"]),
            (0, -14),
            textcoords="offset points",
            ha="right",
        )
        plots.append(_svg(figure, "validation accuracy by epoch"))
    return plots


def blocks(matrix: np.ndarray, most: int = MOST_CELLS) -> tuple[np.ndarray, int]:
    """The matrix (K, K) summed over blocks of neighbouring classes, at most `most` a side; and the classes of a block."""
    width = -(-len(matrix) // most)
    padded = np.pad(matrix, (0, -len(matrix) % width))
    side = len(padded) // width
    return padded.reshape(side, width, side, width).sum((1, 3)), width


def confusion_plot(matrix: np.ndarray, labels: tuple[str, ...]) -> str:
    """The confusion matrix, mistakes coloured against the largest of them; of many classes, blocks of neighbours."""
    if len(labels) > LARGEST_WITH_NAMES:
        return _large_confusion_plot(matrix)
    side = min(8.0, max(3.2, 0.36 * len(labels)))
    figure, axes = _axes("Confusion matrix", "answer", "true class", (side + 0.6, side))
    mistakes = matrix * (1 - np.eye(len(labels), dtype=int))
    # A single mistake is no dark spot.
    darkest = max(5, mistakes.max())
    axes.imshow(np.ma.masked_equal(mistakes, 0), cmap="Oranges", vmin=0, vmax=darkest)
    for row, column in zip(*np.nonzero(matrix)) if len(labels) <= LARGEST_WITH_NUMBERS else ():
        dark = mistakes[row, column] > darkest / 2
        axes.text(
            column,
            row,
            matrix[row, column],
            ha="center",
            va="center",
            fontsize=7.5,
            color=BLUE if row == column else "white" if dark else INK,
        )
    short = [label if len(label) <= 14 else f"{label[:13]}…" for label in labels]
    axes.set_xticks(range(len(labels)), short, rotation=90 if max(map(len, labels)) > 2 else 0)
    axes.set_yticks(range(len(labels)), short)
    if len(labels) > LARGEST_WITH_NUMBERS:
        axes.tick_params(labelsize=6)
    return _svg(figure, "confusion matrix")


def _large_confusion_plot(matrix: np.ndarray) -> str:
    from matplotlib.colors import LogNorm

    mistakes, width = blocks(matrix * (1 - np.eye(len(matrix), dtype=int)))
    figure, axes = _axes(
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
    return _svg(figure, "confusion matrix")
