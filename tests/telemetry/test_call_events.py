"""The events of one call: what an observer receives, in which order, with which fields."""

import pickle
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

import attrs
import pytest
import trio
import trio.testing

from cortex_trio import (
    AllWorkersFailed,
    AnswerInterrupted,
    Attempt,
    AttemptStarted,
    CallEnded,
    CallStarted,
    CallWaiting,
    Cortex,
    CortexError,
    FailureKind,
    FinishReason,
    FirstToken,
    InvalidRequest,
    NoWorkersAvailable,
    ProviderError,
    StreamInterrupted,
    Usage,
    user,
)
from cortex_trio.simulator import Behaviour, open_gateway, open_simulator

K = FailureKind
E = TypeVar("E")
OF_CALLS = (CallStarted, CallWaiting, AttemptStarted, FirstToken, Attempt, AnswerInterrupted, CallEnded)
SLOW = Behaviour(text="One two three four.", tokens_per_second=1)


def of(events: Sequence[object], kind: type[E]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


def names(events: Sequence[object]) -> list[str]:
    return [type(event).__name__ for event in events if isinstance(event, OF_CALLS)]


def ended(events: Sequence[object]) -> CallEnded:
    [event] = of(events, CallEnded)
    return event


async def test_a_call_that_is_served_has_a_start_an_attempt_a_first_token_and_an_end(
    autojump_clock: object,
) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="Hello.", first_token_after=2))
        async with open_gateway(sim, on_event=events.append) as cortex:
            before = datetime.now(UTC)
            async with cortex.chat("Hi", tags={"user": "42"}, max_tokens=9, stop="x") as stream:
                call = stream.call
                reply = await stream.collect()
    assert names(events) == ["CallStarted", "AttemptStarted", "FirstToken", "Attempt", "CallEnded"]
    started, attempt_started, first, attempt, end = (e for e in events if isinstance(e, OF_CALLS))
    assert {event.call for event in events if isinstance(event, OF_CALLS)} == {call} == {reply.call}
    times = [event.at for event in events if isinstance(event, OF_CALLS)]
    assert times == sorted(times)
    assert before <= times[0]
    assert started == CallStarted(
        "", "chat", None, None, None, True, {"max_tokens": 9, "stop": ("x",)}, {"user": "42"}
    )
    assert isinstance(attempt_started, AttemptStarted)
    assert (attempt_started.worker, attempt_started.provider, attempt_started.number) == (
        "openai",
        "openai",
        1,
    )
    assert attempt_started.server_address
    assert attempt_started.server_port in (80, 443)
    assert attempt_started.key is not None
    assert "***" in attempt_started.key
    assert isinstance(first, FirstToken)
    assert first.seconds == pytest.approx(2, abs=0.1)
    assert isinstance(attempt, Attempt)
    assert (attempt.outcome, attempt.status, attempt.finish_reason) == ("served", 200, FinishReason.STOP)
    assert attempt.request_id is not None
    assert attempt.request_id.startswith("req_")
    assert attempt.response_id is not None
    assert attempt.response_id.startswith("chatcmpl-")
    assert attempt.response_model == reply.model
    assert attempt.started == attempt_started.at <= attempt.at
    assert attempt.chunks > 0
    assert isinstance(end, CallEnded)
    assert (end.outcome, end.operation, end.worker, end.model) == ("served", "chat", "openai", reply.model)
    assert (end.failure, end.error, end.interruption, end.resumed) == (None, None, None, None)
    assert end.cost == attempt.cost == reply.cost
    assert (end.finish_reason, end.usage, end.tags) == (FinishReason.STOP, reply.usage, {"user": "42"})
    assert end.attempts == (attempt,)
    assert end.time_to_first_token == pytest.approx(2, abs=0.1)
    assert end.seconds >= end.time_to_first_token


async def test_calls_have_different_ids(autojump_clock: object) -> None:
    calls = []
    for _ in range(2):
        async with open_simulator() as sim:
            sim.add("openai")
            async with open_gateway(sim) as cortex:
                calls += [(await cortex.complete("Hi")).call for _ in range(2)]
    assert len(set(calls)) == 4


