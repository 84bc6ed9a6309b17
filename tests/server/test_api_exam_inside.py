"""S17 to S30 of the exam, which look inside a gateway, through the endpoint and in each API that clients speak.

S20, S23, S25, S26 and S29 are in `test_api_exam_gateway`.
"""

import gzip
import json
import logging
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from api_clients import CHAT, GEMINI, MESSAGES, NAMES, RESPONSES, Client, RecordingExchange, ask

from cortex_trio import Cortex
from cortex_trio.events import Reply
from cortex_trio.failures import Failure, FailureKind
from cortex_trio.messages import ToolCall
from cortex_trio.simulator import Behaviour, SimulatedProvider, open_gateway, open_simulator

CLIENTS = (CHAT, RESPONSES, MESSAGES, GEMINI)
GOOD, RESCUE = Behaviour(text="The whole answer, by the primary."), Behaviour(text="By the fallback.")
SIXTY = " ".join(f"word{number}" for number in range(60))
KEY = "Zq83hfbQWm2pXkVvT9sLr4eYc7Nd1uJg"
CALL = ToolCall("call_1", "transfer", '{"amount": 100, "to": "Ada"}')

every_client = pytest.mark.parametrize(
    "client",
    [CHAT, *(pytest.param(client, marks=pytest.mark.slow) for client in CLIENTS[1:])],
    ids=NAMES[:4],
)
every_form = pytest.mark.parametrize("streams", [True, False], ids=["stream", "whole"])


def other_than(client: Client) -> str:
    """Return a provider with another API."""
    return "openai" if client is MESSAGES else "anthropic"


def request_of(client: Client, streams: bool, **fields: Any) -> Any:
    return client.request(model="auto", stream=streams, **fields)


def read(client: Client, got: RecordingExchange, streams: bool) -> Reply | Failure:
    return client.read(got.body, stream=streams)


async def answered(cortex: Cortex, client: Client, streams: bool) -> str:
    """Return the text of an answer, which must be whole."""
    got = await ask(cortex, request_of(client, streams))
    reply = read(client, got, streams)
    assert isinstance(reply, Reply), got.body[:300]
    return reply.text


# ------------------------------------------------------------------ S17, S21: clients that leave


async def leave(cortex: Cortex, client: Client, exchange: RecordingExchange, seconds: float) -> None:
    with trio.move_on_after(seconds):
        await ask(cortex, request_of(client, True), exchange)


