"""A run over many pictures that is ended, by whatever: it goes on, and its results are those of one run."""

import json
import resource
import shutil
import signal
import subprocess
import time
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from glorext.deploy.runners.lite import infer
from glorext.deploy.validate.infer import main
from glorext.runtime import InferenceError, UsageError

pytestmark = pytest.mark.native
COUNT = 12_000


@pytest.fixture(scope="module")
def many(pictures, tmp_path_factory):
    """12,000 names of the 40 pictures: seconds of work in the slow arrangement below."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(COUNT // 40):
        (folder / f"{number:03d}").symlink_to(pictures)
    return folder


@pytest.fixture(scope="module")
def command(native, converted, many):
    return [str(native.infer), "--model", str(converted / "tiny.ms"), "--images", str(many)]


@pytest.fixture(scope="module")
def at_once(command, tmp_path_factory):
    """The results of a run that was never ended: logits.npy as bytes, and what results.json says but for the times."""
    out = tmp_path_factory.mktemp("whole") / "out"
    subprocess.run([*command, "--out", str(out)], check=True, capture_output=True)
    return answers(out)


def answers(out):
    found = json.loads((out / "results.json").read_text())
    for key in ("latency_ms", "throughput", "seconds", "stages_ms", "workers"):
        del found[key]
    for picture in found["pictures"]:
        del picture["ms"]
    return (out / "logits.npy").read_bytes(), found


def lines(out):
    try:
        return (out.with_name("out.partial") / "answers.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def ended(command, out, after, end, *arguments):
    """Start a slow run, call `end(process)` once there are more than `after` answers; its exit status and stderr."""
    slow = ["--workers", "1", "--decoders", "1", "--batch", "1", *arguments]
    with subprocess.Popen([*command, "--out", str(out), *slow], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while lines(out) <= after and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        end(process)
        errors = process.stderr.read()
    return process.returncode, errors


def kill(process):
    process.kill()


def finished(command, out, *arguments):
    done = subprocess.run(
        [*command, "--out", str(out), "--batch", "1", "--resume", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.parent.iterdir()) == ["out"]
    return answers(out)


def test_a_run_that_is_killed_again_and_again_gives_the_bytes_of_one_run(command, at_once, tmp_path):
    out, before = tmp_path / "out", 0
    for after in (0, 300, 3000, 6000):
        status, _ = ended(command, out, max(before, after), kill, "--resume")
        assert status == -signal.SIGKILL and not out.exists()
        assert before < lines(out) < COUNT  # it went on
        before = lines(out)
    found = finished(command, out, "--workers", "2", "--decoders", "3")
    assert found[0] == at_once[0] and found[1] == {**at_once[1], "batch": 1}


@pytest.mark.parametrize("cut", [("answers.jsonl", 7), ("logits.f32", 40), ("logits.f32", 3)])
def test_half_of_the_last_answer_is_no_answer(command, at_once, tmp_path, cut):
    out = tmp_path / "out"
    ended(command, out, 1000, kill)
    file = tmp_path / "out.partial" / cut[0]
    with open(file, "r+b") as opened:
        opened.truncate(file.stat().st_size - cut[1])
    assert finished(command, out)[0] == at_once[0]


def test_a_file_that_may_not_grow_ends_the_run_with_its_reason_and_it_goes_on(command, at_once, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        status, errors = ended(command, tmp_path / "out", COUNT, lambda process: process.wait(60))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert status == 1, errors
    assert "answers.jsonl: File too large" in errors and "--resume goes on" in errors
    assert 0 < lines(tmp_path / "out") < COUNT
    assert finished(command, tmp_path / "out")[0] == at_once[0]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 40 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"a small file system needs the right to mount: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_the_run_and_with_room_it_goes_on(command, at_once, small_disk):
    def fill(process):
        with open(small_disk / "others", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError:
                pass
        process.wait(60)

    out = small_disk / "out"
    status, errors = ended(command, out, 500, fill)
    assert status == 1, errors
    assert "No space left on device" in errors and "make room there, --resume goes on" in errors and not out.exists()
    assert 500 < lines(out) < COUNT
    (small_disk / "others").unlink()
    assert finished(command, out)[0] == at_once[0]


def test_free_space_is_looked_at_before_the_work(command, small_disk):
    (small_disk / "others").write_bytes(bytes(36 << 20))
    status, errors = ended(command, small_disk / "out", 0, lambda process: process.wait(60))
    assert status == 1 and "the results need " in errors and f"{small_disk} has " in errors and "make room" in errors
    assert [path.name for path in small_disk.iterdir()] == ["others"]


def test_what_ctrl_c_left_is_there_and_goes_on(command, at_once, tmp_path):
    out = tmp_path / "out"
    status, errors = ended(command, out, 500, lambda process: process.send_signal(signal.SIGINT))
    assert status == 130 and "stopped by Ctrl-C" in errors and "--resume goes on" in errors
    _, found = answers(out)
    assert 500 < found["count"] < COUNT and found["count"] + len(found["failed"]) == COUNT
    assert np.load(out / "logits.npy").shape == (found["count"], 10)
    assert finished(command, out) == (at_once[0], {**at_once[1], "batch": 1})


def test_two_processes_do_not_write_to_one_folder(command, tmp_path):
    def second(process):
        done = subprocess.run([*command, "--out", str(tmp_path / "out"), "--resume"], capture_output=True, text=True)
        assert done.returncode == 1 and "another process is writing to" in done.stderr
        process.kill()

    ended(command, tmp_path / "out", 100, second)


@pytest.fixture
def left(native, converted, pictures, tmp_path):
    """A folder of pictures, one broken, and a run over them that was ended; `go_on` goes on with it."""
    images = tmp_path / "images"
    shutil.copytree(pictures, images)
    broken = images / "0" / "00.jpg"
    whole = broken.read_bytes()
    broken.write_bytes(b"")
    model = tmp_path / "tiny.ms"
    for name in ("tiny.ms", "tiny.ms.json"):
        shutil.copy(converted / name, tmp_path / name)
    arguments = [str(native.infer), "--model", str(model), "--images", str(images)]
    folder = tmp_path / "out.partial"
    # Enough names for a run that is ended in the middle.
    for number in range(200):
        (images / "9" / f"again{number}").symlink_to(pictures)
    ended(arguments, tmp_path / "out", 20, kill)
    assert folder.is_dir()

    def go_on(resume=True, model=model):
        return infer(model, images, tmp_path / "out", allow_broken=True, resume=resume, batch=1)

    return SimpleNamespace(go_on=go_on, images=images, broken=broken, whole=whole, model=model)


def test_another_model_preprocessing_or_list_is_refused_by_its_name(left, converted, tmp_path, capfd):
    def refused(**changes):
        with pytest.raises(UsageError):
            left.go_on(**changes)
        return capfd.readouterr().err

    assert "out.partial holds the answers of a run that did not end: go on with --resume" in refused(resume=False)
    contract = json.loads((tmp_path / "tiny.ms.json").read_text())
    changed = json.loads(json.dumps(contract))
    changed["model"]["input_spec"]["mean"][0] = 0.25
    (tmp_path / "tiny.ms.json").write_text(json.dumps(changed))
    assert "was of another preprocessing: preprocessing.input_spec.mean was [" in refused()
    (tmp_path / "tiny.ms.json").write_text(json.dumps(contract))
    assert "was of another model: model.sha256 was" in refused(model=converted / "tiny_lite.mindir")
    (left.images / "7" / "17.png").rename(left.images / "7" / "17b.png")
    assert "was of another list of pictures: list of pictures.sha256 was" in refused()
    (left.images / "7" / "17b.png").rename(left.images / "7" / "17.png")
    assert left.go_on().count == 40 - 1 + 200 * 40


def test_a_broken_picture_is_tried_again(left):
    assert json.loads((left.images.parent / "out.partial" / "answers.jsonl").read_text().splitlines()[0]) == {
        "index": 0,
        "path": "0/00.jpg",
        "error": "the file is empty",
    }
    left.broken.write_bytes(left.whole)
    results = left.go_on()
    assert results.failed == [] and results.count == 40 + 200 * 40


def test_a_picture_that_was_replaced_is_answered_again(left, converted, tmp_path):
    again = left.images / "0" / "10.png"
    Image.new("RGB", (32, 32), (9, 200, 30)).save(again)
    results = left.go_on()
    (row,) = [row for row, path in enumerate(results.paths) if path == "0/10.png"]
    (tmp_path / "alone").mkdir()
    shutil.copy(again, tmp_path / "alone")
    alone = infer(left.model, tmp_path / "alone", tmp_path / "single")
    assert (results.logits[row] == alone.logits[0]).all()


def test_the_command_goes_on_as_the_program_does(left, capfd):
    arguments = [str(left.model), "--images", str(left.images), "--out", str(left.images.parent / "out")]
    with pytest.raises(UsageError):
        main(arguments)
    with pytest.raises(InferenceError):  # its message is above
        main([*arguments, "--batch", "1", "--resume"])
    assert "1 of the 8040 inputs are broken" in capfd.readouterr().err
    assert main([*arguments, "--resume", "--skip_corrupt", "--json"]) == 0  # a new one: that run had its end
    assert json.loads(capfd.readouterr().out)["count"] == 8039


def test_a_tensor_is_not_gone_on_with(native, converted, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 32, 32), np.float32))
    done = subprocess.run(
        [
            *(str(native.infer), "--model", str(converted / "tiny.ms"), "--tensor", str(tmp_path / "x.npy")),
            *("--out", str(tmp_path / "out"), "--resume"),
        ],
        capture_output=True,
        text=True,
    )
    assert (
        done.returncode == 2 and "--resume is for --images" in done.stderr and not (tmp_path / "out.partial").exists()
    )
