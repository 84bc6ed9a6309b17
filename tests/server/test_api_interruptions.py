"""A stream that breaks off ends with an error of its API, or goes on if the client wants that. It never looks whole."""

import json

import attrs
import pytest
import trio
from api_clients import (
    CHAT,
    CLIENTS,
    GEMINI,
    GEMINI_ARRAY,
    MESSAGES,
    MODEL,
    NAMES,
    RESPONSES,
    Client,
    RecordingExchange,
    ask,
)

from cortex_trio.events import Reply
from cortex_trio.failures import Failure, FailureKind
from cortex_trio.server.api.routes import ApiRoutes
from cortex_trio.server.exchange import CancelReason
from cortex_trio.simulator import Behaviour, open_gateway, open_simulator
from cortex_trio.wire.sse import SseReader

every_client = pytest.mark.parametrize("client", CLIENTS, ids=NAMES)
both_lanes = pytest.mark.parametrize("is_native", [True, False], ids=["native", "translated"])
BREAKS = {
    "cut": Behaviour(text="one two three", cut_after=2),
    "reset": Behaviour(text="one two three", reset_after=2),
    "mid-chunk": Behaviour(text="one two three", cut_mid_chunk=2),
    "error": Behaviour(text="one two three", error_after=2, error=FailureKind.OVERLOADED),
    "garbled": Behaviour(text="one two three", garble_after=2),
    "stall": Behaviour(text="one two three", stall_after=2),
}


def provider_for(client: Client, is_native: bool) -> str:
    return client.provider if is_native else "cohere"


def stray_lines(body: bytes) -> list[str]:
    """Return the lines that the grammar of server-sent events ignores."""
    lines: list[str] = []
    list(SseReader(on_unknown_line=lines.append).feed(body))
    return lines


@every_client
@both_lanes
@pytest.mark.parametrize("how", BREAKS)
async def test_a_cut_stream_ends_with_an_error(
    client: Client, is_native: bool, how: str, autojump_clock: trio.testing.MockClock
) -> None:
    behaviour = BREAKS[how]
    if how == "error" and not is_native:
        behaviour = attrs.evolve(behaviour, error=FailureKind.SERVER)
    async with open_simulator() as sim:
        sim.add(provider_for(client, is_native), behaviour, models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request(stream=True))
    assert got.status == 200
    assert b"one" in got.body
    found = client.read(got.body, stream=True)
    assert isinstance(found, Failure), found
    assert found.kind is not FailureKind.TRUNCATED, "the cut shows, but no error says so"
    assert b"[DONE]" not in got.body
    assert b"message_stop" not in got.body
    if client is GEMINI_ARRAY:
        assert got.json[-1]["error"]
    else:
        assert stray_lines(got.body) == [], "a client of server-sent events does not see them"


@both_lanes
@pytest.mark.parametrize("how", ["raise", "continue"])
async def test_events_of_a_response_that_broke_off_keep_their_numbers_and_its_id(
    is_native: bool, how: str
) -> None:
    async with open_simulator() as sim:
        sim.add(provider_for(RESPONSES, is_native), BREAKS["cut"], models=[MODEL])
        sim.add("groq", Behaviour(text=" three"), models=[MODEL])
        async with open_gateway(sim) as cortex:
            headers = (("x-cortex-on-interrupt", how),)
            got = await ask(cortex, RESPONSES.request(stream=True, headers=headers))
    events = [json.loads(event.data) for event in SseReader().feed(got.body)]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert len({event["response"]["id"] for event in events if "response" in event}) == 1
    assert events[-1]["type"] == ("response.completed" if how == "continue" else "response.failed")


