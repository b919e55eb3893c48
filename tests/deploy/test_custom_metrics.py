"""A user's own metrics: what they get, what may come back, and whose line an error is."""

import json
import sys

import numpy as np
import pytest

from glorext.deploy.validate import command
from glorext.deploy.validate.custom_metrics import Measured, load_metric, measured
from glorext.models.answers import Results, write_results
from glorext.runtime import DataError, UsageError

from .made import ARTIFACT, identity, trained

LABELS = ("cat", "dog", "emu")
CLASSES = np.array([0, 0, 1, 1])  # no emu
METRICS = """
import numpy as np

SEEN = []
CONSTANT = 3


def right(answers, classes, names):
    SEEN.append((answers.dtype, answers.shape, classes.dtype, names))
    return np.float32((answers.argmax(1) == classes).mean())


def each(answers, classes, names):
    hits = answers.argmax(1) == classes
    seen = [(name, hits[classes == index]) for index, name in enumerate(names)]
    return {name: some.mean() if len(some) else None for name, some in seen}


def divides(answers, classes, names):
    nothing = 0
    return inner(nothing)


def inner(nothing):
    return 1 / nothing


def in_numpy(answers, classes, names):
    return np.concatenate([answers, classes])


def changes(answers, classes, names):
    answers[0, 0] = 7


def leaves(answers, classes, names):
    raise SystemExit(0)


def text(answers, classes, names):
    return "high"


def rows(answers, classes, names):
    return answers.max(1)


def nan(answers, classes, names):
    return {"cat": 1.0, "emu": np.mean([])}


def truth(answers, classes, names):
    return True
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with the modules of the tests."""
    (tmp_path / "own_metrics.py").write_text(METRICS)
    (tmp_path / "cut.py").write_text("import os\n\ndef f(:\n")
    (tmp_path / "fails.py").write_text("import numpy as np\nVALUE = 1\nnp.load('no such file')\n")
    (tmp_path / "lacks.py").write_text("import not_installed_anywhere\n")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield tmp_path
    assert sys.path == path
    for name in ("own_metrics", "cut", "fails", "lacks"):
        sys.modules.pop(name, None)


def results(logits, output="logits"):
    paths = [f"{LABELS[index]}/{number}.png" for number, index in enumerate(CLASSES)]
    return Results(
        backend="lite-cpp",
        model=identity("three", num_classes=3, labels=LABELS, weights_sha256="a" * 64),
        artifact={**ARTIFACT, "output": output},
        device="cpu",
        batch=1,
        workers=1,
        threads=1,
        logits=np.asarray(logits, np.float32),
        pictures=[{"path": path, "top5": [], "ms": 1.0} for path in paths],
        latency_ms={"p50": 1.0, "p90": 1.0, "p99": 1.0, "mean": 1.0, "warmup": 0},
        throughput=1.0,
        seconds=1.0,
        stages_ms={},
        versions={},
    )


LOGITS = [[5, 1, 0], [1, 5, 0], [0, 5, 1], [0, 4, 1]]  # one cat is taken for a dog


def values(name, reference=None, output="logits"):
    return measured([load_metric(f"own_metrics:{name}")], results(LOGITS, output), reference, CLASSES, LABELS)


def test_a_function_gets_the_answers_the_classes_and_the_names(here):
    assert values("right") == (Measured("right", 0.75),)
    (seen,) = sys.modules["own_metrics"].SEEN
    assert seen == (np.float32, (4, 3), np.int64, LABELS)


def test_several_values_have_the_functions_name_before_their_own_and_none_stays_none(here):
    assert values("each") == (Measured("each.cat", 0.5), Measured("each.dog", 1.0), Measured("each.emu", None))


def test_mindspores_answers_are_measured_as_well(here):
    right = results([[5, 1, 0], [5, 1, 0], [0, 5, 1], [0, 4, 1]])
    assert values("right", right) == (Measured("right", 0.75, 1.0),)
    assert values("each", right)[0] == Measured("each.cat", 0.5, 1.0)


def test_probabilities_are_compared_with_probabilities(here):
    (here / "own_metrics.py").write_text("def most(answers, classes, names):\n    return answers.sum(1).max()\n")
    (one,) = values("most", results(LOGITS), output="probabilities")
    assert one.value == 6.0 and one.mindspore == pytest.approx(1.0)


