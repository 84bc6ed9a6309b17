"""A model that reasons has more time to its first content, as long as its server shows that it works."""

from typing import Any

import pytest
import trio
from at_rest import gateway

from cortex_trio import AllWorkersFailed, FailureKind, ProviderError, Reply
from cortex_trio.gateway.request.timeouts import Timeouts
from cortex_trio.simulator import Behaviour, open_simulator


async def ask(behaviour: Behaviour, *, config: Any = None, provider: str = "openai", **options: Any) -> Reply:
    async with open_simulator() as sim:
        sim.add(provider, behaviour)
        async with gateway(sim, max_attempts=1, **(config or {})) as cortex:
            return await cortex.complete("Hi", **options)


async def stalled_after(behaviour: Behaviour, *, config: Any = None, **options: Any) -> float:
    started = trio.current_time()
    with pytest.raises((ProviderError, AllWorkersFailed)) as caught:
        await ask(behaviour, config=config, **options)
    assert isinstance(caught.value, ProviderError)
    assert caught.value.failure.kind is FailureKind.STALLED
    return trio.current_time() - started


@pytest.mark.parametrize("reasoning", ["low", "high", 2000])
async def test_the_first_token_may_take_120_seconds(autojump_clock: object, reasoning: str | int) -> None:
    reply = await ask(Behaviour(first_token_after=115.0), provider="anthropic", reasoning=reasoning)
    assert 115 <= (reply.attempts[0].time_to_first_token or 0) < 120


@pytest.mark.parametrize("provider", ["openai", "anthropic", "openai_responses", "ollama"])
async def test_every_provider_has_this_time(autojump_clock: object, provider: str) -> None:
    assert (await ask(Behaviour(first_token_after=110.0), provider=provider, reasoning="low")).text


async def test_without_reasoning_the_time_is_that_of_the_worker(autojump_clock: object) -> None:
    late = Behaviour(first_token_after=115.0)
    assert await stalled_after(late) == pytest.approx(30, abs=1)
    for off in ("none", 0):
        assert await stalled_after(late, provider="gemini", reasoning=off) == pytest.approx(30, abs=1)
    assert await stalled_after(Behaviour(first_token_after=115.0, pings=5.0)) == pytest.approx(30, abs=1)


async def test_a_silent_server_is_left_after_120_seconds(autojump_clock: object) -> None:
    assert await stalled_after(Behaviour(silent=True), reasoning="high") == pytest.approx(120, abs=1)
    late = Behaviour(first_token_after=500.0)
    long = {"content_timeout": 300.0}
    assert await stalled_after(late, config=long, reasoning="high") < 121


async def test_a_worker_with_a_longer_time_keeps_it(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai", Behaviour(first_token_after=190.0))
        async with gateway(sim, {"openai": provider.worker(timeout=200.0)}) as cortex:
            assert (await cortex.complete("Hi", reasoning="high")).text


async def test_pings_extend_the_time_up_to_the_content_timeout(autojump_clock: object) -> None:
    slow = Behaviour(first_token_after=250.0, pings=15.0)
    reply = await ask(slow, config={"content_timeout": 300.0}, reasoning="high")
    assert (reply.attempts[0].time_to_first_token or 0) == pytest.approx(250, abs=1)


async def test_pings_for_ever_end_at_the_content_timeout(autojump_clock: object) -> None:
    never = Behaviour(first_token_after=590.0, pings=15.0)
    assert await stalled_after(never, config={"content_timeout": 300.0}, reasoning="high") == pytest.approx(
        300, abs=1
    )
    assert await stalled_after(never, reasoning="high") == pytest.approx(120, abs=1)


async def test_pings_that_stop_allow_the_time_once_more(autojump_clock: object) -> None:
    """The opening events of Anthropic's stream come at once; then nothing."""
    silent = Behaviour(stall_after=0)
    waited = await stalled_after(
        silent, config={"content_timeout": 300.0}, provider="anthropic", reasoning="high"
    )
    assert waited == pytest.approx(120, abs=1)


async def test_a_content_timeout_below_120_seconds_shortens_nothing(autojump_clock: object) -> None:
    late = Behaviour(first_token_after=100.0, pings=5.0)
    assert (await ask(late, config={"content_timeout": 40.0}, reasoning="high")).text


async def test_the_callers_own_limit_is_not_extended_and_blames_nothing(autojump_clock: object) -> None:
    slow = Behaviour(first_token_after=250.0, pings=5.0)
    async with open_simulator() as sim:
        sim.add("openai", slow)
        async with gateway(sim, max_attempts=1, content_timeout=300.0) as cortex:
            for _ in range(4):
                started = trio.current_time()
                with pytest.raises(ProviderError) as caught:
                    await cortex.complete("Hi", reasoning="high", first_token_timeout=50.0)
                assert trio.current_time() - started == pytest.approx(50, abs=1)
                assert caught.value.failure.ours
            [worker] = await cortex.list_workers()
    assert worker.status == "available"


async def test_the_time_of_the_whole_call_is_not_extended(autojump_clock: object) -> None:
    started = trio.current_time()
    slow = Behaviour(first_token_after=900.0, pings=5.0)
    with pytest.raises(ProviderError):
        await ask(slow, config={"content_timeout": 5000.0, "total_timeout": 200.0}, reasoning="high")
    assert trio.current_time() - started == pytest.approx(200, abs=1)


def test_the_deadline_in_numbers() -> None:
    limits = Timeouts(connect=5, first_token=120, idle=30, content=300, content_while_reasoning=300)
    assert limits.first_content_by(1000, 1000) == 1120
    assert limits.first_content_by(1000, 1060) == 1180
    assert limits.first_content_by(1000, 1250) == 1300
    plain = Timeouts(connect=5, first_token=30, idle=30, content=120)
    assert plain.first_content_by(1000, 1029) == 1030
    short = Timeouts(5, 120, 30, 60, until=1100, content_while_reasoning=60)
    assert short.first_content_by(1000, 1090) == 1100
