"""Which version a name asks for: pins, the lock file, what this machine saw before, what a publisher took back."""

import json
import re
import shlex
import shutil
from dataclasses import replace

import pytest

from glorext import hub
from glorext.hub.find import IDENTITY, find_model
from glorext.hub.listing import offers
from glorext.hub.lock import lock
from glorext.hub.manifest import read_manifest
from glorext.hub.notices import set_notice
from glorext.hub.pack import pack
from glorext.hub.publish import publish
from glorext.hub.reindex import reindex
from glorext.runtime import DataError, IntegrityError, NotFoundError, RegistryError, UsageError, cli, write_json

from .fault_server import FaultServer
from .samples import DETAILS

DEAD = "http://127.0.0.1:9"


@pytest.fixture
def versions(run, registry, tmp_path):
    """The registry with 1.0.0, 1.2.0, 1.10.0 and 2.0.0."""
    for version in ("1.2.0", "1.10.0", "2.0.0"):
        pack(run, tmp_path / version, replace(DETAILS, version=version))
        publish(tmp_path / version, registry)
    return registry


def digest_of(registry, version="1.0.0"):
    return read_manifest(registry / f"packages/tiny-digits/{version}").digest()


def test_versions_can_be_left_open(versions, monkeypatch):
    monkeypatch.setenv("GLOREXT_REGISTRIES", str(versions))
    for pin, version in {"": "2.0.0", "@latest": "2.0.0", "@1": "1.10.0", "@1.2": "1.2.0", "@1.10.0": "1.10.0"}.items():
        assert hub.resolve(f"tiny-digits{pin}").version == hub.info(f"tiny-digits{pin}")["version"] == version
    for pin in ("@3", "@1.1", "@0"):
        for ask in (hub.resolve, hub.info):
            with pytest.raises(NotFoundError):
                ask(f"tiny-digits{pin}")
    assert find_model("resnext50@1", wanted=IDENTITY).source == "built in"


def test_a_digest_names_one_package_wherever_it_is(versions, run, tmp_path):
    pack(run, tmp_path / "theirs", replace(DETAILS, summary="by somebody else"))
    publish(tmp_path / "theirs", tmp_path / "public")
    name = f"tiny-digits@sha256:{digest_of(versions)}"
    for searched in ([versions], [tmp_path / "public", versions], [tmp_path / "not mounted", versions]):
        assert hub.resolve(name, registry=searched).manifest_sha256 == digest_of(versions)
        assert hub.info(name, registry=searched)["version"] == "1.0.0"
    with pytest.raises(NotFoundError, match="only 1.0.0"):
        hub.resolve(name, registry=tmp_path / "public")
    with pytest.raises(RegistryError, match="not mounted"):
        hub.resolve(name, registry=tmp_path / "not mounted")


