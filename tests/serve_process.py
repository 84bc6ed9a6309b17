"""Runs `cortex-trio serve` in a real process."""

import re
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import httpx
import trio
from cli_process import CORTEX, PATIENCE_SECONDS, environment

PROVIDERS = {"ollama": {"models": ["m"], "base_url": "http://127.0.0.1:9"}}


@attrs.define
class Serving:
    """A process that serves."""

    process: trio.Process
    url: str
    err: Path

    async def get(self, path: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:
            return await client.get(self.url + path, headers=headers)

    async def has_logged(self, text: str) -> bool:
        return text in self.err.read_text()

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        with trio.fail_after(PATIENCE_SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def serving(
    tmp_path: Path, *options: str, env: Mapping[str, str] | None = None
) -> AsyncIterator[Serving]:
    """Run `cortex-trio serve --port 0` until the block ends."""
    err = tmp_path / "stderr"
    with err.open("wb") as errors:
        process = await trio.lowlevel.open_process(
            [*CORTEX, "serve", "--port", "0", *options],
            env=environment(PROVIDERS) if env is None else env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdout is not None
    try:
        with trio.fail_after(PATIENCE_SECONDS):
            line = (await process.stdout.receive_some()).decode()
        assert re.match(r"listening on https?://127\.0\.0\.1:\d", line), err.read_text()
        yield Serving(process, line.removeprefix("listening on ").strip(), err)
    finally:
        with trio.move_on_after(PATIENCE_SECONDS, shield=True):
            await process.stdout.aclose()
            if process.returncode is None:
                process.kill()
            await process.wait()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while not await condition():  # noqa: ASYNC110 - another process makes it true
            await trio.sleep(0.02)
