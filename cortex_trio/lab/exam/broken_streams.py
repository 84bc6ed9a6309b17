"""A stream breaks after content: S08, S09, S10, S14 and S19, with every value of on_interrupt."""

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
from .setup import DIALECTS, FORTY, RESCUE, SIXTY, Setup, check, equal, failing

IDLE_SECONDS = 10.0
CONTINUATION = " ".join(SIXTY.split()[35:])
"""The continuation of a fallback that repeats the last five of the forty tokens before it."""

S08 = scenario(
    "S08",
    "cut after 40 of 60 tokens",
    "whole answer, or StreamInterrupted with the partial answer, as on_interrupt says",
)
S09 = scenario("S09", "stalls 30 s mid-stream", "as S08, within the idle timeout")
S10 = scenario("S10", "malformed chunk", "as S08; never a parser's exception")
S14 = scenario(
    "S14", "cut, and the fallback rejects an assistant prefix", "whole answer; the first cause is kept"
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
"""After 40 of 60 tokens were delivered: what happens, and the failure kind."""


async def complete_is_whole(setup: Setup, broken: Broken) -> None:
    behaviour, kind = broken
    primary = setup.primary(behaviour)
    setup.fallback()
    async with setup.gateway() as cortex:
        start = trio.current_time()
        reply = await cortex.complete("Hi", idle_timeout=IDLE_SECONDS * setup.second)
        took = trio.current_time() - start
        most = (IDLE_SECONDS + 2) * setup.second + setup.slack
        check(took <= most, f"it ends within the idle timeout, not after {took:.1f} s")
    equal((reply.worker, reply.text), ("fallback", RESCUE.text), "the answer")
    equal(reply.finish_reason, FinishReason.STOP, "the finish reason")
    failures = [attempt.failure.kind for attempt in reply.attempts if attempt.failure]
    equal(set(failures), {kind}, "the failure kind")
    equal(len(primary.requests), len(failures), "requests to the primary")
    check(len(failures) <= 2, "it gets at most two requests")


async def chat_raises(setup: Setup, broken: Broken) -> None:
    behaviour, kind = broken
    primary = setup.primary(behaviour)
    fallback = setup.fallback()
    seen: list[StreamEvent] = []
    patience = {"idle_timeout": IDLE_SECONDS * setup.second}
    async with setup.gateway() as cortex:
        error = await failing(StreamInterrupted, lambda: events_of(cortex, seen, **patience))
        equal(error.failure.kind, kind, "the failure kind")
        equal((error.partial.text, text_of(seen)), (FORTY, FORTY), "the text of the error and of the events")
        equal((error.worker, error.partial.worker), ("primary", "primary"), "the worker of the error")
        equal([attempt.failure and attempt.failure.kind for attempt in error.attempts], [kind], "the ledger")
    equal((len(primary.requests), len(fallback.requests)), (1, 0), "requests")


async def restart_begins_again(setup: Setup, broken: Broken) -> None:
    behaviour, kind = broken
    primary = setup.primary(behaviour)
    setup.fallback()
    async with setup.gateway() as cortex:
        patience = IDLE_SECONDS * setup.second
        async with cortex.chat("Hi", on_interrupt="restart", idle_timeout=patience) as answer:
            events = [event async for event in answer]
            interruptions = [event for event in events if isinstance(event, Restarted)]
            equal(
                [(interruption.worker, interruption.failure.kind) for interruption in interruptions],
                [("fallback", kind)],
                "the interruption",
            )
            at = events.index(interruptions[0])
            equal(text_of(events[:at]), FORTY, "the text before the restart")
            equal(text_of(events[at:]), RESCUE.text, "the answer after it")
            equal(answer.worker, "fallback", "the worker")
            check(isinstance(events[-1], Finished), "the last event is Finished")
    equal(len(primary.requests), 1, "requests to the primary")


async def continue_goes_on(setup: Setup, broken: Broken) -> None:
    """The fallback repeats the end of the partial answer; the gateway removes the repetition."""
    behaviour, kind = broken
    primary = setup.primary(behaviour)
    fallback = setup.fallback(Behaviour(text=CONTINUATION))
    async with setup.gateway() as cortex:
        events = await events_of(cortex, on_interrupt="continue", idle_timeout=IDLE_SECONDS * setup.second)
    equal(text_of(events), SIXTY, "the answer")
    interruptions = [event for event in events if isinstance(event, Continued)]
    marked = [
        (interruption.worker, interruption.failure.kind, interruption.offset)
        for interruption in interruptions
    ]
    equal(marked, [("fallback", kind, len(FORTY))], "the interruption")
    check(not any(isinstance(event, Restarted) for event in events), "nothing is restarted")
    check(FORTY in str(fallback.requests[0].body), "the fallback gets the partial answer")
    equal((len(primary.requests), len(fallback.requests)), (1, 1), "requests")


async def buffer_delivers_one_answer(setup: Setup, broken: Broken) -> None:
    setup.primary(broken[0])
    setup.fallback()
    async with setup.gateway() as cortex:
        events = await events_of(cortex, on_interrupt="buffer", idle_timeout=IDLE_SECONDS)
    equal(text_of(events), RESCUE.text, "the answer")
    check(
        not any(isinstance(event, Restarted | Continued) for event in events),
        "there is no Restarted or Continued in it",
    )


for _name, (_scenario, _broken) in BROKEN.items():
    _one = {_name: _broken}
    _scenario.parts_for(_one, "complete() returns the whole answer of the fallback")(complete_is_whole)
    _scenario.parts_for(_one, "chat() raises one typed error with the partial answer")(chat_raises)
    _scenario.parts_for(_one, "restart sends Restarted, then a whole new answer")(restart_begins_again)
    _scenario.parts_for(_one, "continue continues the partial answer")(continue_goes_on)
    _scenario.parts_for(_one, "buffer delivers nothing of the broken answer", virtual=True)(
        buffer_delivers_one_answer
    )


@S09.part("a short pause in the middle is no stall", virtual=True)
async def short_pause(setup: Setup) -> None:
    setup.primary(Behaviour(text=SIXTY, stall_after=40, stall_for=25))
    fallback = setup.fallback()
    async with setup.gateway() as cortex:
        equal((await cortex.complete("Hi")).text, SIXTY, "the answer")
    equal(len(fallback.requests), 0, "requests to the fallback")


@S09.part(
    "pings without content do not keep a stream open for hours",
    virtual=True,
    only=[dialect for dialect in DIALECTS if dialect != "ollama"],  # NDJSON has no pings
)
async def nothing_but_pings(setup: Setup) -> None:
    setup.primary(Behaviour(text=SIXTY, stall_after=40, pings=5))
    setup.fallback()
    async with setup.gateway() as cortex:
        start = trio.current_time()
        reply = await cortex.complete("Hi")
        took = trio.current_time() - start
        check(100 <= took <= 125, f"it fails after two minutes, not after {took:.1f} s")
    equal(reply.text, RESCUE.text, "the answer")


# ------------------------------------------------------------------ S14: the fallback accepts no prefix


@S14.part("the answer is whole")
async def prefix_rejected(setup: Setup) -> None:
    """Here the fallback has the dialect under test."""
    setup.add("primary", Behaviour(text=SIXTY, cut_after=40), dialect=setup.other)
    fallback = setup.add("fallback", RESCUE)
    fallback.prefill = False
    async with setup.gateway() as cortex:
        events = await events_of(cortex, on_interrupt="continue")
    interruptions = [event for event in events if isinstance(event, Restarted | Continued)]
    check(interruptions, "there is a Restarted or Continued")
    equal({interruption.failure.kind for interruption in interruptions}, {FailureKind.TRUNCATED}, "the cause")
    equal(text_of(events[events.index(interruptions[-1]) :]).strip(), RESCUE.text, "the answer after it")
    check(isinstance(events[-1], Finished), "the last event is Finished")
    check(len(fallback.requests) <= 2, "the fallback gets at most two requests")


REFUSING = {"anthropic": ("anthropic", "claude-sonnet-4-5"), "ollama": ("ollama", "qwen3:4b")}
"""Dialects in which the gateway sends a prefix, and a model that accepts one."""


@S14.parts_for(REFUSING, "if the prefix is sent and rejected, the answer is restarted", virtual=True)
async def prefix_refused(setup: Setup, refusing: tuple[str, str]) -> None:
    setup.primary(Behaviour(text=SIXTY, cut_after=40))
    dialect, model = refusing

    def refuse_prefix(request: SimRequest) -> Behaviour:
        prefixed = request.body["messages"][-1]["role"] == "assistant"
        return Behaviour(error=FailureKind.BAD_REQUEST) if prefixed else RESCUE

    fallback = setup.add("fallback", refuse_prefix, dialect=dialect, models=[model])
    async with setup.gateway() as cortex:
        async with cortex.chat("Hi", on_interrupt="continue") as answer:
            events = [event async for event in answer]
    interruptions = [event for event in events if isinstance(event, Restarted)]
    equal([interruption.failure.kind for interruption in interruptions], [FailureKind.TRUNCATED], "the cause")
    equal(text_of(events[events.index(interruptions[0]) :]), RESCUE.text, "the answer after it")
    equal(len(fallback.requests), 2, "requests to the fallback")
    kinds = [attempt.failure and attempt.failure.kind for attempt in answer.attempts]
    equal(kinds, [FailureKind.TRUNCATED, FailureKind.BAD_REQUEST, None], "the ledger")


@S14.part("if no worker can continue, the first cause is kept", virtual=True)
async def no_worker_continues(setup: Setup) -> None:
    setup.primary(Behaviour(text=SIXTY, cut_after=40), Behaviour(status=503))
    setup.fallback(Behaviour(error=FailureKind.BAD_REQUEST))
    options: dict[str, Any] = {"on_interrupt": "continue"}
    async with setup.gateway() as cortex:
        error = await failing(StreamInterrupted, lambda: events_of(cortex, **options))
    equal(error.failure.kind, FailureKind.TRUNCATED, "the cause")
    equal(error.partial.text, FORTY, "the partial answer")
    check(error.__cause__ is not None, "the error says why no worker continued")


# ------------------------------------------------------------------ S19: errors inside a 200

WITHOUT_CODES = ("xai", "xai_responses", "cohere", "ollama")
"""Dialects whose errors inside a stream are only text; that of a rate limit cannot be recognised."""
INSIDE = {kind.value: kind for kind in (FailureKind.OVERLOADED, FailureKind.SERVER, FailureKind.RATE_LIMIT)}


@S19.parts_for(
    INSIDE, "an error as the first event of a 200 has the kind of its status, and the fallback serves"
)
async def first_event_is_an_error(setup: Setup, kind: FailureKind) -> None:
    inside = setup.primary(Behaviour(error=kind, error_after=0))
    outside = setup.add("outside", Behaviour(error=kind))
    setup.fallback()
    async with setup.gateway() as cortex:
        async with cortex.chat("Hi", max_attempts=6) as answer:
            events = [event async for event in answer]
            reply = await answer.collect()
    equal((reply.worker, reply.text, text_of(events)), ("fallback", RESCUE.text, RESCUE.text), "the answer")
    kinds = {a.worker: a.failure.kind for a in reply.attempts if a.failure}
    equal(kinds["outside"], kind, "what the status is called")
    if kind is not FailureKind.RATE_LIMIT or setup.dialect not in WITHOUT_CODES:
        equal(kinds["primary"], kind, "what the event is called")
    check(max(len(inside.requests), len(outside.requests)) <= 2, "bounded attempts")
