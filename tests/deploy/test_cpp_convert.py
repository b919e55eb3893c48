"""The driver of MindSpore Lite's converter library: a file on success, a reason and nothing else on failure."""

import subprocess

import pytest

pytestmark = pytest.mark.native


@pytest.fixture
def convert(native, exported, tmp_path):
    """Run glorext_convert on the tiny network or another file; exit status and stderr."""
    if native.convert is None:
        pytest.skip("this MindSpore Lite brings its converter as a program")

    def call(*arguments, model=exported / "tiny.onnx", save="ms"):
        done = subprocess.run(
            [
                str(native.convert),
                "--fmk",
                "onnx",
                "--model",
                str(model),
                "--save",
                save,
                "--out",
                str(tmp_path / "result"),
                *arguments,
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode in (0, 1, 2), f"ended by signal {-done.returncode}: {done.stderr}"
        return done.returncode, done.stderr

    return call


def test_half_precision_weights_halve_the_file(convert, tmp_path):
    assert convert()[0] == 0
    full = (tmp_path / "result.ms").stat().st_size
    (tmp_path / "result.ms").unlink()
    assert convert("--fp16")[0] == 0
    assert (tmp_path / "result.ms").stat().st_size < 0.6 * full


def test_an_existing_result_is_not_taken_for_a_new_one(convert, tmp_path):
    (tmp_path / "result.ms").write_bytes(b"old")
    status, errors = convert()
    assert status == 1 and "result.ms exists" in errors and (tmp_path / "result.ms").read_bytes() == b"old"


def test_a_file_that_is_no_model_is_refused(convert, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"\x00\x01rubbish" * 100)
    status, errors = convert(model=tmp_path / "bad.onnx")
    assert status == 1 and "cannot convert" in errors and not (tmp_path / "result.ms").exists()


def test_the_mindir_of_this_mindspore_is_refused_without_a_crash(native, exported, tmp_path):
    mindir = exported / "tiny.mindir"
    done = subprocess.run(
        [
            str(native.convert),
            "--fmk",
            "mindir",
            "--model",
            str(mindir),
            "--save",
            "ms",
            "--out",
            str(tmp_path / "result"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1 and "cannot convert" in done.stderr and not (tmp_path / "result.ms").exists()


@pytest.mark.parametrize(
    "arguments, message, status",
    [
        (("--input_shape", "image"), "expected name:n,c,h,w", 2),
        (("--input_shape", "image:1,x,3"), "expected positive numbers or -1", 2),
        (("--optimize", "fast"), "expected one of none, general, ascend_oriented", 2),
        (("--config", "missing.cfg"), "cannot read missing.cfg", 1),
    ],
)
def test_bad_arguments_are_named(convert, tmp_path, arguments, message, status):
    found, errors = convert(*arguments)
    assert found == status and message in errors and list(tmp_path.iterdir()) == []


def test_converting_for_ascend_without_cann_fails(convert, tmp_path):
    import ctypes

    try:
        ctypes.CDLL("libascendcl.so")
    except OSError:
        status, errors = convert("--optimize", "ascend_oriented", "--device", "Ascend", save="mindir")
        assert status == 1 and "cannot convert" in errors and not (tmp_path / "result.mindir").exists()
        return
    pytest.skip("this machine has CANN")
