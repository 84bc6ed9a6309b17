"""Somebody else's idea of the providers: aimock, an independent simulator of five of our dialects, and its chaos.

It is an npm package and no part of this project. Where node is and the package is not:

    npm install --prefix /tmp/aimock @copilotkit/aimock
    CORTEX_AIMOCK=/tmp/aimock pytest tests/adversaries
"""

import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio
from at_rest import gateway, is_at_rest

from cortex_trio import Config, CortexError, FinishReason, Tool, WorkerConfig, open_cortex
from cortex_trio.providers import PROVIDERS
from cortex_trio.simulator import Behaviour, open_simulator

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
DIALECTS = ("openai", "anthropic", "gemini", "cohere", "ollama")
MODELS = {
    "openai": "gpt-4o-mini",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-2.0-flash",
    "cohere": "command-a-03-2025",
    "ollama": "llama3.2",
}
STORY = "Once upon a time there was a gateway — and it always answered, in 日本語 as well. " * 5
RESCUE = "The fallback's answer."
FIXTURES = {
    "fixtures": [
        {"match": {"userMessage": "a story"}, "response": {"content": STORY}},
        {
            "match": {"userMessage": "the weather"},
            "response": {"toolCalls": [{"name": "get_weather", "arguments": {"city": "Oslo"}}]},
        },
    ]
}
PATIENCE_SECONDS = 20.0


@pytest.fixture(scope="session")
def program() -> str:
    """The path of aimock's server."""
    if shutil.which("node") is None:
        pytest.skip("node is not here")
    places = [Path(os.environ[name]) for name in ("CORTEX_AIMOCK",) if name in os.environ]
    for place in (*places, HERE):
        found = place / "node_modules" / ".bin" / "llmock"
        if found.exists():
            return str(found)
    pytest.skip("aimock is not here: npm install --prefix DIR @copilotkit/aimock, and set CORTEX_AIMOCK=DIR")


@asynccontextmanager
async def aimock(program: str, folder: Path, *chaos: str) -> AsyncIterator[str]:
    """Run it on a free port until the block is left; yields its address."""
    fixtures = folder / "fixtures.json"
    fixtures.write_text(json.dumps(FIXTURES), encoding="utf-8")
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    command = [program, "-p", str(port), "-f", str(fixtures), "--log-level", "silent", *chaos]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await _until_it_listens(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def _until_it_listens(port: int) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            try:
                await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                return
            except OSError:
                await trio.sleep(0.05)


def worker(dialect: str, address: str, priority: int = 0) -> WorkerConfig:
    path = urlsplit(PROVIDERS[dialect].base_url).path
    keys = ["sk-aimock-00000001"] if PROVIDERS[dialect].needs_key else []
    return WorkerConfig(
        provider=dialect,
        api_keys=keys,
        models=[MODELS[dialect]],
        base_url=address + path,
        priority=priority,
    )


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_it_is_understood_in_every_dialect_it_speaks(
    program: str, tmp_path: Path, dialect: str
) -> None:
    weather = Tool(
        "get_weather", "The weather.", {"type": "object", "properties": {"city": {"type": "string"}}}
    )
    async with aimock(program, tmp_path) as address:
        config = Config(workers={dialect: worker(dialect, address)}, health_check_interval=0)
        async with open_cortex(config) as cortex:
            reply = await cortex.complete("Tell me a story")
            assert (reply.text, reply.finish_reason) == (STORY, FinishReason.STOP)
            async with cortex.chat("Tell me a story") as answer:
                assert "".join([piece async for piece in answer.text()]) == STORY
            reply = await cortex.complete("How is the weather?", tools=[weather])
            assert [(call.name, call.parsed()) for call in reply.tool_calls] == [
                ("get_weather", {"city": "Oslo"})
            ]
            # Its Gemini ends with FUNCTION_CALL, a reason the real one does not have: the call is there all the same.
            assert reply.finish_reason is FinishReason.TOOL_CALLS
            assert await is_at_rest(cortex)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("chaos", ["drop", "malformed", "disconnect", "ratelimit"])
async def test_when_it_always_fails_the_fallback_serves(
    program: str, tmp_path: Path, dialect: str, chaos: str
) -> None:
    async with (
        aimock(program, tmp_path, f"--chaos-{chaos}", "1") as address,
        open_simulator(sockets=True) as sim,
    ):
        fallback = sim.add("fallback", Behaviour(text=RESCUE), provider="openai")
        workers = {"primary": worker(dialect, address), "fallback": fallback.worker(priority=1)}
        async with gateway(sim, workers) as cortex:
            reply = await cortex.complete("Tell me a story")
            assert (reply.text, reply.worker) == (RESCUE, "fallback")
            async with cortex.chat("Tell me a story") as answer:
                assert "".join([piece async for piece in answer.text()]) == RESCUE


async def test_a_hundred_requests_in_its_chaos_are_all_answered_whole(program: str, tmp_path: Path) -> None:
    chaos = [
        word
        for kind in ("drop", "malformed", "disconnect", "ratelimit")
        for word in (f"--chaos-{kind}", "0.1")
    ]
    async with aimock(program, tmp_path, *chaos) as address, open_simulator(sockets=True) as sim:
        fallback = sim.add("fallback", Behaviour(text=RESCUE), provider="openai")
        workers = {dialect: worker(dialect, address) for dialect in DIALECTS}
        workers["fallback"] = fallback.worker(priority=9)
        texts: list[str] = []
        errors: list[CortexError] = []
        async with gateway(sim, workers, strategy="random", max_attempts=16) as cortex:

            async def ask() -> None:
                try:
                    texts.append((await cortex.complete("Tell me a story")).text)
                except CortexError as error:
                    errors.append(error)

            for _ in range(10):
                async with trio.open_nursery() as nursery:
                    for _ in range(10):
                        nursery.start_soon(ask)
        assert errors == []
        assert set(texts) <= {STORY, RESCUE}
        assert STORY in texts
