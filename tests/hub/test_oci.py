"""Packages in OCI registries: published, found, loaded and taken back, with logins, and by other programs too."""

import json
import shutil
import stat
import subprocess
import sys
from dataclasses import replace

import pytest

from glorext import hub
from glorext.hub import listing, oci
from glorext.hub.logins import Login, keep_login, login_for
from glorext.hub.manifest import MANIFEST, read_manifest
from glorext.hub.notices import set_notice
from glorext.hub.oci_registry import OciRegistry
from glorext.hub.pack import pack
from glorext.hub.publish import publish
from glorext.runtime import DownloadError, IntegrityError, NotFoundError, RegistryError, UsageError, cli, sha256_bytes

from .fault_server import cut, instead
from .oci_server import BASIC, NAME, PASSWORD, DockerRegistry, StaticRegistry, guarded, needs_docker_registry
from .samples import DETAILS


@pytest.fixture(scope="module")
def docker(tmp_path_factory):
    registry = DockerRegistry(tmp_path_factory.mktemp("oci") / "registry")
    yield registry
    registry.close()


@pytest.fixture
def place(docker, request):
    """An address in the registry of the test's own, where the login is kept."""
    keep_login(docker.host, Login(NAME, PASSWORD))
    return f"oci://{docker.host}/{request.node.name.replace('_', '-')[:40].strip('-').lower()}"


@pytest.fixture
def static(package, tmp_path, quick):
    """A registry of static files with tiny-digits@1.0.0, behind a server that can misbehave."""
    server = StaticRegistry(tmp_path / "static", package)
    yield server
    server.close()


def packed(run, tmp_path, **changes):
    folder = tmp_path / f"packed-{len(list(tmp_path.glob('packed-*')))}"
    pack(run, folder, replace(DETAILS, **changes))
    return folder


# ---- against docker-registry


@needs_docker_registry
def test_what_is_published_is_loaded_to_the_byte(package, place):
    assert publish(package, place) == ("tiny-digits@1.0.0", True)
    found = hub.resolve("tiny-digits", registry=place)
    manifest = read_manifest(package)
    assert found.version == "1.0.0" and read_manifest(found.folder) == manifest
    for file in (MANIFEST, *manifest.files):
        assert (found.folder / file).read_bytes() == (package / file).read_bytes(), file
    assert publish(package, place) == ("tiny-digits@1.0.0", False)


@needs_docker_registry
def test_a_published_version_never_changes(package, place, run, tmp_path):
    publish(package, place)
    with pytest.raises(RegistryError, match="other content.*higher --version"):
        publish(packed(run, tmp_path, summary="another text"), place)
    assert hub.resolve("tiny-digits", registry=place).folder.name == read_manifest(package).digest()


@needs_docker_registry
def test_files_that_are_there_are_not_sent_again(docker, package, place, run, tmp_path):
    publish(package, place)
    path = place.removeprefix(f"oci://{docker.host}/")
    before = docker.asked("PUT", f"{path}/tiny-digits/blobs/uploads", 201)
    newer = packed(run, tmp_path, version="1.1.0")
    publish(newer, place)
    equal = {entry.sha256 for entry in read_manifest(package).files.values()}
    sent = {entry.sha256 for entry in read_manifest(newer).files.values()} - equal
    # and the manifest and the config
    assert docker.asked("PUT", f"{path}/tiny-digits/blobs/uploads", 201) - before == len(sent) + 2
    assert hub.resolve("tiny-digits", registry=place).version == "1.1.0"
    assert hub.resolve("tiny-digits@1.0.0", registry=place).version == "1.0.0"


@needs_docker_registry
def test_versions_are_taken_back_and_deprecated(package, place, caplog):
    publish(package, place)
    set_notice(place, "tiny-digits@1.0.0", "deprecated", "use another")
    hub.resolve("tiny-digits", registry=place)
    assert "deprecated by its publisher: use another" in caplog.text
    set_notice(place, "tiny-digits@1.0.0", "yanked", "labels in wrong order")
    with pytest.raises(NotFoundError, match="yanked: labels in wrong order"):
        hub.resolve("tiny-digits", registry=place)
    assert hub.resolve("tiny-digits@1.0.0", registry=place).version == "1.0.0"
    set_notice(place, "tiny-digits@1.0.0", "yanked", None)
    assert hub.resolve("tiny-digits", registry=place).version == "1.0.0"
    with pytest.raises(NotFoundError, match="no such version"):
        set_notice(place, "tiny-digits@9.0.0", "yanked", "reason")


