"""Which workers there are, and how many breakers may be open at once."""

import pytest
import trio

from cortex_trio import WorkerConfig
from cortex_trio.gateway.transport.connections import Connections
from cortex_trio.gateway.workers.breaker import IN_A_ROW
from cortex_trio.gateway.workers.endpoint import Endpoint
from cortex_trio.gateway.workers.registry import WorkerRegistry, WorkerTable
from cortex_trio.gateway.workers.worker import WorkerState
from cortex_trio.otp import AlreadyRegistered, Child, Ref, Supervisor, run


def state_of(name: str, provider: str = "openai") -> WorkerState:
    config = WorkerConfig(provider=provider, api_keys=("k",))
    return WorkerState(name, Endpoint(config, Connections(config)), Ref(name))


async def test_a_worker_may_register_again_and_another_may_not_take_its_name(
    nursery: trio.Nursery,
) -> None:
    table, ref = WorkerTable(), Ref[WorkerRegistry]("registry")
    await nursery.start(run, Supervisor([Child(ref=ref, start=lambda: WorkerRegistry(table))]))
    mine, other = state_of("a"), state_of("a", "groq")
    for _ in range(2):  # a restarted worker registers anew
        await ref.call(WorkerRegistry.register, mine)
    with pytest.raises(AlreadyRegistered, match="'a' is taken"):
        await ref.call(WorkerRegistry.register, other)
    assert await ref.call(WorkerRegistry.get, "a") is mine
    assert ref.alive
    await ref.call(WorkerRegistry.unregister, "a")
    await ref.call(WorkerRegistry.unregister, "a")
    await ref.call(WorkerRegistry.register, other)
    assert await ref.call(WorkerRegistry.list_all) == (other,)


async def test_workers_are_listed_in_the_order_they_came_and_by_provider(nursery: trio.Nursery) -> None:
    states = [state_of("z"), state_of("a", "groq"), state_of("m")]
    ref = Ref[WorkerRegistry]("registry")
    await nursery.start(
        run, Supervisor([Child(ref=ref, start=lambda: WorkerRegistry(WorkerTable.of(states)))])
    )
    assert await ref.call(WorkerRegistry.list_all) == (*states,)
    assert await ref.call(WorkerRegistry.list_by_provider, "openai") == (states[0], states[2])
    assert await ref.call(WorkerRegistry.list_by_provider, "open") == ()
    assert await ref.call(WorkerRegistry.get, "unknown") is None


async def test_the_table_survives_the_registry(nursery: trio.Nursery) -> None:
    table, ref = WorkerTable.of([state_of("a")]), Ref[WorkerRegistry]("registry")
    await nursery.start(run, Supervisor([Child(ref=ref, start=lambda: WorkerRegistry(table))]))
    await ref.call(WorkerRegistry.health_checked)
    checked, before = table.last_health_check, ref.process
    assert checked is not None
    assert checked.tzinfo is not None
    ref.kill()
    while ref.process in (None, before):
        await trio.lowlevel.checkpoint()
    assert [state.name for state in await ref.call(WorkerRegistry.list_all)] == ["a"]
    assert table.last_health_check == checked


@pytest.mark.parametrize(("workers", "most"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (10, 5)])
def test_never_more_than_half_of_the_breakers_open_by_failures(workers: int, most: int) -> None:
    """A fault on our side looks like a fault of all workers."""
    states = [state_of(f"w{number}") for number in range(workers)]
    table = WorkerTable.of(states)
    for state in states:
        for _ in range(IN_A_ROW):
            state.breaker.record(1.0, 0.0, may_open=table.may_eject(state, 0.0))
    assert sum(not state.breaker.admits(0.0) for state in states) == most


def test_a_half_open_breaker_lets_another_open_only_when_its_trial_succeeded() -> None:
    states = [state_of("a"), state_of("b")]
    table, breaker = WorkerTable.of(states), states[0].breaker
    for _ in range(IN_A_ROW):
        breaker.record(1.0, 0.0, may_open=table.may_eject(states[0], 0.0))
    assert not table.may_eject(states[1], 4.9)
    breaker.record(0.0, 5.0, trial=breaker.take(5.0))
    assert table.may_eject(states[1], 5.0)


def test_failed_trials_never_leave_more_than_half_open() -> None:
    states = [state_of(name) for name in "abcd"]
    table = WorkerTable.of(states)
    for now in range(200):
        for state in states:
            if state.breaker.admits(now):
                trial = state.breaker.take(now)
                state.breaker.record(
                    1.0, now, trial=trial, may_open=not trial and table.may_eject(state, now)
                )
        assert sum(not state.breaker.admits(now) for state in states) <= 2
