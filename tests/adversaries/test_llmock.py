"""LLMock's verdict: another project's server breaks answers, sees every request with its time, and judges the client.

It is the PyPI package `llmock` (not the program of the same name that comes with aimock) and no part of this project:

    pip install llmock && pytest tests/adversaries

Its findings are errors (a Retry-After ignored, a 4xx repeated, a cut answer taken for whole, a storm) and warnings (no
backoff, no repeat at all, no time limit for a silent stream). None is allowed but those whose test says why.
"""

import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio

from cortex_trio import Config, Cortex, CortexError, StreamInterrupted, Tool, WorkerConfig, open_cortex

pytestmark = pytest.mark.slow

PLACES: dict[str, tuple[str, str]] = {
    "openai": ("openai", "/v1"),
    "openai_responses": ("openai_responses", "/v1"),
    "anthropic": ("anthropic", "/anthropic"),
    "gemini": ("gemini", "/gemini/v1beta"),
    "cohere": ("cohere", "/cohere"),
    "groq": ("groq", "/groq/openai/v1"),
    "xai": ("xai", "/xai/v1"),
    "mistral": ("openai_compatible", "/mistral/v1"),
    "together": ("openai_compatible", "/together/v1"),
    "perplexity": ("openai_compatible", "/perplexity/v1"),
}
"""Our provider and its path, by the name of theirs."""
EVERY = list(PLACES)
FULLY = ["openai", "anthropic", "gemini"]
"""Those that are put through everything: the pauses are real."""
PASSING = [408, 409, 500, 502, 503, 504, 529]
PATIENCE_SECONDS = 30.0
TEXT = " ".join(f"word{number}" for number in range(60))
LONG = {"type": "reply", "text": TEXT, "times": 2}
"""An answer of many chunks, so that there is content before the twentieth in every dialect."""
UNNOTICED = "malformed_chunk_ignored"
"""Of an answer that was left it hears with the next chunk; a repeat that comes sooner is another call for it."""


@attrs.frozen
class LLMock:
    """A server that runs."""

    url: str

    def worker(self, place: str, **settings: Any) -> WorkerConfig:
        provider, path = PLACES[place]
        base = {
            "provider": provider,
            "models": ["m-1"],
            "base_url": self.url + path,
            "api_keys": ["sk-llmock-0001"],
        }
        return WorkerConfig(**{**base, **settings})

    async def break_next(self, *behaviours: dict[str, Any]) -> None:
        await self._ask("POST", "/_llmock/scenario", {"behaviors": list(behaviours)})

    async def verdict(self) -> list[str]:
        """The codes of its findings."""
        found = await self._ask("GET", "/_llmock/verdict")
        return [f"{finding['code']}: {finding['title']}" for finding in found["findings"]]

    async def requests(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self._ask("GET", "/_llmock/requests"))["requests"]
        return found

    async def reset(self) -> None:
        await self._ask("POST", "/_llmock/reset")

    async def _ask(self, method: str, path: str, body: object = None) -> Any:
        async with httpx.AsyncClient(base_url=self.url, timeout=PATIENCE_SECONDS) as client:
            return (await client.request(method, path, json=body)).raise_for_status().json()


@pytest.fixture(scope="module")
def program() -> Iterator[LLMock]:
    if find_spec("llmock") is None:
        pytest.skip("llmock is not here: pip install llmock")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = Path(sys.executable).with_name("llmock")
    command = [str(own), "serve", "--port", str(port), "--log-level", "critical"]
    command += [
        "--stream-chunk-delay-ms",
        "4",
    ]  # else all chunks come in one read, and nothing is shown before the break
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
        try:
            trio.run(_until_it_listens, port)
            yield LLMock(f"http://127.0.0.1:{port}")
        finally:
            process.kill()


async def _until_it_listens(port: int) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            try:
                await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                return
            except OSError:
                await trio.sleep(0.05)


@pytest.fixture
async def llmock(program: LLMock) -> LLMock:
    await program.reset()
    return program


@asynccontextmanager
async def gateway(llmock: LLMock, *places: str, **settings: Any) -> AsyncIterator[Cortex]:
    workers = {place: llmock.worker(place, priority=number) for number, place in enumerate(places)}
    config = Config(workers=workers, **{"health_check_interval": 0, **settings})
    async with open_cortex(config) as cortex:
        with trio.fail_after(PATIENCE_SECONDS):
            yield cortex


