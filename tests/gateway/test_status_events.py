"""An observer gets each change of status once, with its reason, and the log says it too."""

import logging

import pytest
import trio
from at_rest import gateway, worker_of

from cortex_trio import Attempt, Bucket, WorkerConfig, WorkerStatusChanged
from cortex_trio.failures import FailureKind
from cortex_trio.simulator import Behaviour, open_simulator


def changes(events: list[object]) -> list[tuple[str, str, FailureKind | None]]:
    return [(e.worker, e.new, e.reason) for e in events if isinstance(e, WorkerStatusChanged)]


async def test_a_breaker_that_opens_and_closes_is_an_event(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        overloaded = Behaviour(error=FailureKind.OVERLOADED)
        sim.add("openai", *[overloaded] * 3, Behaviour(text="well again"))
        sim.add("anthropic", Behaviour(text="meanwhile"))
        with caplog.at_level(logging.INFO, logger="cortex_trio"):
            async with gateway(sim, on_event=events.append) as cortex:
                for _ in range(4):
                    await cortex.complete("Hi")
                assert changes(events) == [("openai", "unavailable", FailureKind.OVERLOADED)]
                await trio.sleep(10)
                assert (await cortex.complete("Hi")).text == "well again"
                await trio.testing.wait_all_tasks_blocked()
        assert changes(events)[-1] == ("openai", "available", None)
    assert "worker openai is unavailable (overloaded)" in caplog.text


async def test_keys_that_cool_down_are_the_workers_status(autojump_clock: object) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=FailureKind.RATE_LIMIT, retry_after=30))
        sim.add("anthropic", Behaviour(text="meanwhile"))
        async with gateway(sim, on_event=events.append) as cortex:
            await cortex.complete("Hi")
            await trio.testing.wait_all_tasks_blocked()
            assert changes(events) == [("openai", "rate_limited", FailureKind.RATE_LIMIT)]
            [openai, _] = await cortex.list_workers()
            assert openai.status == "rate_limited"
            assert openai.reopens_in == pytest.approx(30, abs=0.1)


def timed(events: list[tuple[float, object]]) -> list[tuple[float, str, str]]:
    """When (to the tenth of a second) which worker became what."""
    return [(round(at, 1), e.worker, e.new) for at, e in events if isinstance(e, WorkerStatusChanged)]


@pytest.mark.parametrize(
    ("failures", "seconds", "status"),
    [
        ([Behaviour(error=FailureKind.OVERLOADED)] * 3, 5.0, "unavailable"),
        ([Behaviour(error=FailureKind.OVERLOADED, retry_after=40)], 40.0, "unavailable"),
        ([Behaviour(error=FailureKind.RATE_LIMIT, retry_after=30)], 30.0, "rate_limited"),
        ([Behaviour(error=FailureKind.RATE_LIMIT)], 10.0, "rate_limited"),
        ([Behaviour(error=FailureKind.QUOTA)], 900.0, "quota_exceeded"),
    ],
    ids=["breaker", "a time that the server named", "key", "key on a guess", "quota"],
)
async def test_the_end_of_a_cooldown_is_an_event_at_its_time_without_a_request(
    failures: list[Behaviour], seconds: float, status: str, autojump_clock: object
) -> None:
    events: list[tuple[float, object]] = []
    async with open_simulator() as sim:
        sim.add("openai", *failures, Behaviour(text="well again"))
        sim.add("anthropic", Behaviour(text="meanwhile"))
        async with gateway(sim, on_event=lambda e: events.append((trio.current_time(), e))) as cortex:
            for _ in failures:
                await cortex.complete("Hi")
            await trio.testing.wait_all_tasks_blocked()
            [openai, _] = await cortex.list_workers()
            assert (openai.status, openai.reopens_in) == (status, pytest.approx(seconds, abs=0.2))
            [(began, _, _)] = timed(events)
            await trio.sleep(seconds + 1)
            ended = pytest.approx(began + seconds, abs=0.11)
            assert timed(events) == [(began, "openai", status), (ended, "openai", "available")]
            [openai, _] = await cortex.list_workers()
            assert (openai.status, openai.reason, openai.reopens_in) == ("available", None, None)


async def test_the_end_of_a_failed_checks_time_is_an_event(autojump_clock: object) -> None:
    events: list[tuple[float, object]] = []
    async with open_simulator() as sim:
        sim.add("openai").behave_health(Behaviour(status=500))
        async with gateway(sim, on_event=lambda e: events.append((trio.current_time(), e))) as cortex:
            await cortex.check_health()
            await trio.sleep(200)
        assert timed(events) == [(0.0, "openai", "unavailable"), (120.0, "openai", "available")]