async def test_complete_and_embed_are_calls(autojump_clock: object) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai")
        async with open_gateway(sim, on_event=events.append) as cortex:
            await cortex.complete("Hi", model="gpt-6.1-terra", provider="openai", worker="openai")
            await cortex.embed(["a"] * 3000, dimensions=8, tags={"job": "index"})
    whole, embed = of(events, CallStarted)
    assert (whole.operation, whole.streamed, whole.options) == ("complete", False, {"on_interrupt": "buffer"})
    assert (whole.model, whole.provider, whole.worker) == ("gpt-6.1-terra", "openai", "openai")
    assert (embed.operation, embed.options, embed.tags) == ("embed", {"dimensions": 8}, {"job": "index"})
    end = of(events, CallEnded)[-1]
    assert (end.outcome, end.finish_reason) == ("served", None)
    assert [attempt.number for attempt in end.attempts] == [1, 2]  # one call, in two requests


async def test_failover_is_one_call_with_two_attempts(autojump_clock: object) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=K.OVERLOADED))
        sim.add("anthropic")
        async with open_gateway(sim, on_event=events.append) as cortex:
            reply = await cortex.complete("Hi")
    assert names(events) == [
        "CallStarted",
        "AttemptStarted",
        "Attempt",
        "AttemptStarted",
        "FirstToken",
        "Attempt",
        "CallEnded",
    ]
    failed, served = of(events, Attempt)
    assert (failed.outcome, failed.status, served.outcome) == ("failed", 503, "served")
    end = ended(events)
    assert (end.worker, end.attempts) == ("anthropic", (failed, served))
    assert end.attempts == reply.attempts


async def test_a_hedged_attempt_that_lost_is_marked(autojump_clock: object) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(first_token_after=60))
        sim.add("anthropic")
        async with open_gateway(sim, on_event=events.append) as cortex:
            await cortex.complete("Hi", hedge_after=1)
    assert {attempt.worker: attempt.outcome for attempt in of(events, Attempt)} == {
        "openai": "lost_hedge",
        "anthropic": "served",
    }
    assert ended(events).worker == "anthropic"


async def leave_early(cortex: Cortex) -> None:
    async with cortex.chat("Hi") as stream:
        await stream.__anext__()


async def cancel_it(cortex: Cortex) -> None:
    with trio.move_on_after(0.5):
        await cortex.complete("Hi")


async def raise_inside(cortex: Cortex) -> None:
    with pytest.raises(LookupError):
        async with cortex.chat("Hi"):
            raise LookupError


@pytest.mark.parametrize("how", [leave_early, cancel_it, raise_inside])
async def test_a_call_that_is_left_is_cancelled(how: object, autojump_clock: object) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai", SLOW)
        async with open_gateway(sim, on_event=events.append) as cortex:
            await how(cortex)  # type: ignore[operator]
    assert names(events)[-2:] == ["Attempt", "CallEnded"]
    [attempt] = of(events, Attempt)
    end = ended(events)
    assert (attempt.outcome, end.outcome, end.error, end.failure) == ("cancelled", "cancelled", None, None)


async def test_a_call_that_fails_names_its_error_and_the_error_names_the_call(autojump_clock: object) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=K.CREDENTIAL))
        sim.add("anthropic", Behaviour(error=K.OVERLOADED))
        async with open_gateway(sim, on_event=events.append) as cortex:
            with pytest.raises(AllWorkersFailed) as caught:
                await cortex.complete("Hi", max_wait=0, max_attempts=2)
    end = ended(events)
    assert (end.outcome, end.error) == ("failed", "AllWorkersFailed")
    assert end.failure is caught.value.primary.failure.kind
    assert caught.value.call == end.call
    assert {error.call for error in caught.value.exceptions if isinstance(error, ProviderError)} == {end.call}
    assert caught.value.derive(caught.value.exceptions).call == end.call
    assert pickle.loads(pickle.dumps(caught.value)).call == end.call


async def test_a_call_that_sends_nothing_has_an_end(autojump_clock: object) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai")
        async with open_gateway(sim, on_event=events.append) as cortex:
            with pytest.raises(NoWorkersAvailable) as caught:
                await cortex.complete("Hi", worker="other")
    assert names(events) == ["CallStarted", "CallEnded"]
    end = ended(events)
    assert (end.outcome, end.error, end.failure) == ("failed", "NoWorkersAvailable", None)
    assert (end.worker, end.attempts, end.usage, caught.value.call) == (None, (), None, end.call)


async def test_an_error_before_the_call_began_has_no_call(autojump_clock: object) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai")
        async with open_gateway(sim, on_event=events.append) as cortex:
            with pytest.raises(InvalidRequest) as caught:
                cortex.chat("Hi", max_tokens=-1)
    assert caught.value.call is None
    assert names(events) == []


