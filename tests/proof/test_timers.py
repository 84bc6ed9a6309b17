"""Every timer of the gateway ends when it should, and not before; in virtual time, with the whole gateway."""

from itertools import pairwise

import pytest
import trio

from cortex_trio import Cortex, ProviderError, StreamInterrupted
from cortex_trio.failures import FailureKind
from cortex_trio.simulator import (
    Behaviour,
    SimulatedProvider,
    Simulator,
    leftovers,
    open_gateway,
    open_simulator,
)

GOOD = Behaviour(text="An answer.")
LONG = " ".join(f"word{number}" for number in range(300))


async def seconds_of_a_call(cortex: Cortex, **options: object) -> float:
    started = trio.current_time()
    assert (await cortex.complete("Hi", **options)).text == "An answer."
    return trio.current_time() - started


def about(seconds: float) -> object:
    """The end of an answer is drained for up to 50 ms."""
    return pytest.approx(seconds, abs=0.06)


def asked_at(provider: SimulatedProvider) -> list[float]:
    return [request.when for request in provider.requests]


def pauses(provider: SimulatedProvider) -> list[float]:
    times = asked_at(provider)
    return [later - earlier for earlier, later in pairwise(times)]


# ------------------------------------------------------------------ before the first token


async def test_connecting_takes_five_seconds_at_most_and_costs_no_attempt(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(connect_after=60))
        sim.add("anthropic", GOOD)
        async with open_gateway(sim, max_attempts=1) as cortex:
            assert await seconds_of_a_call(cortex) == about(5)


async def test_connecting_is_part_of_the_time_to_the_first_token(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(connect_after=4, first_token_after=4))
        sim.add("anthropic", GOOD)
        async with open_gateway(sim) as cortex:
            assert await seconds_of_a_call(cortex, first_token_timeout=2) == about(2)
            await trio.sleep(60)
            assert await seconds_of_a_call(cortex, first_token_timeout=7) == about(7)


