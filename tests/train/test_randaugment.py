"""RandAugment's operations against Pillow's, what timm's "rand-m9-mstd0.5" draws, and how often."""

import math

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from glorext.train.randaugment import LEVELS, OPERATIONS, operation, rand_augment

from .test_autoaugment import PICTURE, PIXELS, gap, through_pipeline

GRAY = (128, 128, 128)


def test_levels_are_those_of_mean_9_and_deviation_a_half():
    assert np.mean(LEVELS) == pytest.approx(9) and 0.4 < np.std(LEVELS) < 0.5 and max(LEVELS) < 10


@pytest.mark.parametrize("level", LEVELS)
def test_color_operations_have_timms_strength(level):
    assert gap(operation("posterize", level)(PIXELS), ImageOps.posterize(PICTURE, 3)) == 0
    assert gap(operation("solarize", level)(PIXELS), ImageOps.solarize(PICTURE, int(25.6 * level))) == 0
    for name in ("Color", "Contrast", "Brightness", "Sharpness"):
        enhanced = getattr(ImageEnhance, name)(PICTURE).enhance(0.1 + 0.18 * level)
        assert gap(operation(name.lower(), level)(PIXELS), enhanced) <= 1, name


def moved(*coefficients):
    return PICTURE.transform(
        PICTURE.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR, fillcolor=GRAY
    )


def drawn_as(name, pixels):
    """The sign with which `pixels` are the picture after the operation at level 9, as Pillow makes it."""
    height, width = PIXELS.shape[:2]
    rotated = [PICTURE.rotate(-sign * 27, Image.Resampling.BILINEAR, fillcolor=GRAY) for sign in (1, -1)]
    made = {
        "rotate": rotated,
        "shear_x": [moved(1, sign * 0.27, -sign * 0.27 * height / 2, 0, 1, 0) for sign in (-1, 1)],
        "shear_y": [moved(1, 0, 0, sign * 0.27, 1, -sign * 0.27 * width / 2) for sign in (-1, 1)],
        "translate_x": [moved(1, 0, sign * 0.405 * width, 0, 1, 0) for sign in (-1, 1)],
        "translate_y": [moved(1, 0, 0, 0, 1, sign * 0.405 * height) for sign in (-1, 1)],
    }[name]
    # Rounding of coordinates differs at edges of the picture's blocks.
    return tuple(np.abs(pixels.astype(int) - np.asarray(picture).astype(int)).mean() < 8 for picture in made)


@pytest.mark.parametrize("name", ["rotate", "shear_x", "shear_y", "translate_x", "translate_y"])
def test_movements_take_either_sign_and_show_gray_behind(name):
    drawn = through_pipeline(operation(name, 9), 20)
    assert {drawn_as(name, pixels) for pixels in drawn} == {(True, False), (False, True)}
    assert all((pixels == GRAY).all(axis=2).any() for pixels in drawn)


def test_twice_one_of_14_operations_with_probability_a_half():
    drawn = through_pipeline(rand_augment(), 400)
    same = sum(np.array_equal(picture, PIXELS) for picture in drawn)
    # twice nothing, or stretching the contrast of a picture that has all of it; 4 standard deviations
    share = (0.5 + 0.5 / 14) ** 2
    assert abs(same - 400 * share) < 4 * math.sqrt(400 * share * (1 - share))
    assert len(OPERATIONS) == 14 and len({picture.tobytes() for picture in drawn}) > 120
    assert all(picture.shape == PIXELS.shape and picture.dtype == np.uint8 for picture in drawn)
