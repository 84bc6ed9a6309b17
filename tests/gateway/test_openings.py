"""Calls that wait are woken when there is something for them, and no more often than that."""

import random
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from at_rest import gateway, worker_of

from cortex_trio import Attempt, Config, Cortex, Failure, FailureKind, NoWorkersAvailable, WorkerConfig
from cortex_trio.gateway.routing.openings import Openings, Place
from cortex_trio.gateway.routing.plan import Ask, Plan, Wait
from cortex_trio.gateway.routing.retries import RetryBudget
from cortex_trio.gateway.routing.selection import Candidate
from cortex_trio.gateway.startup import open_runtime
from cortex_trio.gateway.transport.connections import Connections
from cortex_trio.gateway.workers.endpoint import Endpoint
from cortex_trio.gateway.workers.worker import Refusal, WorkerState
from cortex_trio.otp import Ref
from cortex_trio.simulator import Behaviour, Simulator, open_simulator
from cortex_trio.telemetry import CallWaiting


class AlwaysHigh(random.Random):
    """With it, a call waits until about 5.5 s for a cooldown of 5."""

    def random(self) -> float:
        return 0.999


ONE_SECOND = Behaviour(text="yes", first_token_after=1.0)


async def waits(
    openings: Openings, woken: list[tuple[int, Place | None]], number: int, **how: object
) -> None:
    place = await openings.wait(how.get("until", 100.0), for_place=bool(how.get("for_place", True)))
    woken.append((number, place))


async def park(nursery: trio.Nursery, start: Callable[[int], Awaitable[None]], count: int) -> None:
    """Start `count` tasks that wait, in order."""
    for number in range(count):
        nursery.start_soon(start, number)
        await trio.testing.wait_all_tasks_blocked()


# ------------------------------------------------------------------ the queue itself


async def test_a_place_that_is_freed_wakes_the_call_that_waits_longest(autojump_clock: object) -> None:
    openings, woken = Openings(), list[tuple[int, Place | None]]()
    async with trio.open_nursery() as nursery:
        await park(nursery, lambda number: waits(openings, woken, number), 3)
        assert len(openings) == 3
        for number in range(3):
            openings.place_freed("w")
            await trio.testing.wait_all_tasks_blocked()
            assert [who for who, _ in woken] == list(range(number + 1))
        assert len(openings) == 0
        assert all(place is not None and place.worker == "w" for _, place in woken)


async def test_a_place_is_handed_on_to_each_call_once_and_no_further(autojump_clock: object) -> None:
    """Calls that wait for another worker, and wait again: the place must not go round for ever."""
    openings, looked = Openings(), list[int]()

    async def looks_and_waits_again(number: int) -> None:
        while place := await openings.wait(100.0, for_place=True):
            looked.append(number)
            openings.hand_on(place)

    async with trio.open_nursery() as nursery:
        await park(nursery, looks_and_waits_again, 5)
        openings.place_freed("w")
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(looked) == [0, 1, 2, 3, 4]
        openings.changed()


async def test_places_that_are_freed_together_wake_one_call_each(autojump_clock: object) -> None:
    openings, woken = Openings(), list[tuple[int, Place | None]]()
    async with trio.open_nursery() as nursery:
        await park(nursery, lambda number: waits(openings, woken, number), 5)
        for name in ("a", "b", "c"):
            openings.place_freed(name)
        await trio.testing.wait_all_tasks_blocked()
        assert {(number, place.worker) for number, place in woken if place} == {(0, "a"), (1, "b"), (2, "c")}
        assert len(openings) == 2
        openings.changed()


async def test_a_change_wakes_all_and_gives_no_place(autojump_clock: object) -> None:
    openings, woken = Openings(), list[tuple[int, Place | None]]()
    async with trio.open_nursery() as nursery:
        await park(nursery, lambda n: waits(openings, woken, n, for_place=n % 2 == 0), 6)
        openings.changed()
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(number for number, _ in woken) == list(range(6))
        assert all(place is None for _, place in woken)


