"""Who is asked next: the rules of failover, row by row of the table of reactions, and what holds for all of them."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortex_trio import ApiKey, Failure, FailureKind, WorkerConfig
from cortex_trio.failures import REACTIONS, NextKey, NextWorker, SameWorker
from cortex_trio.gateway.keys import Blocked, KeyRing, Lease
from cortex_trio.gateway.plan import (
    LONGEST_WAIT_SECONDS,
    TRIES_PER_WORKER,
    WAIT_JITTER,
    WAIT_MARGIN_SECONDS,
    Ask,
    Plan,
)
from cortex_trio.gateway.selection import Candidate
from cortex_trio.gateway.transport import Connections
from cortex_trio.gateway.worker import WorkerState
from cortex_trio.otp import Ref

K = FailureKind
MODEL = "m"


def candidate(name: str, keys: int = 1, window: int | None = None) -> Candidate:
    config = WorkerConfig(
        provider="openai_compatible",
        base_url="http://localhost",
        models=(MODEL,),
        api_keys=tuple(f"{name}-key-{number}" for number in range(1, keys + 1)),
        context_window=window,
    )
    return Candidate(WorkerState(name, config, Connections(config), Ref(name)), MODEL)


def plan_of(*candidates: Candidate, **options: Any) -> Plan:
    defaults: dict[str, Any] = {
        "max_attempts": 4,
        "deadline": math.inf,
        "may_retry": lambda now: True,
        "chance": lambda: 0.5,
    }
    return Plan(candidates, **{**defaults, **options})


@attrs.frozen
class Asked:
    worker: str
    key: str | None
    at: float


Answer = Callable[[Asked], Failure]


def drive(plan: Plan, candidates: Iterable[Candidate], answer: Answer, takes: float = 0.0) -> list[Asked]:
    """Follow the plan as failover does, with the real key ring, where every answer is a failure."""
    ring, now, asked = KeyRing(), 0.0, list[Asked]()
    for each in candidates:
        ring.set_keys(each.state.name, each.state.config.api_keys)
    while ask := plan.next(now):
        assert len(asked) < 100, "it never ends"
        now += ask.wait
        lease = Lease(ask.candidate.state.name, MODEL)
        if isinstance(ring.lend(lease, now, ask.avoid), Blocked):
            plan.refuse(ask.candidate)
            continue
        asked.append(Asked(lease.worker, lease.key.reveal() if lease.key else None, now))
        now += takes
        failure = answer(asked[-1])
        plan.learn(ask.candidate, failure, lease.key, now)
        lease.failure, lease.settled = failure, True
        ring.report(lease, now)
    return asked


def always(kind: FailureKind, **fields: Any) -> Answer:
    return lambda asked: Failure(kind, **fields)


def who(asked: Iterable[Asked]) -> str:
    return " ".join(each.worker for each in asked)


# ------------------------------------------------------------------ the table, row by row

ROWS: dict[FailureKind, tuple[str, str, str]] = {
    # asked when there is: one worker with one key, one worker with three keys, two workers with one key each
    K.CONTEXT_LENGTH: ("a", "a", "a"),
    K.CONTENT_POLICY: ("a", "a", "a"),
    K.BAD_REQUEST: ("a", "a", "a"),
    K.CANCELLED: ("a", "a", "a"),
    K.CREDENTIAL: ("a", "a a a", "a b"),
    K.PERMISSION: ("a", "a a a", "a b"),
    K.QUOTA: ("a", "a a a", "a b"),
    K.RATE_LIMIT: ("a", "a a a", "a b"),
    K.OVERLOADED: ("a a", "a a", "a b a b"),
    K.SERVER: ("a a", "a a", "a a b b"),
    K.CONNECTION: ("a", "a", "a b"),
    K.STALLED: ("a", "a", "a b"),
    K.PROTOCOL: ("a a", "a a", "a a b b"),
    K.TRUNCATED: ("a a", "a a", "a a b b"),
    K.EMPTY: ("a a", "a a", "a a b b"),
    K.MODEL_NOT_FOUND: ("a", "a a", "a b"),
    K.REGION: ("a", "a", "a b"),
    K.EDGE: ("a a", "a a", "a a b b"),
    K.CRASHED: ("a", "a", "a b"),
    K.UNKNOWN: ("a", "a", "a b"),
}


def test_every_kind_has_its_row_here() -> None:
    assert set(ROWS) == set(K)


@pytest.mark.parametrize("kind", ROWS)
def test_who_is_asked_when_everybody_fails_alike(kind: FailureKind) -> None:
    casts = ([candidate("a")], [candidate("a", keys=3)], [candidate("a"), candidate("b")])
    assert tuple(who(drive(plan_of(*cast), cast, always(kind))) for cast in casts) == ROWS[kind]


@pytest.mark.parametrize("kind", [K.CREDENTIAL, K.PERMISSION, K.QUOTA, K.RATE_LIMIT, K.MODEL_NOT_FOUND])
def test_another_key_is_another_key(kind: FailureKind) -> None:
    cast = [candidate("a", keys=3)]
    keys = [asked.key for asked in drive(plan_of(*cast), cast, always(kind))]
    assert len(set(keys)) == len(keys)


def test_all_keys_are_tried_before_the_next_worker() -> None:
    cast = [candidate("a", keys=2), candidate("b", keys=2)]
    assert who(drive(plan_of(*cast), cast, always(K.CREDENTIAL))) == "a a b b"


def test_nobody_is_asked_when_there_is_nobody() -> None:
    assert plan_of().next(0.0) is None


def test_an_error_of_the_callers_ends_the_call_whatever_came_before() -> None:
    cast = [candidate("a"), candidate("b"), candidate("c")]
    said = iter([Failure(K.STALLED), Failure(K.BAD_REQUEST)])
    assert who(drive(plan_of(*cast), cast, lambda asked: next(said))) == "a b"


# ------------------------------------------------------------------ how often


def test_the_attempts_of_a_call_are_counted_over_all_workers() -> None:
    cast = [candidate(name) for name in "abcdef"]
    assert who(drive(plan_of(*cast, max_attempts=3), cast, always(K.STALLED))) == "a b c"


def test_a_connect_that_failed_costs_time_and_no_attempt() -> None:
    """With every remote unreachable the local model still answers."""
    cast = [candidate(name) for name in "abcdef"]
    assert (
        who(drive(plan_of(*cast, max_attempts=1), cast, always(K.CONNECTION, phase="connect")))
        == "a b c d e f"
    )
    assert who(drive(plan_of(*cast, max_attempts=1), cast, always(K.CONNECTION, phase="stream"))) == "a"


def test_a_worker_that_would_not_admit_us_is_passed_over_and_costs_nothing() -> None:
    cast = [candidate("a"), candidate("b")]
    plan = plan_of(*cast, max_attempts=1)
    first = plan.next(0.0)
    assert first is not None
    plan.refuse(first.candidate)
    assert plan.next(0.0) == Ask(cast[1])
    plan.refuse(cast[1])
    assert plan.next(0.0) is None


def test_an_empty_budget_stops_repeats_and_nothing_else() -> None:
    cast = [candidate("a", keys=2), candidate("b")]
    broke = {"may_retry": lambda now: False}
    assert who(drive(plan_of(*cast, **broke), cast, always(K.SERVER))) == "a b"
    assert who(drive(plan_of(*cast, **broke), cast, always(K.OVERLOADED))) == "a b"
    assert who(drive(plan_of(*cast, **broke), cast, always(K.CREDENTIAL))) == "a a b"
    assert who(drive(plan_of(*cast, **broke), cast, always(K.RATE_LIMIT, retry_after=1.0))) == "a a b"


def test_the_budget_is_asked_only_for_repeats() -> None:
    taken: list[float] = []

    def may_retry(now: float) -> bool:
        taken.append(now)
        return True

    cast = [candidate("a", keys=2), candidate("b")]
    drive(plan_of(*cast, may_retry=may_retry), cast, always(K.CREDENTIAL))
    assert taken == []
    drive(plan_of(*cast, may_retry=may_retry), cast, always(K.SERVER))
    assert len(taken) == 2


# ------------------------------------------------------------------ how soon


def test_a_repeat_waits_a_jittered_moment() -> None:
    cast = [candidate("a")]
    for chance, pause in ((0.0, 0.0), (0.5, 0.125), (0.99, 0.2475)):
        asked = drive(plan_of(*cast, chance=lambda chance=chance: chance), cast, always(K.SERVER))
        assert [each.at for each in asked] == [0.0, pytest.approx(pause)]


def test_the_pauses_of_one_call_double() -> None:
    cast = [candidate(name) for name in "abcd"]
    asked = drive(plan_of(*cast, max_attempts=8), cast, always(K.SERVER))
    pauses = [later.at - earlier.at for earlier, later in zip(asked[::2], asked[1::2], strict=True)]
    assert pauses == pytest.approx([0.125, 0.25, 0.5, 1.0])


def test_how_many_could_be_waited_for_makes_no_pause_longer() -> None:
    cast = [candidate(name) for name in "abc"]
    asked = drive(plan_of(*cast, max_attempts=6), cast, always(K.OVERLOADED))
    pauses = [later.at - earlier.at for earlier, later in pairwise(asked[2:])]
    assert pauses == pytest.approx([0.125, 0.25, 0.5])


def test_a_rate_limit_is_waited_out_when_nobody_else_can_serve() -> None:
    cast = [candidate("a"), candidate("b")]
    hints = {"a": 3.0, "b": 2.0}
    asked = drive(plan_of(*cast), cast, lambda each: Failure(K.RATE_LIMIT, retry_after=hints[each.worker]))
    assert who(asked) == "a b b a"
    assert 2.0 < asked[2].at <= 2.0 * (1 + WAIT_JITTER) + WAIT_MARGIN_SECONDS
    assert 3.0 < asked[3].at <= 3.0 * (1 + WAIT_JITTER) + WAIT_MARGIN_SECONDS + asked[2].at


@pytest.mark.parametrize("kind", [K.RATE_LIMIT, K.OVERLOADED])
@pytest.mark.parametrize("hint", [LONGEST_WAIT_SECONDS + 0.1, 3600.0])
def test_a_hint_that_is_too_long_is_not_waited_for(kind: FailureKind, hint: float) -> None:
    cast = [candidate("a")]
    assert who(drive(plan_of(*cast), cast, always(kind, retry_after=hint))) == "a"


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_a_hint_of_a_minute_is_waited_for_whatever_the_dice_say(chance: float) -> None:
    cast = [candidate("a")]
    plan = plan_of(*cast, chance=lambda: chance)
    asked = drive(plan, cast, always(K.RATE_LIMIT, retry_after=LONGEST_WAIT_SECONDS))
    assert who(asked) == "a a"


@pytest.mark.parametrize("kind", [K.RATE_LIMIT, K.OVERLOADED, K.SERVER])
def test_a_hint_that_does_not_fit_the_deadline_is_not_waited_for(kind: FailureKind) -> None:
    cast = [candidate("a")]
    assert who(drive(plan_of(*cast, deadline=5.0), cast, always(kind, retry_after=5.0))) == "a"
    assert who(drive(plan_of(*cast, deadline=5.0), cast, always(kind, retry_after=3.0))) == "a a"


@pytest.mark.parametrize("kind", [K.SERVER, K.OVERLOADED])
def test_no_pause_goes_beyond_the_deadline(kind: FailureKind) -> None:
    cast = [candidate("a"), candidate("b")]
    asked = drive(plan_of(*cast, deadline=0.1, chance=lambda: 0.999), cast, always(kind))
    assert who(asked) == "a b"


def test_nobody_is_asked_once_the_deadline_has_passed() -> None:
    cast = [candidate(name) for name in "abc"]
    assert who(drive(plan_of(*cast, deadline=5.0), cast, always(K.STALLED), takes=3.0)) == "a b"


@pytest.mark.parametrize(
    "kind", [kind for kind in K if REACTIONS[kind].same_worker in (SameWorker.ONCE, SameWorker.AFTER_BACKOFF)]
)
def test_a_worker_that_named_a_time_is_not_repeated_before_it(kind: FailureKind) -> None:
    cast = [candidate("a")]
    asked = drive(plan_of(*cast), cast, always(kind, retry_after=7.0))
    assert who(asked) == "a a"
    assert asked[1].at >= 7.0


def test_the_next_worker_is_asked_at_once_while_the_first_one_wants_time() -> None:
    cast = [candidate("a"), candidate("b")]
    asked = drive(
        plan_of(*cast), cast, lambda each: Failure(K.SERVER, retry_after=7.0 if each.worker == "a" else None)
    )
    assert who(asked[:2]) == "a b"
    assert asked[1].at == 0.0


# ------------------------------------------------------------------ the provider's own word on it


@pytest.mark.parametrize(
    "kind", [kind for kind in K if REACTIONS[kind].same_worker in (SameWorker.ONCE, SameWorker.AFTER_BACKOFF)]
)
def test_a_provider_that_says_no_is_not_asked_again(kind: FailureKind) -> None:
    cast = [candidate("a"), candidate("b")]
    assert who(drive(plan_of(*cast), cast, always(kind, should_retry=False))) == "a b"


# ------------------------------------------------------------------ a window that is too small


@pytest.mark.parametrize(
    ("windows", "asked"),
    [
        ((8_000, None, None), "a"),
        ((8_000, 8_000, 4_000), "a"),
        ((8_000, 4_000, 16_000), "a c"),
        ((8_000, 16_000, 32_000), "a b c"),
        ((8_000, 32_000, 16_000), "a b"),
        ((None, None, 128_000), "a c"),
        ((None, 128_000, 128_000), "a b"),
    ],
)
def test_too_long_for_one_is_tried_only_where_the_window_is_known_to_be_larger(
    windows: tuple[int | None, ...], asked: str
) -> None:
    cast = [candidate(name, window=window) for name, window in zip("abc", windows, strict=True)]
    assert who(drive(plan_of(*cast), cast, always(K.CONTEXT_LENGTH))) == asked


# ------------------------------------------------------------------ after something was delivered


def test_after_delivery_the_next_worker_comes_before_a_repeat() -> None:
    cast = [candidate("a"), candidate("b")]
    plan = plan_of(*cast)
    first = plan.next(0.0)
    assert first is not None
    plan.learn(first.candidate, Failure(K.TRUNCATED), None, 0.0, committed=True)
    assert plan.next(0.0) == Ask(cast[1])


def test_a_sole_worker_may_restart_what_it_broke_off() -> None:
    cast = [candidate("a")]
    plan = plan_of(*cast)
    plan.next(0.0)
    plan.learn(cast[0], Failure(K.TRUNCATED), None, 0.0, committed=True)
    again = plan.next(0.0)
    assert again is not None
    assert again.candidate is cast[0]


def test_a_silent_route_is_not_asked_again_even_then() -> None:
    cast = [candidate("a")]
    plan = plan_of(*cast)
    plan.next(0.0)
    plan.learn(cast[0], Failure(K.STALLED), None, 0.0, committed=True)
    assert plan.next(0.0) is None


# ------------------------------------------------------------------ what always holds

failures = st.builds(
    Failure,
    st.sampled_from(K),
    retry_after=st.none() | st.floats(0, 70),
    phase=st.sampled_from(["connect", "headers", "stream"]),
    should_retry=st.sampled_from([None, True, False]),
)


@settings(max_examples=300)
@given(
    keys=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    said=st.lists(failures, min_size=1, max_size=12),
    max_attempts=st.integers(1, 8),
    deadline=st.floats(0, 200),
    chance=st.floats(0, 1, exclude_max=True),
    takes=st.floats(0, 5),
)
def test_whatever_comes_back_the_promises_hold(
    keys: list[int],
    said: list[Failure],
    max_attempts: int,
    deadline: float,
    chance: float,
    takes: float,
) -> None:
    """It ends; within its attempts and its time; no worker too often; nobody earlier than they asked."""
    cast = [candidate(f"w{place}", keys=count) for place, count in enumerate(keys)]
    plan = plan_of(*cast, max_attempts=max_attempts, deadline=deadline, chance=lambda: chance)
    not_before: dict[tuple[str, str | None], float] = {}
    outcome: list[tuple[Asked, Failure]] = []

    def answer(asked: Asked) -> Failure:
        assert asked.at < deadline
        assert asked.at >= not_before.get((asked.worker, asked.key), 0.0)
        assert asked.at >= not_before.get((asked.worker, "anyone"), 0.0)
        failure = said[len(outcome) % len(said)]
        outcome.append((asked, failure))
        if failure.retry_after is not None:
            reaction = REACTIONS[failure.kind]
            whose = "anyone" if reaction.next_key is NextKey.NO else asked.key
            not_before[asked.worker, whose] = asked.at + takes + failure.retry_after
        return failure

    asked = drive(plan, cast, answer, takes)
    assert len([failure for _, failure in outcome if failure.phase != "connect"]) <= max_attempts
    # Who says "retry" is not silent.
    silent = [each.worker for each, f in outcome if f.kind is K.STALLED and f.should_retry is not True]
    assert max(Counter(silent).values(), default=0) <= 1
    for each in cast:
        mine = [f for a, f in outcome if a.worker == each.state.name]
        own_fault = [f for f in mine if REACTIONS[f.kind].next_key is NextKey.NO]
        assert len(own_fault) <= TRIES_PER_WORKER
    final = [
        f.should_retry is not True and REACTIONS[f.kind].next_worker is NextWorker.NO for _, f in outcome
    ]
    ended = [place for place, over in enumerate(final) if over]
    assert ended in ([], [len(asked) - 1])


def test_a_refused_key_is_never_shown_again_by_the_same_call() -> None:
    cast = [candidate("a", keys=3)]
    asked = drive(plan_of(*cast, max_attempts=8), cast, always(K.CREDENTIAL))
    assert max(Counter(each.key for each in asked).values()) == 1


def test_the_keys_to_avoid_are_those_that_were_refused() -> None:
    cast = [candidate("a", keys=3)]
    plan = plan_of(*cast)
    plan.next(0.0)
    plan.learn(cast[0], Failure(K.CREDENTIAL), ApiKey("a-key-2"), 0.0)
    assert plan.next(0.0) == Ask(cast[0], avoid=frozenset({ApiKey("a-key-2")}))
