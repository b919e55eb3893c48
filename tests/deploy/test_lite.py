"""Where MindSpore Lite comes from, and what is said when it is not there."""

import os
import subprocess
import sys
import zipfile

import pytest

from glorext.deploy.runners import find_lite
from glorext.deploy.runners.find_lite import Lite, locate
from glorext.deploy.runners.programs import build
from glorext.runtime import IntegrityError, SetupError


@pytest.fixture
def nothing_here(monkeypatch, tmp_path):
    """A machine without an SDK, an installed package or anything in the cache."""
    monkeypatch.delenv("MINDSPORE_LITE_HOME", raising=False)
    monkeypatch.setenv("GLOREXT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(find_lite, "_installed", lambda: None)
    return tmp_path


def sdk(folder, converter=True):
    (folder / "runtime" / "lib").mkdir(parents=True)
    (folder / "runtime" / "lib" / "libmindspore-lite.so").touch()
    if converter:
        (folder / "tools" / "converter" / "converter").mkdir(parents=True)
        (folder / "tools" / "converter" / "converter" / "converter_lite").touch()
    return folder


def test_the_sdk_named_by_the_user_comes_first(nothing_here, monkeypatch):
    home = sdk(nothing_here / "mindspore-lite-2.3.1-linux-x64")
    monkeypatch.setenv("MINDSPORE_LITE_HOME", str(home))
    found = locate()
    assert (found.root, found.version, found.origin) == (home, "2.3.1", "MINDSPORE_LITE_HOME")
    assert found.converter.name == "converter_lite"


def test_a_wrong_home_is_an_error_not_a_reason_to_look_elsewhere(nothing_here, monkeypatch):
    monkeypatch.setenv("MINDSPORE_LITE_HOME", str(nothing_here))
    with pytest.raises(SetupError, match="MINDSPORE_LITE_HOME"):
        locate()


def test_without_fetching_the_answer_may_be_none(nothing_here):
    assert locate(fetch=False) is None


def test_offline_never_downloads(nothing_here, monkeypatch):
    monkeypatch.setenv("GLOREXT_OFFLINE", "1")
    monkeypatch.setattr(subprocess, "run", lambda *words, **options: pytest.fail("something was run"))
    with pytest.raises(SetupError, match="GLOREXT_OFFLINE"):
        locate()


def test_a_machine_without_a_wheel_is_told_so(nothing_here, monkeypatch):
    monkeypatch.setattr(find_lite.platform, "machine", lambda: "riscv64")
    with pytest.raises(SetupError, match="riscv64.*MINDSPORE_LITE_HOME"):
        locate()


def served_wheel(monkeypatch, folder):
    """Let pip find a wheel of the right name with other content."""
    tag = f"cp37-cp37m-{find_lite.WHEELS['x86_64'][0]}"
    wheels = folder / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / f"mindspore_lite-2.0.0-{tag}.whl", "w") as archive:
        archive.writestr("mindspore_lite/lib/libx.so", "x")
        archive.writestr(
            "mindspore_lite-2.0.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: mindspore-lite\nVersion: 2.0.0\n"
        )
        archive.writestr(
            "mindspore_lite-2.0.0.dist-info/WHEEL",
            f"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: false\nTag: {tag}\n",
        )
        archive.writestr("mindspore_lite-2.0.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return wheels


def test_another_wheel_than_the_published_one_is_refused(nothing_here, monkeypatch):
    monkeypatch.setattr(find_lite.platform, "machine", lambda: "x86_64")
    served_wheel(monkeypatch, nothing_here)
    with pytest.raises(IntegrityError, match="199cd060"):
        locate()
    assert not (nothing_here / "cache" / "mindspore_lite" / "2.0.0-x86_64").exists()


def test_no_network_is_named_and_nothing_half_fetched_stays(nothing_here, monkeypatch):
    monkeypatch.setattr(find_lite.platform, "machine", lambda: "x86_64")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(SetupError, match="could not be downloaded.*MINDSPORE_LITE_HOME"):
        locate()
    assert [path.name for path in (nothing_here / "cache" / "mindspore_lite").iterdir()] in ([], ["2.0.0-x86_64.lock"])


def test_no_compiler_is_named_with_the_command_that_installs_it(nothing_here, monkeypatch):
    monkeypatch.setenv("PATH", str(nothing_here))
    with pytest.raises(SetupError, match="no g.. on PATH.*apt-get install"):
        build(Lite(nothing_here, "2.0.0", "test"))


def test_a_build_that_fails_leaves_no_programs(nothing_here):
    with pytest.raises(SetupError, match="could not be built"):
        build(Lite(nothing_here, "2.0.0", "a folder without libraries"))
    assert not [path for path in (nothing_here / "cache" / "native").iterdir() if path.is_dir()]


def test_preparing_from_the_command_line_gives_one_line(nothing_here):
    environment = {**os.environ, "PATH": "/nonexistent", "GLOREXT_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "glorext.runtime.cli", "native"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 1 and done.stderr.startswith("glorext native: SetupError: "), done.stderr
    assert done.stderr.count("\n") == 1 and "MINDSPORE_LITE_HOME" in done.stderr
