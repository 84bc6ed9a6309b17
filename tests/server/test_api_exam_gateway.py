"""S20, S23, S25, S26 and S29 of the exam: events inside a gateway, seen by clients of each API, in virtual time."""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence

import pytest
import trio
import trio.testing
from api_clients import CHAT, RecordingExchange, ask
from test_api_exam_inside import GOOD, RESCUE, Client, answered, every_client, other_than, request_of

from cortex_trio.failures import FailureKind
from cortex_trio.lab.exam.many_requests import FAULTS, TEN, VICTIMS
from cortex_trio.simulator import Behaviour, SimRequest, open_gateway, open_simulator

# ------------------------------------------------------------------ S20: a health check that hangs


@every_client
async def test_s20_a_health_check_that_hangs_delays_no_client(
    client: Client, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_simulator() as sim:
        primary = sim.add("primary", GOOD, provider=client.provider)
        sim.add("fallback", RESCUE, provider=other_than(client))
        workers = {one.name: one.worker(priority=place) for place, one in enumerate(sim.providers.values())}
        async with open_gateway(sim, workers, health_check_timeout=5, health_check_interval=0) as cortex:
            primary.behave_health(Behaviour(silent=True))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cortex.check_health)
                await trio.sleep(1)
                start = trio.current_time()
                assert await answered(cortex, client, True) == GOOD.text
                assert trio.current_time() - start < 0.1
            assert await answered(cortex, client, True) == RESCUE.text, "it is unavailable after the timeout"
            primary.behave_health(Behaviour())
            await cortex.check_health()
            assert await answered(cortex, client, False) == GOOD.text


# ------------------------------------------------------------------ S23, S25: many workers, many requests


def sometimes(fault: Behaviour, phase: float) -> Callable[[SimRequest], Behaviour]:
    return lambda request: fault if (request.when + phase) % 40 < 15 else GOOD


@pytest.mark.slow
@every_client
async def test_s23_every_request_that_can_be_served_is_served(
    client: Client, autojump_clock: trio.testing.MockClock
) -> None:
    chance, texts = random.Random(23), list[str]()
    async with open_simulator() as sim:
        for number in range(200):
            provider = client.provider if number % 2 else other_than(client)
            script = sometimes(chance.choice(FAULTS), chance.uniform(0, 40))
            sim.add(f"w{number}", script, provider=provider)
        async with open_gateway(sim, strategy="random", max_attempts=12, health_check_interval=0) as cortex:

            async def make_call(at: float) -> None:
                await trio.sleep_until(at)
                texts.append(await answered(cortex, client, False))  # a stream shows what comes after content

            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(make_call, trio.current_time() + chance.uniform(0, 60))
            await trio.testing.wait_all_tasks_blocked()  # the actors have heard of the last results
            snapshot = cortex.snapshot()
    assert texts == [GOOD.text] * 50
    assert all(worker.in_flight == 0 and worker.breaker.calls <= 1000 for worker in snapshot.workers)


@pytest.mark.parametrize("victim", VICTIMS)
@every_client
async def test_s25_streams_survive_the_death_of_any_actor(
    client: Client, victim: str, autojump_clock: trio.testing.MockClock
) -> None:
    texts = list[str]()
    async with open_simulator() as sim:
        for name, provider in (("openai", client.provider), ("other", other_than(client))):
            sim.add(name, Behaviour(text=TEN, tokens_per_second=5), provider=provider)
        limited = sim.add(
            "limited", Behaviour(error=FailureKind.RATE_LIMIT, retry_after=100), provider="groq"
        )
        workers = {one.name: one.worker(priority=int(one is limited)) for one in sim.providers.values()}
        async with open_gateway(sim, workers, strategy="round_robin", health_check_interval=0) as cortex:

            async def stream() -> None:
                texts.append(await answered(cortex, client, True))

            asked = client.request(model=f"limited/{limited.models[0]}", stream=True)
            assert (await ask(cortex, asked)).status == 429
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(stream)
                await trio.sleep(1)
                cortex.actor(victim).kill()
            assert all("running" in line for line in cortex.tree().splitlines())
            assert (await ask(cortex, asked)).status in (429, 503), "the cooldown is remembered"
            assert len(limited.requests) == 1
    assert texts == [TEN] * 8


# ------------------------------------------------------------------ S26: a slow reader


class Torrent(Sequence[str]):
    """A gigabyte of text, made while it is sent."""

    def __len__(self) -> int:
        return 1_000_000

    def __iter__(self) -> Iterator[str]:
        return itertools.repeat("x" * 1000, len(self))

    def __getitem__(self, place: object) -> str:
        return "x" * 1000


@every_client
async def test_s26_a_slow_client_pauses_a_fast_provider(
    client: Client, autojump_clock: trio.testing.MockClock
) -> None:
    ahead = list[int]()

    class Slow(RecordingExchange):
        """Reads one piece, until all others have nothing to do."""

        async def write(self, data: bytes) -> None:
            await super().write(data)
            await trio.testing.wait_all_tasks_blocked()
            ahead.append(provider.bytes_sent - sum(map(len, self.pieces)))
            if len(ahead) == 10:
                scope.cancel()
                await trio.lowlevel.checkpoint()

    async with open_simulator() as sim:
        provider = sim.add("primary", Behaviour(tokens=Torrent()), provider=client.provider)
        async with open_gateway(sim) as cortex:
            with trio.CancelScope() as scope:
                await ask(cortex, request_of(client, True), Slow())
            await trio.testing.wait_all_tasks_blocked()
            assert provider.open_connections == 0
    assert len(ahead) == 10
    assert max(ahead) < 1_000_000


# ------------------------------------------------------------------ S29: kept connections

DEAD = {
    "on reuse": (Behaviour(close_on_reuse=True),) * 2,
    "when idle": (Behaviour(close_idle=True),) * 2,
    "on reuse, then when idle": (Behaviour(close_on_reuse=True), Behaviour(close_idle=True)),
}


@pytest.mark.parametrize("last", DEAD.values(), ids=DEAD)
@every_client
async def test_s29_a_dead_connection_is_replaced(
    client: Client, last: Sequence[Behaviour], autojump_clock: trio.testing.MockClock
) -> None:
    async with open_simulator() as sim:
        primary = sim.add("primary", *last, GOOD, provider=client.provider)
        async with open_gateway(sim, health_check_interval=0) as cortex:
            for streams in (True, False, True):
                got = await ask(cortex, request_of(client, streams))
                assert (got.status, got.headers["x-cortex-attempts"]) == (200, "1")
            assert sum(worker.failures for worker in (await cortex.list_workers())) == 0
    assert (primary.connections_made, len(primary.requests)) == (3, 3)


async def test_s29_a_working_connection_is_reused(autojump_clock: trio.testing.MockClock) -> None:
    async with open_simulator() as sim:
        primary = sim.add("openai", GOOD)
        async with open_gateway(sim, health_check_interval=0) as cortex:
            for _ in range(5):
                await answered(cortex, CHAT, True)
    assert (primary.connections_made, len(primary.requests)) == (1, 5)