@pytest.mark.parametrize(
    "name, words",
    [
        ("divides", r"divides failed with ZeroDivisionError: division by zero in .*own_metrics.py, line 25, in inner"),
        ("in_numpy", r"failed with ValueError: all the input array.* in .*own_metrics.py, line 29, in in_numpy"),
        ("changes", r"failed with ValueError: assignment destination is read-only in .*, line 33, in changes"),
        ("leaves", r"failed with SystemExit: 0 in .*own_metrics.py, line 37, in leaves"),
        ("text", r"expected a number, None, or a dict of them by name from the metric own_metrics:text, found a str"),
        ("rows", r"found a ndarray"),
        ("truth", r"found a bool"),
        ("nan", r"found nan for 'emu'. Let it give None"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
def test_a_function_that_fails_is_named_with_its_own_line(here, name, words):
    with pytest.raises(DataError, match=words):
        values(name)


@pytest.mark.parametrize(
    "text, words",
    [
        ("own_metrics", "expected MODULE:FUNCTION, such as my_metrics:top3, found own_metrics in --metric"),
        ("own_metrics.py:right", "a module own_metrics.py in the current folder or installed, found none"),
        ("./own_metrics:right", "expected MODULE:FUNCTION"),
        ("nowhere:right", "expected a module nowhere in the current folder or installed, found none"),
        ("own_metrics:left", "expected a function left in .*own_metrics.py, found nothing of that name"),
        ("own_metrics:CONSTANT", "expected a function CONSTANT in .*own_metrics.py, found a int"),
        ("cut:f", "the metric cut:f failed with SyntaxError.* in .*cut.py, line 3"),
        ("fails:f", "failed with FileNotFoundError.* in .*fails.py, line 3, in <module>"),
        ("lacks:f", "failed with ModuleNotFoundError: No module named 'not_installed_anywhere' in .*lacks.py, line 1"),
    ],
)
def test_a_metric_that_is_not_there_is_told_before_anything_runs(here, text, words):
    with pytest.raises(UsageError, match=words):
        load_metric(text)


@pytest.fixture
def validated(here, monkeypatch):
    """`glorext validate` over stored results of a model, with more arguments; what --out holds."""
    source = trained(here / "m.ckpt", LABELS, name="three", num_classes=3, weights_sha256="a" * 64)
    monkeypatch.setattr(command, "chosen_model", lambda options: source)
    write_results(here / "results", results(LOGITS))

    def call(*arguments, error=None):
        words = ["three", "--results", str(here / "results"), "--out", str(here / "v.json"), "--min_top1", "0.5"]
        if error is None:
            assert command.main([*words, *arguments]) == 0
        else:
            with pytest.raises(DataError, match=error):
                command.main([*words, *arguments])
        return json.loads((here / "v.json").read_text())

    return call


def test_the_command_shows_and_writes_what_was_measured(validated, here, capsys):
    page = here / "report.html"
    found = validated("--metric", "own_metrics:right", "--metric", "own_metrics:each", "--report", str(page))
    assert found["metrics"] == [
        {"name": "right", "value": 0.75, "mindspore": None},
        {"name": "each.cat", "value": 0.5, "mindspore": None},
        {"name": "each.dog", "value": 1.0, "mindspore": None},
        {"name": "each.emu", "value": None, "mindspore": None},
    ]
    shown = capsys.readouterr().out
    assert "  right: 0.75\n" in shown and "  each.emu: nothing to measure\n" in shown
    assert "<td>each.cat</td>" in page.read_text() and "Own metrics" in page.read_text()
    assert json.loads(page.with_suffix(".json").read_text())["validation"]["metrics"] == found["metrics"]


def test_a_metric_that_fails_does_not_lose_the_validation(validated, capsys):
    found = validated("--metric", "own_metrics:divides", error="own_metrics.py, line 25, in inner")
    assert found["verdict"] == "pass" and found["metrics"] == []
    assert "verdict: pass" in capsys.readouterr().out


def test_without_metrics_none_are_shown(validated, capsys):
    assert validated()["metrics"] == []


def test_a_shard_takes_no_metric(here):
    with pytest.raises(UsageError, match="--metric and --min_top1 with --merge"):
        command.main(["m", "--data", "val", "--shard", "1/2", "--out", "s", "--metric", "own_metrics:right"])
