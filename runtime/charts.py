"""The one style of the project's charts, as SVG text and as PNG files: the same bytes for the same numbers."""

from __future__ import annotations

import io
import warnings

import matplotlib
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

from .files import atomic_path

INK, BLUE, ORANGE, GRAY = "#1f2933", "#1d6fb8", "#d9730d", "#9aa5b1"
STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": GRAY,
    "axes.labelcolor": INK,
    "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GRAY]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "font.family": "sans-serif",
    "font.size": 9,
    "grid.color": "#e4e7eb",
    # A fixed salt keeps the ids inside an SVG, and so the page around it, the same from run to run.
    "svg.hashsalt": "glorext",
    "svg.fonttype": "none",
    "text.color": INK,
    # A "$" in a class's name begins no formula.
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
}


def style():
    """The style as a context or a decorator: matplotlib's settings afterwards are those of before."""
    return matplotlib.rc_context(STYLE)


def new_chart(title: str, x: str, y: str, size=(5.2, 3.0)):
    """A figure of `size` in inches and its axes, `x` and `y` their labels; to be called within `style`."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.add_subplot(title=title, xlabel=x, ylabel=y)


def svg_text(figure: Figure, description: str) -> str:
    """The figure as an SVG element for an HTML page; `description` is what a screen reader says."""
    buffer = io.StringIO()
    with style(), warnings.catch_warnings():
        # Text stays text: the reader's browser has the letters that this machine's fonts lack, such as Chinese ones.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{description}"', 1)


def write_png(figure: Figure, path) -> None:
    """Write the figure as a PNG file, 120 dots an inch, whole or not at all."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
