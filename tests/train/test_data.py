"""The input pipeline: which picture is which class, what a pixel becomes, and errors that name the file."""

import os
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from glorext.models import InputSpec
from glorext.models.labels import read_labels, write_labels
from glorext.runtime.errors import DataError
from glorext.train import checked as checked_module
from glorext.train import damage
from glorext.train.damage import without_damage
from glorext.train.data import batches, culprit_named, evaluation_steps, fed, list_pictures, training_steps
from glorext.train.distributed import Group
from glorext.train.mindrecord import write_records
from glorext.train.pictures import epoch_order, evaluation_part, files_below, parts_of, shard
from glorext.train.scoring import predictions
from glorext.train.to_png import main as to_png_command


def images_of(pictures, steps, indices=None, workers=1, seed=0, batch=1):
    indices = range(len(pictures)) if indices is None else indices
    found = list(
        batches(pictures.source(indices), steps, batch, workers, seed).create_tuple_iterator(
            num_epochs=1, output_numpy=True
        )
    )
    return np.concatenate([i for i, _ in found]), np.concatenate([t for _, t in found])


def test_class_index_comes_from_the_label_list_not_from_the_folders(draw):
    pictures = list_pictures(draw(classes=("b", "d"), each=2), ("a", "b", "c", "d"))
    assert pictures.targets.tolist() == [1, 1, 3, 3]
    _, targets = images_of(pictures, evaluation_steps(InputSpec(size=16, resize=16)))
    assert targets.tolist() == [1, 1, 3, 3] and targets.dtype == np.int32


def test_a_part_of_imagenet_keeps_the_indices_of_the_whole(draw):
    root = draw(classes=("n01440764", "n01530575", "n15075141"), each=1)
    pictures = list_pictures(root, num_classes=1000)
    assert pictures.targets.tolist() == [0, 10, 999] and len(pictures.labels) == 1000
    assert list_pictures(root).targets.tolist() == list_pictures(root, num_classes=3).targets.tolist() == [0, 1, 2]
    (root / "tench").mkdir()
    (root / "tench" / "1.png").write_bytes((root / "n01440764" / "000.png").read_bytes())
    assert list_pictures(root, num_classes=1000).labels == ("n01440764", "n01530575", "n15075141", "tench")


def test_pipeline_reads_the_pictures_in_the_order_of_the_list(draw):
    root = draw(classes=("B", "a", "a-b", "é"), each=3)
    (root / "a" / ".hidden").write_text("x")
    (root / "B" / "._000.png").write_text("what a Mac leaves behind")
    (root / ".cache").mkdir()
    (root / ".cache" / "1.png").write_text("x")
    Image.new("RGB", (16, 16), "red").save(root / "a" / "Z.JPEG")
    pictures = list_pictures(root)
    assert pictures.paths[3:7] == ("a/000.png", "a/001.png", "a/002.png", "a/Z.JPEG") and len(pictures) == 13
    order = epoch_order(len(pictures), seed=3, epoch=1)
    read = pictures.source(order).create_tuple_iterator(num_epochs=1, output_numpy=True)
    for i, (encoded, target) in zip(order, read, strict=True):
        assert encoded.tobytes() == (root / pictures.paths[i]).read_bytes() and target == pictures.targets[i]


@pytest.mark.parametrize("rule", ["squash", "short_side"])
def test_evaluation_pixels_are_those_of_pillow(tmp_path, rule):
    # A smooth picture: MindSpore's bilinear has no antialiasing, Pillow's has, and they agree only where that is idle.
    ramp = np.linspace(0, 255, 48)
    pixels = np.stack(np.broadcast_arrays(ramp[None, :48], ramp[:40, None], np.full((40, 48), 90.0)), -1)
    for label in "ab":
        (tmp_path / label).mkdir()
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / label / "1.png")
    spec = InputSpec(size=32, resize=40, resize_rule=rule)
    image = images_of(list_pictures(tmp_path), evaluation_steps(spec))[0][0]
    picture = Image.open(tmp_path / "a" / "1.png").resize(
        (40, 40) if rule == "squash" else (48, 40), Image.Resampling.BILINEAR
    )
    left = (picture.width - 32) // 2
    expected = (np.asarray(picture.crop((left, 4, left + 32, 36))) / 255 - spec.mean) / spec.std
    np.testing.assert_allclose(image.transpose(1, 2, 0), expected, atol=3 / 255 / min(spec.std))


