"""Recipes: published spellings, overrides, and errors that name the key and the file."""

import pytest
import yaml

from glorext.models import create, save_checkpoint
from glorext.runtime.errors import GlorextError, RecipeError, UsageError
from glorext.train import load_recipe, recipe_names
from glorext.train.command import parse
from glorext.train.rank_table import card_numbers
from glorext.train.recipe import Recipe
from glorext.train.recipe_file import make_recipe

RESNEXT_PUBLISHED = {
    "image_size": "224,224",
    "num_classes": 1000,
    "per_batch_size": 128,
    "lr": 0.05,
    "lr_scheduler": "cosine_annealing",
    "lr_epochs": "30,60,90,120",
    "lr_gamma": 0.1,
    "eta_min": 0,
    "T_max": 150,
    "max_epoch": 150,
    "backbone": "resnext50",
    "warmup_epochs": 1,
    "weight_decay": 0.0001,
    "momentum": 0.9,
    "is_dynamic_loss_scale": 0,
    "loss_scale": 1024,
    "label_smooth": 1,
    "label_smooth_factor": 0.1,
    "ckpt_interval": 2000,
    "ckpt_path": "outputs/",
    "is_save_on_master": 1,
    "rank": 0,
    "group_size": 1,
}
GLORE_PUBLISHED = {
    "class_num": 1000,
    "batch_size": 128,
    "loss_scale": 1024,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "epoch_size": 120,
    "pretrained": False,
    "pretrain_epoch_size": 0,
    "save_checkpoint": True,
    "save_checkpoint_epochs": 5,
    "keep_checkpoint_max": 10,
    "save_checkpoint_path": "./",
    "warmup_epochs": 0,
    "lr_decay_mode": "Linear",
    "use_label_smooth": True,
    "label_smooth_factor": 0.05,
    "weight_init": "xavier_uniform",
    "use_autoaugment": True,
    "lr_init": 0,
    "lr_max": 0.8,
    "lr_end": 0.0,
}


def differing(one, other, but=()):
    return {key for key in vars(one) if getattr(one, key) != getattr(other, key)} - set(but)


def test_published_resnext_configuration_is_its_recipe():
    # The rule about overflows stands in the published programs, not in their configurations.
    published = make_recipe(RESNEXT_PUBLISHED | {"skip_overflow": False})
    assert differing(published, load_recipe("resnext50_imagenet"), but=("ckpt_path", "amp_level")) == set()
    assert published.lr_epochs == [30, 60, 90, 120] and published.input == {"size": 224}


def test_published_glore_configuration_is_its_recipe():
    published = make_recipe(GLORE_PUBLISHED | {"network": "glore_res50", "skip_overflow": False})
    assert differing(published, load_recipe("glore_res50_imagenet"), but=("ckpt_path", "amp_level")) == set()
    assert (published.lr, published.lr_scheduler, published.augmentation) == (0.8, "linear", "autoaugment")


@pytest.mark.parametrize(
    "name",
    [
        "resnext50_imagenet",
        "resnext50_imagenet_zoo",
        "glore_res50_imagenet",
        "glore_res50_imagenet_zoo",
        "glore_res101_imagenet",
        "glore_res200_imagenet",
        "finetune",
        "digits",
    ],
)
def test_every_recipe_loads_and_its_network_exists(name):
    assert name in recipe_names()
    assert load_recipe(name).input_spec().size == (32 if name == "digits" else 224)
    assert load_recipe(name).skips_overflow == ("imagenet" not in name)


def test_zoo_recipes_differ_from_the_readmes_as_published():
    assert load_recipe("resnext50_imagenet_zoo").lr == 0.4
    zoo = load_recipe("glore_res50_imagenet_zoo")
    assert (zoo.lr, zoo.lr_scheduler, zoo.warmup_epochs, zoo.label_smooth_factor) == (0.6, "poly", 5, 0.1)
    assert [zoo.amp_for(device) for device in ("CPU", "GPU", "Ascend")] == ["O0", "O2", "O0"]
    assert load_recipe("resnext50_imagenet_zoo").amp_for("Ascend") == "O3"
    for name in ("glore_res101_imagenet", "glore_res200_imagenet"):
        large = load_recipe(name)
        assert (large.batch_size, large.epochs, large.lr, large.lr_init) == (80, 150, 0.4, 0.1)
        assert (large.lr_scheduler, large.weight_decay, large.smoothing) == ("poly", 0.0002, 0.0)


def test_saved_recipe_reads_back_equal(tmp_path, recipe):
    before = recipe(lr_epochs=[3, 5], num_classes=2)
    before.save(tmp_path / "r.yaml")
    assert load_recipe(tmp_path / "r.yaml") == before


