"""Files are whole or not there; JSON is read strictly."""

import errno
import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glorext.runtime import (
    DataError,
    DiskFullError,
    UsageError,
    atomic_dir,
    atomic_path,
    json_bytes,
    parse_json,
    read_json,
    require_space,
    sha256_file,
    write_json,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=9,
)


def test_sha256_of_a_file_larger_than_one_piece(tmp_path):
    data = os.urandom(3_000_001)
    (tmp_path / "x").write_bytes(data)
    assert sha256_file(tmp_path / "x") == hashlib.sha256(data).hexdigest()


def test_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    final = tmp_path / "a.json"
    final.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(final) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert final.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_atomic_path_keeps_the_suffix_and_obeys_umask(tmp_path):
    old = os.umask(0o022)
    try:
        with atomic_path(tmp_path / "a.onnx") as temporary:
            assert temporary.suffix == ".onnx" and temporary.parent == tmp_path
            temporary.write_text("x")
    finally:
        os.umask(old)
    assert (tmp_path / "a.onnx").stat().st_mode & 0o777 == 0o644


def test_full_disk_is_named(tmp_path):
    with pytest.raises(DiskFullError, match="a.bin"), atomic_path(tmp_path / "a.bin"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_really_full_device_is_named(tmp_path):
    with pytest.raises(DiskFullError), atomic_path(tmp_path / "a.bin"), open("/dev/full", "wb") as full:
        full.write(b"x" * 100)


def test_require_space_names_what_is_free(tmp_path):
    require_space(tmp_path / "not" / "there", 1)
    with pytest.raises(DiskFullError, match="free bytes"):
        require_space(tmp_path, 1 << 60)


def test_atomic_dir_appears_whole_or_not(tmp_path):
    with pytest.raises(RuntimeError), atomic_dir(tmp_path / "d") as temporary:
        (temporary / "x").write_text("1")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with atomic_dir(tmp_path / "d") as temporary:
        (temporary / "x").write_text("1")
    assert (tmp_path / "d" / "x").read_text() == "1"
    with pytest.raises(UsageError, match="does not exist yet"), atomic_dir(tmp_path / "d"):
        pass


@given(JSON)
def test_json_survives_the_way(value):
    assert parse_json(json_bytes(value), "here") == value


def test_json_bytes_do_not_depend_on_the_order_of_keys():
    assert json_bytes({"b": 1, "a": 2}) == json_bytes({"a": 2, "b": 1})


@pytest.mark.parametrize(
    "text, told",
    [
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": Infinity}', "Infinity"),
        (b"{", "Expecting"),
        (b"\xff\xfe", "utf-8"),
        (b"[" * 100_000, "recursion"),
        (b"[" * 66 + b"]" * 66, "64 levels"),
    ],
)
def test_bad_json_is_named_with_its_place(text, told):
    with pytest.raises(DataError, match="in x.json") as caught:
        parse_json(text, "x.json")
    assert told in str(caught.value)


def test_json_may_be_64_levels_deep():
    assert parse_json(b"[" * 65 + b"]" * 65, "x.json")
    assert parse_json(b'{"a":' * 64 + b"1" + b"}" * 64, "x.json")


def test_a_byte_of_a_name_that_is_not_utf8_survives_the_way():
    assert json_bytes("caf\udce9") == b'"caf\\udce9"\n'
    assert parse_json(json_bytes("caf\udce9 \u00e9"), "here") == "caf\udce9 \u00e9"


def test_read_json_of_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_json(tmp_path / "a.json")
    write_json(tmp_path / "a.json", [1])
    assert read_json(tmp_path / "a.json") == [1]
