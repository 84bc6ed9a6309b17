"""The exam, third part: what shows over minutes, under load, and when somebody leaves or dies."""

import itertools
import random
from typing import Any

import pytest
import trio
from at_rest import gateway, leftovers, nobody_is_connected, settle, worker_of
from exam_stage import DIALECTS, GOOD, RESCUE, SIXTY, Stage

from cortex_trio import CortexError, FailureKind, Reply
from cortex_trio.simulator import Behaviour, SimRequest, open_simulator

TEN = " ".join(SIXTY.split()[:10])

# ------------------------------------------------------------------ S15: flapping


async def test_s15_while_the_primary_flaps_all_are_served_and_it_is_back_soon_after_its_recovery(
    virtual: Stage,
) -> None:
    def flapping(request: SimRequest) -> Behaviour:
        bad = request.when < start + 60 and (request.when - start) % 10 < 8
        return Behaviour(status=503) if bad else GOOD

    primary = virtual.primary(flapping)
    virtual.fallback()
    async with virtual.gateway() as cortex:
        start = trio.current_time()
        replies = []
        for _ in range(20):
            replies.append((await cortex.complete("Hi")).text)
            await trio.sleep_until(start + 3 * len(replies))
        assert set(replies) <= {GOOD.text, RESCUE.text}
        assert len(primary.requests) <= 20
        after_recovery: list[str] = []
        for second in range(31):
            await trio.sleep_until(start + 60 + second)
            after_recovery.append((await cortex.complete("Hi")).worker)
        assert "primary" in after_recovery
        await trio.testing.wait_all_tasks_blocked()  # until its success is known
        for _ in range(5):
            assert (await cortex.complete("Hi")).worker == "primary"


# ------------------------------------------------------------------ S17: the caller leaves


@pytest.mark.parametrize("how", ["break", "cancel", "exception"])
async def test_s17_leaving_in_the_middle_closes_the_upstream_before_control_returns(
    stage: Stage, how: str
) -> None:
    primary = stage.primary(Behaviour(text=SIXTY, stall_after=3))
    async with stage.gateway() as cortex:
        with trio.CancelScope() as scope:
            try:
                async with cortex.chat("Hi") as answer:
                    async for _ in answer.text():
                        assert primary.open_connections == 1
                        if how == "break":
                            break
                        if how == "exception":
                            raise LookupError("not interested any more")
                        scope.cancel()
            except LookupError:
                assert how == "exception"
            finally:
                # No checkpoint lies between leaving the stream and here.
                assert cortex._runtime.table.workers["primary"].connections.transport.in_use == 0  # type: ignore[attr-defined]
                if stage.sim.network is not None:
                    assert primary.open_connections == 0
        assert scope.cancelled_caught == (how == "cancel")
        assert await settle(lambda: not primary.open_connections and not leftovers(cortex))
        assert [attempt.failure and attempt.failure.kind for attempt in answer.attempts] == [
            FailureKind.CANCELLED
        ]
        health = await cortex.health_status()
        assert (health.system_health, health.workers["primary"].failures) == ("healthy", 0)


async def test_s17_a_deadline_of_the_callers_counts_against_nobody(stage: Stage) -> None:
    primary = stage.primary(Behaviour(silent=True), GOOD)
    async with stage.gateway() as cortex:
        for _ in range(5):
            primary.behave(Behaviour(silent=True))
            with trio.move_on_after(stage.second) as scope:
                await cortex.complete("Hi")
            assert scope.cancelled_caught
            assert not leftovers(cortex).keys() - {"leases", "primary: in flight", "primary: keys in use"}
        primary.behave(GOOD)
        assert (await cortex.complete("Hi")).text == GOOD.text


# ------------------------------------------------------------------ S20: a health check that hangs


@pytest.mark.parametrize("hanging", [Behaviour(silent=True), Behaviour(stall_after=0)], ids=str)
async def test_s20_a_hanging_health_check_makes_its_worker_unavailable_and_delays_nobody(
    virtual: Stage, hanging: Behaviour
) -> None:
    primary = virtual.primary(GOOD)
    virtual.fallback()
    primary.behave_health(hanging)
    async with virtual.gateway(health_check_timeout=5) as cortex:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cortex.check_health)
            await trio.sleep(1)
            before = trio.current_time()
            assert (await cortex.complete("Hi")).worker == "primary"
            assert (await cortex.list_workers())[0].name == "primary"
            assert trio.current_time() - before < 0.1
        primary.behave_health(hanging)
        start = trio.current_time()
        health = await cortex.check_health()
        assert trio.current_time() - start == pytest.approx(5, abs=0.1)
        assert health.workers["primary"].status == "unavailable"
        assert health.workers["primary"].reason is FailureKind.STALLED
        assert health.workers["fallback"].status == "available"
        assert health.system_health == "degraded"
        assert (await cortex.complete("Hi")).worker == "fallback"
        primary.behave_health(Behaviour())
        assert (await cortex.check_health()).system_health == "healthy"
        assert (await cortex.complete("Hi")).worker == "primary"
    posted = [request for request in primary.requests if request.method == "POST"]
    assert len(posted) == 2, "a health check never asks for a completion"


