"""The invariants about refused calls: which calls violate them, and which calls cannot be decided."""

from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from cortex_trio import (
    AllWorkersFailed,
    Attempt,
    CortexError,
    Failure,
    FailureKind,
    NoWorkersAvailable,
    ProviderError,
)
from cortex_trio.lab.world.bare_client import Response, outcome, response_of
from cortex_trio.lab.world.callers import CallRecord
from cortex_trio.lab.world.faults import RESPONSE_FAULTS
from cortex_trio.lab.world.faulty_provider import draw_response
from cortex_trio.lab.world.giving_up import free_at, giving_up_violations, is_recovery_late
from cortex_trio.lab.world.load import PlannedCall
from cortex_trio.lab.world.plan import Plan, PlannedFault, PlannedProvider
from cortex_trio.lab.world.recorder import EndedAttempt, Recorder
from cortex_trio.simulator import Behaviour

MINUTE = 60.0
CALL = PlannedCall(
    number=5, at=1000.0, mode="complete", options={}, deadline=None, leaves_after=None, pause=0.0, rounds=0
)
OPENAI = PlannedProvider("openai-0", "openai", ("sk-sim-one",), 7, 0.0, None, 0.0, {})
GROQ = attrs.evolve(OPENAI, name="groq-1", dialect="groq", seed=8)


def plan(*providers: PlannedProvider, faults: Sequence[PlannedFault] = (), max_attempts: int = 4) -> Plan:
    return Plan(
        seed=0,
        seconds=3600.0,
        providers=providers,
        reliable=None,
        config={"max_attempts": max_attempts},
        faults=tuple(faults),
        calls=(),
        interventions=(),
    )


def attempt(
    worker: str, kind: FailureKind | None, hint: float | None = None, duration: float = 0.1
) -> Attempt:
    failure = None if kind is None else Failure(kind, retry_after=hint)
    return Attempt(1, worker, "openai", "m", "sk-***", failure, duration, None, None)


def refused(*attempts: Attempt, **planned: Any) -> CallRecord:
    """A call that was refused half a second after it began, at 1000.5 s."""
    errors = [ProviderError(one.failure, one.worker, (one,)) for one in attempts if one.failure]
    error: CortexError = NoWorkersAvailable("no worker is available")
    if len(errors) == 1:
        error = errors[0]
    elif errors:
        error = AllWorkersFailed("all failed", errors, primary=errors[0], attempts=attempts)
    return CallRecord(
        attrs.evolve(CALL, **planned),
        started=1000.0,
        last_request_at=1000.0,
        ended=1000.5,
        outcome="refused",
        error=error,
    )


def recorder(*ended: tuple[float, Attempt]) -> Recorder:
    seen = Recorder(0)
    for at, one in ended:
        seen.ended.setdefault(one.worker, []).append(EndedAttempt(at, one))
    return seen


def violations_of(call: CallRecord, world: Plan, seen: Recorder) -> list[str]:
    return list(giving_up_violations(call, world, seen))


def number_with(
    responses: Sequence[str | None], provider: PlannedProvider = OPENAI, lasting: str = "server error"
) -> int:
    """The number of a call whose requests to `provider` get these responses while the fault `lasting` lasts."""
    return next(
        number
        for number in range(1, 10_000)
        if [
            draw_response(provider, [lasting], (number, False, nth), Behaviour())[0]
            for nth in range(len(responses))
        ]
        == list(responses)
    )


def lasting(what: str = "server error", at: float = 500.0, until: float = 2000.0) -> PlannedFault:
    return PlannedFault(at, until, "openai-0", what)


# ------------------------------------------------------------------ when a worker is free again