@needs_docker_registry
def test_the_catalog_lists_all_packages_of_the_project(package, place, run, tmp_path):
    publish(package, place)
    publish(packed(run, tmp_path, name="other-digits"), place)
    publish(packed(run, tmp_path, name="other-digits", version="1.1.0"), place)
    rows = listing.offers(place)
    assert [(row["name"], row["version"], row["top1"]) for row in rows] == [
        ("other-digits", "1.1.0", 0.98),
        ("other-digits", "1.0.0", 0.98),
        ("tiny-digits", "1.0.0", 0.98),
    ]
    assert listing.info("tiny-digits", registry=place)["registry"] == place


@needs_docker_registry
def test_without_a_login_nothing_is_read_or_written(docker, package):
    for call in (lambda: publish(package, docker.place), lambda: hub.resolve("tiny-digits", registry=docker.place)):
        with pytest.raises((RegistryError, DownloadError), match=r"status 401.*glorext login HOST"):
            call()


@needs_docker_registry
def test_login_keeps_what_the_registry_takes_and_nothing_else(docker, docker_config, monkeypatch, capsys):
    import io

    for secret, status in (("wrong", DownloadError.exit_status), (PASSWORD, 0)):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{secret}\n"))
        assert cli.main(["login", docker.host, "--username", NAME, "--password-stdin"]) == status
        assert docker_config.exists() == (status == 0)
    assert login_for(docker.host) == Login(NAME, PASSWORD)
    assert stat.S_IMODE(docker_config.stat().st_mode) == 0o600
    assert PASSWORD not in capsys.readouterr().out


@needs_docker_registry
def test_an_upload_that_was_stopped_goes_on_after_its_last_piece(package, place, monkeypatch):
    manifest = read_manifest(package)
    checkpoint, digest = package / manifest.checkpoint, manifest.files[manifest.checkpoint].sha256
    piece = checkpoint.stat().st_size // 5 + 1
    monkeypatch.setattr(oci, "PIECE", piece)
    patch, sent, stops = oci._Upload._patch, [], [2 * piece]

    def stopping(upload, data, there):
        if upload.sha256 == digest:
            if there in stops:
                raise KeyboardInterrupt
            sent.append((there, len(data)))
        patch(upload, data, there)

    monkeypatch.setattr(oci._Upload, "_patch", stopping)
    with pytest.raises(KeyboardInterrupt):
        publish(package, place)
    assert sent == [(0, piece), (piece, piece)]
    assert hub.registry.open_registry(place).versions("tiny-digits") == {}
    stops.clear()
    sent.clear()
    publish(package, place)
    assert [there for there, _ in sent] == [2 * piece, 3 * piece, 4 * piece]
    found = hub.resolve("tiny-digits", registry=place)
    assert (found.folder / checkpoint.name).read_bytes() == checkpoint.read_bytes()


@needs_docker_registry
def test_eight_loaders_bring_one_copy(docker, package, place, tmp_path):
    publish(package, place)
    digest = read_manifest(package).files[read_manifest(package).checkpoint].sha256
    command = [
        sys.executable,
        "-c",
        "import sys; from glorext import hub; hub.resolve('tiny-digits', registry=sys.argv[1])",
    ]
    loaders = [subprocess.Popen([*command, place]) for _ in range(8)]
    assert [loader.wait(120) for loader in loaders] == [0] * 8
    assert docker.asked("GET", f"{place.rpartition('/')[2]}/tiny-digits/blobs/sha256:{digest}", 200) == 1


@needs_docker_registry
@pytest.mark.skipif(not shutil.which("skopeo"), reason="no skopeo here")
def test_skopeo_copies_the_artifact(docker, package, place, tmp_path):
    publish(package, place)
    source = f"docker://{place.removeprefix('oci://')}/tiny-digits:1.0.0"
    words = [
        "skopeo",
        "copy",
        "--src-tls-verify=false",
        "--src-creds",
        f"{NAME}:{PASSWORD}",
        source,
        f"dir:{tmp_path}/copy",
    ]
    subprocess.run(words, check=True, capture_output=True)
    copied = {path.name for path in (tmp_path / "copy").iterdir()}
    assert {entry.sha256 for entry in read_manifest(package).files.values()} <= copied


# ---- the artifact


