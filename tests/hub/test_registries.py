"""Registries in every form and order: addresses, mirrors that lag or lack files, caches that are damaged or partial."""

import os
import random
import shutil
from dataclasses import replace

import pytest

from glorext import hub
from glorext.hub.listing import offers
from glorext.hub.manifest import read_manifest
from glorext.hub.pack import pack
from glorext.hub.publish import publish
from glorext.hub.registry import open_registry
from glorext.runtime import (
    DownloadError,
    IntegrityError,
    MissingFileError,
    NotFoundError,
    RegistryError,
    UsageError,
    cli,
    sha256_file,
)

from .fault_server import FaultServer, cut, status
from .samples import DETAILS

CKPT = "tiny-digits.ckpt"


@pytest.fixture
def mirror(registry, tmp_path):
    """A second copy of the registry."""
    return shutil.copytree(registry, tmp_path / "mirror")


@pytest.fixture
def newer(run, registry, tmp_path):
    """The registry, after 1.10.0 was published too."""
    pack(run, tmp_path / "newer", replace(DETAILS, version="1.10.0", summary="trained longer"))
    publish(tmp_path / "newer", registry)
    return registry


@pytest.mark.parametrize("form", ["{}", "{}/", "{}//", "{}#part", "{}/sub", "{}/sub/"])
def test_addresses_with_and_without_slashes_are_one_registry(server, registry, form):
    if "sub" in form:
        shutil.copytree(registry, server.root / "sub")
    package = hub.resolve("tiny-digits", registry=form.format(server.url))
    assert package.source == form.format(server.url).rstrip("/").removesuffix("#part")
    assert not [path for path, _ in server.requests if "//" in path]


def test_a_signature_in_the_query_goes_along_and_is_never_shown(server, caplog, monkeypatch):
    async def signed(server, request, data):
        if request.rel_url.raw_query_string != "sig=s%2Fecret&v=1":
            return await status(403)(server, request, data)

    for name in ("index.json", "manifest.json", CKPT):
        server.always[name] = signed
    address = f"{server.url}/?sig=s%2Fecret&v=1"
    assert hub.resolve("tiny-digits", registry=address).source == server.url
    assert "ecret" not in str(offers([address]))
    for fault in (
        status(403),
        status(500),
        status(302, headers={"Location": "index.json?sig=secret"}),
        status(302, headers={"Location": "http://[secret"}),
    ):
        server.always["index.json"] = fault
        with pytest.raises(DownloadError) as caught:
            hub.resolve("tiny-digits", registry=address, force_reload=True)
        assert "ecret" not in str(caught.value) + caplog.text


def test_file_addresses_are_folders(registry, tmp_path):
    shutil.copytree(registry, tmp_path / "with space")
    for address in (
        registry.as_uri(),
        f"file://localhost{registry}",
        f"file:{registry}",
        (tmp_path / "with space").as_uri(),
    ):
        assert hub.resolve("tiny-digits", registry=address).version == "1.0.0"


@pytest.mark.parametrize(
    "location",
    [
        "",
        "ftp://host/x",
        "s3://bucket/x",
        "file://server/x",
        "http://",
        "https:///x",
        "http:/x",
        "http://[bad",
        "javascript:/x",
    ],
)
def test_what_is_no_registry_is_a_usage_error(location):
    with pytest.raises(UsageError, match="a folder, or an http, https, file or oci address"):
        open_registry(location)


@pytest.mark.parametrize(
    "address",
    ["http://h:port", "http://127.0.0.1:99999", "http://exa mple.com", "http://.", "http://\u00e9\u0301..com"],
)
def test_addresses_that_cannot_be_asked_are_named(quick, address):
    with pytest.raises((DownloadError, UsageError)):
        hub.resolve("tiny-digits", registry=address)


