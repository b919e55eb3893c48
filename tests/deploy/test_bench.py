"""`glorext bench`: loads in Python, the settings that are tried, and the command on a converted model."""

import json
import threading
import time

import numpy as np
import pytest

from glorext.deploy.bench.command import main, make_parser, plan_of, search
from glorext.deploy.bench.load import Load
from glorext.deploy.bench.page import curve, layer_rows
from glorext.deploy.bench.runtimes import Setting, runtimes
from glorext.deploy.contract.artifact import read_artifact
from glorext.runtime import SetupError, UsageError


def load(kind, answer=lambda inputs: None, workers=1, batch=1, warmup=0.0, seconds=0.3, source=None):
    source = source or (lambda number: np.zeros(1))
    return Load(kind, answer, source, workers, batch, warmup, seconds).measure()


def after(seconds):
    return lambda inputs: time.sleep(seconds)


def test_one_request_after_another_takes_as_long_as_its_stages_together():
    def slow(number):
        time.sleep(0.005)
        return np.zeros(1)

    found = load("single", after(0.02), source=slow)
    assert found["count"] >= 2 and found["throughput"] <= 40
    assert found["stages_ms"]["prepare"] >= 5 and found["stages_ms"]["infer"] >= 20
    assert sum(found["stages_ms"].values()) == pytest.approx(found["latency_ms"]["mean"])


def test_at_full_load_every_call_has_a_whole_batch_and_all_workers_call_at_once():
    together, most, lock = 0, 0, threading.Lock()

    def answer(inputs):
        nonlocal together, most
        with lock:
            together += 1
            most = max(most, together)
        time.sleep(0.03)
        with lock:
            together -= 1
        assert len(inputs) == 4

    found = load("full", answer, workers=2, batch=4)
    assert found["batch"] == 4 and most == 2
    assert 0 < found["throughput"] <= 2 * 4 / 0.03


def test_at_a_rate_requests_come_whether_or_not_the_ones_before_are_answered():
    slow = load("200", after(0.05), seconds=0.5)
    assert slow["throughput"] <= 20 and slow["unanswered"] > 20
    # as many as a Poisson process of this seed has in half a second, answered or not
    quick = load("200", seconds=0.5)
    assert quick["unanswered"] == 0 and slow["count"] == quick["count"] == pytest.approx(100, abs=30)
    assert slow["latency_ms"]["p50"] > 150
    assert slow["stages_ms"]["wait"] > slow["stages_ms"]["infer"]


def test_at_a_rate_what_waits_is_answered_together():
    assert load("400", after(0.05), batch=8, seconds=0.5)["batch"] > 2


def test_a_percentile_without_a_request_beyond_it_is_not_given():
    found = load("50", seconds=1.0)["latency_ms"]
    assert found["p50"] is not None and found["p99"] is None and found["p99.9"] is None


def test_what_the_runtime_or_a_picture_raises_ends_the_load():
    def broken(number):
        raise OSError("no picture")

    for kind in ("single", "full", "100"):
        with pytest.raises(OSError, match="no picture"):
            load(kind, workers=2, source=broken)


class Counting:
    """A runtime whose throughput and latency follow from the setting."""

    name = "counting"

    def __init__(self, settings):
        self.all = settings

    def settings(self, workers, threads, batch):
        return self.all

    def measure(self, setting, loads, warmup, seconds, *more):
        throughput = 10 * setting.workers + setting.batch
        row = {"load": loads[0], "throughput": throughput, "latency_ms": {"p50": 100 / setting.threads}, "batch": 1.0}
        return {"loads": [row], "memory_mb": {"most": 1.0}}


def test_the_best_setting_is_found_for_throughput_and_for_a_single_request():
    runtime = Counting([Setting(2, 1, 1), Setting(2, 1, 4), Setting(1, 2, 1)])
    best, alone, tried = search(runtime, plan_of(make_parser().parse_args(["m.ms"])))
    assert (best, alone) == (Setting(2, 1, 4), Setting(1, 2, 1))
    assert [row["setting"]["batch"] for row in tried] == [1, 4, 1, 1, 1]


