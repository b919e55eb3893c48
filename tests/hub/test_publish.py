"""Publishing: whole or not at all, whoever dies or publishes at the same time; a published version never changes."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from glorext import hub
from glorext.hub.pack import pack
from glorext.hub.publish import publish
from glorext.hub.reindex import reindex
from glorext.runtime import NotFoundError, PackageError, RegistryError, UsageError, cli, json_bytes, write_json

from .samples import DETAILS


def test_publishing_again_changes_nothing_and_other_content_is_refused(package, registry, run, tmp_path):
    before = {path: path.read_bytes() for path in registry.rglob("*") if path.is_file() and path.name != ".lock"}
    assert publish(package, registry) == ("tiny-digits@1.0.0", False)
    pack(run, tmp_path / "other", replace(DETAILS, summary="another text"))
    with pytest.raises(RegistryError, match="other content"):
        publish(tmp_path / "other", registry)
    assert {
        path: path.read_bytes() for path in registry.rglob("*") if path.is_file() and path.name != ".lock"
    } == before


def test_keys_of_a_newer_index_are_passed_over_and_kept(registry, run, tmp_path):
    index = json.loads((registry / "index.json").read_bytes())
    release = index["packages"]["tiny-digits"]["1.0.0"]
    index["generated"] = {"by": ["somebody"]}
    release |= {"yanked": None, "path": "../../etc", "url": "file:///etc/passwd"}
    release["manifest"]["sha512"] = "0" * 128
    (registry / "index.json").write_bytes(json_bytes(index))
    assert hub.resolve("tiny-digits", registry=registry).folder == registry / "packages/tiny-digits/1.0.0"
    pack(run, tmp_path / "newer", replace(DETAILS, version="1.1.0"))
    publish(tmp_path / "newer", registry)
    found = json.loads((registry / "index.json").read_bytes())
    assert found["packages"]["tiny-digits"].pop("1.1.0")["manifest"]["size"] > 0
    assert found == index


def test_a_broken_package_is_not_published(package, tmp_path):
    (package / "labels.txt").unlink()
    with pytest.raises(PackageError):
        publish(package, tmp_path / "fresh")
    assert not (tmp_path / "fresh" / "index.json").exists()


def test_what_a_killed_publisher_left_is_taken_over(package, registry):
    """It died before it wrote the index that names its package."""
    write_json(registry / "index.json", {"schema": "glorext.registry/1", "packages": {}})
    (registry / "packages/tiny-digits/1.0.0/eval.json").unlink()
    assert publish(package, registry) == ("tiny-digits@1.0.0", True)
    assert hub.resolve("tiny-digits", registry=registry).version == "1.0.0"


def contents(registry):
    return {path: path.read_bytes() for path in registry.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.parametrize("fault", ["lost", "cut"])
def test_a_lost_or_cut_index_is_made_again_on_request_only(registry, run, tmp_path, fault, capsys):
    index = registry / "index.json"
    data = index.read_bytes()
    index.unlink() if fault == "lost" else index.write_bytes(data[:-20])
    pack(run, tmp_path / "newer", replace(DETAILS, version="1.1.0"))
    before = contents(registry)
    for call in (lambda: publish(tmp_path / "newer", registry), lambda: hub.resolve("tiny-digits", registry=registry)):
        with pytest.raises(RegistryError, match="`glorext reindex FOLDER` makes the index again"):
            call()
    assert contents(registry) == before
    assert cli.main(["reindex", str(registry)]) == 0
    assert "lists 1 packages" in capsys.readouterr().out
    assert index.read_bytes() == data
    publish(tmp_path / "newer", registry)
    assert hub.resolve("tiny-digits", registry=registry).version == "1.1.0"


def test_reindex_lists_whole_packages_only_and_no_other_than_before(registry, run, tmp_path, capsys):
    index, folder = registry / "index.json", registry / "packages/tiny-digits"
    value = json.loads(index.read_bytes())
    value["packages"]["tiny-digits"]["1.0.0"]["of a newer reader"] = 1
    value["packages"]["tiny-digits"]["1.2.0"] = value["packages"]["tiny-digits"]["1.0.0"]
    write_json(index, value)
    assert reindex(registry) == (["tiny-digits@1.0.0"], ["tiny-digits@1.2.0"])
    assert json.loads(index.read_bytes())["packages"]["tiny-digits"]["1.0.0"]["of a newer reader"] == 1
    pack(run, tmp_path / "other", replace(DETAILS, summary="another text"))
    before = index.read_bytes()
    for place, words in (
        (None, "the file eval.json"),
        ("1.0.0", "as the index"),
        ("7.0.0", "expected the package tiny-digits@7.0.0"),
    ):
        if place is None:
            (folder / "1.0.0/eval.json").unlink()
        else:
            shutil.rmtree(folder / place, ignore_errors=True)
            shutil.copytree(tmp_path / "other", folder / place)
        with pytest.raises(RegistryError, match=f"packages are not whole: .*{words}.*out of the registry"):
            reindex(registry)
        assert index.read_bytes() == before
    for place in (tmp_path / "nothing", "http://127.0.0.1/registry"):
        with pytest.raises(UsageError, match="a registry folder with packages"):
            reindex(place)


def test_publishers_at_once_lose_nothing(run, tmp_path):
    names = [f"tiny-{letter}" for letter in "abcdef"]
    for name in names:
        pack(run, tmp_path / name, replace(DETAILS, name=name))
    script = "import sys; from glorext.hub.publish import publish; publish(sys.argv[1], sys.argv[2])"
    publishers = [
        subprocess.Popen([sys.executable, "-c", script, tmp_path / name, tmp_path / "shared"]) for name in names
    ]
    assert [publisher.wait(60) for publisher in publishers] == [0] * 6
    assert sorted(json.loads((tmp_path / "shared/index.json").read_text())["packages"]) == names
    for name in names:
        assert hub.resolve(name, registry=tmp_path / "shared").name == name


# A child is killed after its n-th call that changes files; its parent looks at what is left, and publishes again.
KILLED = """
import itertools, os, shutil, signal, sys
from glorext.hub.publish import publish
from glorext.hub.registry import FolderRegistry
first, second, base, root = sys.argv[1:]
publish(first, base)
for count in itertools.count(1):
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(base, root)
    child = os.fork()
    if child == 0:
        left = count
        def hook(frame, event, function):
            global left
            if event != "c_return" or function.__name__ not in (
                    "open", "write", "sendfile", "replace", "rename", "mkdir", "unlink", "rmdir"):
                return
            # of the many openings only those for writing change anything
            if function is not open or "w" in frame.f_locals.get("mode", "") or frame.f_code.co_name == "copyfile":
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.setprofile(hook)
        publish(second, root)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
    registry = FolderRegistry(root)
    for version, release in registry.index()["tiny-digits"].items():
        registry.fetch("tiny-digits", version, release)
    if count % 4 == 0:
        publish(second, root)
        assert sorted(os.listdir(root)) == [".lock", "index.json", "packages"], os.listdir(root)
        assert sorted(os.listdir(root + "/packages/tiny-digits")) == ["1.0.0", "1.1.0"]
        assert sorted(registry.index()["tiny-digits"]) == ["1.0.0", "1.1.0"]
