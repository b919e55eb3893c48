"""The NumPy reference gives what MindSpore's evaluation pipeline gives, bit for bit."""

import mindspore.dataset.vision as vision
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from glorext.models import InputSpec
from glorext.models.preprocess import crop, normalize, preprocess, read_picture, resize, resized_shape
from glorext.runtime import DataError

RULES = ["squash", "short_side"]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(height, width, seed=0):
    """Something with the structure of a photograph, so that JPEG keeps it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x * rng.uniform(0.01, 0.2) + y * rng.uniform(0.01, 0.2) + rng.uniform(0, 6)) for _ in range(3)]
    return ((np.stack(waves, -1) + 1) * 127.5).astype(np.uint8)


@settings(max_examples=120, deadline=None)
@given(source=st.tuples(*[st.integers(1, 80)] * 2), target=st.tuples(*[st.integers(1, 80)] * 2))
def test_resizing_is_mindspores(source, target):
    picture = noise(*source, 3)
    expected = vision.Resize(target, vision.Inter.BILINEAR)(picture)
    assert np.array_equal(resize(picture, *target), expected)
    top, left = target[0] // 3, target[1] // 4
    window = (top, left, target[0] - top, (target[1] - left + 1) // 2)
    part = expected[top:, left : left + window[3]]
    assert np.array_equal(resize(picture, target[0], target[1], window), part)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("height, width", [(375, 500), (500, 333), (64, 64), (512, 512), (256, 256), (129, 700)])
def test_the_crop_and_the_tensor_are_mindspores(tmp_path, rule, height, width):
    path = tmp_path / "picture.jpg"
    Image.fromarray(smooth(height, width)).save(path, quality=90)
    spec = InputSpec(resize_rule=rule)
    decoded = vision.Decode()(np.fromfile(path, np.uint8))
    size = (256, 256) if rule == "squash" else 256
    expected = vision.CenterCrop(224)(vision.Resize(size, vision.Inter.BILINEAR)(decoded))
    assert np.array_equal(crop(path, spec), expected)
    normalized = vision.Normalize([255 * value for value in spec.mean], [255 * value for value in spec.std])(expected)
    tensor = preprocess(path, spec)
    assert tensor.dtype == np.float32 and tensor.shape == (3, 224, 224)
    assert np.abs(tensor - vision.HWC2CHW()(normalized)).max() < 1e-6


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(8, 512))
def test_the_short_side_is_met_and_the_ratio_kept(height, width, target):
    found = resized_shape(height, width, InputSpec(size=8, resize=target, resize_rule="short_side"))
    assert min(found) == target
    assert (found[0] >= found[1]) == (height >= width) or found[0] == found[1]
    assert abs(max(found) - target * max(height, width) / min(height, width)) <= 1 + 1e-6 * max(found)


def test_the_formula_of_normalization():
    spec = InputSpec(size=2, resize=2, mean=(0.5, 0.25, 0), std=(0.5, 0.25, 1))
    picture = np.array([[[0, 255, 51], [255, 0, 102]], [[51, 51, 153], [204, 102, 255]]], np.uint8)
    expected = [[[-1, 1], [-0.6, 0.6]], [[3, -1], [-0.2, 0.6]], [[0.2, 0.4], [0.6, 1]]]
    assert normalize(picture, spec) == pytest.approx(np.array(expected), abs=1e-6)


@pytest.mark.parametrize(
    "mode, suffix",
    [
        ("L", "png"),
        ("L", "jpg"),
        ("CMYK", "jpg"),
        ("P", "png"),
        ("RGBA", "png"),
        ("LA", "png"),
        ("1", "png"),
        ("RGB", "png"),
    ],
)
def test_every_kind_of_picture_becomes_the_rgb_that_mindspore_reads(tmp_path, mode, suffix):
    path = tmp_path / f"picture.{suffix}"
    Image.fromarray(smooth(40, 50)).convert(mode).save(path)
    with Image.open(path) as stored:
        assert stored.mode == mode
    found = read_picture(path)
    assert found.shape == (40, 50, 3) and found.dtype == np.uint8 and found.std() > 10
    assert np.abs(found.astype(int) - vision.Decode()(np.fromfile(path, np.uint8))).max() <= 1


def test_sixteen_bits_keep_their_upper_eight(tmp_path):
    path = tmp_path / "deep.png"
    values = np.random.default_rng(0).integers(0, 65536, (40, 50), dtype=np.uint16)
    Image.fromarray(values).save(path)
    found = read_picture(path)
    assert np.array_equal(found, np.repeat((values >> 8).astype(np.uint8)[..., None], 3, 2))
    assert np.array_equal(found, vision.Decode()(np.fromfile(path, np.uint8)))


def test_exif_rotation_is_left_to_the_reader_as_mindspore_leaves_it(tmp_path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(smooth(40, 60)).save(path, exif=exif)
    assert read_picture(path).shape == (40, 60, 3)


@pytest.mark.parametrize(
    "content", [b"", b"not a picture", b"\xff\xd8\xff\xe0" + bytes(50), b"\x89PNG\r\n\x1a\n" + bytes(9)]
)
def test_what_is_no_picture_is_named(tmp_path, content):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match="broken.jpg"):
        read_picture(path)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_cut_off_picture_is_named(tmp_path, suffix):
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(smooth(64, 64)).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="cut"):
        read_picture(path)
    with pytest.raises(DataError, match="missing"):
        read_picture(tmp_path / "missing.jpg")
