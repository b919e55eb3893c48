"""Servers that misbehave: whatever one sends, or does not, a load ends in time, in bounded memory and in words."""

import asyncio
import errno
import gzip
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
from aiohttp import web as aio

from glorext import hub
from glorext.hub import kept_index as registries
from glorext.hub import web
from glorext.hub.download import get_bytes
from glorext.hub.pack import pack
from glorext.hub.publish import publish
from glorext.runtime import DownloadError, IntegrityError, UsageError

from .fault_server import FaultServer, instead, status
from .samples import DETAILS

CKPT = "tiny-digits.ckpt"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1234\n"


class RawServer:
    """Sends `pieces` to whoever connects, one every `delay` seconds, then holds the line."""

    def __init__(self, pieces, delay=0.0):
        self.pieces, self.delay = pieces, delay
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                line = self.socket.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._talk, args=(line,), daemon=True).start()

    def _talk(self, line):
        try:
            line.recv(1 << 16)
            for piece in self.pieces:
                line.sendall(piece)
                time.sleep(self.delay)
            line.recv(1)
        except OSError:
            pass
        finally:
            line.close()


@pytest.fixture
def raw():
    """Call it: a RawServer of the test's own."""
    servers = []

    def start(pieces, delay=0.0):
        servers.append(RawServer(pieces, delay))
        return servers[-1]

    yield start
    for server in servers:
        server.socket.close()


@pytest.fixture
def second(monkeypatch):
    """A budget of one second."""
    monkeypatch.setenv("GLOREXT_TIMEOUT", "1")


DRIP = [bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nX-Drip: " + b"x" * 1000]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [[], DRIP, [HEAD], [HEAD, *[b"x"] * 1000], [b"HTTP/1.1 100 Continue\r\n\r\n"] * 1000],
    ids=["silent", "dripping headers", "silent after the headers", "dripping body", "endless announcements"],
)
def test_a_request_ends_within_its_budget_of_time(raw, second, pieces):
    server = raw(pieces, 0.05)
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"no whole answer within 1 s.*GLOREXT_TIMEOUT"):
        hub.resolve("tiny-digits", server.url)
    assert time.monotonic() - start < 1.5


def test_a_dripping_download_ends_and_keeps_what_arrived(server, url, second, cache):
    async def drip(server, request, data):
        return await server.body(request, data, delay=0.05, chunk=100)

    server.always[CKPT] = drip
    start = time.monotonic()
    with pytest.raises(DownloadError, match="no whole answer within 1 s: .*What arrived is kept"):
        hub.resolve("tiny-digits")
    assert time.monotonic() - start < 3
    assert [path.stat().st_size > 0 for path in cache.glob("partial/*")] == [True]


def test_a_slow_download_that_goes_on_takes_longer_than_the_budget(server, url, second, monkeypatch):
    monkeypatch.setattr(web, "PROGRESS", 1 << 14)

    async def slowly(server, request, data):
        return await server.body(request, data, delay=0.08, chunk=1 << 14)

    server.always[CKPT] = slowly
    start = time.monotonic()
    hub.resolve("tiny-digits")
    assert time.monotonic() - start > 1


def test_attempts_that_take_long_are_told(raw, monkeypatch, caplog):
    monkeypatch.setenv("GLOREXT_TIMEOUT", "4")
    monkeypatch.setattr(web, "READ_SECONDS", 2.1)
    with pytest.raises(DownloadError):
        hub.resolve("tiny-digits", raw([]).url)
    assert "the server is silent; trying again, for at most 2 s" in caplog.text


def test_a_kept_index_serves_at_once_and_is_renewed_behind(server, url, registry, run, tmp_path, monkeypatch, caplog):
    hub.resolve("tiny-digits")
    monkeypatch.setattr(registries, "FRESH_SECONDS", -1)
    monkeypatch.setattr(registries, "MOMENT", 0.2)
    newer = tmp_path / "newer"
    pack(run, newer, DETAILS.__class__(**{**vars(DETAILS), "version": "1.1.0"}))
    publish(newer, registry)

    async def late(server, request, data):
        await asyncio.sleep(1)

    server.faults["index.json"] = [late]
    start = time.monotonic()
    assert hub.resolve("tiny-digits").version == "1.0.0"
    assert time.monotonic() - start < 0.9
    assert "from the cache: no answer within 0.2 s" in caplog.text
    # the request that is on its way is waited for no second time
    start = time.monotonic()
    assert hub.resolve("tiny-digits").version == "1.0.0"
    assert time.monotonic() - start < 0.2
    assert server.count("index.json") == 2
    monkeypatch.setattr(registries, "FRESH_SECONDS", 600)
    deadline = time.monotonic() + 5
    while hub.resolve("tiny-digits").version != "1.1.0" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert hub.resolve("tiny-digits").version == "1.1.0"
    assert server.count("index.json") == 2


