"""The report shows what was measured, stands alone, and can be read in a browser of any width."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from glorext.deploy.parity.measure import Hop, Parity
from glorext.deploy.validate.plots import blocks, confusion_plot, step_series
from glorext.deploy.validate.report import MISTAKES_SHOWN, confusion, mistakes, picture, write_report
from glorext.deploy.validate.verdict import validate
from glorext.models.answers import Results
from glorext.runtime import UsageError
from glorext.train.data import list_pictures

from .made import ARTIFACT, identity, trained

LABELS = ("cat", "dog", "<script>alert(1)</script>")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """30 pictures of three classes; the offline answers are wrong on two, and on one MindSpore differs."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("report")
    run = folder / "run"
    run.mkdir()
    lines = [
        {"event": "step", "epoch": 1, "step": step, "loss": 2 / step, "lr": 0.1, "images_per_second": 9}
        for step in range(1, 21)
    ]
    lines += [
        {
            "event": "epoch",
            "epoch": epoch,
            "loss": 0.2,
            "lr": 0.1,
            "images_per_second": 9,
            "top1": 0.5 + epoch / 9,
            "top5": 1,
            "seconds": 3,
        }
        for epoch in (1, 2)
    ]
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
    source = trained(run / "best.ckpt", classes, folder=run, name="three", num_classes=3, weights_sha256="a" * 64)

    def results(values, backend):
        return Results(
            backend=backend,
            model=source.identity(),
            artifact=ARTIFACT,
            device="cpu",
            batch=1,
            workers=2,
            threads=1,
            logits=values,
            pictures=pictures,
            latency_ms={"p50": 6.0, "p90": 8.0, "p99": 9.0, "mean": 6.0, "warmup": 2},
            throughput=33.3,
            seconds=0.9,
            stages_ms={"decode": 0.5, "infer": 5.5},
            versions={"mindspore_lite": "2.0.0"},
        )

    return source, results(logits, "lite-cpp"), results(other, "mindspore"), list_pictures(folder / "data")


HOPS = Parity(
    identity("three", num_classes=3, weights_sha256="a" * 64),
    ("x", "y"),
    0.1,
    (
        Hop("MINDIR in MindSpore", "pass", "", 1e-4, 2.5e-6, 1e-7, 0.9999, ("x",)),
        Hop("Ascend 310", "not measured", "no CANN here"),
    ),
)


@pytest.fixture(scope="module")
def page(parts, tmp_path_factory):
    source, results, reference, data = parts
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(path, validate(source, results, reference), source, results, reference, data, HOPS)
    return path


def test_disagreements_come_first_then_mistakes(parts):
    shown = mistakes(*parts[:3])
    assert [(one["path"], one["flip"]) for one in shown] == [("cat/04.png", True), ("cat/03.png", False)]
    assert (shown[0]["truth"], shown[0]["offline"], shown[0]["mindspore"]) == ("cat", "dog", "cat")


def test_steps_are_counted_through_the_whole_run():
    lines = [
        {"event": "step", "epoch": epoch, "step": step, "loss": epoch + step, "lr": 0.1 * epoch}
        for epoch in (1, 2)
        for step in (1, 2, 3)
    ] + [{"event": "epoch", "epoch": 2}]
    assert step_series(lines) == ([1, 2, 3, 4, 5, 6], [2, 3, 4, 3, 4, 5], [0.1, 0.1, 0.1, 0.2, 0.2, 0.2])


def test_confusion_counts_every_picture_once(parts):
    source, results, *_ = parts
    assert confusion(results, source.labels).tolist() == [[8, 2, 0], [0, 10, 0], [0, 0, 10]]


def test_numbers_of_the_validation_are_on_the_page(page):
    text = page.read_text()
    for told in (
        "93.33%",
        "29 of 30",
        "33.3",
        "96.67%",
        "not measured",
        "Training loss",
        "cat/04.png",
        "2.5e-06",
        "no CANN here",
        "Most often confused",
        "F1 93.27%",
        "83.3 %",
        "Right answers by confidence",
        "All 3 classes",
    ):
        assert told in text, told


def test_the_same_numbers_stand_beside_the_page(page, parts):
    told = json.loads(page.with_suffix(".json").read_text())
    assert told["schema"] == "glorext.report/1" and told["validation"]["measured"]["top1"] == 28 / 30
    assert told["validation"]["mindspore"]["flips"] == ["cat/04.png"] and told["wrong"] == 2
    assert [hop["state"] for hop in told["hops"]["hops"]] == ["pass", "not measured"]
    cat = {"label": "cat", "count": 10, "answered": 8, "right": 8, "precision": 1.0, "recall": 0.8, "f1": 16 / 18}
    assert told["classes"][0] == cat and told["worst_classes"] == [cat | {"taken_for": "dog", "times": 2}]
    assert [row["precision"] for row in told["classes"]] == [1.0, 10 / 12, 1.0]
    assert told["means"]["recall"] == pytest.approx(28 / 30)
    assert told["confused"] == [{"truth": "cat", "answer": "dog", "times": 2}]
    bins = [(row["count"], row["accuracy"]) for row in told["calibration"]["bins"] if row["count"]]
    assert bins == [(1, 0.0), (1, 0.0), (28, 1.0)], "softmax of (1, 1.0004, 0), (1, 2, 0), (4, 0, 0)"
    sure = 28 * np.exp(4) / (np.exp(4) + 2) - 28
    wrong = np.exp(2) / (np.exp(1) + np.exp(2) + 1) + np.exp(1.0004) / (np.exp(1) + np.exp(1.0004) + 1)
    assert told["calibration"]["ece"] == pytest.approx((wrong - sure) / 30, rel=1e-5)
    assert sum(told["speed"]["histogram"]["counts"]) == 28, "every picture but the two of the warm-up"


