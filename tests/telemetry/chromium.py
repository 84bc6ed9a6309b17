"""A headless Chromium, driven over its debugging pipe: JSON messages that end with a zero byte."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

PATIENCE_SECONDS = 20.0
NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page in a browser."""

    def __init__(self, to_browser: trio.lowlevel.FdStream, from_browser: trio.lowlevel.FdStream) -> None:
        self._out = to_browser
        self._in = from_browser
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.problems: list[str] = []
        """Messages of the console and exceptions of scripts."""

    async def open(self, url: str, *, width: int = 1100, height: int = 900) -> None:
        created = await self.send("Target.createTarget", url="about:blank")
        attached = await self.send("Target.attachToTarget", targetId=created["targetId"], flatten=True)
        self._session = attached["sessionId"]
        await self.send("Runtime.enable")
        await self.send("Log.enable")
        await self.resize(width, height)
        await self.send("Page.navigate", url=url)

    async def resize(self, width: int, height: int, *, mobile: bool = False) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        await self.send("Emulation.setDeviceMetricsOverride", **metrics)

    async def prefer(self, scheme: str) -> None:
        """Set the colour scheme: "dark" or "light"."""
        await self.send(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
        )

    async def value(self, expression: str) -> Any:
        result = await self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        return result["result"].get("value")

    async def text(self, selector: str = "body") -> str:
        return str(await self.value(f"document.querySelector({selector!r})?.innerText ?? ''"))

    async def wait_for(self, part: str, selector: str = "body") -> str:
        """Wait until the text of an element has `part`, and return it."""
        text = ""
        with trio.move_on_after(PATIENCE_SECONDS):
            while part not in (text := await self.text(selector)):  # noqa: ASYNC110 - the browser sends no event
                await trio.sleep(0.05)
            return text
        raise AssertionError(f"{part!r} did not appear in {selector}: {text}")

    async def picture(self, path: Path) -> None:
        shot = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        await trio.Path(path).write_bytes(base64.b64decode(shot["data"]))

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        await self._out.send_all(json.dumps(message).encode() + b"\0")
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                received = await self._receive()
                if received.get("id") == self._number:
                    assert "error" not in received, received
                    result: dict[str, Any] = received["result"]
                    return result
                if received.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
                    self.problems.append(json.dumps(received["params"]))

    async def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = await self._in.receive_some(65536)
            assert data, "Chromium has ended"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        received: dict[str, Any] = json.loads(message)
        return received


@asynccontextmanager
async def open_chromium(executable: str, profile: Path) -> AsyncIterator[Browser]:
    """Run a headless Chromium while the block runs."""
    read_commands, write_commands = os.pipe()
    read_results, write_results = os.pipe()
    # The shell puts the pipes where Chromium expects them: commands on 3, results on 4.
    script = f'exec "$@" 3<&{read_commands} 4>&{write_results}'
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--remote-debugging-pipe",
    ]
    command = ["bash", "-c", script, "chromium", executable, *options, f"--user-data-dir={profile}"]
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process,
            command,
            pass_fds=(read_commands, write_results),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        process = await nursery.start(start)
        os.close(read_commands)
        os.close(write_results)
        to_browser, from_browser = (
            trio.lowlevel.FdStream(write_commands),
            trio.lowlevel.FdStream(read_results),
        )
        async with to_browser, from_browser:
            yield Browser(to_browser, from_browser)
            process.kill()
            nursery.cancel_scope.cancel()