@pytest.mark.parametrize("packed", [False, True])
def test_bodies_of_redirects_are_not_read(server, url, registry, packed):
    (registry / "moved.json").write_bytes((registry / "index.json").read_bytes())
    sent, piece = 0, gzip.compress(bytes(64 << 20)) if packed else bytes(1 << 16)

    async def endless(server, request, data):
        nonlocal sent
        headers = {"Location": "/moved.json"} | ({"Content-Encoding": "gzip"} if packed else {})
        answer = aio.StreamResponse(status=302, headers=headers)
        await answer.prepare(request)
        for _ in range(3000):
            await answer.write(piece)
            sent += len(piece)
        return answer

    server.always["index.json"] = endless
    tracemalloc.start()
    hub.info("tiny-digits")
    assert tracemalloc.get_traced_memory()[1] < 30 << 20
    tracemalloc.stop()
    assert sent < 50 << 20


@pytest.mark.parametrize(
    "value", ["9" * 400, "9" * 5000, "-1", "\xb2", "1e9", "soon", "Wed, 21 Oct 2099 07:28:00 GMT"], ids=lambda v: v[:9]
)
def test_a_hostile_retry_after_is_passed_over(server, url, value, monkeypatch):
    pauses = []
    monkeypatch.setattr(web, "pause", lambda failures, asked, budget: pauses.append(asked))
    monkeypatch.setattr("glorext.hub.download.pause", web.pause)
    server.faults["index.json"] = [status(503, headers={"Retry-After": value})]
    hub.resolve("tiny-digits")
    assert pauses == [0]


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Length: " + b"9" * 5000,
        b"Content-Length: -5",
        b"Content-Length: \xb2",
        b"Content-Length: 5\r\nContent-Length: 7",
        b"Content-Length: 999999999999999999999",
        b"Content-Encoding: gzip",
        b"Content-Encoding: gzip, gzip, gzip, br",
        b"Transfer-Encoding: chunked\r\nContent-Length: 1",
        b"ETag: \x1b[2J\x80",
        b"X: " + b"y" * 100_000,
        b"\r\n".join(b"X%d: y" % number for number in range(500)),
        b"Location",
        b": nothing",
    ],
    ids=lambda line: line[:30].decode("latin-1"),
)
@pytest.mark.parametrize("code", [b"200 OK", b"302 \x1b[2JFound", b"500 \xff\xfe", b"999 \x1b]0;evil\x07"])
def test_hostile_headers_end_in_words(raw, quick, monkeypatch, line, code):
    monkeypatch.setenv("GLOREXT_TIMEOUT", "1")
    server = raw([b"HTTP/1.1 " + code + b"\r\n" + line + b"\r\nConnection: close\r\n\r\nhello"])
    with pytest.raises((DownloadError, hub.registry.RegistryError)) as caught:
        hub.resolve("tiny-digits", server.url)
    assert str(caught.value).isascii() and str(caught.value).isprintable()


def test_answers_packed_unasked_are_unpacked(server, url, registry):
    async def packed(server, request, data):
        if "Range" in request.headers:
            return None
        return aio.Response(body=gzip.compress(data), headers={"Content-Encoding": "gzip"})

    for name in ("index.json", "manifest.json", "labels.txt", CKPT):
        server.always[name] = packed
    found = hub.resolve("tiny-digits")
    assert found.checkpoint.read_bytes() == (registry / "packages/tiny-digits/1.0.0" / CKPT).read_bytes()
    server.always["index.json"] = instead(b"\x1b\x00", **{"Content-Encoding": "br"})
    with pytest.raises(DownloadError, match=r"packs its answer \(br\)"):
        hub.resolve("tiny-digits", force_reload=True)
    server.always["index.json"] = instead(b"no gzip", **{"Content-Encoding": "gzip"})
    with pytest.raises(DownloadError, match="called gzip is none"):
        hub.resolve("tiny-digits", force_reload=True)


