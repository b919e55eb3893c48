"""The Ascend chips that glorext knows, one row for each: what training, conversion, inference and the doctor ask."""

from __future__ import annotations

import os
from dataclasses import dataclass

INFERENCE_310, INFERENCE_310P = "Atlas 200/300/500 inference products", "Atlas inference products"
INFERENCE_310B = "Atlas 200I/500 A2 inference products"
TRAINING, A2, A3 = "Atlas training products", "Atlas A2 products", "Atlas A3 products"


@dataclass(frozen=True)
class Chip:
    """One kind of Ascend chip. What CANN's documentation (6.3 to 9.0) leaves open is None.

    Attributes:
        name: as `npu-smi info` shows it; on A3 its "Chip Name" and "NPU Name" together.
        family: what `--target` and `--device` call it.
        sold_as: the series of products that carry it.
        lite_name: `ge.socVersion` for the converter of MindSpore Lite 2.0; None where that documents none.
        trains: whether MindSpore runs on it, and not MindSpore Lite alone.
        saturates: whether an overflow gives the largest number instead of infinity, unless the user asks otherwise.
        dvpp: whether it decodes and resizes pictures.
        aipp: whether it normalizes pictures in front of a model.
    """

    name: str
    family: str
    sold_as: str
    lite_name: str | None = None
    trains: bool = False
    saturates: bool | None = None
    dvpp: bool | None = True
    aipp: bool | None = True

    @property
    def soc(self) -> str:
        """As AscendCL says it (aclrtGetSocName) and atc takes it (--soc_version)."""
        return f"Ascend{self.name}"

    @property
    def has_bfloat16(self) -> bool:
        """Whether MindSpore computes in bfloat16 on it."""
        return self.sold_as in (A2, A3)


# The first chip of a family is the one for which `--target FAMILY` converts.
CHIPS = (
    Chip("310", "ascend310", INFERENCE_310, "Ascend310"),
    Chip("310P3", "ascend310p", INFERENCE_310P, "Ascend710"),
    Chip("310P1", "ascend310p", INFERENCE_310P, "Ascend710"),
    Chip("310P5", "ascend310p", INFERENCE_310P, "Ascend710"),
    Chip("310P7", "ascend310p", INFERENCE_310P, "Ascend710"),
    Chip("310B1", "ascend310b", INFERENCE_310B),
    Chip("310B2", "ascend310b", INFERENCE_310B),
    Chip("310B3", "ascend310b", INFERENCE_310B),
    Chip("310B4", "ascend310b", INFERENCE_310B),
    Chip("910A", "ascend910", TRAINING, "Ascend910", trains=True, saturates=True),
    # Not to be taken for the 910B1 to 910B4 of A2.
    Chip("910B", "ascend910", TRAINING, "Ascend910", trains=True, saturates=True),
    Chip("910ProA", "ascend910", TRAINING, "Ascend910", trains=True, saturates=True),
    Chip("910ProB", "ascend910", TRAINING, "Ascend910", trains=True, saturates=True),
    Chip("910PremiumA", "ascend910", TRAINING, "Ascend910", trains=True, saturates=True),
    Chip("910B1", "ascend910", A2, trains=True, saturates=False),
    Chip("910B2", "ascend910", A2, trains=True, saturates=False),
    Chip("910B2C", "ascend910", A2, trains=True, saturates=False),
    Chip("910B3", "ascend910", A2, trains=True, saturates=False),
    Chip("910B4", "ascend910", A2, trains=True, saturates=False),
    Chip("910B4-1", "ascend910", A2, trains=True, saturates=False),
    Chip("910_9362", "ascend910", A3, trains=True, saturates=False, dvpp=None),
    Chip("910_9372", "ascend910", A3, trains=True, saturates=False, dvpp=None),
    Chip("910_9381", "ascend910", A3, trains=True, saturates=False, dvpp=None),
    Chip("910_9382", "ascend910", A3, trains=True, saturates=False, dvpp=None),
    Chip("910_9391", "ascend910", A3, trains=True, saturates=False, dvpp=None),
    Chip("910_9392", "ascend910", A3, trains=True, saturates=False, dvpp=None),
)
FAMILIES = tuple(dict.fromkeys(chip.family for chip in CHIPS))


def find_chip(soc: str | None) -> Chip | None:
    """The chip of this name, with or without "Ascend" before it; None for one that is not in the table."""
    name = (soc or "").removeprefix("Ascend").lower()
    return next((chip for chip in CHIPS if chip.name.lower() == name), None)


def family_of(soc: str | None) -> str | None:
    """The family of a chip; of one that is not in the table, the family whose name its own begins with."""
    chip, name = find_chip(soc), (soc or "").lower()
    if chip:
        return chip.family
    return max((family for family in FAMILIES if name.startswith(family)), key=len, default=None)


def saturates(soc: str) -> bool | None:
    """Whether an overflow on this chip gives its largest number instead of inf; None for a chip not in the table."""
    if os.environ.get("MS_ASCEND_CHECK_OVERFLOW_MODE") == "SATURATION_MODE":
        return True
    chip = find_chip(soc)
    return chip.saturates if chip else None


def chip_of(family: str) -> Chip:
    """The chip for which `--target FAMILY` converts."""
    return next(chip for chip in CHIPS if chip.family == family)
