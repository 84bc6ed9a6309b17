"""Many requests leave no trace: memory is flat, every table is bounded, no object of ours is left over."""

import gc
import os
import random
import sys
from collections import Counter

import attrs
import pytest
import trio
from at_rest import gateway, is_at_rest, nobody_is_connected, settle, worker_of

from cortex_trio import Config, Cortex, CortexError
from cortex_trio.failures import FailureKind
from cortex_trio.gateway.startup import open_runtime
from cortex_trio.gateway.workers.breaker import WINDOW_CALLS
from cortex_trio.gateway.workers.cooldowns import PLACES_KEPT, Cooldowns
from cortex_trio.simulator import Behaviour, SimRequest, Simulator, open_simulator
from cortex_trio.telemetry.activity import RECENT_ATTEMPTS

ABREAST = 50
"""Callers at the same time, each one request after the other."""
SLACK_BLOCKS = 6_000
"""Blocks of memory a whole run may keep beyond its warm-up, breakers' windows and measurements of ours included.

Python counts its blocks exactly, which the operating system's idea of our size is not. A request makes thousands.
"""
FAULTS = (
    Behaviour(status=500),
    Behaviour(error=FailureKind.OVERLOADED),
    Behaviour(error=FailureKind.RATE_LIMIT, retry_after=2),
    Behaviour(error=FailureKind.RATE_LIMIT),
    Behaviour(error=FailureKind.UNKNOWN),
    Behaviour(reset_after=0),
    Behaviour(cut_after=2),
    Behaviour(cut_mid_chunk=2),
    Behaviour(garble_after=1),
    Behaviour(stall_after=2),
    Behaviour(silent=True),
    Behaviour(close_on_reuse=True),
)


def script(seed: int) -> object:
    draw = random.Random(seed)

    def answer(_: SimRequest) -> Behaviour:
        return (
            draw.choice(FAULTS) if draw.random() < 0.1 else Behaviour(text="A short answer, and a good one.")
        )

    return answer


def ours() -> Counter[str]:
    """Objects of our gateway that are alive, by type; the simulator keeps its log on purpose."""
    gc.collect()
    names = (type(thing) for thing in gc.get_objects())
    return Counter(
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in names
        if kind.__module__.startswith("cortex_trio")
        and not kind.__module__.startswith("cortex_trio.simulator")
    )


async def ask(cortex: Cortex, number: int) -> None:
    """One request of some kind; some readers leave early, some are cancelled."""
    how = ("complete", "raise", "restart", "continue", "buffer")[number % 5]
    with trio.move_on_after(1.0 if number % 17 == 0 else 120.0):
        try:
            if how == "complete":
                await cortex.complete("Hi", hedge_after=1.0 if number % 3 == 0 else None)
                return
            async with cortex.chat("Hi", on_interrupt=how) as answer:
                async for _ in answer:
                    if number % 13 == 0:
                        break
        except CortexError:
            pass  # one in ten goes wrong; what it says is proved elsewhere


async def rounds(cortex: Cortex, sim: Simulator, requests: int) -> None:
    async def caller(numbers: range) -> None:
        for number in numbers:
            await ask(cortex, number)
            await trio.sleep(0.1)

    async with trio.open_nursery() as nursery:
        for start in range(ABREAST):
            nursery.start_soon(caller, range(start, requests, ABREAST))
    for provider in sim.providers.values():
        provider.requests.clear()


