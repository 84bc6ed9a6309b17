"""After many requests memory is flat, every table is bounded, and no object of the gateway is left over."""

import gc
import os
import random
import sys
from collections import Counter

import pytest
import trio
import trio.testing

from cortex_trio import Config, Cortex, CortexError, Usage
from cortex_trio.failures import FailureKind
from cortex_trio.gateway.workers.breaker import WINDOW_CALLS
from cortex_trio.gateway.workers.cooldowns import MAX_COOLDOWNS_PER_WORKER, Cooldown
from cortex_trio.simulator import Behaviour, SimRequest, Simulator, open_gateway, open_simulator
from cortex_trio.telemetry.activity import RECENT_ATTEMPTS

ABREAST = 50
"""Callers at the same time; each makes one request after the other."""
SLACK_BLOCKS = 6_000
"""Blocks of memory a whole run may keep beyond its warm-up, breakers' windows and and measurements included.

Python's count of blocks is exact; the size that the operating system reports is not. A request allocates thousands.
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


def gateway_objects() -> Counter[str]:
    """Count the objects of the gateway by type, without the simulator, which keeps all requests."""
    gc.collect()
    names = (type(thing) for thing in gc.get_objects())
    return Counter(
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in names
        if str(kind.__module__).startswith("cortex_trio")  # of some C types it is a descriptor
        and not kind.__module__.startswith("cortex_trio.simulator")
    )


def lasting_objects(cortex: Cortex) -> Counter[str]:
    """As `gateway_objects`, without the tokens of the attempts in a snapshot: chance decides how many have any."""
    shown = {id(recent.attempt.usage) for recent in cortex.snapshot().attempts} - {id(None)}
    return gateway_objects() - Counter({f"{Usage.__module__}.{Usage.__qualname__}": len(shown)})


async def ask(cortex: Cortex, number: int) -> None:
    """Make one call; some callers leave early, some calls are cancelled."""
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
            pass  # one in ten calls fails; other tests check the errors


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
        workers = {name: provider.worker() for name, provider in sim.providers.items()}
        async with open_gateway(sim, workers, strategy="round_robin", health_check_interval=30.0) as cortex:
            await rounds(cortex, sim, max(500, requests // 10))
            await trio.sleep(400)
            alive, blocks = lasting_objects(cortex), sys.getallocatedblocks()
            await rounds(cortex, sim, requests)
            await trio.sleep(400)  # cooldowns were swept, connections aged
            more = {name: count for name, count in (lasting_objects(cortex) - alive).items() if count > 10}
            grown = sys.getallocatedblocks() - blocks
            print(
                f"{requests:,} requests: {grown:+,} blocks of memory, objects of the gateway {more or 'unchanged'}"
            )
            assert not more, f"left over: {more}"
            assert grown < SLACK_BLOCKS, f"{grown:,} blocks of memory more after {requests:,} requests"
            tables_are_bounded(cortex)


def tables_are_bounded(cortex: Cortex) -> None:
    snapshot = cortex.snapshot()
    assert len(snapshot.workers) == 5
    assert (snapshot.leases, snapshot.retired) == (0, 0)
    for worker in snapshot.workers:
        assert worker.in_flight == 0
        assert worker.breaker.calls <= WINDOW_CALLS
        assert not worker.cooldowns
        assert not any(key.cooldowns for key in snapshot.keys_of(worker.name))
    # Cooldowns that have ended: of each worker, its model, its key, and the key with the model.
    assert gateway_objects()[f"{Cooldown.__module__}.{Cooldown.__qualname__}"] <= 4 * 5


@pytest.mark.slow
async def test_thousands_of_requests_leave_memory_flat(autojump_clock: object) -> None:
    await soak(1_200)


@pytest.mark.slow
@pytest.mark.skipif(
    "CORTEX_SOAK" not in os.environ, reason="takes minutes: set CORTEX_SOAK=100000, or another number"
)
async def test_a_hundred_thousand_requests_leave_memory_flat(autojump_clock: object) -> None:
    await soak(int(os.environ["CORTEX_SOAK"]))


# ------------------------------------------------------------------ what callers and configurations could accumulate


@pytest.mark.slow
async def test_cooldowns_of_unknown_models_are_bounded(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=FailureKind.MODEL_NOT_FOUND))
        cooldown = f"{Cooldown.__module__}.{Cooldown.__qualname__}"
        before = gateway_objects()[cooldown]  # tables of other tests in this process hold some
        async with open_gateway(sim) as cortex:
            for number in range(MAX_COOLDOWNS_PER_WORKER + 50):
                with pytest.raises(CortexError):
                    await cortex.complete("Hi", model=f"no-model-{number}", worker="openai")
            await (
                trio.testing.wait_all_tasks_blocked()
            )  # the cooldown that gave its place was published before
            snapshot = cortex.snapshot()
            [worker], [key] = snapshot.workers, snapshot.keys
            assert len(worker.cooldowns) + len(key.cooldowns) == MAX_COOLDOWNS_PER_WORKER
            assert gateway_objects()[cooldown] - before == MAX_COOLDOWNS_PER_WORKER


async def test_reloads_leave_no_connections(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        openai = sim.add("openai", Behaviour(text="An answer."))
        async with open_gateway(sim) as cortex:
            for number in range(1, 60):
                await cortex.complete("Hi")
                await cortex.reload(Config(workers={"openai": openai.worker(timeout=float(number))}))
                assert openai.open_connections == 0
            assert cortex.snapshot().retired <= 1


@pytest.mark.slow
async def test_workers_that_come_and_go_leave_nothing(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="An answer."))
        sim.add("anthropic", Behaviour(text="An answer."))
        workers = {"openai": sim["openai"].worker()}
        async with open_gateway(sim, workers) as cortex:

            async def add_and_remove(times: int) -> None:
                for _ in range(times):
                    await cortex.add_worker("anthropic", sim["anthropic"].worker(priority=0))
                    assert (await cortex.complete("Hi")).worker == "anthropic"
                    await cortex.remove_worker("anthropic")

            await add_and_remove(RECENT_ATTEMPTS)  # from then on a snapshot has as many attempts as it keeps
            alive = gateway_objects()
            await add_and_remove(50)
            more = {name: count for name, count in (gateway_objects() - alive).items() if count > 5}
            assert not more, f"left over: {more}"
            assert not cortex.snapshot().keys_of("anthropic")
            assert "anthropic" not in cortex.tree()
