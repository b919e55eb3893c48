"""Walks the markers of a JPEG file (ITU-T T.81, annex B): what libjpeg cannot decode is found without decoding.

MindSpore's decoder ends the process (SIGSEGV, SIGFPE) where libjpeg reports an error after the first scan's header, so
every such error is looked for here.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from .picture_limits import PictureFault, check_size

SOI = b"\xff\xd8\xff"
MARKER = re.compile(rb"\xff+([^\x00\xff])?", re.DOTALL)  # none behind it: a byte 0xff of a scan
SOF_DECODED = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # sequential and progressive, Huffman and arithmetic
PROGRESSIVE, ARITHMETIC = {0xC2, 0xCA}, {0xC9, 0xCA}
DHT, DAC, EOI, SOS, DQT, DNL, DRI, APP0, APP14, COM = 0xC4, 0xCC, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xE0, 0xEE, 0xFE
TABLES = {DHT, DAC, DQT}
PASSED_OVER = {DNL, COM, *range(APP0, APP0 + 16)}
STANDARD_TABLES = (0, 1, 16, 17)  # libjpeg-turbo has these at hand where a file of one pass defines none, as in films
ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a segment: TEM and the restarts
MAX_SIDE = 65500  # libjpeg's
MAX_SCANS = 200  # a progressive file of a few kilobytes may ask for hours of refinement scans
SMOOTHED = 10  # low frequencies: libjpeg guesses them where scans are missing, each version in another way
END = b"\xff\xd9"
NO_END = "a JPEG without its end marker: it is cut off"


@dataclass
class _Component:
    """A color of the picture; `bits` are those that each low frequency still lacks, None before its first scan."""

    number: int
    across: int
    down: int
    quantization: int
    bits: list[int | None]


@dataclass
class _Reader:
    """What the markers have said so far."""

    components: list[_Component] = field(default_factory=list)
    frame: int = 0
    size: tuple[int, int] = (0, 0)
    huffman: dict[int, bytes] = field(default_factory=dict)  # class and number -> 16 counts, then the symbols
    quantized: set[int] = field(default_factory=set)
    interval: int = 0  # units between two restart markers; 0: there are none
    scans: int = 0
    several: bool = False  # more scans are to come after the first
    restarts: int = 0  # of the last scan

    def take(self, marker: int, length: int, data: bytes) -> None:
        """One segment, of `length` as it says itself.

        Raises:
            PictureFault: libjpeg stops here.
        """
        if marker == EOI:
            self._check_whole()
        elif not (marker in SOF_DECODED or marker in TABLES or marker in PASSED_OVER or marker in (SOS, DRI)):
            raise PictureFault(f"a JPEG with the marker 0x{marker:x}, which is not decoded")
        elif marker not in PASSED_OVER and (length < 2 or (marker == DRI and length != 4)):
            raise PictureFault(f"a JPEG with an impossible length of marker 0x{marker:x}")
        elif marker == DRI:
            self.interval = int.from_bytes(data, "big")
        elif marker in TABLES:
            self._tables(marker, data)
        elif marker in SOF_DECODED:
            self._start_frame(marker, data)
        elif marker == SOS:
            self._start_scan(data)

    def _check_whole(self) -> None:
        if not self.scans:
            raise PictureFault("a JPEG without a scan")
        if self.frame in PROGRESSIVE and any(any(bits != 0 for bits in one.bits) for one in self.components):
            raise PictureFault("a progressive JPEG that lacks scans")

    def _tables(self, marker: int, data: bytes) -> None:
        """DHT, DQT and DAC: their numbers and lengths."""
        at = 0
        while at < len(data):
            number = data[at]
            if marker == DHT:
                size = 17 + sum(data[at + 1 : at + 17])
                valid = (number & 0xEF) < 4 and size <= 17 + 256
                self.huffman[number] = data[at + 1 : at + size]
            elif marker == DQT:
                size, valid = 129 if number >> 4 else 65, (number & 15) < 4
                self.quantized.add(number & 15)
            else:
                size, value = 2, data[at + 1] if at + 1 < len(data) else 0
                valid = number < 32 and (number >= 16 or (value & 15) <= value >> 4)
            at += size
            if not valid or at > len(data):
                raise PictureFault(f"a JPEG with an impossible table of marker 0x{marker:x}")

    def _start_frame(self, marker: int, data: bytes) -> None:
        """SOF: the size and the components."""
        if self.frame:
            raise PictureFault("a JPEG with two frame headers")
        if len(data) < 6 or len(data) != 6 + 3 * data[5] or data[5] not in (1, 3, 4):
            raise PictureFault("a JPEG with an impossible frame header")
        if data[0] != 8:
            raise PictureFault(f"a JPEG of {data[0]} bits a sample; 8 are decoded")
        self.frame, self.size = marker, (int.from_bytes(data[3:5], "big"), int.from_bytes(data[1:3], "big"))
        check_size(*self.size, MAX_SIDE)
        for number, sampling, table in zip(*[iter(data[6:])] * 3):
            if not (1 <= sampling >> 4 <= 4 and 1 <= sampling & 15 <= 4):
                raise PictureFault("a JPEG with an impossible sampling factor")
            self.components.append(_Component(number, sampling >> 4, sampling & 15, table, [None] * SMOOTHED))

    def _start_scan(self, data: bytes) -> None:
        """SOS: its components, the tables that they use, and the bounds of a progressive scan."""
        if not self.frame:
            raise PictureFault("a JPEG with a scan before its frame header")
        count = data[0] if data else 0
        if not 1 <= count <= 4 or len(data) != 2 * count + 4:
            raise PictureFault("a JPEG with an impossible scan header")
        ids = [one.number for one in self.components]
        selected: list[tuple[int, int]] = []
        for number, tables in zip(data[1:-3:2], data[2:-3:2]):
            first = selected[-1][0] + 1 if selected else 0
            if number not in ids[first:]:
                raise PictureFault("a JPEG with a scan of a component that it has not")
            selected.append((ids.index(number, first), tables))
        parts = [self.components[index] for index, _ in selected]
        if count > 1 and sum(part.across * part.down for part in parts) > 10:
            raise PictureFault("a JPEG with more than ten blocks in a unit of a scan")
        if any(part.quantization not in self.quantized for part in parts):
            raise PictureFault("a JPEG with a component without its quantization table")
        self._check_coding(parts, [tables for _, tables in selected], *data[-3:])
        self.scans += 1
        if self.scans == 1:
            self.several = self.frame in PROGRESSIVE or count < len(self.components)
        if self.scans > MAX_SCANS:
            raise PictureFault(f"a JPEG of more than {MAX_SCANS} scans")
        self.restarts = (self._units(parts) - 1) // self.interval if self.interval else 0

    def _units(self, parts: list[_Component]) -> int:
        """How many units a scan of these components has; between two of them a restart marker may stand."""
        width, height = self.size
        most = max(one.across for one in self.components), max(one.down for one in self.components)
        # Of a component alone each block is a unit.
        across, down = (parts[0].across, parts[0].down) if len(parts) == 1 else (1, 1)
        return math.ceil(width * across / (8 * most[0])) * math.ceil(height * down / (8 * most[1]))

    def _check_coding(self, parts, tables, first: int, last: int, bits: int) -> None:
        progressive, high, low = self.frame in PROGRESSIVE, bits >> 4, bits & 15
        if progressive:
            band = last == 0 if first == 0 else first <= last <= 63 and len(parts) == 1
            if not band or low > 13 or (high and low != high - 1):
                raise PictureFault(
                    f"a JPEG with an impossible progressive scan: Ss={first} Se={last} Ah={high} Al={low}"
                )
            for part in parts:
                part.bits[first : last + 1] = [low] * (min(last + 1, SMOOTHED) - first)
        if self.frame in ARITHMETIC:
            return
        for pair in tables:
            if not progressive or (first == 0 and high == 0):
                self._check_huffman(pair >> 4)
            if not progressive or first:
                self._check_huffman(16 + (pair & 15))

    def _check_huffman(self, number: int) -> None:
        table = self.huffman.get(number)
        if table is None and number in STANDARD_TABLES and self.frame not in PROGRESSIVE:
            return
        if table is None:
            raise PictureFault("a JPEG with a scan whose Huffman table is missing")
        code = 0
        for length, count in enumerate(table[:16], 1):
            code += count
            if count and code >= 1 << length:
                raise PictureFault("a JPEG with an impossible Huffman table")
            code <<= 1
        if number < 16 and any(symbol > 15 for symbol in table[16:]):
            raise PictureFault("a JPEG with an impossible Huffman table")


def walk(data: bytes) -> tuple[list[tuple[int, int, int]], int | None]:
    """Each segment of a JPEG as (marker, first byte, byte after), up to its end marker or its only scan's header.

    Returns:
        The segments, and how many restart markers its only scan has; None if there are more scans, whose ends are seen.

    Raises:
        PictureFault: libjpeg cannot decode it, or `data` ends before.
    """
    reader, segments, at = _Reader(), [], 2
    while found := next_marker(data, at):
        marker, at = found[1][0], found.end()
        if marker in ALONE:
            continue
        length = 0 if marker == EOI else int.from_bytes(data[at : at + 2], "big")
        after = at + (length if marker == EOI else max(length, 2))
        if after > len(data):
            break
        reader.take(marker, length, data[at + 2 : after])
        segments.append((marker, at - 2, after))
        at = after
        if marker == EOI or (marker == SOS and not reader.several):
            return segments, None if reader.several else reader.restarts
        if marker == SOS:
            at = scan_end(data, at, reader.restarts)
    raise PictureFault(NO_END)


def next_marker(data: bytes, at: int) -> re.Match | None:
    """The first marker from `at` on, its number as the match's only group."""
    # A find and a match are much faster than a search by pattern.
    while found := MARKER.match(data, at) if (at := data.find(b"\xff", at)) >= 0 else None:
        if found[1]:
            return found
        at = found.end()
    return None


