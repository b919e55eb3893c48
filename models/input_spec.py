"""How a picture becomes a network's input tensor: one frozen description that every pipeline follows."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

from glorext.runtime.errors import UsageError
from glorext.runtime.files import json_bytes, sha256_bytes

RESIZE_RULES = ("squash", "short_side")
CHOICES = {
    "resize_rule": RESIZE_RULES,
    "crop": ("center",),
    "interpolation": ("bilinear",),
    "channel_order": ("RGB",),
    "layout": ("NCHW",),
}


@dataclass(frozen=True)
class InputSpec:
    """From a decoded picture to the tensor a network expects.

    The picture is made RGB, resized (`squash`: to exactly `resize` x `resize`, whatever its aspect ratio; `short_side`:
    its short side to `resize`, the long side to int(resize * long / short)), cropped in the center to
    `size` x `size` and normalized: (x / 255 - mean) / std, float32, channels first.

    Args:
        size: side of the square that the network sees, in pixels.
        resize: side in pixels that the resize rule aims at; at least `size`.
        resize_rule: "squash" or "short_side".
        mean, std: one number per channel, for pixels in 0..1.

    Raises:
        UsageError: a value of the wrong type or an impossible one; the message names the key.
    """

    size: int = 224
    resize: int = 256
    resize_rule: str = "squash"
    crop: str = "center"
    interpolation: str = "bilinear"
    channel_order: str = "RGB"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    layout: str = "NCHW"

    def __post_init__(self):
        for key in ("size", "resize"):
            value = getattr(self, key)
            if type(value) is not int or not 1 <= value <= 1 << 14:
                raise _wrong(key, "a whole number of pixels from 1 to 16384", value)
        for key, allowed in CHOICES.items():
            if getattr(self, key) not in allowed:
                raise _wrong(key, " or ".join(map(repr, allowed)), getattr(self, key))
        for key in ("mean", "std"):
            value = getattr(self, key)
            if not isinstance(value, (tuple, list)) or len(value) != 3 or not all(map(_is_number, value)):
                raise _wrong(key, "three numbers", value)
            # Lists come from JSON and YAML; equal specs must be equal and hashable.
            object.__setattr__(self, key, tuple(map(float, value)))
        if min(self.std) <= 0:
            raise _wrong("std", "three numbers above zero", self.std)
        if self.resize < self.size:
            raise _wrong("resize", f"at least size, which is {self.size}", self.resize)

    def to_dict(self) -> dict:
        """The spec as JSON values, every key present."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict) -> InputSpec:
        """The spec from JSON values; a missing key takes its default, an unknown one is an error."""
        if not isinstance(values, dict):
            raise UsageError(expected="a mapping of input keys", found=repr(values), where="the input spec")
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise UsageError(
                    expected=f"keys out of {', '.join(known)}", found=f"the key {key!r}", where="the input spec"
                )
        return cls(**values)

    def digest(self) -> str:
        """SHA-256 of the spec's JSON: equal for equal preprocessing."""
        return sha256_bytes(json_bytes(self.to_dict()))


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _wrong(key: str, expected: str, found) -> UsageError:
    return UsageError(expected=f"{key} to be {expected}", found=repr(found), where="the input spec")
