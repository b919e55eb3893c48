"""Which pictures are too large for every way, and how a fault of a picture's file is reported."""

from __future__ import annotations

MAX_PIXELS = 1 << 28  # 805 MB as RGB; telephones take 200 megapixels
MAX_BYTES = 256 << 20


class PictureFault(ValueError):
    """What is wrong with a picture's file, in one line."""


def check_size(width: int, height: int, max_side: int) -> None:
    """Refuse a picture of no pixels or too many.

    Args:
        max_side: what the format's decoders take.

    Raises:
        PictureFault: with the size.
    """
    if not width or not height:
        raise PictureFault(f"an empty picture: {width} x {height} pixels")
    if max(width, height) > max_side or width * height > MAX_PIXELS:
        raise PictureFault(
            f"too large: {width} x {height} pixels; {MAX_PIXELS} are decoded, at most {max_side} in a row or column"
        )
