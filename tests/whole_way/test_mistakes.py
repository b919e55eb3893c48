"""What people type first: each of these mistakes is answered with what to type instead, in one line."""

import subprocess
import sys

import pytest
from PIL import Image

from glorext.runtime.cli import main

from .checkout import ROOT

# What is typed in a folder with pictures, whether it succeeds (0), fails (1) or is wrong usage (2), what is said.
MISTAKES = {
    "a picture instead of a folder": (
        "train --recipe digits --data pets/train/cat/0.png",
        1,
        ["found a picture", "Name the folder above the classes", "glorext predict MODEL FILE"],
    ),
    "a picture instead of a model": ("eval pets/val/cat/0.png --data pets/val", 2, ["found a picture", "MODEL"]),
    "pictures in other formats": (
        "train --recipe digits --data formats",
        1,
        ["1 .bmp, 1 .gif, 1 .tiff, 1 .webp", "glorext to-png formats formats_png"],
    ),
    "the published recipe on pictures of one's own": (
        "train --recipe resnext50_imagenet --data pets",
        2,
        ["expected 2, the number of class folders", "--recipe finetune --from resnext50"],
    ),
    "fine-tuning without saying from what": ("train --recipe finetune --data pets", 2, ["--from resnext50"]),
    "--data-dir": ("train --recipe nope --data-dir pets", 2, ["found 'nope'"]),
    "--learning_rate": ("train --data pets --learning_rate 0.1", 2, ["no flag --learning_rate: did you mean --lr?"]),
    "--model to train": ("train --data pets --model resnext50", 2, ["no flag --model: did you mean --from?"]),
    "--model to export": ("export --model resnext50", 2, ["no flag --model: MODEL is written without a flag."]),
    "--epoch": ("train --data pets --epoch 3", 2, ["no flag --epoch: did you mean --epochs?"]),
    "--output": ("export resnext50 --output x", 2, ["no flag --output: did you mean --out?"]),
    "--device cuda": ("train --recipe digits --data pets --device cuda:0", 2, ["'cuda:0' (did you mean GPU?)"]),
    "--device npu": ("train --recipe digits --data pets --device npu", 2, ["'npu' (did you mean Ascend?)"]),
    "a command that is called otherwise": ("trian", 2, ["no command 'trian': did you mean `glorext train`?"]),
    "a network that is called otherwise": (
        "train --data pets --network resnext-50",
        2,
        ["'resnext-50' (did you mean resnext50?)"],
    ),
    "a recipe that is called otherwise": (
        "train --data pets --recipe finetunee",
        2,
        ["'finetunee' (did you mean finetune?)"],
    ),
    "a model that is called otherwise": ("eval resnet50 --data pets", 1, ["Did you mean resnext50?", "glorext list"]),
    "a backend that is called otherwise": (
        "validate resnext50 --data pets --backend litecpp",
        2,
        ["'litecpp' (did you mean lite-cpp?)"],
    ),
    "a format that is called otherwise": ("export resnext50 --format onxx", 2, ["'onxx' (did you mean onnx?)"]),
    "a folder of pictures instead of a model": ("export pets", 1, ["a run, a checkpoint, a package or a name"]),
    "a name where a run was expected": ("train --resume resnext50", 2, ["the folder of a run", "--resume auto"]),
    "a name where a package was expected": ("verify resnext50", 1, ["glorext download NAME --to DIR"]),
    "a registry that no name server knows": (
        "eval mine --data pets --registry https://registry.invalid/models",
        1,
        ["no name server knows the host", "HTTPS_PROXY"],
    ),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory: pets/train and pets/val with two classes each, and pictures in other formats."""
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "pets" / part / name).mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (40, 40), number).save(tmp_path / "pets" / part / name / f"{number}.png")
    for name, kinds in {"cat": ("webp", "bmp"), "dog": ("gif", "tiff")}.items():
        (tmp_path / "formats" / name).mkdir(parents=True)
        for kind in kinds:
            Image.new("RGB", (40, 40)).save(tmp_path / "formats" / name / f"0.{kind}")
    (tmp_path / "formats" / "Thumbs.db").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLOREXT_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_with_what_to_type_instead(mistake, folder, capsys):
    typed, status, said = MISTAKES[mistake]
    before = sorted(folder.rglob("*"))
    try:
        found = main(typed.split())
    except SystemExit as end:
        found = end.code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("glorext")]
    answer = [line for line in lines if not line.startswith("glorext.")]
    assert found == status and len(answer) == 1
    assert [words for words in said if words not in answer[0]] == [], answer[0]
    assert [path for path in sorted(folder.rglob("*")) if path not in before and "cache" not in path.parts] == []


def test_in_python_the_cause_is_in_words_and_not_in_the_frames_of_other_libraries(folder):
    program = "import glorext; glorext.load('mine', 'https://registry.invalid/models')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    shown = done.stderr.splitlines()
    assert "DownloadError: no name server knows the host" in shown[-1] and len(shown) < 40
    assert not [line for line in shown if "site-packages" in line and "glorext" not in line]


def test_make_alone_says_what_there_is():
    done = subprocess.run(["make", "-C", ROOT], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert {"make demo", "make test", "make check"} <= {line[:10].strip() for line in done.stdout.splitlines()}
