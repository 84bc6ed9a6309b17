"""How everybody is, as the user reads it."""

from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from cortex_trio import Failure, FailureKind, HealthStatus, WorkerConfig
from cortex_trio.gateway.breaker import IN_A_ROW, Verdict
from cortex_trio.gateway.keys import KeyRing, Lease
from cortex_trio.gateway.status import health_status, worker_info
from cortex_trio.gateway.transport import Connections
from cortex_trio.gateway.worker import CHECK_COUNTS_SECONDS, Checked, Permit, WorkerState
from cortex_trio.otp import Ref

K = FailureKind


def worker(name: str, provider: str = "openai", **fields: Any) -> WorkerState:
    config = WorkerConfig(provider=provider, **{"api_keys": (f"sk-{name}-key-0001",), **fields})
    return WorkerState(name, config, Connections(config), Ref(name))


def ring_of(*states: WorkerState) -> KeyRing:
    ring = KeyRing()
    for state in states:
        ring.set_keys(state.name, state.config.api_keys)
    return ring


def fail_key(ring: KeyRing, state: WorkerState, failure: Failure) -> None:
    lease = Lease(state.name, state.models[0])
    ring.lend(lease, 0.0)
    lease.failure, lease.settled = failure, True
    ring.report(lease, 0.0)


def shown(
    state: WorkerState, ring: KeyRing | None = None, now: float = 1.0
) -> tuple[str, FailureKind | None, float | None]:
    info = worker_info(state, ring or ring_of(state), now)
    return info.status, info.reason, info.reopens_in


def open_breaker(state: WorkerState, kind: FailureKind = K.SERVER) -> None:
    for _ in range(IN_A_ROW):
        state.breaker.record(Verdict.FAILED, 0.0)
    state.last_failure = kind


def test_a_worker_nothing_is_known_of_is_available() -> None:
    assert shown(worker("a")) == ("available", None, None)


def test_a_worker_that_fails_is_unavailable_until_its_trial() -> None:
    state = worker("a")
    open_breaker(state)
    assert shown(state) == ("unavailable", K.SERVER, 4.0)
    assert shown(state, now=5.0) == ("available", None, None)


def test_a_worker_at_its_limit_is_busy_and_well() -> None:
    state = worker("a", max_concurrency=1)
    state.permits.add(Permit("a", "m"))
    assert shown(state) == ("available", None, None)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Failure(K.RATE_LIMIT, retry_after=10.0), ("rate_limited", K.RATE_LIMIT, 9.0)),
        (Failure(K.QUOTA), ("quota_exceeded", K.QUOTA, 899.0)),
        (Failure(K.CREDENTIAL), ("quota_exceeded", K.CREDENTIAL, None)),
        (Failure(K.PERMISSION), ("quota_exceeded", K.PERMISSION, None)),
        (
            Failure(K.RATE_LIMIT),
            ("rate_limited", K.RATE_LIMIT, 9.0),
        ),  # by a guess of ours: it rests all the same
    ],
)
def test_a_worker_all_of_whose_keys_rest_says_why(
    failure: Failure, expected: tuple[str, FailureKind | None, float | None]
) -> None:
    state = worker("a")
    ring = ring_of(state)
    fail_key(ring, state, failure)
    assert shown(state, ring) == expected


def test_the_first_of_its_rests_to_end_is_the_one_that_is_told() -> None:
    state = worker("a", api_keys=("sk-one-of-two", "sk-two-of-two"))
    ring = ring_of(state)
    fail_key(ring, state, Failure(K.QUOTA))
    fail_key(ring, state, Failure(K.RATE_LIMIT))
    assert shown(state, ring) == ("rate_limited", K.RATE_LIMIT, 9.0)


def test_one_key_that_works_is_enough() -> None:
    state = worker("a", api_keys=("sk-one", "sk-two"))
    ring = ring_of(state)
    fail_key(ring, state, Failure(K.CREDENTIAL))
    assert shown(state, ring) == ("available", None, None)


@pytest.mark.parametrize(
    ("status", "kind"),
    [("unavailable", K.STALLED), ("quota_exceeded", K.CREDENTIAL), ("rate_limited", K.RATE_LIMIT)],
)
def test_a_bad_check_shows_as_it_was(status: str, kind: FailureKind) -> None:
    state = worker("a")
    state.checked = Checked(status, kind, 0.5)
    assert shown(state) == (status, kind, CHECK_COUNTS_SECONDS - 0.5), "it ends by itself"
    state.last_served = 0.6
    assert shown(state) == ("available", None, None)


def test_a_region_that_is_not_served_is_unavailable_for_good() -> None:
    state = worker("a")
    state.region_blocked = True
    assert shown(state) == ("unavailable", K.REGION, None)


def test_keys_are_shown_masked_and_only_masked() -> None:
    state = worker("a", api_keys=("sk-proj-abcdefghijklmnopqrstuvxyz789",))
    info = worker_info(state, ring_of(state), 0.0)
    assert info.keys == ("sk-proj-abc***xyz789",)
    assert "ghijkl" not in repr(info)


def test_the_numbers_of_a_worker_are_its_own() -> None:
    state = worker("a")
    state.requests, state.failures, state.starts, state.latency = 7, 2, 3, 0.25
    state.permits.add(Permit("a", "m"))
    info = worker_info(state, ring_of(state), 0.0)
    assert (info.requests, info.failures, info.restarts, info.in_flight, info.latency) == (7, 2, 2, 1, 0.25)


def test_the_whole_is_counted_by_status_and_by_provider() -> None:
    states = [worker("a"), worker("b"), worker("c", "groq")]
    open_breaker(states[1])
    checked = datetime(2026, 11, 22, 10, tzinfo=UTC)
    found = health_status(states, ring_of(*states), checked, 1.0)
    assert attrs.asdict(found, recurse=False, filter=lambda field, _: field.name != "workers") == {
        "total_workers": 3,
        "available_workers": 2,
        "workers_by_status": {"available": 2, "unavailable": 1, "quota_exceeded": 0, "rate_limited": 0},
        "workers_by_provider": {"openai": {"total": 2, "available": 1}, "groq": {"total": 1, "available": 1}},
        "system_health": "degraded",
        "last_health_check": checked,
    }
    assert list(found.workers) == ["a", "b", "c"]


@pytest.mark.parametrize(("ill", "health"), [(0, "healthy"), (1, "degraded"), (2, "unhealthy")])
def test_all_is_healthy_some_is_degraded_none_is_unhealthy(ill: int, health: str) -> None:
    states = [worker("a"), worker("b")]
    for state in states[:ill]:
        open_breaker(state)
    found: HealthStatus = health_status(states, ring_of(*states), None, 1.0)
    assert (found.system_health, found.last_health_check) == (health, None)


def test_a_gateway_without_workers_is_unhealthy() -> None:
    assert health_status([], KeyRing(), None, 0.0).system_health == "unhealthy"
