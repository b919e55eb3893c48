"""What lands on a user's machine, and what `make` says when it cannot go on."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

from glorext.hub.official import official_client

from .checkout import ROOMS, ROOT, copy_to, files

# What a room has that is not for its users: readmes for those who read the tree.
NOT_INSTALLED = {".md"}
ABOUT = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt", "licenses/LICENSE"}
READMES = {"LICENSE", "README.md", "README_CN.md", "CHANGELOG.md", "CONTRIBUTING.md"}
TO_BUILD = {"setup.py", "setup.cfg", "pyproject.toml", "MANIFEST.in", "PKG-INFO"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy: builds must not leave traces in the tree."""
    return copy_to(tmp_path_factory.mktemp("checkout"))


def build_wheel(source, out):
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*words, str(out), str(source)], check=True, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    return build_wheel(checkout, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(checkout, tmp_path_factory):
    out = tmp_path_factory.mktemp("sdist")
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(out)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=checkout, check=True, capture_output=True)
    return next(out.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wanted():
    """What a wheel and a source distribution have of the code, by its place in the wheel."""
    rooms = {
        f"glorext/{name}"
        for name in files()
        if name.split("/")[0] in ROOMS and os.path.splitext(name)[1] not in NOT_INSTALLED
    }
    return rooms | {"glorext/__init__.py", "glorext/__main__.py", "glorext/py.typed", "mindspore_hub.py"}


def test_the_wheel_has_the_rooms_the_single_module_and_nothing_else(wheel, wanted):
    """Nothing generic lands in site-packages: no `models`, no `tests`, no folder `mindspore_hub`."""
    names = set(zipfile.ZipFile(wheel).namelist())
    about = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    assert names - about == wanted
    assert {name.split("/", 1)[1] for name in about} == ABOUT


def test_the_source_distribution_has_what_a_build_needs_as_plain_files(sdist, wanted):
    with tarfile.open(sdist) as archive:
        members = {member.name.split("/", 1)[-1]: member for member in archive if not member.isdir()}
    assert all(member.isfile() for member in members.values()), "a link leads nowhere outside of the checkout"
    code = {name for name in members if name.startswith("src/") and ".egg-info/" not in name}
    assert code == {f"src/{name}" for name in wanted}
    beside = {name for name in members if not name.startswith(("src/", "docs/"))}
    assert beside == READMES | TO_BUILD
    assert {name for name in members if name.startswith("docs/")} == {
        name for name in files() if name.startswith("docs/")
    }


def test_a_wheel_built_from_the_source_distribution_is_the_same(sdist, wheel, tmp_path):
    def contents(path):
        with zipfile.ZipFile(path) as archive:
            return {info.filename: info.CRC for info in archive.infolist()}

    assert contents(build_wheel(sdist, tmp_path)) == contents(wheel)


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


def test_the_installed_package_says_its_version_and_its_names(site):
    done = python(site, "import runpy; sys.argv[1:] = ['--version']; runpy.run_module('glorext', run_name='__main__')")
    assert (done.returncode, done.stdout) == (0, f"glorext {version()}\n"), done.stderr
    done = python(site, "import glorext; print(glorext.__file__, glorext.__version__, *dir(glorext), *sys.modules)")
    place, told, *words = done.stdout.split()
    assert (place, told) == (str(site / "glorext" / "__init__.py"), version())
    assert words[:8] == ["__version__", "create", "deploy", "hub", "load", "models", "runtime", "train"]
    assert not {"mindspore", "numpy"} & set(words[8:])
    done = python(site, "import glorext; print(glorext.models.__name__, glorext.create.__module__)")
    assert done.stdout.split() == ["glorext.models", "glorext.models.specs"], done.stderr


def version():
    """As src/glorext/__init__.py, the one place, has it."""
    return re.search(r'__version__ = "(.+)"', (ROOT / "src/glorext/__init__.py").read_text())[1]


def test_the_version_stands_once(wheel, sdist):
    assert f"-{version()}-" in wheel.name and sdist.name == f"glorext-{version()}.tar.gz"
    again = re.compile(rf"version[\W_]{{1,6}}{re.escape(version())}\b")
    code = [name for name in files() if name.endswith((".py", ".toml", ".cfg", ".in", "Makefile"))]
    found = [name for name in code if again.search((ROOT / name).read_text(encoding="utf-8"))]
    assert found == ["src/glorext/__init__.py"]


alone = pytest.mark.skipif(official_client() is not None, reason="the official client is installed here")


@alone
def test_mindspore_hub_is_ours_when_alone(site):
    done = python(site, "import mindspore_hub; print(mindspore_hub.__file__, callable(mindspore_hub.load))")
    assert done.stdout.split() == [str(site / "mindspore_hub.py"), "True"], done.stderr


def doctor(site, paths):
    """What `glorext doctor` says of `import mindspore_hub` where these folders come first on the path."""
    code = f"sys.path[:0] = {paths!r}; sys.argv[1:] = ['doctor', '--json']"
    done = python(site, f"{code}; import runpy; runpy.run_module('glorext', run_name='__main__')")
    return next(row for row in json.loads(done.stdout)["findings"] if row["name"] == "mindspore_hub")


@pytest.mark.parametrize("place", ["earlier", "beside", "later"])
def test_an_installed_official_package_wins_and_the_doctor_says_so(site, tmp_path, place):
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    shutil.copy(site / "mindspore_hub.py", own)
    folder = (own if place == "beside" else other) / "mindspore_hub"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("from .part import official\n")
    (folder / "part.py").write_text("official = True\n")
    paths = [str(path) for path in ((other, own) if place == "earlier" else (own, other))]
    code = f"sys.path[:0] = {paths!r}; import mindspore_hub; print(mindspore_hub.__file__, mindspore_hub.official)"
    done = python(site, code)
    assert done.stdout.split() == [str(folder / "__init__.py"), "True"], done.stderr
    row = doctor(site, paths)
    assert row["state"] == "ok" and row["found"].startswith(f"the official client, {folder / '__init__.py'};")


@alone
def test_the_doctor_says_that_our_module_is_taken_or_another_that_is_no_package(site, tmp_path):
    assert doctor(site, [])["found"] == f"glorext, {site / 'mindspore_hub.py'}"
    # A working folder of that name is no package.
    (tmp_path / "mindspore_hub").mkdir()
    assert doctor(site, [str(tmp_path)])["found"] == f"glorext, {site / 'mindspore_hub.py'}"
    (tmp_path / "mindspore_hub.py").write_text("load = None\n")
    found = doctor(site, [str(tmp_path)])["found"]
    assert found == f"neither glorext nor the official client, {tmp_path / 'mindspore_hub.py'}"


def make(checkout, *words, **environment):
    return subprocess.run(
        ["make", *words], cwd=checkout, capture_output=True, text=True, env={**os.environ, **environment}
    )


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@needs_make
@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_syntax_newer_than_the_oldest_python_is_found(tmp_path):
    # OLDEST is whatever runs this test: the syntax has to be refused by 3.11 and 3.12 as well.
    words = ["--old-file=install", "syntax", f"OLDEST={sys.executable}"]
    folder = copy_to(tmp_path)
    done = make(folder, *words)
    assert done.returncode and "git lists no Python files" in done.stderr
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    assert make(folder, *words).returncode == 0
    (folder / "deploy" / "new.py").write_text("type Pair = tuple[int, int]\n")
    done = make(folder, *words)
    assert done.returncode and "SyntaxError" in done.stderr and "Pair" in done.stderr


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
def test_another_mindspore_has_an_environment_that_differs_in_it_alone(checkout):
    done = make(checkout, "install", "MINDSPORE=2.6.0", f"PYTHON={sys.executable}")
    assert done.returncode and "MindSpore from 2.7.1 to 2.10" in done.stderr and "2.6.0" in done.stderr
    # 2.9.0 has wheels for each Python that may run this; without an index it ends when its pins are written.
    words = ["MINDSPORE=2.9.0", f"PYTHON={sys.executable}"]
    done = make(checkout, "install", *words, PIP_NO_INDEX="1", PIP_FIND_LINKS="", PIP_CONFIG_FILE=os.devnull)
    assert done.returncode and not (checkout / ".venv-2.9.0" / ".pinned").exists()
    ours = (checkout / "requirements.txt").read_text().splitlines()
    theirs = (checkout / ".venv-2.9.0" / "requirements.txt").read_text().splitlines()
    assert [pair for pair in zip(ours, theirs, strict=True) if len(set(pair)) > 1] == [
        ("mindspore==2.10.0", "mindspore==2.9.0")
    ]
    assert make(checkout, "clean").returncode == 0 and not (checkout / ".venv-2.9.0").exists()


@needs_make
def test_no_compiler_is_one_clear_line(checkout, tmp_path):
    # A PATH with the few programs the rule itself needs, and neither a compiler nor apt-get.
    for program in ("sh", "id", "printf", "mkdir", "touch", "find", "make"):
        (tmp_path / program).symlink_to(shutil.which(program))
    done = make(checkout, ".venv/.system", PATH=str(tmp_path))
    told = [line for line in done.stderr.splitlines() if line.startswith("glorext:")]
    assert done.returncode and len(told) == 1 and "apt-get install g++ cmake" in told[0], done.stderr