def test_without_reference_pictures_and_hops_the_rest_is_shown(parts, tmp_path):
    source, results, *_ = parts
    write_report(tmp_path / "r.html", validate(source, results), source, results)
    text = (tmp_path / "r.html").read_text()
    assert "NOT CLEAR" in text and "<img" not in text and "cat/04.png" in text and "Hop by hop" not in text


def test_a_page_never_overwrites_the_numbers_beside_it(parts, tmp_path):
    source, results, *_ = parts
    with pytest.raises(UsageError, match="HTML"):
        write_report(tmp_path / "r.json", validate(source, results), source, results)


def test_the_page_asks_nobody_for_anything(page):
    text = page.read_text()
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", text)
    assert "<script" not in text and "@import" not in text and "url(" not in re.sub(r"url\(#\w+\)", "", text)


def test_labels_cannot_inject_markup(parts, tmp_path):
    import dataclasses

    source, results, reference, data = parts
    evil = dataclasses.replace(source, name=LABELS[2])
    write_report(tmp_path / "r.html", validate(evil, results, reference), evil, results, reference, data)
    assert "<script" not in (tmp_path / "r.html").read_text()
    assert "<script" not in confusion_plot(np.eye(3, dtype=int), LABELS)


def test_a_large_photograph_becomes_a_thumbnail_and_a_small_one_stays(tmp_path):
    import base64
    import io

    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (600, 900, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.jpg", quality=95)
    Image.fromarray(noise[:32, :32]).save(tmp_path / "small.png")
    shown = Image.open(io.BytesIO(base64.b64decode(picture(tmp_path / "large.jpg").split(",")[1])))
    assert shown.size == (240, 160)
    assert base64.b64decode(picture(tmp_path / "small.png").split(",")[1]) == (tmp_path / "small.png").read_bytes()


def test_blocks_of_classes_keep_every_mistake():
    matrix = np.random.default_rng(0).integers(0, 5, (1003, 1003))
    small, width = blocks(matrix)
    assert width == 11 and small.shape == (92, 92) and small.sum() == matrix.sum()
    assert small[1, 2] == matrix[11:22, 22:33].sum()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """1000 classes with long names, 4000 pictures, of which every tenth is wrong and every hundredth flips."""
    folder = tmp_path_factory.mktemp("large")
    classes = tuple(f"n{number:08d} of a name that is rather long" for number in range(1000))
    pictures = [
        {"path": f"{classes[number // 4]}/{number:04d}.jpg", "top5": [], "ms": 5 + number % 97}
        for number in range(4000)
    ]
    logits = np.zeros((4000, 1000), np.float32)
    rows = np.arange(4000)
    logits[rows, (rows // 4 + (rows % 10 == 0) * 7) % 1000] = 5
    other = logits.copy()
    flipped = rows[rows % 100 == 1]
    other[flipped, (flipped // 4 + 9) % 1000] = 6
    source = trained(folder / "x.ckpt", classes, name="large", num_classes=1000, weights_sha256="a" * 64)

    def results(values, backend):
        return Results(
            backend=backend,
            model=source.identity(),
            artifact=ARTIFACT,
            device="cpu",
            batch=1,
            workers=2,
            threads=1,
            logits=values,
            pictures=pictures,
            latency_ms={"p50": 50.0, "p90": 90.0, "p99": 99.0, "mean": 50.0, "warmup": 2},
            throughput=33.3,
            seconds=0.9,
            stages_ms={"infer": 5.5},
            versions={},
        )

    found, reference = results(logits, "lite-cpp"), results(other, "mindspore")
    write_report(folder / "r.html", validate(source, found, reference), source, found, reference)
    assert len(mistakes(source, found, reference)) == MISTAKES_SHOWN
    assert sum(one["flip"] for one in mistakes(source, found, reference)) == MISTAKES_SHOWN // 2
    return folder / "r.html"


def test_many_classes_and_pictures_do_not_blow_up_the_page(large):
    assert large.stat().st_size < 500_000 and large.with_suffix(".json").stat().st_size < 300_000
    assert "10 classes a cell" in large.read_text()


def shown_in(page, tmp_path, width):
    """What a browser makes of the page at this width: width with scrolling, number of SVGs, number of pictures."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    probe = tmp_path / "probe.html"
    # The page inside a frame of the wanted width reports its own scroll width through the title of the outer page.
    probe.write_text(f"""<iframe id=f src="{page.as_uri()}" style="width:{width}px;height:900px;border:0"></iframe>
        <script>
        f.onload = () => {{ const d = f.contentDocument; document.title = d ? d.documentElement.scrollWidth + ' ' +
        d.querySelectorAll('svg').length + ' ' + d.querySelectorAll('img').length : 'no access' }}</script>""")
    done = subprocess.run(
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-quic",
            "--allow-file-access-from-files",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=4000",
            "--dump-dom",
            probe.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return tuple(map(int, re.search(r"<title>(\d+) (\d+) (\d+)</title>", done.stdout).groups()))


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_it_without_sideways_scrolling(page, tmp_path, width):
    scroll, plots, pictures = shown_in(page, tmp_path, width)
    assert scroll <= width and plots == 6 and pictures == 2


@pytest.mark.browser
def test_long_names_fit_a_phone(large, tmp_path):
    scroll, plots, pictures = shown_in(large, tmp_path, 390)
    assert scroll <= 390 and plots == 4 and pictures == 0
