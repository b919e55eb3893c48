"""One static HTML page for a validation: verdict, accuracy, agreement, latency, training curves, mistakes."""
from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np

from glorext.runtime import DataError, atomic_path
from glorext.train.results import Results

from .source import Source
from .validate import Validation, paths_of, truths

MISTAKES_SHOWN = 24
LARGEST_MATRIX = 50
INK, BLUE, ORANGE, GREY = "#1f2933", "#1d6fb8", "#d9730d", "#9aa5b1"


def _svg(figure) -> str:
    import matplotlib.pyplot as plt
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return buffer.getvalue()[buffer.getvalue().index("<svg"):]


def _axes(title: str, x: str, y: str, size=(5.2, 3.0)):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    # A fixed salt keeps the ids inside the SVG, and so the page, the same from run to run.
    plt.rcParams.update({"svg.hashsalt": "glorext", "svg.fonttype": "none", "font.size": 9, "text.color": INK,
                         "font.family": "sans-serif", "axes.edgecolor": GREY, "axes.labelcolor": INK,
                         "xtick.color": INK, "ytick.color": INK})
    figure, axes = plt.subplots(figsize=size)
    axes.set(xlabel=x, ylabel=y)
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def latency_plot(results: Results) -> str:
    """Histogram of what one picture costs, file to logits without waiting in queues, with p50, p90 and p99, as SVG."""
    times = np.array([picture["ms"] for picture in results.pictures])[results.latency_ms["warmup"]:]
    figure, axes = _axes("Latency of one picture", "milliseconds", "pictures")
    # A few outliers would squeeze everything else into one bar.
    limit = np.percentile(times, 99.5)
    axes.hist(np.minimum(times, limit), bins=40, color=BLUE)
    for name, style in (("p50", "-"), ("p90", "--"), ("p99", ":")):
        value = results.latency_ms[name]
        axes.axvline(min(value, limit), color=ORANGE, linestyle=style, linewidth=1.4, label=f"{name} {value:.1f} ms")
    axes.legend(edgecolor="none", framealpha=0.9)
    return _svg(figure)


def step_series(lines: list[dict]) -> tuple[list[int], list[float], list[float]]:
    """Steps counted from the start of the run, losses and learning rates; metrics.jsonl counts within each epoch."""
    steps = [line for line in lines if line["event"] == "step"]
    return list(range(1, len(steps) + 1)), [line["loss"] for line in steps], [line["lr"] for line in steps]


def training_plots(metrics: Path) -> list[str]:
    """Loss and learning rate by step, accuracy by epoch, from a run's metrics.jsonl, as SVG; empty when there is none."""
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
        plots.append(_svg(figure))
    if epochs:
        figure, axes = _axes("Validation accuracy", "epoch", "top-1")
        axes.plot([line["epoch"] for line in epochs], [line["top1"] for line in epochs], color=BLUE, marker="o")
        axes.set_xticks([line["epoch"] for line in epochs])
        axes.set_ylim(max(0, min(line["top1"] for line in epochs) - 0.1), 1.01)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.annotate(f"{epochs[-1]['top1']:.2%}", (epochs[-1]["epoch"], epochs[-1]["top1"]), (0, -14),
                      textcoords="offset points", ha="right")
        plots.append(_svg(figure))
    return plots


def confusion(results: Results, labels: tuple[str, ...]) -> np.ndarray:
    """Counts (K, K): rows are the true classes, columns the answers."""
    matrix = np.zeros((len(labels), len(labels)), int)
    np.add.at(matrix, (truths(paths_of(results), labels), results.logits.argmax(1)), 1)
    return matrix


def confusion_plot(matrix: np.ndarray, labels: tuple[str, ...]) -> str:
    """The confusion matrix as SVG, mistakes coloured against the largest of them."""
    side = max(3.2, 0.36 * len(labels))
    figure, axes = _axes("Confusion matrix of the offline results", "answer", "true class", (side + 0.6, side))
    mistakes = matrix * (1 - np.eye(len(labels), dtype=int))
    # A single mistake is no dark spot.
    darkest = max(5, mistakes.max())
    axes.imshow(np.ma.masked_equal(mistakes, 0), cmap="Oranges", vmin=0, vmax=darkest)
    for row, column in zip(*np.nonzero(matrix)):
        dark = mistakes[row, column] > darkest / 2
        axes.text(column, row, matrix[row, column], ha="center", va="center", fontsize=7.5,
                  color=BLUE if row == column else "white" if dark else INK)
    axes.set_xticks(range(len(labels)), labels, rotation=90 if max(map(len, labels)) > 2 else 0)
    axes.set_yticks(range(len(labels)), labels)
    return _svg(figure)


def _picture(path: Path) -> str:
    # Browsers show PNG and JPEG as they are; the page must not depend on files beside it.
    kind = "png" if path.read_bytes()[:4] == b"\x89PNG" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def mistakes(source: Source, results: Results, reference: Results, data: Path) -> list[dict]:
    """Pictures to look at: first those on which the two disagree, then the wrong ones, the most confident first."""
    paths = paths_of(results)
    classes = truths(paths, source.labels)
    answers, others = results.logits.argmax(1), reference.logits.argmax(1)
    margin = results.logits.max(1) - results.logits[np.arange(len(classes)), classes]
    chosen = [index for index in np.lexsort((-margin, answers == others))
              if answers[index] != others[index] or answers[index] != classes[index]][:MISTAKES_SHOWN]
    return [{"path": paths[index], "source": _picture(Path(data) / paths[index]),
             "truth": source.labels[classes[index]], "offline": source.labels[answers[index]],
             "mindspore": source.labels[others[index]], "flip": bool(answers[index] != others[index])}
            for index in chosen]


def write_report(path: Path, validation: Validation, source: Source, results: Results, reference: Results,
                 data: Path) -> None:
    """Write the page; it needs no other file and no network.

    Args:
        path: the HTML file.
        validation: what `compare` found for `results` and `reference`.
        source: the model, with its labels and training metrics.
        results: offline results.
        reference: MindSpore's results.
        data: the pictures' folder, from which mistakes are shown.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    if not Path(data).is_dir():
        raise DataError(expected="the pictures' folder", found="no such folder", where=data)
    environment = Environment(loader=PackageLoader("glorext.deploy"), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = lambda value: f"{value:.2%}"
    small = len(source.labels) <= LARGEST_MATRIX
    page = environment.get_template("report.html.j2").render(
        v=validation, source=source, results=results, reference=reference,
        latency=latency_plot(results),
        curves=training_plots(source.folder / "metrics.jsonl") if source.folder else [],
        confusion=confusion_plot(confusion(results, source.labels), source.labels) if small else None,
        wrong=round((1 - validation.measured.top1) * validation.measured.count),
        mistakes=mistakes(source, results, reference, data))
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
