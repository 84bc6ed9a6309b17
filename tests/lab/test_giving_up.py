"""Two rules about giving up: what they complain of, and what they leave out because they cannot know it."""

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
from cortex_trio.lab.world.again import broken_by_giving_up, free_at, is_back_late
from cortex_trio.lab.world.bare import Got, got_from, outcome
from cortex_trio.lab.world.chronicle import Chronicle, Ended
from cortex_trio.lab.world.load import PlannedCall
from cortex_trio.lab.world.people import Called
from cortex_trio.lab.world.plan import Plan, PlannedProvider, Trouble
from cortex_trio.lab.world.troubles import TROUBLES
from cortex_trio.lab.world.upstream import drawn
from cortex_trio.simulator import Behaviour

MINUTE = 60.0
CALL = PlannedCall(
    number=5, at=1000.0, how="complete", options={}, deadline=None, leaves_after=None, pause=0.0, rounds=0
)
OPENAI = PlannedProvider("openai-0", "openai", ("sk-sim-one",), 7, 0.0, None, 0.0, {})
GROQ = attrs.evolve(OPENAI, name="groq-1", dialect="groq", seed=8)


def plan(*providers: PlannedProvider, troubles: Sequence[Trouble] = (), max_attempts: int = 4) -> Plan:
    return Plan(
        seed=0,
        seconds=3600.0,
        providers=providers,
        rock=None,
        config={"max_attempts": max_attempts},
        troubles=tuple(troubles),
        calls=(),
        interventions=(),
    )


def attempt(
    worker: str, kind: FailureKind | None, hint: float | None = None, duration: float = 0.1
) -> Attempt:
    failure = None if kind is None else Failure(kind, retry_after=hint)
    return Attempt(1, worker, "openai", "m", "sk-***", failure, duration, None, None)


def refused(*attempts: Attempt, **planned: Any) -> Called:
    """A call that was refused half a second after it began, at 1000.5 s."""
    errors = [ProviderError(one.failure, one.worker, (one,)) for one in attempts if one.failure]
    error: CortexError = NoWorkersAvailable("no worker is available")
    if len(errors) == 1:
        error = errors[0]
    elif errors:
        error = AllWorkersFailed("all failed", errors, primary=errors[0], attempts=attempts)
    return Called(
        attrs.evolve(CALL, **planned),
        started=1000.0,
        asked_at=1000.0,
        ended=1000.5,
        outcome="refused",
        error=error,
    )


def chronicle(*ended: tuple[float, Attempt]) -> Chronicle:
    seen = Chronicle(0)
    for at, one in ended:
        seen.ended.setdefault(one.worker, []).append(Ended(at, one))
    return seen


def broken(call: Called, world: Plan, seen: Chronicle) -> list[str]:
    return list(broken_by_giving_up(call, world, seen))


def number_with(
    what: Sequence[str | None], provider: PlannedProvider = OPENAI, lasting: str = "server errors"
) -> int:
    """A call whose requests to `provider` get these one after the other while `lasting` lasts."""
    return next(
        number
        for number in range(1, 10_000)
        if [drawn(provider, [lasting], (number, False, nth), Behaviour())[0] for nth in range(len(what))]
        == list(what)
    )


def lasting(what: str = "server errors", at: float = 500.0, until: float = 2000.0) -> Trouble:
    return Trouble(at, until, "openai-0", what)


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
    row = [Ended(at, attempt("openai-0", kind, hint)) for at, kind, hint in ended]
    assert free_at(row) == pytest.approx(free)


def test_a_success_that_began_before_the_failure_ends_no_cooldown() -> None:
    row = [
        Ended(100.0, attempt("openai-0", FailureKind.MODEL_NOT_FOUND)),
        Ended(101.0, attempt("openai-0", None, duration=3.0)),
    ]
    assert free_at(row) == pytest.approx(100.0 + MINUTE * 1.1)
    assert free_at([*row, Ended(170.0, attempt("openai-0", None))]) == 0.0


def test_a_success_with_another_model_ends_no_cooldown() -> None:
    row = [
        Ended(100.0, attempt("openai-0", FailureKind.MODEL_NOT_FOUND)),
        Ended(170.0, attrs.evolve(attempt("openai-0", None), model="another")),
    ]
    assert free_at(row) == pytest.approx(100.0 + MINUTE * 1.1)


def test_a_refused_key_cools_down_longer_where_others_can_be_asked() -> None:
    row = [Ended(100.0, attempt("openai-0", FailureKind.CREDENTIAL))]
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
def test_a_trial_with_another_model_counts_where_the_refusal_was_not_about_one(
    kind: FailureKind, waits: float
) -> None:
    row = [
        Ended(100.0, attempt("openai-0", kind)),
        Ended(400.0, attrs.evolve(attempt("openai-0", FailureKind.CONNECTION), model="another")),
    ]
    assert free_at(row) == pytest.approx(400.0 + waits * 1.1 if waits else 100.0 + MINUTE * 1.1)