print(count - 1)
"""


def test_publisher_killed_after_any_file_operation_leaves_a_sound_registry(package, run, tmp_path, python):
    pack(run, tmp_path / "second", replace(DETAILS, version="1.1.0"))
    code, out, err = python(KILLED, package, tmp_path / "second", tmp_path / "base", tmp_path / "registry")
    assert code == 0, err
    assert int(out) > 30, "the publisher was killed hardly ever"
    assert hub.resolve("tiny-digits", registry=tmp_path / "registry").version == "1.1.0"


def test_of_two_publishers_of_one_version_one_is_refused(package, run, tmp_path):
    pack(run, tmp_path / "other", replace(DETAILS, summary="another text"))
    publishers = [
        subprocess.Popen(
            [sys.executable, "-m", "glorext.runtime.cli", "publish", folder, "--to", tmp_path / "shared"],
            stderr=subprocess.PIPE,
            text=True,
        )
        for folder in (package, tmp_path / "other")
    ]
    errors = [publisher.communicate(timeout=60)[1] for publisher in publishers]
    assert sorted(publisher.returncode for publisher in publishers) == [0, 1]
    assert "with other content" in "".join(errors)
    assert hub.resolve("tiny-digits", registry=tmp_path / "shared").version == "1.0.0"


@pytest.mark.parametrize("address", ["http://127.0.0.1/registry", "https://example.com", "s3://bucket/registry"])
def test_an_address_is_no_folder_to_publish_to(package, address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(UsageError):
        publish(package, address)
    assert sorted(os.listdir(tmp_path)) == before


def test_a_folder_that_cannot_be_written_is_named(package, tmp_path, small_disk):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", "/proc/registry", small_disk(1 << 20, "ro")):
        with pytest.raises(RegistryError, match="expected a folder that can be written"):
            publish(package, folder)


def test_the_line_that_loads_can_be_pasted_wherever_the_registry_lies(package, tmp_path, capsys):
    place = tmp_path / "our models; rm -r *"
    assert cli.main(["publish", str(package), "--to", str(place)]) == 0
    line = capsys.readouterr().out.splitlines()[-1].removeprefix("load it: ")
    first, *rest = shlex.split(line)
    assert first == f"GLOREXT_REGISTRIES={place}" and rest[:2] == ["python", "-c"]


def test_a_name_with_prereleases_only_says_how_one_is_had(run, tmp_path):
    pack(run, tmp_path / "early", replace(DETAILS, version="1.0.0-rc.1"))
    publish(tmp_path / "early", tmp_path / "registry")
    with pytest.raises(NotFoundError, match=r"only 1.0.0-rc.1 \(pre-release\); tiny-digits@VERSION gives one"):
        hub.resolve("tiny-digits", registry=tmp_path / "registry")
    assert hub.resolve("tiny-digits@1.0.0-rc.1", registry=tmp_path / "registry").version == "1.0.0-rc.1"