@pytest.mark.parametrize(
    ("ended", "free"),
    [
        ([], 0.0),
        ([(100.0, None, None)], 0.0),
        ([(100.0, FailureKind.RATE_LIMIT, None)], 0.0),
        ([(100.0, FailureKind.RATE_LIMIT, 20.0)], 122.0),
        ([(100.0, FailureKind.RATE_LIMIT, 86_400.0)], 100.0 + 3600 * 1.1),
        ([(100.0, FailureKind.MODEL_NOT_FOUND, None)], 100.0 + MINUTE * 1.1),
        ([(100.0, FailureKind.CREDENTIAL, None)] * 3, 100.0 + 4 * MINUTE * 1.1),
        ([(100.0, FailureKind.CREDENTIAL, None)] * 50, 100.0 + 3600 * 1.1),
        ([(100.0, FailureKind.CREDENTIAL, None), (200.0, None, None)], 0.0),
        (
            [(100.0, FailureKind.CREDENTIAL, None), (170.0, FailureKind.PROTOCOL, None)],
            170.0 + 2 * MINUTE * 1.1,
        ),
        ([(100.0, FailureKind.PROTOCOL, None), (170.0, FailureKind.CREDENTIAL, None)], 170.0 + MINUTE * 1.1),
        ([(100.0, FailureKind.SERVER, None)] * 2, 0.0),
        ([(100.0, FailureKind.SERVER, None)] * 3, 100.0 + MINUTE * 1.1),
        ([(at, FailureKind.SERVER, None) for at in (100.0, 300.0, 500.0)], 500.0 + MINUTE * 1.1),
        ([(100.0, FailureKind.SERVER, None), (300.0, None, None), (500.0, FailureKind.SERVER, None)], 0.0),
    ],
)
def test_a_worker_is_free_again_when_its_failures_justify_no_cooldown_any_more(
    ended: list[tuple[float, FailureKind | None, float | None]], free: float
) -> None:
    row = [EndedAttempt(at, attempt("openai-0", kind, hint)) for at, kind, hint in ended]
    assert free_at(row) == pytest.approx(free)


def test_a_success_that_began_before_the_failure_ends_no_cooldown() -> None:
    row = [
        EndedAttempt(100.0, attempt("openai-0", FailureKind.MODEL_NOT_FOUND)),
        EndedAttempt(101.0, attempt("openai-0", None, duration=3.0)),
    ]
    assert free_at(row) == pytest.approx(100.0 + MINUTE * 1.1)
    assert free_at([*row, EndedAttempt(170.0, attempt("openai-0", None))]) == 0.0


def test_a_success_with_another_model_ends_no_cooldown() -> None:
    row = [
        EndedAttempt(100.0, attempt("openai-0", FailureKind.MODEL_NOT_FOUND)),
        EndedAttempt(170.0, attrs.evolve(attempt("openai-0", None), model="another")),
    ]
    assert free_at(row) == pytest.approx(100.0 + MINUTE * 1.1)


def test_a_rejected_key_cools_down_longer_beside_other_workers() -> None:
    row = [EndedAttempt(100.0, attempt("openai-0", FailureKind.CREDENTIAL))]
    assert free_at(row, alone=False) == pytest.approx(100.0 + 15 * MINUTE * 1.1)
    assert free_at(row, [row[0].attempt], alone=False) == 0.0


@pytest.mark.parametrize(
    ("kind", "waits"),
    [
        (FailureKind.CREDENTIAL, 2 * MINUTE),
        (FailureKind.QUOTA, 2 * MINUTE),
        (FailureKind.REGION, 2 * MINUTE),
        (FailureKind.MODEL_NOT_FOUND, 0.0),
        (FailureKind.PERMISSION, 0.0),
    ],
)
def test_a_trial_with_another_model_counts_if_the_failure_was_not_about_a_model(
    kind: FailureKind, waits: float
) -> None:
    row = [
        EndedAttempt(100.0, attempt("openai-0", kind)),
        EndedAttempt(400.0, attrs.evolve(attempt("openai-0", FailureKind.CONNECTION), model="another")),
    ]
    assert free_at(row) == pytest.approx(400.0 + waits * 1.1 if waits else 100.0 + MINUTE * 1.1)


def test_a_recovery_is_late_some_time_after_the_last_cooldown() -> None:
    row = [EndedAttempt(100.0, attempt("openai-0", FailureKind.PERMISSION))]
    assert not is_recovery_late(row, fault_free_at=50.0, now=250.0)
    assert is_recovery_late(row, fault_free_at=50.0, now=260.0)
    assert not is_recovery_late(row, fault_free_at=250.0, now=260.0)


# ------------------------------------------------------------------ used again after a cooldown


def test_a_call_that_is_refused_while_a_worker_is_free_is_a_violation() -> None:
    long_ago = (100.0, attempt("openai-0", FailureKind.MODEL_NOT_FOUND))
    [violation] = violations_of(refused(), plan(OPENAI), recorder(long_ago))
    assert "refused, although openai-0 was free within 0 s" in violation
    assert violations_of(refused(), plan(OPENAI), recorder((990.0, long_ago[1]))) == []


