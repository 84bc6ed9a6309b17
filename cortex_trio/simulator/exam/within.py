"""The primary is silent, late, cut or garbled, or fails inside a stream that began well."""

from __future__ import annotations

from typing import Any

import attrs
import trio

from ...events import Continued, Finished, Restarted, StreamEvent, TextDelta, ToolCallDelta
from ...failures import FailureKind, StreamInterrupted
from ...gateway.cortex import Cortex
from ..behaviour import Behaviour
from .scenario import scenario
from .stage import CALL, FORTY, GOOD, RESCUE, SIXTY, TRANSFER, Stage, check, equal, failing

IDLE_SECONDS = 10.0


async def events_of(
    cortex: Cortex, seen: list[StreamEvent] | None = None, **options: Any
) -> list[StreamEvent]:
    """All events of one answer; they are in `seen` as far as it came, too."""
    seen = [] if seen is None else seen
    async with cortex.chat("Hi", **options) as answer:
        async for event in answer:
            seen.append(event)
    return seen


def text_of(events: list[StreamEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def broken_in_the_middle(stage: Stage, broken: Behaviour, kind: FailureKind) -> None:
    """Something happens after 40 of 60 tokens: what every way of asking must make of it."""
    primary = stage.primary(broken)
    fallback = stage.fallback()
    patience: dict[str, Any] = {"idle_timeout": IDLE_SECONDS}
    async with stage.gateway() as cortex:
        start = trio.current_time()
        reply = await cortex.complete("Hi", **patience)
        equal((reply.text, reply.worker), (RESCUE.text, "fallback"), "complete()")
        check(
            trio.current_time() - start <= 2 * IDLE_SECONDS + 2, "complete() is done within the idle timeout"
        )
        check(len(primary.requests) <= 2, "it is asked no more than twice")
    there = Stage(stage.sim, stage.dialect, dict(stage.workers))
    asked = len(fallback.requests)
    async with there.gateway() as cortex:
        seen: list[StreamEvent] = []
        error = await failing(StreamInterrupted, lambda: events_of(cortex, seen, **patience))
        equal(error.failure.kind, kind, "the reason")
        equal(
            (error.partial.text, text_of(seen)),
            (FORTY, FORTY),
            "what was delivered, and what the error holds",
        )
        equal(len(fallback.requests), asked, "requests to the fallback after chat() broke")
    there = Stage(stage.sim, stage.dialect, dict(stage.workers))
    async with there.gateway() as cortex:
        events = await events_of(cortex, on_interrupt="restart", **patience)
        marks = [event for event in events if isinstance(event, Restarted)]
        equal([mark.failure.kind for mark in marks], [kind], "what a restart names")
        equal(text_of(events[events.index(marks[0]) :]), RESCUE.text, "the answer after the restart")


@scenario("S06", "accepts, then silent 120 s", "answer within 11 s at first_token_timeout=10; asked once")
async def silent(stage: Stage) -> None:
    primary = stage.primary(Behaviour(silent=True))
    stage.fallback()
    async with stage.gateway() as cortex:
        reply = await cortex.complete("Hi", first_token_timeout=10)
        equal(reply.worker, "fallback", "who serves")
        check(trio.current_time() <= 11, "the answer is there within 11 s")
    equal(len(primary.requests), 1, "requests to the silent one")


@scenario("S07", "first token after 20 s", "answer within 15 s at first_token_timeout=10")
async def late(stage: Stage) -> None:
    primary = stage.primary(Behaviour(first_token_after=20, pings=1))
    stage.fallback()
    async with stage.gateway() as cortex:
        async with cortex.chat("Hi", first_token_timeout=10) as answer:
            check(trio.current_time() <= 15, "the first word is there within 15 s")
            equal((await answer.collect()).text, RESCUE.text, "the answer")
    equal(len(primary.requests), 1, "requests to the late one")


@scenario(
    "S08", "cut after 40 of 60 tokens", "whole answer, or StreamInterrupted with the partial, as asked for"
)
async def cut(stage: Stage) -> None:
    await broken_in_the_middle(stage, Behaviour(text=SIXTY, cut_after=40), FailureKind.TRUNCATED)


@scenario("S09", "stalls 30 s mid-stream", "as S08, within the idle timeout")
async def stalled(stage: Stage) -> None:
    broken = Behaviour(text=SIXTY, stall_after=40, stall_for=30)
    await broken_in_the_middle(stage, broken, FailureKind.STALLED)


@scenario("S10", "malformed chunk", "as S08; never a parser's exception")
async def garbled(stage: Stage) -> None:
    await broken_in_the_middle(stage, Behaviour(text=SIXTY, garble_after=40), FailureKind.PROTOCOL)


@scenario("S11", "no terminal marker after the finish reason", "accepted as complete")
async def no_terminal_marker(stage: Stage) -> None:
    primary = stage.primary(Behaviour(text=SIXTY, no_terminal=True))
    fallback = stage.fallback()
    async with stage.gateway() as cortex:
        events = await events_of(cortex)
        equal(text_of(events), SIXTY, "the answer")
        check(isinstance(events[-1], Finished), "it ends in good order")
        equal((await cortex.complete("Hi")).text, SIXTY, "complete()")
    equal((len(primary.requests), len(fallback.requests)), (2, 0), "requests")


@scenario(
    "S14", "cut, and the fallback rejects an assistant prefix", "whole answer all the same; first cause kept"
)
async def prefix_rejected(stage: Stage) -> None:
    stage.add("primary", Behaviour(text=SIXTY, cut_after=40), dialect=stage.other)
    fallback = stage.add("fallback", RESCUE)  # here it is the fallback that speaks the dialect under exam
    fallback.prefill = False
    async with stage.gateway() as cortex:
        events = await events_of(cortex, on_interrupt="continue")
    marks = [event for event in events if isinstance(event, Restarted | Continued)]
    check(marks, "the interruption is told")
    equal({mark.failure.kind for mark in marks}, {FailureKind.TRUNCATED}, "the cause")
    equal(text_of(events[events.index(marks[-1]) :]).strip(), RESCUE.text, "the answer after it")
    check(isinstance(events[-1], Finished), "it ends in good order")


@scenario("S19", "overloaded inside a 200 stream", "same class as the HTTP status; failover before commit")
async def overloaded_inside(stage: Stage) -> None:
    inside = stage.primary(Behaviour(error=FailureKind.OVERLOADED, error_after=0))
    outside = stage.add("outside", Behaviour(error=FailureKind.OVERLOADED))
    stage.fallback()
    async with stage.gateway() as cortex:
        events = await events_of(cortex)
        equal(text_of(events), RESCUE.text, "the answer")
        async with cortex.chat("Hi") as answer:
            await answer.collect()
        kinds = {a.worker: a.failure.kind for a in answer.attempts if a.failure}
    equal(set(kinds.values()) | {FailureKind.OVERLOADED}, {FailureKind.OVERLOADED}, "what both are called")
    check(max(len(inside.requests), len(outside.requests)) <= 4, "bounded attempts")


@scenario("S24", "cut after a tool call was delivered", "never started again by itself; no duplicate call")
async def cut_after_a_tool_call(stage: Stage) -> None:
    primary = stage.primary(Behaviour(text="", tool_calls=[CALL], cut_after=99))
    fallback = stage.fallback(Behaviour(text="", tool_calls=[CALL]))
    for how in ("raise", "restart", "continue"):
        there = Stage(stage.sim, stage.dialect, dict(stage.workers))
        async with there.gateway() as cortex:
            seen: list[StreamEvent] = []
            ask = {"tools": [TRANSFER], "on_interrupt": how}
            await failing(StreamInterrupted, lambda: events_of(cortex, seen, **ask))  # noqa: B023 - awaited here
        named = [event.name for event in seen if isinstance(event, ToolCallDelta) and event.name]
        equal(named, ["transfer"], f"the calls delivered with {how}")
    equal((len(primary.requests), len(fallback.requests)), (3, 0), "requests")
    async with stage.gateway() as cortex:
        reply = await cortex.complete("Pay", tools=[TRANSFER])
        equal([call.parsed() for call in reply.tool_calls], [CALL.parsed()], "the calls of complete()")


@scenario("S27", "answers one byte at a time, and in one huge block", "the same events")
async def sliced(stage: Stage) -> None:
    plain = Behaviour(text="Grüße, 世界! 🌍 done.", reasoning="Let me think.")
    pieces = attrs.evolve(plain, slice_bytes=1), attrs.evolve(plain, one_block=True)
    stage.primary(plain, *pieces)
    async with stage.gateway() as cortex:
        first, *others = [await events_of(cortex) for _ in range(3)]
    equal(text_of(first), plain.text, "the text")
    check(all(events == first for events in others), "the events are the same however the bytes are cut")
    check(GOOD.text not in text_of(first), "nobody else's text is in it")
