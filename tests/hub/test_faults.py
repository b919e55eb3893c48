"""The fault table: whatever network and disk do, the cache holds the right bytes or none, and the next load works."""

import os
import random
import ssl
import subprocess
import sys
import time

import pytest

from glorext.hub import resolve, web
from glorext.hub.download import Wanted, download
from glorext.runtime import DiskFullError, DownloadError, IntegrityError, RegistryError, sha256_bytes, sha256_file

from .fault_server import FaultServer, cut, instead, slow, stalled, status, without_range

CKPT = "tiny-digits.ckpt"
CLIENT = "from glorext.hub import resolve; print(resolve('tiny-digits').checkpoint)"


@pytest.fixture
def size(registry):
    return (registry / "packages/tiny-digits/1.0.0" / CKPT).stat().st_size


@pytest.fixture
def loads_again(server, url, sound, registry):
    """Call it: the next load gives the published bytes, and the one after it fetches nothing."""

    def check():
        sound()
        package = resolve("tiny-digits")
        assert package.checkpoint.read_bytes() == (registry / "packages/tiny-digits/1.0.0" / CKPT).read_bytes()
        before = len(server.requests)
        resolve("tiny-digits")
        assert len(server.requests) == before
        sound()

    return check


def test_connection_cut_at_20_random_offsets_is_continued(server, url, size, loads_again):
    offsets = sorted(random.Random(5).sample(range(1, size), 20))
    server.faults[CKPT] = [cut(offset) for offset in offsets]
    resolve("tiny-digits")
    assert server.count(CKPT) == 21
    assert server.sent[CKPT] <= size + 20 * 4096, "bytes that had arrived were sent again"
    loads_again()


@pytest.mark.slow
def test_client_killed_at_20_random_moments_continues(server, url, size, cache, loads_again):
    server.always[CKPT] = slow(0.05, chunk=size // 40)
    moments = random.Random(7)
    for _ in range(20):
        client = subprocess.Popen([sys.executable, "-c", CLIENT], stdout=subprocess.DEVNULL)
        before, deadline = server.count(CKPT), time.time() + 20
        while server.count(CKPT) == before and client.poll() is None and time.time() < deadline:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.3))
        client.kill()
        client.wait()
    server.always.clear()
    loads_again()
    assert any(header for path, header in server.requests if path.endswith(CKPT)), "no download was ever continued"
    assert not list(cache.glob("partial/*"))