async def test_a_place_wakes_no_call_that_waits_for_time_to_pass(autojump_clock: object) -> None:
    openings, woken = Openings(), list[tuple[int, Place | None]]()
    async with trio.open_nursery() as nursery:
        await park(nursery, lambda n: waits(openings, woken, n, for_place=False, until=20.0), 2)
        openings.place_freed("w")
        await trio.testing.wait_all_tasks_blocked()
        assert not woken
    assert trio.current_time() == pytest.approx(20.0)
    assert len(woken) == 2


@pytest.mark.parametrize("for_place", [True, False])
async def test_a_wait_ends_at_its_time_and_leaves_nothing(for_place: bool, autojump_clock: object) -> None:
    openings = Openings()
    assert await openings.wait(7.0, for_place=for_place) is None
    assert trio.current_time() == pytest.approx(7.0)
    assert len(openings) == 0
    openings.place_freed("w")
    assert await openings.wait(3.0, for_place=for_place) is None, "a time that is over: no place of before"
    assert trio.current_time() == pytest.approx(7.0)


async def test_a_call_that_is_cancelled_leaves_the_queue(autojump_clock: object) -> None:
    openings, woken = Openings(), list[tuple[int, Place | None]]()
    scopes = [trio.CancelScope() for _ in range(3)]

    async def cancellable(number: int) -> None:
        with scopes[number]:
            await waits(openings, woken, number)

    async with trio.open_nursery() as nursery:
        await park(nursery, cancellable, 3)
        scopes[0].cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert len(openings) == 2
        openings.place_freed("w")
        await trio.testing.wait_all_tasks_blocked()
        assert [number for number, _ in woken] == [1]
        openings.changed()


async def test_a_call_that_is_cancelled_in_the_moment_it_is_woken_still_gets_the_place(
    autojump_clock: object,
) -> None:
    """So it knows that it must hand it on; nothing else would."""
    openings, woken = Openings(), list[tuple[int, Place | None]]()

    async with trio.open_nursery() as nursery:
        await park(nursery, lambda number: waits(openings, woken, number), 1)
        openings.place_freed("w")
        nursery.cancel_scope.cancel()
    assert [(number, place is not None) for number, place in woken] == [(0, True)]


async def test_a_place_given_to_a_call_that_was_cancelled_just_before_reaches_the_next(
    autojump_clock: object,
) -> None:
    """Its task has not run since: it is still in the queue."""
    openings, woken = Openings(), list[tuple[int, Place | None]]()
    scopes = [trio.CancelScope() for _ in range(2)]

    async def cancellable(number: int) -> None:
        with scopes[number]:
            await waits(openings, woken, number)

    async with trio.open_nursery() as nursery:
        await park(nursery, cancellable, 2)
        scopes[0].cancel()
        openings.place_freed("w")
    assert [(number, place is not None) for number, place in woken] == [(1, True)]
    assert trio.current_time() == 0.0


async def test_a_place_is_reserved_until_it_is_used_or_handed_on_to_the_last(autojump_clock: object) -> None:
    openings, woken = Openings(), list[tuple[int, Place | None]]()
    async with trio.open_nursery() as nursery:
        await park(nursery, lambda number: waits(openings, woken, number), 3)
        openings.place_freed("w")
        openings.place_freed("w")
        assert (openings.reserved("w"), openings.reserved("other")) == (2, 0)
        await trio.testing.wait_all_tasks_blocked()
        first, second = (place for _, place in woken if place)
        assert openings.reserved("w", besides=first) == 1
        openings.used(first)
        assert openings.reserved("w") == 1
        openings.hand_on(second)
        assert openings.reserved("w") == 1
        await trio.testing.wait_all_tasks_blocked()
        _, third = woken[-1]
        assert third is not None
        openings.hand_on(third)
    assert openings.reserved("w") == 0


