"""An index that is too large for one file: every name is found in its own part, and nothing else is read."""

import hashlib
import json
import logging
from dataclasses import replace

import pytest

from glorext import hub
from glorext.hub import index as index_module
from glorext.hub.index import ALL_SHARDS, shard_of, write_index
from glorext.hub.listing import hub_list, info
from glorext.hub.notices import set_notice
from glorext.hub.pack import pack
from glorext.hub.publish import publish
from glorext.hub.reindex import reindex
from glorext.runtime import NotFoundError, RegistryError, cli

from .samples import DETAILS

NAMES = ("tiny-digits", "other-digits", "third-digits")


def top(registry):
    return json.loads((registry / "index.json").read_bytes())


@pytest.fixture
def make(run, tmp_path):
    """make(name, version): a package folder."""

    def made(name, version="1.0.0"):
        pack(run, tmp_path / f"{name}-{version}", replace(DETAILS, name=name, version=version))
        return tmp_path / f"{name}-{version}"

    return made


@pytest.fixture
def large(registry, make, monkeypatch):
    """A registry of three packages, which is large."""
    monkeypatch.setattr(index_module, "SHARDED_FROM", 3)
    for name in NAMES[1:]:
        publish(make(name), registry)
    return registry


def test_a_registry_that_grows_is_divided_and_says_the_same(registry, make, monkeypatch):
    monkeypatch.setattr(index_module, "SHARDED_FROM", 3)
    publish(make(NAMES[1]), registry)
    small = top(registry)
    assert set(small["packages"]) == set(NAMES[:2]) and not (registry / "index").exists()
    (registry / "index.json").write_text(json.dumps(small | {"generated": "by hand"}))
    publish(make(NAMES[2]), registry)
    assert top(registry) == {"schema": "glorext.registry/1", "generated": "by hand", "shards": 256}
    parts = {path: json.loads((registry / path).read_bytes()) for path in ALL_SHARDS}
    assert all(part["schema"] == "glorext.registry/1" and part["generated"] == "by hand" for part in parts.values())
    for name in NAMES:
        assert set(parts[shard_of(name)]["packages"]) == {name}
    assert sum(len(part["packages"]) for part in parts.values()) == 3
    assert parts[shard_of("tiny-digits")]["packages"]["tiny-digits"] == small["packages"]["tiny-digits"]
    for name in NAMES:
        assert hub.resolve(name, registry=registry).name == name


def test_a_part_is_named_by_the_first_two_digits_of_a_names_sha256():
    assert shard_of("tiny-digits") == f"index/{hashlib.sha256(b'tiny-digits').hexdigest()[:2]}.json"


def test_loading_asks_a_server_for_two_files_of_the_index(large, server):
    assert hub.resolve("other-digits", registry=server.url).version == "1.0.0"
    asked = [path for path, _ in server.requests if "index" in path]
    assert asked == ["index.json", shard_of("other-digits")]
    server.requests.clear()
    assert hub.resolve("other-digits", registry=server.url).version == "1.0.0"
    assert not [path for path, _ in server.requests if "index" in path]
    with pytest.raises(NotFoundError, match="third-digit"):
        hub.resolve("third-digit", registry=server.url)


def test_offline_the_parts_that_were_read_serve(large, server, monkeypatch):
    hub.resolve("other-digits", registry=server.url)
    server.close()
    monkeypatch.setenv("GLOREXT_OFFLINE", "1")
    assert hub.resolve("other-digits", registry=server.url).version == "1.0.0"


def test_all_is_listed_from_a_folder_and_a_server(large, server, monkeypatch):
    for place in (str(large), server.url):
        monkeypatch.setenv("GLOREXT_REGISTRIES", place)
        assert set(NAMES) <= set(hub_list(force_reload=True))
        assert info("third-digits")["version"] == "1.0.0"


def test_later_versions_and_notices_change_their_own_part_alone(large, make):
    before = {path: (large / path).read_bytes() for path in (*ALL_SHARDS, "index.json")}
    publish(make("other-digits", "1.1.0"), large)
    set_notice(large, "other-digits@1.0.0", "yanked", "labels in wrong order")
    changed = [path for path, data in before.items() if (large / path).read_bytes() != data]
    assert changed == [shard_of("other-digits")]
    assert hub.resolve("other-digits", registry=large).version == "1.1.0"
    with pytest.raises(NotFoundError, match="no such version"):
        set_notice(large, "absent@1.0.0", "yanked", "reason")


def test_a_lost_part_is_named_and_made_again(large, make, caplog):
    content = (large / shard_of("other-digits")).read_bytes()
    (large / shard_of("other-digits")).unlink()
    with pytest.raises(RegistryError, match=r"index/..\.json.*glorext reindex"):
        hub.resolve("other-digits", registry=large)
    with pytest.raises(RegistryError, match="glorext reindex"):
        publish(make("other-digits", "1.1.0"), large)
    assert hub.resolve("tiny-digits", registry=large).version == "1.0.0"
    caplog.set_level(logging.WARNING)
    assert reindex(large)[0] == sorted(f"{name}@1.0.0" for name in NAMES)
    assert (large / shard_of("other-digits")).read_bytes() == content


def test_reindex_divides_a_large_registry_whose_index_is_lost(large):
    before = {path: (large / path).read_bytes() for path in (*ALL_SHARDS, "index.json")}
    for path in before:
        (large / path).unlink()
    assert cli.main(["reindex", str(large)]) == 0
    assert {path: (large / path).read_bytes() for path in before} == before


def test_what_was_left_by_a_division_that_was_killed_does_not_count(registry, monkeypatch):
    content = top(registry)
    monkeypatch.setattr(index_module, "SHARDED_FROM", 1)
    write_index(registry, {**content, "packages": {"gone-digits": content["packages"]["tiny-digits"]}})
    (registry / "index.json").write_text(json.dumps(content))  # as if it had not come that far
    monkeypatch.setattr(index_module, "SHARDED_FROM", 1000)
    assert list(hub.resolve("tiny-digits", registry=registry).folder.parts[-2:]) == ["tiny-digits", "1.0.0"]
    assert reindex(registry) == (["tiny-digits@1.0.0"], [])


def test_another_number_of_parts_is_refused(large):
    (large / "index.json").write_text('{"schema": "glorext.registry/1", "shards": 4096}')
    with pytest.raises(RegistryError, match="256.*4,096"):
        hub.resolve("tiny-digits", registry=large)
