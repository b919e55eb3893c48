"""The published inference scripts: which arguments they take, and what they ask of `glorext infer`."""

import os
import subprocess
from importlib.resources import files

import pytest

SCRIPTS = files("glorext.deploy") / "scripts"
PLAIN, CPP, GLORE = "run_infer_310.sh", "run_infer_cpp.sh", "glore_res50/run_310_infer.sh"


@pytest.fixture
def run(tmp_path):
    """run(script, words...): the flags that `glorext infer` got, or the exit status where it got none."""
    (tmp_path / "m.mindir").touch()
    (tmp_path / "val").mkdir()
    (tmp_path / "glorext").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "glorext").chmod(0o755)

    def call(script, *words, **extra):
        environment = {name: value for name, value in os.environ.items() if name != "GLOREXT_DEVICE"} | extra
        environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
        done = subprocess.run(
            ["bash", str(SCRIPTS / script), *words], capture_output=True, text=True, cwd=tmp_path, env=environment
        )
        assert done.returncode == 0 or done.stderr
        return done.stdout.splitlines() if done.returncode == 0 else done.returncode

    return call


def asked(device, device_id):
    return ["infer", "m.mindir", "--images", "val", "--device", device, "--device_id", device_id] + [
        "--out",
        "result_Files",
        "--accuracy",
    ]


@pytest.mark.parametrize("script", [PLAIN, GLORE])
def test_the_device_id_is_optional(run, script):
    assert run(script, "m.mindir", "val") == asked("ascend310", "0")
    assert run(script, "m.mindir", "val", "3") == asked("ascend310", "3")
    assert run(script, "m.mindir", "val", "3", GLOREXT_DEVICE="ascend310p") == asked("ascend310p", "3")
    for wrong in (["m.mindir"], ["m.mindir", "val", "x"], ["m.mindir", "val", "0", "1"], ["no.mindir", "val"]):
        assert run(script, *wrong) == 2


def test_the_device_type_decides_where_the_program_runs(run):
    assert run(CPP, "m.mindir", "val", "Ascend") == asked("ascend310", "0")
    assert run(CPP, "m.mindir", "val", "Ascend", "1", GLOREXT_DEVICE="ascend910") == asked("ascend910", "1")
    assert run(CPP, "m.mindir", "val", "CPU", GLOREXT_DEVICE="ascend910") == asked("cpu", "0")
    for wrong in (["m.mindir", "val"], ["m.mindir", "val", "GPU"], ["m.mindir", "val", "CPU", "0", "1"]):
        assert run(CPP, *wrong) == 2


@pytest.mark.parametrize("script, words", [(PLAIN, ()), (GLORE, ()), (CPP, ("Ascend",))])
def test_resume_is_passed_on_and_keeps_what_an_ended_run_left(run, tmp_path, script, words):
    left = tmp_path / "result_Files.partial" / "answers.jsonl"
    left.parent.mkdir()
    left.touch()
    assert run(script, "m.mindir", "val", *words, "--resume") == [*asked("ascend310", "0"), "--resume"]
    assert run(script, "m.mindir", "val", *words, "2", "--resume") == [*asked("ascend310", "2"), "--resume"]
    assert left.exists()
    assert run(script, "m.mindir", "val", *words, "2") == asked("ascend310", "2")
    assert not left.parent.exists()
