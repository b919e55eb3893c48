"""Every hostile registry of the table through every command: a named error in time, or a sound result; nothing else."""

import os
import re
import shutil
import sys
import time
import types

import pytest

from glorext import hub
from glorext.runtime import GlorextError, cli
from glorext.runtime.log import log_to_stderr

from .hostile_table import LOADS, PACKAGE, TABLE

SECONDS = 1.0
STEERS = re.compile("[^\n -~]")


@pytest.fixture
def torch(monkeypatch):
    """PyTorch as if installed: whoever calls it has read a pickle."""
    module = types.ModuleType("torch")
    module.load = lambda *args, **kwargs: pytest.fail("a pickle was read")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", module)


def commands(registry, package, tmp_path):
    """Each command on the hostile registry, as a call that gives its exit status."""
    said = ["--registry", str(registry)]

    def load():
        try:
            hub.resolve("tiny-digits", registry).create()
        except GlorextError as error:
            print(error)
            return error.exit_status
        return 0

    return {
        "list": lambda: cli.main(["list", *said]),
        "list one": lambda: cli.main(["list", "tiny-digits", *said]),
        LOADS: load,
        "verify": lambda: cli.main(["verify", str(registry / PACKAGE)]),
        "publish": lambda: cli.main(["publish", str(registry / PACKAGE), "--to", str(tmp_path / "fresh")]),
        "publish into": lambda: cli.main(["publish", str(package), "--to", str(registry)]),
        "site": lambda: cli.main(["site", str(registry), str(tmp_path / "site")]),
        "reindex": lambda: cli.main(["reindex", str(shutil.copytree(registry, tmp_path / "copy"))]),
    }


@pytest.mark.parametrize("hostile", TABLE, ids=lambda hostile: hostile.name)
def test_every_command_refuses_in_time_and_in_plain_text(hostile, registry, package, tmp_path, capsys, torch):
    log_to_stderr()
    hostile.put(registry)
    for name, command in commands(registry, package, tmp_path).items():
        start = time.process_time()
        status = command()
        seconds = time.process_time() - start
        out, err = capsys.readouterr()
        assert not STEERS.search(out + err), (name, out, err)
        assert "Traceback" not in err and status in (0, 1, 2), (name, err)
        assert status or name not in hostile.refusing, f"{name} took it"
        assert seconds < SECONDS, (name, seconds)
        if status and name == "site":
            assert not (tmp_path / "site").exists()
        if status and name == "publish":
            assert not (tmp_path / "fresh/index.json").exists()
    assert not os.path.exists("/tmp/glorext-was-run") and not (registry.parent / "x").exists()


@pytest.mark.parametrize(
    "hostile", [row for row in TABLE if row.file == "index.json" and row.refusing], ids=lambda row: row.name
)
def test_a_mirror_with_a_hostile_index_is_passed_over(hostile, registry, tmp_path):
    mirror = shutil.copytree(registry, tmp_path / "mirror")
    hostile.put(mirror)
    found = hub.resolve("tiny-digits", [f"mirror:{mirror}", str(registry)])
    assert found.source == str(registry)
