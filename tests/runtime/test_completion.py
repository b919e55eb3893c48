"""What a shell is told when it asks how the words so far can go on."""

import os
import subprocess
import sys

import pytest

from glorext.runtime import SetupError, completion
from glorext.runtime.cli import COMMANDS


def completions(line, folder):
    """The words that bash would show for `line`, asked for as argcomplete's shell function does."""
    out = folder / "completions"
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line.encode())), "_ARGCOMPLETE_IFS": "\n"}
    environment = os.environ | asked | {"_ARGCOMPLETE_STDOUT_FILENAME": str(out), "_ARGCOMPLETE_SUPPRESS_SPACE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "glorext"], env=environment, cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and not done.stdout, done.stderr
    return sorted(word.strip() for word in out.read_text().split("\n"))


def test_commands_are_completed(tmp_path):
    assert completions("glorext v", tmp_path) == ["validate", "verify"]
    assert set(COMMANDS) <= set(completions("glorext ", tmp_path))
    assert completions("glorext --ver", tmp_path) == ["--version"]


@pytest.mark.parametrize(
    "line, shown",
    [
        ("glorext verify --j", ["--json"]),
        ("glorext train --fre", ["--freeze_epochs"]),
        ("glorext validate x --backend li", ["lite", "lite-cpp"]),
        ("glorext infer ba", ["basalt.mindir"]),
        ("glorext lr --st", ["--steps_per_epoch"]),
        ("glorext launch --devices 2 tr", ["train"]),
    ],
)
def test_flags_choices_and_files_are_completed(line, shown, tmp_path):
    (tmp_path / "basalt.mindir").touch()
    assert completions(line, tmp_path) == shown


def test_without_argcomplete_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    monkeypatch.setenv("COMP_LINE", "glorext ")
    with pytest.raises(SetupError, match=r"pip install 'glorext\[completion\]'"):
        completion.command_being_written(COMMANDS)
