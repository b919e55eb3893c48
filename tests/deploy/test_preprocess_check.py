"""MindSpore, NumPy, C++ and AIPP's arithmetic make the same tensor of a picture, or the first stage apart is named."""

import json

import numpy as np
import pytest
from PIL import Image

from glorext.deploy.contract import aipp
from glorext.deploy.parity.preprocess_check import by_mindspore, differences, main, ways
from glorext.models import InputSpec

RULES = [InputSpec(resize_rule="squash"), InputSpec(resize_rule="short_side"), InputSpec(size=32, resize=32)]


@pytest.fixture
def photo(tmp_path):
    """A picture with smooth and sharp parts, of a size that no rule leaves as it is."""

    def make(width, height, name):
        y, x = np.mgrid[:height, :width]
        noise = np.random.default_rng(1).integers(0, 60, (height, width))
        picture = np.stack([x * 195 // width + noise, y * 195 // height + noise, (x // 16 + y // 16) % 2 * 255], -1)
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / name, quality=90)
        return tmp_path / name

    return make


@pytest.mark.native
@pytest.mark.parametrize("spec", RULES, ids=["squash", "short_side", "32"])
@pytest.mark.parametrize("size, name", [((500, 375), "a.jpg"), ((333, 500), "b.png"), ((64, 64), "c.png")])
def test_three_ways_agree_to_the_bit_up_to_the_crop(photo, native, spec, size, name):
    rows = differences(ways(photo(*size, name), spec, native.programs))
    assert all(row.passed for row in rows), [row for row in rows if not row.passed]
    assert max(row.max for row in rows if row.stage != "normalize") == 0
    assert {row.way for row in rows} == {"numpy", "cpp", "aipp"}


def odd(path):
    """A picture of the kind that its name says, with smooth and sharp parts, 61 x 47."""
    y, x = np.mgrid[:47, :61]
    picture = np.stack([x * 4, y * 5, (x // 8 + y // 8) % 2 * 255], -1).astype(np.uint8)
    image, kind, more = Image.fromarray(picture), path.stem, {}
    if kind == "exif":
        more["exif"] = Image.Exif()
        more["exif"][274] = 6
    elif kind == "gray16":
        image = Image.fromarray(picture[..., 0].astype(np.uint16) * 257 - 3)
    elif kind == "palette":
        image = image.convert("P", palette=Image.Palette.ADAPTIVE)
        more["transparency"] = 3
    elif kind != "rgb":
        image = image.convert(kind)
    image.save(path, **more)
    return path


@pytest.mark.native
@pytest.mark.parametrize("spec", RULES[:2], ids=["squash", "short_side"])
@pytest.mark.parametrize(
    "name", ["L.jpg", "CMYK.jpg", "exif.jpg", "gray16.png", "palette.png", "RGBA.png", "LA.png", "1.png"]
)
def test_pictures_of_every_kind_agree_to_the_bit(tmp_path, native, spec, name):
    rows = differences(ways(odd(tmp_path / name), spec, native.programs))
    assert all(row.passed for row in rows) and max(row.max for row in rows if row.stage != "normalize") == 0


def test_another_resize_rule_is_seen_at_the_stage_where_it_acts(photo):
    path = photo(500, 375, "a.jpg")
    found = {"mindspore": by_mindspore(path, RULES[0]), "cpp": by_mindspore(path, RULES[1])}
    found["cpp"]["resize"] = found["cpp"]["resize"][:, :256]
    departed = [row.stage for row in differences(found) if not row.passed]
    assert departed[0] == "resize"


def test_another_mean_is_seen_only_in_the_last_stage(photo):
    path = photo(500, 375, "a.jpg")
    found = {
        "mindspore": by_mindspore(path, RULES[0]),
        "numpy": by_mindspore(path, InputSpec(mean=(0.5, 0.456, 0.406))),
    }
    assert [row.stage for row in differences(found) if not row.passed] == ["normalize"]


def test_aipp_text_names_what_the_card_needs():
    text = aipp.aipp_text(RULES[0])
    assert "src_image_size_w: 224" in text and "min_chn_0: 123.675" in text and "var_reci_chn_2: 0.0174291939" in text
    assert text.startswith("aipp_op {") and text.endswith("}\n")


def test_aipp_arithmetic_is_the_normalization_in_half_precision():
    picture = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    spec = InputSpec(size=16, resize=16)
    wanted = (picture / 255 - spec.mean) / spec.std
    np.testing.assert_allclose(aipp.apply(picture, spec), wanted.transpose(2, 0, 1), atol=4e-3)


@pytest.mark.native
def test_the_command_tells_and_dumps(photo, native, tmp_path, capsys):
    assert main([str(photo(300, 200, "a.jpg")), "--out", str(tmp_path / "stages"), "--json", "--aipp"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "aipp_op" in told["aipp"] and all(row["passed"] for row in told["differences"])
    assert Image.open(tmp_path / "stages" / "cpp" / "crop.png").size == (224, 224)