@pytest.mark.parametrize("place", EVERY)
async def test_it_is_understood(llmock: LLMock, place: str) -> None:
    weather = Tool("weather", "The weather", {"type": "object", "properties": {"city": {"type": "string"}}})
    async with gateway(llmock, place) as cortex:
        assert (await cortex.complete("Say something")).text
        async with cortex.chat("Say something else") as stream:
            assert "".join([piece async for piece in stream.text()])
        reply = await cortex.complete("How is the weather in Oslo?", tools=[weather])
        assert [called.name for called in reply.tool_calls] == ["weather"]
        await cortex.check_health()
    assert await llmock.verdict() == []


MAY_PASS = [
    *((place, status, 1) for place in FULLY for status in PASSING),
    *((place, 503, 2) for place in FULLY),
    *((place, 503, 1) for place in EVERY if place not in FULLY),
]


@pytest.mark.slow
@pytest.mark.parametrize(("place", "status", "times"), MAY_PASS)
async def test_what_may_pass_is_asked_again_with_backoff(
    llmock: LLMock, place: str, status: int, times: int
) -> None:
    await llmock.break_next({"type": "fail", "status": status, "times": times})
    async with gateway(llmock, place) as cortex:
        assert (await cortex.complete(f"after {times} of {status}")).text
    assert await llmock.verdict() == []
    assert len(await llmock.requests()) == times + 1


@pytest.mark.slow
@pytest.mark.parametrize("place", EVERY)
async def test_a_retry_after_is_honoured(llmock: LLMock, place: str) -> None:
    await llmock.break_next({"type": "fail", "status": 429, "retry_after": 1.0, "times": 2})
    async with gateway(llmock, place) as cortex:
        assert (await cortex.complete("twice too early")).text
    assert await llmock.verdict() == []


@pytest.mark.parametrize("place", EVERY)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_what_cannot_pass_is_not_asked_again(llmock: LLMock, place: str, status: int) -> None:
    await llmock.break_next({"type": "fail", "status": status, "times": None})
    async with gateway(llmock, place) as cortex:
        with pytest.raises(CortexError):
            await cortex.complete(f"a {status}", max_wait=0)
    assert await llmock.verdict() == []


@pytest.mark.parametrize("place", EVERY)
@pytest.mark.parametrize("kind", ["disconnect", "truncate", "malformed"])
@pytest.mark.parametrize("after", [0, 20])
async def test_a_broken_stream_is_asked_again_and_comes_whole(
    llmock: LLMock, place: str, kind: str, after: int
) -> None:
    await llmock.break_next(LONG, {"type": "stream_fault", "kind": kind, "after_chunks": after})
    async with gateway(llmock, place) as cortex:
        reply = await cortex.complete(f"broken: {kind} after {after}")
    assert reply.text == TEXT
    findings = await llmock.verdict()
    if kind == "malformed":
        # The first event of some dialects holds nothing that is read: what is broken in it breaks nothing.
        assert len(reply.attempts) == 2 or after == 0
        findings = [finding for finding in findings if not finding.startswith(UNNOTICED)]
    else:
        assert len(reply.attempts) == 2
    assert findings == []


@pytest.mark.parametrize("place", EVERY)
@pytest.mark.parametrize("kind", ["disconnect", "truncate", "malformed"])
async def test_a_stream_that_breaks_in_the_readers_hand_is_an_error(
    llmock: LLMock, place: str, kind: str
) -> None:
    await llmock.break_next(LONG, {"type": "stream_fault", "kind": kind, "after_chunks": 20})
    async with gateway(llmock, place) as cortex:
        with pytest.raises(StreamInterrupted):
            async with cortex.chat(f"shown: {kind}") as stream:
                await stream.collect()
    # It cannot see that the error was raised, and calls every cut that is not followed by a request accepted; by
    # default an answer that was shown in part is not asked for again, for that would show it twice.
    explained = {"truncated_stream_accepted", "gave_up", "malformed_chunk_ignored"}
    assert {finding.partition(":")[0] for finding in await llmock.verdict()} <= explained


@pytest.mark.parametrize("how", ["restart", "continue", "buffer"])
@pytest.mark.parametrize("kind", ["disconnect", "truncate", "malformed"])
async def test_a_stream_that_breaks_is_replaced_where_that_was_asked_for(
    llmock: LLMock, kind: str, how: str
) -> None:
    await llmock.break_next(LONG, {"type": "stream_fault", "kind": kind, "after_chunks": 20})
    async with gateway(llmock, "openai") as cortex:
        async with cortex.chat(f"replaced: {kind}", on_interrupt=how) as stream:
            reply = await stream.collect()
    assert reply.text.endswith(TEXT[-20:])
    assert len(reply.attempts) == 2
    # A continuation is another request with another body: it is not seen as the repeat that it is.
    explained = (
        {"truncated_stream_accepted", "gave_up", "malformed_chunk_ignored"} if how == "continue" else set()
    )
    assert {finding.partition(":")[0] for finding in await llmock.verdict()} <= explained


