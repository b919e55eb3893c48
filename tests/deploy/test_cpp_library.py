"""libglorext as others use it: found by CMake and pkg-config, called from C++, C and Python; and glorext_classify."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from glorext.deploy.runners.programs import main, sources
from glorext.models.prediction import predictions, softmax
from glorext.runtime import SetupError

pytestmark = [pytest.mark.native, pytest.mark.slow]
QUIET = {**os.environ, "GLOG_v": "3"}


@pytest.fixture(scope="module")
def installed(native, tmp_path_factory):
    """What `glorext native --prefix` leaves; the folder of the sources is not needed any more."""
    prefix = tmp_path_factory.mktemp("prefix")
    for _ in "12":  # a newer one replaces it
        assert main(["--prefix", str(prefix)]) == 0
    return prefix


def test_a_prefix_that_cannot_be_written_is_named(native, tmp_path):
    (tmp_path / "bin").write_text("a file")
    with pytest.raises(SetupError, match="could not be written"):
        main(["--prefix", str(tmp_path)])


@pytest.fixture(scope="module")
def library(installed):
    (found,) = installed.rglob("libglorext.so")
    return found


@pytest.fixture(scope="module")
def wanted(by_mindspore, source):
    """What MindSpore says of the 40 pictures, best first: [[(index, label, probability), ...], ...]."""
    shares = softmax(by_mindspore.logits.astype(float))
    return [
        [(index, source.labels[index], row[index]) for index in one["top5"]]
        for row, one in zip(shares, by_mindspore.pictures)
    ]


def close_to(answers, wanted):
    return [(index, label) for index, label, _ in answers] == [(index, label) for index, label, _ in wanted] and all(
        abs(one - other) < 1e-5 for (*_, one), (*_, other) in zip(answers, wanted)
    )


def told(*command, cwd=None):
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, env=QUIET)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_builds_in_an_empty_folder_and_classifies_a_picture_from_memory(
    installed, converted, pictures, by_mindspore, wanted, tmp_path
):
    for file in (sources() / "example").iterdir():
        shutil.copy(file, tmp_path)
    told("cmake", "-S", ".", "-B", "build", f"-DCMAKE_PREFIX_PATH={installed}", cwd=tmp_path)
    told("cmake", "--build", "build", cwd=tmp_path)
    files = [pictures / path for path in by_mindspore.paths[:3]]
    lines = told(tmp_path / "build" / "classify", converted / "tiny_lite.mindir", *files).splitlines()
    for line, file, ((_, label, share), *_) in zip(lines, files, wanted, strict=False):
        path, _, answer = line.rpartition(": ")
        name, number = answer.split()
        assert path == str(file) and name == label and abs(float(number) - share) < 1e-4
    assert len(lines) == 3
    done = subprocess.run([tmp_path / "build" / "classify", converted / "tiny.ms", __file__], capture_output=True)
    assert done.returncode == 1 and b"neither JPEG nor PNG" in done.stderr


def test_a_c_program_finds_it_by_pkg_config(installed, library, converted, pictures, tmp_path):
    if shutil.which("pkg-config") is None:
        flags = next(line for line in next(installed.rglob("glorext.pc")).read_text().splitlines() if "Libs:" in line)
        words = [f"-I{installed / 'include'}", f"-L{library.parent}", *flags.split()[2:]]
        words = [word.replace("${libdir}", str(library.parent)) for word in words]
    else:
        environment = {**QUIET, "PKG_CONFIG_PATH": str(library.parent / "pkgconfig")}
        command = ["pkg-config", "--cflags", "--libs", "glorext"]
        words = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    (tmp_path / "ask.c").write_text(
        "#include <glorext/glorext.h>\n#include <stdio.h>\n"
        "int main(int count, char** words) {\n"
        "  glorext_answer best;\n"
        "  glorext_classifier* open = glorext_open(words[count - 2], NULL, 0, 1);\n"
        "  if (open == NULL) return puts(glorext_error());\n"
        "  if (glorext_classify_file(open, words[count - 1], &best, 1) != 1) return puts(glorext_error());\n"
        '  printf("%d %s\\n", (int)best.index, best.label);\n'
        "  glorext_close(open);\n  return 0;\n}\n"
    )
    told("gcc", "-std=c99", "-Wall", "-Werror", "-pedantic", "ask.c", "-o", "ask", *words, cwd=tmp_path)
    file = sorted(pictures.rglob("*.png"))[0]
    found = told(tmp_path / "ask", converted / "tiny.ms", file).split()
    assert len(found) == 2 and found[0] == found[1], "the label of each class of this model is its index"


def test_every_way_in_gives_mindspores_answers_from_many_threads(
    library, converted, pictures, by_mindspore, source, wanted
):
    files = [str(pictures / path) for path in by_mindspore.paths]
    script = Path(__file__).with_name("call_library.py")
    found = json.loads(told(sys.executable, script, library, converted / "tiny_lite.mindir", *files))
    assert found["properties"] == [32, 2, 10]
    assert all(close_to(one, other) for one, other in zip(found["files"], wanted, strict=True))
    assert found["bytes"] == found["files"] and found["one"] == found["files"][0][:1]
    assert found["image"] == found["strided"] and len(found["image"]) == 5
    assert found["wrong"] == []

    import mindspore as ms

    quarter = source.create()(ms.Tensor(np.full((1, 3, 32, 32), 0.25, np.float32))).asnumpy()
    (expected,) = predictions(quarter, source.labels)
    assert [label for _, label, _ in found["tensor"]] == [label for label, _ in expected.top5]
    for case, words in {
        "no model": "nowhere.ms: No such file",
        "no such device": "neither cpu nor a family of Ascend chips",
        "broken": "damaged",
        "nothing": "empty",
        "no file": "nowhere.png: No such file",
        "stride too small": "a stride of 95",
        "no width": "0 x 32",
        "short tensor": "expected 3072 values, [3, 32, 32], found 3071",
        "nan": "not finite",
    }.items():
        assert words in found[case], f"{case}: {found[case]}"


def test_the_library_shows_what_its_headers_declare_and_nothing_else(library):
    names = told("nm", "-DC", "--defined-only", library).splitlines()
    shown = {line.split(" ", 2)[2] for line in names}
    assert {"glorext_open", "glorext_error", "glorext::runtime_version[abi:cxx11]()"} <= shown
    own = ("glorext_", "glorext::Classifier::", "glorext::runtime_version")
    assert {name for name in shown if not name.startswith(own) and "glorext::Error" not in name} == set()


@pytest.fixture
def classify(native):
    def call(*arguments, status=0, **more):
        command = [str(native.programs.classify), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, **more)
        assert done.returncode == status, done.stderr
        return done.stdout, done.stderr

    return call


def test_a_folder_is_answered_in_order_in_every_form(classify, converted, pictures, by_mindspore, wanted):
    words = ("--model", converted / "tiny.ms", "--workers", "2")
    lines = [json.loads(line) for line in classify(*words, "--format", "jsonl", pictures)[0].splitlines()]
    assert [os.path.relpath(one["path"], pictures) for one in lines] == by_mindspore.paths
    for line, best in zip(lines, wanted):
        assert [one["label"] for one in line["top5"]] == [label for _, label, _ in best]
        assert abs(line["probability"] - best[0][2]) < 1e-5 and line["label"] == best[0][1]
    rows = list(csv.DictReader(io.StringIO(classify(*words, "--format", "csv", "--top", "2", pictures)[0])))
    assert list(rows[0]) == ["path", "label", "probability", "label2", "probability2", "error"]
    assert [(row["label"], row["label2"]) for row in rows] == [
        (one["top5"][0]["label"], one["top5"][1]["label"]) for one in lines
    ]
    table = classify(*words, pictures)[0].splitlines()
    assert [line.split()[1] for line in table] == [one["label"] for one in lines]


def test_a_list_is_answered_line_by_line(native, converted, pictures):
    """Each answer comes before the next line is written: one process serves another program."""
    files = sorted(pictures.rglob("*.png"))[:3]
    command = [str(native.programs.classify), "--model", str(converted / "tiny.ms"), "--format", "jsonl", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for file in [*files, Path("gone.png")]:
            process.stdin.write(f"{file}\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            assert answer["path"] == str(file) and ("label" in answer) == file.exists()
        process.stdin.close()
        assert process.wait(60) == 1, "a picture that is not there"


def test_what_is_wrong_is_named(classify, converted, pictures, tmp_path):
    words = ("--model", converted / "tiny.ms")
    bad = tmp_path / "a\x1b[31m\n,b.png"
    bad.write_bytes(b"no picture")
    file = sorted(pictures.rglob("*.png"))[0]
    out, err = classify(*words, bad, file, status=1)
    assert "\x1b" not in out + err and out.count("\n") == 2 and "1 of the 2 pictures are broken" in err
    assert "broken" in classify(*words, bad, file, "--allow_broken")[0]
    rows = list(csv.reader(io.StringIO(classify(*words, "--format", "csv", "--allow_broken", bad)[0])))
    assert len(rows) == 2 and "neither JPEG nor PNG" in rows[1][-1]
    assert "give pictures" in classify(*words, status=2)[1]
    assert "one standard input" in classify(*words, "-", "-", status=2)[1]
    assert "no pictures were given" in classify(*words, "-", status=1, input="")[1]
    assert "--precision is for Ascend" in classify(*words, "--precision", "enforce_fp16", file, status=2)[1]
