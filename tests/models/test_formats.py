"""Weight files are read without running anything in them; damaged ones are named, never half read."""

import pickle
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glorext.models import read_checkpoint, save_checkpoint
from glorext.models.formats import Checkpoint, read_tensors, write_tensors
from glorext.runtime import CheckpointError

KINDS = [
    np.int8,
    np.uint8,
    np.int16,
    np.uint16,
    np.int32,
    np.uint32,
    np.int64,
    np.uint64,
    np.float16,
    np.float32,
    np.float64,
    np.bool_,
]


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_every_element_type_and_shape_survives(tmp_path, suffix):
    stored = {
        f"{np.dtype(kind).name}.{i}": np.arange(np.prod(shape)).reshape(shape).astype(kind)
        for kind in KINDS
        for i, shape in enumerate([(3,), (2, 1, 3), (1,), (), (1, 1, 1, 1)])
    }
    write_tensors(stored, tmp_path / f"x{suffix}")
    found = read_tensors(tmp_path / f"x{suffix}")
    assert found.keys() == stored.keys()
    for name, value in stored.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape, name
        assert np.array_equal(found[name], value), name


def test_bfloat16_from_mindspore_becomes_float32(tmp_path):
    import mindspore as ms

    values = ms.Tensor(np.array([1.5, -2.25, 1e30], np.float32)).astype(ms.bfloat16)
    ms.save_checkpoint([{"name": "a.weight", "data": values}], str(tmp_path / "x.ckpt"))
    found = read_tensors(tmp_path / "x.ckpt")["a.weight"]
    assert found.dtype == np.float32
    assert found == pytest.approx(values.astype(ms.float32).asnumpy())