async def soak(requests: int) -> None:
    async with open_simulator() as sim:
        for seed, dialect in enumerate(("openai", "anthropic", "gemini", "cohere", "ollama")):
            sim.add(dialect, script(seed))  # type: ignore[arg-type]
        workers = {name: worker_of(provider) for name, provider in sim.providers.items()}
        config = Config(workers=workers, strategy="round_robin", health_check_interval=30.0)
        async with open_runtime(config, http_transport=sim.transport) as runtime:
            cortex = Cortex(runtime)
            await rounds(cortex, sim, max(500, requests // 10))
            await trio.sleep(400)
            alive, blocks = ours(), sys.getallocatedblocks()
            await rounds(cortex, sim, requests)
            await trio.sleep(400)  # cooldowns were swept, connections aged
            more = {name: count for name, count in (ours() - alive).items() if count > 10}
            grown = sys.getallocatedblocks() - blocks
            print(
                f"{requests:,} requests: {grown:+,} blocks of memory, objects of ours {more or 'as before'}"
            )
            assert not more, f"left over: {more}"
            assert grown < SLACK_BLOCKS, f"{grown:,} blocks of memory more after {requests:,} requests"
            tables_are_bounded(cortex, runtime.cooldowns)
            await cortex.reload(attrs.evolve(config, health_check_interval=0))
            await trio.sleep(40)
            assert await is_at_rest(cortex)
        assert await settle(lambda: nobody_is_connected(sim))


def tables_are_bounded(cortex: Cortex, cooldowns: Cooldowns) -> None:
    snapshot = cortex.snapshot()
    assert len(snapshot.workers) == 5
    assert not snapshot.leases
    assert not snapshot.retired
    for worker in snapshot.workers:
        assert not worker.in_flight
        assert worker.breaker.calls <= WINDOW_CALLS
        assert not worker.cooldowns
        # Of what is over: the worker, its model, its key, and the key for the model.
        assert len(cooldowns._workers.get(worker.name, {})) <= 4
    assert not any(key.cooldowns for key in snapshot.keys)


@pytest.mark.slow
async def test_thousands_of_requests_leave_memory_flat(autojump_clock: object) -> None:
    await soak(5_000)


@pytest.mark.slow
@pytest.mark.skipif(
    "CORTEX_SOAK" not in os.environ, reason="takes minutes: set CORTEX_SOAK=100000, or to as many"
)
async def test_a_hundred_thousand_requests_leave_memory_flat(autojump_clock: object) -> None:
    await soak(int(os.environ["CORTEX_SOAK"]))


# ------------------------------------------------------------------ what callers and configurations can pile up


@pytest.mark.slow
async def test_unknown_models_are_not_all_remembered(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=FailureKind.MODEL_NOT_FOUND))
        async with gateway(sim) as cortex:
            for number in range(PLACES_KEPT + 50):
                with pytest.raises(CortexError):
                    await cortex.complete("Hi", model=f"no-model-{number}", worker="openai")
            snapshot = cortex.snapshot()
            cooldowns = [*snapshot.workers[0].cooldowns, *snapshot.keys[0].cooldowns]
            assert len(cooldowns) == PLACES_KEPT


async def test_reloads_pile_up_no_connections(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        openai = sim.add("openai", Behaviour(text="An answer."))
        async with gateway(sim) as cortex:
            for number in range(1, 60):
                await cortex.complete("Hi")
                await cortex.reload(Config(workers={"openai": worker_of(openai, timeout=float(number))}))
                assert openai.open_connections == 0
            assert cortex.snapshot().retired <= 1


async def test_workers_that_come_and_go_leave_nothing(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="An answer."))
        sim.add("anthropic", Behaviour(text="An answer."))
        workers = {"openai": worker_of(sim["openai"])}
        async with gateway(sim, workers) as cortex:

            async def come_and_go(times: int) -> None:
                for _ in range(times):
                    await cortex.add_worker("anthropic", worker_of(sim["anthropic"], priority=0))
                    assert (await cortex.complete("Hi")).worker == "anthropic"
                    await cortex.remove_worker("anthropic")

            await come_and_go(RECENT_ATTEMPTS)  # these are kept, for snapshots
            alive = ours()
            await come_and_go(50)
            more = {name: count for name, count in (ours() - alive).items() if count > 5}
            assert not more, f"left over: {more}"
            assert not cortex.snapshot().keys_of("anthropic")
            assert "anthropic" not in cortex.tree()
