"""Small bugs that were found meanwhile, each with its invariant."""

import gc
import io
from contextlib import suppress
from typing import Any

import pytest
import trio
from raw_bytes import TEXT, chunk, delta, error, http, open_head, said, sse
from raw_server import Do, Play, World, play

from cortex_trio import (
    Attempt,
    CortexError,
    FailureKind,
    InvalidRequest,
    Message,
    Restarted,
    StreamInterrupted,
    Tool,
    ToolCallDelta,
)
from cortex_trio.cli.facts import show_health
from cortex_trio.cli.screen import Screen

WEATHER = Tool("weather", "The weather", {"type": "object", "properties": {"city": {"type": "string"}}})


def call(index: int, arguments: str, name: str | None = None) -> dict[str, object]:
    """A fragment of a tool call, in OpenAI's shape."""
    function = {"arguments": arguments, **({"name": name} if name else {})}
    return {
        "index": index,
        "function": function,
        **({"id": f"call_{index}", "type": "function"} if name else {}),
    }


def cut_after(*fragments: dict[str, object]) -> Play:
    events = (delta(tool_calls=[fragment]) for fragment in fragments)
    return play(open_head(), *(chunk(sse(event)) for event in events), Do.CLOSE)


async def read(what: Any) -> None:
    async for _ in what:
        pass


async def test_text_that_is_cut_inside_a_character_can_be_printed(
    memory: World, autojump_clock: object
) -> None:
    """OpenRouter and others escape their JSON and cut it where they like: half a character cannot be written."""
    cut = sse(delta("he\ud83d"), delta("\ude00llo"), delta(finish="stop"), "[DONE]")
    memory.server(then_chat=play(http(200, cut, kind="text/event-stream")))
    async with memory.gateway() as cortex:
        assert (await cortex.complete("Hi")).text == "he😀llo"
        async with cortex.chat("Hi") as answer:
            pieces = [piece.encode() async for piece in answer.text()]
    assert b"".join(pieces).decode() == "he😀llo"


PARTS_OF_A_CALL = [
    cut_after(call(0, "", "weather")),
    cut_after(call(0, "", "weather"), call(0, '{"ci')),
    cut_after(call(0, "", "weather"), call(0, '{"city":"Os'), call(0, "lo")),
]
WHOLE_CALL = cut_after(call(0, "", "weather"), call(0, '{"city":"Oslo"}'), call(1, "", "weather"))


@pytest.mark.parametrize("how", ["restart", "continue"])
@pytest.mark.parametrize("cut", PARTS_OF_A_CALL, ids=["its name", "a few letters", "more letters"])
async def test_a_tool_call_that_was_delivered_in_part_does_not_forbid_a_restart(
    memory: World, cut: Play, how: str, autojump_clock: object
) -> None:
    first, second = memory.server(then_chat=cut), memory.server()
    async with memory.gateway() as cortex:
        async with cortex.chat("Hi", tools=[WEATHER], on_interrupt=how) as stream:
            events = [event async for event in stream]
            delivered = any(isinstance(event, ToolCallDelta) for event in events)
            assert any(isinstance(event, Restarted) for event in events) is delivered
            reply = await stream.collect()
        assert (reply.text, reply.tool_calls, stream.worker) == (TEXT, (), second.name)
        assert first.asked


@pytest.mark.parametrize("how", ["restart", "continue"])
async def test_a_tool_call_that_was_delivered_completely_forbids_a_restart(
    memory: World, how: str, autojump_clock: object
) -> None:
    memory.server(then_chat=WHOLE_CALL)
    second = memory.server()
    async with memory.gateway() as cortex:
        async with cortex.chat("Hi", tools=[WEATHER], on_interrupt=how) as stream:
            with pytest.raises(StreamInterrupted):
                await read(stream)
    assert second.asked == []


@pytest.mark.parametrize("use", ["events", "text", "collect"])
async def test_a_stream_outside_its_with_says_that_it_needs_one(
    memory: World, use: str, autojump_clock: object
) -> None:
    server = memory.server()
    async with memory.gateway() as cortex:
        stream = cortex.chat("Hi")
        uses = {
            "events": lambda: read(stream),
            "text": lambda: read(stream.text()),  # type: ignore[attr-defined]
            "collect": lambda: stream.collect(),  # type: ignore[attr-defined]
        }
        with pytest.raises(RuntimeError, match="async with"):
            await uses[use]()
        gc.collect()
    assert server.asked == []


@pytest.mark.parametrize("providers", [("openai", "openai"), ("openai", "anthropic"), ("gemini", "ollama")])
async def test_a_tool_message_without_a_result_is_refused_before_anything_is_sent(
    memory: World, providers: tuple[str, str], autojump_clock: object
) -> None:
    for provider in providers:
        memory.server(provider)
    messages = [Message("user", "Hi"), Message("tool", "1")]
    async with memory.gateway() as cortex:
        with pytest.raises(InvalidRequest, match=r"(?i)tool"):
            await cortex.complete(messages)
    assert [server.requests for server in memory.servers] == [[], []]


@pytest.mark.parametrize("source", ["a call", "a check"])
async def test_a_wrong_key_is_not_reported_as_a_spent_quota(
    memory: World, source: str, autojump_clock: object
) -> None:
    refusal = play(http(401, error("Incorrect API key provided", "invalid_request_error", "invalid_api_key")))
    server = memory.server(then_chat=refusal, then_lists=refusal)
    async with memory.gateway() as cortex:
        if source == "a call":
            with suppress(CortexError):
                await cortex.complete("Hi")
            status = await cortex.health_status()
        else:
            status = await cortex.check_health()
        info = status.workers[server.name]
        assert (info.status, info.reason) == ("quota_exceeded", FailureKind.CREDENTIAL)
        shown = io.StringIO()
        show_health(Screen(shown, colours=False), status)
        assert "wrong API key" in shown.getvalue()
        assert "quota" not in shown.getvalue()


async def test_the_loser_of_a_race_is_recorded_as_such(memory: World, autojump_clock: object) -> None:
    first, second = memory.server(then_chat=play(20.0, said())), memory.server()
    events: list[object] = []
    async with memory.gateway(on_event=events.append) as cortex:
        async with cortex.chat("Hi", hedge_after=1) as stream:
            assert (await stream.collect()).worker == second.name
        for _ in range(5):
            async with cortex.chat("Hi", hedge_after=1) as stream:
                await stream.collect()
        assert first.asked
    lost = [event for event in events if isinstance(event, Attempt) and event.worker == first.name]
    assert lost
    for attempt in lost:
        assert attempt.failure is not None
        assert attempt.failure.kind is FailureKind.CANCELLED
        assert "caller left" not in attempt.failure.message


async def test_a_caller_that_leaves_is_recorded_as_such(memory: World, autojump_clock: object) -> None:
    memory.server(then_chat=play(20.0, said()))
    events: list[object] = []
    async with memory.gateway(on_event=events.append) as cortex:
        with trio.move_on_after(1):
            await cortex.complete("Hi")
    [attempt] = [event for event in events if isinstance(event, Attempt)]
    assert attempt.failure is not None
    assert attempt.failure.kind is FailureKind.CANCELLED
