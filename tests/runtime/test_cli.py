"""The command `glorext`: its help, its exit statuses, and that it starts without MindSpore."""

import importlib
import subprocess
import sys
from types import SimpleNamespace

import pytest

from glorext.runtime import CheckpointError
from glorext.runtime.cli import COMMANDS, main

WANTED = [
    "demo",
    "train",
    "eval",
    "pack",
    "publish",
    "list",
    "verify",
    "export",
    "convert",
    "infer",
    "validate",
    "doctor",
]


def glorext(*words):
    return subprocess.run([sys.executable, "-m", "glorext.runtime.cli", *words], capture_output=True, text=True)


def test_every_wanted_command_is_there():
    assert set(WANTED) <= set(COMMANDS)


def test_help_imports_neither_mindspore_nor_numpy():
    probe = (
        "import sys; from glorext.runtime.cli import main; status = main(['--help']);"
        "heavy = [name for name in ('mindspore', 'numpy', 'jinja2', 'requests') if name in sys.modules];"
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_ends_with_an_example_and_needs_no_mindspore(name, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "mindspore", None)
    with pytest.raises(SystemExit) as caught:
        importlib.import_module(COMMANDS[name][0]).main(["--help"])
    assert caught.value.code == 0
    assert f"example:\n  glorext {name}" in capsys.readouterr().out


def test_wrong_usage_gives_status_2():
    assert glorext().returncode == 2
    done = glorext("trian")
    assert done.returncode == 2 and "glorext train" in done.stderr
    assert glorext("verify", "--no-such-flag").returncode == 2


def test_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("glorext 0.")


def test_errors_become_one_line_and_a_status(capsys, monkeypatch):
    error = CheckpointError(expected="a", found="b", where="c")
    module = SimpleNamespace(main=lambda argv: (_ for _ in ()).throw(error))
    monkeypatch.setitem(sys.modules, "broken", module)
    monkeypatch.setitem(COMMANDS, "broken", ("broken", ""))
    assert main(["broken"]) == 1
    assert capsys.readouterr().err == "glorext broken: CheckpointError: expected a, found b in c.\n"


def test_ctrl_c_gives_130(monkeypatch, capsys):
    module = SimpleNamespace(main=lambda argv: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setitem(sys.modules, "slow", module)
    monkeypatch.setitem(COMMANDS, "slow", ("slow", ""))
    assert main(["slow"]) == 130


def test_a_reader_that_stops_early_is_no_error():
    done = subprocess.run(
        [
            "bash",
            "-c",
            f"{sys.executable} -m glorext.runtime.cli doctor --json | head -c 1; echo; echo ${{PIPESTATUS[0]}}",
        ],
        capture_output=True,
        text=True,
    )
    assert done.stdout.split()[-1] == "0" and "Traceback" not in done.stderr
