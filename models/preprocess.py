"""A picture file to a network's input in NumPy and Pillow: what an InputSpec means, without MindSpore."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np

from glorext.runtime.errors import DataError

from .input_spec import InputSpec
from .jpeg_file import essential_jpeg, has_adobe_marker
from .picture_file import picture_fault
from .png_file import SIGNATURE, essential_png

# MindSpore resizes 8-bit pictures with OpenCV's INTER_LINEAR: weights in steps of 1/2048.
ONE = 2048


def read_picture(path) -> np.ndarray:
    """Decode a picture file as RGB, uint8 (H, W, 3), as it is stored: EXIF rotation is not applied.

    Gray, palette and CMYK pictures become RGB, transparency is dropped, of 16-bit samples the upper 8 bits are kept;
    all of it as MindSpore's Decode does.

    Raises:
        DataError: `picture_fault` finds something, or Pillow cannot decode it.
    """
    found = picture_fault(path)
    if found is None:
        try:
            return _decode(Path(path).read_bytes())
        # Pillow's decoders raise SyntaxError, struct.error and others on damaged files; all mean the same here.
        except (OSError, ValueError, SyntaxError, IndexError, KeyError, TypeError, OverflowError, EOFError) as error:
            found = f"{type(error).__name__}: {error}"
    raise DataError(
        expected="a whole JPEG or PNG picture", found=found, where=path, do="Replace it, or remove it from the folder."
    )


def _decode(data: bytes) -> np.ndarray:
    """The pixels of a whole picture. What its metadata say is kept from Pillow, which would stop at faults in them."""
    from PIL import Image, JpegImagePlugin, PngImagePlugin

    if data.startswith(SIGNATURE):
        # Not Image.open: its limit of pixels is another.
        image: Image.Image = PngImagePlugin.PngImageFile(BytesIO(essential_png(data)))
    else:
        image = JpegImagePlugin.JpegImageFile(BytesIO(essential_jpeg(data)))
    image.load()
    if image.mode.startswith("I"):
        gray = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    if image.mode == "CMYK":
        # Pillow inverts the inks, as Adobe's files need it and no others.
        stored = np.asarray(image) if not has_adobe_marker(data) else 255 - np.asarray(image)
        inks = stored.astype(np.uint16)
        return (inks[..., :3] * inks[..., 3:] // 255).astype(np.uint8)
    return np.array(image.convert("RGB"))


def resized_shape(height: int, width: int, spec: InputSpec) -> tuple[int, int]:
    """Height and width after `spec`'s resize rule."""
    target = spec.resize
    if spec.resize_rule == "squash":
        return target, target
    ratio = np.float32(max(height, width)) / np.float32(min(height, width))
    long_side = int(ratio * np.float32(target))  # truncated in single precision, as MindSpore does
    return (long_side, target) if height > width else (target, long_side)


def _taps(size: int, target: int, start: int, count: int, edge_alone: bool):
    """Both neighbors and both weights of `count` output positions from `start`, of a side resized to `target`."""
    center = ((np.arange(start, start + count) + 0.5) * (1 / (target / size)) - 0.5).astype(np.float32)
    first = np.floor(center).astype(np.int64)
    part = center - first.astype(np.float32)
    if edge_alone:
        part[(first < 0) | (first >= size - 1)] = 0
    weights = [np.rint(weight * ONE).astype(np.int32) for weight in (np.float32(1) - part, part)]
    return first.clip(0, size - 1), (first + 1).clip(0, size - 1), *weights


def resize(picture: np.ndarray, height: int, width: int, window=None) -> np.ndarray:
    """Resize bilinearly without antialiasing, bit for bit as MindSpore's Resize.

    Args:
        picture: uint8 (H, W, 3).
        height, width: of the resized picture.
        window: (top, left, height, width): the part to compute; everything by default.

    Returns:
        uint8 (window height, window width, 3).
    """
    top, left, rows, columns = window or (0, 0, height, width)
    if picture.shape[:2] == (height, width):
        return picture[top : top + rows, left : left + columns]
    if picture.shape[:2] == (2 * height, 2 * width):
        # OpenCV halves by the mean of 2 x 2 pixels.
        part = picture[2 * top : 2 * (top + rows), 2 * left : 2 * (left + columns)].astype(np.int32)
        return ((part[::2, ::2] + part[::2, 1::2] + part[1::2, ::2] + part[1::2, 1::2] + 2) >> 2).astype(np.uint8)
    y0, y1, v0, v1 = _taps(picture.shape[0], height, top, rows, edge_alone=False)
    x0, x1, u0, u1 = _taps(picture.shape[1], width, left, columns, edge_alone=True)
    lowest = y0.min()
    used = picture[lowest : y1.max() + 1].astype(np.int32)
    across = (used[:, x0] * u0[:, None] + used[:, x1] * u1[:, None]) >> 4
    upper, lower = across[y0 - lowest], across[y1 - lowest]
    mixed = ((v0[:, None, None] * upper) >> 16) + ((v1[:, None, None] * lower) >> 16)
    return ((mixed + 2) >> 2).clip(0, 255).astype(np.uint8)


def crop(picture, spec: InputSpec) -> np.ndarray:
    """Resize and center crop: uint8 (size, size, 3).

    Args:
        picture: a file, or uint8 (H, W, 3).
    """
    if isinstance(picture, (str, Path)):
        picture = read_picture(picture)
    height, width = resized_shape(picture.shape[0], picture.shape[1], spec)
    return resize(picture, height, width, ((height - spec.size) // 2, (width - spec.size) // 2, spec.size, spec.size))


def normalize(cropped: np.ndarray, spec: InputSpec) -> np.ndarray:
    """uint8 (size, size, 3) to float32 (3, size, size): (x / 255 - mean) / std."""
    levels = (np.arange(256)[:, None] / 255 - np.array(spec.mean)) / np.array(spec.std)
    table = levels.T.astype(np.float32)
    return np.stack([table[channel][cropped[..., channel]] for channel in range(3)])


def preprocess(picture, spec: InputSpec) -> np.ndarray:
    """A picture file, or uint8 (H, W, 3), to the network's input for one picture: float32 (3, size, size)."""
    return normalize(crop(picture, spec), spec)
