"""Training, evaluation, the NumPy reference and C++ take and refuse the same pictures: those of docs/pictures.md."""

import os
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from glorext.deploy.parity.preprocess_check import ways
from glorext.deploy.runners.lite import infer
from glorext.models.picture_file import picture_fault
from glorext.runtime import DataError
from glorext.train.damage import without_damage
from glorext.train.data import batches, evaluation_steps
from glorext.train.pictures import list_tree

from .every_way import SMALL, Pixels, by_cpp, by_numpy, by_training, in_a_child, pixels_of
from .odd_jpegs import rare_jpegs, whole_jpegs
from .odd_pictures import ROWS, all_kinds, row_of
from .odd_pngs import whole_pngs

pytestmark = pytest.mark.native
PAGE = Path(__file__).parents[2] / "docs" / "pictures.md"
# What libjpeg's vector code and its plain code compute differently, since damage makes impossible values.
APART = {"bad_code.jpg", "noise_inside.jpg"}


def table() -> dict[str, bool]:
    """Row of the documented table -> whether its pictures are taken."""
    rows = re.findall(r"^\| (.+?) \| (taken|broken) \| .+ \|$", PAGE.read_text(), re.M)
    return {row: verdict == "taken" for row, verdict in rows}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory, native):
    """All made pictures as a tree of two classes, and the paths in it."""
    folder, scratch = tmp_path_factory.mktemp("kinds"), tmp_path_factory.mktemp("scratch")
    for name, data in all_kinds(scratch).items():
        path = folder / Path(name).suffix[1:] / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    paths = [folder / one for one in list_tree(folder).paths]
    return folder, sorted(paths, key=lambda path: path.name != "plain.jpg")


def taken(verdict) -> bool:
    """Whether pixels came out."""
    return isinstance(verdict, Pixels)


def test_the_table_has_a_row_for_every_kind_and_a_kind_for_every_row(kinds):
    assert len(kinds[1]) >= 120
    assert {row_of(path.name) for path in kinds[1]} == set(ROWS)
    assert set(ROWS) == set(table())


def test_every_way_gives_the_verdict_of_the_table(kinds, native, tmp_path, monkeypatch):
    paths = kinds[1]
    monkeypatch.chdir(tmp_path)  # MindSpore leaves files that it cannot decode in the working folder
    rule = {path: table()[row_of(path.name)] for path in paths}
    found = {
        "training": by_training(paths),
        "numpy": by_numpy(paths),
        "cpp": by_cpp(paths, native.programs.pixels, tmp_path),
        "preprocess-check": in_a_child(lambda path: pixels_of(ways(path, SMALL, None)["mindspore"]["decode"]), paths),
    }
    wrong = [
        (way, path.name, "taken" if taken(verdict) else verdict)
        for way, verdicts in found.items()
        for path, verdict in zip(paths, verdicts)
        if taken(verdict) != rule[path] or (not taken(verdict) and verdict.startswith("status"))
    ]
    assert wrong == []
    apart = {
        path.name
        for verdicts in found.values()
        for path, verdict, first in zip(paths, verdicts, found["training"])
        if first != verdict and taken(first)
    }
    assert apart <= APART
    for path, first in zip(paths, found["training"]):
        if path.name in APART:
            assert by_cpp([path], native.programs.pixels, tmp_path, same_as_mindspore=True) == [first]


def test_training_and_evaluation_leave_out_what_the_table_calls_broken(kinds):
    folder, paths = kinds
    pictures = list_tree(folder)
    with pytest.raises(DataError, match=r"--skip_corrupt"):
        without_damage(pictures)
    kept = without_damage(pictures, skip=True)
    assert {Path(path).name for path in kept.paths} == {path.name for path in paths if table()[row_of(path.name)]}
    source = kept.source(range(len(kept)))
    seen = [
        label for _, labels in batches(source, evaluation_steps(SMALL), 8, 1, drop_remainder=False) for label in labels
    ]
    assert len(seen) == len(kept)


@pytest.fixture
def names(tmp_path):
    """A tree of two classes with links, hidden files and what systems leave behind."""
    folder, picture = tmp_path / "tree", whole_jpegs()["plain.jpg"]
    (folder / ".cache").mkdir(parents=True)
    for name in (*("a/x.jpg", "a/Y.JPEG", "b/z.Png", "a/.hidden.jpg", ".cache/c.jpg"), *SYSTEM):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(picture)
    (folder / "b" / "link.jpg").symlink_to(folder / "a" / "x.jpg")
    return folder


