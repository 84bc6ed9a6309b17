"""An answer that began well breaks off: S08, S09, S10, S14 and S19, in every way of asking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from ...errors import StreamInterrupted
from ...events import Continued, Finished, FinishReason, Restarted, StreamEvent
from ...failures import FailureKind
from ...simulator.behaviour import Behaviour
from ...simulator.request import SimRequest
from .reading import events_of, text_of
from .scenario import Scenario, scenario
from .stage import DIALECTS, FORTY, RESCUE, SIXTY, Stage, check, equal, failing

IDLE_SECONDS = 10.0
REST = " ".join(SIXTY.split()[35:])
"""How a fallback goes on that repeats the last five of the forty words that were there."""

S08 = scenario(
    "S08", "cut after 40 of 60 tokens", "whole answer, or StreamInterrupted with the partial, as asked for"
)
S09 = scenario("S09", "stalls 30 s mid-stream", "as S08, within the idle timeout")
S10 = scenario("S10", "malformed chunk", "as S08; never a parser's exception")
S14 = scenario(
    "S14", "cut, and the fallback rejects an assistant prefix", "whole answer all the same; first cause kept"
)
S19 = scenario(
    "S19", "overloaded inside a 200 stream", "same class as the HTTP status; failover before commit"
)

Broken = tuple[Behaviour, FailureKind]
BROKEN: Mapping[str, tuple[Scenario, Broken]] = {
    "cut": (S08, (Behaviour(text=SIXTY, cut_after=40), FailureKind.TRUNCATED)),
    "cut in a chunk": (S08, (Behaviour(text=SIXTY, cut_mid_chunk=40), FailureKind.CONNECTION)),
    "reset": (S08, (Behaviour(text=SIXTY, reset_after=40), FailureKind.CONNECTION)),
    "stalled": (S09, (Behaviour(text=SIXTY, stall_after=40), FailureKind.STALLED)),
    "garbled": (S10, (Behaviour(text=SIXTY, garble_after=40), FailureKind.PROTOCOL)),
    "overloaded": (
        S19,
        (Behaviour(text=SIXTY, error=FailureKind.OVERLOADED, error_after=40), FailureKind.OVERLOADED),
    ),
}
"""After 40 of 60 tokens were delivered: what happens, and what it is called."""


async def complete_is_whole(stage: Stage, broken: Broken) -> None:
    behaviour, kind = broken
    primary = stage.primary(behaviour)
    stage.fallback()
    async with stage.gateway() as cortex:
        start = trio.current_time()
        reply = await cortex.complete("Hi", idle_timeout=IDLE_SECONDS * stage.second)
        took = trio.current_time() - start
        most = (IDLE_SECONDS + 2) * stage.second + stage.slack
        check(took <= most, f"it is done within the idle time-out, not in {took:.1f} s")
    equal((reply.worker, reply.text), ("fallback", RESCUE.text), "the answer")
    equal(reply.finish_reason, FinishReason.STOP, "the finish reason")
    failures = [attempt.failure.kind for attempt in reply.attempts if attempt.failure]
    equal(set(failures), {kind}, "what it is called")
    equal(len(primary.requests), len(failures), "requests to the primary")
    check(len(failures) <= 2, "it is asked no more than twice")


async def chat_raises(stage: Stage, broken: Broken) -> None:
    behaviour, kind = broken
    primary = stage.primary(behaviour)
    fallback = stage.fallback()
    seen: list[StreamEvent] = []
    patience = {"idle_timeout": IDLE_SECONDS * stage.second}
    async with stage.gateway() as cortex:
        error = await failing(StreamInterrupted, lambda: events_of(cortex, seen, **patience))
        equal(error.failure.kind, kind, "what it is called")
        equal((error.partial.text, text_of(seen)), (FORTY, FORTY), "what the error holds, what was delivered")
        equal((error.worker, error.partial.worker), ("primary", "primary"), "who broke off")
        equal([attempt.failure and attempt.failure.kind for attempt in error.attempts], [kind], "the ledger")
    equal((len(primary.requests), len(fallback.requests)), (1, 0), "requests")


async def restart_begins_again(stage: Stage, broken: Broken) -> None:
    behaviour, kind = broken
    primary = stage.primary(behaviour)
    stage.fallback()
    async with stage.gateway() as cortex:
        patience = IDLE_SECONDS * stage.second
        async with cortex.chat("Hi", on_interrupt="restart", idle_timeout=patience) as answer:
            events = [event async for event in answer]
            marks = [event for event in events if isinstance(event, Restarted)]
            equal([(mark.worker, mark.failure.kind) for mark in marks], [("fallback", kind)], "the mark")
            at = events.index(marks[0])
            equal(text_of(events[:at]), FORTY, "what was delivered before it")
            equal(text_of(events[at:]), RESCUE.text, "the answer after it")
            equal(answer.worker, "fallback", "who serves")
            check(isinstance(events[-1], Finished), "it ends in good order")
    equal(len(primary.requests), 1, "requests to the primary")


async def continue_goes_on(stage: Stage, broken: Broken) -> None:
    """The fallback repeats the end of what was there: the repetition is left out."""
    behaviour, kind = broken
    primary = stage.primary(behaviour)
    fallback = stage.fallback(Behaviour(text=REST))
    async with stage.gateway() as cortex:
        events = await events_of(cortex, on_interrupt="continue", idle_timeout=IDLE_SECONDS * stage.second)
    equal(text_of(events), SIXTY, "the answer")
    marks = [event for event in events if isinstance(event, Continued)]
    told = [(mark.worker, mark.failure.kind, mark.offset) for mark in marks]
    equal(told, [("fallback", kind, len(FORTY))], "the mark")
    check(not any(isinstance(event, Restarted) for event in events), "nothing is begun again")
    check(FORTY in str(fallback.requests[0].body), "the fallback is told what was there")
    equal((len(primary.requests), len(fallback.requests)), (1, 1), "requests")


async def buffer_delivers_one_answer(stage: Stage, broken: Broken) -> None:
    stage.primary(broken[0])
    stage.fallback()
    async with stage.gateway() as cortex:
        events = await events_of(cortex, on_interrupt="buffer", idle_timeout=IDLE_SECONDS)
    equal(text_of(events), RESCUE.text, "the answer")
    check(not any(isinstance(event, Restarted | Continued) for event in events), "there is no mark in it")


for _name, (_scenario, _broken) in BROKEN.items():
    _one = {_name: _broken}
    _scenario.parts_for(_one, "complete() gives the whole answer of the fallback")(complete_is_whole)
    _scenario.parts_for(_one, "chat() raises one typed error with what was delivered")(chat_raises)
    _scenario.parts_for(_one, "restart says so, and gives a whole new answer")(restart_begins_again)
    _scenario.parts_for(_one, "continue goes on where it stopped")(continue_goes_on)
    _scenario.parts_for(_one, "buffer delivers nothing of the broken answer", virtual=True)(
        buffer_delivers_one_answer
    )


@S09.part("a short pause in the middle is no stall", virtual=True)
async def short_pause(stage: Stage) -> None:
    stage.primary(Behaviour(text=SIXTY, stall_after=40, stall_for=25))
    fallback = stage.fallback()
    async with stage.gateway() as cortex:
        equal((await cortex.complete("Hi")).text, SIXTY, "the answer")
    equal(len(fallback.requests), 0, "requests to the fallback")


@S09.part(
    "signs of life without content do not keep a stream alive for ever",
    virtual=True,
    only=[dialect for dialect in DIALECTS if dialect != "ollama"],  # NDJSON has no signs of life
)
async def nothing_but_pings(stage: Stage) -> None:
    stage.primary(Behaviour(text=SIXTY, stall_after=40, pings=5))
    stage.fallback()
    async with stage.gateway() as cortex:
        start = trio.current_time()
        reply = await cortex.complete("Hi")
        took = trio.current_time() - start
        check(100 <= took <= 125, f"it is given up after two minutes, not {took:.1f} s")
    equal(reply.text, RESCUE.text, "the answer")


# ------------------------------------------------------------------ S14: the fallback takes no prefix


@S14.part("the answer is whole all the same")
async def prefix_rejected(stage: Stage) -> None:
    """Here it is the fallback that speaks the dialect under exam."""
    stage.add("primary", Behaviour(text=SIXTY, cut_after=40), dialect=stage.other)
    fallback = stage.add("fallback", RESCUE)
    fallback.prefill = False
    async with stage.gateway() as cortex:
        events = await events_of(cortex, on_interrupt="continue")
    marks = [event for event in events if isinstance(event, Restarted | Continued)]
    check(marks, "the interruption is told")
    equal({mark.failure.kind for mark in marks}, {FailureKind.TRUNCATED}, "the cause")
    equal(text_of(events[events.index(marks[-1]) :]).strip(), RESCUE.text, "the answer after it")
    check(isinstance(events[-1], Finished), "it ends in good order")
    check(len(fallback.requests) <= 2, "the fallback is asked no more than twice")


REFUSING = {"anthropic": ("anthropic", "claude-sonnet-4-5"), "ollama": ("ollama", "qwen3:4b")}
"""Dialects that are sent a prefix to go on from, and a model that takes one."""


@S14.parts_for(REFUSING, "where the prefix was sent and refused, the answer starts again", virtual=True)
async def prefix_refused(stage: Stage, refusing: tuple[str, str]) -> None:
    stage.primary(Behaviour(text=SIXTY, cut_after=40))
    dialect, model = refusing

    def refuse_prefix(request: SimRequest) -> Behaviour:
        prefixed = request.body["messages"][-1]["role"] == "assistant"
        return Behaviour(error=FailureKind.BAD_REQUEST) if prefixed else RESCUE

    fallback = stage.add("fallback", refuse_prefix, dialect=dialect, models=[model])
    async with stage.gateway() as cortex:
        async with cortex.chat("Hi", on_interrupt="continue") as answer:
            events = [event async for event in answer]
    marks = [event for event in events if isinstance(event, Restarted)]
    equal([mark.failure.kind for mark in marks], [FailureKind.TRUNCATED], "the cause")
    equal(text_of(events[events.index(marks[0]) :]), RESCUE.text, "the answer after it")
    equal(len(fallback.requests), 2, "requests to the fallback")
    kinds = [attempt.failure and attempt.failure.kind for attempt in answer.attempts]
    equal(kinds, [FailureKind.TRUNCATED, FailureKind.BAD_REQUEST, None], "the ledger")


@S14.part("when no worker can continue the first cause is kept", virtual=True)
async def nobody_goes_on(stage: Stage) -> None:
    stage.primary(Behaviour(text=SIXTY, cut_after=40), Behaviour(status=503))
    stage.fallback(Behaviour(error=FailureKind.BAD_REQUEST))
    options: dict[str, Any] = {"on_interrupt": "continue"}
    async with stage.gateway() as cortex:
        error = await failing(StreamInterrupted, lambda: events_of(cortex, **options))
    equal(error.failure.kind, FailureKind.TRUNCATED, "the cause")
    equal(error.partial.text, FORTY, "the partial answer")
    check(error.__cause__ is not None, "the error says why no worker continued")


# ------------------------------------------------------------------ S19: errors inside a 200

WITHOUT_CODES = ("xai", "xai_responses", "cohere", "ollama")
"""Dialects whose errors inside a stream are a sentence; the one for a rate limit does not tell what it is."""
INSIDE = {kind.value: kind for kind in (FailureKind.OVERLOADED, FailureKind.SERVER, FailureKind.RATE_LIMIT)}


@S19.parts_for(INSIDE, "an error as the first event of a 200 is classed like its status, and failed over")
async def first_event_is_an_error(stage: Stage, kind: FailureKind) -> None:
    inside = stage.primary(Behaviour(error=kind, error_after=0))
    outside = stage.add("outside", Behaviour(error=kind))
    stage.fallback()
    async with stage.gateway() as cortex:
        async with cortex.chat("Hi", max_attempts=6) as answer:
            events = [event async for event in answer]
            reply = await answer.collect()
    equal((reply.worker, reply.text, text_of(events)), ("fallback", RESCUE.text, RESCUE.text), "the answer")
    kinds = {a.worker: a.failure.kind for a in reply.attempts if a.failure}
    equal(kinds["outside"], kind, "what the status is called")
    if kind is not FailureKind.RATE_LIMIT or stage.dialect not in WITHOUT_CODES:
        equal(kinds["primary"], kind, "what the event is called")
    check(max(len(inside.requests), len(outside.requests)) <= 2, "bounded attempts")
