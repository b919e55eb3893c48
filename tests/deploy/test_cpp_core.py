"""The C++ decoders, parsers and preprocessing under sanitizers: equal to MindSpore, unharmed by broken files."""

import io
import json
import random
import subprocess

import numpy as np
import pytest
from PIL import Image

from glorext.models import InputSpec
from glorext.runtime import write_json

from .contract_table import GOOD
from .odd_jpegs import encoded, picture, sized
from .odd_pngs import raw_png

pytestmark = [pytest.mark.native, pytest.mark.slow]


def whole_pictures():
    """name -> bytes: every kind of JPEG and PNG that a data set may hold."""
    image, exif = picture(), Image.Exif()
    exif[0x0112] = 6
    x, y = np.meshgrid(np.arange(80), np.arange(60))
    deep = np.stack([x * 800 + 77, y * 1000 + 200, (x + y) * 450 + 130], -1).astype(">u2")
    return {
        "plain.jpg": encoded(image, "JPEG", quality=90),
        "444.jpg": encoded(image, "JPEG", subsampling=0),
        "422.jpg": encoded(image, "JPEG", subsampling=1),
        "progressive.jpg": encoded(image, "JPEG", progressive=True),
        "gray.jpg": encoded(image.convert("L"), "JPEG"),
        "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG"),
        "rotated.jpg": encoded(image, "JPEG", exif=exif),
        "trailing.jpg": encoded(image, "JPEG") + b"more",
        "named_wrongly.png": encoded(image, "JPEG"),
        "plain.png": encoded(image, "PNG"),
        "gray.png": encoded(image.convert("L"), "PNG"),
        "one_bit.png": encoded(image.convert("1"), "PNG"),
        "palette.png": encoded(image.quantize(17), "PNG"),
        "palette_transparent.png": encoded(image.quantize(17), "PNG", transparency=3),
        "rgba.png": encoded(Image.fromarray(np.dstack([np.asarray(image), (x * 3).astype(np.uint8)])), "PNG"),
        "color_key.png": encoded(image, "PNG", transparency=(0, 0, 0)),
        "deep_gray.png": encoded(Image.fromarray((x * 800 + y * 3).astype(np.uint16)), "PNG"),
        "deep_rgb.png": raw_png(80, 60, 16, 2, b"".join(b"\0" + row.tobytes() for row in deep)),
    }