@pytest.mark.parametrize(("hint", "many"), [(1.0, 1), (20.0, 1), (60.0, 0)])
def test_a_call_waits_for_a_worker_that_is_free_within_max_wait(hint: float, many: int) -> None:
    seen = recorder((999.9, attempt("openai-0", FailureKind.RATE_LIMIT, hint)))
    assert len(violations_of(refused(), plan(OPENAI), seen)) == many


def test_a_second_worker_that_is_free_is_a_violation_as_well() -> None:
    failed = attempt("openai-0", FailureKind.BAD_REQUEST)
    with_quota = attrs.evolve(OPENAI, quota=10.0)
    [violation] = violations_of(refused(failed), plan(with_quota, GROQ), recorder((1000.4, failed)))
    assert "groq-1 was free" in violation


def test_a_call_that_names_a_worker_can_use_only_this_one() -> None:
    call = refused(options={"worker": "groq-1"})
    [violation] = violations_of(call, plan(OPENAI, GROQ), recorder())
    assert "groq-1 was free" in violation


def test_a_worker_whose_trial_another_call_has_is_no_violation() -> None:
    failed = (100.0, attempt("openai-0", FailureKind.MODEL_NOT_FOUND))
    trial = (1003.0, attempt("openai-0", None, duration=5.0))
    assert violations_of(refused(), plan(OPENAI), recorder(failed, trial)) == []
    assert violations_of(refused(), plan(OPENAI), recorder(failed))


def test_a_worker_whose_only_permit_another_call_has_is_no_violation() -> None:
    narrow = attrs.evolve(OPENAI, settings={"max_concurrency": 1})
    running = (1003.0, attempt("openai-0", None, duration=5.0))
    assert violations_of(refused(), plan(narrow), recorder(running)) == []
    assert violations_of(refused(), plan(narrow), recorder())
    assert violations_of(refused(), plan(OPENAI), recorder(running))


@pytest.mark.parametrize(
    "planned",
    [
        {"deadline": 5.0},
        {"leaves_after": 3},
        {"options": {"max_attempts": 1}},
        {"options": {"hedge_after": 1.0}},
        {"kind": "models"},
        {"kind": "embed", "texts": 130},
    ],
    ids=str,
)
def test_a_call_that_its_caller_restricted_is_not_checked(planned: dict[str, Any]) -> None:
    assert violations_of(refused(), plan(OPENAI), recorder())
    assert violations_of(refused(**planned), plan(OPENAI), recorder()) == []


def test_a_call_that_is_served_or_has_no_attempts_left_is_not_checked() -> None:
    assert violations_of(attrs.evolve(refused(), outcome="whole"), plan(OPENAI), recorder()) == []
    failed = [attempt("openai-0", FailureKind.SERVER) for _ in range(2)]
    assert violations_of(refused(*failed), plan(OPENAI, GROQ, max_attempts=2), recorder()) == []


def test_a_call_during_a_kill_or_an_intervention_is_not_checked() -> None:
    killed, configured = recorder(), recorder()
    killed.kills.append((995.0, "keys"))
    configured.configured_at.append(1000.2)
    assert violations_of(refused(), plan(OPENAI), killed) == []
    assert violations_of(refused(), plan(OPENAI), configured) == []


def test_workers_with_another_embedding_model_are_not_expected_to_serve() -> None:
    call = refused(kind="embed", texts=2)
    gemini = attrs.evolve(GROQ, name="gemini-1", dialect="gemini")
    assert violations_of(call, plan(OPENAI, gemini), recorder()) == []
    [violation] = violations_of(call, plan(OPENAI, GROQ), recorder())  # groq embeds nothing
    assert "openai-0" in violation


# ------------------------------------------------------------------ not worse than a bare client


def gave_up(*kinds: FailureKind, **planned: Any) -> CallRecord:
    return refused(*[attempt("openai-0", kind) for kind in kinds], **planned)


def test_a_single_worker_that_would_have_served_a_bare_client_is_a_violation() -> None:
    served = number_with(["server error", "server error", None])
    lost = number_with(["server error"] * 3)
    world = plan(OPENAI, faults=[lasting()])
    call = gave_up(FailureKind.SERVER, FailureKind.SERVER, number=served)
    [violation] = violations_of(call, world, recorder())
    assert "a bare client would be served by openai-0" in violation
    assert violations_of(gave_up(FailureKind.SERVER, number=lost), world, recorder()) == []


