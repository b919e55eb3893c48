"""What an error tells, and which exit status it gives."""

import pytest

from glorext.runtime import CheckpointError, GlorextError, RecipeError, UsageError


def test_message_names_expectation_finding_place_and_remedy():
    error = CheckpointError(expected="267 tensors", found="12", where="x.ckpt", do="copy it again")
    assert str(error) == "expected 267 tensors, found 12 in x.ckpt. Copy it again."


def test_plain_message_keeps_its_full_stop():
    assert str(GlorextError("the disk is full", do="Make room.")) == "the disk is full. Make room."


@pytest.mark.parametrize("kind, status", [(GlorextError, 1), (CheckpointError, 1), (UsageError, 2), (RecipeError, 2)])
def test_exit_status(kind, status):
    assert kind("x").exit_status == status