def test_the_artifact_is_a_modelpack_one(static, package):
    root = static.root / "v2/models/tiny-digits"
    found = json.loads((root / "manifests/1.0.0").read_bytes())
    assert set(found) == {"schemaVersion", "mediaType", "artifactType", "config", "layers", "annotations"}
    assert found["mediaType"] == "application/vnd.oci.image.manifest.v1+json" and found["schemaVersion"] == 2
    assert found["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    kinds = {layer["annotations"]["org.cncf.model.filepath"]: layer["mediaType"] for layer in found["layers"]}
    manifest = read_manifest(package)
    assert set(kinds) == {MANIFEST, *manifest.files}
    short = {
        file: kind.removeprefix("application/vnd.cncf.model.").removesuffix(".v1.raw") for file, kind in kinds.items()
    }
    assert short[manifest.checkpoint] == "weight" and short[manifest.card] == "doc"
    assert short[manifest.labels] == short[MANIFEST] == "weight.config"
    assert {kind for file, kind in short.items() if file.endswith(".py")} == {"code"}
    for layer in found["layers"]:
        path = layer["annotations"]["org.cncf.model.filepath"]
        data = (package / path).read_bytes()
        assert layer["digest"] == f"sha256:{sha256_bytes(data)}" and layer["size"] == len(data)
        metadata = json.loads(layer["annotations"]["org.cncf.model.file.metadata+json"])
        assert metadata["name"] == path and metadata["size"] == len(data) and metadata["typeflag"] == 48


def test_the_config_has_what_the_specification_wants(package):
    from glorext.hub.index import Release
    from glorext.hub.oci_artifact import artifact

    manifest = read_manifest(package)
    data, config = artifact(manifest, Release.of(manifest, None))
    outer, found = json.loads(data), json.loads(config)
    assert outer["config"]["digest"] == f"sha256:{sha256_bytes(config)}" and outer["config"]["size"] == len(config)
    assert set(found) == {"descriptor", "config", "modelfs"}
    assert found["descriptor"]["name"] == "tiny-digits" and found["descriptor"]["licenses"] == ["Apache-2.0"]
    assert found["modelfs"] == {"type": "layers", "diffIds": [layer["digest"] for layer in outer["layers"]]}
    assert found["config"]["capabilities"] == {"inputTypes": ["image"], "outputTypes": ["other"]}
    assert artifact(manifest, Release.of(manifest, None)) == (data, config)


# ---- servers that want tokens, break off or lie


def test_a_token_is_asked_for_and_used_until_it_is_refused(static, docker_config):
    keep_login(f"127.0.0.1:{static.port}", Login(NAME, PASSWORD))
    tokens = ["first"]
    wanted = guarded(static, "models/tiny-digits", tokens)
    hub.resolve("tiny-digits", registry=static.place)
    query = {"service": "models", "scope": "repository:models/tiny-digits:pull"}
    assert wanted == [(query, BASIC)]
    tokens.append("second")  # the first has expired
    hub.resolve("tiny-digits", registry=static.place, force_reload=True)
    assert wanted == [(query, BASIC)] * 2


def test_a_public_repository_gives_its_token_to_anybody(static):
    wanted = guarded(static, "models/tiny-digits", ["public"])
    assert hub.resolve("tiny-digits", registry=static.place).version == "1.0.0"
    assert [header for _, header in wanted] == [None]


def test_a_token_that_is_no_use_is_asked_for_once_for_each_request(static):
    tokens = ["right"]
    wanted = guarded(static, "models/tiny-digits", tokens)

    async def wrong(server, request, data):
        from aiohttp import web

        return web.json_response({"access_token": "wrong"})

    static.always["token"] = wrong
    with pytest.raises(DownloadError, match="status 401"):
        hub.resolve("tiny-digits", registry=static.place)
    assert not wanted and static.count("token") == 1


def test_no_login_goes_to_a_realm_in_the_open(static):
    from aiohttp import web

    keep_login(f"127.0.0.1:{static.port}", Login(NAME, PASSWORD))

    async def ask(server, request, data):
        return web.Response(status=401, headers={"WWW-Authenticate": 'Bearer realm="http://example.com/token"'})

    static.always["v2/models/tiny-digits/tags/list"] = ask
    with pytest.raises(DownloadError, match="sent in the open.*example.com"):
        hub.resolve("tiny-digits", registry=static.place)


def test_a_download_that_breaks_off_goes_on_where_it_was(static):
    blob = static.root / "v2/models/tiny-digits/blobs" / static.checkpoint
    half = blob.stat().st_size // 2
    static.faults[static.checkpoint] = [cut(half)]
    hub.resolve("tiny-digits", registry=static.place)
    assert [span for path, span in static.requests if path.endswith(static.checkpoint)] == [None, f"bytes={half}-"]


def test_other_bytes_than_promised_are_refused(static):
    blob = static.root / "v2/models/tiny-digits/blobs" / static.checkpoint
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    static.always[static.checkpoint] = instead(bytes(data))
    with pytest.raises(IntegrityError):
        hub.resolve("tiny-digits", registry=static.place)


@pytest.mark.parametrize(
    "change, named",
    [
        (lambda found: found["layers"][0].update(digest="sha256:" + "0" * 64), r"the layer manifest\.json"),
        (lambda found: found["layers"].pop(0), r"the layer manifest\.json"),
        (lambda found: found["annotations"].update({"org.glorext.release": "{"}), "org.glorext.release"),
        (lambda found: found["annotations"].update({"org.glorext.release": '{"manifest": 1}'}), "manifest"),
    ],
)
def test_an_artifact_that_contradicts_itself_is_refused(static, change, named):
    path = static.root / "v2/models/tiny-digits/manifests/1.0.0"
    found = json.loads(path.read_bytes())
    change(found)
    path.write_text(json.dumps(found))
    with pytest.raises(RegistryError, match=named):
        hub.resolve("tiny-digits", registry=static.place)


@pytest.mark.parametrize("other", [b'{"layers": []}', b"[]", b'{"annotations": null, "layers": 3}', b"\xff"])
def test_artifacts_of_other_programs_are_passed_over(static, other):
    (static.root / "v2/models/tiny-digits/manifests/1.0.0").write_bytes(other)
    with pytest.raises(NotFoundError, match="no such name"):
        hub.resolve("tiny-digits", registry=static.place)


def test_a_name_that_is_not_there_and_a_kept_one_offline(static, monkeypatch):
    with pytest.raises(NotFoundError, match="no such name"):
        hub.resolve("absent", registry=static.place)
    hub.resolve("tiny-digits", registry=static.place)
    static.close()
    monkeypatch.setenv("GLOREXT_OFFLINE", "1")
    assert hub.resolve("tiny-digits", registry=static.place).version == "1.0.0"


def test_a_listing_of_many_pages_is_read_to_its_end_and_no_further(static):
    from aiohttp import web

    async def first(server, request, data):
        if "last" in request.query:
            return web.json_response({"tags": ["1.0.0"]})
        return web.json_response(
            {"tags": ["0.9.0"]}, headers={"Link": '</v2/models/tiny-digits/tags/list?last=0.9.0>; rel="next"'}
        )

    static.always["list"] = first
    assert OciRegistry(static.place).repository("tiny-digits").tags() == ["0.9.0", "1.0.0"]

    async def endless(server, request, data):
        return web.json_response(
            {"tags": []}, headers={"Link": '</v2/models/tiny-digits/tags/list?last=0>; rel="next"'}
        )

    static.always["list"] = endless
    with pytest.raises(DownloadError, match="more than 100 pages"):
        OciRegistry(static.place).repository("tiny-digits").tags()

    async def elsewhere(server, request, data):
        return web.json_response({"tags": []}, headers={"Link": '<https://example.com/list>; rel="next"'})

    static.always["list"] = elsewhere
    with pytest.raises(DownloadError, match="lies elsewhere"):
        OciRegistry(static.place).repository("tiny-digits").tags()


# ---- addresses and logins


@pytest.mark.parametrize(
    "place", ["oci://host", "oci://host/", "oci://host/Models", "oci://u:p@host/a", "oci://host/a b"]
)
def test_other_forms_of_addresses_are_refused(place):
    with pytest.raises(UsageError, match="oci://HOST/PROJECT"):
        hub.registry.open_registry(place)


def test_plain_http_is_for_this_machine_alone():
    assert [oci.address(host) for host in ("localhost:5000", "127.0.0.1", "[::1]:5000")] == [
        "http://localhost:5000/v2/",
        "http://127.0.0.1/v2/",
        "http://[::1]:5000/v2/",
    ]
    assert [oci.address(host) for host in ("registry.example.com", "10.0.0.1:5000")] == [
        "https://registry.example.com/v2/",
        "https://10.0.0.1:5000/v2/",
    ]
