"""Whether the MindSpore Lite of this machine is one that is documented for the chip, and for the CANN beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from glorext.deploy.runners.ascend_host import AscendHost
from glorext.deploy.runners.find_lite import WHEEL_VERSION, Lite
from glorext.runtime.chips import LITE_CANN, Chip, chips_of, find_chip, target_of

from .finding import Finding

FETCH = "glorext native"
GET = "set MINDSPORE_LITE_HOME to the SDK of such a version   (mindspore.cn/lite, Downloads)"


def row_of(chip: str) -> str:
    """What the row for a chip is called."""
    return f"MindSpore Lite for {chip}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _asked(host: AscendHost, target: str | None) -> dict[str, Chip]:
    """What it is called -> the chip: the one that is here, and `target`'s; of a family one of each series."""
    here = find_chip(host.soc) if host.target else None
    found = {here.soc: here} if here else {}
    if target in (None, "cpu"):
        return found
    family, soc = target_of(target)
    named = {chip.sold_as: chip for chip in chips_of(family) if soc in (chip.soc, None)}
    return found | {chip.soc if soc else f"{family}, {chip.sold_as}": chip for chip in named.values()}


def for_chips(host: AscendHost, lite: Lite | None, target: str | None) -> Iterator[Finding]:
    """A row for each chip that is asked for: the MindSpore Lite that is expected, the one that is found, what to do.

    Raises:
        UsageError: `target` is neither a family nor a chip.
    """
    for name, chip in _asked(host, target).items():
        found = f"found {lite.version}" if lite else "found none"
        documented = f"documented: {chip.documented or 'nothing'}"
        if chip.lite is None:
            do = "try what is there: `glorext convert` proves each result on the card"
            yield Finding(row_of(name), "absent", f"{documented}, and so no MindSpore Lite; {found}", do)
            continue
        unfit, do = _unfit(lite, chip, host.cann)
        here = host.target and find_chip(host.soc) == chip
        # For a chip that is not in this machine nothing fails here, and what fetches itself is not missing.
        state = "missing" if here and do != FETCH else "absent"
        yield Finding(row_of(name), state if do else "ok", f"{documented}; {found}{unfit}", do)


def _unfit(lite: Lite | None, chip: Chip, cann: str | None) -> tuple[str, str]:
    """What is wrong with this MindSpore Lite for the chip and the CANN beside it, and what to do; empty if nothing."""
    if lite is None:
        fetched = _fits(WHEEL_VERSION, chip) and not _wrong_cann(WHEEL_VERSION, cann)
        return "", FETCH if fetched else GET
    if not _fits(lite.version, chip):
        return ", which is not", GET
    if not lite.drives_cards:
        return ", without the plugin for Ascend cards", GET
    if wanted := _wrong_cann(lite.version, cann):
        text = f", whose Ascend plugin is linked to CANN {wanted}, and CANN {cann} is here"
        return text, f"install CANN {wanted}, or, where a later one is documented, {GET}"
    return "", ""


def _fits(version: str, chip: Chip) -> bool:
    """Whether the version lies in what is documented; one that is "unknown" does not."""
    oldest, newest = chip.lite or (None, "")
    return _numbers(oldest or "0.1") <= _numbers(version) <= _numbers(newest)


def _wrong_cann(lite: str, cann: str | None) -> int | None:
    """The CANN that this MindSpore Lite is linked to, where another one is here."""
    wanted = next((number for begin, number in LITE_CANN.items() if f"{lite}.".startswith(f"{begin}.")), None)
    return wanted if wanted and cann and _numbers(cann)[:1] != (wanted,) else None
