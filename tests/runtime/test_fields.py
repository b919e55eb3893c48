"""The typed reader of JSON: what it takes, what it refuses, and the path to the bad field in every message."""

import json
import re

import pytest

from glorext.runtime.errors import DataError, PackageError
from glorext.runtime.fields import LARGEST, Fields, kind_of, shown

VALUES = {
    "text": "x",
    "count": 3,
    "number": 0.5,
    "yes": True,
    "null": None,
    "list": [1, 2],
    "digest": "ab" * 32,
    "inner": {"deep": {"size": "ten"}},
    "objects": [{"a": 1}, {"a": "x"}],
    "versions": {"glorext": "1", "numpy": "2"},
}


def fields(**changes) -> Fields:
    return Fields(VALUES | changes, "f.json")


def refused(call, **changes) -> str:
    with pytest.raises(DataError) as caught:
        call(fields(**changes))
    return str(caught.value)


def test_values_of_every_type_are_taken_and_then_nothing_is_left():
    found = fields()
    assert found.take("text", str) == "x" and found.take("count", int) == 3 and found.take("yes", bool) is True
    assert found.take("null", str, optional=True) is None and found.take("list", list) == [1, 2]
    assert found.fraction("number") == 0.5 and found.digest("digest") == "ab" * 32
    assert "inner" in found and found.inner("inner").inner("deep").one_of("size", "ten") == "ten"
    assert "inner" not in found
    assert [one.where for one in found.inners("objects")] == ["f.json: objects[0]", "f.json: objects[1]"]
    with pytest.raises(DataError, match="expected no other keys, found 'versions' in f.json"):
        found.done()
    assert found.strings("versions") == VALUES["versions"]
    found.done()


def test_a_whole_number_is_a_number_but_not_the_other_way_round():
    assert fields().take("count", float) == 3.0 and type(fields().take("count", float)) is float
    assert "expected a whole number, found 0.5 in f.json: number" in refused(lambda f: f.take("number", int))
    assert "found 3.0" in refused(lambda f: f.count("count"), count=3.0)


@pytest.mark.parametrize("kind", [str, int, float, list, dict])
def test_true_is_nothing_but_true(kind):
    assert f"expected {kind_of(kind())}" in refused(lambda f: f.take("yes", kind))


def test_a_missing_key_is_an_error_even_where_null_is_not():
    for take in (
        lambda f: f.take("none", str, optional=True),
        lambda f: f.count("none", optional=True),
        lambda f: f.fraction("none", optional=True),
        lambda f: f.digest("none", optional=True),
        lambda f: f.inner("none", optional=True),
    ):
        assert "expected the key 'none', found none in f.json" in refused(take)
    assert fields().count("null", optional=True) is None and fields().inner("null", optional=True) is None
    assert "found null in f.json: null" in refused(lambda f: f.take("null", str))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda f: f.inner("inner").inner("deep").take("size", int), "found a string in f.json: inner.deep.size"),
        (lambda f: f.inner("inner").inner("deep").take("no", int), "the key 'no', found none in f.json: inner.deep"),
        (lambda f: [one.take("a", int) for one in f.inners("objects")], "found a string in f.json: objects[1].a"),
        (lambda f: f.inner("list"), "expected an object, found a list in f.json: list"),
        (lambda f: f.inners("inner"), "expected a list, found an object in f.json: inner"),
        (lambda f: f.inners("list"), "expected an object, found a whole number in f.json: list[0]"),
        (lambda f: f.values("list", str), "expected a string, found a whole number in f.json: list[0]"),
        (lambda f: f.strings("inner"), "expected a string, found an object in f.json: inner.deep"),
        (lambda f: f.count("count", 4, 9), "expected a whole number from 4 to 9, found 3 in f.json: count"),
        (lambda f: f.fraction("count"), "expected a number from 0 to 1, found 3.0 in f.json: count"),
        (lambda f: f.one_of("text", "a", "b"), "expected 'a' or 'b', found 'x' in f.json: text"),
        (lambda f: f.digest("text"), "expected 64 hex digits, found 'x' in f.json: text"),
        (lambda f: f.matching("text", re.compile("y"), "the letter y"), "expected the letter y, found 'x'"),
        (lambda f: f.names(re.compile("[a-k]+"), "early letters"), "expected early letters, found 'text' in f.json"),
        (lambda f: f.file_name("count"), "expected a string, found a whole number in f.json: count"),
    ],
)
def test_complaints_name_the_path(call, message):
    assert message in refused(call)


def test_a_digest_is_that_and_nothing_more():
    for bad in ("AB" * 32, "ab" * 31, "ab" * 32 + "\n", "ab" * 33, 12):
        assert "f.json: digest" in refused(lambda f: f.digest("digest"), digest=bad)