def test_a_packed_answer_that_is_cut_starts_again(server, url, registry):
    async def packed(server, request, data):
        body = gzip.compress(data)
        ranged = "Range" in request.headers
        return aio.Response(
            status=206 if ranged else 200,
            body=body if server.count(CKPT) > 1 else body[: len(body) // 2],
            headers={"Content-Encoding": "gzip", **({"Content-Range": f"bytes 0-9/{len(body)}"} if ranged else {})},
        )

    server.always[CKPT] = packed
    assert hub.resolve("tiny-digits").version == "1.0.0"
    headers = [header for path, header in server.requests if path.endswith(CKPT)]
    assert headers[0] is None and headers[1].startswith("bytes=") and headers[2] is None


def test_pointers_of_git_lfs_are_called_that(server, url, registry):
    server.always[CKPT] = instead(POINTER)
    with pytest.raises(DownloadError, match="pointer of Git LFS.*git lfs pull"):
        hub.resolve("tiny-digits")
    server.always["index.json"] = instead(POINTER)
    with pytest.raises(DownloadError, match="pointer of Git LFS"):
        hub.resolve("tiny-digits", force_reload=True)
    (registry / "packages/tiny-digits/1.0.0" / CKPT).write_bytes(POINTER)
    with pytest.raises(IntegrityError, match="pointer of Git LFS.*git lfs pull"):
        hub.resolve("tiny-digits", registry)


@pytest.mark.parametrize(
    "answer, words",
    [
        (status(511), "status 511: the network wants a login first"),
        (status(200, "<!-- hello --><script>login()</script>", content_type="text/html"), "an HTML page"),
        (status(302, headers={"Location": "/login"}), "no such file"),
    ],
)
def test_guest_networks_are_recognized(server, url, answer, words):
    server.always["index.json"] = answer
    with pytest.raises(DownloadError, match=words):
        hub.resolve("tiny-digits")


@pytest.mark.parametrize(
    "code, words", [(401, "wants a login.*GLOREXT_TOKENS=HOST=TOKEN.*netrc"), (403, "forbids it.*GLOREXT_TOKENS")]
)
def test_refusals_say_how_to_give_a_token(server, url, code, words):
    server.always["index.json"] = status(code)
    with pytest.raises(DownloadError, match=words):
        hub.resolve("tiny-digits")


def test_proxies_that_refuse_are_told_from_servers(raw, quick, monkeypatch):
    proxy = raw([b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"])
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", proxy.url)
        with pytest.raises(DownloadError, match=r"the proxy wants a login in .*NAME:PASSWORD@HOST"):
            hub.resolve("tiny-digits", f"{scheme}://registry.invalid")
    monkeypatch.setenv("https_proxy", raw([b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"]).url)
    with pytest.raises(DownloadError, match="the proxy refuses it: 403 Forbidden"):
        hub.resolve("tiny-digits", "https://registry.invalid")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    with pytest.raises(DownloadError, match="the proxy cannot be reached.*HTTPS_PROXY"):
        hub.resolve("tiny-digits", "https://registry.invalid")


def test_a_socks_proxy_without_its_library_says_which(monkeypatch, quick):
    import sys

    monkeypatch.setitem(sys.modules, "socks", None)
    monkeypatch.delitem(sys.modules, "urllib3.contrib.socks", raising=False)
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(DownloadError, match=r"SOCKS proxy needs.*requests\[socks\]|proxy cannot be reached"):
        hub.resolve("tiny-digits", "http://registry.invalid")


@pytest.mark.parametrize(
    "error, words",
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "no name server knows the host"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "the name server does not answer, 6 times"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "no way to that host"),
    ],
)
def test_networks_that_are_not_there_are_named(monkeypatch, quick, error, words):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(DownloadError, match=words):
        hub.resolve("tiny-digits", "http://registry.example")


def test_a_name_server_that_is_silent_is_left(monkeypatch, second):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: time.sleep(3))
    start = time.monotonic()
    with pytest.raises(DownloadError, match="no whole answer within 1 s"):
        hub.resolve("tiny-digits", "http://registry.example")
    assert time.monotonic() - start < 2


@pytest.fixture(scope="session")
def other_host(tmp_path_factory):
    """Key and certificate for a host that is not this one."""
    folder = tmp_path_factory.mktemp("tls")
    line = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=elsewhere"
    subprocess.run(
        [*line.split(), "-addext", "subjectAltName=DNS:elsewhere"], cwd=folder, check=True, capture_output=True
    )
    return folder


def test_faults_of_tls_are_told_apart(server, registry, other_host, monkeypatch, quick):
    with pytest.raises(DownloadError, match="answers without TLS.*http:"):
        hub.resolve("tiny-digits", server.url.replace("http:", "https:"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(other_host / "cert.pem", other_host / "key.pem")
    secure = FaultServer(registry, ssl=context)
    with pytest.raises(DownloadError, match="not trusted: self-signed certificate.*REQUESTS_CA_BUNDLE"):
        hub.resolve("tiny-digits", secure.url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other_host / "cert.pem"))
    with pytest.raises(DownloadError, match="not trusted: .*Use the name that the certificate is for"):
        hub.resolve("tiny-digits", secure.url)
    secure.close()


@pytest.fixture
def guarded(server):
    """The server, which wants the token "s3cret" for every file."""

    async def ask(server, request, data):
        if request.headers.get("Authorization") != "Bearer s3cret":
            return aio.Response(status=401)

    for path in server.root.rglob("*.*"):
        server.always[path.name] = ask
    return server


@pytest.mark.parametrize("place", ["environment", "netrc"])
def test_a_token_opens_its_registry(guarded, monkeypatch, tmp_path, place, caplog):
    with pytest.raises(DownloadError, match="status 401"):
        hub.resolve("tiny-digits", guarded.url)
    if place == "environment":
        monkeypatch.setenv("GLOREXT_TOKENS", f"models.example.com=other,127.0.0.1:{guarded.port}=s3cret")
    else:
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login bearer password s3cret\n")
        (tmp_path / "netrc").chmod(0o600)
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert hub.resolve("tiny-digits", guarded.url).version == "1.0.0"
    assert "s3cret" not in caplog.text


def test_a_token_goes_to_its_own_host_only(server, registry, monkeypatch):
    other, seen = FaultServer(registry), []

    async def note(server, request, data):
        seen.append(request.headers.get("Authorization"))

    other.always["index.json"] = note
    server.always["index.json"] = status(302, headers={"Location": f"{other.url}/index.json"})
    monkeypatch.setenv("GLOREXT_TOKENS", f"127.0.0.1:{server.port}=s3cret")
    hub.info("tiny-digits", registry=server.url)
    assert seen == [None]
    other.close()


def test_a_token_is_never_sent_in_the_clear(monkeypatch, quick):
    monkeypatch.setenv("GLOREXT_TOKENS", "registry.example=s3cret")
    with pytest.raises(DownloadError, match="a token is for https only") as caught:
        hub.resolve("tiny-digits", "http://registry.example")
    assert "s3cret" not in str(caught.value)
    monkeypatch.setenv("GLOREXT_TOKENS", "s3cret")
    with pytest.raises(UsageError, match="HOST=TOKEN") as wrong:
        hub.resolve("tiny-digits", "https://registry.example")
    assert "s3cret" not in str(wrong.value)


def test_a_budget_that_is_none_is_a_usage_error(monkeypatch):
    for value in ("0", "-1", "soon", "1e9", "nan"):
        monkeypatch.setenv("GLOREXT_TIMEOUT", value)
        with pytest.raises(UsageError, match="GLOREXT_TIMEOUT"):
            get_bytes("http://127.0.0.1:1", 1)


def test_signed_addresses_share_one_kept_index(server, cache):
    for signature in ("X-Amz-Signature=1&X-Amz-Date=1", "X-Amz-Signature=2&X-Amz-Date=2", "Expires=3&Signature=a"):
        hub.info("tiny-digits", registry=f"{server.url}/?{signature}")
    assert server.count("index.json") == 1
    hub.info("tiny-digits", registry=f"{server.url}/?tenant=a&Signature=a")
    assert server.count("index.json") == 2
    assert len(list(Path(cache / "indexes").iterdir())) == 2
