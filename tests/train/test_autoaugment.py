"""AutoAugment's operations against Pillow's, and the policy as a whole."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from glorext.train.autoaugment import POLICY, imagenet_policy, operation

PIXELS = np.kron(np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8), np.ones((4, 4, 1), np.uint8))
PICTURE = Image.fromarray(PIXELS)


def gap(pixels, picture):
    return np.abs(pixels.astype(int) - np.asarray(picture).astype(int)).max()


@pytest.mark.parametrize("level", range(1, 11, 2))
def test_solarize_inverts_what_is_at_or_above_its_threshold(level):
    assert gap(operation("solarize", level)(PIXELS), ImageOps.solarize(PICTURE, 256 - int(25.6 * level))) == 0


@pytest.mark.parametrize("level", [3, 5, 8])
def test_posterize_keeps_the_published_bits(level):
    assert gap(operation("posterize", level)(PIXELS), ImageOps.posterize(PICTURE, 4 - int(0.4 * level))) == 0


@pytest.mark.parametrize(
    "name, enhancer",
    [("color", ImageEnhance.Color), ("contrast", ImageEnhance.Contrast), ("sharpness", ImageEnhance.Sharpness)],
)
@pytest.mark.parametrize("level", [0, 4, 8])
def test_enhancers_take_the_published_factor(name, enhancer, level):
    assert gap(operation(name, level)(PIXELS), enhancer(PICTURE).enhance(0.1 + 0.18 * level)) <= 1


def test_plain_operations():
    assert gap(operation("invert", 4)(PIXELS), ImageOps.invert(PICTURE)) == 0
    assert gap(operation("autocontrast", 5)(PIXELS), ImageOps.autocontrast(PICTURE)) == 0
    flat = operation("equalize", 8)((PIXELS // 4).astype(np.uint8))
    assert flat.max() == 255 and abs(flat.mean() - 127.5) < 10


def shear(slope):
    middle = PIXELS.shape[0] / 2
    return PICTURE.transform(PICTURE.size, Image.Transform.AFFINE, (1, slope, -slope * middle, 0, 1, 0))


def through_pipeline(step, count):
    """`count` copies of the picture through a seeded pipeline, as training runs it: an operation that is called by hand
    under a seed draws the same numbers at each call."""
    import mindspore.dataset as ds

    ds.config.set_seed(1)
    source = ds.NumpySlicesDataset([PIXELS] * count, ["image"], shuffle=False).map(
        step, "image", num_parallel_workers=1
    )
    return [picture for (picture,) in source.create_tuple_iterator(num_epochs=1, output_numpy=True)]


@pytest.mark.parametrize(
    "name, one, other", [("rotate", PICTURE.rotate(27), PICTURE.rotate(-27)), ("shear_x", shear(0.27), shear(-0.27))]
)
def test_rotation_and_shear_take_either_sign(name, one, other):
    found = {(gap(pixels, one) == 0, gap(pixels, other) == 0) for pixels in through_pipeline(operation(name, 9), 20)}
    assert found == {(True, False), (False, True)}


def test_policy_has_25_rows_and_changes_pictures():
    assert len(POLICY) == 25 and all(len(row) == 2 for row in POLICY)
    drawn = through_pipeline(imagenet_policy(), 60)
    assert all(picture.shape == PIXELS.shape and picture.dtype == np.uint8 for picture in drawn)
    assert len({picture.tobytes() for picture in drawn}) > 15