def test_a_worker_is_back_late_some_time_after_its_last_cooldown() -> None:
    row = [Ended(100.0, attempt("openai-0", FailureKind.PERMISSION))]
    assert not is_back_late(row, calm_at=50.0, now=250.0)
    assert is_back_late(row, calm_at=50.0, now=260.0)
    assert not is_back_late(row, calm_at=250.0, now=260.0)


# ------------------------------------------------------------------ asked again


def test_a_call_that_is_refused_while_a_worker_is_free_is_noticed() -> None:
    long_ago = (100.0, attempt("openai-0", FailureKind.MODEL_NOT_FOUND))
    [complaint] = broken(refused(), plan(OPENAI), chronicle(long_ago))
    assert "refused, though openai-0 was free within 0 s" in complaint
    assert broken(refused(), plan(OPENAI), chronicle((990.0, long_ago[1]))) == []


@pytest.mark.parametrize(("hint", "many"), [(1.0, 1), (20.0, 1), (60.0, 0)])
def test_a_worker_that_is_free_within_max_wait_is_waited_for(hint: float, many: int) -> None:
    seen = chronicle((999.9, attempt("openai-0", FailureKind.RATE_LIMIT, hint)))
    assert len(broken(refused(), plan(OPENAI), seen)) == many


def test_a_second_worker_that_is_free_is_missed_as_well() -> None:
    failed = attempt("openai-0", FailureKind.BAD_REQUEST)
    limited = attrs.evolve(OPENAI, quota=10.0)
    [complaint] = broken(refused(failed), plan(limited, GROQ), chronicle((1000.4, failed)))
    assert "groq-1 was free" in complaint


def test_a_named_worker_is_the_only_one_that_is_missed() -> None:
    call = refused(options={"worker": "groq-1"})
    [complaint] = broken(call, plan(OPENAI, GROQ), chronicle())
    assert "groq-1 was free" in complaint


def test_while_another_call_has_the_trial_nothing_is_missed() -> None:
    failed = (100.0, attempt("openai-0", FailureKind.MODEL_NOT_FOUND))
    trial = (1003.0, attempt("openai-0", None, duration=5.0))
    assert broken(refused(), plan(OPENAI), chronicle(failed, trial)) == []
    assert broken(refused(), plan(OPENAI), chronicle(failed))


def test_while_another_call_has_the_only_place_nothing_is_missed() -> None:
    narrow = attrs.evolve(OPENAI, settings={"max_concurrency": 1})
    running = (1003.0, attempt("openai-0", None, duration=5.0))
    assert broken(refused(), plan(narrow), chronicle(running)) == []
    assert broken(refused(), plan(narrow), chronicle())
    assert broken(refused(), plan(OPENAI), chronicle(running))


@pytest.mark.parametrize(
    "planned",
    [
        {"deadline": 5.0},
        {"leaves_after": 3},
        {"options": {"max_attempts": 1}},
        {"options": {"hedge_after": 1.0}},
        {"what": "models"},
        {"what": "embed", "texts": 130},
    ],
    ids=str,
)
def test_a_call_that_its_caller_limited_is_not_judged(planned: dict[str, Any]) -> None:
    assert broken(refused(), plan(OPENAI), chronicle())
    assert broken(refused(**planned), plan(OPENAI), chronicle()) == []


def test_a_call_that_is_served_or_has_no_attempts_left_is_not_judged() -> None:
    assert broken(attrs.evolve(refused(), outcome="whole"), plan(OPENAI), chronicle()) == []
    failed = [attempt("openai-0", FailureKind.SERVER) for _ in range(2)]
    assert broken(refused(*failed), plan(OPENAI, GROQ, max_attempts=2), chronicle()) == []


def test_a_call_beside_a_kill_or_a_change_by_hand_is_not_judged() -> None:
    killed, touched = chronicle(), chronicle()
    killed.kills.append((995.0, "keys"))
    touched.touched.append(1000.2)
    assert broken(refused(), plan(OPENAI), killed) == []
    assert broken(refused(), plan(OPENAI), touched) == []


def test_texts_are_embedded_by_one_model_so_that_another_is_not_missed() -> None:
    call = refused(what="embed", texts=2)
    gemini = attrs.evolve(GROQ, name="gemini-1", dialect="gemini")
    assert broken(call, plan(OPENAI, gemini), chronicle()) == []
    [complaint] = broken(call, plan(OPENAI, GROQ), chronicle())  # groq embeds nothing
    assert "openai-0" in complaint


# ------------------------------------------------------------------ never worse than a bare client


def gave_up(*kinds: FailureKind, **planned: Any) -> Called:
    return refused(*[attempt("openai-0", kind) for kind in kinds], **planned)