def broken_files():
    """name -> (bytes, a part of the message)."""
    jpeg, png = encoded(picture(), "JPEG"), encoded(picture(), "PNG")
    progressive = encoded(picture(), "JPEG", progressive=True)
    whole = whole_pictures()
    wrong_sum = bytearray(png)
    wrong_sum[-20] ^= 0xFF
    files = {
        "empty.jpg": (b"", "the file is empty"),
        "text.jpg": (b"no picture\n" * 20, "neither JPEG nor PNG"),
        "zeros.png": (bytes(4096), "neither JPEG nor PNG"),
        "magic_only.jpg": (jpeg[:3], "damaged JPEG"),
        "magic_only.png": (png[:8], "damaged PNG"),
        "no_end.jpg": (jpeg[:-2], "damaged JPEG"),
        "no_end.png": (png[:-12], "damaged PNG"),
        "half_and_zeros.jpg": (jpeg[: len(jpeg) // 2] + bytes(len(jpeg)), "damaged JPEG"),
        "half_and_zeros.png": (png[: len(png) // 2] + bytes(len(png)), "damaged PNG"),
        "wrong_sum.png": (bytes(wrong_sum), "damaged PNG"),
        "no_palette.png": (raw_png(8, 8, 8, 3, bytes(8 * 9)), "damaged PNG"),
        "no_width.png": (raw_png(0, 8, 8, 2, b""), "damaged PNG"),
        "huge.jpg": (sized(jpeg, 65000, 65000), "too large: 65000 x 65000 pixels"),
        "huge.png": (raw_png(2_000_000_000, 2_000_000_000, 8, 2, b""), "too large: 2000000000 x 2000000000 pixels"),
    }
    for kind in ("GIF", "BMP", "TIFF"):
        files[f"{kind.lower()}.jpg"] = (encoded(picture(), kind), "neither JPEG nor PNG")
    for eighth in range(1, 8):
        files[f"cut_{eighth}.jpg"] = (jpeg[: len(jpeg) * eighth // 8], "damaged JPEG")
        files[f"cut_{eighth}.png"] = (png[: len(png) * eighth // 8], "damaged PNG")
        files[f"cut_progressive_{eighth}.jpg"] = (progressive[: len(progressive) * eighth // 8], "damaged JPEG")
        flipped = bytearray(png)
        flipped[len(png) * eighth // 8] ^= 1 << eighth
        files[f"flipped_{eighth}.png"] = (bytes(flipped), "damaged PNG")
    for name in ("cmyk.jpg", "gray.jpg", "rotated.jpg", "palette.png", "deep_rgb.png", "deep_gray.png", "one_bit.png"):
        kind = "PNG" if name.endswith("png") else "JPEG"
        files[f"half_of_{name}"] = (whole[name][: len(whole[name]) // 2], f"damaged {kind}")
    return files


def damaged(count):
    """name -> bytes: pictures, JSON and .npy files with bits flipped, bytes lost and bytes added."""
    generator = random.Random(5)
    good = whole_pictures()
    array = io.BytesIO()
    np.save(array, np.zeros((2, 3), np.float32))
    good["array.npy"] = array.getvalue()
    good["spec.json"] = b'{"size": 32, "mean": [0.5, 1e-3, -2], "text": "\\u00e9\\ud83d\\ude00", "deep": [[[{}]]]}'
    good["contract.json"] = json.dumps(GOOD).encode()
    names = sorted(good)
    for number in range(count):
        name = generator.choice(names)
        data = bytearray(good[name])
        for _ in range(generator.choice([1, 1, 3, 20])):
            at = generator.randrange(min(len(data), generator.choice([64, 700, len(data)])))
            action = generator.randrange(4)
            if action == 0:
                data[at] ^= 1 << generator.randrange(8)
            elif action == 1:
                data[at] = generator.choice([0, 127, 255])
            elif action == 2 and len(data) > 50:
                del data[at : at + generator.randrange(1, 40)]
            else:
                data[at:at] = generator.randbytes(generator.randrange(1, 9))
        yield f"{number}_{name}", bytes(data)


def stages(core, tmp_path, spec, files):
    """What glorext_pixels wrote for the files: exit status and a folder per file."""
    write_json(tmp_path / "spec.json", spec.to_dict())
    done = subprocess.run(
        [
            str(core / "glorext_pixels"),
            "--input_spec",
            str(tmp_path / "spec.json"),
            "--out",
            str(tmp_path / "stages"),
            *map(str, files),
        ],
        capture_output=True,
        text=True,
    )
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    return done.returncode, [tmp_path / "stages" / str(number) for number in range(len(files))]


def test_the_unit_tests_pass_under_sanitizers(core):
    command = ["ctest", "--output-on-failure", "--no-tests=error"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=core)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_every_kind_of_picture_decodes_to_mindspores_pixels(core, tmp_path):
    from mindspore.dataset import vision

    files = []
    for name, data in whole_pictures().items():
        files.append(tmp_path / name)
        files[-1].write_bytes(data)
    status, folders = stages(core, tmp_path, InputSpec(size=16, resize=16), files)
    assert status == 0
    for file, folder in zip(files, folders):
        expected = vision.Decode()(np.frombuffer(file.read_bytes(), np.uint8))
        assert np.array_equal(np.load(folder / "decode.npy"), expected), file.name


@pytest.mark.parametrize("rule", ["squash", "short_side"])
@pytest.mark.parametrize("size, resize", [(224, 256), (32, 32), (97, 113)])
def test_preprocessing_equals_mindspores_evaluation_pipeline(core, tmp_path, rule, size, resize):
    from mindspore.dataset import vision
    from mindspore.dataset.vision import Inter

    spec = InputSpec(size=size, resize=resize, resize_rule=rule)
    pipeline = [
        vision.Decode(),
        vision.Resize((resize, resize) if rule == "squash" else resize, Inter.BILINEAR),
        vision.CenterCrop(size),
    ]
    normalize = [vision.Normalize([255 * m for m in spec.mean], [255 * s for s in spec.std]), vision.HWC2CHW()]
    files = []
    # 226 and 512 are halved, 32 and 256 are kept; 500 x 375 is the usual one; the rest is odd, thin or small.
    for width, height in [
        (500, 375),
        (375, 500),
        (512, 512),
        (226, 226),
        (256, 256),
        (32, 32),
        (301, 299),
        (1000, 41),
        (7, 5),
    ]:
        files.append(tmp_path / f"{width}x{height}.png")
        picture(width, height).save(files[-1])
    status, folders = stages(core, tmp_path, spec, files)
    assert status == 0
    for file, folder in zip(files, folders):
        found = np.frombuffer(file.read_bytes(), np.uint8)
        for step in pipeline:
            found = step(found)
        assert np.array_equal(np.load(folder / "crop.npy"), found), file.name
        for step in normalize:
            found = step(found)
        # One float32 rounding: MindSpore subtracts and divides, the program looks the quotient up.
        assert np.abs(np.load(folder / "normalize.npy") - found).max() <= 5e-7, file.name


def test_a_picture_of_the_networks_size_is_not_resampled(core, tmp_path):
    picture(32, 32).save(tmp_path / "digit.png")
    status, (folder,) = stages(core, tmp_path, InputSpec(size=32, resize=32), [tmp_path / "digit.png"])
    assert status == 0
    assert np.array_equal(np.load(folder / "crop.npy"), np.asarray(picture(32, 32)))


def test_broken_files_are_refused_with_their_reason(core, tmp_path):
    files = broken_files()
    for name, (data, _) in files.items():
        (tmp_path / name).write_bytes(data)
    status, folders = stages(core, tmp_path, InputSpec(size=16, resize=16), [tmp_path / name for name in files])
    assert status == 1
    for (name, (_, expected)), folder in zip(files.items(), folders):
        assert expected in (folder / "error.txt").read_text(), name
        assert not (folder / "crop.npy").exists()


def test_damaged_files_never_harm_the_parsers(core, tmp_path):
    names = []
    for name, data in [*damaged(400), *((name, data) for name, (data, _) in broken_files().items())]:
        (tmp_path / name).write_bytes(data)
        names.append(name)
    done = subprocess.run(
        [str(core / "tests" / "glorext_core_fuzz"), *names], capture_output=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
    assert len(done.stdout.splitlines()) == len(names)


def test_the_program_counts_and_names_every_broken_picture(native, converted, tmp_path):
    whole, broken = whole_pictures(), broken_files()
    assert len(broken) >= 50
    for name, data in whole.items():
        (tmp_path / "pictures" / "whole").mkdir(parents=True, exist_ok=True)
        (tmp_path / "pictures" / "whole" / name).write_bytes(data)
    for name, (data, _) in broken.items():
        (tmp_path / "pictures" / name).write_bytes(data)
    done = subprocess.run(
        [
            str(native.infer),
            "--model",
            str(converted / "tiny.ms"),
            "--images",
            str(tmp_path / "pictures"),
            "--out",
            str(tmp_path / "out"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert f"{len(broken)} of the {len(broken) + len(whole)} inputs are broken" in done.stderr
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["count"] == len(whole) and np.load(tmp_path / "out" / "logits.npy").shape == (len(whole), 10)
    assert [entry["path"] for entry in found["pictures"]] == sorted(f"whole/{name}" for name in whole)
    errors = {entry["path"]: entry["error"] for entry in found["failed"]}
    assert errors.keys() == broken.keys()
    assert [name for name, (_, expected) in broken.items() if expected not in errors[name]] == []
