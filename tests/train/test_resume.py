"""Going on with a run from its folder alone: every row of the table of what may change."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glorext.hub.pack import Details, pack
from glorext.models import create, save_checkpoint, weights_digest
from glorext.models.evaluation import parse_evaluation
from glorext.models.formats import read_tensors
from glorext.models.trained import read_run
from glorext.runtime import cli
from glorext.runtime.errors import DataError, RecipeError, UsageError
from glorext.train import launch, load_recipe
from glorext.train.command import parse
from glorext.train.recipe import Recipe
from glorext.train.resume import RULES, continued
from glorext.train.run_folder import Position, RunFolder

from .conftest import SMALL

TABLE = Path(__file__).parents[2] / "docs" / "training.md"
NETWORK = {"layers": [1, 1, 1, 1], "groups": 2, "width_per_group": 4, "stem_width": 8}
FLAGS = ["--recipe", "digits", "--input", '{"size": 16, "resize": 16}', "--batch_size", "4", "--epochs", "2"]
FLAGS += ["--network_args", json.dumps(NETWORK), "--workers", "1", "--keep_checkpoint_max", "9"]
TRACKED = {"tensorboard": True, "mlflow": True, "wandb": True}


def pictures(folder, each, seed):
    generator = np.random.default_rng(seed)
    for k, label in enumerate(("ant", "bee")):
        (folder / label).mkdir(parents=True)
        for i in range(each):
            pixels = generator.integers(0, 120, (16, 16, 3)) + 130 * np.eye(3, dtype=int)[k]
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{i:03}.png")
    return folder


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder with pictures, the model that the run started from, the whole run, and one stopped after an epoch."""
    root = tmp_path_factory.mktemp("resume")
    pictures(root / "data", 8, 0), pictures(root / "val", 4, 1)
    save_checkpoint(create("resnext50", **SMALL, num_classes=7), root / "source.ckpt", naming="torchvision")
    start = [
        "train",
        *FLAGS,
        "--data_dir",
        str(root / "data"),
        "--val_dir",
        str(root / "val"),
        "--device_target",
        "CPU",
    ]
    start += ["--from", str(root / "source.ckpt")]
    assert cli.main([*start, "--out", str(root / "whole")]) == 0
    assert cli.main([*start, "--out", str(root / "half"), "--stop_after", "5"]) == 0
    return root


@pytest.fixture
def half(begun, tmp_path):
    """A copy of the stopped run, in another place than it began in."""
    return Path(shutil.copytree(begun / "half", tmp_path / "moved"))


def resume(folder, *flags):
    return cli.main(["train", "--resume", str(folder), *flags])


