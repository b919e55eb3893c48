"""Reads a PNG file's chunks and rows (PNG specification, third edition, sections 5 and 7 to 11) without decoding."""

from __future__ import annotations

import struct
import zlib

from .picture_limits import PictureFault, check_size

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# color type -> samples, depths
COLORS = {0: (1, (1, 2, 4, 8, 16)), 2: (3, (8, 16)), 3: (1, (1, 2, 4, 8)), 4: (2, (8, 16)), 6: (4, (8, 16))}
PALETTE = 3
# (left, top, across, down) of each pass of an interlaced picture
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
MAX_SIDE = 1_000_000  # libpng's limit, which MindSpore leaves as it is


def _chunks(data: bytes):
    """Yield (name, content) of each chunk up to IEND; sums count where a decoder needs the chunk."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if not name.isalpha() or not name.isascii():
            raise PictureFault("a PNG with an impossible chunk")
        end = at + 12 + length
        if end > len(data):
            break
        content = data[at + 8 : end - 4]
        needed = not name[0] & 0x20
        if needed and zlib.crc32(content, zlib.crc32(name)) != int.from_bytes(data[end - 4 : end], "big"):
            raise PictureFault(f"a PNG whose chunk {name.decode()} has a wrong CRC")
        yield name, content
        if name == b"IEND":
            return
        at = end
    raise PictureFault("a PNG without its end: it is cut off")


def read_png(data: bytes) -> tuple[bytes, bytes, bytes]:
    """A whole PNG's header, palette (empty if its color type has none) and filtered rows.

    Raises:
        PictureFault: libpng or MindSpore cannot decode it.
    """
    header, palette, last = b"", b"", b""
    packed: list[bytes] = []
    for name, content in _chunks(data):
        if (name == b"IHDR") != (not header):
            raise PictureFault("a PNG without its header in front, or with two")
        if name == b"IHDR":
            header = content
            color = _check_header(header)
        elif name == b"PLTE" and color == PALETTE:
            if palette or packed or not content or len(content) % 3 or len(content) > 768:
                raise PictureFault("a PNG with an impossible palette")
            palette = content
        elif name == b"IDAT" and (not packed or last == name):
            packed.append(content)
        elif not name[0] & 0x20 and name not in (b"PLTE", b"IDAT", b"IEND"):
            raise PictureFault(f"a PNG with the unknown chunk {name.decode()}, which a decoder needs")
        last = name
    if color == PALETTE and not palette:
        raise PictureFault("a PNG without its palette")
    return header, palette, _rows(header, b"".join(packed))


def essential_png(data: bytes) -> bytes:
    """A whole PNG without the chunks that a decoder of RGB passes over.

    Raises:
        PictureFault: as in `read_png`.
    """
    header, palette, rows = read_png(data)
    kept = [(b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b"")]
    return SIGNATURE + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in kept
        if content or name != b"PLTE"
    )


def _check_header(header: bytes) -> int:
    """The color type of an IHDR that libpng takes."""
    if len(header) != 13:
        raise PictureFault("a PNG with an impossible header")
    width, height, depth, color, compression, filtering, interlace = struct.unpack(">IIBBBBB", header)
    if depth not in COLORS.get(color, (0, ()))[1] or compression or filtering or interlace > 1:
        raise PictureFault("a PNG with an impossible header")
    check_size(width, height, MAX_SIDE)
    return color


def _rows(header: bytes, packed: bytes) -> bytes:
    """The filtered rows of a PNG, all of them."""
    width, height, depth, color, _, _, interlace = struct.unpack(">IIBBBBB", header)
    bits = COLORS[color][0] * depth
    parts = []  # (bytes of a row with its filter's number, rows)
    for left, top, across, down in ADAM7 if interlace else ((0, 0, 1, 1),):
        columns = len(range(left, width, across))
        if columns:
            parts.append((1 + (columns * bits + 7) // 8, len(range(top, height, down))))
    expected = sum(size * count for size, count in parts)
    stream = zlib.decompressobj()
    try:
        rows = stream.decompress(packed, expected + 1)
    except zlib.error as error:
        raise PictureFault(f"a PNG whose rows do not unpack: {error}") from None
    if len(rows) < expected or (len(rows) == expected and not stream.eof):
        raise PictureFault("a PNG with missing rows")
    at = 0
    for size, count in parts:
        if count and max(rows[at : at + size * count : size]) > 4:
            raise PictureFault("a PNG with an impossible filter")
        at += size * count
    return rows[:expected]
