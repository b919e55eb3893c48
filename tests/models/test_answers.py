"""The results folder: what is written reads back, and what does not fit is an error."""

import json

import numpy as np
import pytest

from glorext.models import InputSpec
from glorext.models.answers import Results, best_classes, latencies, read_results, write_results
from glorext.models.trained import Identity
from glorext.runtime.errors import DataError


def make():
    logits = np.array([[0, 1, 2], [2, 1, 0]], np.float32)
    return Results(
        backend="mindspore",
        model=Identity("m", None, "resnext50", {}, 3, InputSpec(), "1" * 64, "2" * 64, None),
        artifact={"file": "x.ckpt", "sha256": "0" * 64, "output": "logits", "weights_dtype": "float32"},
        device="cpu",
        batch=1,
        workers=1,
        threads=2,
        logits=logits,
        pictures=[{"path": f"a/{i}.png", "top5": [2, 1, 0], "ms": 1.5} for i in "12"],
        latency_ms=latencies([9.0, 1.0, 2.0, 3.0], 1),
        throughput=2.0,
        seconds=1.0,
        stages_ms={"infer": 2.0},
        versions={"python": "3"},
    )


def test_results_read_back_equal(tmp_path):
    write_results(tmp_path / "r", make())
    again = read_results(tmp_path / "r")
    np.testing.assert_array_equal(again.logits, make().logits)
    for key in vars(make()).keys() - {"logits"}:
        assert getattr(again, key) == getattr(make(), key), key
    assert json.loads((tmp_path / "r" / "results.json").read_text())["schema"] == "glorext.results/1"


def test_latencies_leave_the_warmup_out():
    assert latencies([9.0, 1.0, 2.0, 3.0], 1) == {"p50": 2.0, "p90": 2.8, "p99": 2.98, "mean": 2.0, "warmup": 1}
    assert latencies([9.0], 1)["warmup"] == 0


def test_ties_go_to_the_lower_class():
    assert best_classes(np.array([[1, 3, 3, 0]]), 3).tolist() == [[1, 2, 0]]


@pytest.mark.parametrize(
    "damage, named",
    [
        (lambda f: (f / "logits.npy").unlink(), "logits"),
        (lambda f: (f / "results.json").write_text("{"), "JSON"),
        (lambda f: np.save(f / "logits.npy", np.zeros((1, 3), np.float32)), "2 pictures"),
        (lambda f: (f / "results.json").write_text('{"schema": "other"}'), "other"),
        (lambda f: (f / "results.json").write_text('{"schema": "glorext.results/1"}'), "count"),
    ],
)
def test_damaged_results_are_named(tmp_path, damage, named):
    write_results(tmp_path / "r", make())
    damage(tmp_path / "r")
    with pytest.raises(DataError, match=named):
        read_results(tmp_path / "r")


def test_names_that_are_not_utf8_are_written_and_read(tmp_path):
    results = make()
    results.pictures[0]["path"] = "a/caf\udce9.png"  # as the file system gives a byte that is not UTF-8
    results.failed.append({"path": "a/\udcff.png", "error": "cannot read a/\udcff.png"})
    write_results(tmp_path / "r", results)
    again = read_results(tmp_path / "r")
    assert (again.pictures, again.failed) == (results.pictures, results.failed)


def put(values, path, value):
    """Set `value` at a path such as "pictures.0.ms"; MISSING takes it away."""
    *outer, last = (int(name) if name.isdecimal() else name for name in path.split("."))
    for name in outer:
        values = values[name]
    values[last] = value
    if value is MISSING:
        del values[last]


MISSING = object()
KEYS = "schema artifact backend batch count device failed latency_ms logits model pictures seconds stages_ms threads"
BROKEN = {
    **{f"without {key}": (key, MISSING) for key in [*KEYS.split(), "throughput", "versions", "workers"]},
    **{f"without {key} of a picture": (f"pictures.0.{key}", MISSING) for key in ("path", "top5", "ms")},
    **{f"without {key}": (f"latency_ms.{key}", MISSING) for key in ("p50", "p90", "p99", "mean", "warmup")},
    **{f"{key} as text": (key, "1") for key in ("count", "batch", "workers", "threads", "seconds", "throughput")},
    **{f"no {key}": (key, 0) for key in ("batch", "workers", "threads")},
    "an unknown key": ("surprise", 1),
    "an unknown key of a picture": ("pictures.1.surprise", 1),
    "an unknown key of the model": ("model.surprise", 1),
    "an unknown key of the artifact": ("artifact.surprise", 1),
    "true for a number": ("threads", True),
    "a count with a point": ("count", 2.0),
    "a batch of 10**400": ("batch", 10**400),
    "logits elsewhere": ("logits", "../logits.npy"),
    "pictures as an object": ("pictures", {}),
    "a picture as text": ("pictures.0", "a/1.png"),
    "a path as a number": ("pictures.1.path", 1),
    "half of a surrogate pair in a path": ("pictures.0.path", "\ud83d"),
    "classes as text": ("pictures.0.top5", ["2", "1"]),
    "a time that is null": ("pictures.0.ms", None),
    "failed as a list of names": ("failed", ["a/3.png"]),
    "an error that is a number": ("failed", [{"path": "a/3.png", "error": 3}]),
    "a warmup below 0": ("latency_ms.warmup", -1),
    "a percentile too many": ("latency_ms.p10", 1.0),
    "a stage as text": ("stages_ms.infer", "2"),
    "a stage in capitals": ("stages_ms.Infer", 2),
    "a version as a number": ("versions.python", 3),
    "an unknown output": ("artifact.output", "scores"),
    "unknown weights": ("artifact.weights_dtype", "int4"),
    "a short digest": ("artifact.sha256", "0" * 63),
    "a model without a digest": ("model.weights_sha256", None),
    "the schema of another file": ("schema", "glorext.shard/1"),
}


@pytest.mark.parametrize("title", BROKEN)
def test_a_broken_results_file_is_refused_by_its_key(tmp_path, title):
    path, value = BROKEN[title]
    write_results(tmp_path / "r", make())
    file = tmp_path / "r" / "results.json"
    values = json.loads(file.read_text())
    put(values, path, value)
    file.write_text(json.dumps(values))
    with pytest.raises(DataError) as caught:
        read_results(tmp_path / "r")
    outer = "".join(f"[{name}]" if name.isdecimal() else f".{name}" for name in path.split(".")[:-1]).lstrip(".")
    assert outer in str(caught.value) and path.split(".")[-1] in str(caught.value), caught.value


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e400"])
def test_a_number_that_is_not_finite_is_refused(tmp_path, number):
    write_results(tmp_path / "r", make())
    file = tmp_path / "r" / "results.json"
    file.write_text(file.read_text().replace('"throughput": 2.0', f'"throughput": {number}'))
    with pytest.raises(DataError, match=r"finite|NaN|Infinity"):
        read_results(tmp_path / "r")