def test_same_seed_gives_the_same_bits_and_skipping_changes_nothing(draw):
    pictures = list_pictures(draw(each=8))

    def steps():
        return training_steps(InputSpec(size=16, resize=16), "color_jitter")

    first, again = (images_of(pictures, steps(), workers=2, seed=5, batch=4)[0] for _ in range(2))
    other = images_of(pictures, steps(), workers=2, seed=6, batch=4)[0]
    rest = batches(pictures.source(range(16)), steps(), 4, 2, 5).skip(2)
    rest = np.concatenate([i for i, _ in rest.create_tuple_iterator(num_epochs=1, output_numpy=True)])
    assert (first == again).all() and (first != other).any() and (first[8:] == rest).all()


def test_shards_together_are_the_batches_of_one_device():
    order = epoch_order(23, seed=1, epoch=0)
    assert sorted(order) == list(range(23)) and (order != epoch_order(23, seed=1, epoch=1)).any()
    two = [shard(order, 4, rank, 2) for rank in (0, 1)]
    for k in range(2):
        together = set(two[0][4 * k : 4 * k + 4]) | set(two[1][4 * k : 4 * k + 4])
        assert together == set(shard(order, 8, 0, 1)[8 * k : 8 * k + 8])


# Pictures of the same content.
TWINS = (
    ("plain.png", "alpha.png"),
    ("plain.png", "palette.png"),
    ("straight.jpg", "rotated.jpg"),
    ("gray.png", "deep.png"),
)


