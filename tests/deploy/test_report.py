"""The report shows what was measured, stands alone, and can be read in a browser of any width."""
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from glorext.deploy.report import confusion, mistakes, step_series, write_report
from glorext.deploy.source import Source
from glorext.deploy.validate import compare
from glorext.models import InputSpec
from glorext.train.results import Results

LABELS = ("cat", "dog", "<script>alert(1)</script>")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """30 pictures of three classes; the offline answers are wrong on two, and on one MindSpore differs."""
    from PIL import Image
    folder = tmp_path_factory.mktemp("report")
    run = folder / "run"
    run.mkdir()
    lines = [{"event": "step", "epoch": 1, "step": step, "loss": 2 / step, "lr": 0.1, "images_per_second": 9}
             for step in range(1, 21)]
    lines += [{"event": "epoch", "epoch": epoch, "loss": 0.2, "lr": 0.1, "images_per_second": 9, "top1": 0.5 + epoch / 9,
               "top5": 1, "seconds": 3} for epoch in (1, 2)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    classes = ("cat", "dog", "bird")
    logits, pictures = np.zeros((30, 3), np.float32), []
    for number in range(30):
        path = folder / "data" / classes[number // 10] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number * 8, 99, 0)).save(path)
        pictures.append({"path": f"{classes[number // 10]}/{number:02d}.png", "top5": [], "ms": 5 + number / 7})
        logits[number, number // 10] = 4
    other = logits.copy()
    logits[3] = (1, 2, 0)
    other[3] = (1, 2, 0)
    logits[4], other[4] = (1, 1.0004, 0), (1.0004, 1, 0)
    source = Source("three", "resnext50", {"num_classes": 3}, run / "best.ckpt", InputSpec(), classes, "a" * 64,
                    folder=run)

    def results(values, backend):
        return Results(backend=backend, model={"file": "m", "sha256": "b" * 64, "weights_sha256": "a" * 64},
                       device="cpu", batch=1, workers=2, threads=1, logits=values, pictures=pictures,
                       latency_ms={"p50": 6.0, "p90": 8.0, "p99": 9.0, "mean": 6.0, "warmup": 2}, throughput=33.3,
                       seconds=0.9, stages_ms={"decode": 0.5, "infer": 5.5}, versions={"mindspore_lite": "2.0.0"})

    return source, results(logits, "lite-cpp"), results(other, "mindspore"), folder / "data"


@pytest.fixture(scope="module")
def page(parts, tmp_path_factory):
    source, results, reference, data = parts
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(path, compare(source, results, reference), source, results, reference, data)
    return path


def test_disagreements_come_first_then_mistakes(parts):
    shown = mistakes(*parts)
    assert [(one["path"], one["flip"]) for one in shown] == [("cat/04.png", True), ("cat/03.png", False)]
    assert (shown[0]["truth"], shown[0]["offline"], shown[0]["mindspore"]) == ("cat", "dog", "cat")


def test_steps_are_counted_through_the_whole_run():
    lines = [{"event": "step", "epoch": epoch, "step": step, "loss": epoch + step, "lr": 0.1 * epoch}
             for epoch in (1, 2) for step in (1, 2, 3)] + [{"event": "epoch", "epoch": 2}]
    assert step_series(lines) == ([1, 2, 3, 4, 5, 6], [2, 3, 4, 3, 4, 5], [0.1, 0.1, 0.1, 0.2, 0.2, 0.2])


def test_confusion_counts_every_picture_once(parts):
    source, results, *_ = parts
    assert confusion(results, source.labels).tolist() == [[8, 2, 0], [0, 10, 0], [0, 0, 10]]


def test_numbers_of_the_validation_are_on_the_page(page):
    text = page.read_text()
    for told in ("93.33%", "29 of 30", "33.3", "96.67%", "not measured", "Training loss", "cat/04.png"):
        assert told in text, told


def test_the_page_asks_nobody_for_anything(page):
    text = page.read_text()
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", text)
    assert "<script" not in text and "@import" not in text and "url(" not in re.sub(r"url\(#\w+\)", "", text)


def test_labels_cannot_inject_markup(parts, tmp_path):
    import dataclasses
    source, results, reference, data = parts
    evil = dataclasses.replace(source, name=LABELS[2])
    write_report(tmp_path / "r.html", compare(evil, results, reference), evil, results, reference, data)
    assert "<script" not in (tmp_path / "r.html").read_text()


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_it_without_sideways_scrolling(page, tmp_path, width):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    probe = tmp_path / "probe.html"
    # The page inside a frame of the wanted width reports its own scroll width through the title of the outer page.
    probe.write_text(f"""<iframe id=f src="{page.as_uri()}" style="width:{width}px;height:900px;border:0"></iframe><script>
        f.onload = () => {{ const d = f.contentDocument; document.title = d ? d.documentElement.scrollWidth + ' ' +
        d.querySelectorAll('svg').length + ' ' + d.querySelectorAll('img').length : 'no access' }}</script>""")
    done = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-quic", "--allow-file-access-from-files",
         f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=4000", "--dump-dom", probe.as_uri()],
        capture_output=True, text=True, timeout=120)
    scroll, plots, pictures = map(int, re.search(r"<title>(\d+) (\d+) (\d+)</title>", done.stdout).groups())
    assert scroll <= width and plots == 4 and pictures == 2
