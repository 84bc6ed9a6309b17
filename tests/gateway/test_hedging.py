"""hedge_after: a silent worker is not waited for, and the loser of the race leaves nothing behind."""

import pytest
import trio
from at_rest import gateway, is_at_rest

from cortex_trio import AllWorkersFailed, Attempt
from cortex_trio.failures import FailureKind
from cortex_trio.simulator import Behaviour, open_simulator


async def test_the_next_worker_is_asked_when_the_first_is_silent(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="slow", first_token_after=20))
        sim.add("anthropic", Behaviour(text="quick", first_token_after=1))
        async with gateway(sim) as cortex:
            started = trio.current_time()
            async with cortex.chat("Hi", hedge_after=2) as answer:
                assert trio.current_time() - started == pytest.approx(3, abs=0.01)
                reply = await answer.collect()
        assert reply.text == "quick"
        assert [(a.worker, a.failure and a.failure.kind) for a in reply.attempts] == [
            ("openai", FailureKind.CANCELLED),
            ("anthropic", None),
        ]
        assert sim["openai"].open_connections == 0


async def test_no_other_worker_is_asked_when_the_first_answers_in_time(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="in time", first_token_after=1))
        sim.add("anthropic", Behaviour(text="not needed"))
        async with gateway(sim) as cortex, cortex.chat("Hi", hedge_after=2) as answer:
            assert (await answer.collect()).text == "in time"
        assert not sim["anthropic"].requests


async def test_the_first_may_still_win_the_race(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="first", first_token_after=3))
        sim.add("anthropic", Behaviour(text="second", first_token_after=9))
        async with gateway(sim) as cortex:
            started = trio.current_time()
            reply = await read(cortex, hedge_after=2)
            assert trio.current_time() - started == pytest.approx(3, abs=0.01)
        assert reply.text == "first"
        assert {a.worker: a.failure is None for a in reply.attempts} == {"openai": True, "anthropic": False}


async def test_a_failure_before_the_hedge_moves_on_at_once(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=FailureKind.OVERLOADED))
        sim.add("anthropic", Behaviour(text="yes"))
        async with gateway(sim) as cortex:
            started = trio.current_time()
            assert (await read(cortex, hedge_after=5)).text == "yes"
            assert trio.current_time() - started < 1


async def test_when_both_fail_the_error_names_both(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=FailureKind.OVERLOADED, first_token_after=4))
        sim.add("anthropic", Behaviour(error=FailureKind.OVERLOADED, first_token_after=4))
        async with gateway(sim, max_attempts=2) as cortex:
            with pytest.raises(AllWorkersFailed) as caught:
                await read(cortex, hedge_after=1)
        assert {error.worker for error in caught.value.exceptions} == {"openai", "anthropic"}
        assert sorted(attempt.number for attempt in caught.value.attempts) == [1, 2]


async def test_cancelling_a_race_closes_both(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(silent=True))
        sim.add("anthropic", Behaviour(silent=True))
        async with gateway(sim) as cortex:
            with trio.move_on_after(5) as scope:
                await read(cortex, hedge_after=1)
            assert scope.cancelled_caught
            await trio.testing.wait_all_tasks_blocked()
            assert [provider.open_connections for provider in sim.providers.values()] == [0, 0]


async def read(cortex, **options):  # type: ignore[no-untyped-def]
    async with cortex.chat("Hi", **options) as answer:
        return await answer.collect()


async def test_an_answer_is_kept_though_the_other_worker_fails_at_the_same_moment(
    autojump_clock: object,
) -> None:
    """Nothing of the answer is left behind either: leaving the gateway checks it."""
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(html=True, first_token_after=2))
        sim.add("anthropic", Behaviour(text="whole", first_token_after=1))
        async with gateway(sim) as cortex:
            reply = await read(cortex, hedge_after=1)
        assert reply.text == "whole"
        assert [attempt.worker for attempt in reply.attempts] == ["openai", "anthropic"]
        assert len(sim["anthropic"].requests) == 1


class Interrupt(BaseException):
    """Like a KeyboardInterrupt that arrives while the observer runs; pytest does not end because of it."""


async def test_an_interrupt_while_the_loser_is_closed_comes_out_alone_and_leaves_no_connection(
    autojump_clock: object,
) -> None:
    def on_event(event: object) -> None:
        if isinstance(event, Attempt) and event.worker == "openai":
            raise Interrupt

    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="slow", first_token_after=9))
        sim.add("anthropic", Behaviour(text="quick", first_token_after=1))
        async with gateway(sim, on_event=on_event) as cortex:
            with pytest.raises(Interrupt):
                await read(cortex, hedge_after=2)
            assert await is_at_rest(cortex)
            assert sim["openai"].open_connections == 0
