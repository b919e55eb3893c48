"""From pictures to a report by the commands a user types; a tiny network, every other part real."""
import json
import re
import shutil
import subprocess
import sys

import pytest

from glorext.deploy.demo import steps

from .conftest import glorext

LOAD = """
import mindspore, numpy, mindspore_hub, sys
net = mindspore_hub.load(sys.argv[1])
assert not net.training
print(net(mindspore.Tensor(numpy.load(sys.argv[2]))).asnumpy().astype(float).tolist())
"""


def test_the_network_learned_and_the_evidence_says_so(way):
    evidence = json.loads((way.run / "eval.json").read_text())
    assert evidence["count"] == 360 and evidence["top1"] > 0.85
    best = max((json.loads(line) for line in (way.run / "metrics.jsonl").read_text().splitlines()
                if '"epoch"' in line), key=lambda line: line.get("top1") or 0)
    assert best["top1"] == evidence["top1"], "the best checkpoint is the one that was evaluated"


def test_the_card_claims_what_was_measured(way):
    top1 = json.loads((way.run / "eval.json").read_text())["top1"]
    assert f"{100 * top1:.2f}" in (way.package / "card.md").read_text()
    assert glorext("verify", way.package) == 0


def test_a_fresh_process_loads_it_by_name_and_gets_the_same_logits(way, tmp_path):
    import mindspore as ms
    import numpy as np
    from glorext.deploy.source import resolve
    inputs = np.random.default_rng(5).normal(size=(2, 3, 32, 32)).astype(np.float32)
    np.save(tmp_path / "x.npy", inputs)
    done = subprocess.run([sys.executable, "-c", LOAD, way.name, str(tmp_path / "x.npy")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = resolve(str(way.run)).create()(ms.Tensor(inputs)).asnumpy()
    np.testing.assert_allclose(json.loads(done.stdout.splitlines()[-1]), expected, atol=1e-5)


@pytest.mark.native
def test_offline_inference_keeps_the_accuracy(way, tmp_path, capfd):
    if shutil.which("g++") is None or shutil.which("cmake") is None:
        pytest.skip("no C++ compiler")
    exported, converted, offline = tmp_path / "exported", tmp_path / "converted", tmp_path / "offline"
    assert glorext("export", way.name, "--out", exported) == 0
    assert glorext("convert", exported / f"{way.name}.mindir", "--out", converted) == 0
    assert glorext("infer", converted / f"{way.name}_lite.mindir", "--images", way.data / "val", "--out", offline) == 0
    capfd.readouterr()
    assert glorext("validate", way.name, "--data", way.data / "val", "--results", offline, "--reference", way.mindspore,
                   "--out", tmp_path / "validation.json", "--report", tmp_path / "report.html") == 0
    out = capfd.readouterr().out
    evidence = json.loads((way.run / "eval.json").read_text())
    assert re.search(rf"^Total data: 360, top1 accuracy: {evidence['top1']:.6g}, top5 accuracy: ", out, re.M)
    validation = json.loads((tmp_path / "validation.json").read_text())
    assert validation["agreement"] >= 359 and validation["max_difference"] <= 1e-3
    assert validation["reference"]["top1"] == evidence["top1"]
    assert "tiny-digits" in (tmp_path / "report.html").read_text()


def test_a_command_looks_in_the_registry_that_it_is_told(way, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("GLOREXT_REGISTRIES")
    assert glorext("export", way.name, "--format", "onnx", "--out", tmp_path) == 1
    assert "NotFoundError" in capsys.readouterr().err
    assert glorext("export", way.name, "--registry", way.registry, "--format", "onnx", "--out", tmp_path) == 0
    assert (tmp_path / f"{way.name}.onnx").is_file()


@pytest.mark.native
def test_an_accuracy_that_is_not_reached_fails_the_command(way, tmp_path, capsys):
    if shutil.which("g++") is None or shutil.which("cmake") is None:
        pytest.skip("no C++ compiler")
    # Without --results and --reference the command runs both sides itself.
    assert glorext("validate", way.package, "--data", way.data / "val", "--min_top1", 0.9999) == 1
    captured = capsys.readouterr()
    assert "FAIL  top-1 against the wanted value" in captured.out and "AccuracyError" in captured.err


def test_the_demo_takes_the_steps_in_the_promised_order(tmp_path):
    order = ["data", "train", "evaluate", "pack", "publish", "load", "export", "convert", "infer", "check"]
    assert [re.split(r"[ :]", step.title)[0] for step in steps(tmp_path)] == order


def test_the_demo_never_deletes_what_it_did_not_write(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert glorext("demo", "--out", tmp_path) == 2
    assert (tmp_path / "thesis.txt").exists()
