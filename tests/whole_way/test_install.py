"""What lands on a user's machine, and what `make` says when it cannot go on."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("runtime", "models", "train", "hub", "deploy")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what git tracks, or of the rooms where git is not there: builds must not leave traces in the tree."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "src", folder / "src", symlinks=True, ignore=shutil.ignore_patterns("*.egg-info"))
    for name in (*ROOMS, "setup.py", "pyproject.toml", "README.md", "Makefile", "requirements.txt"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--wheel-dir",
            str(out),
            str(checkout),
        ],
        check=True,
        capture_output=True,
    )
    return next(out.glob("*.whl"))


def test_nothing_but_glorext_and_the_single_module_is_installed(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"glorext", "mindspore_hub.py"}


def test_every_file_of_a_room_is_installed(wheel, checkout):
    installed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        f"glorext/{path.relative_to(checkout)}"
        for room in ROOMS
        for path in (checkout / room).rglob("*")
        if path.is_file() and "egg-info" not in str(path)
    }
    # The source tree's readmes are for readers of the tree.
    wanted -= {name for name in wanted if name.endswith(".md")}
    assert wanted - installed == set()


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def python(site, code):
    return subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(site)!r}); {code}"],
        capture_output=True,
        text=True,
    )


def test_mindspore_hub_is_ours_when_alone(site):
    done = python(site, "import mindspore_hub; print(mindspore_hub.__file__, callable(mindspore_hub.load))")
    assert done.stdout.split() == [str(site / "mindspore_hub.py"), "True"], done.stderr


def test_an_installed_official_package_wins(site, tmp_path):
    both = tmp_path / "site"
    shutil.copytree(site, both)
    (both / "mindspore_hub").mkdir()
    (both / "mindspore_hub" / "__init__.py").write_text("official = True\n")
    assert python(both, "import mindspore_hub; print(mindspore_hub.official)").stdout == "True\n"


def make(checkout, *words, **environment):
    return subprocess.run(
        ["make", *words], cwd=checkout, capture_output=True, text=True, env={**os.environ, **environment}
    )


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@needs_make
def test_a_wrong_python_is_one_clear_line(checkout):
    done = make(checkout, "demo", "PYTHON=/nonexistent/python3")
    told = [line for line in done.stderr.splitlines() if line.startswith("glorext:")]
    assert done.returncode and len(told) == 1 and "needs Python 3.10, 3.11 or 3.12" in told[0]
    assert not (checkout / ".venv" / ".made").exists()


@needs_make
def test_no_package_index_is_one_clear_line_and_leaves_no_stamp(checkout):
    # An index that does not answer, and no folder of wheels to fall back on: what a machine without network sees.
    done = make(
        checkout, "install", f"PYTHON={sys.executable}", PIP_NO_INDEX="1", PIP_FIND_LINKS="", PIP_CONFIG_FILE=os.devnull
    )
    told = [line for line in done.stderr.splitlines() if line.startswith("glorext:")]
    assert done.returncode and len(told) == 1 and "check the network" in told[0], done.stderr
    assert not (checkout / ".venv" / ".pinned").exists()


@needs_make
def test_no_compiler_is_one_clear_line(checkout, tmp_path):
    # A PATH with the few programs the rule itself needs, and neither a compiler nor apt-get.
    for program in ("sh", "id", "printf", "mkdir", "touch", "find", "make"):
        (tmp_path / program).symlink_to(shutil.which(program))
    done = make(checkout, ".venv/.system", PATH=str(tmp_path))
    told = [line for line in done.stderr.splitlines() if line.startswith("glorext:")]
    assert done.returncode and len(told) == 1 and "apt-get install g++ cmake" in told[0], done.stderr