async def test_a_call_that_waits_says_for_what(autojump_clock: object) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=K.OVERLOADED, retry_after=4), Behaviour(text="Hello."))
        async with open_gateway(sim, on_event=events.append) as cortex:
            await cortex.complete("Hi")
    [waiting] = of(events, CallWaiting)
    end = ended(events)
    assert (waiting.worker, waiting.reason, waiting.call) == ("openai", K.OVERLOADED, end.call)
    assert waiting.seconds == pytest.approx(4, abs=0.5)
    assert end.overhead < 1 < 4 <= end.seconds


@pytest.mark.parametrize(
    ("how", "outcome", "resumed"),
    [("restart", "served", "restart"), ("continue", "served", "continue"), ("raise", "failed", None)],
)
async def test_an_interruption_says_how_it_went_on(
    how: str, outcome: str, resumed: str | None, autojump_clock: object
) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="One two three four.", cut_after=2))
        sim.add("anthropic", Behaviour(text="One two three four."))
        async with open_gateway(sim, on_event=events.append) as cortex:
            error: CortexError | None = None
            try:
                async with cortex.chat("Hi", on_interrupt=how) as stream:  # type: ignore[arg-type]
                    await stream.collect()
            except StreamInterrupted as interrupted:
                error = interrupted
    [broke] = of(events, AnswerInterrupted)
    end = ended(events)
    assert (broke.call, broke.how, broke.worker) == (end.call, how, "openai")
    assert (end.outcome, end.interruption, end.resumed) == (outcome, K.TRUNCATED, resumed)
    assert (error is not None) == (outcome == "failed")
    if isinstance(error, StreamInterrupted):
        assert error.call == error.partial.call == pickle.loads(pickle.dumps(error)).call == end.call
        assert (end.error, end.failure) == ("StreamInterrupted", K.TRUNCATED)


async def test_the_usage_of_a_call_is_that_of_all_its_attempts(autojump_clock: object) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("anthropic", Behaviour(text="One two three four.", cut_after=2))
        sim.add("openai", Behaviour(text="One two three four."))
        async with open_gateway(sim, on_event=events.append) as cortex:
            await cortex.complete("Hi")
    usages = [attempt.usage or Usage() for attempt in of(events, Attempt)]
    assert len(usages) > 1
    total = ended(events).usage
    assert total is not None
    assert total.input_tokens == sum(usage.input_tokens or 0 for usage in usages)
    assert total.output_tokens == sum(usage.output_tokens or 0 for usage in usages)


async def test_a_connection_that_is_used_again_is_marked(autojump_clock: object) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai")
        async with open_gateway(sim, on_event=events.append) as cortex:
            await cortex.complete("Hi")
            await cortex.complete("Hi")
    assert [attempt.reused for attempt in of(events, Attempt)] == [False, True]


async def test_events_hold_no_message_of_the_caller(autojump_clock: object) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=K.OVERLOADED))
        sim.add("anthropic", Behaviour(text="the-secret-answer"))
        async with open_gateway(sim, on_event=events.append) as cortex:
            await cortex.complete(
                [user("the-secret-prompt")],
                response_schema={"type": "object", "title": "the-secret-schema"},
                tools=[{"name": "f", "description": "the-secret-tool", "parameters": {"type": "object"}}],
            )
    assert of(events, CallStarted)[0].options == {"response_schema": 2, "tools": 1, "on_interrupt": "buffer"}
    assert "the-secret" not in repr(events)


async def test_events_can_be_pickled(autojump_clock: object) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=K.OVERLOADED, retry_after=2), Behaviour(text="Hello."))
        async with open_gateway(sim, on_event=events.append) as cortex:
            await cortex.complete("Hi", tags={"user": "42"})
            await trio.testing.wait_all_tasks_blocked()
    for event in events:
        assert attrs.has(type(event))
        if type(event).__name__ != "Report":
            assert pickle.loads(pickle.dumps(event)) == event


@pytest.mark.parametrize("tags", ["x", {"user": 42}, [("a", "b")]])
async def test_tags_are_checked(tags: object, autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        async with open_gateway(sim) as cortex:
            with pytest.raises(InvalidRequest, match="tags"):
                cortex.chat("Hi", tags=tags)  # type: ignore[arg-type]
            with pytest.raises(InvalidRequest, match="tags"):
                await cortex.embed("Hi", tags=tags)  # type: ignore[arg-type]