@every_client
async def test_s17_a_client_that_leaves_closes_the_connection_to_the_provider(
    client: Client, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_simulator() as sim:
        primary = sim.add("primary", Behaviour(text=SIXTY, stall_after=3), provider=client.provider)
        async with open_gateway(sim) as cortex:
            exchange = RecordingExchange()
            await leave(cortex, client, exchange, 1)
            assert exchange.has_begun
            await trio.testing.wait_all_tasks_blocked()
            assert primary.open_connections == 0


@every_client
async def test_s21_a_client_that_leaves_returns_the_permit_for_a_trial(
    client: Client, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_simulator() as sim:
        primary = sim.add("primary", Behaviour(status=503), provider=client.provider)
        async with open_gateway(sim, max_wait=0) as cortex:
            for _ in range(8):
                await ask(cortex, request_of(client, True))
            await trio.sleep(120)
            primary.behave(Behaviour(silent=True))
            sent = len(primary.requests)
            await leave(cortex, client, RecordingExchange(), 1)
            assert len(primary.requests) == sent + 1, "the trial was sent"
            primary.behave(GOOD)
            assert await answered(cortex, client, True) == GOOD.text


# ------------------------------------------------------------------ S18, S30: hints

HINTS = {
    "seconds": Behaviour(error=FailureKind.RATE_LIMIT, retry_after="2"),
    "float": Behaviour(error=FailureKind.RATE_LIMIT, retry_after="2.0"),
    "milliseconds": Behaviour(error=FailureKind.RATE_LIMIT, headers={"retry-after-ms": "2000"}),
    "date": Behaviour(
        error=FailureKind.RATE_LIMIT,
        headers={"date": "Thu, 01 Jan 2026 00:00:00 GMT", "retry-after": "Thu, 01 Jan 2026 00:00:02 GMT"},
    ),
    "text": Behaviour(
        status=429, error_body='{"error": {"message": "Rate limit reached. Please try again in 2s."}}'
    ),
}


@every_client
@pytest.mark.parametrize("hint", HINTS.values(), ids=list(HINTS))
async def test_s18_every_form_of_a_hint_is_honoured(
    client: Client, hint: Behaviour, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_simulator() as sim:
        primary = sim.add("primary", hint, GOOD, provider=client.provider)
        async with open_gateway(sim) as cortex:
            assert await answered(cortex, client, True) == GOOD.text
        first, second = primary.requests
    assert 2.0 <= second.when - first.when <= 2.3


@every_client
@every_form
async def test_s30_a_long_cooldown_is_an_error_at_once(
    client: Client, streams: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_simulator() as sim:
        for name, wait in (("primary", 500), ("fallback", 300)):
            sim.add(name, Behaviour(error=FailureKind.RATE_LIMIT, retry_after=wait), provider=client.provider)
        async with open_gateway(sim) as cortex:
            statuses = []
            for _ in range(2):
                start = trio.current_time()
                got = await ask(cortex, request_of(client, streams))
                statuses.append(got.status)
                assert trio.current_time() - start < 0.1
                assert 299 <= int(got.headers["retry-after"]) <= 301
        assert [len(provider.requests) for provider in sim.providers.values()] == [1, 1]
    assert statuses == [429, 429]


# ------------------------------------------------------------------ S19, S24, S27: streams


@every_client
@every_form
async def test_s19_an_error_in_the_stream_fails_over(
    client: Client, streams: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_simulator() as sim:
        overloaded = Behaviour(error=FailureKind.OVERLOADED, error_after=0)
        sim.add("primary", overloaded, provider=client.provider)
        sim.add("fallback", RESCUE, provider=other_than(client))
        async with open_gateway(sim) as cortex:
            assert await answered(cortex, client, streams) == RESCUE.text


@every_client
@pytest.mark.parametrize("wanted", ["raise", "continue"])
@pytest.mark.parametrize("is_native", [True, False], ids=["native", "translated"])
async def test_s24_a_tool_call_is_sent_once(
    client: Client, wanted: str, is_native: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_simulator() as sim:
        cut = Behaviour(text="", tool_calls=[CALL], cut_after=99)
        sim.add("primary", cut, provider=client.provider if is_native else other_than(client))
        fallback = sim.add("fallback", Behaviour(text="", tool_calls=[CALL]), provider=client.provider)
        async with open_gateway(sim) as cortex:
            asked = request_of(client, True, headers=(("x-cortex-on-interrupt", wanted),))
            got = await ask(cortex, asked)
    assert isinstance(read(client, got, True), Failure)
    assert fallback.requests == []


@every_client
@pytest.mark.parametrize("how", [{"slice_bytes": 1}, {"one_block": True}], ids=["bytes", "block"])
@pytest.mark.parametrize("is_native", [True, False], ids=["native", "translated"])
async def test_s27_slices_change_nothing(
    client: Client, how: Mapping[str, Any], is_native: bool, autojump_clock: trio.testing.MockClock
) -> None:
    whole = Behaviour(text="Grüße, 世界! 🌍 done.")
    async with open_simulator() as sim:
        provider = sim.add("primary", whole, provider=client.provider if is_native else other_than(client))
        async with open_gateway(sim) as cortex:
            expected = await answered(cortex, client, True)
            provider.behave(attrs.evolve(whole, **how))
            assert await answered(cortex, client, True) == expected == whole.text


# ------------------------------------------------------------------ S22, S28: bodies

MESSAGE = f"Key {KEY} is not what we expected ({KEY})."
ECHO = json.dumps({"error": {"message": MESSAGE, "type": "server_error", "code": KEY}})
ECHOES = {
    "json": Behaviour(status=401, error_body=ECHO),
    "server error": Behaviour(status=500, error_body=ECHO),
    "bad request": Behaviour(status=400, error_body=MESSAGE, content_type="text/plain"),
    "page": Behaviour(status=502, error_body=f"<html>{MESSAGE}</html>", content_type="text/html"),
    "event": Behaviour(body=f"data: {ECHO}\n\n".encode(), content_type="text/event-stream"),
    "request id": Behaviour(status=429, error_body="{}", headers={"x-request-id": KEY}),
}


@every_client
@every_form
@pytest.mark.parametrize("echo", ECHOES.values(), ids=list(ECHOES))
async def test_s22_an_echoed_key_reaches_no_client(
    client: Client,
    streams: bool,
    echo: Behaviour,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: trio.testing.MockClock,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_simulator() as sim:
        primary = sim.add("primary", echo, provider=client.provider)
        workers = {"primary": primary.worker(api_keys=[KEY])}
        async with open_gateway(sim, workers, max_wait=0) as cortex:
            got = await ask(cortex, request_of(client, streams))
    assert got.status >= 400
    assert KEY not in got.body.decode() + repr(got.headers) + caplog.text


MEGABYTE = 1024 * 1024
FRAMED = "text/event-stream"
MALFORMED = {
    "long line": Behaviour(body=b'data: {"x": "' + b"y" * (2 * MEGABYTE), content_type=FRAMED),
    "endless headers": Behaviour(endless_headers=True),
    "page": Behaviour(html=True),
    "page as a stream": Behaviour(body=b"<!DOCTYPE html><html></html>\n\n", content_type=FRAMED),
    "gzip bomb": Behaviour(
        body=gzip.compress(b"x" * (4 * MEGABYTE)), content_type=FRAMED, headers={"content-encoding": "gzip"}
    ),
    "nothing": Behaviour(body=b"", content_type=FRAMED),
    "zeros": Behaviour(body=bytes(MEGABYTE), content_type=FRAMED),
}


@every_client
@every_form
async def test_s28_after_every_malformed_body_the_fallback_serves(
    client: Client, streams: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_simulator() as sim:
        for number, malformed in enumerate(MALFORMED.values()):
            sim.add(f"malformed-{number}", malformed, provider=client.provider)
        sim.add("fallback", RESCUE, provider=other_than(client))
        async with open_gateway(sim, max_attempts=32) as cortex:
            assert await answered(cortex, client, streams) == RESCUE.text


@every_client
@every_form
@pytest.mark.parametrize("malformed", MALFORMED.values(), ids=list(MALFORMED))
async def test_s28_a_malformed_body_is_an_error(
    client: Client, streams: bool, malformed: Behaviour, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_simulator() as sim:
        primary: SimulatedProvider = sim.add("primary", malformed, provider=client.provider)
        async with open_gateway(sim, max_wait=0) as cortex:
            got = await ask(cortex, request_of(client, streams))
            assert got.status >= 500
            assert len(got.body) < 2000
            primary.behave(GOOD)
            await trio.sleep(120)
            assert await answered(cortex, client, streams) == GOOD.text