def test_beside_other_workers_only_the_first_request_of_the_bare_client_counts() -> None:
    world = plan(OPENAI, GROQ, faults=[lasting()])
    for responses, many in (([None], 1), (["server error", None], 0)):
        call = gave_up(FailureKind.SERVER, number=number_with(responses))
        call.error = AllWorkersFailed(
            "all failed",
            [ProviderError(Failure(FailureKind.SERVER), "groq-1")],
            primary=ProviderError(Failure(FailureKind.SERVER), "groq-1"),
            attempts=[attempt("openai-0", FailureKind.SERVER), attempt("groq-1", FailureKind.SERVER)],
        )
        found = [one for one in violations_of(call, world, recorder()) if "openai-0:" in one]
        assert len(found) == many


@pytest.mark.parametrize(
    ("provider", "fault"),
    [
        (attrs.evolve(OPENAI, quota=10.0), lasting()),
        (OPENAI, lasting(at=1000.2)),
        (OPENAI, lasting(until=1001.0)),
        (OPENAI, lasting("partition")),
        (OPENAI, lasting("connections reset", at=1000.1, until=1000.1)),
    ],
    ids=["a quota", "a fault begins", "a fault ends", "the link has a fault", "connections break"],
)
def test_uncertain_cases_are_left_out(provider: PlannedProvider, fault: PlannedFault) -> None:
    always = next(
        number
        for number in range(1, 10_000)
        if all(
            draw_response(OPENAI, ["server error"], (number, False, nth), Behaviour())[0] is None
            for nth in range(3)
        )
    )
    call = gave_up(FailureKind.SERVER, number=always)
    assert violations_of(call, plan(OPENAI, faults=[lasting()]), recorder())
    assert violations_of(call, plan(provider, faults=[fault]), recorder()) == []


def test_max_attempts_limits_the_bare_client_too() -> None:
    served = number_with(["server error", "server error", None])
    call = gave_up(FailureKind.SERVER, number=served)
    assert violations_of(call, plan(OPENAI, faults=[lasting()], max_attempts=3), recorder())
    assert violations_of(call, plan(OPENAI, faults=[lasting()], max_attempts=2), recorder()) == []


# ------------------------------------------------------------------ the bare client


@pytest.mark.parametrize(
    ("behaviour", "response"),
    [
        (Behaviour(text="Hi."), Response.ANSWER),
        (Behaviour(text="Hi.", slice_bytes=1), Response.ANSWER),
        (Behaviour(text="Hi.", close_idle=True, headers={"x": "y"}), Response.ANSWER),
        (Behaviour(text=""), Response.FAILED),
        (Behaviour(refuse=True), Response.RETRY),
        (Behaviour(reset_at="request"), Response.RETRY),
        (Behaviour(cut_at="headers"), Response.RETRY),
        (Behaviour(error=FailureKind.SERVER), Response.RETRY),
        (Behaviour(error=FailureKind.RATE_LIMIT), Response.RETRY),
        (Behaviour(error=FailureKind.CREDENTIAL), Response.FAILED),
        (Behaviour(status=409), Response.RETRY),
        (Behaviour(status=404), Response.FAILED),
        (Behaviour(status=503, html=True), Response.RETRY),
        (Behaviour(html=True), Response.FAILED),
        (Behaviour(text="Hi.", cut_after=1), Response.FAILED),
        (Behaviour(text="Hi.", first_token_after=5), Response.FAILED),
        (Behaviour(silent=True), Response.FAILED),
        (Behaviour(error=FailureKind.OVERLOADED, error_after=0), Response.FAILED),
    ],
    ids=lambda value: value.value if isinstance(value, Response) else None,
)
def test_a_bare_client_retries_what_the_sdks_retry(behaviour: Behaviour, response: Response) -> None:
    assert response_of(behaviour) is response


def test_a_bare_client_waits_for_retry_after() -> None:
    number = number_with(["rate limited for 1 s", None], lasting="rate limited for 1 s")
    got = outcome(OPENAI, ["rate limited for 1 s"], number, with_results=False)
    assert (got.is_served, got.tries, got.waited) == (True, 2, 1.0)
    assert not outcome(OPENAI, ["rate limited for 1 s"], number, with_results=False, tries=1).is_served


def test_what_a_request_gets_depends_on_its_place_and_on_nothing_else() -> None:
    places = [(number, results, nth) for number in range(40) for results in (False, True) for nth in range(3)]
    first = {place: draw_response(OPENAI, list(RESPONSE_FAULTS), place, Behaviour()) for place in places}
    again = {
        place: draw_response(OPENAI, list(RESPONSE_FAULTS), place, Behaviour()) for place in reversed(places)
    }
    assert first == again
    assert len({what for what, _ in first.values()}) > 20
