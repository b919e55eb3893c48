"""Which versions of MindSpore glorext runs with, and what it does where they differ."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.specifiers import SpecifierSet

from glorext.runtime import SetupError, device, mindspore_versions
from glorext.runtime.mindspore_versions import PROTOBUF, RELEASES, SUPPORTED, choose_protobuf, no_wheel, release_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def installed(monkeypatch):
    """Takes a version of MindSpore for the one that is installed, in a process that has not imported it."""
    monkeypatch.delitem(sys.modules, "mindspore", raising=False)
    monkeypatch.delenv(PROTOBUF, raising=False)
    return lambda found: monkeypatch.setattr(mindspore_versions, "installed", lambda: found)


def test_setup_asks_for_the_versions_of_the_table():
    assert f'"mindspore{SUPPORTED}"' in (ROOT / "setup.py").read_text()
    allowed = SpecifierSet(SUPPORTED)
    for row in RELEASES:
        assert row.mindspore in allowed and row.cann and row.python[0] < row.python[1]
    for found in ("2.7.0", "2.11.0"):
        assert found not in allowed and release_of(found) is None
    assert release_of("2.7.1.post1").cann == ("8.3",) and release_of("2.10.0").mindspore == "2.10"


@pytest.mark.parametrize("found, wanted", [("2.7.1", "python"), ("2.9.0", "python"), ("2.10.0", None), (None, None)])
def test_protobuf_takes_the_implementation_that_mindspore_is_generated_for(installed, found, wanted):
    installed(found)
    choose_protobuf()
    assert os.environ.get(PROTOBUF) == wanted


def test_what_the_user_chose_for_protobuf_stays(installed, monkeypatch):
    installed("2.7.1")
    monkeypatch.setenv(PROTOBUF, "upb")
    choose_protobuf()
    assert os.environ[PROTOBUF] == "upb"


@pytest.mark.parametrize(
    "found, kind, fits", [("2.7.1", "upb", False), ("2.7.1", "python", True), ("2.10.0", "upb", True)]
)
def test_a_protobuf_that_mindspore_cannot_take_is_named_before_it_is_imported(
    installed, monkeypatch, found, kind, fits
):
    installed(found)
    chosen = SimpleNamespace(Type=lambda: kind)
    monkeypatch.setitem(sys.modules, "google.protobuf.internal.api_implementation", chosen)
    if fits:
        device.check_protobuf()
    else:
        with pytest.raises(SetupError, match=f"MindSpore 2.7.1.*{kind}.*{PROTOBUF}=python.*2.10"):
            device.prepare()


@pytest.mark.skipif(
    not getattr(release_of(mindspore_versions.installed() or ""), "old_protobuf", False),
    reason="this MindSpore takes any protobuf; the tests with MindSpore 2.7.1 run this",
)
def test_what_the_error_says_to_do_helps():
    program = "{}; import glorext.runtime as r, google.protobuf.message; {}; r.set_device('CPU')"
    late, early = program.format("pass", "import onnx"), program.format("import mindspore", "import onnx")
    environment = {key: value for key, value in os.environ.items() if key != PROTOBUF}

    def run(text, **more):
        return subprocess.run([sys.executable, "-c", text], env=environment | more, capture_output=True, text=True)

    assert "SetupError" in run(late).stderr
    assert run(early).returncode == run(late, **{PROTOBUF: "python"}).returncode == 0


def test_protobuf_is_imported_by_its_one_door():
    found = [
        str(path.relative_to(ROOT))
        for room in ("runtime", "models", "hub", "train", "deploy")
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("google.protobuf")
    ]
    assert set(found) == {"runtime/protobuf.py"}


@pytest.mark.parametrize(
    "mindspore, python, told",
    [
        ("2.7.1", (3, 11), None),
        ("2.7.1", (3, 12), "3.10 to 3.11, not for 3.12"),
        ("2.7.2", (3, 12), None),
        ("2.10.0", (3, 10), None),
        ("2.6.0", (3, 11), "2.7.1 to 2.10"),
        ("2.9", (3, 11), "found 2.9"),
    ],
)
def test_a_python_without_a_wheel_is_told_which_one_has_it(mindspore, python, told):
    found = no_wheel(mindspore, python)
    assert (found is None) == (told is None) and (told or "") in (found or "")