def test_redirects_to_another_host_are_followed_for_every_file(server, url, registry):
    elsewhere = FaultServer(registry)

    async def away(_, request, data):
        target = elsewhere.url.replace("127.0.0.1", "localhost")
        return await status(307, headers={"Location": f"{target}{request.path}"})(_, request, data)

    for name in ("index.json", "manifest.json", "labels.txt", CKPT):
        server.always[name] = away
    assert hub.resolve("tiny-digits").source == url
    assert elsewhere.count(CKPT) == 1
    elsewhere.close()


@pytest.mark.parametrize("lost", [CKPT, "manifest.json", "labels.txt", ""])
@pytest.mark.parametrize("served", [False, True])
def test_a_half_copied_mirror_is_passed_over(server, registry, mirror, lost, served, caplog):
    """`rsync` may have brought the index before the files."""
    package = registry / "packages/tiny-digits/1.0.0"
    shutil.rmtree(package) if not lost else (package / lost).unlink()
    first = server.url if served else registry
    found = hub.resolve("tiny-digits", registry=[first, mirror])
    assert found.source == str(mirror) and found.checkpoint.is_file()
    assert str(first) in caplog.text
    with pytest.raises((DownloadError, IntegrityError)):
        hub.resolve("tiny-digits", registry=first)


def test_a_damaged_mirror_is_passed_over(registry, mirror, caplog):
    (mirror / "packages/tiny-digits/1.0.0" / CKPT).write_bytes(b"?" * 1000)
    assert hub.resolve("tiny-digits", registry=[mirror, registry]).source == str(registry)
    assert str(mirror) in caplog.text


@pytest.mark.parametrize("fault", ["no index", "cut index", "not mounted", "forbidden", "refused"])
def test_a_registry_that_cannot_be_asked_ends_the_search(server, run, registry, mirror, tmp_path, fault):
    """The registry after it has a model of the same name by somebody else: that one must not be loaded instead."""
    pack(run, tmp_path / "theirs", replace(DETAILS, summary="by somebody else"))
    publish(tmp_path / "theirs", tmp_path / "public")
    first = mirror
    if fault == "no index":
        (mirror / "index.json").unlink()
    elif fault == "cut index":
        (mirror / "index.json").write_bytes((mirror / "index.json").read_bytes()[:-20])
    elif fault == "not mounted":
        first = tmp_path / "mnt"
    elif fault == "forbidden":
        server.always["index.json"] = status(403)
        first = server.url
    else:
        first = "http://127.0.0.1:9"
    for ask in (hub.resolve, hub.info):
        with pytest.raises((RegistryError, DownloadError)) as caught:
            ask("tiny-digits", registry=[first, tmp_path / "public"])
        assert str(first) in str(caught.value)
    assert hub.resolve("tiny-digits", registry=[tmp_path / "public", first]).summary == "by somebody else"


def test_a_stale_mirror_gives_what_it_has_or_the_next_is_asked(mirror, newer):
    assert hub.resolve("tiny-digits", registry=[mirror, newer]).version == "1.0.0", "the first that has the name"
    assert hub.resolve("tiny-digits@1.10.0", registry=[mirror, newer]).source == str(newer)


def test_no_older_or_other_package_stands_in_for_a_damaged_one(mirror, newer, run, tmp_path):
    """The index promised 1.10.0 by its digest: a mirror may only give the very same."""
    (newer / "packages/tiny-digits/1.10.0" / CKPT).write_bytes(b"?" * 1000)
    with pytest.raises(IntegrityError, match="found another file"):
        hub.resolve("tiny-digits", registry=[newer, mirror])
    pack(run, tmp_path / "other", replace(DETAILS, version="1.10.0", summary="another text"))
    publish(tmp_path / "other", mirror)
    with pytest.raises(IntegrityError, match="found another file.*that the registry before it lists"):
        hub.resolve("tiny-digits", registry=[newer, mirror])
    publish(tmp_path / "newer", tmp_path / "third")
    assert hub.resolve("tiny-digits", registry=[newer, mirror, tmp_path / "third"]).source == str(tmp_path / "third")


