"""Makes JPEG files as data sets hold them, whole and broken."""

import io
import struct
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

SOURCE = Path(__file__).parents[2] / "deploy" / "cpp" / "tests" / "odd_jpegs.cc"


def picture(width=80, height=60):
    """A picture with smooth parts, edges and noise."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(width * height).integers(0, 40, (height, width))
    return Image.fromarray(
        np.stack([x * 255 // width, (y // 7 % 2) * 200 + noise, (x + y) * 2 % 256], -1).clip(0, 255).astype(np.uint8)
    )


def encoded(image, format, **options) -> bytes:
    """The file's bytes as Pillow writes them."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def segment(marker, data) -> bytes:
    """A JPEG marker segment."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def segments(jpeg) -> list[tuple[int, int]]:
    """(marker, offset) of every marker of a JPEG, those inside its scans left out."""
    found, at = [], 2
    while True:
        while not (jpeg[at] == 0xFF and jpeg[at + 1] not in (0, 0xFF, *range(0xD0, 0xD8))):
            at += 1
        found.append((jpeg[at + 1], at))
        if jpeg[at + 1] == 0xD9:
            return found
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")


def without(jpeg, marker) -> bytes:
    """The JPEG without its first segment of this kind."""
    at = dict(reversed(segments(jpeg)))[marker]
    return jpeg[:at] + jpeg[at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big") :]


def changed(jpeg, marker, offset, value, which=0) -> bytes:
    """The JPEG with the byte `offset` bytes behind the `which`th marker of this kind replaced."""
    at = [place for kind, place in segments(jpeg) if kind == marker][which] + offset
    return jpeg[:at] + bytes([value]) + jpeg[at + 1 :]


def sized(jpeg, width, height) -> bytes:
    """The JPEG with another promise of its size."""
    at = next(place for kind, place in segments(jpeg) if kind in (0xC0, 0xC2)) + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def inside(jpeg, content) -> bytes:
    """The JPEG with bytes in the middle of its only scan replaced."""
    at = (segments(jpeg)[-2][1] + len(jpeg)) // 2
    return jpeg[:at] + content + jpeg[at + len(content) :]


def whole_jpegs() -> dict[str, bytes]:
    """JPEGs in which nothing is wrong."""
    image, exif = picture(), Image.Exif()
    exif[0x0112] = 6
    gray, cmyk = image.convert("L"), image.convert("CMYK")
    plain, rgb = encoded(image, "JPEG", quality=90), encoded(image, "JPEG", keep_rgb=True)
    inks = encoded(cmyk, "JPEG")
    return {
        "plain.jpg": plain,
        "poor.jpg": encoded(image, "JPEG", quality=5),
        "444.jpg": encoded(image, "JPEG", subsampling=0),
        "422.jpg": encoded(image, "JPEG", subsampling=1),
        "optimized.jpg": encoded(image, "JPEG", optimize=True),
        "progressive.jpg": encoded(image, "JPEG", progressive=True),
        "progressive_444.jpg": encoded(image, "JPEG", progressive=True, subsampling=0),
        "progressive_gray.jpg": encoded(gray, "JPEG", progressive=True),
        "progressive_cmyk.jpg": encoded(cmyk, "JPEG", progressive=True),
        "restarts.jpg": encoded(image, "JPEG", restart_marker_blocks=3),
        "gray.jpg": encoded(gray, "JPEG"),
        "rgb_stored.jpg": rgb,
        "cmyk_adobe.jpg": inks,
        "cmyk_without_adobe.jpg": without(inks, 0xEE),
        "ycck.jpg": changed(inks, 0xEE, 15, 2),
        "rotated.jpg": encoded(image, "JPEG", exif=exif),
        "profile.jpg": encoded(image, "JPEG", icc_profile=b"no profile"),
        "commented.jpg": encoded(image, "JPEG", comment=b"c" * 60000),
        "without_jfif.jpg": without(plain, 0xE0),
        "one_pixel.jpg": encoded(picture(1, 1), "JPEG"),
        "thin.jpg": encoded(picture(3, 900), "JPEG"),
        "named_wrongly.png": plain,
        "filled.jpg": plain[:2] + b"\xff" * 5 + plain[2:],
    }


def tolerated_jpegs() -> dict[str, bytes]:
    """JPEGs with faults that are only worth a warning."""
    plain, second = encoded(picture(), "JPEG", quality=90), encoded(picture(90, 70), "JPEG")
    restarts = encoded(picture(), "JPEG", restart_marker_blocks=3)
    multi = io.BytesIO()
    picture().save(multi, "MPO", save_all=True, append_images=[picture(90, 70)])
    at = restarts.index(b"\xff\xd1")
    return {
        "no_tables.jpg": without(plain, 0xC4),
        "bad_code.jpg": inside(plain, bytes(8)),
        "noise_inside.jpg": inside(plain, b"\x5b\xa5\x17" * 40),
        "premature_end.jpg": inside(plain, b"\xff\xd9"),
        "lost_restart.jpg": restarts[:at] + restarts[at + 2 :],
        "wrong_restart.jpg": restarts[: at + 1] + b"\xd6" + restarts[at + 2 :],
        "trailing_text.jpg": plain + b"more",
        "trailing_zeros.jpg": plain + bytes(9000),
        "two_in_one.jpg": plain + second,
        "two_in_one_second_cut.jpg": plain + second[:-200],
        "mpo.jpg": multi.getvalue(),
        "bad_exif.jpg": plain[:20] + segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff") + plain[20:],
        "bad_mpf.jpg": plain[:20] + segment(0xE2, b"MPF\0II*\0\xff\xff\xff\x7f") + plain[20:],
        "bad_photoshop.jpg": plain[:20] + segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xed\0\0\0\0\0") + plain[20:],
        "bad_jfif.jpg": changed(plain, 0xE0, 11, 9),
        "short_adobe.jpg": plain[:20] + segment(0xEE, b"Adobe\0") + plain[20:],
        "junk_before_marker.jpg": plain[:20] + b"junk" + plain[20:],
        "short_comment.jpg": plain[:20] + b"\xff\xfe\0\1" + plain[20:],
        "huge_promise.jpg": sized(plain, 12000, 9000),
    }


def broken_jpegs() -> dict[str, bytes]:
    """JPEGs that no way may take."""
    plain = encoded(picture(), "JPEG", quality=90)
    progressive = encoded(picture(), "JPEG", progressive=True)
    frame = plain[dict(segments(plain))[0xC0] :][:19]
    scans = [at for marker, at in segments(progressive) if marker == 0xDA]
    half = plain[: len(plain) * 3 // 4]
    files = {
        "magic_only.jpg": plain[:3],
        "no_end.jpg": plain[:-2],
        "half_and_zeros.jpg": half + bytes(len(plain)),
        "progressive_no_end.jpg": progressive[:-2],
        "progressive_lacks_all_but_one.jpg": progressive[: scans[1]] + b"\xff\xd9",
        "progressive_lacks_the_last.jpg": progressive[: scans[-1]] + b"\xff\xd9",
        "many_scans.jpg": progressive[:-2] + progressive[scans[-1] : -2] * 200 + b"\xff\xd9",
        "no_quantization.jpg": without(plain, 0xDB),
        "no_frame.jpg": without(plain, 0xC0),
        "no_scan.jpg": plain[: dict(segments(plain))[0xDA]] + b"\xff\xd9",
        "two_frames.jpg": plain[:20] + frame + plain[20:],
        "no_width.jpg": sized(plain, 0, 60),
        "no_height.jpg": sized(plain, 80, 0),
        "giant.jpg": sized(plain, 65000, 65000),
        "twelve_bits.jpg": changed(plain, 0xC0, 4, 12),
        "lossless.jpg": changed(plain, 0xC0, 1, 0xC3),
        "hierarchical.jpg": changed(plain, 0xC0, 1, 0xC5),
        "two_components.jpg": plain.replace(frame, segment(0xC0, frame[4:9] + b"\2" + frame[10:16])),
        "sampling_zero.jpg": changed(plain, 0xC0, 11, 0x02),
        "sampling_five.jpg": changed(plain, 0xC0, 11, 0x52),
        "table_missing.jpg": changed(plain, 0xDA, 6, 0x33),
        "component_missing.jpg": changed(plain, 0xDA, 5, 77),
        "codes_overflow.jpg": changed(plain, 0xC4, 5, 3),
        "table_number.jpg": changed(plain, 0xC4, 4, 0x44),
        "progressive_se_245.jpg": changed(progressive, 0xDA, 8, 0xF5, 1),
        "progressive_se_64.jpg": changed(progressive, 0xDA, 8, 64, 2),
        "progressive_ss_after_se.jpg": changed(progressive, 0xDA, 7, 63, 1),
        "progressive_ah_al.jpg": changed(progressive, 0xDA, 9, 0x20, 1),
        "progressive_al_14.jpg": changed(progressive, 0xDA, 9, 14, 1),
        "progressive_three_components_ac.jpg": changed(progressive, 0xDA, 11, 1),
        "progressive_component.jpg": changed(progressive, 0xDA, 5, 9, 1),
        "progressive_table.jpg": changed(progressive, 0xC4, 4, 0x15, 2),
        "progressive_codes.jpg": changed(progressive, 0xC4, 5, 200, 2),
        "progressive_lost_table.jpg": without(without(progressive, 0xC4), 0xC4),
        "progressive_second_soi.jpg": changed(progressive, 0xC4, 1, 0xD8, 2),
    }
    for eighth in range(1, 8):
        files[f"cut_{eighth}.jpg"] = plain[: len(plain) * eighth // 8]
        files[f"progressive_cut_{eighth}.jpg"] = progressive[: len(progressive) * eighth // 8]
    return files


def rare_jpegs(folder) -> dict[str, bytes]:
    """Whole JPEGs that Pillow cannot write, made by libjpeg-turbo's own writer: arithmetic coding, separate scans.

    Args:
        folder: where they are made; emptied by nobody.
    """
    program = Path(folder) / "odd_jpegs"
    subprocess.run(["g++", "-std=c++17", "-o", program, SOURCE, "-ljpeg"], check=True, capture_output=True)
    subprocess.run([program, folder], check=True)
    return {path.name: path.read_bytes() for path in sorted(Path(folder).glob("*.jpg"))}