@pytest.mark.parametrize("place", [*FULLY, "openai_responses", "cohere"])
async def test_a_silent_stream_is_left(llmock: LLMock, place: str) -> None:
    fault = {"type": "stream_fault", "kind": "stall", "after_chunks": 20, "stall_seconds": 6.0}
    await llmock.break_next(LONG, fault)
    async with gateway(llmock, place, idle_timeout=0.5) as cortex:
        begin = trio.current_time()
        with suppress(CortexError):
            await cortex.complete("silent in the middle")
        assert trio.current_time() - begin < 5
    # It notices after its own pause only that the client has left, and in some dialects not even then.
    assert {finding.partition(":")[0] for finding in await llmock.verdict()} <= {"no_read_timeout"}


@pytest.mark.parametrize("place", FULLY)
async def test_a_slow_first_token_is_waited_for(llmock: LLMock, place: str) -> None:
    await llmock.break_next({"type": "slow_first_token", "seconds": 1.0})
    async with gateway(llmock, place) as cortex:
        assert (await cortex.complete("slow to begin")).text
    assert await llmock.verdict() == []
    assert len(await llmock.requests()) == 1


@pytest.mark.parametrize("place", FULLY)
async def test_an_outage_is_no_storm_and_another_provider_serves(llmock: LLMock, place: str) -> None:
    await llmock.break_next({"type": "fail", "status": 503, "times": None, "match": {"provider": place}})
    async with gateway(llmock, place, "groq") as cortex:
        for number in range(20):
            assert (await cortex.complete(f"in an outage {number}")).worker == "groq"
    # One request is no giving up: the same call went on to another provider, which is another path here.
    assert {finding.partition(":")[0] for finding in await llmock.verdict()} <= {"gave_up"}


@pytest.mark.slow
async def test_an_outage_without_another_provider_is_no_storm(llmock: LLMock) -> None:
    await llmock.break_next({"type": "fail", "status": 503, "times": None})
    async with gateway(llmock, "openai") as cortex:
        with pytest.raises(CortexError):
            await cortex.complete("in an outage")
    assert await llmock.verdict() == []
    assert 2 <= len(await llmock.requests()) <= 4


async def test_another_key_of_the_same_worker_is_another_client(llmock: LLMock) -> None:
    await llmock.break_next({"type": "fail", "status": 401})
    worker = llmock.worker("openai", api_keys=["sk-llmock-first-0001", "sk-llmock-other-0002"])
    async with open_cortex(Config(workers={"openai": worker}, health_check_interval=0)) as cortex:
        assert (await cortex.complete("with the second key")).text
    # It takes the same body for the same client; a refused key is repeated with the other key, never with itself.
    assert {finding.partition(":")[0] for finding in await llmock.verdict()} == {"retried_non_retryable"}


async def test_twenty_calls_in_a_rate_limit_are_all_served(llmock: LLMock) -> None:
    await llmock.break_next({"type": "fail", "status": 429, "retry_after": 0.5, "times": 5})
    texts: list[str] = []
    async with gateway(llmock, "openai") as cortex:

        async def ask(number: int) -> None:
            texts.append((await cortex.complete(f"one of twenty: {number}")).text)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(ask, number)
    assert len(texts) == 20
    assert await llmock.verdict() == []


@pytest.mark.slow
async def test_a_hundred_calls_in_mixed_faults_have_no_finding(llmock: LLMock) -> None:
    faults: list[dict[str, Any]] = []
    for _ in range(4):
        faults += [
            {"type": "fail", "status": 500},
            {"type": "fail", "status": 429, "retry_after": 0.3},
            {"type": "stream_fault", "kind": "disconnect", "after_chunks": 1},
            {"type": "stream_fault", "kind": "truncate", "after_chunks": 2},
        ]
    await llmock.break_next(*faults)
    async with gateway(llmock, "openai", max_attempts=12) as cortex:
        for start in range(0, 100, 10):
            async with trio.open_nursery() as nursery:
                for number in range(start, start + 10):
                    nursery.start_soon(cortex.complete, f"one of a hundred: {number}")
    assert await llmock.verdict() == []