async def test_actors_that_crash_during_a_cooldown_keep_its_end(autojump_clock: object) -> None:
    events: list[tuple[float, object]] = []
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=FailureKind.RATE_LIMIT, retry_after=30))
        sim.add("anthropic", Behaviour(text="meanwhile"))
        async with gateway(sim, on_event=lambda e: events.append((trio.current_time(), e))) as cortex:
            await cortex.complete("Hi")
            for actor in ("openai", "keys", "workers", "registry", "health"):
                await trio.sleep(5)
                cortex.actor(actor).kill()
            await trio.sleep(30)
        assert timed(events)[0][1:] == ("openai", "rate_limited")
        assert timed(events)[1:] == [(pytest.approx(30, abs=0.2), "openai", "available")]


class TimersMade(trio.abc.Instrument):
    def __init__(self) -> None:
        self.count = 0

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.count += task.name == "timer of registry"


async def test_an_open_breaker_takes_one_timer_and_a_long_trial_takes_none(autojump_clock: object) -> None:
    overloaded = Behaviour(error=FailureKind.OVERLOADED)
    async with open_simulator() as sim:
        sim.add("openai", *[overloaded] * 3, Behaviour(text="x", first_token_after=400))
        sim.add("anthropic", Behaviour(text="meanwhile"))
        workers = {
            "openai": worker_of(sim["openai"], timeout=500.0),
            "anthropic": worker_of(sim["anthropic"]),
        }
        async with gateway(sim, workers) as cortex:
            timers = TimersMade()
            trio.lowlevel.add_instrument(timers)
            for _ in range(3):
                await cortex.complete("Hi")
            for _ in range(20):
                await cortex.complete("Hi")  # by the other one
            await trio.sleep(10)
            await cortex.complete("Hi", worker="openai")
            trio.lowlevel.remove_instrument(timers)
            assert timers.count == 2, "set once for its end, and then for never"


async def test_every_attempt_is_emitted_once(autojump_clock: object) -> None:
    events: list[object] = []
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=FailureKind.OVERLOADED))
        sim.add("anthropic", Behaviour(text="yes"))
        async with gateway(sim, on_event=events.append) as cortex:
            reply = await cortex.complete("Hi")
    assert [event for event in events if isinstance(event, Attempt)] == list(reply.attempts)


async def test_a_request_goes_only_where_its_needs_are_met(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="plain"))
        sim.add("anthropic", Behaviour(text="with tools"))
        workers: dict[str, WorkerConfig] = {
            "openai": worker_of(sim["openai"], priority=1, capabilities=["images"]),
            "anthropic": worker_of(sim["anthropic"], priority=2),
        }
        tool = {"name": "now", "description": "the time", "parameters": {"type": "object", "properties": {}}}
        async with gateway(sim, workers) as cortex:
            assert (await cortex.complete("Hi")).text == "plain"
            assert (await cortex.complete("Hi", tools=[tool])).text == "with tools"
            assert "openai cannot do tools" in cortex.explain("Hi", tools=[tool])


async def test_the_rest_of_a_limit_is_that_of_the_last_response(autojump_clock: object) -> None:
    headers = {
        "x-ratelimit-limit-tokens": "30000",
        "x-ratelimit-remaining-tokens": "1230",
        "x-ratelimit-reset-tokens": "57.54s",
    }
    async with open_simulator() as sim:
        sim.add("groq", Behaviour(headers=headers))
        async with gateway(sim) as cortex:
            await cortex.complete("Hi")
            await trio.testing.wait_all_tasks_blocked()
            [groq] = await cortex.list_workers()
        assert groq.limits["tokens"] == Bucket(limit=30000, remaining=1230, reset_after=57.54)


async def test_a_refused_key_serves_again_once_a_check_passes(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai", Behaviour(text="yes"))
        keys = ("sk-sim-first-0001", "sk-sim-other-0002")
        provider.valid_keys = {keys[1]}
        workers = {"openai": worker_of(provider, api_keys=keys)}
        async with gateway(sim, workers, health_check_interval=30.0) as cortex:
            reply = await cortex.complete("Hi")
            assert [attempt.failure is None for attempt in reply.attempts] == [False, True]
            provider.valid_keys = set(keys)
            await trio.sleep(40)
            used = [(await cortex.complete("Hi")).attempts[0] for _ in range(2)]
        assert all(attempt.failure is None for attempt in used)
        assert len({attempt.key for attempt in used}) == 2, "both keys take turns again"


async def test_a_bad_key_is_found_by_a_check_without_blaming_the_worker(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai", Behaviour(text="yes"))
        keys = ("sk-sim-first-0001", "sk-sim-other-0002")
        provider.valid_keys = {keys[1]}
        workers = {"openai": worker_of(provider, api_keys=keys)}
        async with gateway(sim, workers) as cortex:
            status = await cortex.check_health()
            await trio.testing.wait_all_tasks_blocked()
            assert status.system_health == "healthy"
            reply = await cortex.complete("Hi")
        assert len(reply.attempts) == 1, "the bad key was not tried again"