def save_odd(folder):
    grid = np.kron(np.random.default_rng(0).integers(0, 255, (4, 5, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    color = Image.fromarray(grid)
    gray = color.convert("L")
    exif = Image.Exif()
    exif[0x112] = 6
    color.save(folder / "plain.png")
    color.save(folder / "rotated.jpg", exif=exif, quality=95)
    color.save(folder / "straight.jpg", quality=95)
    color.convert("CMYK").save(folder / "cmyk.jpg", quality=100, subsampling=0)
    color.convert("RGBA").save(folder / "alpha.png")
    color.quantize(64).save(folder / "palette.png")
    gray.save(folder / "gray.png")
    Image.fromarray(np.asarray(gray).astype(np.uint16) * 257).save(folder / "deep.png")


def test_every_kind_of_picture_is_read(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        save_odd(tmp_path / label)
    pictures = list_pictures(tmp_path)
    images = images_of(pictures, evaluation_steps(InputSpec(size=32, resize=32, mean=(0,) * 3, std=(1 / 255,) * 3)))[0]
    read = {path.removeprefix("a/"): image for path, image in zip(pictures.paths, images) if path.startswith("a/")}
    for same in TWINS:
        assert np.abs(read[same[0]] - read[same[1]]).max() <= 1, same
    assert np.abs(read["plain.png"] - read["cmyk.jpg"]).mean() < 4


@pytest.mark.parametrize("augmentation", ["crop_flip", "color_jitter", "autoaugment", "randaugment"])
def test_every_kind_of_picture_is_augmented(tmp_path, augmentation):
    for label in "ab":
        (tmp_path / label).mkdir()
        save_odd(tmp_path / label)
    pictures = list_pictures(tmp_path)
    spec = InputSpec(size=32, resize=32)
    # Each alone and with the same random numbers.
    read = {
        path: images_of(pictures, training_steps(spec, augmentation), [i], seed=4)[0][0]
        for i, path in enumerate(pictures.paths)
        if path.startswith("a/")
    }
    assert len(read) == 8 and all(image.shape == (3, 32, 32) and np.isfinite(image).all() for image in read.values())
    for one, other in TWINS:
        assert np.abs(read[f"a/{one}"] - read[f"a/{other}"]).mean() < 0.02, (one, other)


def noise(path, side=16):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)).save(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    "name, cut, found",
    [
        ("text.jpg", None, "no picture"),
        ("empty.png", 0, "an empty file"),
        ("header.jpg", 100, "cut off"),
        ("tables.jpg", 300, "cut off"),
        ("half.jpg", 700, "cut off"),
        ("header.png", 20, "cut off"),
        ("half.png", 500, "cut off"),
    ],
)
@pytest.mark.parametrize("skip", [False, True])
def test_a_damaged_picture_is_named_or_left_out(draw, caplog, name, cut, found, skip):
    root = draw(each=2)
    bad = root / "ant" / name
    bad.write_bytes(b"text" if cut is None else noise(bad)[:cut])
    pictures = list_pictures(root)
    if not skip:
        with pytest.raises(DataError, match=found) as failure:
            without_damage(pictures)
        assert str(bad) in str(failure.value)
        return
    kept = without_damage(pictures, skip=True)
    assert len(kept) == 4 and f"ant/{name}" not in kept.paths and str(bad) in caplog.text
    read = kept.source(range(4)).create_tuple_iterator(num_epochs=1, output_numpy=True)
    assert [encoded.tobytes() for encoded, _ in read] == [(root / path).read_bytes() for path in kept.paths]


def test_a_picture_is_read_again_only_where_it_changed(draw, monkeypatch):
    root, read = draw(each=4), []
    old = time.time() - 60
    for path in root.glob("*/*"):
        os.utime(path, (old, old))
    check = damage.picture_fault

    def noted(path):
        read.append(path.name)
        return check(path)

    monkeypatch.setattr(damage, "picture_fault", noted)
    one, other = (Group(rank, 2) for rank in (0, 1))

    def checked(group=Group()):
        read.clear()
        damage._reasons(list_pictures(root), group, True)
        return sorted(read)

    half = checked(one)
    assert half == ["000.png", "000.png", "002.png", "002.png"] and checked(one) == []
    assert len(checked()) == 4 and checked() == [] and checked(other) == []  # on any number of devices
    (root / "ant" / "new.png").write_bytes((root / "ant" / "000.png").read_bytes())
    assert checked() == ["new.png"] and checked() == ["new.png"]  # it may change again within its time stamp
    os.utime(root / "ant" / "new.png", (old, old))
    assert checked() == ["new.png"] and checked() == []
    data = (root / "bee" / "001.png").read_bytes()
    (root / "bee" / "001.png").write_bytes(data[:-20])  # damaged
    os.utime(root / "bee" / "001.png", (old, old))
    assert checked() == ["001.png"] and checked() == ["001.png"]
    with pytest.raises(DataError, match="001.png"):
        without_damage(list_pictures(root))
    monkeypatch.setattr(checked_module, "_rule", lambda: b"another")
    assert len(checked()) == 9


def test_pictures_are_checked_where_the_cache_cannot_be_written(draw, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GLOREXT_CACHE", str(tmp_path / "file"))
    assert len(without_damage(list_pictures(draw(each=2)))) == 4


def test_what_stands_after_a_picture_does_no_harm(draw):
    root = draw(each=2)
    (root / "ant" / "more.jpg").write_bytes(noise(root / "ant" / "more.jpg") + bytes(9000))
    assert len(without_damage(list_pictures(root))) == 5


def test_a_picture_that_breaks_inside_the_pipeline_is_named(draw):
    root = draw(each=2)
    content = bytearray(noise(root / "ant" / "z.png", 64))
    content[60:9000] = bytes(8940)
    (root / "ant" / "z.png").write_bytes(content)
    pictures = list_pictures(root)
    with pytest.raises(DataError, match="ant/z.png") as failure, culprit_named():
        images_of(pictures, training_steps(InputSpec(size=16, resize=16), "crop_flip"))
    assert "whole JPEG or PNG" in str(failure.value)


def test_a_device_queue_is_closed_when_a_run_stops_early(monkeypatch):
    """What the loop does around MindSpore's queue; the queue itself needs a GPU or an Ascend."""
    from types import SimpleNamespace

    import mindspore as ms

    calls = []
    transfer = SimpleNamespace(stop_send=lambda: calls.append("stop_send"), release=lambda: calls.append("release"))
    pipeline = SimpleNamespace(get_dataset_size=lambda: 3, __transfer_dataset__=transfer)
    monkeypatch.setattr(ms, "data_sink", lambda step, source: lambda: step("images", "targets"))
    assert list(fed(pipeline, True)) == [("images", "targets")] * 3 and calls == ["stop_send", "release"]
    stopped = fed(pipeline, True)
    next(stopped)
    stopped.close()
    assert calls == ["stop_send", "release"] * 2


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="gone"):
        list_pictures(tmp_path / "gone")


def test_an_empty_class_folder_is_named(draw):
    root = draw()
    (root / "cat").mkdir()
    with pytest.raises(DataError, match="empty class folder in .*cat"):
        list_pictures(root)


def test_a_file_of_another_kind_is_named(draw):
    root = draw()
    (root / "bee" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="notes.txt"):
        list_pictures(root)


def test_a_folder_in_a_class_folder_is_named(draw, tmp_path):
    draw("tree/train"), draw("tree/more")
    with pytest.raises(DataError, match=r"'ant' in a class folder in .*tree\. Name the folder .*tree/more"):
        list_pictures(tmp_path / "tree")


def test_train_and_val_are_found_in_their_parent(draw, tmp_path):
    root = tmp_path / "data"
    train, val = draw("data/train"), draw("data/val")
    assert parts_of(root) == (train, val) and parts_of(train) == (train, None)
    assert evaluation_part(root) == val and evaluation_part(train) == train
    (root / "val").rename(root / "validation")
    assert parts_of(root) == (train, root / "validation")
    vehicles = draw("vehicles", classes=("train", "val"))  # classes, not parts
    assert parts_of(vehicles) == (vehicles, None)
    assert parts_of(tmp_path / "gone") == (tmp_path / "gone", None)


def test_pictures_of_other_formats_are_named_at_once_and_converted(draw, tmp_path, capsys):
    root = draw()
    kinds = ("webp", "bmp", "gif", "tiff", "TIF")
    for i, kind in enumerate(kinds):
        with Image.open(root / "ant" / "000.png") as picture:
            picture.save(root / ("ant", "bee")[i % 2] / f"x.{kind}", **({"lossless": True} if kind == "webp" else {}))
    with pytest.raises(DataError) as failure:
        list_pictures(root)
    for named in ("1 .bmp, 1 .gif, 1 .tif, 1 .tiff, 1 .webp", "ant/x.webp", "bee/x.bmp", f"to-png {root} {root}_png"):
        assert named in str(failure.value)
    assert to_png_command([str(root), f"{root}_png"]) == 0 and "5 pictures became PNG" in capsys.readouterr().out
    found = list_pictures(f"{root}_png")
    assert len(found) == 16 + 5 and {"ant/x.webp.png", "bee/x.bmp.png"} <= set(found.paths)
    original = np.asarray(Image.open(root / "ant" / "000.png"))
    assert (np.asarray(Image.open(f"{root}_png/ant/x.webp.png")) == original).all()
    (root / "ant" / "x.webp").write_bytes(b"RIFF")
    with pytest.raises(DataError, match="x.webp"):
        to_png_command([str(root), str(tmp_path / "more")])
    assert not (tmp_path / "more").exists()


@pytest.mark.parametrize("name", ["Thumbs.db", "desktop.ini", ".DS_Store", "Icon\r"])
def test_what_a_system_leaves_in_a_folder_is_passed_over(draw, name):
    root = draw()
    before = list_pictures(root)
    for folder in (root, root / "ant"):
        (folder / name).write_text("x")
    for folder in ("__MACOSX", "@eaDir", "ant/@eaDir", "#recycle", "lost+found"):
        (root / folder).mkdir()
        shutil.copy(root / "bee" / "000.png", root / folder / "x.png")
    after = list_pictures(root)
    assert files_below(root) == [root / path for path in before.paths] and parts_of(root) == (root, None)
    assert (after.paths, after.places.tolist()) == (before.paths, before.places.tolist())
    assert (images_of(after, evaluation_steps(InputSpec(size=16, resize=16)), [3])[0] > -9).all()


def test_an_unknown_class_is_named(draw):
    with pytest.raises(DataError, match="'bee'"):
        list_pictures(draw(), ("ant", "cat"))


def test_a_folder_without_classes_is_named(tmp_path):
    with pytest.raises(DataError, match="one folder of pictures per class"):
        list_pictures(tmp_path)


@pytest.mark.parametrize("text", ["", "one\n", "a\na\n", "a\n\nb\n"])
def test_label_lists_must_name_different_classes(tmp_path, text):
    (tmp_path / "labels.txt").write_text(text)
    with pytest.raises(DataError, match="labels.txt"):
        read_labels(tmp_path / "labels.txt")


def test_label_lists_read_back_equal_whatever_the_names(tmp_path):
    names = ("red apple", "K\u00e4se", "\u732b\u3000\u72ac", "line\u2028separator", "tab\there", "\x0bvertical")
    write_labels(tmp_path / "labels.txt", names)
    assert read_labels(tmp_path / "labels.txt") == names
    (tmp_path / "labels.txt").write_bytes(b"\xef\xbb\xbfant\r\nbee\r\n")  # as Windows writes it
    assert read_labels(tmp_path / "labels.txt") == ("ant", "bee")


@pytest.mark.parametrize("name", [b"two\nlines", b"no utf-8 \xff"])
def test_a_folder_that_fits_no_label_list_is_named(draw, name):
    root = draw()
    os.rename(root / "bee", os.fsencode(root) + b"/" + name)
    with pytest.raises(DataError, match="line of UTF-8"):
        list_pictures(root)


@pytest.mark.parametrize("shard_bytes, files", [(1 << 30, 1), (4000, 2)])
def test_records_hold_the_pictures_of_the_tree(draw, tmp_path, shard_bytes, files):
    tree = list_pictures(draw(classes=("b", "d"), each=4), ("a", "b", "c", "d"))
    assert write_records(tree.folder, tmp_path / "records", tree.labels, shard_bytes) == 8
    records = list_pictures(tmp_path / "records")
    assert len(list((tmp_path / "records").glob("data.mindrecord*.db"))) == files
    assert (records.labels, sorted(records.paths), records.digest()) == (tree.labels, sorted(tree.paths), tree.digest())
    order = [5, 0, 3, 3, 7]
    places = [tree.paths.index(records.paths[i]) for i in order]
    spec = InputSpec(size=16, resize=16)
    for one, other in zip(
        images_of(records, evaluation_steps(spec), order), images_of(tree, evaluation_steps(spec), places)
    ):
        assert (one == other).all()
    with pytest.raises(DataError, match="label list"):
        list_pictures(tmp_path / "records", ("a", "b"))


def test_records_are_scored_as_their_pictures_are(draw, tmp_path):
    tree = list_pictures(draw(each=4))
    write_records(tree.folder, tmp_path / "records")
    records, found = list_pictures(tmp_path / "records"), []
    for pictures in (tree, records):
        shapes = set()

        def forward(images, shapes=shapes):
            shapes.add(images.shape)
            return images.mean((2, 3))

        answers = list(predictions(forward, pictures, InputSpec(size=16, resize=16), 3, 1))
        assert [indices.tolist() for indices, _, _ in answers] == [[0, 1, 2], [3, 4, 5], [6, 7]]
        assert shapes == {(3, 3, 16, 16)}
        logits = np.concatenate([part for _, part, _ in answers])
        found.append(dict(zip(pictures.paths, logits.tolist())))
    assert found[0] == found[1] and len(found[0]) == 8


def test_damaged_records_are_named_and_damaged_pictures_are_not_written(draw, tmp_path):
    root = draw()
    write_records(root, tmp_path / "records")
    (tmp_path / "records" / "data.mindrecord").write_bytes(b"no records")
    with pytest.raises(DataError, match="records"):
        list_pictures(tmp_path / "records")
    (root / "ant" / "x.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="x.png"):
        write_records(root, tmp_path / "more")
    assert not (tmp_path / "more").exists()
