"""Lists of pictures, as text or CSV, in the place of a folder: the same pictures, the same run, errors by line."""

import csv
import json

import numpy as np
import pytest

from glorext.runtime.errors import DataError
from glorext.train import evaluate as evaluation
from glorext.train.data import class_names, list_pictures
from glorext.train.file_lists import Row, read_list, read_rows
from glorext.train.loop import train
from glorext.train.split import VAL_FILES


@pytest.fixture
def tree(draw):
    return draw("pets", ("cat", "dog"), 3)


def paths_below(tree):
    return sorted(str(path.relative_to(tree)) for path in tree.rglob("*.*"))


def written(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "name, text, rows",
    [
        ("a.txt", "x/1.png\ny/2.JPG\n\n", [Row(1, "x/1.png", None), Row(2, "y/2.JPG", None)]),
        ("a.txt", "a b.png 7\nc.jpg\tblue jay\r\n", [Row(1, "a b.png", "7"), Row(2, "c.jpg", "blue jay")]),
        ("a.txt", "\ufeffa.png 1\nb.png 2", [Row(1, "a.png", "1"), Row(2, "b.png", "2")]),
        ("a.csv", "a.png,cat\n'b'.png,dog\n", [Row(1, "a.png", "cat"), Row(2, "'b'.png", "dog")]),
        (
            "a.csv",
            'id,Label,Image\n1,cat,"a,1.png"\n\n2,dog,b.png\n',
            [Row(2, "a,1.png", "cat"), Row(4, "b.png", "dog")],
        ),
        ("a.csv", "filename\nx/1.png\n", [Row(2, "x/1.png", None)]),
    ],
)
def test_rows_are_read(tmp_path, name, text, rows):
    (tmp_path / name).write_bytes(text.encode())
    assert read_rows(tmp_path / name) == rows


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("a.txt", "", "found an empty list"),
        ("a.txt", "x/1.png\nx/readme.md\n", "line 2"),
        ("a.txt", "x/1.png cat\nx/2.png\n", "expected a class, as line 1 has, found none"),
        ("a.csv", "id,size\n1,red\n", "a row that names a column path"),
        ("a.csv", 'a.png,cat\n"b.png,dog\n', "a list of pictures in UTF-8"),
        ("a.csv", "path,label\n,cat\n", "line 2"),
    ],
)
def test_a_line_of_another_form_is_named(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=said):
        read_rows(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_list_in_another_encoding_is_named(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes("Bär/1.png\n".encode(encoding))
    with pytest.raises(DataError, match="a list of pictures in UTF-8"):
        read_rows(tmp_path / "a.txt")


def test_the_folder_above_a_picture_is_its_class(tree, tmp_path):
    shuffled = np.random.default_rng(0).permutation(paths_below(tree)).tolist()
    found = list_pictures(written(tmp_path / "list.txt", [f"pets/{path}" for path in shuffled]))
    of_folder = list_pictures(tree)
    assert found.paths == of_folder.paths and found.labels == of_folder.labels
    assert found.targets.tolist() == of_folder.targets.tolist() and found.digest() == of_folder.digest()
    assert [found.file(i).read_bytes() for i in range(6)] == [of_folder.file(i).read_bytes() for i in range(6)]
    assert class_names(tmp_path / "list.txt") == {"cat", "dog"}


def test_columns_name_the_class_and_pictures_may_lie_anywhere(tree, tmp_path):
    with open(tmp_path / "list.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["label", "path"])
        for path in paths_below(tree):
            rows.writerow(["feline" if path.startswith("cat") else "canine", (tree / path).absolute()])
    found = list_pictures(tmp_path / "list.csv")
    assert found.labels == ("canine", "feline") and found.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert len(set(found.paths)) == 6 and all(path.startswith(("feline/", "canine/")) for path in found.paths)


def test_numbers_are_indices_of_the_label_list(tree, tmp_path):
    lines = [f"pets/{path} {int(path.startswith('cat'))}" for path in paths_below(tree)]
    found = read_list(written(tmp_path / "val.txt", lines), ("dog", "cat", "horse"))
    assert found.labels == ("dog", "cat", "horse")
    assert [found.labels[target] for target in found.targets] == [path.split("/")[0] for path in found.paths]
    with pytest.raises(DataError, match=r"a class from 0 to 1, found 7 in .*line 2"):
        read_list(written(tmp_path / "bad.txt", [lines[0], "pets/cat/001.png 7"]), ("dog", "cat"))


def test_numbers_without_a_label_list_are_sorted_as_numbers(tree, tmp_path):
    names = [9, 10, 11]
    lines = [f"pets/{path} {names[i % 3]}" for i, path in enumerate(paths_below(tree))]
    assert read_list(written(tmp_path / "list.txt", lines)).labels == ("9", "10", "11")


@pytest.mark.parametrize(
    "lines, said",
    [
        (["pets/cat/000.png", "pets/dog/009.png"], r"a picture file, found none at .*9\.png in .*line 2"),
        (
            ["pets/cat/000.png", "pets/dog/000.png", "pets/../pets/cat/000.png"],
            "every picture once.*as in line 1.*line 3",
        ),
        (["pets/cat/000.png"], "at least two classes"),
        (["pets/cat/000.png a/b", "pets/cat/001.png b"], "could be the name of a folder"),
        (["000.png", "001.png"], "CLASS/FILE"),
    ],
)
def test_a_picture_that_cannot_be_meant_is_named_by_its_line(tree, tmp_path, lines, said):
    with pytest.raises(DataError, match=said):
        read_list(written(tmp_path / "list.txt", lines))


def test_a_class_that_the_label_list_lacks_is_named(tree, tmp_path):
    path = written(tmp_path / "list.txt", [f"pets/{path}" for path in paths_below(tree)])
    with pytest.raises(DataError, match="only the 2 classes of the label list, found 'dog'.*line 4"):
        read_list(path, ("cat", "horse"))


def test_equal_names_in_different_folders_stay_apart(draw, tmp_path):
    draw("one", ("cat", "dog"), 2), draw("two", ("cat", "dog"), 2)
    lines = [f"{part}/{path}" for part in ("one", "two") for path in paths_below(tmp_path / part)]
    found = read_list(written(tmp_path / "list.txt", lines))
    assert len(set(found.paths)) == 8 and {path.split("/")[0] for path in found.paths} == {"cat", "dog"}


def test_training_from_lists_gives_the_bits_of_training_from_folders(draw, recipe, tmp_path):
    for seed, part in enumerate(("train", "val")):
        draw(part, ("cat", "dog"), 6, seed)
        written(tmp_path / f"{part}.txt", [f"{part}/{path}" for path in reversed(paths_below(tmp_path / part))])
    weights = []
    for ending in ("", ".txt"):
        run = tmp_path / f"run{ending}"
        train(recipe(ckpt_path=str(run)), tmp_path / f"train{ending}", tmp_path / f"val{ending}", device="CPU")
        weights.append((run / "best.ckpt").read_bytes())
    assert weights[0] == weights[1]


def test_a_list_is_divided_and_what_was_held_out_is_evaluated(draw, recipe, tmp_path):
    whole = written(tmp_path / "all.csv", [f"pets/{path}" for path in paths_below(draw("pets", ("cat", "dog"), 6))])
    run = tmp_path / "run"
    train(recipe(val_split=0.34, epochs=1), whole, device="CPU")
    for data in (whole, run / VAL_FILES):
        assert evaluation.main([str(run), "--data", str(data), "--out", str(tmp_path / "eval.json")]) == 0
        measured = json.loads((tmp_path / "eval.json").read_text())
        assert measured["count"] == measured["data"]["count"] == 4