def steps(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [(line["epoch"], line["step"], line["loss"], line["lr"]) for line in lines if line["event"] == "step"]


def same_end(folder, whole):
    one, other = (read_tensors(path / "resnext50-2_4.ckpt") for path in (folder, whole))
    return all((one[name] == other[name]).all() for name in one) and steps(folder) == steps(whole)


def test_a_run_goes_on_from_its_folder_alone_moved_and_without_its_source(begun, half):
    source = begun / "source.ckpt"
    source.rename(begun / "gone.ckpt")
    try:
        assert resume(half) == 0
    finally:
        (begun / "gone.ckpt").rename(source)
    assert same_end(half, begun / "whole") and not (begun / "half" / "resnext50-2_4.ckpt").exists()
    assert read_run(half)[1] == read_run(begun / "whole")[1] and read_run(half)[1].network == "resnext50"
    assert (half / "best.ckpt").read_bytes() == (begun / "whole" / "best.ckpt").read_bytes()
    assert load_recipe(half / "recipe.yaml").network_args["stem_pool"] == "torch"


def test_a_run_that_lost_its_paths_still_says_what_it_started_from(begun, half):
    (half / "paths.json").unlink()
    assert resume(half, "--data_dir", str(begun / "data"), "--val_dir", str(begun / "val")) == 0
    source = read_run(half)[1]
    assert source is not None and source == read_run(begun / "whole")[1]


def test_neither_recipe_nor_package_names_a_place_on_the_machine(begun, tmp_path):
    assert str(begun) not in (begun / "whole" / "recipe.yaml").read_text()
    pack(begun / "whole", tmp_path / "package", Details("tiny", "1.0.0", date="2026-01-02"))
    for path in (tmp_path / "package").rglob("*"):
        assert path.name != "paths.json"
        assert path.is_dir() or str(begun).encode() not in path.read_bytes()


def test_a_run_may_become_longer(begun, half, caplog):
    assert resume(half, "--epochs", "3") == 0
    assert [step[:2] for step in steps(half)] == [(e, s) for e in (1, 2, 3) for s in (1, 2, 3, 4)]
    assert steps(half)[:5] == steps(begun / "half") and steps(half)[5][3] > steps(begun / "whole")[5][3]
    assert "epochs 3 instead of 2" in caplog.text and load_recipe(half / "recipe.yaml").epochs == 3


def test_a_run_cannot_become_shorter_than_what_has_begun(half):
    with pytest.raises(RecipeError, match="at least 2 epochs"):
        continued(load_recipe(half / "recipe.yaml", epochs=1), RunFolder(half, True), Position(1, 1), 1)


def test_a_lost_best_checkpoint_is_found_again(begun, half, caplog):
    measured = (half / "eval.json").read_bytes()
    (half / "best.ckpt").unlink(), (half / "eval.json").unlink()
    assert resume(half, "--stop_after", "6") == 0
    assert weights_digest(half / "best.ckpt") == weights_digest(begun / "half" / "best.ckpt")
    assert (half / "eval.json").read_bytes() == measured and "best.ckpt was gone" in caplog.text
    assert resume(half) == 0 and same_end(half, begun / "whole")


def test_other_validation_pictures_start_a_new_best(begun, half, tmp_path, caplog):
    other = pictures(tmp_path / "other", 5, 7)
    for label in ("ant", "bee"):  # so that no answer is right, and the first measurement is not the best so far
        (other / label).rename(other / f"{label}_")
    (other / "ant_").rename(other / "bee"), (other / "bee_").rename(other / "ant")
    assert resume(half, "--val_dir", str(other)) == 0
    evaluated = parse_evaluation((half / "eval.json").read_bytes())
    assert evaluated.data["folder"] == "other" and "other validation pictures" in caplog.text
    assert Position.of(read_tensors(half / "resnext50-2_4.ckpt")).best_epoch == 2


def test_pictures_may_be_moved_but_not_be_others(begun, half, tmp_path):
    moved = Path(shutil.copytree(begun / "data", tmp_path / "data"))
    assert resume(half, "--data_dir", str(moved), "--stop_after", "6") == 0
    assert json.loads((half / "paths.json").read_text())["data_dir"] == str(moved)
    (moved / "ant" / "000.png").rename(moved / "ant" / "new.png")
    assert resume(half) == DataError.exit_status
    (tmp_path / "labels.txt").write_text("bee\nant\n")
    assert resume(half, "--data_dir", str(begun / "data"), "--labels", str(tmp_path / "labels.txt")) == 1


def test_the_number_of_devices_may_change_where_the_pictures_of_a_step_stay(half, caplog, monkeypatch):
    folder, before = RunFolder(half, True), load_recipe(half / "recipe.yaml")
    assert continued(before, folder, Position(1, 1), 2).batch_size == 2
    assert "batch_size 2 instead of 4" in caplog.text and "group_size 2 instead of 1" in caplog.text
    with pytest.raises(RecipeError, match="4 pictures a step.* 3 devices.*1 or 2 or 4 devices"):
        continued(before, folder, Position(1, 1), 3)
    with pytest.raises(RecipeError, match="2 devices x 3"):
        continued(load_recipe(half / "recipe.yaml", batch_size=3), folder, Position(1, 1), 2)
    monkeypatch.setattr(launch, "launch", lambda *arguments, **options: 0)
    assert launch.main(["--devices", "2", "train", "--resume", str(half)]) == 0
    with pytest.raises(RecipeError, match="1 or 2 or 4 devices"):  # by the launcher, before processes start
        launch.main(["--devices", "3", "train", "--resume", str(half)])


@pytest.mark.parametrize("key", [key for key, rule in RULES.items() if rule.may == "yes" and key in vars(Recipe())])
def test_what_decides_nothing_may_change_unmentioned(half, caplog, key):
    other = {
        "ckpt_path": "elsewhere",
        "rank": 0,
        "save_checkpoint": False,
        "tensorboard": True,
        "mlflow": True,
        "wandb": True,
    }.get(key, 7)
    recipe = load_recipe(half / "recipe.yaml", **{key: other})
    assert getattr(continued(recipe, RunFolder(half, True), Position(1, 1), 1), key) == other and not caplog.text


@pytest.mark.parametrize(
    "key, other", [("workers", 2), ("micro_batch_size", 2), ("T_max", 5), ("lr_epochs", [1]), ("epochs", 9)]
)
def test_what_changes_the_run_from_here_on_is_told(half, caplog, key, other):
    recipe = load_recipe(half / "recipe.yaml", **{key: other})
    continued(recipe, RunFolder(half, True), Position(1, 1), 1)
    assert f"{key} {other} instead of" in caplog.text and RULES[key].meaning in caplog.text


@pytest.mark.parametrize(
    "key, other",
    [("lr", 0.3), ("seed", 9), ("momentum", 0.5), ("augmentation", "crop_flip"), ("pretrained", "other.ckpt")]
    + [("jit_level", "O1"), ("skip_corrupt", True), ("freeze_epochs", 1), ("input", {"resize": 20})],
)
def test_what_decides_the_run_may_not_change(half, key, other):
    with pytest.raises(RecipeError, match=f"{key} .*as the run began"):
        continued(load_recipe(half / "recipe.yaml", **{key: other}), RunFolder(half, True), Position(1, 1), 1)


def test_another_device_is_told(half, caplog):
    paths = json.loads((half / "paths.json").read_text())
    (half / "paths.json").write_text(json.dumps(paths | {"device": "GPU"}))
    assert resume(half, "--device_target", "CPU", "--stop_after", "6") == 0
    assert "device CPU instead of GPU" in caplog.text


def test_the_flags_of_the_first_command_may_be_given_again(begun, half, caplog):
    source, data = ["--from", str(begun / "source.ckpt")], ["--data_dir", str(begun / "data")]
    given, recipe = parse([*FLAGS, *source, *data, "--out", str(half), "--resume", "auto"])
    recipe = dataclasses.replace(recipe, num_classes=2)  # counted when the run starts
    assert continued(recipe, RunFolder(half, True), Position(1, 1), 1).pretrained == str(begun / "source.ckpt")
    assert given["val_dir"] == str(begun / "val") and not caplog.text
    _, recipe = parse(["--resume", str(half), "--from", "another.ckpt"])
    with pytest.raises(RecipeError, match="pretrained"):
        continued(recipe, RunFolder(half, True), Position(1, 1), 1)


@pytest.mark.parametrize(
    "flags, named", [(["--resume", "nowhere"], "nowhere"), (["--resume", "{half}", "--out", "other"], "other")]
)
def test_a_folder_that_holds_no_run_or_another_one_is_refused(half, flags, named):
    with pytest.raises(UsageError, match=named):
        parse([flag.replace("{half}", str(half)) for flag in flags])


def test_the_table_in_the_documentation_is_the_one_in_the_code():
    rows = re.findall(r"^\| `([\w.]+)` \| (yes|told|no) \| (.+) \|$", TABLE.read_text(), re.M)
    assert rows == [(key, rule.may, rule.meaning) for key, rule in RULES.items()]
