"""Which files are whole pictures: one verdict for training, evaluation and the NumPy reference; docs/pictures.md.

The C++ programs give the same verdict from libjpeg and libpng themselves. Nothing is decoded here but a PNG's zlib
stream: of a JPEG of one scan the headers and the end are read, of others all markers.
"""

from __future__ import annotations

import os
import stat

from .jpeg_file import END, NO_END, SOI, only_scan
from .picture_limits import MAX_BYTES, PictureFault
from .png_file import SIGNATURE, read_png

PICTURE_ENDINGS = (".jpg", ".jpeg", ".png")  # in upper or lower case
OTHER_ENDINGS = (".webp", ".bmp", ".gif", ".tif", ".tiff")  # pictures that MindSpore's decoder does not read everywhere
OTHERS = {b"GIF8": "GIF", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"RIFF": "WebP"}
HEAD = 1 << 16
TAIL = 4096


def picture_fault(path) -> str | None:
    """What is wrong with a picture file, so that no way takes it; None if nothing is."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                return "not a regular file"
            _check(file, state.st_size)
    except (PictureFault, OSError) as error:
        return str(error)
    return None


def _without_waiting(path, flags):
    """Open without waiting for somebody who writes into a pipe of that name."""
    return os.open(path, flags | os.O_NONBLOCK)


def _check(file, size: int) -> None:
    if size > MAX_BYTES:
        raise PictureFault(f"a file of {size} bytes; at most {MAX_BYTES} are read")
    head = file.read(HEAD)
    if not head:
        raise PictureFault("an empty file")
    if head.startswith(SOI):
        _check_jpeg(file, head, size)
    elif head.startswith(SIGNATURE):
        read_png(head + file.read())
    else:
        kind = next((kind for start, kind in OTHERS.items() if head.startswith(start)), None)
        raise PictureFault(
            f"a {kind} file, which is neither JPEG nor PNG" if kind else "no picture: neither JPEG nor PNG"
        )


def _check_jpeg(file, data: bytes, size: int) -> None:
    try:
        start = only_scan(data)
    except PictureFault:
        if len(data) == size:
            raise
        data += file.read()
        start = only_scan(data)
    if start is None or END in data[start:]:
        return
    for place in (max(start, size - TAIL), start):
        file.seek(place)
        if END in file.read():
            return
    raise PictureFault(NO_END)
