"""Makes pictures as data sets hold them, whole and broken, each for a row of the table in docs/pictures.md."""

import fnmatch

from .odd_jpegs import broken_jpegs, encoded, picture, rare_jpegs, tolerated_jpegs, whole_jpegs
from .odd_pngs import odd_pngs, whole_pngs

# Row of the table -> patterns of the names of its pictures. The first that fits counts.
ROWS = {
    "another format, text or nothing": ("empty.jpg", "text.jpg", "zeros.png", "soi.jpg", "is_*.jpg"),
    "the other format's ending": ("named_wrongly.*",),
    "no pixels, or too many": ("no_width.*", "no_height.*", "giant.*", "wide.png"),
    "JPEG that promises many pixels": ("huge_promise.jpg",),
    "JPEG without Huffman tables": ("no_tables.jpg",),
    "JPEG with damage inside a scan": (
        *("bad_code.jpg", "noise_inside.jpg", "premature_end.jpg", "lost_restart.jpg", "wrong_restart.jpg"),
        "progressive_wrong_restart.jpg",
    ),
    "JPEG with more behind it": ("trailing_text.jpg", "trailing_zeros.jpg", "two_in_one*.jpg", "mpo.jpg"),
    "JPEG with faults in metadata": ("bad_*.jpg", "short_adobe.jpg", "junk_before_marker.jpg", "short_comment.jpg"),
    "JPEG that is cut off": (
        *("magic_only.jpg", "no_end.jpg", "half_and_zeros.jpg", "progressive_no_end.jpg"),
        *("cut_*.jpg", "progressive_cut_*.jpg", "progressive_lacks_*.jpg"),
    ),
    "JPEG of a rare kind": ("twelve_bits.jpg", "lossless.jpg", "hierarchical.jpg", "two_components.jpg"),
    "JPEG of more than 200 scans": ("many_scans.jpg",),
    "JPEG with an impossible header": (
        *("no_quantization.jpg", "no_frame.jpg", "no_scan.jpg", "two_frames.jpg", "sampling_*.jpg"),
        *("table_*.jpg", "component_missing.jpg", "codes_overflow.jpg", "progressive_se_*.jpg"),
        *("progressive_ss_*.jpg", "progressive_a*.jpg", "progressive_three_*.jpg", "progressive_component.jpg"),
        *("progressive_table.jpg", "progressive_codes.jpg", "progressive_lost_table.jpg"),
        "progressive_second_soi.jpg",
    ),
    "JPEG": ("*.jpg",),
    "PNG with faults in other chunks": (
        *("text_*.png", "bad_itxt.png", "bad_time.png", "bad_gamma.png", "bad_profile.png", "bad_exif.png"),
        *("bad_animation.png", "bad_physical.png", "bad_key.png", "bad_chroma.png", "two_gammas.png"),
        *("unknown_chunk.png", "end_with_data.png", "suggested_palette.png", "gray_palette.png"),
    ),
    "PNG with more behind its end or its rows": ("trailing*.png", "extra_*.png"),
    "PNG without its end": ("no_end.png", "end_cut.png", "cut_*.png", "long_chunk.png"),
    "PNG with a wrong sum": ("*_bad_sum.png", "half_and_zeros.png", "flipped.png"),
    "PNG whose rows are missing or do not unpack": (
        *("missing_*.png", "adler*.png", "no_compression_header.png", "bad_filter.png", "no_data.png"),
        "split_by_text.png",
    ),
    "PNG with an impossible header, palette or chunk": (
        *("depth_3.png", "color_5.png", "rgb_depth_4.png", "method_1.png", "interlace_2.png", "two_headers.png"),
        *("odd_palette.png", "late_palette.png", "two_palettes.png", "no_palette.png", "unknown_critical.png"),
        "odd_name.png",
    ),
    "PNG": ("*.png",),
}


def row_of(name: str) -> str:
    """The row of the table that a made picture belongs to."""
    return next(row for row, patterns in ROWS.items() if any(fnmatch.fnmatch(name, one) for one in patterns))


def others() -> dict[str, bytes]:
    """Files that are neither JPEG nor PNG."""
    files = {"empty.jpg": b"", "text.jpg": b"no picture\n" * 20, "zeros.png": bytes(4096), "soi.jpg": b"\xff\xd8"}
    for kind in ("GIF", "BMP", "TIFF", "WEBP"):
        files[f"is_{kind.lower()}.jpg"] = encoded(picture(), kind)
    return files


def all_kinds(folder) -> dict[str, bytes]:
    """Every made picture by its name.

    Args:
        folder: where `rare_jpegs` works.
    """
    makers = (whole_jpegs, tolerated_jpegs, broken_jpegs, whole_pngs, odd_pngs, others)
    return {name: data for made in (*(make() for make in makers), rare_jpegs(folder)) for name, data in made.items()}
