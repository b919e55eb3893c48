"""Answers are compared in one way, and what is not a number is never near."""

import re
from importlib.resources import files

import numpy as np
import pytest

from glorext.deploy.contract.closeness import CONVERTED, compare, require_close
from glorext.runtime import ConversionError

EXPECTED = np.array([[1, 0, 0], [0, 0.5, 0.45], [0, 0, 3]], np.float32)


def moved(row, column, by):
    found = EXPECTED.copy()
    found[row, column] += by
    return found


def test_a_comparison_by_hand():
    found = compare(moved(0, 1, 2), EXPECTED)
    assert (found.max_difference, found.mean_difference) == pytest.approx((2, 2 / 9))
    assert found.cosine == pytest.approx(1 / np.sqrt(5))
    assert (found.changed, found.clear, found.largest) == ((0,), {0: 1.0}, 3)


def test_only_a_change_between_two_distant_answers_is_clear():
    near = moved(1, 2, 0.06)
    assert compare(near, EXPECTED).changed == (1,) and compare(near, EXPECTED).clear == {}
    assert compare(near, EXPECTED, margin=0.04).clear == {1: pytest.approx(0.05)}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_within_no_limit(value):
    found = compare(moved(0, 0, value), EXPECTED)
    assert not found.finite and not found.within(1e30)
    with pytest.raises(ConversionError, match="found a difference of (nan|inf)"):
        require_close(moved(0, 0, value), EXPECTED, 1, "logits", ConversionError, of="as given", where="m.ms")


def test_an_expected_value_that_is_not_a_number_is_no_excuse():
    assert not compare(EXPECTED, moved(0, 0, np.nan)).within(1e30)


def test_logits_are_allowed_a_share_of_the_largest_and_probabilities_ten_times_that_however_small():
    found = compare(EXPECTED / 6, EXPECTED / 6)
    assert found.limit(0.1) == pytest.approx(0.1) and found.limit(0.1, "probabilities") == pytest.approx(0.5)
    assert compare(EXPECTED, EXPECTED).limit(0.1) == pytest.approx(0.3)


def test_the_limit_decides_and_the_message_names_both():
    compared = require_close(moved(2, 0, 0.29), EXPECTED, 0.1, "logits", ConversionError, of="x", where="m.ms")
    assert compared.max_difference == pytest.approx(0.29)
    with pytest.raises(
        ConversionError, match="expected logits as given, to 3.0e-01, found a difference of 3.1e-01 in m"
    ):
        require_close(moved(2, 0, 0.31), EXPECTED, 0.1, "logits", ConversionError, of="as given", where="m.ms")
    with pytest.raises(ConversionError, match=r"of shape \(3, 3\), found \(2, 3\)"):
        require_close(EXPECTED[:2], EXPECTED, 0.1, "logits", ConversionError, of="as given", where="m.ms")


def test_a_network_of_one_class_can_be_compared():
    assert compare(EXPECTED[:, :1], EXPECTED[:, :1]).changed == ()


def test_the_programs_own_default_is_the_tolerance_of_a_converted_model():
    source = (files("glorext.deploy") / "cpp" / "src" / "compare_main.cc").read_text()
    assert [float(default) for default in re.findall(r"double tolerance = ([0-9.e-]+);", source)] == [CONVERTED]