def test_published_numbers_for_switches_become_truth_values():
    for key in ("data_sink", "label_smooth"):
        assert getattr(Recipe(**{key: 1}), key) is True and getattr(make_recipe({key: 0}), key) is False


def test_input_changes_add_up():
    assert load_recipe("digits", input={"mean": [0, 0, 0]}).input["size"] == 32


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"epoch": 3}, "'epoch' (did you mean epochs?)"),
        ({"epochs": "many"}, "epochs"),
        ({"seed": 1.5}, "seed"),
        ({"lr": -1}, "lr between"),
        ({"momentum": float("nan")}, "momentum"),
        ({"T_max": 0}, "T_max"),
        ({"warmup_epochs": 999}, "warmup_epochs"),
        ({"amp_level": {"CPU": "O9"}}, "amp_level"),
        ({"lr_max": 1, "lr": 2}, "again as lr"),
        ({"image_size": "224,200"}, "image_size"),
        ({"is_save_on_master": 0}, "is_save_on_master"),
        ({"lr_scheduler": "square"}, "lr_scheduler"),
        ({"lr_epochs": [60, 30]}, "lr_epochs"),
        ({"lr_epochs": "a,b"}, "lr_epochs"),
        ({"lr_epochs": [-3, 5]}, "lr_epochs"),
        ({"pretrained": True}, "pretrained"),
        ({"new_head": True}, "new_head"),
        ({"group_size": 2, "rank": 2}, "rank"),
    ],
)
def test_wrong_value_is_an_error_that_names_key_and_file(tmp_path, changes, named):
    with pytest.raises(RecipeError) as failure:
        load_recipe("digits", **changes)
    assert named in str(failure.value)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(changes))
    with pytest.raises(RecipeError) as failure:
        load_recipe(path)
    assert named in str(failure.value) and "mine.yaml" in str(failure.value)


@pytest.mark.parametrize(
    "text, named", [("- 1", "list"), ("a: [", "YAML"), ("lr: 1\nlr: 2", "lr twice"), ("", "NoneType")]
)
def test_a_file_that_is_no_recipe_is_named(tmp_path, text, named):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match="odd.yaml") as failure:
        load_recipe(path)
    assert named in str(failure.value)


def test_impossible_input_is_an_error_of_the_recipe():
    for changes, named in (
        ({"network": "vgg"}, "vgg"),
        ({"input": {"side": 3}}, "side"),
        ({"input": {"size": 999, "resize": 256}}, "size"),
        ({"network": "glore_res50", "input": {"size": 48}}, "multiple of 32"),
    ):
        with pytest.raises(RecipeError, match=named):
            load_recipe("resnext50_imagenet", **changes).input_spec()


def test_flags_override_the_recipe_under_published_names(tmp_path):
    source = tmp_path / "x.safetensors"
    save_checkpoint(create("resnext50", num_classes=3, layers=(1, 1, 1, 1)), source)
    run, recipe = parse(
        [
            "--recipe",
            "digits",
            "--data_dir",
            "D",
            "--platform",
            "CPU",
            "--max_epoch",
            "7",
            "--label_smooth",
            "0",
            "--network_args.layers",
            "[1,1,1,1]",
            "--is_distributed",
            "0",
            "--lr_decay_mode=Linear",
            "--image_size",
            "64",
            "--input.resize",
            "64",
            "--use_autoaugment",
            "1",
            "--from",
            str(source),
        ]
    )
    assert (run["device_target"], run["data_dir"], run["is_distributed"]) == ("CPU", "D", 0)
    assert (recipe.epochs, recipe.smoothing, recipe.batch_size) == (7, 0.0, 16)
    assert recipe.network_args == {"layers": [1, 1, 1, 1]}
    assert recipe.input["size"] == 64 and recipe.input["mean"] == [0.5, 0.5, 0.5]
    assert (recipe.augmentation, recipe.pretrained, recipe.new_head) == ("autoaugment", str(source), True)


@pytest.mark.parametrize(
    "argv, found",
    [
        (["--image_height", "[64, 64]", "--input.resize", "70"], {"input": {"size": 64, "resize": 70}}),
        (["--ckpt_save_max", "3"], {"keep_checkpoint_max": 3}),
        (["--use_autoaugment", "0"], {"augmentation": "crop_flip"}),
        (["--lr_epochs", "3, 5"], {"lr_epochs": [3, 5]}),
        (["--amp_level.CPU", "O2", "--amp_level.GPU", "O3"], {"amp_level": {"CPU": "O2", "GPU": "O3", "Ascend": "O2"}}),
    ],
)
def test_other_published_spellings_are_taken(argv, found):
    recipe = parse(["--data_dir", "D", *argv])[1]
    assert {key: getattr(recipe, key) for key in found} == found


