"""The cache as users know it, models to take along, the search for words, pre-releases and progress."""

import json
import os
import shutil
import time
from dataclasses import replace

import pytest

from glorext import hub
from glorext.hub.cache import Cache
from glorext.hub.cached import entries
from glorext.hub.pack import pack
from glorext.hub.publish import publish
from glorext.hub.verify import verify
from glorext.models import create, save_checkpoint
from glorext.models.trained import write_run
from glorext.runtime import NotFoundError, UsageError
from glorext.runtime.cli import main

from .fault_server import cut
from .samples import ARGUMENTS, DETAILS, identity

CKPT = "tiny-digits.ckpt"


@pytest.fixture
def newer(run, registry, tmp_path):
    """The registry with 1.1.0, which has other weights, and 2.0.0-rc.1 with the same as 1.0.0."""
    other = tmp_path / "other"
    shutil.copytree(run, other)
    save_checkpoint(create("resnext50", num_classes=10, **ARGUMENTS), other / "best.ckpt")
    (other / "eval.json").unlink()
    write_run(other, identity(other), None)
    for source, version in ((other, "1.1.0"), (run, "2.0.0-rc.1")):
        pack(source, tmp_path / version, replace(DETAILS, version=version))
        publish(tmp_path / version, registry)
    return registry


def files_size(cache):
    """Bytes on the disk of all files below the cache, each once."""
    status = [path.stat() for path in cache.rglob("*") if path.is_file()]
    return sum({(one.st_dev, one.st_ino): one.st_blocks * 512 for one in status}.values())


