"""`open_gateway`: a gateway in front of simulated providers that checks what its requests leave behind."""

import pytest
import trio

from cortex_trio import CallWaiting
from cortex_trio.simulator import Behaviour, Simulator, open_gateway, open_simulator


async def test_the_providers_are_asked_in_the_order_in_which_they_were_added(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("ollama", Behaviour(status=503))
        sim.add("openai")
        async with open_gateway(sim) as cortex:
            reply = await cortex.complete("Hi")
    assert [attempt.worker for attempt in reply.attempts] == ["ollama", "openai"]


async def test_settings_workers_and_the_observer_are_those_of_open_cortex(autojump_clock: object) -> None:
    seen: list[object] = []
    async with open_simulator() as sim:
        provider = sim.add("openai", Behaviour(status=429, retry_after=5), Behaviour())
        workers = {"mine": provider.worker(timeout=3.0)}
        async with open_gateway(sim, workers, on_event=seen.append, max_wait=7.0) as cortex:
            assert (await cortex.complete("Hi")).worker == "mine"
    assert [event.worker for event in seen if isinstance(event, CallWaiting)] == ["mine"]


async def test_it_works_over_sockets() -> None:
    async with open_simulator(sockets=True) as sim:
        sim.add("openai")
        async with open_gateway(sim) as cortex:
            assert (await cortex.complete("Hi")).text


async def test_a_stream_that_is_not_left_is_an_error_that_says_what_is_held(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(stall_after=1))
        with pytest.raises(AssertionError, match=r"left something behind: .*openai: connections in use': 1"):
            await leave_a_stream_open(sim)


async def test_an_error_of_the_block_is_raised_and_not_what_it_left_behind(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(stall_after=1))
        with pytest.raises(LookupError, match="of the block"):
            await leave_a_stream_open(sim, LookupError("of the block"))


async def leave_a_stream_open(sim: Simulator, error: Exception | None = None) -> None:
    async with open_gateway(sim) as cortex:
        await cortex.chat("Hi").__aenter__()
        if error is not None:
            raise error


async def test_a_health_check_that_runs_at_the_end_is_not_left_behind(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai").behave_health(Behaviour(silent=True))
        async with open_gateway(sim, health_check_interval=1.0, health_check_timeout=5.0) as cortex:
            await trio.sleep(2)
            assert cortex.snapshot().workers[0].connections
            assert sim["openai"].in_flight == 1
