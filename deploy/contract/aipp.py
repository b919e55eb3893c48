"""An InputSpec as AIPP text: what the Ascend converter takes to normalize uint8 pictures on the card."""

from __future__ import annotations

import numpy as np

from glorext.deploy.contract.closeness import WHOLE_LEVEL
from glorext.models import InputSpec
from glorext.runtime import DataError


def coefficients(spec: InputSpec) -> tuple[np.ndarray, np.ndarray]:
    """min_chn (3,) and var_reci_chn (3,) such that (pixel - min_chn) * var_reci_chn is what `spec` demands.

    AIPP computes (pixel - mean_chn - min_chn) * var_reci_chn; mean_chn takes whole numbers only, so it stays zero and
    min_chn carries the mean (CANN, ATC tool manual, "Normalization").
    """
    return 255 * np.array(spec.mean), 1 / (255 * np.array(spec.std))


def aipp_text(spec: InputSpec) -> str:
    """The text of the file that insert_op_config_file_path names: static AIPP, RGB, the cropped picture as input."""
    minimum, reciprocal = coefficients(spec)
    lines = [
        "aipp_op {",
        "    aipp_mode: static",
        "    input_format: RGB888_U8",
        f"    src_image_size_w: {spec.size}",
        f"    src_image_size_h: {spec.size}",
        "    crop: false",
        "    csc_switch: false",
        "    rbuv_swap_switch: false",
    ]
    lines += [f"    mean_chn_{channel}: 0" for channel in range(3)]
    lines += [f"    min_chn_{channel}: {value:.6f}" for channel, value in enumerate(minimum)]
    lines += [f"    var_reci_chn_{channel}: {value:.10f}" for channel, value in enumerate(reciprocal)]
    return "\n".join([*lines, "}"]) + "\n"


def apply(cropped: np.ndarray, spec: InputSpec) -> np.ndarray:
    """What AIPP makes of uint8 (size, size, 3): float16 (3, size, size), in the card's half precision."""
    minimum, reciprocal = (value.astype(np.float16) for value in coefficients(spec))
    shifted = cropped.astype(np.float16) - minimum
    return np.ascontiguousarray((shifted * reciprocal).transpose(2, 0, 1))


def pixels_of(normalized: np.ndarray, spec: InputSpec) -> np.ndarray:
    """The uint8 (N, 3, size, size) of which `spec`'s normalization makes `normalized`, float32 of the same shape.

    Raises:
        DataError: no pixels give these values.
    """
    minimum, reciprocal = (value.reshape(1, 3, 1, 1) for value in coefficients(spec))
    exact = normalized / reciprocal + minimum
    pixels = np.rint(exact).clip(0, 255)
    if np.abs(pixels - exact).max() > WHOLE_LEVEL:
        raise DataError(
            expected="inputs made of pixels 0 to 255",
            found=f"{np.abs(pixels - exact).max():.2g} between two",
            do="Export again: golden inputs are pictures, so that a card with AIPP can be checked as well.",
        )
    return pixels.astype(np.uint8)
