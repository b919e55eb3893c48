"""Charts look alike, are the same bytes for the same numbers, and leave matplotlib's settings alone."""

import matplotlib
from PIL import Image

from glorext.runtime.charts import BLUE, new_chart, style, svg_text, write_png


@style()
def drawn():
    figure, axes = new_chart("Costs $5 and $6", "epoch", "loss")
    axes.plot([1, 2, 3], [3, 1, 2])
    return figure


def test_the_same_numbers_give_the_same_svg():
    text = svg_text(drawn(), "a chart")
    assert text == svg_text(drawn(), "a chart") and text.startswith('<svg role="img" aria-label="a chart"')
    assert "Costs $5 and $6" in text and BLUE in text


def test_the_settings_of_matplotlib_stay_the_users(monkeypatch):
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 33)
    before = dict(matplotlib.rcParams)
    drawn()
    assert dict(matplotlib.rcParams) == before


def test_a_png_has_the_size_that_was_asked_for(tmp_path):
    write_png(drawn(), tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").size == (624, 360) and len(list(tmp_path.iterdir())) == 1
