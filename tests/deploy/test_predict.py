"""`glorext predict` and `glorext.load(...).predict`: every picture is answered as `glorext eval` answers it."""

import csv
import io
import json
import os
import shutil

import numpy as np
import pytest

import glorext
from glorext.deploy.validate.predict import main
from glorext.hub.builtin import LOCATION
from glorext.hub.classifier import BATCH, Classifier, class_names
from glorext.models.labels import SYNSETS, read_labels, write_labels
from glorext.models.prediction import predictions, softmax
from glorext.models.preprocess import read_picture
from glorext.models.trained import write_run
from glorext.runtime import CheckpointError, DataError, UsageError

from .made import trained

NAMES = tuple(f"digit {number}" for number in range(9)) + ("neun ⑨",)


@pytest.fixture(scope="module")
def run(source, tmp_path_factory):
    """The tiny network as a run, with labels of its own, so that none of them is an index by chance."""
    from dataclasses import replace

    from glorext.models.labels import labels_digest

    folder = tmp_path_factory.mktemp("run")
    shutil.copy(source.checkpoint, folder / "best.ckpt")
    write_labels(folder / "labels.txt", NAMES)
    write_run(folder, replace(source.identity(), labels_sha256=labels_digest(NAMES)), None)
    return folder


@pytest.fixture(scope="module")
def asked(run):
    return glorext.load(run, device="CPU")


def rows(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_python_answers_as_eval_does(asked, pictures, by_mindspore):
    answers = asked.predict([pictures / path for path in by_mindspore.paths])
    assert len(answers) == 40 > BATCH and by_mindspore.count == 40
    assert [answer.label for answer in answers] == [NAMES[one["top5"][0]] for one in by_mindspore.pictures]
    assert [[name for name, _ in answer.top5] for answer in answers] == [
        [NAMES[index] for index in one["top5"]] for one in by_mindspore.pictures
    ]
    shares = np.sort(softmax(by_mindspore.logits.astype(float)), 1)[:, :-6:-1]
    assert np.abs(np.array([[share for _, share in answer.top5] for answer in answers]) - shares).max() < 1e-6
    assert all(answer.probability == answer.top5[0][1] for answer in answers)


def test_a_file_an_array_and_a_generator_are_pictures(asked, pictures):
    files = [pictures / "3" / "03.jpg", pictures / "4" / "04.png"]
    both = asked.predict(files)
    assert asked.predict(str(files[0]))[0].label == both[0].label
    assert asked.predict(read_picture(files[1])) == asked.predict(files[1])
    assert [answer.label for answer in asked.predict(path for path in files)] == [answer.label for answer in both]
    assert asked.predict([]) == []


@pytest.mark.parametrize(
    ("picture", "error", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), UsageError, r"uint8 \(H, W, 3\) in RGB, found float32 \(4, 4, 3\)"),
        (np.zeros((4, 4, 4), np.uint8), UsageError, r"found uint8 \(4, 4, 4\)"),
        ([7], UsageError, "found int"),
        (np.zeros((0, 4, 3), np.uint8), DataError, "no pixels"),
        ("nowhere.png", DataError, "No such file"),
    ],
)
def test_what_is_no_picture_is_refused(asked, picture, error, message):
    with pytest.raises(error, match=message):
        asked.predict(picture)


def test_weights_that_answer_nan_and_features_only_are_errors(source, asked, pictures, monkeypatch):
    import mindspore as ms

    monkeypatch.setattr(asked, "network", lambda inputs: ms.Tensor(np.full((len(inputs), 10), np.nan, np.float32)))
    with pytest.raises(CheckpointError, match="finite logits"):
        asked.predict(pictures / "3" / "03.jpg")
    with pytest.raises(CheckpointError, match="features only"):
        Classifier(trained(source.checkpoint, num_classes=None))


def test_classes_without_names_are_numbered_and_imagenets_are_synsets():
    assert class_names(trained("x.ckpt", num_classes=3)) == ("0", "1", "2")
    assert class_names(trained("x.ckpt", "ab", num_classes=2)) == ("a", "b")
    from dataclasses import replace

    assert class_names(replace(trained("x.ckpt", num_classes=1000), source=LOCATION)) == read_labels(SYNSETS)


def test_probabilities_are_not_raised_again_and_ties_go_to_the_lower_class():
    (answer,) = predictions(np.array([[0.25, 0.5, 0.25]], np.float32), "abc", "probabilities")
    assert answer.top5 == (("b", 0.5), ("a", 0.25), ("c", 0.25)) and (answer.label, answer.probability) == ("b", 0.5)
    (answer,) = predictions(np.array([[1000, 1000, -1000]], np.float32), "abc")
    assert answer.top5 == (("a", 0.5), ("b", 0.5), ("c", 0))


