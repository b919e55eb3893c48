"""RandAugment (Cubuk et al., 2019, arXiv:1909.13719) on MindSpore's pipeline, at the strength of the GloRe recipes.

The published GloRe-ResNet101 and 200 use timm's "rand-m9-mstd0.5": twice, with probability 0.5 each, one of 15
operations at a level of 10 that is drawn from a normal distribution of mean 9 and deviation 0.5. Two departures, since
MindSpore's pipeline has nothing else: levels are five equally likely ones of that distribution, and SolarizeAdd, which
brightens dark pixels, is left out.
"""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist

from .autoaugment import either, enhancing_factor

OPERATIONS = (
    ("autocontrast", "equalize", "invert", "rotate", "posterize", "solarize", "color", "contrast", "brightness")
    + ("sharpness", "shear_x", "shear_y", "translate_x", "translate_y")
)  # fmt: skip
LEVELS = tuple(NormalDist(9, 0.5).inv_cdf(share) for share in (0.1, 0.3, 0.5, 0.7, 0.9))
PROBABILITY, APPLIED = 0.5, 2
GRAY = 128  # what shows where a picture was moved away


def operation(name: str, level: float):
    """One operation for uint8 HWC pictures, its strength from `level` (0..10) as timm has it.

    Rotation, shear and translation take either sign with equal chance.
    """
    from mindspore.dataset import vision

    share, factor = level / 10, enhancing_factor(level)

    def moved(translate=(0.0, 0.0), shear=(0.0, 0.0)):
        return vision.Affine(0.0, translate, 1.0, shear, vision.Inter.BILINEAR, GRAY)

    degrees = math.degrees(math.atan(0.3 * share))  # the level is a slope
    return {
        "autocontrast": vision.AutoContrast,
        "equalize": vision.Equalize,
        "invert": vision.Invert,
        "rotate": lambda: either(lambda d: vision.Rotate(d, vision.Inter.BILINEAR, fill_value=GRAY), 30 * share),
        "posterize": lambda: vision.Posterize(int(4 * share)),
        "solarize": lambda: vision.Solarize((int(256 * share), 255)),
        "color": lambda: vision.AdjustSaturation(factor),
        "contrast": lambda: vision.AdjustContrast(factor),
        "brightness": lambda: vision.AdjustBrightness(factor),
        "sharpness": lambda: vision.AdjustSharpness(factor),
        "shear_x": lambda: either(lambda d: moved(shear=(d, 0.0)), degrees),
        "shear_y": lambda: either(lambda d: moved(shear=(0.0, d)), degrees),
        "translate_x": lambda: either(lambda part: moved(translate=(part, 0.0)), 0.45 * share),
        "translate_y": lambda: either(lambda part: moved(translate=(0.0, part)), 0.45 * share),
    }[name]()


def rand_augment():
    """RandAugment as one operation of a pipeline, for uint8 HWC pictures.

    One and not two in a row, since operations of a pipeline that is seeded draw the same numbers as each other.
    """
    from mindspore.dataset import vision

    drawn = [(operation(name, level), PROBABILITY) for name in OPERATIONS for level in LEVELS]
    return vision.RandomSelectSubpolicy([list(row) for row in itertools.product(drawn, repeat=APPLIED)])
