"""The status of workers, as the user reads it."""

from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from cortex_trio import Failure, FailureKind, HealthStatus, WorkerConfig
from cortex_trio.gateway.transport.connections import Connections
from cortex_trio.gateway.workers.breaker import IN_A_ROW
from cortex_trio.gateway.workers.cooldowns import CHECK_SECONDS, Cooldowns
from cortex_trio.gateway.workers.endpoint import Endpoint
from cortex_trio.gateway.workers.keys import KeyRing
from cortex_trio.gateway.workers.status import health_status, status_of, worker_info
from cortex_trio.gateway.workers.worker import Permit, WorkerState
from cortex_trio.otp import Ref

K = FailureKind


def worker(name: str, provider: str = "openai", **fields: Any) -> WorkerState:
    config = WorkerConfig(provider=provider, **{"api_keys": (f"sk-{name}-key-0001",), **fields})
    return WorkerState(name, Endpoint(config, Connections(config)), Ref(name))


def ring_of(*states: WorkerState) -> KeyRing:
    ring = KeyRing(Cooldowns())
    for state in states:
        ring.set_keys(state.name, state.config.api_keys)
    return ring


def fail(state: WorkerState, failure: Failure, key: int = 0, now: float = 0.0) -> None:
    """An attempt with one of its keys has failed."""
    state.cooldowns.failed(
        state.name, state.models[0], state.endpoint.keys[key], failure, started=now, now=now
    )


def shown(state: WorkerState, now: float = 1.0) -> tuple[str, FailureKind | None, float | None]:
    info = worker_info(state, ring_of(state), now)
    return info.status, info.reason, info.reopens_in


def open_breaker(state: WorkerState, kind: FailureKind = K.SERVER) -> None:
    for _ in range(IN_A_ROW):
        state.breaker.record(1.0, 0.0)
    state.last_failure = kind


def test_a_new_worker_is_available() -> None:
    assert shown(worker("a")) == ("available", None, None)


def test_a_worker_that_fails_is_unavailable_until_its_trial() -> None:
    state = worker("a")
    open_breaker(state)
    assert shown(state) == ("unavailable", K.SERVER, 4.0)
    assert shown(state, now=5.0) == ("available", None, None)


def test_a_worker_at_its_limit_is_busy_and_available() -> None:
    state = worker("a", max_concurrency=1)
    state.permits.add(Permit("a", "m"))
    assert shown(state) == ("available", None, None)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Failure(K.RATE_LIMIT, retry_after=10.0), ("rate_limited", K.RATE_LIMIT, 9.0)),
        (
            Failure(K.RATE_LIMIT),
            ("rate_limited", K.RATE_LIMIT, 9.0),
        ),  # a guess of ours: it cools down all the same
        (Failure(K.QUOTA), ("quota_exceeded", K.QUOTA, 899.0)),
        (Failure(K.CREDENTIAL), ("quota_exceeded", K.CREDENTIAL, 899.0)),
        (Failure(K.PERMISSION), ("quota_exceeded", K.PERMISSION, 59.0)),
        (Failure(K.REGION), ("unavailable", K.REGION, 59.0)),
        (Failure(K.MODEL_NOT_FOUND), ("unavailable", K.MODEL_NOT_FOUND, 59.0)),
        (Failure(K.OVERLOADED, retry_after=40.0), ("unavailable", K.OVERLOADED, 39.0)),
        (Failure(K.SERVER), ("available", None, None)),  # one alone opens no breaker
    ],
)
def test_a_worker_that_cools_down_says_why_and_how_long(
    failure: Failure, expected: tuple[str, FailureKind | None, float | None]
) -> None:
    state = worker("a")
    fail(state, failure)
    assert shown(state) == expected
    assert shown(state, now=3600.0) == ("available", None, None)


def test_of_several_keys_the_first_cooldown_to_end_counts() -> None:
    state = worker("a", api_keys=("sk-one-of-two", "sk-two-of-two"))
    fail(state, Failure(K.QUOTA), 0)
    fail(state, Failure(K.RATE_LIMIT), 1)
    assert shown(state) == ("rate_limited", K.RATE_LIMIT, 9.0)


def test_a_key_that_may_be_tried_earlier_does_not_hide_one_that_is_free_earlier() -> None:
    """Else observers would hear of its end minutes too late."""
    state = worker("a", api_keys=("sk-one-of-two", "sk-two-of-two"))
    fail(state, Failure(K.CREDENTIAL), 0)  # may be tried from 60 on, ends at 900
    fail(state, Failure(K.RATE_LIMIT, retry_after=70.0), 1)
    assert shown(state) == ("rate_limited", K.RATE_LIMIT, 69.0)
    assert status_of(state, 1.0)[2] == 70.0
    assert shown(state, now=70.0) == ("available", None, None)


def test_a_worker_reopens_only_when_all_its_cooldowns_have_ended() -> None:
    state = worker("a")
    fail(state, Failure(K.QUOTA))
    fail(state, Failure(K.OVERLOADED, retry_after=40.0))
    assert shown(state) == ("unavailable", K.OVERLOADED, 39.0)
    assert shown(state, now=41.0) == ("quota_exceeded", K.QUOTA, 859.0)


def test_one_key_that_works_is_enough() -> None:
    state = worker("a", api_keys=("sk-one", "sk-two"))
    fail(state, Failure(K.CREDENTIAL))
    assert shown(state) == ("available", None, None)


@pytest.mark.parametrize(
    ("status", "kind"),
    [("unavailable", K.STALLED), ("quota_exceeded", K.CREDENTIAL), ("rate_limited", K.RATE_LIMIT)],
)
def test_a_failed_check_shows_as_it_was_and_ends_by_itself(status: str, kind: FailureKind) -> None:
    state = worker("a")
    state.cooldowns.suspect("a", kind, 0.5)
    assert shown(state) == (status, kind, CHECK_SECONDS - 0.5)
    assert shown(state, now=CHECK_SECONDS + 0.5) == ("available", None, None)
    state.cooldowns.suspect("a", kind, 200.0)
    state.cooldowns.served("a", state.models[0], state.endpoint.keys[0], started=199.0, now=199.0)
    assert shown(state, now=200.0) == ("available", None, None), "an answer outweighs a check"


def test_a_worker_that_is_being_removed_is_unavailable() -> None:
    state = worker("a")
    state.draining = True
    assert shown(state) == ("unavailable", None, None)


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


def test_workers_are_counted_by_status_and_by_provider() -> None:
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


@pytest.mark.parametrize(("failing", "health"), [(0, "healthy"), (1, "degraded"), (2, "unhealthy")])
def test_all_is_healthy_some_is_degraded_none_is_unhealthy(failing: int, health: str) -> None:
    states = [worker("a"), worker("b")]
    for state in states[:failing]:
        open_breaker(state)
    found: HealthStatus = health_status(states, ring_of(*states), None, 1.0)
    assert (found.system_health, found.last_health_check) == (health, None)


def test_a_gateway_without_workers_is_unhealthy() -> None:
    assert health_status([], KeyRing(Cooldowns()), None, 0.0).system_health == "unhealthy"
