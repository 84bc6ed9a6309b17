"""`cortex.snapshot()`: what it shows in every state of a gateway, that it is plain data, and what it costs."""

import gc
import inspect
import json
import pickle
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import attrs
import httpx
import pytest
import trio
import trio.testing

import cortex_trio
from cortex_trio import Config, Cortex, CortexError, FailureKind, WorkerConfig, open_cortex
from cortex_trio.simulator import Behaviour, Simulator, open_gateway, open_simulator
from cortex_trio.telemetry import (
    ActorSnapshot,
    BreakerSnapshot,
    ConnectionsSnapshot,
    Snapshot,
    Totals,
    from_json,
    to_json,
)
from cortex_trio.telemetry.activity import RECENT_ATTEMPTS
from tests.canary import Canary, marked_key

K = FailureKind
SLOW = Behaviour(text="One two three four.", tokens_per_second=1)


async def fails(cortex: Cortex, **options: object) -> None:
    """A call that is not served."""
    with pytest.raises(CortexError):
        await cortex.complete("Hi", max_wait=0, **options)  # type: ignore[arg-type]
    await trio.testing.wait_all_tasks_blocked()  # the actors have the result


async def look(cortex: Cortex) -> Snapshot:
    await trio.testing.wait_all_tasks_blocked()
    return cortex.snapshot()


def seconds_until(snapshot: Snapshot, when: datetime | None) -> float:
    assert when is not None
    return (when - snapshot.at).total_seconds()


# ------------------------------------------------------------------ what it shows