def test_list_shows_the_digests(versions, capsys, monkeypatch):
    monkeypatch.setenv("GLOREXT_REGISTRIES", str(versions))
    assert cli.main(["list", "--digest"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[-1] == "sha256" and lines[4].split()[-1] == digest_of(versions)
    assert {row["version"]: row["sha256"] for row in offers(versions)}["1.2.0"] == digest_of(versions, "1.2.0")


@pytest.mark.parametrize("served", [False, True])
def test_a_version_that_changed_since_it_was_seen_is_refused(registry, run, tmp_path, served, quick):
    server = FaultServer(registry)
    where = server.url if served else str(registry)
    before = hub.resolve("tiny-digits", registry=where).manifest_sha256
    pack(run, tmp_path / "other", replace(DETAILS, summary="by somebody else"))
    publish(tmp_path / "other", tmp_path / "fresh")
    shutil.rmtree(registry)
    shutil.copytree(tmp_path / "fresh", registry)
    for name in ("tiny-digits", "tiny-digits@1.0.0"):
        with pytest.raises(IntegrityError, match=f"manifest sha256 {before}, as it was when this machine last saw it"):
            hub.resolve(name, registry=where, force_reload=True)
    # the same version of another registry was never seen, and a publisher knows what it has replaced
    assert hub.resolve("tiny-digits", registry=tmp_path / "fresh").summary == "by somebody else"
    if not served:
        shutil.rmtree(registry)
        publish(tmp_path / "other", registry)
        assert hub.resolve("tiny-digits", registry=registry).summary == "by somebody else"
    server.close()


def test_a_lock_gives_exactly_what_it_says(versions, run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GLOREXT_REGISTRIES", str(versions))
    path = tmp_path / "glorext.lock"
    assert cli.main(["lock", "tiny-digits@1", "resnext50", "--out", str(path)]) == 0
    assert f"tiny-digits@1.10.0 {digest_of(versions, '1.10.0')}" in capsys.readouterr().out
    monkeypatch.setenv("GLOREXT_LOCK", str(path))
    for name in ("tiny-digits", "tiny-digits@latest", "tiny-digits@1.10.0", "tiny-digits@1"):
        assert hub.resolve(name).version == hub.info(name)["version"] == "1.10.0"
    assert find_model("resnext50", wanted=IDENTITY).source == "built in"
    pack(run, tmp_path / "unlocked", replace(DETAILS, name="unlocked"))
    publish(tmp_path / "unlocked", versions)
    for name, words in (
        ("tiny-digits@2.0.0", "expected tiny-digits@1.10.0"),
        ("unlocked", "unlocked in the lock file"),
    ):
        for ask in (hub.resolve, hub.info):
            with pytest.raises(UsageError, match=words):
                ask(name)
    assert hub.resolve(versions / "packages/unlocked/1.0.0").name == "unlocked", "a path is no name"
    lock(["unlocked"], path)
    assert hub.resolve("unlocked").version == "1.0.0" and hub.resolve("tiny-digits").version == "1.10.0"
    lock(["tiny-digits"], path)
    assert hub.resolve("tiny-digits").version == "2.0.0"
    other = json.loads(path.read_bytes())
    other["models"]["tiny-digits"]["manifest_sha256"] = "0" * 64
    write_json(path, other)
    with pytest.raises(NotFoundError, match="only 1.0.0, 1.2.0, 1.10.0, 2.0.0"):
        hub.resolve("tiny-digits")
    path.write_text("{}")
    with pytest.raises(DataError, match="schema"):
        hub.resolve("tiny-digits")
    path.unlink()
    with pytest.raises(DataError, match="glorext.lock.*`glorext lock NAME` writes it"):
        hub.resolve("tiny-digits")


def test_a_yanked_version_is_passed_over_and_says_why(versions, caplog, capsys, monkeypatch, quick):
    monkeypatch.setenv("GLOREXT_REGISTRIES", str(versions))
    words = ["--reason", "labels in wrong order", "--registry", str(versions)]
    assert cli.main(["yank", "tiny-digits@2.0.0", *words]) == 0
    assert "tiny-digits@2.0.0 is yanked" in capsys.readouterr().out
    assert hub.resolve("tiny-digits").version == hub.info("tiny-digits")["version"] == "1.10.0"
    assert "yanked" not in caplog.text
    for name in ("tiny-digits@2.0.0", f"tiny-digits@sha256:{digest_of(versions, '2.0.0')}"):
        caplog.clear()
        assert hub.resolve(name).version == hub.info(name)["version"] == "2.0.0"
        assert "tiny-digits@2.0.0 is yanked by its publisher: labels in wrong order" in caplog.text
    with pytest.raises(NotFoundError, match=r"2\.0\.0 \(yanked: labels in wrong order\)"):
        hub.resolve("tiny-digits@2")
    assert cli.main(["list"]) == 0
    assert "tiny-digits@2.0.0 (yanked)" in capsys.readouterr().out
    (versions / "index.json").unlink()
    reindex(versions)
    assert hub.resolve("tiny-digits").version == "1.10.0", "a lost index does not bring it back"
    assert cli.main(["yank", "tiny-digits@2.0.0", "--undo", "--registry", str(versions)]) == 0
    assert hub.resolve("tiny-digits").version == "2.0.0"
    reindex(versions)
    assert hub.resolve("tiny-digits").version == "2.0.0"


def test_a_name_of_which_all_is_yanked_is_not_found(registry, run, tmp_path):
    pack(run, tmp_path / "theirs", replace(DETAILS, summary="by somebody else"))
    publish(tmp_path / "theirs", tmp_path / "public")
    set_notice(registry, "tiny-digits@1.0.0", "yanked", "wrong weights")
    for ask in (hub.resolve, hub.info):
        with pytest.raises(NotFoundError):
            ask("tiny-digits", registry=registry)
    assert "tiny-digits" not in {row["name"] for row in offers(registry) if row["yanked"] is None}


def test_a_deprecated_version_is_loaded_with_a_warning(versions, caplog):
    assert cli.main(["deprecate", "tiny-digits@2.0.0", "--reason", "use 3", "--registry", str(versions)]) == 0
    assert hub.resolve("tiny-digits", registry=versions).version == "2.0.0"
    assert "tiny-digits@2.0.0 is deprecated by its publisher: use 3" in caplog.text


@pytest.mark.parametrize(
    "title, reason, error",
    [
        ("tiny-digits", "x", UsageError),
        ("tiny-digits@1", "x", UsageError),
        ("tiny-digits@1.0.0", "two\nlines", UsageError),
        ("tiny-digits@1.0.0", "\x1b[2J", UsageError),
        ("tiny-digits@9.0.0", "x", NotFoundError),
        ("other@1.0.0", "x", NotFoundError),
    ],
)
def test_a_notice_that_cannot_be_changes_nothing(registry, title, reason, error):
    before = (registry / "index.json").read_bytes()
    with pytest.raises(error):
        set_notice(registry, title, "yanked", reason)
    assert (registry / "index.json").read_bytes() == before
    with pytest.raises(UsageError):
        set_notice(DEAD, title, "yanked", reason)


def test_publishing_and_a_bad_file_keep_the_notices(registry, run, tmp_path):
    set_notice(registry, "tiny-digits@1.0.0", "deprecated", "old")
    pack(run, tmp_path / "newer", replace(DETAILS, version="1.1.0"))
    publish(tmp_path / "newer", registry)
    assert {row["version"]: row["deprecated"] for row in offers(registry)} == {"1.0.0": "old", "1.1.0": None}
    (registry / "packages/tiny-digits/notices.json").write_text("{")
    (registry / "index.json").unlink()
    with pytest.raises(RegistryError, match="notices.json"):
        reindex(registry)


def test_a_printed_command_can_be_pasted_whatever_the_folder_is_called(versions, tmp_path, monkeypatch):
    path = tmp_path / "my models" / "glorext.lock"
    path.parent.mkdir()
    assert cli.main(["lock", "resnext50", "--out", str(path)]) == 0
    monkeypatch.setenv("GLOREXT_LOCK", str(path))
    with pytest.raises(UsageError) as caught:
        hub.resolve("tiny-digits")
    command = re.search("`(glorext lock .*?)`", str(caught.value))[1]
    assert shlex.split(command) == ["glorext", "lock", "tiny-digits", "--out", str(path)]