def scan_end(data: bytes, start: int, restarts: int) -> int:
    """Where the marker stands that ends the scan whose data begin at `start`, with so many restart markers due.

    At a marker that is not the one due, libjpeg goes back or ahead, as in its jpeg_resync_to_restart.
    """
    found = next_marker(data, start)
    for number in range(restarts):
        while found:
            marker, due = found[1][0], 0xD0 + number % 8
            if marker >= 0xC0 and not 0xD0 <= marker < 0xD8:
                return found.start()  # it stays for the reader of segments
            ahead = (marker - due) % 8
            if marker >= 0xC0 and ahead in (1, 2):
                break  # a later one: the one due is lost
            found = next_marker(data, found.end())
            if marker >= 0xC0 and ahead not in (6, 7):
                break
    return len(data) if found is None else found.start()


def only_scan(data: bytes) -> int | None:
    """Where the data of a JPEG's only scan begin; None if it has several, whose ends have been seen.

    Raises:
        PictureFault: as in `walk`.
    """
    segments, restarts = walk(data)
    return None if restarts is None else segments[-1][2]


def has_adobe_marker(data: bytes) -> bool:
    """Whether a JPEG says that Adobe's rules hold: the inks of a CMYK picture are inverted then."""
    return any(_is_adobe(data[start:end]) for _, start, end in _before_scan(walk(data)[0]))


def essential_jpeg(data: bytes) -> bytes:
    """The JPEG without the segments that libjpeg passes over, and without what stands behind its only scan.

    JFIF's and Adobe's segments stay, since they say what its colors are.
    """
    segments, restarts = walk(data)
    before = _before_scan(segments)
    parts = [data[start:end] for _, start, end in before]
    kept = [part for part in parts if part[1] < APP0 or part[4:9] == b"JFIF\0" or _is_adobe(part)]
    start = before[-1][2]
    rest = data[start:] if restarts is None else data[start : scan_end(data, start, restarts)] + END
    return b"".join([data[:2], *kept, rest])


def _before_scan(segments) -> list[tuple[int, int, int]]:
    return segments[: 1 + next(i for i, (marker, _, _) in enumerate(segments) if marker == SOS)]


def _is_adobe(segment: bytes) -> bool:
    return segment[1] == APP14 and segment[4:9] == b"Adobe" and len(segment) >= 16
