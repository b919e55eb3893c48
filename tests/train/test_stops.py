"""What ends a run before its time: Ctrl-C once and many times, a full disk, a limit, another run in its folder."""

import resource
import signal
import subprocess
import sys
import time

import pytest

from glorext.runtime.errors import DiskFullError, UsageError
from glorext.train.loop import train
from glorext.train.run_folder import RunFolder

from .conftest import SMALL
from .test_loop import events


def started(data, run, **options):
    flags: dict[str, object] = {
        "recipe": "digits",
        "network_args": str(SMALL).replace("'", '"'),
        "input": '{"size": 16, "resize": 16}',
    }
    flags |= {"batch_size": 4, "epochs": 999, "data_dir": data, "device_target": "CPU", "out": run}
    words = [str(word) for key, value in flags.items() for word in (f"--{key}", value)]
    return subprocess.Popen(
        [sys.executable, "-m", "glorext.train", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.slow
def test_ctrl_c_saves_and_exits_with_130_however_often_it_is_pressed(draw, tmp_path):
    run = tmp_path / "run"
    process = started(draw(each=16), run)
    while not (run / "metrics.jsonl").exists() and process.poll() is None:
        time.sleep(0.1)
    while process.poll() is None:  # until the very end, while the interpreter ends too
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    shown, told = process.communicate(timeout=60)
    assert process.returncode == 130 and f"--resume {run}" in shown and "Traceback" not in told
    assert list(run.glob("resnext50-*.ckpt")) and not list(run.glob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.4, 0.9, 1.4])  # while NumPy and MindSpore load, or just before or after
def test_ctrl_c_while_libraries_load_is_no_crash(draw, tmp_path, seconds):
    process = started(draw(each=16), tmp_path / "run")
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    shown, told = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in told
    assert "before the first step, so nothing was saved" in told or "go on with --resume" in shown


def test_a_file_that_may_not_grow_is_named_and_the_run_goes_on_once_it_may(draw, recipe, tmp_path):
    data, before = draw(each=8), resource.getrlimit(resource.RLIMIT_FSIZE)
    run = recipe(ckpt_interval=3)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(DiskFullError, match=r"1_3.ckpt would be larger .* --resume .*run, from the beginning"):
            train(run, data, device="CPU", quiet=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(events(tmp_path / "run")) == 3 and not list((tmp_path / "run").glob(".*"))
    train(run, data, device="CPU", quiet=True, resume="auto")
    assert len(events(tmp_path / "run")) == 8


def test_a_full_disk_says_from_where_the_run_goes_on(draw, recipe, tmp_path, monkeypatch):
    import errno

    from glorext.train import run as run_module

    save, saved = RunFolder.save, []

    def full(self, *arguments):
        if saved:
            raise DiskFullError("the disk is full") from OSError(errno.ENOSPC, "No space left on device")
        saved.append(save(self, *arguments))
        return saved[-1]

    monkeypatch.setattr(run_module.RunFolder, "save", full)
    with pytest.raises(DiskFullError, match=r"--resume .*run, from resnext50-1_3.ckpt"):
        train(recipe(ckpt_interval=3), draw(each=8), device="CPU", quiet=True)


def test_two_runs_do_not_write_into_one_folder(draw, recipe, tmp_path):
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")  # both before either has begun
    with first.locked():
        with pytest.raises(UsageError, match="another process that trains in it"), second.locked():
            pass
        (tmp_path / "run" / "recipe.yaml").write_text("lr: 0.1\n")
        with pytest.raises(UsageError, match="another process"), RunFolder(tmp_path / "run", True).locked():
            pass
        with RunFolder(tmp_path / "run", True).locked(is_writer=False):  # another rank of the same run
            pass
    with pytest.raises(UsageError, match="the run of an earlier command"), second.locked():
        pass
    with RunFolder(tmp_path / "run", True).locked():
        pass