@pytest.mark.parametrize(
    "argv, named",
    [
        (["--rec", "digits"], "--rec"),
        (["--use_autoaugment", "maybe"], "use_autoaugment"),
        (["--stop_after", "0"], "stop_after"),
        (["--device_id", "-1"], "device_id"),
        (["--from", "a", "--pretrained", "b"], "both"),
        (["--network", "vgg"], "vgg"),
        (["--lr_epochs", "a"], "lr_epochs"),
        (["--input.sise", "3"], "sise"),
        (["--image_size", "400", "--input.resize", "256"], "resize"),
        (["--recipe", "finetune"], "--from"),
        (["--image_size", "32,33"], "image_size"),
        (["more"], "more"),
    ],
)
def test_flags_that_cannot_be_are_refused_before_anything_starts(argv, named):
    with pytest.raises(UsageError, match=named):
        parse(["--data_dir", "D", *argv])


@pytest.mark.parametrize(
    "argv, named",
    [
        (["--epochs", "x"], "epochs"),
        (["--nope", "1"], "nope"),
        ([], "--data FOLDER"),
        (["--recipe", "nope"], "nope"),
        (["--lr", "-1"], "lr"),
    ],
)
def test_wrong_flags_are_usage_errors(argv, named):
    with pytest.raises(RecipeError if "nope" in argv[1:] or "--lr" in argv else GlorextError, match=named) as failure:
        parse(argv + (["--data_dir", "D"] if argv else []))
    assert failure.value.exit_status == 2


@pytest.mark.parametrize(
    "argv, size, resize",
    [
        (["--image_size", "32"], 32, 37),
        (["--input.size", "448"], 448, 512),
        (["--image_size", "400", "--input.resize", "400"], 400, 400),
        (["--input", '{"size": 64, "resize": 65}'], 64, 65),
        (["--image_size", "224"], 224, 256),
        (["--network", "glore_res50", "--image_size", "96"], 96, 110),
        (["--recipe", "digits", "--image_size", "64"], 64, 64),
        (["--recipe", "digits", "--input.resize", "36"], 32, 36),
    ],
)
def test_the_size_takes_the_resize_along(argv, size, resize):
    made = parse(["--data_dir", "D", *argv])[1].input_spec()
    assert (made.size, made.resize) == (size, resize)


def test_the_size_takes_the_resize_along_in_python_and_in_files(tmp_path):
    for made in (
        load_recipe("digits", image_size=64),
        load_recipe("digits", input={"size": 64}),
        make_recipe({"image_size": 56}),
    ):
        assert made.input_spec().resize == {64: 64, 56: 64}[made.input_spec().size]
    made.save(tmp_path / "r.yaml")
    assert load_recipe(tmp_path / "r.yaml").input_spec() == made.input_spec()


def test_the_network_of_a_checkpoint_comes_from_its_weights(tmp_path):
    source = tmp_path / "glore.ckpt"
    save_checkpoint(create("glore_res50", num_classes=3, layers=(1, 1, 1, 1), units=((), (), (1,), ())), source)
    recipe = parse(["--recipe", "finetune", "--data_dir", "D", "--from", str(source)])[1]
    assert (recipe.network, list(recipe.network_args["layers"])) == ("glore_res50", [1, 1, 1, 1])


def test_finetune_without_a_model_is_an_error_in_python_too():
    from glorext.train.initial import with_source

    with pytest.raises(RecipeError, match="--from MODEL"):
        with_source(load_recipe("finetune"))


def test_published_spellings_of_a_runs_own_flags_are_taken():
    from glorext.train.evaluate import parse as parse_eval

    run, _ = parse(["--data_path", "D", "--run_distribute", "True"])
    assert (run["data_dir"], run["is_distributed"]) == ("D", True)
    assert parse(["--data_path", "D", "--run_distribute=False"])[0]["is_distributed"] is False
    options = parse_eval(["--data_path", "D", "--checkpoint_file_path", "x.ckpt"])
    assert (options.data_dir, options.pretrained) == ("D", "x.ckpt")


@pytest.mark.parametrize("text, cards", [("[0,8)", range(8)), ("[2, 4)", [2, 3]), ("0-7", range(8)), ("3,1", [3, 1])])
def test_cards_are_named_as_the_published_tools_name_them(text, cards):
    assert card_numbers(text, "--devices") == list(cards)


@pytest.mark.parametrize("text", ["[4,4)", "[0,8]", "[,3)"])
def test_cards_that_are_none_are_refused(text):
    with pytest.raises(UsageError, match="each once"):
        card_numbers(text, "--devices")