def test_a_folder_in_any_depth_is_answered_picture_by_picture(run, pictures, by_mindspore, tmp_path, capsys):
    shutil.copytree(pictures, tmp_path / "deep" / "er")
    for name in (".hidden.png", "Thumbs.db", "notes.txt", "b.webp"):
        (tmp_path / "deep" / name).write_bytes(b"x")
    assert main([str(run), str(tmp_path / "deep"), "--format", "jsonl"]) == 0
    found = rows(capsys)
    assert [row["path"] for row in found] == [str(tmp_path / "deep" / "er" / path) for path in by_mindspore.paths]
    assert [row["label"] for row in found] == [NAMES[one["top5"][0]] for one in by_mindspore.pictures]


def test_a_broken_picture_is_named_and_the_others_are_answered(run, pictures, tmp_path, capsys):
    (tmp_path / "cut.jpg").write_bytes((pictures / "3" / "03.jpg").read_bytes()[:300])
    files = [str(pictures / "3" / "03.jpg"), str(tmp_path / "cut.jpg"), str(pictures / "4" / "04.png")]
    with pytest.raises(DataError, match=r"found 1 of 3 broken, as listed\. .*--skip_corrupt"):
        main([str(run), *files, "--format", "jsonl"])
    one, broken, other = rows(capsys)
    assert "label" in one and "label" in other and broken.keys() == {"path", "error"} and broken["error"]
    assert main([str(run), *files, "--skip_corrupt", "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{files[1]}" in lines[1] and "broken: " in lines[1] and lines[0].count("%") == 2


def test_csv_has_a_column_for_each_rank_and_for_the_error(run, pictures, tmp_path, capsys):
    (tmp_path / "empty.png").write_bytes(b"")
    argv = [str(run), str(pictures / "3" / "03.jpg"), str(tmp_path / "empty.png")]
    assert main([*argv, "--format", "csv", "--top", "2", "--skip_corrupt"]) == 0
    found = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(found[0]) == ["path", "label", "probability", "label2", "probability2", "error"]
    assert found[0]["label"] in NAMES and 1 > float(found[0]["probability"]) > float(found[0]["probability2"]) > 0
    assert found[1]["error"] == "an empty file" and found[1]["label"] == ""


def test_a_list_on_standard_input_is_answered_line_by_line(run, pictures, capsys, monkeypatch):
    """Each line is answered before the next is read: whoever writes the list may wait for the answer."""
    names, seen = [pictures / "3" / "03.jpg", pictures / "4" / "04.png", "gone.png"], []

    class Lines:
        buffer = property(lambda self: self)

        def __iter__(self):
            for name in names:
                yield os.fsencode(name) + b"\n"
                seen.extend(rows(capsys))
                assert seen[-1]["path"] == str(name), "asked for the next line before it answered"

    monkeypatch.setattr("sys.stdin", Lines())
    assert main([str(run), "-", "--format", "jsonl", "--skip_corrupt"]) == 0
    assert len(seen) == 3 and "No such file" in seen[2]["error"]
    with pytest.raises(UsageError, match="one standard input"):
        main([str(run), "-", "-"])


def test_a_path_that_is_wrong_is_told_before_the_model_is_opened(tmp_path):
    with pytest.raises(DataError, match="no such file in nowhere.png"):
        main(["no-such-model", "nowhere.png"])
    with pytest.raises(DataError, match="expected JPEG or PNG files, found none"):
        main(["no-such-model", str(tmp_path)])


def test_names_do_not_reach_the_terminal_unescaped(run, pictures, tmp_path, capsys):
    bad = tmp_path / "a\x1b[31m\nb.png"
    shutil.copy(pictures / "4" / "04.png", bad)
    assert main([str(run), str(bad)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and out.count("\n") == 1 and r"a\x1b[31m\nb.png" in out


@pytest.mark.native
@pytest.mark.parametrize("backend", ["lite", "lite-cpp"])
def test_the_offline_backends_answer_the_same(backend, source, run, pictures, by_mindspore, native, tmp_path, capsys):
    from glorext.deploy.convert.converter import convert
    from glorext.deploy.export.exporter import export
    from glorext.hub.open_model import open_model

    (exported,) = export(open_model(run), tmp_path, ["onnx"])
    (made,) = convert(tmp_path / exported.file, tmp_path, ["ms"], programs=native.programs)
    argv = [str(run), str(pictures), "--format", "jsonl", "--backend", backend, "--model", str(tmp_path / made.file)]
    assert main(argv) == 0
    found = rows(capsys)
    assert [os.path.relpath(row["path"], pictures) for row in found] == by_mindspore.paths
    assert [row["label"] for row in found] == [NAMES[one["top5"][0]] for one in by_mindspore.pictures]
