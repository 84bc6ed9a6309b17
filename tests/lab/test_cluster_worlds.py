"""Worlds of several gateways with a store that misbehaves: a few seeds; and that the invariants find violations."""

import pytest

from cortex_trio.lab.cluster.invariants import violations
from cortex_trio.lab.cluster.record import CallRecord, Record, RequestRecord
from cortex_trio.lab.cluster.world import run_cluster_world


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_all_invariants_hold(seed: int) -> None:
    run = run_cluster_world(seed, seconds=40)
    assert run.violations == []
    assert run.calls > 20
    assert run.faults > 0


def test_a_short_world_is_repeated_by_its_seed() -> None:
    one, other = run_cluster_world(3, seconds=8), run_cluster_world(3, seconds=8)
    assert one == other
    assert one.violations == []


def request(when: float, gateway: str, *, limited: float | None = None, trial: bool = False) -> RequestRecord:
    return RequestRecord(when, gateway, "openai", trial, limited, when)


def test_a_cooldown_that_is_forgotten_is_found() -> None:
    record = Record()
    record.requests = [request(1, "a", limited=30), request(2, "b")]
    assert len(violations(record)) == 1


def test_a_request_during_a_fault_of_the_store_is_no_violation() -> None:
    record = Record()
    record.requests = [request(1, "a", limited=30), request(2, "b")]
    record.fault_began(0.9)
    record.fault_ended(1.8)
    assert violations(record) == []
    record.requests.append(request(4.5, "b"))
    assert len(violations(record)) == 1


def test_a_fault_that_comes_later_excuses_nothing_and_explains_nothing() -> None:
    record = Record()
    record.requests = [request(1, "a", limited=30), request(1.1, "b")]
    record.fault_began(9)
    record.fault_ended(10)
    assert violations(record) == [], "news take a moment"


def test_two_trials_at_once_are_found() -> None:
    record = Record()
    record.requests = [request(20, "a", trial=True), request(20.1, "b", trial=True)]
    assert violations(record) == []
    record.requests[0].ended = 20.5
    assert len(violations(record)) == 1


def test_a_call_that_waits_for_the_store_is_found() -> None:
    record = Record()
    record.calls = [CallRecord(1.0, "a", 0.0), CallRecord(1.0, "a", 0.25)]
    assert len(violations(record)) == 1


def test_a_limit_that_is_exceeded_is_found() -> None:
    record = Record()
    record.limit = 25
    record.charges = [n / 12 for n in range(240)]
    assert len(violations(record)) == 0
    record.charges = [n / 20 for n in range(400)]
    assert len(violations(record)) == 1
    record.fault_began(0)
    record.fault_ended(30)
    assert len(violations(record)) == 0, "during a fault each process has its own part"
    record.charges = [n / 90 for n in range(1800)]
    assert len(violations(record)) == 1
