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
