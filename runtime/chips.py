"""The Ascend chips that glorext knows, one row for each: what training, conversion, inference and the doctor ask."""

from __future__ import annotations

import os
from dataclasses import dataclass

from .errors import UsageError

INFERENCE_310, INFERENCE_310P = "Atlas 200/300/500 inference products", "Atlas inference products"
INFERENCE_310B = "Atlas 200I/500 A2 inference products"
TRAINING, A2, A3 = "Atlas training products", "Atlas A2 products", "Atlas A3 products"
# MindSpore Lite -> the CANN whose libraries its plugin for cards is linked to; of other pairs nothing is documented.
# (The plugin of the wheel 2.0.0 asks for libopskernel.so and libacl_cblas.so, which CANN has up to 6.)
LITE_CANN = {"2.0": 6}


@dataclass(frozen=True)
class Chip:
    """One kind of Ascend chip. What CANN's documentation (6.3 to 9.0) leaves open is None.

    Attributes:
        name: as `npu-smi info` shows it; on A3 "910_" and what `npu-smi info -t board` calls "NPU Name".
        family: what `--target` and `--device` call it.
        sold_as: the series of products that carry it.
        trains: whether MindSpore runs on it, and not MindSpore Lite alone.
        saturates: whether an overflow gives the largest number instead of infinity, unless the user asks otherwise.
        dvpp: whether it decodes and resizes pictures.
        aipp: whether it normalizes pictures in front of a model.
        mindspore, cann: the versions of MindSpore and CANN that are documented for it.
        lite: the oldest MindSpore Lite that is documented for it, None where only an end is, and the newest.
        lite_for: what that documentation says beside.
    """

    name: str
    family: str
    sold_as: str
    trains: bool = False
    saturates: bool | None = None
    dvpp: bool | None = True
    aipp: bool | None = True
    mindspore: str | None = None
    cann: str | None = None
    lite: tuple[str | None, str] | None = None
    lite_for: str = ""

    @property
    def soc(self) -> str:
        """As AscendCL says it (aclrtGetSocName) and atc takes it (--soc_version)."""
        return f"Ascend{self.name}"

    @property
    def documented(self) -> str:
        """The versions that are documented for it, for people; empty where none is."""
        oldest, newest = self.lite or ("", "")
        lite = newest if oldest == newest else f"{oldest} to {newest}" if oldest else f"up to {newest}"
        if self.lite_for:
            lite += f" ({self.lite_for})"
        found = {"MindSpore": self.mindspore, "CANN": self.cann, "MindSpore Lite": lite}
        return ", ".join(f"{name} {text}" for name, text in found.items() if text)

    @property
    def has_bfloat16(self) -> bool:
        """Whether MindSpore computes in bfloat16 on it."""
        return self.sold_as in (A2, A3)


def _series(family: str, sold_as: str, names: str, **shared) -> tuple[Chip, ...]:
    """The chips of one series, which differ in nothing but their names."""
    return tuple(Chip(name, family, sold_as, **shared) for name in names.split())


# Versions: the installation tables of MindSpore 2.6 to 2.10, the ATC manuals of CANN 6.3 to 9.0, MindSpore Lite 2.0 to
# 2.10. The 910B of the first generation is not to be taken for the 910B1 to 910B4 of A2.
CHIPS = (
    *_series(
        "ascend310",
        INFERENCE_310,
        "310",
        cann="up to 8.2.RC1",
        lite=("2.0", "2.0"),
        lite_for=f"with CANN {LITE_CANN['2.0']}",
    ),
    *_series("ascend310p", INFERENCE_310P, "310P3 310P1 310P5 310P7", lite=(None, "2.10"), lite_for="Atlas 300I Duo"),
    *_series("ascend310b", INFERENCE_310B, "310B1 310B2 310B3 310B4"),
    *_series(
        "ascend910",
        TRAINING,
        "910A 910B 910ProA 910ProB 910PremiumA",
        trains=True,
        saturates=True,
        mindspore="up to 2.10, without custom operators",
    ),
    *_series(
        "ascend910",
        A2,
        "910B1 910B2 910B2C 910B3 910B4 910B4-1",
        trains=True,
        saturates=False,
        mindspore="2.10",
        cann="8.2 to 9.1",
        lite=(None, "2.10"),
        lite_for="Atlas 800I A2",
    ),
    *_series(
        "ascend910",
        A3,
        "910_9362 910_9372 910_9381 910_9382 910_9391 910_9392",
        trains=True,
        saturates=False,
        dvpp=None,
        mindspore="2.10",
        cann="8.2 to 9.1",
        lite=(None, "2.10"),
    ),
)
FAMILIES = tuple(dict.fromkeys(chip.family for chip in CHIPS))


def find_chip(soc: str | None) -> Chip | None:
    """The chip of this name, with or without "Ascend" before it; None for one that is not in the table."""
    name = (soc or "").lower().removeprefix("ascend")
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


def chips_of(family: str) -> tuple[Chip, ...]:
    """The chips of a family."""
    return tuple(chip for chip in CHIPS if chip.family == family)


def target_of(text: str) -> tuple[str, str | None]:
    """The family that `--target` names and the exact chip, "Ascend310P3"; None where the family has several.

    Raises:
        UsageError: neither a family nor a chip of the table.
    """
    chip = find_chip(text)
    if chip is None and text.lower() not in FAMILIES:
        raise UsageError(
            expected=f"a target out of cpu, {', '.join(FAMILIES)}, or a chip's exact name such as Ascend310P3",
            found=text,
            where="--target",
            do='The exact name is "Ascend" and what `npu-smi info` shows.',
        )
    family = chip.family if chip else text.lower()
    same = chips_of(family)
    return family, (chip or same[0]).soc if chip or len(same) == 1 else None
