"""Decodes many picture files in each of the ways there are; a decoder that ends its process is a verdict as well."""

import contextlib
import hashlib
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glorext.models import InputSpec
from glorext.models.picture_file import picture_fault
from glorext.models.preprocess import read_picture
from glorext.runtime import DataError, write_json

SMALL = InputSpec(size=16, resize=16)


class Pixels(NamedTuple):
    """Of a decoded picture; equal where all its pixels are."""

    shape: tuple[int, ...]
    sha256: str


Verdict = Pixels | str  # or why there are none


def pixels_of(picture: np.ndarray) -> Pixels:
    """What is compared of a picture: a large one is not kept."""
    return Pixels(picture.shape, hashlib.sha256(np.ascontiguousarray(picture)).hexdigest())


def in_a_child(function: Callable[[Path], Verdict], paths) -> list[Verdict]:
    """`function` of each path, or its error; "status 139" or the like where it ends the process."""
    found: list[Verdict] = []
    while len(found) < len(paths):
        found += _up_to_an_end(function, paths[len(found) :])
    return found


def _up_to_an_end(function, paths) -> list[Verdict]:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where libjpeg warns
        with os.fdopen(writing, "wb") as out:
            for path in paths:
                try:
                    verdict = function(path)
                except (RuntimeError, DataError) as error:
                    verdict = str(error)
                pickle.dump(verdict, out)
                out.flush()
        os._exit(0)
    os.close(writing)
    found: list[Verdict] = []
    with os.fdopen(reading, "rb") as answers, contextlib.suppress(EOFError):
        while True:
            found.append(pickle.load(answers))
    status = os.waitpid(child, 0)[1]
    return found if not status else [*found, f"status {128 + os.WTERMSIG(status)}"]


def by_mindspore(path: Path) -> Pixels:
    """Decode as evaluation does; the crop of training as well, which skips rows in other code of libjpeg's."""
    from mindspore.dataset import vision

    data = np.frombuffer(path.read_bytes(), np.uint8)
    vision.RandomCropDecodeResize(16, (0.08, 1.0))(data)
    return pixels_of(vision.Decode()(data))


def by_training(paths) -> list[Verdict]:
    """What training and evaluation do with each file: the check, and MindSpore's decoder for what passes."""
    by_mindspore(Path(paths[0]))  # the first is whole; what the decoder loads is loaded before the first fork
    found: list[Verdict] = [picture_fault(path) or "" for path in paths]
    passed = [index for index, fault in enumerate(found) if not fault]
    for index, verdict in zip(passed, in_a_child(by_mindspore, [paths[index] for index in passed])):
        found[index] = verdict
    return found


def by_numpy(paths) -> list[Verdict]:
    """The NumPy reference's pixels of each file, or why there are none."""
    found: list[Verdict] = []
    for path in paths:
        try:
            found.append(pixels_of(read_picture(path)))
        except DataError as error:
            found.append(error.found)
    return found


def by_cpp(paths, pixels, scratch, same_as_mindspore: bool = False) -> list[Verdict]:
    """The pixels that the C++ program `pixels` makes of each file, or why it makes none.

    Args:
        same_as_mindspore: without libjpeg's vector code, which MindSpore's decoder has not: where damage makes
            impossible values, the two compute them differently.
    """
    write_json(Path(scratch) / "spec.json", SMALL.to_dict())
    out = Path(scratch) / "out"
    command = [pixels, "--input_spec", Path(scratch) / "spec.json", "--out", out, *paths]
    environment = {**os.environ, **({"JSIMD_FORCENONE": "1"} if same_as_mindspore else {})}
    done = subprocess.run(list(map(str, command)), capture_output=True, timeout=600, env=environment)
    assert done.returncode in (0, 1), done.stderr[-2000:]
    found: list[Verdict] = []
    for index in range(len(paths)):
        error = out / str(index) / "error.txt"
        found.append(error.read_text() if error.is_file() else pixels_of(np.load(out / str(index) / "decode.npy")))
    return found
