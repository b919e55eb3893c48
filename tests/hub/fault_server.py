"""A real HTTP server on the loopback that serves a folder with Range, and misbehaves when told to."""

import asyncio
import threading
from collections import defaultdict
from pathlib import Path

from aiohttp import web


class FaultServer:
    """Serves `root`. `faults[path]` is a list of handlers; each request for the path takes the first one off.

    A handler is a coroutine function (server, request, data) -> response; None means the ordinary answer.
    `sent[path]` counts body bytes handed to the socket, `requests` lists (path, Range header).
    """

    def __init__(self, root, ssl=None):
        self.root, self.ssl = Path(root), ssl
        self.faults = defaultdict(list)
        self.always = {}
        self.sent = defaultdict(int)
        self.requests = []
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait()

    def _run(self, started):
        asyncio.set_event_loop(self._loop)

        async def start():
            app = web.Application()
            app.router.add_route("GET", "/{path:.*}", self._answer)
            self._runner = web.AppRunner(app, shutdown_timeout=0.1)
            await self._runner.setup()
            site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.ssl)
            await site.start()
            self.port = site._server.sockets[0].getsockname()[1]
            started.set()

        self._loop.run_until_complete(start())
        self._loop.run_forever()

    def close(self):
        if self._loop.is_closed() or not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    @property
    def url(self):
        return f"{'https' if self.ssl else 'http'}://127.0.0.1:{self.port}"

    def count(self, suffix):
        """How many requests for paths that end in `suffix` came."""
        return sum(path.endswith(suffix) for path, _ in self.requests)

    async def _answer(self, request):
        path = request.path.lstrip("/")
        self.requests.append((path, request.headers.get("Range")))
        key = next((key for key in (path, path.rsplit("/", 1)[-1]) if self.faults[key] or key in self.always), path)
        fault = self.faults[key].pop(0) if self.faults[key] else self.always.get(key)
        file = self.root / path
        data = file.read_bytes() if file.is_file() else None
        if fault:
            answer = await fault(self, request, data)
            if answer is not None:
                return answer
        if data is None:
            return web.Response(status=404, text="not here")
        return await self.body(request, data)

    async def body(self, request, data, stop=None, delay=0.0, headers=None, ignore_range=False, chunk=1 << 16):
        """The ordinary answer, cut off `stop` bytes into the file, or slow, or without Range."""
        start, status, etag = 0, 200, f'"{len(data)}-{hash(data)}"'
        extra = {"ETag": etag, "Accept-Ranges": "bytes"}
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers=extra)
        if "Range" in request.headers and not ignore_range:
            start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                return web.Response(status=416, headers={"Content-Range": f"bytes */{len(data)}"})
            status, extra["Content-Range"] = 206, f"bytes {start}-{len(data) - 1}/{len(data)}"
        answer = web.StreamResponse(status=status, headers={**extra, **(headers or {})})
        if "Transfer-Encoding" in answer.headers:
            answer.headers.popall("Transfer-Encoding")
            answer.enable_chunked_encoding()
        else:
            answer.content_length = len(data) - start
        await answer.prepare(request)
        end = len(data) if stop is None else max(start, min(stop, len(data)))
        for offset in range(start, end, chunk):
            piece = data[offset : min(offset + chunk, end)]
            await answer.write(piece)
            self.sent[request.path.rsplit("/", 1)[-1]] += len(piece)
            if delay:
                await asyncio.sleep(delay)
        if end < len(data):
            await asyncio.sleep(0.01)
            request.transport.close()
        return answer


def cut(offset):
    """Break the connection when `offset` bytes of the file went out."""

    async def handler(server, request, data):
        return await server.body(request, data, stop=offset)

    return handler


def status(code, text="", headers=None, content_type="text/plain"):
    """Answer with a status."""

    async def handler(server, request, data):
        return web.Response(status=code, text=text, headers=headers, content_type=content_type)

    return handler


def instead(body, **headers):
    """Answer 200 with other bytes."""

    async def handler(server, request, data):
        return web.Response(body=body, headers={"Content-Type": "application/octet-stream", **headers})

    return handler


def slow(delay, chunk=1 << 14):
    """Answer in small pieces with a pause after each."""

    async def handler(server, request, data):
        return await server.body(request, data, delay=delay, chunk=chunk)

    return handler


def stalled(offset, seconds):
    """Send `offset` bytes, then nothing for `seconds`."""

    async def handler(server, request, data):
        answer = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await answer.prepare(request)
        await answer.write(data[:offset])
        await asyncio.sleep(seconds)
        request.transport.close()
        return answer

    return handler


async def without_range(server, request, data):
    """Ignore the Range header: 200 and everything."""
    return await server.body(request, data, ignore_range=True)
