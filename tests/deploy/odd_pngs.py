"""Makes PNG files as data sets hold them, whole and broken."""

import struct
import zlib

import numpy as np

from .odd_jpegs import encoded, picture

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind, data=b"", wrong_sum=False) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ wrong_sum)


def raw_png(width, height, depth, color, rows, before=b"", after=b"", interlace=0, end=None, method=0) -> bytes:
    """A PNG of any depth and color type, which Pillow cannot write; `before` and `after` stand around its IDAT."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, method, 0, interlace)
    data = chunk(b"IDAT", zlib.compress(rows)) if isinstance(rows, bytes) else b"".join(rows)
    end = chunk(b"IEND") if end is None else end
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + data + after + end


def rows_of(width, height, bits, interlace=False) -> bytes:
    """Unfiltered rows of noise, `bits` per pixel; the seven passes of Adam7 if interlaced."""
    passes = ADAM7 if interlace else ((0, 0, 1, 1),)
    noise, rows = np.random.default_rng(bits), b""
    for left, top, across, down in passes:
        columns = len(range(left, width, across))
        rows += b"".join(b"\0" + noise.bytes((columns * bits + 7) // 8) for _ in range(top, height, down) if columns)
    return rows


def whole_pngs() -> dict[str, bytes]:
    """PNGs in which nothing is wrong: every color type and depth, plain and interlaced."""
    image = picture()
    palette = np.random.default_rng(1).bytes(768)
    files = {
        "plain.png": encoded(image, "PNG"),
        "color_key.png": encoded(image, "PNG", transparency=(0, 0, 0)),
        "palette_transparent.png": encoded(image.quantize(17), "PNG", transparency=3),
        "animated.png": encoded(image, "PNG", save_all=True, append_images=[image.rotate(90)]),
        "profile.png": encoded(image, "PNG", icc_profile=b"no profile"),
        "named_wrongly.jpg": encoded(image, "PNG"),
        "one_pixel.png": encoded(picture(1, 1), "PNG"),
        "gamma.png": raw_png(9, 7, 8, 2, rows_of(9, 7, 24), chunk(b"gAMA", struct.pack(">I", 10000))),
        "key_16.png": raw_png(9, 7, 16, 2, rows_of(9, 7, 48), chunk(b"tRNS", bytes(6))),
        "key_gray.png": raw_png(9, 7, 2, 0, rows_of(9, 7, 2), chunk(b"tRNS", b"\0\1")),
    }
    for color, samples, depths in (
        (0, 1, (1, 2, 4, 8, 16)),
        (2, 3, (8, 16)),
        (3, 1, (1, 2, 4, 8)),
        (4, 2, (8, 16)),
        (6, 4, (8, 16)),
    ):
        for depth in depths:
            for interlace in (0, 1):
                rows = rows_of(19, 13, samples * depth, interlace)
                name = f"color_{color}_depth_{depth}{'_interlaced' * interlace}.png"
                colors = chunk(b"PLTE", palette[: 3 * 2**depth]) if color == 3 else b""
                files[name] = raw_png(19, 13, depth, color, rows, colors, interlace=interlace)
    return files


def odd_pngs() -> dict[str, bytes]:
    """PNGs to judge."""
    plain, rows = encoded(picture(), "PNG"), rows_of(80, 60, 24)
    packed = zlib.compress(rows)
    text = chunk(b"tEXt", b"Comment\0" + b"x" * 3_000_000)
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(70_000_000), 9))
    flipped = bytearray(plain)
    flipped[len(plain) // 2] ^= 4
    files = {
        "text_large.png": raw_png(80, 60, 8, 2, rows, text),
        "text_bomb.png": raw_png(80, 60, 8, 2, rows, bomb),
        "text_after.png": raw_png(80, 60, 8, 2, rows, after=text),
        "text_bad_sum.png": raw_png(80, 60, 8, 2, rows, chunk(b"tEXt", b"a\0b", True)),
        "text_bad_sum_after.png": raw_png(80, 60, 8, 2, rows, after=chunk(b"tEXt", b"a\0b", True)),
        "bad_itxt.png": raw_png(80, 60, 8, 2, rows, chunk(b"iTXt", b"no end")),
        "bad_time.png": raw_png(80, 60, 8, 2, rows, chunk(b"tIME", b"1")),
        "bad_gamma.png": raw_png(80, 60, 8, 2, rows, chunk(b"gAMA", b"1")),
        "bad_profile.png": raw_png(80, 60, 8, 2, rows, chunk(b"iCCP", b"x")),
        "bad_exif.png": raw_png(80, 60, 8, 2, rows, chunk(b"eXIf", b"x")),
        "bad_animation.png": raw_png(80, 60, 8, 2, rows, chunk(b"acTL", b"x")),
        "bad_physical.png": raw_png(80, 60, 8, 2, rows, chunk(b"pHYs", b"x")),
        "bad_key.png": raw_png(80, 60, 8, 2, rows, chunk(b"tRNS", b"x")),
        "bad_chroma.png": raw_png(80, 60, 8, 2, rows, chunk(b"cHRM", b"x")),
        "two_gammas.png": raw_png(80, 60, 8, 2, rows, chunk(b"gAMA", bytes(4)) * 2),
        "unknown_chunk.png": raw_png(80, 60, 8, 2, rows, chunk(b"gray", b"x")),
        "unknown_critical.png": raw_png(80, 60, 8, 2, rows, chunk(b"GRAY", b"x")),
        "split.png": raw_png(80, 60, 8, 2, [chunk(b"IDAT", packed[i : i + 100]) for i in range(0, len(packed), 100)]),
        "split_by_text.png": raw_png(
            80, 60, 8, 2, [chunk(b"IDAT", packed[:500]), chunk(b"tEXt", b"a\0b"), chunk(b"IDAT", packed[500:])]
        ),
        "empty_idat_first.png": raw_png(80, 60, 8, 2, [chunk(b"IDAT"), chunk(b"IDAT", packed)]),
        "trailing.png": plain + b"more",
        "trailing_zeros.png": plain + bytes(9000),
        "no_end.png": plain[:-12],
        "end_bad_sum.png": plain[:-1] + b"x",
        "end_cut.png": plain[:-4],
        "end_with_data.png": raw_png(80, 60, 8, 2, rows, end=chunk(b"IEND", b"x")),
        "header_bad_sum.png": plain[:29] + b"xxxx" + plain[33:],
        "data_bad_sum.png": raw_png(80, 60, 8, 2, [chunk(b"IDAT", packed, True)]),
        "palette_bad_sum.png": raw_png(9, 7, 8, 3, rows_of(9, 7, 8), chunk(b"PLTE", bytes(768), True)),
        "suggested_palette.png": raw_png(80, 60, 8, 2, rows, chunk(b"PLTE", bytes(30))),
        "gray_palette.png": raw_png(9, 7, 8, 0, rows_of(9, 7, 8), chunk(b"PLTE", bytes(30))),
        "short_palette.png": raw_png(9, 7, 8, 3, rows_of(9, 7, 8), chunk(b"PLTE", bytes(30))),
        "odd_palette.png": raw_png(9, 7, 8, 3, rows_of(9, 7, 8), chunk(b"PLTE", bytes(31))),
        "late_palette.png": raw_png(9, 7, 8, 3, rows_of(9, 7, 8), after=chunk(b"PLTE", bytes(768))),
        "two_palettes.png": raw_png(9, 7, 8, 3, rows_of(9, 7, 8), chunk(b"PLTE", bytes(768)) * 2),
        "no_palette.png": raw_png(9, 7, 8, 3, rows_of(9, 7, 8)),
        "missing_rows.png": raw_png(80, 60, 8, 2, rows[: len(rows) // 2]),
        "missing_pixel.png": raw_png(80, 60, 8, 2, rows[:-1]),
        "extra_rows.png": raw_png(80, 60, 8, 2, rows + rows),
        "extra_data.png": raw_png(80, 60, 8, 2, [chunk(b"IDAT", packed + b"more")]),
        "bad_filter.png": raw_png(80, 60, 8, 2, b"\x09" + rows[1:]),
        "adler.png": raw_png(80, 60, 8, 2, [chunk(b"IDAT", packed[:-1] + b"x")]),
        "adler_missing.png": raw_png(80, 60, 8, 2, [chunk(b"IDAT", packed[:-4])]),
        "no_compression_header.png": raw_png(80, 60, 8, 2, [chunk(b"IDAT", b"xx" + packed[2:])]),
        "half_and_zeros.png": plain[: len(plain) // 2] + bytes(len(plain)),
        "flipped.png": bytes(flipped),
        "no_width.png": raw_png(0, 8, 8, 2, b""),
        "giant.png": raw_png(2_000_000_000, 2_000_000_000, 8, 2, b""),
        "wide.png": raw_png(1_200_000, 1, 8, 0, rows_of(1_200_000, 1, 8)),
        "depth_3.png": raw_png(9, 7, 3, 0, rows_of(9, 7, 8)),
        "color_5.png": raw_png(9, 7, 8, 5, rows_of(9, 7, 24)),
        "rgb_depth_4.png": raw_png(9, 7, 4, 2, rows_of(9, 7, 12)),
        "method_1.png": raw_png(9, 7, 8, 2, rows_of(9, 7, 24), method=1),
        "interlace_2.png": raw_png(9, 7, 8, 2, rows_of(9, 7, 24), interlace=2),
        "no_data.png": raw_png(9, 7, 8, 2, []),
        "two_headers.png": raw_png(80, 60, 8, 2, rows, plain[8:33]),
        "long_chunk.png": raw_png(80, 60, 8, 2, rows, b"\x7f\xff\xff\xfftEXta\0b"),
        "odd_name.png": raw_png(80, 60, 8, 2, rows, chunk(b"t\x01xt", b"a\0b")),
    }
    for eighth in range(1, 8):
        files[f"cut_{eighth}.png"] = plain[: len(plain) * eighth // 8]
    return files
