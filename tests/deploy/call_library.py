"""Calls libglorext through its C functions and prints what it found as JSON: a process without MindSpore.

The runtimes of MindSpore and MindSpore Lite have functions of the same names and do not belong into one process.
"""

import ctypes
import json
import sys
import threading
from pathlib import Path


class Answer(ctypes.Structure):
    _fields_ = (("index", ctypes.c_int64), ("label", ctypes.c_char_p), ("probability", ctypes.c_double))


def opened(path):
    """The library with the types of its functions."""
    library = ctypes.CDLL(path)
    library.glorext_error.restype = ctypes.c_char_p
    library.glorext_open.restype = ctypes.c_void_p
    for name in ("close", "size", "workers", "classes"):
        getattr(library, f"glorext_{name}").argtypes = [ctypes.c_void_p]
    return library


def main(library, model, pictures):
    found = {}
    library = opened(library)
    assert library.glorext_open(b"nowhere.ms", None, 0, 0) is None
    found["no model"] = library.glorext_error().decode()
    assert library.glorext_open(model.encode(), b"gpu", 0, 0) is None
    found["no such device"] = library.glorext_error().decode()
    handle = ctypes.c_void_p(library.glorext_open(model.encode(), None, 0, 2))
    assert handle and library.glorext_error() == b""
    found["properties"] = [getattr(library, f"glorext_{name}")(handle) for name in ("size", "workers", "classes")]

    def ask(name, *arguments, room=5):
        answers = (Answer * 5)()
        count = getattr(library, f"glorext_classify_{name}")(handle, *arguments, answers, room)
        if count < 0:
            return library.glorext_error().decode()
        return [(one.index, one.label.decode(), one.probability) for one in answers[:count]]

    data = [Path(path).read_bytes() for path in pictures]
    found["files"] = [ask("file", path.encode()) for path in pictures]
    found["bytes"] = [ask("bytes", one, ctypes.c_size_t(len(one))) for one in data]
    found["one"] = ask("file", pictures[0].encode(), room=1)
    found["broken"] = ask("bytes", data[0][:50], ctypes.c_size_t(50))
    found["nothing"] = ask("bytes", None, ctypes.c_size_t(0))
    found["no file"] = ask("file", b"nowhere.png")
    side = found["properties"][0]
    flat = bytes(range(200, 203)) * (side * side)
    found["image"] = ask("image", flat, side, side, ctypes.c_size_t(0))
    row, padding = flat[: 3 * side], bytes(11)
    found["strided"] = ask("image", (row + padding) * side, side, side, ctypes.c_size_t(3 * side + 11))
    found["stride too small"] = ask("image", flat, side, side, ctypes.c_size_t(3 * side - 1))
    found["no width"] = ask("image", flat, 0, side, ctypes.c_size_t(0))
    values = (ctypes.c_float * (3 * side * side))(*[0.25] * (3 * side * side))
    found["tensor"] = ask("tensor", values, ctypes.c_size_t(3 * side * side))
    found["short tensor"] = ask("tensor", values, ctypes.c_size_t(3 * side * side - 1))
    values[7] = float("nan")
    found["nan"] = ask("tensor", values, ctypes.c_size_t(3 * side * side))

    wrong = []

    def often(first):
        for number in range(40):
            at = (first + number) % len(pictures)
            if ask("file", pictures[at].encode()) != found["files"][at]:
                wrong.append(pictures[at])
            ask("file", b"nowhere.png")
            if b"nowhere.png" not in library.glorext_error():
                wrong.append("another thread's error")

    threads = [threading.Thread(target=often, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found["wrong"] = wrong
    library.glorext_close(handle)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