async def test_a_new_gateway_is_available_and_has_done_nothing(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        sim.add("ollama")
        before = datetime.now(UTC)
        async with open_gateway(sim) as cortex:
            snapshot = cortex.snapshot()
    assert before <= snapshot.opened_at <= snapshot.at
    assert snapshot.checked_at is None
    assert snapshot.totals == Totals(0, 0, 0, 0, 0, 0, 0)
    assert (snapshot.waiting, snapshot.attempts, snapshot.leases, snapshot.retired) == ((), (), 0, 0)
    assert [worker.name for worker in snapshot.workers] == ["openai", "ollama"]
    for worker in snapshot.workers:
        assert (worker.status, worker.reason, worker.until) == ("available", None, None)
        assert worker.breaker == BreakerSnapshot("closed", None, calls=0, failed=0.0)
        assert worker.connections == ConnectionsSnapshot(in_use=0, idle=0)
        assert (worker.latency, worker.served_at, worker.last_failures) == (None, None, ())
    assert [(key.worker, key.key is None, key.uses) for key in snapshot.keys] == [
        ("openai", False, 0),
        ("ollama", True, 0),  # it needs none
    ]


async def test_it_says_the_version_which_is_that_of_the_distribution() -> None:
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    async with open_cortex({"ollama": {}}) as cortex:
        assert cortex.snapshot().version == project["version"] == cortex_trio.__version__


async def test_the_tree_is_that_of_the_gateway(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        async with open_gateway(sim) as cortex:
            cortex.actor("keys").kill()
            tree = (await look(cortex)).tree
            drawn = cortex.tree()
    assert tree == ActorSnapshot(
        "cortex",
        "Supervisor",
        "running",
        restarts=0,
        mailbox=0,
        children=(
            ActorSnapshot("registry", "WorkerRegistry", "running", 0, 0),
            ActorSnapshot("keys", "KeyManager", "running", restarts=1, mailbox=0),
            ActorSnapshot(
                "workers", "Workers", "running", 0, 0, (ActorSnapshot("openai", "Worker", "running", 0, 0),)
            ),
            ActorSnapshot("health", "HealthMonitor", "running", 0, 0),
        ),
    )
    assert [line.split()[-2:] for line in drawn.splitlines() if "keys" in line] == [["1", "restart"]]


async def test_messages_that_wait_for_an_actor_are_counted(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        async with open_gateway(sim) as cortex:
            for _ in range(3):
                cortex.actor("keys").info("a message")
            assert cortex.snapshot().tree.children[1].mailbox == 3


async def test_a_worker_whose_actor_was_restarted_says_so(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        async with open_gateway(sim) as cortex:
            cortex.actor("openai").kill()
            assert (await look(cortex)).worker("openai").restarts == 1


async def test_a_request_in_flight_holds_a_key_and_a_connection(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", SLOW)
        async with open_gateway(sim) as cortex:
            async with cortex.chat("Hi") as answer:
                during = await look(cortex)
                await answer.collect()
            after = await look(cortex)
    assert (during.worker("openai").in_flight, during.leases, during.keys[0].leased) == (1, 1, 1)
    assert during.worker("openai").connections == ConnectionsSnapshot(in_use=1, idle=0)
    assert (during.totals.calls, during.totals.attempts) == (1, 0)
    assert (after.worker("openai").in_flight, after.leases, after.keys[0].leased) == (0, 0, 0)
    assert after.worker("openai").connections == ConnectionsSnapshot(in_use=0, idle=1)


async def test_an_answer_counts_for_its_worker_its_key_and_the_totals(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(first_token_after=2.0))
        async with open_gateway(sim) as cortex:
            reply = await cortex.complete("Hi")
            await trio.sleep(10)
            snapshot = await look(cortex)
    worker, [key] = snapshot.worker("openai"), snapshot.keys_of("openai")
    assert (worker.requests, worker.failures) == (1, 0)
    assert worker.latency == pytest.approx(2.0)
    assert seconds_until(snapshot, worker.served_at) == pytest.approx(-10)
    assert (key.uses, key.successes, key.rate_limited) == (1, 1, 0)
    assert seconds_until(snapshot, key.used_at) == pytest.approx(-12)
    totals, usage = snapshot.totals, reply.usage
    assert (totals.calls, totals.attempts, totals.served) == (1, 1, 1)
    assert (totals.input_tokens, totals.output_tokens) == (usage.input_tokens, usage.output_tokens)
    [recent] = snapshot.attempts
    assert recent.attempt == reply.attempts[0]
    assert seconds_until(snapshot, recent.ended_at) == pytest.approx(-10)


async def test_an_open_breaker_says_when_it_becomes_half_open(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(status=500))
        sim.add("anthropic")
        async with open_gateway(sim) as cortex:
            for _ in range(3):
                await cortex.complete("Hi")
            opened = await look(cortex)
            await trio.sleep(5)
            half_open = cortex.snapshot()
    worker = opened.worker("openai")
    assert (worker.status, worker.reason) == ("unavailable", K.SERVER)
    assert (worker.breaker.state, worker.breaker.calls, worker.breaker.failed) == ("open", 3, 3.0)
    assert 0 < seconds_until(opened, worker.breaker.until) <= 5.0
    assert [(failure.kind, failure.status) for failure in worker.last_failures] == [(K.SERVER, 500)] * 3
    assert worker.last_failures[0].message
    assert half_open.worker("openai").breaker == BreakerSnapshot("half_open", None, calls=3, failed=3.0)
    assert (opened.totals.served, opened.totals.failed) == (3, 3)


@pytest.mark.parametrize(
    ("behaviour", "scope", "basis", "seconds"),
    [
        (Behaviour(status=429, retry_after=60), "key", "declared", 60.0),
        (Behaviour(status=401), "key", "refused", None),
        (Behaviour(status=503, retry_after=30), "worker", "declared", 30.0),
        (Behaviour(status=404), "model", "refused", None),
    ],
    ids=["rate limit", "wrong key", "overloaded", "unknown model"],
)
async def test_a_cooldown_says_what_it_is_of_and_when_it_ends(
    autojump_clock: object, behaviour: Behaviour, scope: str, basis: str, seconds: float | None
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", behaviour)
        async with open_gateway(sim) as cortex:
            await fails(cortex)
            snapshot = cortex.snapshot()
            model = sim["openai"].models[0]
    worker, [key] = snapshot.worker("openai"), snapshot.keys_of("openai")
    [cooldown] = (*worker.cooldowns, *key.cooldowns)
    assert (cooldown.scope, cooldown.basis) in {(scope, basis), ("key_model", basis)}
    assert (cooldown in key.cooldowns) == cooldown.scope.startswith("key")
    assert cooldown.key == (key.key if cooldown.scope.startswith("key") else None)
    assert cooldown.model == (model if cooldown.scope.endswith("model") else None)
    assert cooldown.since <= cooldown.trial_at <= cooldown.until
    assert cooldown.failures >= 1
    if seconds is not None:
        assert seconds_until(snapshot, cooldown.until) == pytest.approx(seconds)
    assert worker.reason is cooldown.reason
    assert worker.until == cooldown.until


async def test_a_failed_health_check_is_a_suspicion(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai").behave_health(Behaviour(status=503))
        async with open_gateway(sim) as cortex:
            await cortex.check_health()
            snapshot = await look(cortex)
    [cooldown] = snapshot.worker("openai").cooldowns
    assert (cooldown.scope, cooldown.basis, cooldown.reason) == ("worker", "suspected", K.OVERLOADED)
    assert cooldown.trial_at == cooldown.since
    assert snapshot.checked_at is not None


async def test_a_cooldown_that_has_ended_is_not_shown(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(status=429, retry_after=60))
        async with open_gateway(sim) as cortex:
            await fails(cortex)
            assert cortex.snapshot().keys[0].cooldowns
            await trio.sleep(60)
            assert cortex.snapshot().keys[0].cooldowns == ()


async def test_a_call_that_waits_says_for_what_and_until_when(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(status=429, retry_after=20), Behaviour())
        async with open_gateway(sim) as cortex, trio.open_nursery() as nursery:
            await fails(cortex)
            nursery.start_soon(cortex.complete, "Hi")
            await trio.sleep(5)
            during = cortex.snapshot()
            await trio.sleep(30)
            after = cortex.snapshot()
    [waiting] = during.waiting
    assert (waiting.worker, waiting.reason) == ("openai", K.RATE_LIMIT)
    assert seconds_until(during, waiting.since) == pytest.approx(-5)
    assert seconds_until(during, waiting.until) >= 15
    assert after.waiting == ()


async def test_a_call_that_waits_for_a_busy_worker_has_no_reason(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        worker = sim.add("openai", SLOW).worker(max_concurrency=1)
        async with open_gateway(sim, {"openai": worker}) as cortex, trio.open_nursery() as nursery:
            nursery.start_soon(cortex.complete, "Hi")
            await trio.sleep(1)
            with trio.move_on_after(1):
                await cortex.complete("Hi")
            assert cortex.snapshot().waiting == (), "a cancelled call does not wait"
            nursery.start_soon(cortex.complete, "Hi")
            await trio.sleep(0.5)
            snapshot = cortex.snapshot()
    [waiting] = snapshot.waiting
    assert (waiting.worker, waiting.reason) == ("openai", None)
    assert (snapshot.worker("openai").in_flight, snapshot.worker("openai").limit) == (1, 1)


async def test_a_worker_that_is_being_removed_drains(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", SLOW)
        sim.add("anthropic")
        async with open_gateway(sim) as cortex, trio.open_nursery() as nursery:
            nursery.start_soon(cortex.complete, "Hi")
            await trio.sleep(1)
            nursery.start_soon(cortex.remove_worker, "openai")
            await trio.sleep(1)
            during = cortex.snapshot()
            await trio.sleep(10)
            after = cortex.snapshot()
    worker = during.worker("openai")
    assert (worker.draining, worker.status, worker.reason, worker.in_flight) == (True, "unavailable", None, 1)
    assert [worker.name for worker in after.workers] == ["anthropic"]
    assert after.keys_of("openai") == ()
    with pytest.raises(KeyError):
        after.worker("openai")
    assert after.totals.served == 1, "the totals count removed workers as well"


async def test_a_reload_shows_the_connections_it_has_retired(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai")
        async with open_gateway(sim) as cortex:
            workers = {"openai": provider.worker(timeout=7.0)}
            await cortex.reload(Config(workers=workers, health_check_interval=0))
            assert cortex.snapshot().retired == 1


async def test_cancelled_attempts_are_counted_as_such(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(silent=True))
        async with open_gateway(sim) as cortex:
            with trio.move_on_after(1):
                await cortex.complete("Hi")
            totals = (await look(cortex)).totals
    assert (totals.attempts, totals.served, totals.failed, totals.cancelled) == (1, 0, 0, 1)


async def test_only_the_last_attempts_are_kept(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        async with open_gateway(sim) as cortex:
            for _ in range(RECENT_ATTEMPTS + 5):
                await cortex.complete("Hi")
            snapshot = cortex.snapshot()
    assert len(snapshot.attempts) == RECENT_ATTEMPTS
    ended = [recent.ended_at for recent in snapshot.attempts]
    assert ended == sorted(ended)
    assert snapshot.totals.attempts == RECENT_ATTEMPTS + 5


async def test_a_transport_of_the_user_does_not_say_how_many_connections_it_has() -> None:
    worker = WorkerConfig(provider="ollama")
    transport = httpx.MockTransport(lambda request: httpx.Response(500))
    config = Config(workers={"ollama": worker}, health_check_interval=0)
    async with open_cortex(config, http_transport=lambda _: transport) as cortex:
        assert cortex.snapshot().worker("ollama").connections is None


async def test_a_closed_gateway_has_a_stopped_tree() -> None:
    async with open_cortex({"ollama": {}}) as cortex:
        pass
    assert cortex.snapshot().tree == ActorSnapshot("cortex", "Supervisor", "stopped", 0, 0)


# ------------------------------------------------------------------ plain data


async def in_trouble(sim: Simulator, use: Callable[[Cortex], None]) -> None:
    """A gateway with something in every field."""
    sim.add("openai", Behaviour(status=429, retry_after=60))
    sim.add("anthropic", Behaviour(status=500))
    sim.add("groq", SLOW)
    sim.add("ollama", Behaviour(status=404))
    workers = {name: provider.worker() for name, provider in sim.providers.items()}
    workers["openai"] = attrs.evolve(workers["openai"], api_keys=(marked_key("sk-one"), marked_key("sk-two")))
    async with open_gateway(sim, workers) as cortex, trio.open_nursery() as nursery:
        for name in ("openai", "anthropic", "anthropic", "anthropic", "ollama"):
            await fails(cortex, worker=name)
        nursery.start_soon(lambda: cortex.complete("Hi", worker="groq"))
        nursery.start_soon(lambda: cortex.complete("Hi", worker="openai", max_wait=100))
        await trio.sleep(1)
        use(cortex)
        nursery.cancel_scope.cancel()


async def test_json_is_read_back_as_the_same_value(autojump_clock: object) -> None:
    seen: list[Snapshot] = []
    async with open_simulator() as sim:
        await in_trouble(sim, lambda cortex: seen.append(cortex.snapshot()))
    [snapshot] = seen
    text = to_json(snapshot)
    assert from_json(text) == snapshot
    plain = json.loads(text)
    assert set(plain) == {field.name for field in attrs.fields(Snapshot)}
    assert datetime.fromisoformat(plain["at"]) == snapshot.at
    assert from_json(json.dumps({**plain, "of_a_later_version": 1})) == snapshot


async def test_a_snapshot_is_frozen_can_be_pickled_and_does_not_change(autojump_clock: object) -> None:
    seen: list[Snapshot] = []
    async with open_simulator() as sim:
        await in_trouble(sim, lambda cortex: seen.append(cortex.snapshot()))
    [snapshot] = seen
    assert pickle.loads(pickle.dumps(snapshot)) == snapshot
    for value in values_in(snapshot):
        assert not isinstance(value, list | dict | set)
        if attrs.has(type(value)):
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                value.name = "x"  # type: ignore[attr-defined]


def values_in(value: object) -> Iterator[object]:
    yield value
    if attrs.has(type(value)):
        for field in attrs.fields(type(value)):  # type: ignore[arg-type]
            yield from values_in(getattr(value, field.name))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for each in value:
            yield from values_in(each)


async def test_no_api_key_is_in_it(autojump_clock: object) -> None:
    canary = Canary()

    def use(cortex: Cortex) -> None:
        snapshot = cortex.snapshot()
        assert any(cooldown.key for key in snapshot.keys for cooldown in key.cooldowns)
        canary.look("snapshot", snapshot)
        canary.check("JSON", to_json(snapshot))

    async with open_simulator() as sim:
        await in_trouble(sim, use)
    assert canary.looked_at > 4
    assert canary.leaks == []


async def test_a_provider_that_repeats_the_key_does_not_get_it_into_a_snapshot(
    autojump_clock: object,
) -> None:
    canary, key = Canary(), marked_key("sk-said")
    async with open_simulator() as sim:
        provider = sim.add("openai", Behaviour(status=500, error_body=f"no: {key}".encode()))
        async with open_gateway(sim, {"openai": provider.worker(api_keys=(key,))}) as cortex:
            await fails(cortex)
            snapshot = cortex.snapshot()
    assert snapshot.attempts
    assert snapshot.worker("openai").last_failures
    canary.look("snapshot", snapshot)
    assert canary.leaks == []


# ------------------------------------------------------------------ cost


def test_it_is_synchronous() -> None:
    assert not inspect.iscoroutinefunction(Cortex.snapshot)


async def test_its_cost_grows_with_the_number_of_workers_and_no_faster() -> None:
    """Counted in calls of functions, which do not depend on the machine."""
    few, many = [await calls_for(count) for count in (20, 200)]
    assert many <= 11 * few


async def calls_for(workers: int) -> int:
    config = {f"w{number}": {"provider": "ollama"} for number in range(workers)}
    async with open_cortex({**config}) as cortex:
        return calls_of(cortex.snapshot)


def calls_of(function: Callable[[], object]) -> int:
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    gc.disable()  # what runs when garbage is collected does not belong to the function
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
        gc.enable()
    return calls
