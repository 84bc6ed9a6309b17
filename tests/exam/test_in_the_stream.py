"""The exam, second part: the primary is silent, late, cut, garbled, or fails inside a stream that began well."""

from typing import Any

import pytest
import trio
from exam_stage import DIALECTS, GOOD, RESCUE, SIXTY, Stage, virtual_stages

from cortex_trio import (
    Continued,
    Cortex,
    FailureKind,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSeal,
    Restarted,
    StreamInterrupted,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    UsageUpdate,
)
from cortex_trio.simulator import Behaviour

WITH_PINGS = [dialect for dialect in DIALECTS if dialect != "ollama"]  # NDJSON has no signs of life
FORTY = " ".join(SIXTY.split()[:40])


async def events_of(cortex: Cortex, **options: Any) -> list[Any]:
    async with cortex.chat("Hi", **options) as answer:
        return [event async for event in answer]


async def deliver(seen: list[Any], cortex: Cortex, **options: Any) -> None:
    """As `events_of`, for a stream that breaks: what was delivered until then is in `seen`."""
    append = seen.append
    async with cortex.chat("Hi", **options) as answer:
        async for event in answer:
            append(event)


def text_of(events: list[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


# ------------------------------------------------------------------ S06, S07: no first token


@pytest.mark.parametrize(
    "late",
    [Behaviour(silent=True), Behaviour(stall_after=0)],
    ids=["accepts and is silent", "sends headers only"],
)
async def test_s06_a_silent_worker_is_asked_once_and_the_answer_comes_in_time(
    stage: Stage, late: Behaviour
) -> None:
    primary = stage.primary(late)
    stage.fallback()
    async with stage.gateway() as cortex:
        start = trio.current_time()
        reply = await cortex.complete("Hi", first_token_timeout=10 * stage.second)
        assert trio.current_time() - start <= 11 * stage.second + stage.slack
    assert (reply.worker, reply.text) == ("fallback", RESCUE.text)
    assert len(primary.requests) == 1
    assert [attempt.worker for attempt in reply.attempts] == ["primary", "fallback"]


async def test_s06_a_host_that_never_accepts_is_given_up_within_the_connect_timeout(virtual: Stage) -> None:
    primary = virtual.primary(Behaviour(connect_after=120))
    virtual.fallback()
    async with virtual.gateway() as cortex:
        start = trio.current_time()
        assert (await cortex.complete("Hi")).worker == "fallback"
        assert trio.current_time() - start == pytest.approx(5, abs=0.1)
    assert not primary.requests


async def test_s06_a_silent_worker_alone_is_not_asked_again(virtual: Stage) -> None:
    primary = virtual.primary(Behaviour(silent=True))
    async with virtual.gateway() as cortex:
        with pytest.raises(Exception, match="no first token") as failed:
            await cortex.complete("Hi", first_token_timeout=10)
    assert failed.value.failure.kind is FailureKind.STALLED  # type: ignore[attr-defined]
    assert len(primary.requests) == 1


@pytest.mark.parametrize("pings", [None, 1.0], ids=["in silence", "with signs of life"])
async def test_s07_a_first_token_that_comes_too_late_is_not_waited_for(
    stage: Stage, pings: float | None
) -> None:
    pause = pings and pings * stage.second
    primary = stage.primary(Behaviour(first_token_after=20 * stage.second, pings=pause))
    stage.fallback()
    async with stage.gateway() as cortex:
        start = trio.current_time()
        async with cortex.chat("Hi", first_token_timeout=10 * stage.second) as answer:
            assert trio.current_time() - start <= 15 * stage.second + stage.slack
            assert (await answer.collect()).text == RESCUE.text
    assert len(primary.requests) == 1


async def test_s07_a_late_first_token_within_the_timeout_is_fine(virtual: Stage) -> None:
    virtual.primary(Behaviour(text=GOOD.text, first_token_after=20))
    fallback = virtual.fallback()
    async with virtual.gateway() as cortex:
        reply = await cortex.complete("Hi", first_token_timeout=25)
    assert (reply.worker, reply.text) == ("primary", GOOD.text)
    assert reply.attempts[0].time_to_first_token == pytest.approx(20, abs=0.1)
    assert not fallback.requests


# ------------------------------------------------------------------ S08, S09, S10: broken after 40 of 60 tokens

BROKEN = {
    "cut": (Behaviour(text=SIXTY, cut_after=40), FailureKind.TRUNCATED),
    "cut in a chunk": (Behaviour(text=SIXTY, cut_mid_chunk=40), FailureKind.CONNECTION),
    "reset": (Behaviour(text=SIXTY, reset_after=40), FailureKind.CONNECTION),
    "stalled": (Behaviour(text=SIXTY, stall_after=40), FailureKind.STALLED),
    "garbled": (Behaviour(text=SIXTY, garble_after=40), FailureKind.PROTOCOL),
    "overloaded": (
        Behaviour(text=SIXTY, error=FailureKind.OVERLOADED, error_after=40),
        FailureKind.OVERLOADED,
    ),
}
"""S08 (cut), S09 (stalled), S10 (garbled) and S19 (an error in the stream), after 40 tokens were delivered."""

broken = pytest.mark.parametrize("how", BROKEN)


@broken
async def test_s08_s09_s10_s19_complete_gives_the_whole_answer_of_the_fallback(
    stage: Stage, how: str
) -> None:
    primary = stage.primary(BROKEN[how][0])
    stage.fallback()
    async with stage.gateway() as cortex:
        start = trio.current_time()
        reply = await cortex.complete("Hi", idle_timeout=10 * stage.second)
        assert trio.current_time() - start <= 12 * stage.second + stage.slack
    assert (reply.worker, reply.text, reply.finish_reason) == ("fallback", RESCUE.text, FinishReason.STOP)
    failures = [attempt.failure.kind for attempt in reply.attempts if attempt.failure]
    assert set(failures) == {BROKEN[how][1]}
    assert len(primary.requests) == len(failures) <= 2


@broken
async def test_s08_s09_s10_s19_chat_raises_one_typed_error_with_what_was_delivered(
    stage: Stage, how: str
) -> None:
    behaviour, kind = BROKEN[how]
    primary = stage.primary(behaviour)
    fallback = stage.fallback()
    seen: list[Any] = []
    async with stage.gateway() as cortex:
        with pytest.raises(StreamInterrupted) as interrupted:
            await deliver(seen, cortex, idle_timeout=10 * stage.second)
        error = interrupted.value
        assert error.failure.kind is kind
        assert error.partial.text == text_of(seen) == FORTY
        assert (error.worker, error.partial.worker) == ("primary", "primary")
        assert [attempt.failure and attempt.failure.kind for attempt in error.attempts] == [kind]
    assert len(primary.requests) == 1
    assert not fallback.requests


@broken
async def test_s08_s09_s10_s19_restart_says_so_and_gives_a_whole_new_answer(stage: Stage, how: str) -> None:
    behaviour, kind = BROKEN[how]
    primary = stage.primary(behaviour)
    stage.fallback()
    async with stage.gateway() as cortex:
        async with cortex.chat("Hi", on_interrupt="restart", idle_timeout=10 * stage.second) as answer:
            events = [event async for event in answer]
            at = next(place for place, event in enumerate(events) if isinstance(event, Restarted))
            assert text_of(events[:at]) == FORTY
            assert text_of(events[at:]) == RESCUE.text
            assert (events[at].worker, events[at].failure.kind) == ("fallback", kind)
            assert answer.worker == "fallback"
            assert isinstance(events[-1], Finished)
    assert len(primary.requests) == 1


@broken
async def test_s08_s09_s10_s19_continue_goes_on_where_it_stopped(stage: Stage, how: str) -> None:
    """The fallback repeats the end of what was there: the repetition is left out."""
    behaviour, kind = BROKEN[how]
    primary = stage.primary(behaviour)
    rest = " ".join(SIXTY.split()[35:])
    fallback = stage.fallback(Behaviour(text=rest))
    async with stage.gateway() as cortex:
        async with cortex.chat("Hi", on_interrupt="continue", idle_timeout=10 * stage.second) as answer:
            events = [event async for event in answer]
        reply_events = [event for event in events if isinstance(event, Continued)]
    assert text_of(events) == SIXTY
    assert [(event.worker, event.failure.kind, event.offset) for event in reply_events] == [
        ("fallback", kind, len(FORTY))
    ]
    assert not [event for event in events if isinstance(event, Restarted)]
    assert FORTY in str(fallback.requests[0].body)
    assert len(primary.requests) == len(fallback.requests) == 1


@broken
async def test_s08_s09_s10_s19_buffer_delivers_nothing_of_the_broken_answer(virtual: Stage, how: str) -> None:
    virtual.primary(BROKEN[how][0])
    virtual.fallback()
    async with virtual.gateway() as cortex:
        events = await events_of(cortex, on_interrupt="buffer", idle_timeout=10)
    assert text_of(events) == RESCUE.text
    assert not [event for event in events if isinstance(event, Restarted | Continued)]


async def test_s09_a_short_pause_in_the_middle_is_no_stall(virtual: Stage) -> None:
    virtual.primary(Behaviour(text=SIXTY, stall_after=40, stall_for=25))
    fallback = virtual.fallback()
    async with virtual.gateway() as cortex:
        assert (await cortex.complete("Hi")).text == SIXTY
    assert not fallback.requests


@pytest.mark.parametrize("virtual", virtual_stages(*WITH_PINGS), indirect=True)
async def test_s09_signs_of_life_without_content_do_not_keep_a_stream_alive_for_ever(
    virtual: Stage,
) -> None:
    virtual.primary(Behaviour(text=SIXTY, stall_after=40, pings=5))
    virtual.fallback()
    async with virtual.gateway() as cortex:
        start = trio.current_time()
        reply = await cortex.complete("Hi")
        assert 100 <= trio.current_time() - start <= 125
    assert reply.text == RESCUE.text


# ------------------------------------------------------------------ S11: a terminal marker that is missing


@pytest.mark.parametrize(
    "ending", [{}, {"close_idle": True}, {"one_block": True}], ids=["kept", "closed", "in one block"]
)
async def test_s11_a_finish_reason_without_the_terminal_marker_is_a_complete_answer(
    stage: Stage, ending: dict[str, Any]
) -> None:
    primary = stage.primary(Behaviour(text=SIXTY, no_terminal=True, **ending))
    fallback = stage.fallback()
    async with stage.gateway() as cortex:
        events = await events_of(cortex)
        reply = await cortex.complete("Hi")
    assert text_of(events) == reply.text == SIXTY
    assert isinstance(events[-1], Finished)
    assert reply.finish_reason is FinishReason.STOP
    assert [attempt.failure for attempt in reply.attempts] == [None]
    assert len(primary.requests) == 2
    assert not fallback.requests


async def test_s11_an_end_without_any_finish_reason_is_never_a_success(virtual: Stage) -> None:
    virtual.primary(Behaviour(text=SIXTY, cut_after=60))
    async with virtual.gateway() as cortex:
        with pytest.raises(StreamInterrupted) as interrupted:
            await events_of(cortex)
    assert interrupted.value.failure.kind is FailureKind.TRUNCATED
    assert interrupted.value.partial.text == SIXTY


# ------------------------------------------------------------------ S14: the fallback takes no prefix


async def test_s14_a_fallback_that_rejects_the_prefix_still_gives_a_whole_answer(stage: Stage) -> None:
    """Here the dialect under exam is the fallback's."""
    stage.add("primary", Behaviour(text=SIXTY, cut_after=40), dialect=stage.other)
    fallback = stage.add("fallback", RESCUE)
    fallback.prefill = False
    async with stage.gateway() as cortex:
        events = await events_of(cortex, on_interrupt="continue")
    marks = [event for event in events if isinstance(event, Restarted | Continued)]
    after = text_of(events[events.index(marks[-1]) :])
    assert after.strip() == RESCUE.text
    assert {mark.failure.kind for mark in marks} == {FailureKind.TRUNCATED}
    assert isinstance(events[-1], Finished)
    assert len(fallback.requests) <= 2


@pytest.mark.parametrize("refusing", ["anthropic", "ollama"])
async def test_s14_where_the_prefix_was_sent_and_refused_the_answer_starts_again(
    virtual: Stage, refusing: str
) -> None:
    virtual.primary(Behaviour(text=SIXTY, cut_after=40))
    model = {"anthropic": "claude-sonnet-4-5", "ollama": "qwen3:4b"}[refusing]

    def refuse_prefix(request: Any) -> Behaviour:
        prefixed = request.body["messages"][-1]["role"] == "assistant"
        return Behaviour(error=FailureKind.BAD_REQUEST) if prefixed else RESCUE

    fallback = virtual.add("fallback", refuse_prefix, dialect=refusing, models=[model])
    async with virtual.gateway() as cortex:
        async with cortex.chat("Hi", on_interrupt="continue") as answer:
            events = [event async for event in answer]
    restarted = [event for event in events if isinstance(event, Restarted)]
    assert [event.failure.kind for event in restarted] == [FailureKind.TRUNCATED]
    assert text_of(events[events.index(restarted[0]) :]) == RESCUE.text
    assert len(fallback.requests) == 2
    kinds = [attempt.failure and attempt.failure.kind for attempt in answer.attempts]
    assert kinds == [FailureKind.TRUNCATED, FailureKind.BAD_REQUEST, None]


async def test_s14_when_nobody_can_go_on_the_first_cause_is_kept(virtual: Stage) -> None:
    virtual.primary(Behaviour(text=SIXTY, cut_after=40), Behaviour(status=503))
    virtual.fallback(Behaviour(error=FailureKind.BAD_REQUEST))
    async with virtual.gateway() as cortex:
        with pytest.raises(StreamInterrupted) as interrupted:
            await events_of(cortex, on_interrupt="continue")
    assert interrupted.value.failure.kind is FailureKind.TRUNCATED
    assert interrupted.value.partial.text == FORTY
    assert interrupted.value.__cause__ is not None


# ------------------------------------------------------------------ S19: errors inside a 200


WITHOUT_CODES = ("xai", "cohere", "ollama")
"""Dialects whose errors inside a stream are a sentence; the one for a rate limit does not tell what it is."""


@pytest.mark.parametrize(
    "kind", [FailureKind.OVERLOADED, FailureKind.SERVER, FailureKind.RATE_LIMIT], ids=lambda kind: kind.value
)
async def test_s19_an_error_as_the_first_event_of_a_200_is_classed_like_its_status_and_failed_over(
    stage: Stage, kind: FailureKind
) -> None:
    inside = stage.primary(Behaviour(error=kind, error_after=0))
    outside = stage.add("outside", Behaviour(error=kind))
    stage.fallback()
    async with stage.gateway() as cortex:
        async with cortex.chat("Hi", max_attempts=6) as answer:
            reply = await answer.collect()
    assert (reply.worker, reply.text) == ("fallback", RESCUE.text)
    kinds = {a.worker: a.failure.kind for a in reply.attempts if a.failure}
    assert kinds["outside"] is kind
    if kind is not FailureKind.RATE_LIMIT or stage.dialect not in WITHOUT_CODES:
        assert kinds["primary"] is kind
    assert len(inside.requests) <= 2
    assert len(outside.requests) <= 2


# ------------------------------------------------------------------ S24: after a tool call

CALL = ToolCall("call_1", "transfer", '{"amount": 100, "to": "Ada", "note": "rent for November"}')


@pytest.mark.parametrize("on_interrupt", ["raise", "restart", "continue"])
async def test_s24_once_a_tool_call_was_delivered_nothing_starts_again_by_itself(
    stage: Stage, on_interrupt: str
) -> None:
    primary = stage.primary(Behaviour(text="", tool_calls=[CALL], cut_after=99))
    fallback = stage.fallback(Behaviour(text="", tool_calls=[CALL]))
    seen: list[Any] = []
    async with stage.gateway() as cortex:
        with pytest.raises(StreamInterrupted) as interrupted:
            await deliver(
                seen,
                cortex,
                tools=[transfer()],
                on_interrupt=on_interrupt,
                idle_timeout=10 * stage.second,
            )
    assert [event.name for event in seen if isinstance(event, ToolCallDelta) and event.name] == ["transfer"]
    assert [call.name for call in interrupted.value.partial.tool_calls] == ["transfer"]
    assert len(primary.requests) == 1
    assert not fallback.requests


async def test_s24_complete_delivers_exactly_one_of_two_calls(stage: Stage) -> None:
    stage.primary(Behaviour(text="", tool_calls=[CALL], cut_after=99))
    stage.fallback(Behaviour(text="", tool_calls=[CALL]))
    async with stage.gateway() as cortex:
        reply = await cortex.complete("Pay", tools=[transfer()])
    assert [(call.name, call.parsed()) for call in reply.tool_calls] == [("transfer", CALL.parsed())]
    assert reply.finish_reason is FinishReason.TOOL_CALLS
    assert reply.worker == "fallback"


def transfer() -> dict[str, Any]:
    numbers = {"amount": {"type": "integer"}, "to": {"type": "string"}, "note": {"type": "string"}}
    return {
        "type": "function",
        "function": {
            "name": "transfer",
            "description": "Send money.",
            "parameters": {"type": "object", "properties": numbers},
        },
    }


# ------------------------------------------------------------------ S27: however it is cut


@pytest.mark.parametrize("slicing", [{"slice_bytes": 1}, {"slice_bytes": 7}, {"one_block": True}], ids=str)
async def test_s27_however_the_bytes_are_cut_the_events_are_the_same(
    stage: Stage, slicing: dict[str, Any]
) -> None:
    answer = {"text": "Grüße, 世界! 🌍 done.", "reasoning": "Let me think.", "tool_calls": [CALL]}
    stage.primary(Behaviour(**answer), Behaviour(**answer, **slicing))
    async with stage.gateway() as cortex:
        plain = await events_of(cortex, tools=[transfer()])
        sliced = await events_of(cortex, tools=[transfer()])
    assert without_ids(sliced) == without_ids(plain)
    assert text_of(plain) == answer["text"]
    kinds = {type(event) for event in plain}
    assert (
        {TextDelta, ToolCallDelta, UsageUpdate, Finished}
        <= kinds
        <= {
            TextDelta,
            ReasoningDelta,
            ReasoningSeal,
            ToolCallDelta,
            UsageUpdate,
            Finished,
        }
    )


def without_ids(events: list[Any]) -> list[Any]:
    """A call's id is made per request where the wire has none."""
    return [
        (event.index, event.name, event.arguments, event.id is None)
        if isinstance(event, ToolCallDelta)
        else event
        for event in events
    ]
