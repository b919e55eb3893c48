"""Where MindSpore Lite comes from, and what is said when it is not there."""

import os
import platform
import shutil
import subprocess
import sys
import zipfile

import pytest

from glorext.deploy.runners import find_lite
from glorext.deploy.runners.find_lite import Lite, locate
from glorext.deploy.runners.programs import build, sources
from glorext.runtime import IntegrityError, SetupError


@pytest.fixture
def nothing_here(monkeypatch, tmp_path):
    """A machine without an SDK, an installed package or anything in the cache."""
    monkeypatch.delenv("MINDSPORE_LITE_HOME", raising=False)
    monkeypatch.setenv("GLOREXT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(find_lite, "_installed", lambda: None)
    return tmp_path


def elf(machine=None, needs="libc.so.6"):
    """The beginning of a library for a machine, by default this one."""
    numbers = {name: number for number, name in find_lite.MACHINES.items()}
    number = numbers[machine or platform.machine()]
    return b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + number.to_bytes(2, "little") + f"\0{needs}\0".encode()


def package(folder, *names, library="runtime/lib/libmindspore-lite.so", content=None):
    """A package with these files beside its runtime, and its headers."""
    runtime = folder / library
    runtime.parent.mkdir(parents=True)
    runtime.write_bytes(elf() if content is None else content)
    for name in names:
        (runtime.parent / name).touch()
    (runtime.parents[1] / "include" / "api").mkdir(parents=True)
    return folder


def sdk(folder):
    """The cloud-side inference package, as its documentation shows it."""
    package(folder, "libmindspore_core.so", "libascend_kernel_plugin.so", "libminddata-lite.a")
    (folder / find_lite.CONVERTER).parent.mkdir(parents=True)
    (folder / find_lite.CONVERTER).touch()
    return folder


def converter_alone(folder):
    (folder / find_lite.CONVERTER).parent.mkdir(parents=True)
    (folder / find_lite.CONVERTER).touch()
    return folder


def files(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


DEVICE_WHEEL = {"library": "lib/libmindspore-lite.so"}


@pytest.mark.parametrize(
    "make, kind",
    [
        (
            lambda at: package(at, "libmindspore-lite.a", "libmindspore-lite-train.so"),
            "device-side package .*-train.so",
        ),
        (lambda at: package(at, "libmindspore-lite.a"), "device-side package .*no libmindspore_core.so"),
        (
            lambda at: package(at, "libmindspore_core.so", "libmindspore-lite-train.so", **DEVICE_WHEEL),
            "device-side package .*-train.so",
        ),
        (lambda at: package(at, "libmindspore_core.so", content=elf("armv7l")), "libraries for armv7l"),
        (lambda at: package(at, "libmindspore-lite.a", content=elf(needs="libc.so")), "for Android"),
        (lambda at: files(at, "jni/arm64-v8a/libmindspore-lite.so"), "for Android, an unpacked AAR"),
        (converter_alone, "the converter alone"),
        (lambda at: sdk(at / "mindspore-lite-2.3.1-linux-x64").parent, "the folder around a package: .*linux-x64"),
        (lambda at: files(at, "_c_expression.cpython-311-x86_64-linux-gnu.so"), "the framework for training"),
        (lambda at: files(at, "x").joinpath("x"), "a file, not an unpacked folder"),
        (lambda at: at, "no such folder"),
        (lambda at: files(at, "libascendcl.so"), "no runtime of MindSpore Lite"),
    ],
)
def test_another_package_of_the_same_name_is_told_by_its_files(nothing_here, monkeypatch, make, kind):
    monkeypatch.setenv("MINDSPORE_LITE_HOME", str(make(nothing_here / "home")))
    with pytest.raises(SetupError, match=f"expected MindSpore Lite's cloud-side .*found .*{kind}.*PyPI wheel"):
        locate()


@pytest.mark.native
def test_the_build_without_python_refuses_the_device_side_as_well(tmp_path):
    if shutil.which("cmake") is None or shutil.which("g++") is None:
        pytest.skip("no compiler")
    for name in ("libmindspore-lite.a", "libmindspore-lite-train.so"):
        home = package(tmp_path / name, name)
        command = ["cmake", "-S", str(sources()), "-B", str(tmp_path / "build"), f"-DMINDSPORE_LITE_ROOT={home}"]
        done = subprocess.run(command, capture_output=True, text=True)
        told = " ".join(done.stderr.split())
        assert done.returncode != 0 and "device-side package, which reads .ms alone and drives no card" in told


def test_headers_are_needed_to_build(nothing_here):
    home = sdk(nothing_here / "home")
    (home / "runtime" / "include" / "api").rmdir()
    assert find_lite.wrong_kind(home) == "a package without C++ headers (include/api)"


@pytest.mark.parametrize("library", find_lite.RUNTIMES[1:])
def test_an_unpacked_wheel_is_taken_as_the_build_takes_it(nothing_here, monkeypatch, library):
    home = package(nothing_here / "mindspore_lite", "libmindspore_core.so", library=library)
    (home / "version.py").write_text('__version__ = "2.2.0"\n')
    monkeypatch.setenv("MINDSPORE_LITE_HOME", str(home))
    assert locate() == Lite(home, "2.2.0", "MINDSPORE_LITE_HOME")


def test_a_package_without_the_plugin_serves_the_cpu_alone(nothing_here):
    both, cpu = sdk(nothing_here / "both"), package(nothing_here / "cpu", "libmindspore_core.so")
    Lite(both, "2.3.1", "x").require_for("ascend310p")
    Lite(cpu, "2.3.1", "x").require_for("cpu")
    with pytest.raises(SetupError, match="plugin for Ascend.*2.3.1 for the CPU alone.*cloud-side inference package"):
        Lite(cpu, "2.3.1", "x").require_for("ascend310p")


def test_an_installed_package_of_the_wrong_kind_is_passed_over_with_a_word(tmp_path, monkeypatch):
    home = package(tmp_path / "mindspore_lite", "libmindspore_core.so", "libmindspore-lite-train.so", **DEVICE_WHEEL)
    (home / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    told = []
    monkeypatch.setattr(find_lite.logger, "warning", lambda message, *values: told.append(message % values))
    assert find_lite._installed() is None
    assert "the mindspore_lite of this Python is passed over" in told[0] and "device-side package" in told[0]
    (home / "lib" / "libmindspore-lite-train.so").unlink()
    assert find_lite._installed() == Lite(home, "unknown", "the mindspore_lite of this Python")


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
