"""The bundle builds and proves itself in an empty folder without Python; the published script keeps its arguments."""
import os
import shutil
import subprocess
import tarfile
from importlib.resources import files

import numpy as np
import pytest

from glorext.deploy.bundle import bundle

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def unpacked(source, native, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    archive = bundle(source, folder / "tiny.tar.gz", native.programs)
    with tarfile.open(archive) as packed:
        assert {name.split("/")[0] for name in packed.getnames()} == {"tiny"}
        packed.extractall(folder, filter="data")
    return folder / "tiny"


@pytest.fixture(scope="module")
def path_without_python(tmp_path_factory):
    """A PATH with a compiler and the shell's own tools, and no Python."""
    folder = tmp_path_factory.mktemp("bin")
    for name in ("sh", "sed", "cat", "rm", "tail", "nproc", "dirname", "cmake", "make", "g++", "cc", "gcc", "c++", "ld", "as",
                 "ar", "ranlib", "pkg-config", "uname"):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return str(folder)


def selftest(folder, path, native, *words, **more):
    return subprocess.run(["./selftest.sh", *words], cwd=folder, capture_output=True, text=True,
                          env={"PATH": path, "MINDSPORE_LITE_HOME": str(native.root), **more})


def test_it_passes_here_without_python(unpacked, path_without_python, native):
    done = selftest(unpacked, path_without_python, native)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("PASS  input") == 4 and "4 of 4 inputs pass" in done.stdout
    # From here on nothing needs building again.
    expected = np.load(unpacked / "golden_logits.npy")
    wrong = expected.copy()
    wrong[2, 5] += 0.01
    np.save(unpacked / "golden_logits.npy", wrong)
    done = selftest(unpacked, path_without_python, native)
    np.save(unpacked / "golden_logits.npy", expected)
    assert done.returncode == 1 and "FAIL  input 2" in done.stdout and "3 of 4 inputs pass" in done.stdout
    done = selftest(unpacked, path_without_python, native, "ascend310")
    assert done.returncode == 1 and "libascendcl" in done.stderr, "never the CPU in a card's place"


def test_wrong_calls_are_told(unpacked, path_without_python, native):
    assert selftest(unpacked, path_without_python, native, "tpu").returncode == 2
    done = selftest(unpacked, path_without_python, native, MINDSPORE_LITE_HOME="")
    assert done.returncode == 2 and "MINDSPORE_LITE_HOME" in done.stderr


def test_the_same_model_gives_the_same_sources_and_modes(unpacked):
    assert os.access(unpacked / "selftest.sh", os.X_OK)
    assert (unpacked / "cpp" / "src" / "sha256.cc").read_bytes() == \
        (files("glorext.deploy") / "cpp" / "src" / "sha256.cc").read_bytes()


def script(*words, **environment):
    import sys
    from pathlib import Path
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(["bash", str(files("glorext.deploy") / "scripts" / "run_infer_310.sh"), *map(str, words)],
                          capture_output=True, text=True, env={**os.environ, "PATH": path, **environment})


def test_the_published_script_prints_the_published_line(converted, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = script(converted / "tiny_lite.mindir", pictures, 0, GLOREXT_DEVICE="cpu")
    assert done.returncode == 0 and "Total data: 40, top1 accuracy: " in done.stdout, done.stderr
    assert (tmp_path / "result_Files" / "results.json").is_file()


def test_the_published_script_fails_with_its_steps(converted, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = script(converted / "tiny_lite.mindir", pictures, 0)
    assert done.returncode == 1 and "libascendcl" in done.stderr, "without a card the script must fail"
    assert script(converted / "tiny_lite.mindir").returncode == 2
    assert script(converted / "tiny_lite.mindir", pictures, "first").returncode == 2
    assert script(tmp_path / "none.mindir", pictures, 0).returncode == 2