async def test_s20_rounds_of_checks_go_on_while_one_worker_hangs(virtual: Stage) -> None:
    primary = virtual.primary(GOOD)
    fallback = virtual.fallback()
    primary.behave_health(Behaviour(silent=True))
    async with virtual.gateway(health_check_interval=30, health_check_timeout=5) as cortex:
        await trio.sleep(125)
        health = await cortex.health_status()
        assert health.workers["primary"].status == "unavailable"
        assert health.workers["fallback"].status == "available"
        assert health.last_health_check is not None
    assert len(fallback.requests) in (3, 4)
    assert len(primary.requests) in (3, 4)


# ------------------------------------------------------------------ S21: the trial of a half-open breaker


async def test_s21_a_trial_that_is_cancelled_leaves_the_permit_free(virtual: Stage) -> None:
    primary = virtual.primary(Behaviour(status=503))
    virtual.fallback()
    async with virtual.gateway() as cortex:
        for _ in range(3):
            await cortex.complete("Hi")
        await trio.sleep(6)
        primary.behave(Behaviour(silent=True))
        for _ in range(3):
            with trio.move_on_after(1) as scope:
                await cortex.complete("Hi")
            assert scope.cancelled_caught, "it held the trial, or it would have been served by the fallback"
        primary.behave(GOOD)
        assert (await cortex.complete("Hi")).worker == "primary"
        assert (await cortex.health_status()).system_health == "healthy"


async def test_s21_while_a_trial_is_out_the_others_are_served_elsewhere(virtual: Stage) -> None:
    primary = virtual.primary(Behaviour(status=503))
    virtual.fallback()
    async with virtual.gateway() as cortex:
        for _ in range(3):
            await cortex.complete("Hi")
        await trio.sleep(6)
        primary.behave(Behaviour(text=GOOD.text, first_token_after=5))
        before = len(primary.requests)
        replies: list[Reply] = []

        async def ask() -> None:
            replies.append(await cortex.complete("Hi"))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
    assert len(primary.requests) == before + 1
    assert sorted(reply.worker for reply in replies) == ["fallback"] * 9 + ["primary"]


async def test_s21_the_next_request_after_a_trial_finds_the_worker_open_even_without_a_pause(
    virtual: Stage,
) -> None:
    """Whoever asks twice in a row must not be quicker than the news of his own success."""
    primary = virtual.primary(Behaviour(status=503))
    virtual.fallback()
    async with virtual.gateway() as cortex:
        for _ in range(20):
            primary.behave(Behaviour(status=503))
            for _ in range(3):
                await cortex.complete("Hi")
            await trio.sleep(70)
            primary.behave(GOOD)
            for _ in range(3):
                assert (await cortex.complete("Hi")).worker == "primary"


async def test_s21_one_request_at_a_time_never_meets_its_own_shadow(virtual: Stage) -> None:
    virtual.primary(GOOD, max_concurrency=1)
    async with virtual.gateway() as cortex:
        for _ in range(50):
            assert (await cortex.complete("Hi")).text == GOOD.text
            async with cortex.chat("Hi") as answer:
                assert await anext(answer)


# ------------------------------------------------------------------ S23, S25: many of everything


