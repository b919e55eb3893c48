"""AutoAugment's ImageNet policy (Cubuk et al., 2019, arXiv:1805.09501, table 9) on MindSpore's pipeline."""

from __future__ import annotations

import math

# (operation, level of 10, probability) twice; one of the 25 rows is drawn for each picture.
POLICY = (
    (("posterize", 8, 0.4), ("rotate", 9, 0.6)),
    (("solarize", 5, 0.6), ("autocontrast", 5, 0.6)),
    (("equalize", 8, 0.8), ("equalize", 3, 0.6)),
    (("posterize", 7, 0.6), ("posterize", 6, 0.6)),
    (("equalize", 7, 0.4), ("solarize", 4, 0.2)),
    (("equalize", 4, 0.4), ("rotate", 8, 0.8)),
    (("solarize", 3, 0.6), ("equalize", 7, 0.6)),
    (("posterize", 5, 0.8), ("equalize", 2, 1.0)),
    (("rotate", 3, 0.2), ("solarize", 8, 0.6)),
    (("equalize", 8, 0.6), ("posterize", 6, 0.4)),
    (("rotate", 8, 0.8), ("color", 0, 0.4)),
    (("rotate", 9, 0.4), ("equalize", 2, 0.6)),
    (("equalize", 0, 0.0), ("equalize", 8, 0.8)),
    (("invert", 4, 0.6), ("equalize", 8, 1.0)),
    (("color", 4, 0.6), ("contrast", 8, 1.0)),
    (("rotate", 8, 0.8), ("color", 2, 1.0)),
    (("color", 8, 0.8), ("solarize", 7, 0.8)),
    (("sharpness", 7, 0.4), ("invert", 8, 0.6)),
    (("shear_x", 5, 0.6), ("equalize", 9, 1.0)),
    (("color", 0, 0.4), ("equalize", 3, 0.6)),
    (("equalize", 7, 0.4), ("solarize", 4, 0.2)),
    (("solarize", 5, 0.6), ("autocontrast", 5, 0.6)),
    (("invert", 4, 0.6), ("equalize", 8, 1.0)),
    (("color", 4, 0.6), ("contrast", 8, 1.0)),
    (("equalize", 8, 0.8), ("equalize", 3, 0.6)),
)


def either(make, amount: float):
    """An operation that `make` makes of `amount`, or of its negative, with equal chance."""
    from mindspore.dataset import transforms

    return transforms.RandomChoice([make(amount), make(-amount)])


def enhancing_factor(level: float) -> float:
    """The factor of Pillow's enhancers, from 0.1 to 1.9, for a level from 0 to 10."""
    return 0.1 + 0.18 * level


def operation(name: str, level: int):
    """One operation of the policy for uint8 HWC pictures, its strength from `level` (0..10) as published.

    Rotation and shear take either sign with equal chance.
    """
    from mindspore.dataset import vision

    factor = enhancing_factor(level)
    # Shear is published as a slope, MindSpore takes degrees.
    degrees = math.degrees(math.atan(0.3 * level / 10))
    return {
        "rotate": lambda: either(vision.Rotate, int(30 * level / 10)),
        "posterize": lambda: vision.Posterize(4 - int(4 * level / 10)),
        # Every pixel from the threshold up is inverted; RandomSolarize would draw a band inside the range instead.
        "solarize": lambda: vision.Solarize((256 - int(25.6 * level), 255)),
        "color": lambda: vision.AdjustSaturation(factor),
        "contrast": lambda: vision.AdjustContrast(factor),
        "sharpness": lambda: vision.AdjustSharpness(factor),
        "autocontrast": vision.AutoContrast,
        "equalize": vision.Equalize,
        "invert": vision.Invert,
        "shear_x": lambda: either(lambda d: vision.Affine(0.0, (0, 0), 1.0, (d, 0.0)), degrees),
    }[name]()


def imagenet_policy():
    """The policy as one operation of a pipeline, for uint8 HWC pictures."""
    from mindspore.dataset import vision

    return vision.RandomSelectSubpolicy(
        [[(operation(name, level), probability) for name, level, probability in row] for row in POLICY]
    )