@pytest.mark.parametrize("served", [False, True])
@pytest.mark.parametrize("lost", [CKPT, "manifest.json", ""])
def test_while_the_files_of_the_newest_version_are_lacking_the_one_before_it_serves(
    mirror, newer, run, tmp_path, quick, lost, served, caplog
):
    """A copy in progress has brought the index, and not yet the files."""
    server = FaultServer(newer)
    first = server.url if served else newer
    package = newer / "packages/tiny-digits/1.10.0"
    shutil.rmtree(package) if not lost else (package / lost).unlink()
    found = hub.resolve("tiny-digits", registry=[first, mirror])
    assert (found.version, found.source) == ("1.0.0", str(first))
    assert "tiny-digits@1.0.0 is loaded instead" in caplog.text
    if not (served and lost == CKPT):  # the cache has the same weights from 1.0.0 by now
        with pytest.raises(MissingFileError):
            hub.resolve("tiny-digits@1.10.0", registry=first)
    publish(tmp_path / "newer", tmp_path / "third")
    assert hub.resolve("tiny-digits", registry=[first, tmp_path / "third"]).version == "1.10.0", "the very same, first"
    server.close()


def test_no_model_of_another_registry_stands_in_for_one_that_lacks_files(registry, run, tmp_path):
    (registry / "packages/tiny-digits/1.0.0" / CKPT).unlink()
    pack(run, tmp_path / "theirs", replace(DETAILS, version="0.9.0", summary="by somebody else"))
    publish(tmp_path / "theirs", tmp_path / "public")
    with pytest.raises(MissingFileError, match="found no file"):
        hub.resolve("tiny-digits", registry=[registry, tmp_path / "public"])