async def test_s23_two_hundred_flapping_workers_lose_no_request_that_could_be_served(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Each worker is bad for a while, good for a while, in its own way; most are good at any moment."""
    chance = random.Random(23)
    faults = [
        Behaviour(status=503),
        Behaviour(error=FailureKind.SERVER),
        Behaviour(error=FailureKind.RATE_LIMIT, retry_after=7),
        Behaviour(error=FailureKind.QUOTA),
        Behaviour(reset_after=0),
        Behaviour(cut_after=2),
        Behaviour(garble_after=1),
        Behaviour(html=True),
        Behaviour(text=""),
    ]

    def flapping(phase: float, fault: Behaviour) -> Any:
        return lambda request: fault if (request.when + phase) % 40 < 15 else Behaviour(text="Served.")

    async with open_simulator() as sim:
        for number in range(200):
            dialect = DIALECTS[number % len(DIALECTS)]
            script = flapping(chance.uniform(0, 40), chance.choice(faults))
            sim.add(f"{dialect}-{number}", script, provider=dialect)
        replies: list[Reply] = []
        async with gateway(sim, strategy="random", max_attempts=12) as cortex:

            async def ask() -> None:
                await trio.sleep(chance.uniform(0, 120))
                replies.append(await cortex.complete("Hi"))

            async with trio.open_nursery() as nursery:
                for _ in range(300):
                    nursery.start_soon(ask)
            runtime = cortex._runtime
            for state in runtime.table.workers.values():
                assert len(state.breaker._calls) <= 1000
                assert not state.permits
            for name in sim.providers:
                assert all(len(key.rests) <= 2 for key in runtime.ring.states(name))
    assert [reply.text for reply in replies] == ["Served."] * 300
    asked = [len(reply.attempts) for reply in replies]
    assert max(asked) <= 12
    assert sum(asked) < 2 * len(asked), "although at any moment three of eight are bad"


@pytest.mark.parametrize("victim", ["registry", "keys", "workers", "health", "openai"])
async def test_s25_whichever_actor_is_killed_under_200_streams_all_of_them_end_well(
    autojump_clock: trio.testing.MockClock, victim: str
) -> None:
    async with open_simulator() as sim:
        for dialect in DIALECTS:
            sim.add(dialect, Behaviour(text=TEN, tokens_per_second=5))
        resting = sim.add(
            "resting", Behaviour(error=FailureKind.RATE_LIMIT, retry_after=100), provider="groq"
        )
        workers = {name: worker_of(provider) for name, provider in sim.providers.items()}
        async with gateway(sim, workers, strategy="round_robin") as cortex:
            with pytest.raises(CortexError):
                await cortex.complete("Hi", worker="resting")
            ended: list[str] = []

            async def ask() -> None:
                async with cortex.chat("Hi") as answer:
                    ended.append("".join([piece async for piece in answer.text()]))

            async with trio.open_nursery() as nursery:
                for _ in range(200):
                    nursery.start_soon(ask)
                await trio.sleep(1)
                cortex.actor(victim).kill()
            assert ended == [TEN] * 200
            assert "restart" in cortex.tree()
            assert cortex.tree().count("running") == len(cortex.tree().splitlines())
            with pytest.raises(CortexError, match="rate_limit"):
                await cortex.complete("Hi", worker="resting")
            assert len(resting.requests) == 1


# ------------------------------------------------------------------ S26, S29: connections


class Torrent:
    """A gigabyte of text, made piece by piece as it is sent."""

    def __len__(self) -> int:
        return 1_000_000

    def __iter__(self) -> Any:
        return itertools.repeat("x" * 1000, len(self))

    def __getitem__(self, place: int) -> str:
        return "x" * 1000


async def test_s26_a_slow_consumer_pauses_a_fast_upstream(stage: Stage) -> None:
    primary = stage.primary(Behaviour(tokens=Torrent()))  # type: ignore[arg-type]
    bound = 512 * 1024 if stage.sim.network is not None else 8 * 1024 * 1024  # the kernel's buffers
    async with stage.gateway() as cortex:
        async with cortex.chat("Hi") as answer:
            taken = 0
            async for piece in answer.text():
                taken += len(piece)
                if taken % 100_000 == 0:
                    await trio.testing.wait_all_tasks_blocked()
                    assert primary.bytes_sent < 2 * taken + bound
                if taken >= 1_000_000:
                    break
        assert await settle(lambda: nobody_is_connected(stage.sim))


@pytest.mark.parametrize(
    "last", [Behaviour(close_on_reuse=True), Behaviour(close_idle=True)], ids=["on reuse", "when idle"]
)
async def test_s29_a_kept_connection_that_died_is_replaced_without_anybody_noticing(
    stage: Stage, last: Behaviour
) -> None:
    primary = stage.primary(last, last, GOOD)
    async with stage.gateway() as cortex:
        replies = [await cortex.complete("Hi") for _ in range(3)]
        health = await cortex.health_status()
    assert replies[-1].text == GOOD.text
    assert [len(reply.attempts) for reply in replies] == [1, 1, 1]
    assert primary.connections_made == 3
    assert len(primary.requests) == 3
    assert health.workers["primary"].failures == 0


async def test_s29_a_healthy_connection_is_used_again(stage: Stage) -> None:
    primary = stage.primary(GOOD)
    async with stage.gateway() as cortex:
        for _ in range(5):
            await cortex.complete("Hi")
    assert (primary.connections_made, len(primary.requests)) == (1, 5)