SYSTEM = ("a/Thumbs.db", "a/ehthumbs.db", "b/Desktop.INI", "b/Icon\r", "__MACOSX/c.jpg", "a/@eaDir/x.jpg")
SYSTEM += ("#recycle/c.jpg", "lost+found/c.jpg", "System Volume Information/c.jpg", "$RECYCLE.BIN/c.jpg")


def listed_by_cpp(native, model, folder, out) -> tuple[list[str], list[str]]:
    """The paths that the C++ program scores, and those that it calls broken."""
    results = infer(model, folder, out, allow_broken=True, programs=native.programs)
    return [one["path"] for one in results.pictures], [one["path"] for one in results.failed]


def test_a_folder_lists_the_same_pictures_in_python_and_in_cpp(native, converted, names, tmp_path):
    expected = ["a/Y.JPEG", "a/x.jpg", "b/link.jpg", "b/z.Png"]
    assert list(list_tree(names).paths) == expected
    assert listed_by_cpp(native, converted / "tiny.ms", names, tmp_path / "out") == (expected, [])


@pytest.mark.parametrize("name", ["pipe.jpg", "gone.jpg", "note.txt", "jpg"])
def test_what_is_no_picture_is_named_in_python_and_in_cpp(native, converted, names, tmp_path, name):
    place = names / "b" / name
    {"pipe.jpg": lambda: os.mkfifo(place), "gone.jpg": lambda: place.symlink_to(names / "nowhere")}.get(
        name, lambda: place.write_bytes(whole_jpegs()["plain.jpg"])
    )()
    with pytest.raises(DataError) as failure:
        list_tree(names)
    assert str(place) in str(failure.value)
    assert listed_by_cpp(native, converted / "tiny.ms", names, tmp_path / "out")[1] == [f"b/{name}"]
    if place.suffix == ".jpg":
        assert picture_fault(place) is not None


def flipped(files, count, seed):
    """`count` of `files`, each with one byte replaced; half of the bytes lie among the headers."""
    generator = random.Random(seed)
    for number in range(count):
        name = generator.choice(sorted(files))
        data = bytearray(files[name])
        data[generator.randrange(min(700, len(data)) if number % 2 else len(data))] = generator.randrange(256)
        yield f"{number}_{name}", bytes(data)


@pytest.mark.parametrize("count", [300, pytest.param(2400, marks=pytest.mark.slow)])
def test_no_flipped_byte_ends_a_process_or_parts_the_ways(native, tmp_path, monkeypatch, count):
    made = {**whole_jpegs(), **whole_pngs(), **rare_jpegs(tmp_path)}
    names = [
        *("plain.jpg", "progressive.jpg", "restarts.jpg", "gray.jpg", "cmyk_adobe.jpg", "separate.jpg"),
        *("arithmetic.jpg", "arithmetic_restarts.jpg", "arithmetic_progressive.jpg", "progressive_restarts.jpg"),
        *("plain.png", "color_3_depth_4_interlaced.png", "color_2_depth_16.png", "palette_transparent.png"),
    ]
    (tmp_path / "flipped").mkdir()
    monkeypatch.chdir(tmp_path)
    paths = [tmp_path / "flipped" / "plain.jpg"]
    paths[0].write_bytes(made["plain.jpg"])
    for name, data in flipped({name: made[name] for name in names}, count, seed=count):
        paths.append(tmp_path / "flipped" / name)
        paths[-1].write_bytes(data)
    found = [by_training(paths), by_numpy(paths), by_cpp(paths, native.programs.pixels, tmp_path, True)]
    outcomes = Counter()
    for path, (training, numpy, cpp) in zip(paths, zip(*found)):
        assert taken(training) == taken(numpy) == taken(cpp), (path.name, training, numpy, cpp)
        if taken(training):
            assert numpy.shape == training.shape and training == cpp, path.name
        outcomes["taken" if taken(training) else "status" if training.startswith("status") else "refused"] += 1
    assert set(outcomes) == {"taken", "refused"} and min(outcomes.values()) > count / 10, outcomes