def test_a_download_continues_at_the_mirror(server, registry, mirror, quick):
    """Files are known by their digest, so it does not matter who sends the rest."""
    second, size = FaultServer(mirror), (registry / "packages/tiny-digits/1.0.0" / CKPT).stat().st_size
    server.faults[CKPT] = [cut(size // 2), status(404)]
    assert hub.resolve("tiny-digits", registry=[server.url, second.url]).source == second.url
    assert second.sent[CKPT] == size - size // 2
    second.close()


def test_listing_passes_over_a_registry_that_cannot_be_read(registry, tmp_path, caplog, monkeypatch, capsys):
    gone = str(tmp_path / "gone")
    assert [row["name"] for row in offers([gone, registry])] == ["tiny-digits"]
    assert gone in caplog.text
    with pytest.raises(RegistryError, match="gone"):
        offers([gone])
    monkeypatch.setenv("GLOREXT_REGISTRIES", gone)
    assert cli.main(["list"]) == 1
    assert cli.main(["list", "--registry", gone, "--registry", str(registry)]) == 0
    assert "tiny-digits@1.0.0" in capsys.readouterr().out


def test_info_looks_where_it_is_told(registry, newer, tmp_path):
    assert hub.info("tiny-digits", registry=registry)["version"] == "1.10.0"
    assert hub.info("tiny-digits@1.0.0", registry=[registry, tmp_path / "gone"])["registry"] == str(registry)
    with pytest.raises(NotFoundError):
        hub.info("resnext50", registry=registry)
    uid = "mindspore/1.10/resnext50_imagenet2012"
    for name in (uid, f"https://gitee.com/mindspore/hub/blob/master/mshub_res/assets/{uid}.md"):
        assert hub.info(name)["name"] == hub.info(name, registry=registry)["name"] == "resnext50"
    with pytest.raises(NotFoundError, match=str(registry)):
        hub.resolve("resnext50", registry=registry)


def test_a_damaged_index_in_the_cache_is_asked_for_again(server, url, cache, monkeypatch):
    hub.resolve("tiny-digits")
    (kept,) = cache.glob("indexes/*.json")
    data, dice = kept.read_bytes(), random.Random(11)
    for _ in range(60):
        place = dice.randrange(len(data))
        kept.write_bytes(data[:place] + bytes([data[place] ^ 1 << dice.randrange(8)]) + data[place + 1 :])
        assert hub.resolve("tiny-digits").version == "1.0.0"
    for length in (0, 1, len(data) // 2, len(data) - 1):
        kept.write_bytes(data[:length])
        assert hub.resolve("tiny-digits").version == "1.0.0"
    kept.write_bytes(data[: len(data) // 2])
    monkeypatch.setenv("GLOREXT_OFFLINE", "1")
    with pytest.raises(DownloadError, match="GLOREXT_OFFLINE"):
        hub.resolve("tiny-digits")


def test_a_cache_damaged_anywhere_gives_the_published_bytes(server, url, cache, registry, sound):
    package = registry / "packages/tiny-digits/1.0.0"
    hub.resolve("tiny-digits")
    dice = random.Random(12)
    files = sorted(path for path in cache.rglob("*") if path.is_file() and path.parent.name not in ("locks", "indexes"))
    for path in files:
        os.chmod(path, 0o644)
        data = path.read_bytes()
        place = dice.randrange(max(len(data), 1))
        # in place: a hard link damages the same bytes under every name
        path.write_bytes(dice.choice([data[:place] or b"x", data + b"x", data[:place] + b"\xff" + data[place + 1 :]]))
    found = hub.resolve("tiny-digits")
    for file in read_manifest(found.folder).files:
        assert (found.folder / file).read_bytes() == (package / file).read_bytes()
    sound()


def test_offline_with_a_part_of_a_package(newer, monkeypatch, quick):
    server = FaultServer(newer)
    monkeypatch.setenv("GLOREXT_REGISTRIES", server.url)
    hub.load("tiny-digits@1.0.0", pretrained=False)
    monkeypatch.setenv("GLOREXT_OFFLINE", "1")
    assert hub.load("tiny-digits@1.0.0", pretrained=False) is not None
    for call in (
        lambda: hub.load("tiny-digits@1.0.0"),
        lambda: hub.resolve("tiny-digits@1.0.0"),
        lambda: hub.load("tiny-digits"),
        lambda: hub.load_weights("tiny-digits@1.0.0"),
    ):
        before = len(server.requests)
        with pytest.raises(DownloadError, match="GLOREXT_OFFLINE is set, and .* is not in the cache"):
            call()
        assert len(server.requests) == before
    assert hub.info("tiny-digits")["version"] == "1.10.0"
    monkeypatch.delenv("GLOREXT_OFFLINE")
    hub.load("tiny-digits@1.0.0")
    monkeypatch.setenv("GLOREXT_OFFLINE", "1")
    assert hub.load("tiny-digits@1.0.0") is not None
    server.close()


def test_a_cache_on_another_file_system_and_one_without_hard_links(server, url, small_disk, monkeypatch, registry):
    expected = sha256_file(registry / "packages/tiny-digits/1.0.0" / CKPT)
    monkeypatch.setenv("GLOREXT_CACHE", str(small_disk(8 << 20)))
    assert sha256_file(hub.resolve("tiny-digits").checkpoint) == expected

    def no_links(*args, **kwargs):
        raise OSError(1, "links are not possible here")

    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setenv("GLOREXT_CACHE", str(small_disk(8 << 20)))
    assert sha256_file(hub.resolve("tiny-digits").checkpoint) == expected


def test_settings_that_point_nowhere_are_named(monkeypatch, quick):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(DownloadError, match="/nowhere/ca.pem"):
        hub.resolve("tiny-digits", registry="https://127.0.0.1:1")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with pytest.raises(DownloadError, match="the proxy cannot be reached"):
        hub.resolve("tiny-digits", registry="http://registry.invalid")
    monkeypatch.setenv("http_proxy", "http://[bad")
    with pytest.raises(DownloadError):
        hub.resolve("tiny-digits", registry="http://registry.invalid")