def test_a_lone_worker_that_a_bare_client_would_have_been_served_by_is_noticed() -> None:
    served = number_with(["server errors", "server errors", None])
    lost = number_with(["server errors"] * 3)
    world = plan(OPENAI, troubles=[lasting()])
    call = gave_up(FailureKind.SERVER, FailureKind.SERVER, number=served)
    [complaint] = broken(call, world, chronicle())
    assert "a bare client would be served by openai-0" in complaint
    assert broken(gave_up(FailureKind.SERVER, number=lost), world, chronicle()) == []


def test_beside_others_only_a_first_request_that_would_be_answered_is_noticed() -> None:
    world = plan(OPENAI, GROQ, troubles=[lasting()])
    for what, many in (([None], 1), (["server errors", None], 0)):
        call = gave_up(FailureKind.SERVER, number=number_with(what))
        call.error = AllWorkersFailed(
            "all failed",
            [ProviderError(Failure(FailureKind.SERVER), "groq-1")],
            primary=ProviderError(Failure(FailureKind.SERVER), "groq-1"),
            attempts=[attempt("openai-0", FailureKind.SERVER), attempt("groq-1", FailureKind.SERVER)],
        )
        found = [one for one in broken(call, world, chronicle()) if "openai-0:" in one]
        assert len(found) == many


@pytest.mark.parametrize(
    ("provider", "trouble"),
    [
        (attrs.evolve(OPENAI, quota=10.0), lasting()),
        (OPENAI, lasting(at=1000.2)),
        (OPENAI, lasting(until=1001.0)),
        (OPENAI, lasting("partition")),
        (OPENAI, lasting("connections reset", at=1000.1, until=1000.1)),
    ],
    ids=["a quota", "a trouble begins", "a trouble ends", "the way is broken", "connections break"],
)
def test_what_is_not_certain_is_left_out(provider: PlannedProvider, trouble: Trouble) -> None:
    always = next(
        number
        for number in range(1, 10_000)
        if all(
            drawn(OPENAI, ["server errors"], (number, False, nth), Behaviour())[0] is None for nth in range(3)
        )
    )
    call = gave_up(FailureKind.SERVER, number=always)
    assert broken(call, plan(OPENAI, troubles=[lasting()]), chronicle())
    assert broken(call, plan(provider, troubles=[trouble]), chronicle()) == []


def test_max_attempts_limits_the_bare_client_too() -> None:
    served = number_with(["server errors", "server errors", None])
    call = gave_up(FailureKind.SERVER, number=served)
    assert broken(call, plan(OPENAI, troubles=[lasting()], max_attempts=3), chronicle())
    assert broken(call, plan(OPENAI, troubles=[lasting()], max_attempts=2), chronicle()) == []


# ------------------------------------------------------------------ the bare client


@pytest.mark.parametrize(
    ("behaviour", "got"),
    [
        (Behaviour(text="Hi."), Got.ANSWER),
        (Behaviour(text="Hi.", slice_bytes=1), Got.ANSWER),
        (Behaviour(text="Hi.", close_idle=True, headers={"x": "y"}), Got.ANSWER),
        (Behaviour(text=""), Got.FAILED),
        (Behaviour(refuse=True), Got.AGAIN),
        (Behaviour(reset_at="request"), Got.AGAIN),
        (Behaviour(cut_at="headers"), Got.AGAIN),
        (Behaviour(error=FailureKind.SERVER), Got.AGAIN),
        (Behaviour(error=FailureKind.RATE_LIMIT), Got.AGAIN),
        (Behaviour(error=FailureKind.CREDENTIAL), Got.FAILED),
        (Behaviour(status=409), Got.AGAIN),
        (Behaviour(status=404), Got.FAILED),
        (Behaviour(status=503, html=True), Got.AGAIN),
        (Behaviour(html=True), Got.FAILED),
        (Behaviour(text="Hi.", cut_after=1), Got.FAILED),
        (Behaviour(text="Hi.", first_token_after=5), Got.FAILED),
        (Behaviour(silent=True), Got.FAILED),
        (Behaviour(error=FailureKind.OVERLOADED, error_after=0), Got.FAILED),
    ],
    ids=lambda value: value.value if isinstance(value, Got) else None,
)
def test_a_bare_client_asks_again_what_the_sdks_ask_again(behaviour: Behaviour, got: Got) -> None:
    assert got_from(behaviour) is got


def test_a_bare_client_obeys_hints() -> None:
    number = number_with(["limited for a second", None], lasting="limited for a second")
    got = outcome(OPENAI, ["limited for a second"], number, with_results=False)
    assert (got.is_served, got.tries, got.waited) == (True, 2, 1.0)
    assert not outcome(OPENAI, ["limited for a second"], number, with_results=False, tries=1).is_served


def test_what_a_request_gets_depends_on_its_place_and_on_nothing_else() -> None:
    places = [(number, results, nth) for number in range(40) for results in (False, True) for nth in range(3)]
    first = {place: drawn(OPENAI, list(TROUBLES), place, Behaviour()) for place in places}
    again = {place: drawn(OPENAI, list(TROUBLES), place, Behaviour()) for place in reversed(places)}
    assert first == again
    assert len({what for what, _ in first.values()}) > 20
