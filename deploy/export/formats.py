"""What can be exported: the formats, the variants of a network, and which of them go together."""

from __future__ import annotations

from dataclasses import dataclass

from glorext.runtime import UsageError
from glorext.runtime.errors import did_you_mean

WIDTHS = {"fp32": "float32", "fp16": "float16"}
INT8 = (
    "int8 is not offered: MindSpore Lite 2.0.0 converts these networks to int8, but its runtime cannot build the "
    'result (docs/deploying.md, "int8")'
)


@dataclass(frozen=True)
class Format:
    """One export format and what it allows.

    Attributes:
        suffix: of its files.
        dynamic_batch: the batch may stay open.
        fp16: kernels and matrices may be stored in float16.
        pixels: the normalization may be folded in.
        device: the only device that writes it, None for any.
    """

    suffix: str
    dynamic_batch: bool = True
    fp16: bool = True
    pixels: bool = True
    device: str | None = None


EXPORTS = {
    "mindir": Format(".mindir"),
    "onnx": Format(".onnx"),
    # atc sets the precision of what it makes of an AIR, and AIPP its normalization; neither could be run here.
    "air": Format(".air", dynamic_batch=False, fp16=False, pixels=False, device="Ascend"),
}


@dataclass(frozen=True)
class Variant:
    """What is exported of a network.

    Attributes:
        precision: "fp32", or "fp16": kernels and matrices are stored in half precision and computed with in float32.
        softmax: give probabilities instead of logits.
        pixels: type of the pixels 0 to 255 that the model takes and normalizes itself, "uint8" or "float32"; None: it
            takes normalized input.
        layout: of the pixels, "NCHW" or "NHWC".
    """

    precision: str = "fp32"
    softmax: bool = False
    pixels: str | None = None
    layout: str = "NCHW"

    @property
    def weights_dtype(self) -> str:
        """What kernels and matrices are stored in, as the contract names it."""
        return WIDTHS[self.precision]

    @property
    def suffix(self) -> str:
        """What the variant adds to the file's name, empty for the plain network."""
        words = [
            self.pixels and f"{self.pixels}{'_nhwc' * (self.layout == 'NHWC')}",
            self.softmax and "softmax",
            self.precision == "fp16" and "fp16",
        ]
        return "".join(f"_{word}" for word in words if word)


def check_request(
    formats: list[str], batch: str | int | None, device: str, variant: Variant = Variant()
) -> dict[str, int]:
    """The batch of each format, -1 for an open one; refuses what cannot be written before any work starts.

    Args:
        batch: a number, "dynamic", or None: open where the format allows it, else 1.

    Raises:
        UsageError: an unknown format or value, or a combination that a format does not allow.
    """
    for name in formats:
        if name not in EXPORTS:
            raise UsageError(
                expected=f"formats out of {', '.join(EXPORTS)}", found=did_you_mean(name, EXPORTS), where="--format"
            )
    try:
        number = -1 if batch in ("dynamic", None) else int(batch)
    except ValueError:
        number = 0
    if number == 0 or number < -1:
        raise UsageError(expected="a positive number or 'dynamic'", found=repr(batch), where="--batch")
    _check_variant(variant)
    for name in formats:
        allowed = EXPORTS[name]
        half, no_precision = variant.precision == "fp16", "Leave out --precision: atc has its own --precision_mode."
        for wanted, possible, what, do in (
            (batch == "dynamic", allowed.dynamic_batch, "a dynamic batch", "Give a number with --batch."),
            (half, allowed.fp16, "float16 weights", no_precision),
            (
                variant.pixels,
                allowed.pixels,
                "folded normalization",
                "Leave out --pixels: AIPP normalizes on the card.",
            ),
        ):
            if wanted and not possible:
                raise UsageError(f"{name} cannot hold {what}", do=do)
        if allowed.device not in (None, device):
            raise UsageError(
                f"MindSpore writes {name} only on {allowed.device}, and this is {device}",
                do="Run the export there, or choose mindir: `glorext convert` makes the Ascend model of it.",
            )
    return {name: -1 if number == -1 and EXPORTS[name].dynamic_batch else max(number, 1) for name in formats}


def _check_variant(variant: Variant) -> None:
    if variant.precision == "int8":
        raise UsageError(INT8, do="Choose fp32 or fp16.")
    for flag, value, choices in (
        ("--precision", variant.precision, (*WIDTHS,)),
        ("--pixels", variant.pixels, (None, "uint8", "float32")),
        ("--layout", variant.layout, ("NCHW", "NHWC")),
    ):
        if value not in choices:
            raise UsageError(expected=" or ".join(filter(None, choices)), found=repr(value), where=flag)
    if variant.layout != "NCHW" and not variant.pixels:
        raise UsageError("--layout is for pixels: normalized input is always NCHW", do="Add --pixels uint8.")


def add_variant_arguments(parser) -> None:
    """Add the options that choose a network's variant to a command's parser; `chosen_variant` reads them."""
    parser.add_argument("--precision", default="fp32", help="fp32, or fp16: weights stored in half precision")
    parser.add_argument("--softmax", action="store_true", help="probabilities instead of logits")
    parser.add_argument("--pixels", help="fold the normalization in: the model takes 0 to 255 as uint8 or float32")
    parser.add_argument("--layout", default="NCHW", help="of the pixels: NCHW (default) or NHWC")


def chosen_variant(options) -> Variant:
    """The variant that a command's parsed arguments name."""
    return Variant(options.precision, options.softmax, options.pixels, options.layout)
