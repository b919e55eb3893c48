"""The results folder: what is written reads back, and what does not fit is an error."""

import json

import numpy as np
import pytest

from glorext.models.answers import Results, best_classes, latencies, read_results, write_results
from glorext.runtime.errors import DataError


def make():
    logits = np.array([[0, 1, 2], [2, 1, 0]], np.float32)
    return Results(
        backend="mindspore",
        model={"file": "x.ckpt", "sha256": "0" * 64},
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
    assert (again.pictures, again.latency_ms, again.count) == (make().pictures, make().latency_ms, 2)
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
        (lambda f: (f / "results.json").write_text('{"schema": "glorext.results/1"}'), "backend"),
    ],
)
def test_damaged_results_are_named(tmp_path, damage, named):
    write_results(tmp_path / "r", make())
    damage(tmp_path / "r")
    with pytest.raises(DataError, match=named):
        read_results(tmp_path / "r")


def test_a_bare_checkpoint_tells_its_network_by_its_shapes_or_asks(tmp_path):
    from glorext.models import create, save_checkpoint
    from glorext.runtime import UsageError
    from glorext.train.evaluate import find_run

    small = {"layers": (1, 1, 1, 1), "width_per_group": 4, "stem_width": 16}
    save_checkpoint(create("resnext50", groups=4, num_classes=2, **small), tmp_path / "variant.ckpt")
    with pytest.raises(UsageError, match="variant.ckpt"):
        find_run(tmp_path / "variant.ckpt")
    assert find_run(tmp_path / "variant.ckpt", network="resnext50")[1].network == "resnext50"
    save_checkpoint(create("resnext50", num_classes=2), tmp_path / "whole.ckpt")
    assert find_run(tmp_path / "whole.ckpt")[1].network == "resnext50"
