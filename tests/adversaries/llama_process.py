"""Runs llama.cpp's `llama-server` in a process, kills it and starts it again."""

import os
import random
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, final

import attrs
import httpx
import trio
from cli_process import PATIENCE_SECONDS, environment
from counting_model import CONTEXT_TOKENS, NAME
from serve_process import until

from cortex_trio import WorkerConfig

PROVIDERS = {"openai_compatible": "/v1", "openai_responses": "/v1", "anthropic": ""}
"""The APIs that llama.cpp serves, by our provider, with the path of their base URL."""


@final
@attrs.define
class Llama:
    """A llama-server on a port of its own, which it keeps over its restarts."""

    program: str
    model: Path
    port: int
    process: trio.Process

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def worker(self, provider: str = "openai_compatible", **settings: Any) -> WorkerConfig:
        return WorkerConfig(**{**self.entry(provider), **settings})

    def entry(self, provider: str = "openai_compatible", **settings: Any) -> dict[str, Any]:
        """Return the worker's entry in a configuration."""
        key = {} if provider == "openai_compatible" else {"api_keys": ["sk-of-llama-0001"]}
        return {
            "provider": provider,
            "base_url": self.url + PROVIDERS[provider],
            "models": [NAME],
            **key,
            **settings,
        }

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def start_again(self) -> None:
        self.process = await _started(self.program, self.model, self.port)

    async def freeze(self) -> None:
        """Stop it as with Ctrl-Z; its connections stay open. Return when the last of its threads has stopped."""
        self.process.send_signal(signal.SIGSTOP)
        await trio.to_thread.run_sync(os.waitid, os.P_PID, self.process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    async def slots(self) -> list[dict[str, Any]]:
        """What it says of its slots, each of which works on one request at a time."""
        async with httpx.AsyncClient(trust_env=False) as client:
            found: list[dict[str, Any]] = (await client.get(f"{self.url}/slots")).raise_for_status().json()
        return found

    async def is_computing(self) -> bool:
        return any(slot["is_processing"] for slot in await self.slots())

    async def is_idle(self) -> bool:
        return not await self.is_computing()

    async def is_ready(self) -> bool:
        """Whether it has loaded its model."""
        assert self.process.poll() is None, "llama-server has ended; run it by hand to see why"
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                return (await client.get(f"{self.url}/health")).status_code == 200
        except httpx.TransportError:
            return False


async def _started(program: str, model: Path, port: int, *options: str) -> trio.Process:
    slots = ["-np", "2", "-c", str(2 * CONTEXT_TOKENS)]
    command = [program, "-m", str(model), "--host", "127.0.0.1", "--port", str(port), "-t", "1", *slots]
    quiet = subprocess.DEVNULL
    return await trio.lowlevel.open_process(
        [*command, *options], stdin=quiet, stdout=quiet, stderr=quiet, env=environment()
    )


async def _free_port() -> int:
    """Return a port below those that clients get: one of them could take it while the server is not running."""
    while True:
        port = random.randrange(10_000, 32_768)
        try:
            [listener] = await trio.open_tcp_listeners(port, host="127.0.0.1")
        except OSError:
            continue
        await listener.aclose()
        return port


@asynccontextmanager
async def running(program: str, model: Path, *options: str) -> AsyncIterator[Llama]:
    """Run it on a free port until the block is left; `options` are those of llama-server."""
    port = await _free_port()
    llama = Llama(program, model, port, await _started(program, model, port, *options))
    try:
        await until(llama.is_ready)
        yield llama
    finally:
        with trio.move_on_after(PATIENCE_SECONDS, shield=True):
            await llama.kill()