def test_removing_frees_what_it_says_and_no_other_packages_files(newer, server, url, cache, capsys):
    for version in ("1.0.0", "1.1.0", "2.0.0-rc.1"):
        hub.resolve(f"tiny-digits@{version}")
    assert main(["cache", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in listed["held"]] == [f"tiny-digits@{v}" for v in ("1.0.0", "1.1.0", "2.0.0-rc.1")]
    assert listed["size"] == files_size(cache)
    size = (newer / "packages/tiny-digits/1.0.0" / CKPT).stat().st_size
    alone = [row["freed_when_removed"] for row in listed["held"]]
    # the weights of 1.0.0 are those of 2.0.0-rc.1, too
    assert alone[1] > size > alone[0]
    for name, expected in zip(("tiny-digits@1.1.0", "tiny-digits@1.0.0"), alone[1::-1]):
        before = files_size(cache)
        assert main(["cache", "remove", name, "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said == {"removed": [name], "freed": expected} and before - files_size(cache) == expected
    before = len(server.requests)
    hub.resolve("tiny-digits@2.0.0-rc.1")
    assert len(server.requests) == before
    assert main(["cache", "remove", listed["held"][2]["sha256"][:12]]) == 0
    assert not entries(Cache()) and not list(cache.glob("blobs/*"))
    hub.resolve("tiny-digits@1.0.0")


def test_what_is_not_in_the_cache_is_named_and_nothing_goes(server, url, cache, capsys):
    hub.resolve("tiny-digits")
    assert main(["cache", "remove", "tiny-digits", "absent"]) == 1
    assert "NotFoundError: expected absent in the cache" in capsys.readouterr().err
    assert len(entries(Cache())) == 1
    for words in (["remove"], ["list", "x"], ["verify", "--old-versions"]):
        assert main(["cache", *words]) == 2


def test_pruning_leaves_what_packages_need(newer, server, url, cache, capsys):
    hub.resolve("tiny-digits@1.0.0")
    hub.resolve("tiny-digits@1.1.0")
    (cache / "blobs" / ("0" * 64)).write_bytes(bytes(10_000))
    for name, age in (("young", 0), ("old", 100_000)):
        (cache / "partial" / name).write_bytes(bytes(10_000))
        os.utime(cache / "partial" / name, (time.time() - age,) * 2)
    before, kept = files_size(cache), sorted((cache / "indexes").iterdir())
    assert main(["cache", "prune", "--json"]) == 0
    # without a kept index nothing is loaded offline
    assert sorted((cache / "indexes").iterdir()) == kept
    said = json.loads(capsys.readouterr().out)
    assert said["removed"] == [] and said["freed"] == before - files_size(cache) >= 20_000
    assert [path.name for path in (cache / "partial").iterdir()] == ["young"]
    assert main(["cache", "prune", "--old-versions"]) == 0
    assert "removed: tiny-digits@1.0.0; 0." in capsys.readouterr().out
    assert [entry.title for entry in entries(Cache())] == ["tiny-digits@1.1.0"]
    assert main(["cache", "verify"]) == 0


def test_verifying_names_every_damaged_file(server, url, cache, capsys):
    folder = hub.resolve("tiny-digits").folder
    os.chmod(folder / "labels.txt", 0o644)
    with open(folder / "labels.txt", "r+b") as file:
        file.write(b"X")
    assert main(["cache", "verify", "--json"]) == 1
    bad = json.loads(capsys.readouterr().out)
    # one file, which has two names
    assert str(folder / "labels.txt") in bad and len(bad) == 2


def test_a_package_is_taken_along_whole(registry, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GLOREXT_REGISTRIES", str(registry))
    assert main(["download", "tiny-digits", "--to", str(tmp_path / "mine"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == "1.0.0"
    assert verify(tmp_path / "mine")[0].name == "tiny-digits"
    assert os.access(tmp_path / "mine" / CKPT, os.W_OK)
    assert main(["download", "tiny-digits", "--to", str(tmp_path / "mine")]) == 2
    assert main(["download", "absent", "--to", str(tmp_path / "absent")]) == 1
    assert not (tmp_path / "absent").exists()


def test_taking_along_imports_no_mindspore(registry, tmp_path, python):
    script = (
        "import sys; sys.modules['mindspore'] = None; from glorext.runtime.cli import main\n"
        "sys.exit(main(['download', 'tiny-digits', '--to', sys.argv[1], '--registry', sys.argv[2]]))"
    )
    status, _, err = python(script, tmp_path / "mine", registry)
    assert status == 0, err


def test_words_find_models(newer, capsys, monkeypatch):
    monkeypatch.setenv("GLOREXT_REGISTRIES", str(newer))
    assert main(["search", "RESNEXT50", "tiny", "--json"]) == 0
    assert {row["name"] for row in json.loads(capsys.readouterr().out)} == {"tiny-digits"}
    assert main(["search", "glore"]) == 0
    assert "built in" in capsys.readouterr().out
    assert main(["search", "tiny", "absent"]) == 1
    assert "expected a model with 'tiny' and 'absent'" in capsys.readouterr().err


def test_a_prerelease_is_given_to_who_asks_for_it_only(newer, monkeypatch):
    monkeypatch.setenv("GLOREXT_REGISTRIES", str(newer))
    for name in ("tiny-digits", "tiny-digits@latest", "tiny-digits@1"):
        assert hub.resolve(name).version == hub.info(name)["version"] == "1.1.0"
    assert hub.resolve("tiny-digits@2.0.0-rc.1").version == "2.0.0-rc.1"
    with pytest.raises(NotFoundError, match=r"2\.0\.0-rc\.1"):
        hub.resolve("tiny-digits@2")
    assert "tiny-digits" in hub.hub_list("2.0.0-rc.1") and "tiny-digits" not in hub.hub_list("2.0.0")


ORDER = [
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
]


def test_versions_have_the_order_of_semantic_versioning():
    order = [*ORDER, "1.0.0", "1.0.1-0", "1.0.1"]
    assert sorted([*order[1::2], *order[::2]], key=hub.manifest.version_key) == order
    assert all(hub.manifest.check_version(version) for version in order)
    for wrong in ("1.0.0-", "1.0.0-01", "1.0.0-RC", "1.0.0-a..b", "1.0.0+build", "1.0-rc", "1.0.0-" + "a" * 60):
        with pytest.raises(UsageError):
            hub.manifest.check_version(wrong)


def test_progress_is_told_to_python(server, url, registry, capsys):
    size, calls = (registry / "packages/tiny-digits/1.0.0" / CKPT).stat().st_size, []
    with hub.progress(lambda *call: calls.append(call)):
        hub.resolve("tiny-digits")
    of_weights = [call[1:] for call in calls if call[0].endswith(CKPT)]
    assert of_weights == sorted(of_weights) and of_weights[-1] == (size, size)
    assert capsys.readouterr().err == ""


def test_who_is_told_of_progress_may_end_it(server, url, cache):
    class Enough(Exception):
        pass

    def stop(title, done, total):
        if title.endswith(CKPT):
            raise Enough

    with pytest.raises(Enough), hub.progress(stop):
        hub.resolve("tiny-digits")
    assert [path.stat().st_size > 0 for path in cache.glob("partial/*")] == [True]
    server.faults[CKPT] = [cut(10)]
    assert hub.resolve("tiny-digits").version == "1.0.0"


@pytest.mark.parametrize("name, meant", [("tiny-digit", "tiny-digits"), ("resnxt50", "resnext50"), ("absent", None)])
def test_a_name_with_a_wrong_letter_gets_a_suggestion(registry, monkeypatch, name, meant):
    monkeypatch.setenv("GLOREXT_REGISTRIES", str(registry))
    with pytest.raises(NotFoundError) as caught:
        hub.resolve(name)
    assert ("Did you mean" in str(caught.value)) == bool(meant)
    assert meant is None or f"Did you mean {meant}?" in str(caught.value)
