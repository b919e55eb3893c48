"""Learning rates against the published values, and `glorext lr`."""

import numpy as np
import pytest

from glorext.runtime import cli
from glorext.train import learning_rates, load_recipe
from glorext.train.recipe_file import make_recipe

STEPS = (0, 625, 1250, 2502, 6255, 37530, -1)
PUBLISHED = {
    "resnext50_imagenet_zoo": (3.19744e-4, 0.20015988, 0.4, 0.39982456, 0.39890438, 0.36180341, 4.38633e-5),
    "glore_res50_imagenet": (0.8, 0.7966693, 0.79333866, 0.78666669, 0.76666665, 0.6, 5.32907e-6),
    "glore_res50_imagenet_zoo": (0, 0.05995204, 0.11990408, 0.24, 0.6, 0.36748582, 2.89895e-11),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_rates_are_the_published_ones(name):
    recipe = load_recipe(name)
    rates = learning_rates(recipe, steps_per_epoch=1251)
    assert rates.dtype == np.float32 and rates.shape == (recipe.epochs * 1251,)
    np.testing.assert_allclose(rates[list(STEPS)], PUBLISHED[name], rtol=1e-6)


def test_exponential_falls_at_its_epochs():
    rates = learning_rates(make_recipe({"lr_scheduler": "exponential", "lr": 0.1, "epochs": 150}), 10)
    assert rates[0] == np.float32(0.01) and rates[9] == rates[299] == np.float32(0.1)
    np.testing.assert_allclose(rates[[300, 600, 900, 1200, -1]], [1e-2, 1e-3, 1e-4, 1e-5, 1e-5], rtol=1e-6)


def test_steps_fall_at_their_shares():
    rates = learning_rates(make_recipe({"lr_scheduler": "steps", "lr_max": 1.0, "epochs": 10, "warmup_epochs": 0}), 10)
    np.testing.assert_allclose(
        rates[[0, 29, 30, 59, 60, 79, 80, 99]], [1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-6
    )


def test_cosine_of_glore():
    recipe = make_recipe({"lr_decay_mode": "cosine", "lr_max": 0.8, "epochs": 10, "warmup_epochs": 2})
    rates = learning_rates(recipe, 10)
    np.testing.assert_allclose(rates[[0, 19]], [0.04, 0.8], rtol=1e-6)
    # i = 60, N = 100, D = 80: 0.8 (0.5 * 0.5 (1 + cos(0.705 pi)) + 1e-5)
    np.testing.assert_allclose(rates[60], 0.8 * (0.25 * (1 + np.cos(0.705 * np.pi)) + 1e-5), rtol=1e-6)


def test_lr_command_writes_array_and_plot(tmp_path, capsys):
    for name in ("lr.npy", "lr.png"):
        from glorext.train.lr import main

        assert main(["--recipe", "digits", "--steps_per_epoch", "44", "--out", str(tmp_path / name)]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "lr.npy"), learning_rates(load_recipe("digits"), 44))
    from PIL import Image

    assert Image.open(tmp_path / "lr.png").size == (960, 480)
    assert "steps" in capsys.readouterr().out


def test_lr_command_refuses_another_format(tmp_path):
    assert cli.main(["lr", "--recipe", "digits", "--steps_per_epoch", "44", "--out", str(tmp_path / "lr.txt")]) == 2
    assert list(tmp_path.iterdir()) == []


def test_the_rate_falls_within_the_epochs_that_are_left(tmp_path):
    """`--epochs 5` of a recipe of 150: the cosine ends at its lowest, `exponential` has all its falls."""

    def rates(*flags):
        out = str(tmp_path / "lr.npy")
        assert cli.main(["lr", "--recipe", "resnext50_imagenet", "--steps_per_epoch", "10", "--out", out, *flags]) == 0
        return np.load(out)

    np.testing.assert_allclose(rates("--epochs", "5")[40:], 0.05 * (1 + np.cos(np.pi * 4 / 5)) / 2, rtol=1e-6)
    falls = rates("--epochs", "5", "--lr_scheduler", "exponential", "--warmup_epochs", "0")
    np.testing.assert_allclose(falls[::10], 0.05 * 0.1 ** np.arange(5), rtol=1e-6)
    kept = rates("--epochs", "5", "--T_max", "150")
    np.testing.assert_allclose(kept[40:], 0.05 * (1 + np.cos(np.pi * 4 / 150)) / 2, rtol=1e-6)
    np.testing.assert_array_equal(rates(), learning_rates(load_recipe("resnext50_imagenet"), 10))
    short = load_recipe("resnext50_imagenet", epochs=5)
    assert (short.T_max, short.lr_epochs) == (5, [1, 2, 3, 4])
    assert load_recipe("resnext50_imagenet", max_epoch=300).T_max == 300


def test_no_step_of_a_frozen_epoch_has_a_rate_of_zero():
    rates = learning_rates(load_recipe("finetune", pretrained="x.ckpt"), 10)
    np.testing.assert_allclose(rates[:10], 0.01 * np.arange(1, 11) / 10, rtol=1e-6)
    assert learning_rates(load_recipe("glore_res50_imagenet", warmup_epochs=1), 10)[0] == 0  # as published