@pytest.mark.parametrize(
    "flags, where",
    [
        (["--rates", "5,x"], "--rates"),
        (["--rates", ""], "--rates"),
        (["--rates", "nan"], "--rates"),
        (["--workers", "-1"], "--workers"),
        (["--seconds", "0"], "--seconds"),
    ],
)
def test_numbers_that_cannot_be_are_refused_by_their_flag(flags, where):
    with pytest.raises(UsageError, match=where):
        plan_of(make_parser().parse_args(["m.ms", *flags]))


def test_layers_are_summed_by_type_and_the_slowest_are_named():
    layers = [{"name": "a", "type": "Conv", "ms": 1.0}, {"name": "b", "type": "Add", "ms": 4.0}]
    layers += [{"name": "c", "type": "Conv", "ms": 5.0}]
    kinds, slowest = layer_rows(layers)
    assert kinds[0] == {"name": "Conv", "count": 2, "ms": 6.0, "share": 0.6}
    assert [row["name"] for row in slowest] == ["c", "b", "a"]


@pytest.mark.native
@pytest.mark.parametrize("given", ["random values", "pictures"])
def test_a_converted_model_and_its_onnx_file_are_measured_side_by_side(
    given, exported, converted, pictures, tmp_path, capsys
):
    pytest.importorskip("onnxruntime")
    data = ["--data", str(pictures)] if given == "pictures" else []
    flags = ["--rates", "20,40", "--warmup", "0.05", "--seconds", "0.3", "--workers", "1", "--threads", "1"]
    models = [str(converted / "tiny.ms"), str(exported / "tiny.onnx")]
    assert main([*models, *flags, *data, "--layers", "--batch", "2", "--out", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert report["schema"] == "glorext.bench/1" and report["input"] == given
    assert [found["runtime"] for found in report["runtimes"]][:2] == ["MindSpore Lite", "onnxruntime"]
    for found in report["runtimes"]:
        assert [row["rate"] for row in found["rates"]] == [20, 40]
        assert found["best"]["throughput"] > 0 and found["best"]["setting"]["batch"] == 2
        assert found["memory_mb"]["most"] >= found["memory_mb"]["started"] > 10
        assert sum(found["single"]["stages_ms"].values()) == pytest.approx(found["single"]["latency_ms"]["mean"])
        assert found["sha256"] in {read_artifact(model).sha256 for model in models}
    layers = report["runtimes"][0]["layers"]
    convolutions = [layer for layer in layers if layer["type"].startswith("Conv2D")]
    assert len(convolutions) > 3 and all(layer["ms"] > 0 and layer["name"] for layer in convolutions)
    assert report["runtimes"][1]["layers"] is None
    page = (tmp_path / "out" / "bench.html").read_text()
    assert (
        "Latency p50 over load" in page
        and "mathdefault" not in page
        and "tiny.ms" in page
        and layers[0]["type"] in page
    )
    assert "MindSpore Lite" in capsys.readouterr().out


@pytest.mark.native
def test_what_runs_nowhere_here_is_refused(exported, converted, monkeypatch):
    with pytest.raises(UsageError, match="a converted model for a card"):
        runtimes(exported / "tiny.onnx", "ascend310p", 0)
    with pytest.raises(UsageError, match="converted model or an ONNX file"):
        runtimes(exported / "tiny.mindir", "cpu", 0)
    monkeypatch.setattr("glorext.deploy.bench.runtimes.find_spec", lambda name: None)
    with pytest.raises(SetupError, match="onnxruntime and openvino"):
        runtimes(exported / "tiny.onnx", "cpu", 0)


def test_a_curve_has_a_point_for_each_load_whose_percentile_is_known():
    rows = [{"throughput": 10.0 * n, "latency_ms": {"p50": 5.0 * n, "p99": None}} for n in (1, 2, 3)]
    report = {"runtimes": [{"runtime": "MindSpore Lite", "file": "m.ms", "rates": rows}]}
    assert curve(report, "p99") == ""
    svg = curve(report, "p50")
    assert "MindSpore Lite, m.ms" in svg and ">10<" in svg and "mathdefault" not in svg
