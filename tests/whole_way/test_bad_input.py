"""What goes wrong on a user's side: a named error, the right status, and nothing half-written under a final name."""

import io
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from .conftest import RECIPE, glorext


def told(capsys, status, *words):
    """Run the command, demand the status, and give back the one line it says."""
    capsys.readouterr()
    assert glorext(*words) == status
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith(f"glorext {words[0]}: ")][-1]


@pytest.fixture
def train(way, tmp_path):
    """The words that train on a folder, into a run that must not appear."""
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    yield lambda data, *more: (
        "train",
        "--recipe",
        tmp_path / "tiny.yaml",
        "--device_target",
        "CPU",
        "--data_dir",
        data,
        "--out",
        tmp_path / "run",
        *more,
    )
    assert not (tmp_path / "run" / "best.ckpt").exists()


@pytest.fixture
def pictures(way, tmp_path):
    """A copy of the validation pictures to be damaged."""
    return shutil.copytree(way.data / "val", tmp_path / "pictures")


def test_missing_folder(train, tmp_path, capsys):
    line = told(capsys, 1, *train(tmp_path / "nowhere"))
    assert "DataError" in line and "no such folder" in line and "nowhere" in line


def test_empty_class_folder(train, pictures, capsys):
    for path in (pictures / "4").iterdir():
        path.unlink()
    line = told(capsys, 1, *train(pictures))
    assert "DataError" in line and "empty class folder" in line and str(pictures / "4") in line


@pytest.mark.parametrize(
    "damage, reason",
    [
        (lambda data: b"no picture at all", "no picture"),
        (lambda data: data[:150], "cut off"),
        (lambda data: b"", "an empty file"),
    ],
)
def test_a_damaged_picture_is_named_by_training_and_by_evaluation(way, train, pictures, capsys, damage, reason):
    broken = pictures / "3" / "zz.png"
    broken.write_bytes(damage(next((pictures / "3").iterdir()).read_bytes()))
    for words in (train(pictures), ("eval", way.run, "--data_dir", pictures, "--device_target", "CPU")):
        line = told(capsys, 1, *words)
        assert "DataError" in line and str(broken) in line and reason in line


def test_skip_corrupt_means_the_same_in_evaluation_and_validation(way, pictures, capsys):
    file = io.BytesIO()
    Image.effect_noise((40, 40), 50).save(file, "JPEG", progressive=True)
    data = bytearray(file.getvalue())
    second = [found.start() for found in re.finditer(b"\xff\xda", data)][1]
    data[second + 8] = 0xF5  # its last frequency; MindSpore's decoder would end the process
    broken = pictures / "3" / "zz.jpg"
    broken.write_bytes(data)
    for words in (
        ("eval", way.run, "--data_dir", pictures, "--device_target", "CPU"),
        ("validate", way.run, "--data", pictures, "--backend", "mindspore", "--reference"),
        ("validate", way.run, "--data", pictures, "--backend", "onnx", "--reference"),
    ):
        line = told(capsys, 1, *words)
        assert str(broken) in line and "--skip_corrupt" in line and "progressive" in line
        assert glorext(*words, "--skip_corrupt") == 0


@pytest.mark.parametrize("words", [("--lr", "fast"), ("--epochs", "0"), ("--no_such_key", "1"), ("--network", "vgg")])
def test_impossible_flags_are_wrong_usage(way, train, capsys, words):
    assert words[0].strip("-") in told(capsys, 2, *train(way.data / "train", *words)) or words[1] == "vgg"


def test_checkpoint_of_another_network(way, tmp_path, capsys):
    flags = ("--network", "glore_res50", "--data_dir", way.data / "val", "--device_target", "CPU")
    shutil.copy(way.run / "best.ckpt", tmp_path / "x.ckpt")
    line = told(capsys, 1, "eval", tmp_path / "x.ckpt", *flags)
    assert "CheckpointError" in line and "missing" in line and "unexpected" in line
    line = told(capsys, 2, "eval", way.run, *flags)
    assert "expected resnext50" in line and "found glore_res50" in line


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_checkpoint_that_is_cut_off(way, tmp_path, capsys, share):
    run = shutil.copytree(way.run, tmp_path / "copy")
    data = (run / "best.ckpt").read_bytes()
    (run / "best.ckpt").write_bytes(data[: int(share * len(data))])
    line = told(capsys, 1, "export", run, "--out", tmp_path / "exported")
    assert "CheckpointError" in line and "best.ckpt" in line
    assert not (tmp_path / "exported").exists() or not list((tmp_path / "exported").iterdir())


def test_registry_that_lacks_the_name(way, tmp_path, capsys):
    line = told(capsys, 1, "export", "resnext51", "--out", tmp_path / "exported")
    assert "NotFoundError" in line and "resnext51" in line and str(way.registry) in line


def test_digest_that_does_not_match(way, tmp_path):
    registry = shutil.copytree(way.registry, tmp_path / "registry")
    checkpoint = max((path for path in registry.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data = bytearray(checkpoint.read_bytes())
    data[len(data) // 2] ^= 1
    os.chmod(checkpoint, 0o644)
    checkpoint.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", f"import mindspore_hub; mindspore_hub.load('{way.name}')"],
        text=True,
        capture_output=True,
        env={**os.environ, "GLOREXT_REGISTRIES": str(registry), "GLOREXT_CACHE": str(tmp_path / "cache")},
    )
    assert done.returncode == 1 and "IntegrityError" in done.stderr and checkpoint.name in done.stderr
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.stat().st_size >= len(data)]
    assert not kept, "a file with the wrong bytes must not stay in the cache"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB, smaller than the tiny network's weights."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    "words",
    [
        lambda way, disk: ("pack", way.run, "--name", "a", "--version", "1.0.0", "--out", disk / "package"),
        lambda way, disk: ("publish", way.package, "--to", disk / "registry"),
        lambda way, disk: ("export", way.run, "--out", disk / "exported"),
        lambda way, disk: (
            "train",
            "--recipe",
            way.folder / "tiny.yaml",
            "--device_target",
            "CPU",
            "--epochs",
            "1",
            "--warmup_epochs",
            "0",
            "--data_dir",
            way.data / "val",
            "--out",
            disk / "run",
        ),
    ],
)
def test_full_disk(way, small_disk, capsys, words):
    line = told(capsys, 1, *words(way, small_disk))
    assert "DiskFullError" in line and str(small_disk) in line
    large = [path for path in small_disk.rglob("*") if path.is_file() and path.stat().st_size > 100_000]
    assert not large, f"half-written files stayed: {large}"
    assert not list(small_disk.rglob("*.ckpt")) and not (small_disk / "package").exists()


def test_an_index_that_is_no_json(way, tmp_path, capsys, monkeypatch):
    registry = shutil.copytree(way.registry, tmp_path / "registry")
    (registry / "index.json").write_text("{")
    monkeypatch.setenv("GLOREXT_REGISTRIES", str(registry))
    line = told(capsys, 1, "export", way.name, "--out", tmp_path / "exported")
    assert "index.json" in line


def test_an_evaluation_of_other_weights_is_no_evidence(way, tmp_path, capsys):
    run = shutil.copytree(way.run, tmp_path / "copy")
    evidence = json.loads((run / "eval.json").read_text())
    evidence["weights_sha256"] = "0" * 64
    (run / "eval.json").write_text(json.dumps(evidence))
    line = told(capsys, 1, "pack", run, "--name", "a", "--version", "1.0.0", "--out", tmp_path / "package")
    assert "weights" in line and not (tmp_path / "package").exists()
