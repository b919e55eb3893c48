"""A message needs to declare only the fields that are looked at, and keeps the others."""

import pytest
from google.protobuf.message import EncodeError

from glorext.runtime.protobuf import message_class

WHOLE = {
    "Pair": ("required string name = 1", "repeated int64 values = 2", "optional Rest rest = 3"),
    "Rest": ("optional bytes data = 9",),
}


def test_fields_that_are_not_declared_are_written_as_they_were_read():
    pair, small = message_class("Pair", WHOLE), message_class("Pair", {"Pair": WHOLE["Pair"][:1]})
    data = pair(name="a", values=[3, -1], rest={"data": b"\x00\xff"}).SerializeToString()
    read = small.FromString(data)
    read.name = "b"
    again = pair.FromString(read.SerializeToString())
    assert (again.name, list(again.values), again.rest.data) == ("b", [3, -1], b"\x00\xff")


def test_the_bytes_are_those_of_protobufs_encoding():
    assert message_class("Pair", WHOLE)(name="a", values=[3]).SerializeToString() == b"\x0a\x01a\x10\x03"


def test_a_message_without_a_required_field_is_not_written():
    with pytest.raises(EncodeError, match="required"):
        message_class("Pair", WHOLE)(values=[3]).SerializeToString()
