"""Streams with unusual ends, tool calls or slices: S11, S24 and S27."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ...errors import StreamInterrupted
from ...events import (
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSeal,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageUpdate,
)
from ...failures import FailureKind
from ...simulator.behaviour import Behaviour
from .reading import events_of, text_of
from .scenario import scenario
from .setup import CALL, SIXTY, TRANSFER, Setup, check, equal, failing

S11 = scenario("S11", "no terminal marker after the finish reason", "accepted as complete")
S24 = scenario(
    "S24", "cut after a tool call was delivered", "never restarted automatically; no duplicate call"
)
S27 = scenario("S27", "answers one byte at a time, and in one huge block", "the same events")

ENDINGS: Mapping[str, Mapping[str, Any]] = {
    "kept": {},
    "closed": {"close_idle": True},
    "in one block": {"one_block": True},
}


@S11.parts_for(ENDINGS, "a finish reason without the terminal marker is a complete answer")
async def no_terminal_marker(setup: Setup, ending: Mapping[str, Any]) -> None:
    primary = setup.primary(Behaviour(text=SIXTY, no_terminal=True, **ending))
    fallback = setup.fallback()
    async with setup.gateway() as cortex:
        events = await events_of(cortex)
        reply = await cortex.complete("Hi")
    equal((text_of(events), reply.text), (SIXTY, SIXTY), "the answers")
    check(isinstance(events[-1], Finished), "the last event is Finished")
    equal(reply.finish_reason, FinishReason.STOP, "the finish reason")
    equal([attempt.failure for attempt in reply.attempts], [None], "the ledger")
    equal((len(primary.requests), len(fallback.requests)), (2, 0), "requests")


@S11.part("an end without any finish reason is never a success", virtual=True)
async def no_finish_reason(setup: Setup) -> None:
    setup.primary(Behaviour(text=SIXTY, cut_after=60))
    async with setup.gateway() as cortex:
        error = await failing(StreamInterrupted, lambda: events_of(cortex))
    equal((error.failure.kind, error.partial.text), (FailureKind.TRUNCATED, SIXTY), "the failure kind")


# ------------------------------------------------------------------ S24: after a tool call


@S24.parts_for(
    {how: how for how in ("raise", "restart", "continue")},
    "after a tool call was delivered, nothing is restarted automatically",
)
async def cut_after_a_tool_call(setup: Setup, how: str) -> None:
    primary = setup.primary(Behaviour(text="", tool_calls=[CALL], cut_after=99))
    fallback = setup.fallback(Behaviour(text="", tool_calls=[CALL]))
    seen: list[StreamEvent] = []
    options: dict[str, Any] = {"tools": [TRANSFER], "on_interrupt": how, "idle_timeout": 10 * setup.second}
    async with setup.gateway() as cortex:
        error = await failing(StreamInterrupted, lambda: events_of(cortex, seen, **options))
    named = [event.name for event in seen if isinstance(event, ToolCallDelta) and event.name]
    equal(named, ["transfer"], "the calls delivered")
    equal([call.name for call in error.partial.tool_calls], ["transfer"], "the calls the error holds")
    equal((len(primary.requests), len(fallback.requests)), (1, 0), "requests")


@S24.part("complete() delivers exactly one of the two calls")
async def one_of_two_calls(setup: Setup) -> None:
    setup.primary(Behaviour(text="", tool_calls=[CALL], cut_after=99))
    setup.fallback(Behaviour(text="", tool_calls=[CALL]))
    async with setup.gateway() as cortex:
        reply = await cortex.complete("Pay", tools=[TRANSFER])
    calls = [(call.name, call.parsed()) for call in reply.tool_calls]
    equal(calls, [("transfer", CALL.parsed())], "the calls")
    equal((reply.finish_reason, reply.worker), (FinishReason.TOOL_CALLS, "fallback"), "how it ends")


# ------------------------------------------------------------------ S27: however it is cut

ANSWER = Behaviour(text="Grüße, 世界! 🌍 done.", reasoning="Let me think.")
SLICINGS: Mapping[str, Mapping[str, Any]] = {
    "1 byte": {"slice_bytes": 1},
    "7 bytes": {"slice_bytes": 7},
    "one block": {"one_block": True},
}


@S27.parts_for(SLICINGS, "the events are the same for every slicing of the bytes")
async def sliced(setup: Setup, slicing: Mapping[str, Any]) -> None:
    with_call = attrs.evolve(ANSWER, tool_calls=[CALL])
    setup.primary(ANSWER, attrs.evolve(ANSWER, **slicing), with_call, attrs.evolve(with_call, **slicing))
    async with setup.gateway() as cortex:
        first, second = [await events_of(cortex) for _ in range(2)]
        plain, cut = [await events_of(cortex, tools=[TRANSFER]) for _ in range(2)]
    equal(_without_ids(second), _without_ids(first), "the events")
    equal(_without_ids(cut), _without_ids(plain), "the events, with a tool call")
    equal((text_of(first), text_of(plain)), (ANSWER.text, ANSWER.text), "the text")
    kinds = {type(event) for event in plain}
    needed: set[type] = {TextDelta, ToolCallDelta, UsageUpdate, Finished}
    check(needed <= kinds <= needed | {ReasoningDelta, ReasoningSeal}, f"the kinds of events ({kinds})")


def _without_ids(events: Sequence[StreamEvent]) -> list[object]:
    """Ids differ between requests: of tool calls, where the dialect has none; of reasoning, in the Responses API."""
    return [_without_id(event) for event in events]


def _without_id(event: StreamEvent) -> object:
    match event:
        case ToolCallDelta():
            return event.index, event.name, event.arguments, event.id is None
        case ReasoningSeal(signature=str(), encrypted=str()):
            return event.encrypted
        case _:
            return event