@pytest.mark.parametrize(
    ("dialect", "seconds"),
    [
        ("openai", 30),
        ("groq", 30),
        ("xai", 30),
        ("gemini", 30),
        ("cohere", 30),
        ("anthropic", 60),
        ("ollama", 45),
    ],
)
async def test_a_silent_provider_is_left_after_its_own_timeout(
    dialect: str, seconds: float, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        silent = sim.add("silent", Behaviour(silent=True), provider=dialect)
        sim.add("openai", GOOD)
        async with open_gateway(sim) as cortex:
            assert await seconds_of_a_call(cortex) == about(seconds)
        assert len(silent.requests) == 1


@pytest.mark.parametrize("fault", [Behaviour(silent=True), Behaviour(first_token_after=500, pings=1)])
async def test_timeouts_of_a_worker_and_a_call_replace_the_default_and_pings_do_not_extend_them(
    fault: Behaviour, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", fault)
        sim.add("anthropic", GOOD)
        workers = {
            "openai": sim["openai"].worker(timeout=7.0, priority=1),
            "anthropic": sim["anthropic"].worker(priority=2),
        }
        async with open_gateway(sim, workers) as cortex:
            assert await seconds_of_a_call(cortex) == about(7)
            assert await seconds_of_a_call(cortex, first_token_timeout=3) == about(3)


# ------------------------------------------------------------------ in the middle of an answer


async def seconds_of_silence(sim: Simulator, fault: Behaviour, **options: object) -> float:
    """Seconds from the last token to the end of the stream."""
    sim.add("openai", fault)
    last = trio.current_time()

    async def read(cortex: Cortex) -> None:
        nonlocal last
        async with cortex.chat("Hi", **options) as answer:
            async for _ in answer.text():
                last = trio.current_time()

    async with open_gateway(sim) as cortex:
        with pytest.raises(StreamInterrupted, match="stalled"):
            await read(cortex)
        return trio.current_time() - last


async def test_a_silent_stream_ends_after_thirty_seconds(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        assert await seconds_of_silence(sim, Behaviour(text=LONG, stall_after=3)) == about(30)


async def test_the_idle_timeout_of_a_call_replaces_the_default(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        fault = Behaviour(text=LONG, stall_after=3)
        assert await seconds_of_silence(sim, fault, idle_timeout=4) == about(4)


async def test_pings_extend_the_idle_timeout_to_at_most_two_minutes(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        fault = Behaviour(text=LONG, stall_after=3, pings=10)
        assert await seconds_of_silence(sim, fault) == about(120)


async def test_a_pause_shorter_than_the_idle_time_is_no_stall(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="An answer.", stall_after=1, stall_for=29))
        async with open_gateway(sim) as cortex:
            assert await seconds_of_a_call(cortex) == about(29)


async def test_a_call_ends_after_ten_minutes(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text=LONG, tokens_per_second=0.2))
        async with open_gateway(sim) as cortex:
            started = trio.current_time()
            async with cortex.chat("Hi") as answer:
                with pytest.raises(StreamInterrupted, match="time is over"):
                    await answer.collect()
            assert trio.current_time() - started == about(600)


# ------------------------------------------------------------------ the caller's own deadline


@pytest.mark.parametrize(
    "fault", [Behaviour(silent=True), Behaviour(connect_after=60), Behaviour(text=LONG, stall_after=3)]
)
@pytest.mark.parametrize("how", ["complete", "raise", "restart", "continue", "buffer"])
async def test_a_deadline_of_the_caller_ends_everything_at_once_and_is_no_failure_of_a_worker(
    fault: Behaviour, how: str, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", fault)
        sim.add("anthropic", GOOD)
        async with open_gateway(sim) as cortex:
            for _ in range(4):  # three failures in a row would open the breaker
                started = trio.current_time()
                with trio.move_on_after(2.5) as scope:
                    if how == "complete":
                        await cortex.complete("Hi")
                    else:
                        async with cortex.chat("Hi", on_interrupt=how) as answer:
                            await answer.collect()
                assert scope.cancelled_caught
                assert trio.current_time() - started == pytest.approx(2.5)
                await trio.testing.wait_all_tasks_blocked()
                assert not leftovers(cortex)
                assert not sim["openai"].open_connections
            assert [(info.status, info.failures) for info in await cortex.list_workers()] == [
                ("available", 0)
            ] * 2
        assert not sim["anthropic"].requests


async def test_a_retry_after_beyond_the_deadline_is_not_awaited(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=FailureKind.RATE_LIMIT, retry_after=20), GOOD)
        async with open_gateway(sim) as cortex:
            with trio.move_on_after(10) as scope:
                with pytest.raises(ProviderError) as caught:
                    await cortex.complete("Hi")
                assert caught.value.retry_after == 20
            assert not scope.cancelled_caught
            assert trio.current_time() < 1


async def test_a_retry_after_within_the_deadline_is_awaited_in_full(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        openai = sim.add("openai", Behaviour(error=FailureKind.RATE_LIMIT, retry_after=20), GOOD)
        async with open_gateway(sim) as cortex:
            await cortex.complete("Hi")
        [waited] = pauses(openai)
        assert 20 <= waited <= 22.1


# ------------------------------------------------------------------ workers come and go


async def test_draining_waits_for_streams_for_the_given_time(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("quick", Behaviour(text="a b c d e", tokens_per_second=1), provider="openai")
        sim.add("slow", Behaviour(text=LONG, tokens_per_second=1), provider="openai")
        sim.add("stays", GOOD, provider="openai")
        async with open_gateway(sim) as cortex, trio.open_nursery() as nursery:
            ended: dict[str, tuple[float, str]] = {}

            async def read(name: str) -> None:
                try:
                    async with cortex.chat("Hi", worker=name) as answer:
                        text = (await answer.collect()).text
                except StreamInterrupted as error:
                    text = error.failure.kind.value
                ended[name] = trio.current_time(), text

            async def remove(name: str) -> None:
                await cortex.remove_worker(name, drain=10)
                ended[f"without {name}"] = trio.current_time(), ""

            for name in ("quick", "slow"):
                nursery.start_soon(read, name)
            await trio.sleep(0.5)
            for name in ("quick", "slow"):
                nursery.start_soon(remove, name)
        assert ended["quick"] == (pytest.approx(4), "a b c d e")
        assert ended["without quick"][0] == about(4)
        assert ended["slow"] == (about(10.5), "connection")
        assert ended["without slow"][0] == about(10.5)


async def test_a_kept_connection_is_used_for_thirty_seconds(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        openai = sim.add("openai", GOOD)
        async with open_gateway(sim) as cortex:
            for pause, made in ((0, 1), (29, 1), (29, 1), (31, 2)):
                await trio.sleep(pause)
                await cortex.complete("Hi")
                assert openai.connections_made == made
                assert openai.open_connections == 1


# ------------------------------------------------------------------ health


async def test_a_health_check_that_hangs_ends_after_five_seconds(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        for name in ("openai", "anthropic"):
            sim.add(name, GOOD)
        sim["openai"].behave_health(Behaviour(silent=True))
        async with open_gateway(sim) as cortex:
            health = await cortex.check_health()
            assert trio.current_time() == pytest.approx(5)
            assert health.workers["openai"].status == "unavailable"
            assert health.workers["openai"].reason is FailureKind.STALLED
            assert health.workers["anthropic"].status == "available"


async def test_idle_workers_are_checked_every_thirty_seconds(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        openai = sim.add("openai", GOOD)
        async with open_gateway(sim, health_check_interval=30.0):
            await trio.sleep(320)
        assert 9 <= len(openai.requests) <= 11
        assert all(28.4 <= pause <= 31.6 for pause in pauses(openai))


async def test_an_interval_of_zero_means_no_health_checks(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        openai = sim.add("openai", GOOD)
        async with open_gateway(sim, health_check_interval=0):
            await trio.sleep(1000)
        assert not openai.requests


# ------------------------------------------------------------------ cooldowns


async def calls_every(cortex: Cortex, seconds: float, *, until: float) -> None:
    while trio.current_time() < until:
        await cortex.complete("Hi")
        await trio.sleep(seconds)


@pytest.mark.slow
async def test_a_breaker_opens_for_five_seconds_and_doubles_to_sixty(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        openai = sim.add("openai", Behaviour(error=FailureKind.OVERLOADED))
        sim.add("anthropic", GOOD)
        async with open_gateway(sim) as cortex:
            await calls_every(cortex, 0.2, until=300)
        trials = pauses(openai)[2:]  # after the three failures in a row that opened it
        assert trials == [pytest.approx(seconds, abs=0.3) for seconds in (5, 10, 20, 40, 60, 60, 60)]


@pytest.mark.slow
async def test_a_rate_limit_without_a_time_cools_down_longer_each_time(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        openai = sim.add("openai", Behaviour(error=FailureKind.RATE_LIMIT))
        sim.add("anthropic", GOOD)
        async with open_gateway(sim) as cortex:
            await calls_every(cortex, 0.5, until=360)
        assert pauses(openai) == [pytest.approx(seconds, abs=0.6) for seconds in (10, 30, 60, 120, 120)]


@pytest.mark.slow
async def test_a_rate_limit_with_a_time_cools_down_for_all_of_it(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        openai = sim.add("openai", Behaviour(error=FailureKind.RATE_LIMIT, retry_after=77))
        sim.add("anthropic", GOOD)
        async with open_gateway(sim) as cortex:
            await calls_every(cortex, 0.5, until=240)
        assert all(77 <= pause <= 78 for pause in pauses(openai))
        assert len(openai.requests) == 4


@pytest.mark.slow
async def test_a_fixed_cooldown_after_a_rate_limit_can_be_configured(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        openai = sim.add("openai", Behaviour(error=FailureKind.RATE_LIMIT))
        sim.add("anthropic", GOOD)
        async with open_gateway(sim, rate_limit_rest=900.0) as cortex:
            await calls_every(cortex, 5, until=2000)
        assert pauses(openai) == [pytest.approx(900, abs=6)] * 2


@pytest.mark.slow
async def test_a_key_without_credit_cools_down_a_quarter_of_an_hour_and_doubles_to_an_hour(
    autojump_clock: object,
) -> None:
    async with open_simulator() as sim:
        openai = sim.add("openai", Behaviour(error=FailureKind.QUOTA))
        sim.add("anthropic", GOOD)
        async with open_gateway(sim) as cortex:
            await calls_every(cortex, 30, until=11_000)
        assert pauses(openai) == [pytest.approx(seconds, abs=31) for seconds in (900, 1800, 3600, 3600)]


async def test_a_worker_that_sends_retry_after_gets_no_request_until_it_ends(autojump_clock: object) -> None:
    """Not from other calls either, and after one failure, which would not open a breaker."""
    async with open_simulator() as sim:
        openai = sim.add("openai", Behaviour(error=FailureKind.OVERLOADED, retry_after=40), GOOD)
        sim.add("anthropic", GOOD)
        async with open_gateway(sim) as cortex:
            await calls_every(cortex, 1, until=20)
            assert "openai cooling down after overloaded, retry in" in cortex.explain("Hi")
            await calls_every(cortex, 1, until=45)
        assert pauses(openai)[0] == pytest.approx(40.5, abs=0.6)


async def test_a_worker_gets_no_request_after_its_drain_time(autojump_clock: object) -> None:
    """Not over a new connection either, for a request whose kept-alive connection was closed."""
    async with open_simulator() as sim:
        leaves = sim.add("leaves", GOOD, Behaviour(silent=True), provider="openai")
        sim.add("stays", GOOD, provider="openai")
        async with open_gateway(sim) as cortex, trio.open_nursery() as nursery:
            await cortex.complete("Hi")
            nursery.start_soon(seconds_of_a_call, cortex)
            await trio.sleep(1)
            await cortex.remove_worker("leaves", drain=2)
        assert len(leaves.requests) == 2
