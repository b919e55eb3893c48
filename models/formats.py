"""Weight files to named NumPy arrays and back: .ckpt, .safetensors and .pth, without running anything they contain."""

from __future__ import annotations

import binascii
import os
from pathlib import Path

import numpy as np

from glorext.runtime.errors import CheckpointError
from glorext.runtime.files import atomic_path
from glorext.runtime.protobuf import DecodeError, message_class

# MindSpore's names of element types inside a .ckpt. Text entries ("str") are notes of the training run.
CKPT_TYPES = {
    name: np.dtype(name.lower())
    for name in ("Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64")
    + ("Float16", "Float32", "Float64", "Bool")
}
CRC_MARK, CRC_BYTES = b"crc_num", 10
TORCH_MAGIC = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
# MindSpore's checkpoint.proto, declared here so that reading a file does not import MindSpore.
Checkpoint = message_class(
    "Checkpoint",
    {
        "Checkpoint": ("repeated Value value = 1",),
        "Value": ("required string tag = 1", "optional Tensor tensor = 2"),
        "Tensor": ("repeated int64 dims = 1", "required string type = 2", "required bytes content = 3"),
    },
)
FULL_AGAIN = "Get the file again: it is cut off, damaged, or not a checkpoint."


def read_tensors(path) -> dict[str, np.ndarray]:
    """Every tensor of a weight file under the name it has there, in the file's order.

    Args:
        path: a .ckpt or .safetensors file, or a .pth or .pt file where torch is installed.

    Raises:
        CheckpointError: no such file, another kind of file, cut off, damaged, or a .pth without torch.
    """
    path = Path(path)
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError as error:
        raise CheckpointError(expected="a checkpoint file", found=error.strerror, where=path) from error
    if size == 0:
        raise CheckpointError(expected="a checkpoint file", found="an empty file", where=path, do=FULL_AGAIN)
    if head.startswith(TORCH_MAGIC):
        return _read_torch(path)
    tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _read_ckpt(path)
    if not tensors:
        raise CheckpointError(expected="named tensors", found="none", where=path, do=FULL_AGAIN)
    return tensors


def require_no_pickle(path) -> None:
    """Raise CheckpointError when the file is one of PyTorch's, which are pickles, whether torch is installed or not."""
    with open(path, "rb") as file:
        if file.read(16).startswith(TORCH_MAGIC):
            raise CheckpointError(
                expected="a .ckpt or .safetensors file",
                found="a pickle of PyTorch, which can run code when it is read",
                where=path,
                do="Ask its publisher for a package made by `glorext pack`.",
            )


def _damaged(path, what) -> CheckpointError:
    return CheckpointError(expected="a whole checkpoint", found=what, where=path, do=FULL_AGAIN)


def _read_ckpt(path) -> dict[str, np.ndarray]:
    data = path.read_bytes()
    tail = len(data) - CRC_BYTES - len(CRC_MARK)
    if tail > 0 and data[tail:].startswith(CRC_MARK):
        promised, data = int.from_bytes(data[-CRC_BYTES:], "big"), data[:tail]
        if binascii.crc32(data) != promised:
            raise _damaged(path, "bytes that do not match the file's own CRC")
    message = Checkpoint()
    try:
        message.ParseFromString(data)
    # protobuf's implementation in Python lets a name that is not UTF-8 through as UnicodeDecodeError.
    except (DecodeError, UnicodeDecodeError) as error:
        raise _damaged(path, f"bytes that are not MindSpore's checkpoint format ({error})") from error
    pieces: dict[str, list] = {}
    for value in message.value:
        # protobuf's implementation in C hands such a name out as bytes.
        if not isinstance(value.tag, str):
            raise _damaged(path, "a name that is not UTF-8")
        if value.tensor.type not in ("str", ""):
            # A tensor above 512 MB is written in pieces under one name.
            pieces.setdefault(value.tag, []).append(_ckpt_tensor(value, path))
    try:
        return {name: parts[0] if len(parts) == 1 else np.concatenate(parts) for name, parts in pieces.items()}
    except ValueError as error:
        raise _damaged(path, f"one name for tensors that are no pieces of each other ({error})") from error


def _ckpt_tensor(value, path) -> np.ndarray:
    tensor = value.tensor
    if tensor.type == "BFloat16":
        import ml_dtypes

        kind = np.dtype(ml_dtypes.bfloat16)
    elif tensor.type in CKPT_TYPES:
        kind = CKPT_TYPES[tensor.type]
    else:
        raise _damaged(path, f"{value.tag} with the unknown element type {tensor.type!r}")
    # MindSpore writes the shape () as (0,) with one element.
    shape = () if list(tensor.dims) == [0] and len(tensor.content) == kind.itemsize else tuple(tensor.dims)
    try:
        # NumPy refuses more than 32 axes, negative lengths and another number of bytes without multiplying for long.
        array: np.ndarray | None = np.ndarray(shape, kind, tensor.content) if min(shape, default=0) >= 0 else None
    except (TypeError, ValueError):
        array = None
    if array is None or array.nbytes != len(tensor.content):
        form = f"the shape {shape}" if len(shape) < 9 else f"a shape of {len(shape):,} axes"
        raise _damaged(path, f"{value.tag} with {len(tensor.content)} bytes for {form} of {kind}")
    return array.astype(np.float32) if tensor.type == "BFloat16" else array


def _read_safetensors(path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: _widened(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, TypeError, ValueError) as error:
        raise _damaged(path, f"bytes that are not safetensors ({error})") from error


def _widened(array) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _read_torch(path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as error:
        raise CheckpointError(
            expected="torch to be installed, to read a PyTorch file",
            found="no torch",
            where=path,
            do="Where torch is installed, write the weights as safetensors, which needs no torch here: "
            "safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'FILE.safetensors').",
        ) from error
    try:
        # weights_only: a pickle can otherwise run any code.
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    # The restricted unpickler works through a malformed file until some operation fails, with that one's exception.
    except Exception as error:  # pylint: disable=broad-except
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise _damaged(path, f"no plain PyTorch weights ({reason})") from error
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not any(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise _damaged(path, f"a {type(loaded).__name__} without tensors")
    return {
        name: (value.float() if value.dtype == torch.bfloat16 else value).detach().numpy()
        for name, value in loaded.items()
        if isinstance(value, torch.Tensor)
    }


def write_tensors(tensors: dict[str, np.ndarray], path) -> None:
    """Write named arrays as .ckpt or .safetensors, by the suffix: the whole file or none, the same bytes every time.

    Raises:
        CheckpointError: another suffix, or an element type that MindSpore has no name for.
        DiskFullError: no room.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        from safetensors.numpy import save

        data = save({name: np.asarray(array, order="C") for name, array in tensors.items()}, metadata={"format": "np"})
    elif path.suffix == ".ckpt":
        data = _ckpt_bytes(tensors)
    else:
        raise CheckpointError(expected="a name that ends in .ckpt or .safetensors", found=path.name)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _ckpt_bytes(tensors) -> bytes:
    names = {kind: name for name, kind in CKPT_TYPES.items()}
    message = Checkpoint()
    for name, array in tensors.items():
        if array.dtype not in names:
            raise CheckpointError(expected=f"element types {', '.join(CKPT_TYPES)}", found=f"{name} of {array.dtype}")
        value = message.value.add(tag=name)
        value.tensor.dims.extend(array.shape or (0,))
        value.tensor.type = names[array.dtype]
        value.tensor.content = array.tobytes()
    return message.SerializeToString(deterministic=True)