@every_client
@both_lanes
@pytest.mark.parametrize("how", BREAKS)
async def test_a_cut_whole_answer_is_replaced(
    client: Client, is_native: bool, how: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_simulator() as sim:
        sim.add(provider_for(client, is_native), BREAKS[how], models=[MODEL])
        sim.add("groq", Behaviour(text="whole"), models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request())
    found = client.read(got.body, stream=False)
    assert isinstance(found, Reply)
    if how != "garbled" or found.text != "one two three":
        assert found.text == "whole"


@every_client
@both_lanes
async def test_continue_goes_on_with_the_text(client: Client, is_native: bool) -> None:
    async with open_simulator() as sim:
        sim.add(provider_for(client, is_native), BREAKS["cut"], models=[MODEL])
        sim.add("groq", Behaviour(text=" three"), models=[MODEL])
        async with open_gateway(sim) as cortex:
            headers = (("x-cortex-on-interrupt", "continue"),)
            got = await ask(cortex, client.request(stream=True, headers=headers))
    found = client.read(got.body, stream=True)
    assert isinstance(found, Reply), found
    assert found.text == "one two three"


@pytest.mark.parametrize("client", [CHAT, RESPONSES, MESSAGES, GEMINI], ids=NAMES[:4])
@both_lanes
async def test_restart_begins_a_whole_answer(client: Client, is_native: bool) -> None:
    async with open_simulator() as sim:
        sim.add(provider_for(client, is_native), BREAKS["cut"], models=[MODEL])
        sim.add("groq", Behaviour(text="whole"), models=[MODEL])
        async with open_gateway(sim) as cortex:
            headers = (("x-cortex-on-interrupt", "restart"),)
            got = await ask(cortex, client.request(stream=True, headers=headers))
    before, _, after = got.body.partition(b": the answer begins anew\n\n")
    assert b"one" in before
    found = client.read(after, stream=True)
    assert isinstance(found, Reply), found
    assert found.text == "whole"


async def test_an_array_has_no_place_for_a_restart() -> None:
    async with open_simulator() as sim:
        sim.add("gemini", BREAKS["cut"], models=[MODEL])
        sim.add("groq", Behaviour(text="whole"), models=[MODEL])
        async with open_gateway(sim) as cortex:
            headers = (("x-cortex-on-interrupt", "restart"),)
            got = await ask(cortex, GEMINI_ARRAY.request(stream=True, headers=headers))
    assert isinstance(GEMINI_ARRAY.read(got.body, stream=True), Failure)
    assert got.json[-1]["error"]


@every_client
@both_lanes
async def test_a_drain_ends_a_stream_with_an_error(
    client: Client, is_native: bool, autojump_clock: trio.testing.MockClock
) -> None:
    exchange = RecordingExchange()
    async with open_simulator() as sim:
        provider = sim.add(
            provider_for(client, is_native), Behaviour(text="one two", stall_after=1), models=[MODEL]
        )
        async with open_gateway(sim) as cortex, trio.open_nursery() as nursery:
            nursery.start_soon(ApiRoutes(cortex).answer, client.request(stream=True), exchange, None)
            await trio.sleep(1)
            exchange.cancel_reason = CancelReason.DRAINING
            nursery.cancel_scope.cancel()
        assert provider.in_flight == 0
    assert exchange.has_ended
    assert isinstance(client.read(exchange.body, stream=True), Failure)


@every_client
@both_lanes
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_client_that_leaves_ends_the_request_to_the_provider(
    client: Client, is_native: bool, stream: bool, autojump_clock: trio.testing.MockClock
) -> None:
    exchange = RecordingExchange()
    async with open_simulator() as sim:
        provider = sim.add(
            provider_for(client, is_native), Behaviour(text="one two", stall_after=1), models=[MODEL]
        )
        async with open_gateway(sim) as cortex, trio.open_nursery() as nursery:
            nursery.start_soon(ApiRoutes(cortex).answer, client.request(stream=stream), exchange, None)
            await trio.sleep(1)
            exchange.cancel_reason = CancelReason.CLIENT_LEFT
            nursery.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert provider.open_connections == 0
    assert not exchange.has_ended


@every_client
async def test_a_write_that_fails_ends_the_request_to_the_provider(client: Client) -> None:
    def leave(data: bytes) -> None:
        raise trio.BrokenResourceError

    async with open_simulator() as sim:
        provider = sim.add(client.provider, Behaviour(text="one two", stall_after=1), models=[MODEL])
        async with open_gateway(sim) as cortex:
            with pytest.raises(trio.BrokenResourceError):
                await ask(cortex, client.request(stream=True), RecordingExchange(leave))
        assert provider.open_connections == 0


@pytest.mark.parametrize(
    ("client", "mark"),
    [(CHAT, b": keepalive\n\n"), (MESSAGES, b"event: ping"), (GEMINI, b": keepalive"), (GEMINI_ARRAY, b"\n")],
    ids=["chat", "messages", "gemini", "gemini-array"],
)
@both_lanes
async def test_a_keepalive_between_two_pieces_means_nothing(
    client: Client, mark: bytes, is_native: bool
) -> None:
    async with open_simulator() as sim:
        sim.add(provider_for(client, is_native), Behaviour(text="one two"), models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request(stream=True))
    assert got.keepalive.startswith(mark)
    first, *others = got.pieces
    found = client.read(got.keepalive.join([b"", first, *others]), stream=True)
    assert isinstance(found, Reply), found
    assert found.text == "one two"


@pytest.mark.slow
async def test_a_slow_reader_pauses_the_provider() -> None:
    """Nothing is read ahead: while the first piece is being written, only what a connection holds was sent."""
    gate = trio.Event()

    class Slow(RecordingExchange):
        async def write(self, data: bytes) -> None:
            await gate.wait()
            await super().write(data)

    exchange = Slow()
    async with open_simulator() as sim:
        provider = sim.add("openai", Behaviour(tokens=["x" * 1000] * 2000), models=[MODEL])
        async with open_gateway(sim) as cortex, trio.open_nursery() as nursery:
            nursery.start_soon(ApiRoutes(cortex).answer, CHAT.request(stream=True), exchange, None)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert provider.bytes_sent < 400_000
            gate.set()
    assert exchange.has_ended
