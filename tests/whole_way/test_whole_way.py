"""From pictures to a report by the commands a user types; a tiny network, every other part real."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from glorext.deploy.demo import steps
from glorext.runtime import read_json

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
    best = max(
        (json.loads(line) for line in (way.run / "metrics.jsonl").read_text().splitlines() if '"epoch"' in line),
        key=lambda line: line.get("top1") or 0,
    )
    assert best["top1"] == evidence["top1"], "the best checkpoint is the one that was evaluated"


def test_the_card_claims_what_was_measured(way):
    top1 = json.loads((way.run / "eval.json").read_text())["top1"]
    assert f"{100 * top1:.2f}" in (way.package / "card.md").read_text()
    assert glorext("verify", way.package) == 0


def test_a_fresh_process_loads_it_by_name_and_gets_the_same_logits(way, tmp_path):
    import mindspore as ms
    import numpy as np

    from glorext.hub import open_model

    inputs = np.random.default_rng(5).normal(size=(2, 3, 32, 32)).astype(np.float32)
    np.save(tmp_path / "x.npy", inputs)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, way.name, str(tmp_path / "x.npy")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    expected = open_model(way.run).create()(ms.Tensor(inputs)).asnumpy()
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
    assert (
        glorext(
            "validate",
            way.name,
            "--data",
            way.data / "val",
            "--results",
            offline,
            "--reference",
            way.mindspore,
            "--out",
            tmp_path / "validation.json",
            "--report",
            tmp_path / "report.html",
        )
        == 0
    )
    out = capfd.readouterr().out
    evidence = json.loads((way.run / "eval.json").read_text())
    assert re.search(rf"^Total data: 360, top1 accuracy: {evidence['top1']:.6g}, top5 accuracy: ", out, re.M)
    validation = json.loads((tmp_path / "validation.json").read_text())
    assert validation["verdict"] == "pass" and validation["claim"]["basis"] == "same pictures"
    assert validation["mindspore"]["same"] >= 359 and validation["mindspore"]["max_difference"] <= 1e-3
    assert validation["mindspore"]["reference"]["top1"] == evidence["top1"]
    assert "tiny-digits" in (tmp_path / "report.html").read_text()
    told = json.loads((tmp_path / "report.json").read_text())
    assert told["validation"] == {**validation, "mindspore": told["validation"]["mindspore"]}

    # The same model again, by tensors from the NumPy preprocessing: what differs here would lie before the model.
    model = converted / f"{way.name}_lite.mindir"
    assert (
        glorext(
            "validate",
            way.name,
            "--data",
            way.data / "val",
            "--model",
            model,
            "--backend",
            "lite",
            "--reference",
            way.mindspore,
            "--out",
            tmp_path / "lite.json",
        )
        == 0
    )
    lite = json.loads((tmp_path / "lite.json").read_text())
    assert lite["backend"] == "lite" and lite["mindspore"]["same"] >= 359 and lite["measured"] == validation["measured"]

    # And from random pictures until it is clear, against MindSpore's answers.
    assert (
        glorext(
            "validate",
            way.name,
            "--data",
            way.data / "val",
            "--model",
            model,
            "--reference",
            way.mindspore,
            "--until_sure",
            "--max_drop",
            0.05,
            "--out",
            tmp_path / "sure.json",
        )
        == 0
    )
    found = json.loads((tmp_path / "sure.json").read_text())
    assert found["early_stop"]["verdict"] == "kept" and found["early_stop"]["seen"] < found["measured"]["count"] == 250
    assert found["measured"]["low"] is None and found["early_stop"]["total"] == 360


@pytest.mark.native
def test_run_infer_310_prints_the_published_line(way, tmp_path):
    if shutil.which("g++") is None or shutil.which("cmake") is None:
        pytest.skip("no C++ compiler")
    assert glorext("export", way.package, "--format", "mindir", "--out", tmp_path) == 0
    assert glorext("convert", tmp_path / f"{way.name}.mindir", "--format", "ms", "--out", tmp_path) == 0
    script = files("glorext.deploy") / "scripts" / "run_infer_310.sh"
    environment = {**os.environ, "GLOREXT_DEVICE": "cpu", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run(*words):
        return subprocess.run(
            ["bash", str(script), *map(str, words)], capture_output=True, text=True, cwd=tmp_path, env=environment
        )

    done = run(tmp_path / f"{way.name}.ms", way.data / "val", 0)
    top1 = json.loads((way.run / "eval.json").read_text())["top1"]
    assert done.returncode == 0 and f"Total data: 360, top1 accuracy: {top1:.6g}, top5 accuracy: " in done.stdout
    assert run(tmp_path / "nothing.ms", way.data / "val", 0).returncode == 2
    # A step that fails fails the script: this file is no model that `glorext convert` wrote.
    assert run(way.data, way.data / "val", 0).returncode == 1


def test_shards_of_several_hosts_are_one_validation(way, tmp_path, capsys):
    shards = [tmp_path / f"shard{index}" for index in (1, 2, 3)]
    for index, folder in enumerate(shards, 1):
        assert (
            glorext(
                "validate",
                way.name,
                "--data",
                way.data / "val",
                "--backend",
                "onnx",
                "--shard",
                f"{index}/3",
                "--out",
                folder,
            )
            == 0
        )
    assert (
        glorext("validate", way.name, "--data", way.data / "val", "--backend", "onnx", "--out", tmp_path / "whole") == 0
    )
    assert glorext("validate", way.name, "--merge", *shards, "--out", tmp_path / "merged") == 0
    whole, merged = (json.loads((tmp_path / name).read_text()) for name in ("whole", "merged"))
    assert merged["measured"] == whole["measured"] and merged["checks"] == whole["checks"]
    assert glorext("validate", way.name, "--merge", *shards[:2]) == 1
    assert "no shard 3" in capsys.readouterr().err


def test_half_of_the_classes_is_judged_by_what_they_are_worth(way, tmp_path, capsys):
    for label in "01234":
        (tmp_path / label).symlink_to(way.data / "val" / label)
    assert glorext("validate", way.name, "--data", tmp_path, "--backend", "onnx") == 1
    captured = capsys.readouterr()
    assert (
        "verdict: not clear" in captured.out and "for these classes" in captured.out and "--reference" in captured.err
    )
    assert glorext("validate", way.name, "--data", tmp_path, "--backend", "onnx", "--reference", way.mindspore) == 0


@pytest.mark.parametrize(
    "words, status, message",
    [
        (("--backend", "onnx", "--device", "ascend310"), 2, "a device of onnx: cpu"),
        (("--backend", "mindspore", "--device", "ascend310"), 2, "cpu, gpu, ascend910"),
        (("--backend", "mindspore", "--device", "gpu"), 1, "DeviceError"),
        (("--backend", "mindspore", "--model", "x.ms"), 2, "Leave out --model"),
        (("--until_sure", "--shard", "1/2"), 2, "--until_sure alone"),
        (("--shard", "3/2", "--out", "x"), 2, "i/n"),
        (("--shard", "1/2"), 2, "--out FOLDER"),
    ],
)
def test_what_cannot_run_is_named_and_never_replaced(way, capsys, words, status, message):
    if "gpu" in words and shutil.which("nvidia-smi"):
        pytest.skip("this machine has a GPU")
    assert glorext("validate", way.name, "--data", way.data / "val", *words) == status
    assert message in capsys.readouterr().err


def test_a_backend_whose_software_is_missing_is_an_error(way, monkeypatch, capsys):
    from glorext.deploy.runners import onnxruntime

    monkeypatch.setattr(onnxruntime, "find_spec", lambda name: None)
    assert glorext("validate", way.name, "--data", way.data / "val", "--backend", "onnx") == 1
    assert "SetupError" in (err := capsys.readouterr().err) and "pip install onnxruntime" in err


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
    # Without --results, and with --reference alone, the command runs both sides itself.
    assert glorext("validate", way.package, "--data", way.data / "val", "--reference", "--min_top1", 0.9999) == 1
    captured = capsys.readouterr()
    assert (
        "FAIL       top-1 against the wanted value" in captured.out
        and "360 of 360" in captured.out
        and "AccuracyError" in captured.err
    )


def test_the_demo_takes_the_steps_in_the_promised_order(tmp_path):
    order = ["data", "train", "evaluate", "pack", "publish", "load", "export", "convert", "infer", "check"]
    assert [re.split(r"[ :]", step.title)[0] for step in steps(tmp_path)] == order


def test_the_demo_never_deletes_what_it_did_not_write(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert glorext("demo", "--out", tmp_path) == 2
    assert (tmp_path / "thesis.txt").exists()


@pytest.fixture(scope="module")
def by_command(way, tmp_path_factory):
    """form -> what each command said of the model that is named so: digests and numbers."""
    import io
    from contextlib import redirect_stdout

    def said(*words):
        with redirect_stdout(io.StringIO()) as out:
            assert glorext(*words) == 0
        return json.loads(out.getvalue())

    def commands(what, name):
        folder = tmp_path_factory.mktemp("forms")
        data = way.data / "val"
        lint = said("lint", what, "--json")
        evaluation = said("eval", what, "--data_dir", data, "--device_target", "CPU", "--json")
        assert glorext("export", what, "--format", "onnx", "--out", folder, "--file_name", "m") == 0
        contract = read_json(folder / "m.onnx.json")
        validation = said("validate", what, "--data", data, "--backend", "onnx", "--model", folder / "m.onnx", "--json")
        return {
            "lint": {key: lint[key] for key in ("network", "arguments", "num_classes", "weights_sha256", "findings")},
            "eval": evaluation,
            "export": {
                **contract["model"],
                "name": None,
                "version": None,
                "license": None,
                "labels": contract["labels"],
            },
            "validate": {key: validation[key] for key in ("verdict", "measured", "claim")},
        }

    forms = {"run": way.run, "checkpoint": way.run / "best.ckpt", "package": way.package, "name": way.name}
    return {form: commands(what, form) for form, what in forms.items()}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["lint", "eval", "export", "validate"])
def test_a_run_its_checkpoint_its_package_and_its_name_are_one_model(by_command, command):
    first, *others = (found[command] for found in by_command.values())
    assert first and all(other == first for other in others)


def test_training_starts_from_a_name_as_from_its_folder(way):
    """The network, its arguments and the input come along, whichever way the model is named."""
    from glorext.train.command import parse

    flags = ["--recipe", "finetune", "--data_dir", "x", "--from"]
    recipes = [parse([*flags, str(what)])[1] for what in (way.run, way.run / "best.ckpt", way.package, way.name)]
    for recipe in recipes:
        assert recipe.input_spec() == recipes[0].input_spec() and recipe.input_spec().size == 32
        assert recipe.network_args == recipes[0].network_args and recipe.network_args["layers"] == [1, 1, 1, 1]
    assert recipes[-1].pretrained == f"{way.name}@1.0.0"