def test_a_tensor_in_pieces_is_put_together(tmp_path):
    whole = np.arange(12, dtype=np.float32).reshape(6, 2)
    paths = [tmp_path / f"{i}.ckpt" for i in range(2)]
    for path, part in zip(paths, np.split(whole, 2)):
        write_tensors({"a.weight": part}, path)
    # A checkpoint is a sequence of messages: two files joined are one.
    (tmp_path / "both.ckpt").write_bytes(b"".join(path.read_bytes() for path in paths))
    assert np.array_equal(read_tensors(tmp_path / "both.ckpt")["a.weight"], whole)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small checkpoint in both formats, as bytes."""
    folder = tmp_path_factory.mktemp("formats")
    stored = {f"backbone.layer{i}.weight": np.random.default_rng(i).normal(size=(3, 4)) for i in range(8)}
    for suffix in (".ckpt", ".safetensors"):
        write_tensors(stored, folder / f"x{suffix}")
    return {suffix: (folder / f"x{suffix}").read_bytes() for suffix in (".ckpt", ".safetensors")}, stored


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_a_cut_off_file_is_an_error_or_lacks_whole_tensors(files, tmp_path, suffix):
    contents, stored = files
    path = tmp_path / f"x{suffix}"
    refused = 0
    for length in range(0, len(contents[suffix]), 7):
        path.write_bytes(contents[suffix][:length])
        try:
            found = read_tensors(path)
        except CheckpointError as error:
            assert str(path) in str(error)
            refused += 1
            continue
        # Cut exactly between two messages: complete as far as it goes; a network then misses the rest.
        assert len(found) < len(stored) and all(np.array_equal(found[name], stored[name]) for name in found)
    assert refused > 0.9 * len(range(0, len(contents[suffix]), 7))


def test_a_name_that_is_not_utf8_is_damage(files, tmp_path):
    damaged = files[0][".ckpt"].replace(b"backbone.layer0", b"\x80ackbone.layer0")
    (tmp_path / "x.ckpt").write_bytes(damaged)
    with pytest.raises(CheckpointError, match="whole checkpoint"):
        read_tensors(tmp_path / "x.ckpt")


@settings(max_examples=150, deadline=None)
@given(data=st.data(), suffix=st.sampled_from([".ckpt", ".safetensors"]))
def test_damaged_bytes_give_a_named_error_or_arrays(files, tmp_path_factory, data, suffix):
    content = bytearray(files[0][suffix])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, min(len(content) - 1, 600)))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    path.write_bytes(content)
    try:
        read_checkpoint(path)
    except CheckpointError:
        pass


@pytest.mark.parametrize(
    "tensors",
    [
        [([1] * 40, 4)],
        [([2**62] * 100_000, 4)],
        [([-1, -4], 16)],
        [([-1, -1], 4)],
        [([0, 2**62], 0)],
        [([2**62, 4], 0)],
        [([2, 3], 20)],
        [([2**63 - 1], 4)],
        [([2, 3], 24), ([2, 2], 16)],
        [([1], 4), ([1, 1], 4)],
    ],
)
def test_impossible_shapes_are_refused_at_once(tmp_path, tensors):
    message = Checkpoint()
    for dims, nbytes in tensors:
        value = message.value.add(tag="backbone.conv.weight")
        value.tensor.dims.extend(dims)
        value.tensor.type, value.tensor.content = "Float32", bytes(nbytes)
    (tmp_path / "x.ckpt").write_bytes(message.SerializeToString())
    start = time.process_time()
    with pytest.raises(CheckpointError, match="expected a whole checkpoint.{,400}$"):
        read_tensors(tmp_path / "x.ckpt")
    assert time.process_time() - start < 5


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=300), suffix=st.sampled_from([".ckpt", ".safetensors", ".pth", ""]))
def test_any_bytes_give_a_named_error(tmp_path_factory, content, suffix):
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


def test_a_flipped_byte_is_found_where_mindspore_wrote_a_crc(tmp_path):
    import mindspore as ms

    path = tmp_path / "x.ckpt"
    ms.save_checkpoint(
        [{"name": "a.weight", "data": ms.Tensor(np.ones((50, 50), np.float32))}], str(path), crc_check=True
    )
    assert read_tensors(path)["a.weight"].shape == (50, 50)
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="CRC"):
        read_tensors(path)


@pytest.mark.parametrize("content, text", [(None, "No such file"), (b"", "empty")])
def test_a_missing_or_empty_file_is_named(tmp_path, content, text):
    path = tmp_path / "x.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"(?s){text}.*x.ckpt"):
        read_checkpoint(path)
    with pytest.raises(CheckpointError, match="(?s)directory.*"):
        read_checkpoint(tmp_path)


class Bomb:
    target = ""

    def __reduce__(self):
        return (open, (Bomb.target, "w"))


@pytest.mark.parametrize("suffix", [".pth", ".ckpt", ".pt"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_is_never_run(tmp_path, monkeypatch, suffix, protocol):
    Bomb.target = str(tmp_path / "ran")
    (tmp_path / f"x{suffix}").write_bytes(pickle.dumps({"state_dict": Bomb()}, protocol))
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / f"x{suffix}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("magic", [b"PK\x03\x04", b"\x80\x02"])
def test_a_torch_file_without_torch_names_the_safetensors_way(tmp_path, monkeypatch, magic):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "x.pth").write_bytes(magic + bytes(100))
    with pytest.raises(CheckpointError, match="(?s)torch.*safetensors.torch.save_file"):
        read_checkpoint(tmp_path / "x.pth")


def test_other_suffixes_are_not_written(tmp_path):
    for name in ("x.pth", "x", "x.npz"):
        with pytest.raises(CheckpointError, match="safetensors"):
            save_checkpoint({"a": np.ones(1)}, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.ckpt"
    write_tensors({"a": np.ones(3, np.float32)}, path)
    with pytest.raises(CheckpointError, match="complex64"):
        write_tensors({"a": np.ones(3, np.complex64)}, path)
    assert np.array_equal(read_tensors(path)["a"], np.ones(3))
    assert list(tmp_path.iterdir()) == [path]
