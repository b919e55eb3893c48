"""Headless Chromium, spoken to over its DevTools protocol: real layout, real scripts, every request recorded."""

import asyncio
import itertools
import json
import shutil
import subprocess
import time

import aiohttp

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


class Page:
    """One page of a browser; use it as an async context manager."""

    def __init__(self, profile, width=1100, height=900):
        self.profile, self.width, self.height = profile, width, height
        self.requests, self.errors = [], []
        self._numbers, self._answers, self._loaded = itertools.count(1), {}, asyncio.Event()

    async def __aenter__(self):
        self._browser = subprocess.Popen(
            [
                CHROMIUM,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--remote-debugging-port=0",
                f"--user-data-dir={self.profile}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ready, deadline = self.profile / "DevToolsActivePort", time.time() + 30
        while not ready.exists() or not ready.read_text().strip():
            assert self._browser.poll() is None and time.time() < deadline, "Chromium did not start"
            await asyncio.sleep(0.05)
        port = ready.read_text().split()[0]
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json") as answer:
            target = next(page for page in await answer.json(content_type=None) if page["type"] == "page")
        self._socket = await self._session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)
        self._reader = asyncio.create_task(self._read())
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.call(f"{domain}.enable")
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=self.width,
            height=self.height,
            deviceScaleFactor=1,
            mobile=self.width < 600,
        )
        return self

    async def __aexit__(self, *error):
        self._reader.cancel()
        await self._session.close()
        self._browser.terminate()
        self._browser.wait(10)

    async def _read(self):
        async for message in self._socket:
            value = json.loads(message.data)
            if "id" in value:
                self._answers.pop(value["id"]).set_result(value)
            elif value["method"] == "Network.requestWillBeSent":
                self.requests.append(value["params"]["request"]["url"])
            elif value["method"] == "Runtime.exceptionThrown":
                self.errors.append(value["params"]["exceptionDetails"]["text"])
            elif value["method"] == "Log.entryAdded" and value["params"]["entry"]["level"] == "error":
                self.errors.append(value["params"]["entry"]["text"])
            elif value["method"] == "Page.loadEventFired":
                self._loaded.set()

    async def call(self, method, **parameters):
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        answer = await asyncio.wait_for(self._answers[number], 20)
        assert "error" not in answer, answer
        return answer["result"]

    async def open(self, path):
        self._loaded.clear()
        await self.call("Page.navigate", url=path.absolute().as_uri())
        await asyncio.wait_for(self._loaded.wait(), 20)

    async def run(self, script):
        """The value of a JavaScript expression in the page."""
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def type(self, selector, text):
        """Type into a field as a user does."""
        await self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.run("document.activeElement.select()")
        await self.call("Input.insertText", text=text)
