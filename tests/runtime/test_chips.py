"""A chip is one row, found by what the driver's tools and libraries call it."""

import pytest

from glorext.runtime.chips import CHIPS, FAMILIES, chips_of, family_of, find_chip, saturates, target_of
from glorext.runtime.errors import UsageError


def test_every_chip_stands_once_and_its_family_begins_its_name():
    names = [chip.name.lower() for chip in CHIPS]
    assert len(set(names)) == len(names)
    for chip in CHIPS:
        assert chip.family == max((f for f in FAMILIES if f"ascend{chip.name}".lower().startswith(f)), key=len)


@pytest.mark.parametrize(
    "soc, family",
    [
        ("Ascend310", "ascend310"),
        ("Ascend310P3", "ascend310p"),
        ("310B4", "ascend310b"),
        ("Ascend910_9392", "ascend910"),
        ("Ascend310P9", "ascend310p"),
        ("Ascend950PR", None),
        ("Ascend", None),
        ("", None),
        (None, None),
    ],
)
def test_a_family_is_found_by_the_chips_name_new_ones_too(soc, family):
    assert family_of(soc) == family


def test_the_910b_of_the_first_generation_is_not_that_of_a2():
    assert find_chip("Ascend910B").saturates and not find_chip("Ascend910B3").saturates
    assert find_chip("Ascend910B9") is None


def test_a2_saturates_where_the_user_asks_mindspore_for_it(monkeypatch):
    monkeypatch.delenv("MS_ASCEND_CHECK_OVERFLOW_MODE", raising=False)
    chips = ("Ascend910A", "Ascend910B3", "Ascend910_9392", "Ascend999")
    assert [saturates(soc) for soc in chips] == [True, False, False, None]
    monkeypatch.setenv("MS_ASCEND_CHECK_OVERFLOW_MODE", "SATURATION_MODE")
    assert [saturates(soc) for soc in chips] == [True, True, True, True]
    assert [find_chip(soc).has_bfloat16 for soc in chips[:3]] == [False, True, True]


@pytest.mark.parametrize(
    "target, family, chip",
    [
        ("ascend310", "ascend310", "Ascend310"),
        ("ascend310p", "ascend310p", None),
        ("Ascend310P3", "ascend310p", "Ascend310P3"),
        ("ascend310p3", "ascend310p", "Ascend310P3"),
        ("310B4", "ascend310b", "Ascend310B4"),
        ("910B4-1", "ascend910", "Ascend910B4-1"),
        ("Ascend910_9392", "ascend910", "Ascend910_9392"),
        ("Ascend910", "ascend910", None),
    ],
)
def test_a_target_is_a_family_or_an_exact_chip(target, family, chip):
    assert target_of(target) == (family, chip)
    assert chip is None or find_chip(chip) in chips_of(family)


@pytest.mark.parametrize("target", ["ascend610", "Ascend310P9", "gpu", ""])
def test_another_target_is_refused_with_what_there_is(target):
    with pytest.raises(UsageError, match="ascend310p.*exact name"):
        target_of(target)


def test_every_family_has_chips_and_what_trains_has_versions():
    assert all(chips_of(family) for family in FAMILIES)
    assert all(chip.mindspore for chip in CHIPS if chip.trains)