def test_the_same_list_of_values_comes_back():
    assert fields().values("list", int) == (1, 2) and fields().values("list", float) == (1.0, 2.0)
    assert fields(list=[]).values("list", int) == ()
    assert fields(list=[[1], [2]]).values("list", list) == ([1], [2])


def test_names_and_the_rest_are_what_nobody_took():
    found = Fields({"b": 1, "a": 2}, "f.json")
    assert found.names(re.compile("[a-z]"), "letters") == ["b", "a"]
    assert found.take("b", int) == 1 and found.rest() == {"a": 2}
    found.done()


@pytest.mark.parametrize("kind", [int, float])
def test_numbers_that_not_every_reader_holds_are_refused(kind):
    assert fields(count=LARGEST).take("count", kind) == LARGEST
    for huge in (LARGEST + 1, -LARGEST - 1, 10**400):
        message = refused(lambda f: f.take("count", kind), count=huge)
        assert "found a number of more than 15 digits in f.json: count" in message and len(message) < 200
    for endless in (float("inf"), float("nan")):
        assert "f.json: count" in refused(lambda f: f.take("count", kind), count=endless)


def test_half_of_a_surrogate_pair_is_no_text():
    assert "half of a surrogate pair in 'a\\ud83d' in f.json: text" in refused(
        lambda f: f.take("text", str), text="a\ud83d"
    )
    assert "f.json: versions" in refused(lambda f: f.strings("versions"), versions={"\ud83d": "1"})
    assert "f.json: versions.a" in refused(lambda f: f.strings("versions"), versions={"a": "\ud83d"})


@pytest.mark.parametrize("bad", ["\udce9", 10**400, float("inf")])
def test_what_is_taken_as_it_stands_is_looked_at_to_the_bottom(bad):
    deep = {"a": [1, {"b": bad}]}
    assert "in f.json: inner.a[1].b" in refused(lambda f: f.take("inner", dict), inner=deep)
    assert "in f.json: list[0][1].b" in refused(lambda f: f.take("list", list), list=[deep["a"]])
    assert "in f.json: inner.a[1].b" in refused(lambda f: f.rest(), inner=deep)
    assert "in f.json: list[0].a[1].b" in refused(lambda f: f.values("list", dict), list=[deep])


def test_a_file_name_may_hold_bytes_that_are_not_utf8():
    assert fields(text="caf\udce9").file_name("text") == "caf\udce9"
    assert "half of a surrogate pair" in refused(lambda f: f.file_name("text"), text="\ud83d\udce9")


def test_a_strangers_key_is_escaped_and_cut_in_the_message():
    message = refused(lambda f: f.strings("versions"), versions={"a\x1b[31m\n": 1})
    assert "\x1b" not in message and "\n" not in message and r"a\x1b[31m\n" in message
    assert len(refused(lambda f: f.strings("versions"), versions={"a" * 10_000: 1})) < 400
    assert len(refused(lambda f: f.done(), **{"b" * 10_000: 1})) < 500


def test_values_are_shown_shortly():
    assert shown("é") == "'\\xe9'" and len(shown("x" * 10_000)) == 200
    assert shown(10**400) == "a number of more than 15 digits" and shown(True) == "True"
    assert [kind_of(value) for value in (1, 1.0, True, None, [], {}, "")] == [
        "a whole number",
        "a number",
        "true or false",
        "null",
        "a list",
        "an object",
        "a string",
    ]


def test_parse_and_read_want_an_object_of_the_schema(tmp_path):
    data = json.dumps({"schema": "s/1", "a": 1}).encode()
    assert Fields.parse(data, "f.json", "s/1").rest() == {"a": 1}
    path = tmp_path / "f.json"
    path.write_bytes(data)
    assert Fields.read(path, "s/1").take("a", int) == 1
    for bad, message in (
        (b"[]", "expected an object, found a list in f.json. Make it again."),
        (b"{", "expected JSON"),
        (data, "expected 's/2', found 's/1' in f.json: schema. Make it again."),
        (b"{}", "the key 'schema'"),
    ):
        with pytest.raises(PackageError) as caught:
            Fields.parse(bad, "f.json", "s/2", PackageError, "make it again")
        assert message in str(caught.value)
    for place in (tmp_path / "none.json", tmp_path):
        with pytest.raises(PackageError, match="expected a JSON file"):
            Fields.read(place, error=PackageError)


def test_a_colon_in_the_files_name_does_not_change_the_path():
    with pytest.raises(DataError, match="in a: b.json: inner.deep.size"):
        Fields(VALUES, "a: b.json").inner("inner").inner("deep").take("size", int)
    with pytest.raises(DataError, match="in a: b.json: text"):
        Fields(VALUES, "a: b.json").take("text", int)