def test_truncated_body_without_end_is_an_error_and_is_continued_later(server, url, size, cache, loads_again):
    server.always[CKPT] = cut(size // 2)
    with pytest.raises(DownloadError, match="broke off|cut short"):
        resolve("tiny-digits")
    server.always.clear()
    sent = server.sent[CKPT]
    loads_again()
    assert server.sent[CKPT] - sent == size - size // 2


def test_wrong_bytes_are_named_and_not_kept(server, url, size, cache, loads_again):
    server.always[CKPT] = instead(os.urandom(size))
    with pytest.raises(IntegrityError, match="sha256"):
        resolve("tiny-digits")
    assert not list(cache.glob("partial/*"))
    server.always.clear()
    loads_again()


def test_wrong_size_is_named_before_the_download(server, url, size, cache, loads_again):
    server.always[CKPT] = instead(os.urandom(size + 1))
    with pytest.raises(IntegrityError, match=f"expected {size:,} bytes, found {size + 1:,}"):
        resolve("tiny-digits")
    assert not list(cache.glob("partial/*"))
    server.always.clear()
    loads_again()


@pytest.mark.parametrize("code, words", [(404, "no such file"), (403, "forbids"), (401, "login"), (410, "removed")])
def test_final_refusals_are_not_repeated(server, url, code, words, loads_again):
    server.faults[CKPT] = [status(code)]
    with pytest.raises(DownloadError, match=f"status {code}: .*{words}"):
        resolve("tiny-digits")
    assert server.count(CKPT) == 1
    loads_again()


@pytest.mark.parametrize("code", [500, 502, 503, 429])
def test_passing_refusals_are_repeated(server, url, code, loads_again):
    server.faults[CKPT] = [status(code), status(code)]
    resolve("tiny-digits")
    assert server.count(CKPT) == 3
    loads_again()


def test_a_server_that_never_recovers_is_an_error(server, url, loads_again):
    server.always[CKPT] = status(500)
    with pytest.raises(DownloadError, match="status 500, 6 times without progress"):
        resolve("tiny-digits")
    server.always.clear()
    loads_again()


def test_416_restarts(server, url, size, cache, loads_again):
    server.faults[CKPT] = [cut(1000), status(416)]
    resolve("tiny-digits")
    assert [header for path, header in server.requests if path.endswith(CKPT)] == [None, "bytes=1000-", None]
    loads_again()


def test_ignored_range_restarts(server, url, size, loads_again):
    server.faults[CKPT] = [cut(1000), without_range]
    resolve("tiny-digits")
    assert server.sent[CKPT] == 1000 + size
    loads_again()


def test_kept_bytes_of_another_file_are_dropped(server, url, registry, cache, loads_again):
    digest = sha256_file(registry / "packages/tiny-digits/1.0.0" / CKPT)
    (cache / "partial").mkdir(parents=True)
    (cache / "partial" / digest).write_bytes(os.urandom(5000))
    resolve("tiny-digits")
    assert [header for path, header in server.requests if path.endswith(CKPT)] == ["bytes=5000-", None]
    loads_again()


def test_slow_server_is_waited_for(server, url, size, loads_again):
    server.faults[CKPT] = [slow(0.05, chunk=size // 10)]
    resolve("tiny-digits")
    assert server.count(CKPT) == 1
    loads_again()


def test_silent_server_is_left_and_asked_again(server, url, monkeypatch, size, loads_again):
    monkeypatch.setattr(web, "READ_SECONDS", 1.5)
    server.faults[CKPT] = [stalled(1000, 20)]
    resolve("tiny-digits")
    assert [header for path, header in server.requests if path.endswith(CKPT)] == [None, "bytes=1000-"]
    loads_again()


def test_redirects_are_followed(server, url, registry, loads_again):
    os.rename(registry / "packages/tiny-digits/1.0.0" / CKPT, registry / "elsewhere")
    server.always[CKPT] = status(302, headers={"Location": "/elsewhere"})
    assert resolve("tiny-digits").checkpoint.read_bytes() == (registry / "elsewhere").read_bytes()


def test_redirect_circle_is_an_error(server, url):
    server.always[CKPT] = status(302, headers={"Location": f"/packages/tiny-digits/1.0.0/{CKPT}"})
    with pytest.raises(DownloadError, match="redirects"):
        resolve("tiny-digits")


@pytest.mark.parametrize(
    "body, words", [(b"", "empty"), (b"<!DOCTYPE html><html>Please log in", "HTML page"), (b"\n <html>", "HTML page")]
)
def test_empty_and_html_answers_are_called_that(server, url, body, words, loads_again):
    server.always[CKPT] = instead(body)
    with pytest.raises(DownloadError, match=words):
        resolve("tiny-digits")
    server.always = {"index.json": instead(body)}
    with pytest.raises(DownloadError, match=words):
        resolve("tiny-digits", force_reload=True)
    server.always.clear()
    loads_again()


def test_damaged_cache_repairs_itself(server, url, loads_again):
    checkpoint = resolve("tiny-digits").checkpoint
    os.chmod(checkpoint, 0o644)
    with open(checkpoint, "r+b") as file:
        file.write(b"flipped")
    resolve("tiny-digits")
    loads_again()
    assert server.count(CKPT) == 2


def test_eight_processes_download_once(server, url, size):
    server.always[CKPT] = slow(0.05, chunk=size // 10)
    clients = [subprocess.Popen([sys.executable, "-c", CLIENT], stdout=subprocess.PIPE, text=True) for _ in range(8)]
    answers = [client.communicate(timeout=60)[0] for client in clients]
    assert [client.returncode for client in clients] == [0] * 8
    assert len(set(answers)) == 1
    assert server.count(CKPT) == 1 and server.sent[CKPT] == size


def test_disk_without_room_is_named_before_the_download(server, url, small_disk, monkeypatch, size, loads_again):
    disk = small_disk(size // 2)
    with monkeypatch.context() as patch:
        patch.setenv("GLOREXT_CACHE", str(disk))
        with pytest.raises(DiskFullError, match="free bytes"):
            resolve("tiny-digits")
    assert server.count(CKPT) == 0
    assert not [path for path in disk.rglob("*") if path.is_file() and path.stat().st_size > size // 4]
    loads_again()


def test_disk_that_fills_up_meanwhile_leaves_nothing(server, small_disk, tmp_path, registry):
    (registry / "big").write_bytes(os.urandom(400_000))
    disk = small_disk(100_000)

    async def of_unknown_length(server, request, data):
        return await server.body(request, data, headers={"Transfer-Encoding": "chunked"})

    server.always["big"] = of_unknown_length
    with pytest.raises(DiskFullError, match="the disk is full"):
        download(f"{server.url}/big", disk / "part", Wanted(), "big")
    assert list(disk.iterdir()) == []
    assert download(f"{server.url}/big", tmp_path / "part", Wanted(), "big") == sha256_file(registry / "big")


def test_read_only_cache_serves_what_it_holds(server, url, small_disk, monkeypatch, registry):
    disk = small_disk(8 << 20)
    monkeypatch.setenv("GLOREXT_CACHE", str(disk))
    resolve("tiny-digits")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    before = len(server.requests)
    assert resolve("tiny-digits").checkpoint.is_file()
    assert len(server.requests) == before
    # an index too old to be used without asking cannot be kept, but the packages are there
    monkeypatch.setattr("glorext.hub.kept_index.FRESH_SECONDS", -1)
    assert resolve("tiny-digits").checkpoint.is_file()
    monkeypatch.setenv("GLOREXT_REGISTRIES", str(registry))
    assert resolve("tiny-digits").checkpoint.is_file()


def test_read_only_cache_that_lacks_a_file_says_so(server, url, small_disk, monkeypatch):
    disk = small_disk(8 << 20, "ro")
    monkeypatch.setenv("GLOREXT_CACHE", str(disk))
    with pytest.raises(RegistryError, match="cannot be written.*GLOREXT_CACHE"):
        resolve("tiny-digits")


def test_offline_never_touches_the_network(server, url, monkeypatch, cache):
    monkeypatch.setenv("GLOREXT_OFFLINE", "1")
    with pytest.raises(DownloadError, match="GLOREXT_OFFLINE is set"):
        resolve("tiny-digits")
    assert server.requests == []
    monkeypatch.delenv("GLOREXT_OFFLINE")
    resolve("tiny-digits")
    before = len(server.requests)
    monkeypatch.setenv("GLOREXT_OFFLINE", "1")
    monkeypatch.setattr("glorext.hub.kept_index.FRESH_SECONDS", -1)
    assert resolve("tiny-digits").version == "1.0.0"
    assert resolve("tiny-digits", force_reload=True).version == "1.0.0"
    assert len(server.requests) == before


def test_without_network_the_kept_index_serves_with_a_warning(server, url, monkeypatch, caplog):
    resolve("tiny-digits")
    monkeypatch.setattr("glorext.hub.kept_index.FRESH_SECONDS", -1)
    server.always["index.json"] = status(403)
    assert resolve("tiny-digits").version == "1.0.0"
    assert "from the cache" in caplog.text


def test_an_unchanged_index_is_not_sent_again(server, url, monkeypatch, caplog):
    resolve("tiny-digits")
    monkeypatch.setattr("glorext.hub.kept_index.FRESH_SECONDS", -1)
    sent = server.sent["index.json"]
    resolve("tiny-digits")
    assert server.count("index.json") == 2 and server.sent["index.json"] == sent


def test_a_server_that_calls_an_index_unchanged_which_nobody_has_is_named(server, url):
    server.always["index.json"] = status(304)
    with pytest.raises(DownloadError, match="the answer is empty in .*/index.json"):
        resolve("tiny-digits")


def test_a_cut_index_is_asked_for_again(server, url):
    server.faults["index.json"] = [cut(100), cut(50)]
    assert resolve("tiny-digits").version == "1.0.0"
    assert server.count("index.json") == 3


def test_a_mirror_steps_in(server, url, registry, monkeypatch, caplog):
    mirror = FaultServer(registry)
    monkeypatch.setenv("GLOREXT_REGISTRIES", f"{server.url},{mirror.url}")
    server.always[CKPT] = status(403)
    assert resolve("tiny-digits").source == mirror.url
    assert "status 403" in caplog.text
    mirror.close()


def test_tls_is_verified_and_ca_settings_are_honored(registry, tmp_path, monkeypatch, quick):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            key,
            "-out",
            cert,
            "-days",
            "2",
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = FaultServer(registry, ssl=context)
    with pytest.raises(DownloadError, match="certificate is not trusted"):
        resolve("tiny-digits", registry=server.url)
    assert server.requests == []
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cert))
    assert resolve("tiny-digits", registry=server.url).version == "1.0.0"
    server.always[CKPT] = status(302, headers={"Location": "http://127.0.0.1:1/x"})
    server.close()


def test_https_never_continues_as_http(registry, server, tmp_path, monkeypatch):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            key,
            "-out",
            cert,
            "-days",
            "2",
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    secure = FaultServer(registry, ssl=context)
    secure.always[CKPT] = status(302, headers={"Location": f"{server.url}/packages/tiny-digits/1.0.0/{CKPT}"})
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cert))
    with pytest.raises(DownloadError, match="redirects to plain http"):
        resolve("tiny-digits", registry=secure.url)
    secure.close()


def test_proxies_are_honored(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    assert resolve("tiny-digits", registry="http://registry.invalid").version == "1.0.0"


def test_passwords_in_addresses_are_used_and_never_shown(server, registry, caplog, monkeypatch):
    async def with_login(server, request, data):
        if request.headers.get("Authorization") != "Basic bWU6c2VjcmV0":  # me:secret
            return await status(401)(server, request, data)

    server.always["index.json"] = with_login
    address = server.url.replace("//", "//me:secret@")
    assert resolve("tiny-digits", registry=address).source == server.url
    with pytest.raises(DownloadError, match="login"):
        resolve("tiny-digits", registry=server.url)
    monkeypatch.setattr("glorext.hub.kept_index.FRESH_SECONDS", -1)
    server.always["index.json"] = status(403)
    with pytest.raises(DownloadError) as caught:
        resolve("tiny-digits", registry=address, force_reload=True)
    assert "secret" not in str(caught.value) + caplog.text


def test_a_file_with_a_published_digest_prefix_is_checked_against_it(server, registry, tmp_path):
    data = os.urandom(5000)
    (registry / "weights").write_bytes(data)
    digest = sha256_bytes(data)
    found = download(f"{server.url}/weights", tmp_path / "part", Wanted(sha256_prefix=digest[:8]), "weights")
    assert found == digest
    with pytest.raises(IntegrityError, match="0badc0de"):
        download(f"{server.url}/weights", tmp_path / "other", Wanted(sha256_prefix="0badc0de"), "weights")
    assert not (tmp_path / "other").exists()