# ------------------------------------------------------------------ in the gateway


class Waited:
    """Counts how often calls began to wait, and when each call was served."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended: dict[str, float] = {}

    def on_event(self, event: object) -> None:
        self.begun += isinstance(event, CallWaiting)

    async def ask(self, cortex: Cortex, name: str, **options: object) -> None:
        await cortex.complete("Hi", **options)
        self.ended[name] = trio.current_time()


def limited(sim: Simulator, *names: str) -> dict[str, WorkerConfig]:
    return {name: worker_of(sim[name], max_concurrency=1) for name in names}


async def test_a_call_cancelled_in_the_moment_it_is_woken_hands_its_place_on(autojump_clock: object) -> None:
    waited, scope, first = Waited(), trio.CancelScope(), True

    def on_event(event: object) -> None:
        nonlocal first
        if isinstance(event, Attempt) and first:  # the place is free, and the second call is woken
            first = False
            scope.cancel()

    async with open_simulator() as sim:
        sim.add("openai", ONE_SECOND)
        async with gateway(sim, limited(sim, "openai"), on_event=on_event) as cortex:

            async def leaves() -> None:
                with scope:
                    await waited.ask(cortex, "leaves")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(waited.ask, cortex, "first")
                await trio.sleep(0.1)
                nursery.start_soon(leaves)
                await trio.sleep(0.1)
                nursery.start_soon(waited.ask, cortex, "third")
    assert scope.cancelled_caught
    assert waited.ended == {"first": pytest.approx(1.0, abs=0.1), "third": pytest.approx(2.0, abs=0.2)}


@pytest.mark.parametrize("calls", [10, 40])
async def test_n_calls_that_wait_for_one_place_are_woken_n_times(calls: int, autojump_clock: object) -> None:
    waited = Waited()
    async with open_simulator() as sim:
        sim.add("openai", ONE_SECOND)
        async with gateway(sim, limited(sim, "openai"), on_event=waited.on_event, max_wait=100.0) as cortex:
            async with trio.open_nursery() as nursery:
                for number in range(calls):
                    nursery.start_soon(waited.ask, cortex, str(number))
    assert len(waited.ended) == calls
    assert waited.begun < 2 * calls
    assert trio.current_time() == pytest.approx(calls, rel=0.1)


@pytest.mark.parametrize("calls", [10, 40])
async def test_n_calls_are_woken_n_times_also_while_another_worker_cools_down(
    calls: int, autojump_clock: object
) -> None:
    """What they wait for by the clock is the other worker; what wakes them is the place that is freed."""
    waited = Waited()
    async with open_simulator() as sim:
        sim.add("openai", ONE_SECOND)
        sim.add("groq", Behaviour(error=FailureKind.RATE_LIMIT, retry_after=90))
        async with gateway(
            sim, limited(sim, "openai", "groq"), on_event=waited.on_event, max_wait=100.0
        ) as cortex:
            with pytest.raises(Exception, match="rate_limit"):
                await cortex.complete("Hi", worker="groq", max_wait=0)
            async with trio.open_nursery() as nursery:
                for number in range(calls):
                    nursery.start_soon(waited.ask, cortex, str(number))
    assert len(waited.ended) == calls
    assert waited.begun < 2 * calls
    assert trio.current_time() < 1.2 * calls


async def test_a_place_reaches_the_call_that_can_use_it_past_those_that_cannot(
    autojump_clock: object,
) -> None:
    waited = Waited()
    async with open_simulator() as sim:
        sim.add("slow", Behaviour(text="yes", first_token_after=20.0), provider="openai")
        sim.add("quick", ONE_SECOND, provider="openai")
        async with gateway(sim, limited(sim, "slow", "quick")) as cortex:
            async with trio.open_nursery() as nursery:
                for name, worker in (("1", "slow"), ("2", "quick"), ("3", "slow"), ("4", "quick")):
                    nursery.start_soon(
                        lambda n, w: waited.ask(cortex, n, worker=w, max_wait=60.0), name, worker
                    )
                    await trio.sleep(0.01)
    assert waited.ended["2"] == pytest.approx(1.0, abs=0.1)
    assert waited.ended["4"] == pytest.approx(2.0, abs=0.2)
    assert waited.ended["3"] == pytest.approx(40.0, abs=0.2)


async def test_a_place_is_handed_on_when_the_call_it_woke_asks_another_worker(autojump_clock: object) -> None:
    """The better worker's cooldown has ended by the time at which the other one's place is freed."""
    waited, long = Waited(), Behaviour(text="yes", first_token_after=20.0)
    async with open_simulator() as sim:
        sim.add("best", Behaviour(error=FailureKind.RATE_LIMIT, retry_after=5), long, provider="openai")
        sim.add("second", Behaviour(text="yes", first_token_after=5.2), ONE_SECOND, provider="openai")
        config = Config(workers=limited(sim, "best", "second"), health_check_interval=0)
        async with open_runtime(config, http_transport=sim.transport) as runtime:
            cortex, runtime.random = Cortex(runtime), AlwaysHigh()
            with pytest.raises(Exception, match="rate_limit"):
                await cortex.complete("Hi", worker="best", max_wait=0)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: waited.ask(cortex, "holds", worker="second"))
                await trio.sleep(0.1)
                nursery.start_soon(lambda: waited.ask(cortex, "either"))
                await trio.sleep(0.1)
                nursery.start_soon(lambda: waited.ask(cortex, "second", worker="second"))
    assert waited.ended["holds"] == pytest.approx(5.2, abs=0.1)
    assert waited.ended["either"] == pytest.approx(25.2, abs=0.2)
    assert waited.ended["second"] == pytest.approx(6.2, abs=0.2)


async def test_a_call_is_woken_when_the_trial_of_another_was_served(autojump_clock: object) -> None:
    waited = Waited()
    async with open_simulator() as sim:
        slow = Behaviour(text="yes", first_token_after=10.0)
        sim.add("openai", Behaviour(error=FailureKind.CREDENTIAL), slow, Behaviour(text="yes"))
        async with gateway(sim, max_wait=250.0) as cortex:
            with pytest.raises(Exception, match="credential"):
                await cortex.complete("Hi", max_wait=0)
            async with trio.open_nursery() as nursery:
                for name in "abc":
                    nursery.start_soon(waited.ask, cortex, name)
    first, *others = sorted(waited.ended.values())
    assert 70.0 <= first <= 77.0
    assert all(ended <= first + 1.0 for ended in others), waited.ended


async def test_a_check_that_proves_nothing_new_wakes_no_call(autojump_clock: object) -> None:
    """A thousand workers are checked each half minute: waking all calls for each of them would cost seconds."""
    waited = Waited()
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=FailureKind.RATE_LIMIT, retry_after=20), Behaviour(text="yes"))
        sim.add("groq", ONE_SECOND)
        async with gateway(sim, on_event=waited.on_event, health_check_interval=1.0) as cortex:
            await waited.ask(cortex, "a", worker="openai")
    assert waited.ended["a"] >= 20.0
    assert waited.begun == 1


@pytest.mark.parametrize("seed", range(8))
async def test_a_check_that_half_opens_a_breaker_wakes_the_call_that_waits_for_it(
    seed: int, autojump_clock: object
) -> None:
    """Whichever task Trio runs first: the call must not look before the worker has heard of the check."""
    waited = Waited()
    async with open_simulator() as sim:
        sim.add("openai", *[Behaviour(error=FailureKind.OVERLOADED)] * 3, Behaviour(text="yes"))
        sim.add("groq", Behaviour(text="yes"))
        async with gateway(sim, health_check_interval=3.0, max_attempts=1) as cortex:
            for _ in range(3):
                with pytest.raises(Exception, match="overloaded"):
                    await cortex.complete("Hi", worker="openai")
            await waited.ask(cortex, f"seed {seed}", worker="openai")
    assert waited.ended[f"seed {seed}"] < 4.0


async def test_requests_to_a_worker_without_a_limit_wake_no_call(autojump_clock: object) -> None:
    waited = Waited()
    async with open_simulator() as sim:
        sim.add("busy", Behaviour(text="yes", first_token_after=20.0), provider="openai")
        sim.add("free", Behaviour(text="yes"), provider="openai")
        workers = {"busy": worker_of(sim["busy"], max_concurrency=1), "free": worker_of(sim["free"])}
        async with gateway(sim, workers, on_event=waited.on_event) as cortex:
            async with trio.open_nursery() as nursery:
                for name in ("first", "second"):
                    nursery.start_soon(lambda n: waited.ask(cortex, n, worker="busy"), name)
                await trio.sleep(1.0)
                for _ in range(20):
                    await cortex.complete("Hi", worker="free")
                assert waited.begun == 1


def test_a_call_whose_other_keys_are_refused_lets_time_pass_before_it_asks_again() -> None:
    """Two such calls would else wake each other for ever, in no time: each gives a permit back that the other takes."""
    config = WorkerConfig(provider="openai", api_keys=("sk-first-0001", "sk-other-0002"))
    states = [
        WorkerState(name, Endpoint(config, Connections(config)), Ref(name)) for name in ("asked", "later")
    ]
    asked, later = (Candidate(state, "gpt-4") for state in states)
    cooling = Refusal("cooling down", FailureKind.RATE_LIMIT, until=20.0)
    plan = Plan(
        [asked],
        all_candidates=lambda: [asked, later],
        refusal=lambda candidate, now: cooling if candidate is later else None,
        max_attempts=4,
        deadline=600.0,
        max_wait=30.0,
        budget=RetryBudget(),
        chance=lambda: 0.0,
    )
    assert plan.next(0.0) == Ask(asked)
    plan.learn(asked, Failure(FailureKind.QUOTA), config.api_keys[0])
    now, asks = 0.0, 0
    while now < 20.0:
        step = plan.next(now)
        if isinstance(step, Wait):
            plan.waited(0.0, [])  # woken at once
        else:
            assert step is not None
            assert step.candidate is asked
            now, asks = now + step.wait, asks + 1
            plan.refuse(asked)
        assert asks < 20
    assert now >= 20.0


async def test_calls_are_served_in_the_order_in_which_they_began_to_wait(autojump_clock: object) -> None:
    """A call that begins in the moment in which a place is freed waits behind those that wait for it."""
    waits_of: list[float] = []
    async with open_simulator() as sim:
        sim.add("openai", ONE_SECOND)
        async with gateway(sim, limited(sim, "openai")) as cortex:

            async def asks_again_and_again() -> None:
                for _ in range(5):
                    begun = trio.current_time()
                    await cortex.complete("Hi")
                    waits_of.append(trio.current_time() - begun)

            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(asks_again_and_again)
    assert len(waits_of) == 100
    assert max(waits_of) == pytest.approx(20.0, abs=0.5)
    assert trio.current_time() == pytest.approx(100.0, abs=1.0)


async def test_calls_that_wait_as_long_as_they_may_end_then(autojump_clock: object) -> None:
    """What is left of `max_wait` may be so little that adding it to the clock changes nothing."""
    ended: list[float] = []
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="yes", first_token_after=0.7))
        async with gateway(sim, limited(sim, "openai"), max_wait=3.3) as cortex:

            async def asks_again_and_again() -> None:
                for _ in range(6):
                    begun = trio.current_time()
                    try:
                        await cortex.complete("Hi")
                    except NoWorkersAvailable:
                        ended.append(trio.current_time() - begun)

            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(asks_again_and_again)
    assert ended
    assert all(seconds == pytest.approx(3.3) for seconds in ended)
