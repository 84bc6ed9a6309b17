"""What cools down, for how long, and what ends it: the table of cooldowns, without a clock."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortex_trio import ApiKey, Failure, FailureKind
from cortex_trio.failures import LONGEST_COOLDOWN, REACTIONS
from cortex_trio.gateway.workers.cooldowns import (
    CHECK_SECONDS,
    EMPTY_BUCKET_TRIAL_SECONDS,
    MAX_COOLDOWNS_PER_WORKER,
    REMEMBERED_SECONDS,
    Basis,
    Cooldown,
    Cooldowns,
    Target,
)

K = FailureKind
DECLARED, REFUSED, SUSPECTED = Basis.DECLARED, Basis.REFUSED, Basis.SUSPECTED
MODEL, OTHER = "gpt-4", "gpt-3.5"
A, B, C = (ApiKey(f"key-number-{letter}-0001") for letter in "abc")
HOUR = 3600.0


def failed(
    table: Cooldowns,
    kind: FailureKind,
    *,
    now: float = 0.0,
    started: float | None = None,
    hint: float | None = None,
    model: str = MODEL,
    key: ApiKey | None = A,
    more: bool = False,
    **fields: Any,
) -> None:
    failure = Failure(kind, retry_after=hint, **fields)
    begun = now if started is None else started
    table.failed("w", model, key, failure, started=begun, now=now, has_more_keys=more)


def entries_of(table: Cooldowns, now: float = 0.0) -> dict[Target, Cooldown]:
    return dict(table.entries("w", now))


def only(table: Cooldowns, now: float = 0.0) -> Cooldown:
    [cooldown] = entries_of(table, now).values()
    return cooldown


# ------------------------------------------------------------------ what cools down, and how long


@pytest.mark.parametrize(
    ("kind", "target", "seconds", "trial", "basis"),
    [
        (K.CREDENTIAL, (None, A), 900.0, 60.0, REFUSED),
        (K.QUOTA, (None, A), 900.0, 60.0, REFUSED),
        (K.PERMISSION, (MODEL, A), 60.0, 60.0, REFUSED),
        (K.RATE_LIMIT, (MODEL, A), 10.0, 0.0, SUSPECTED),
        (K.MODEL_NOT_FOUND, (MODEL, None), 60.0, 60.0, REFUSED),
        (K.REGION, (None, None), 60.0, 60.0, REFUSED),
    ],
)
def test_each_failure_kind_has_its_target_time_and_trial(
    kind: FailureKind, target: Target, seconds: float, trial: float, basis: Basis
) -> None:
    table = Cooldowns()
    failed(table, kind, now=5.0)
    assert entries_of(table, 5.0) == {target: Cooldown(kind, 5.0, 5.0 + seconds, 5.0 + trial, basis)}


@pytest.mark.parametrize("kind", [kind for kind in K if REACTIONS[kind].cooldown is None])
def test_no_other_kind_makes_anything_cool_down(kind: FailureKind) -> None:
    table = Cooldowns()
    failed(table, kind)
    assert not entries_of(table)


@pytest.mark.parametrize("kind", [k for k in K if REACTIONS[k].cooldown is None and REACTIONS[k].weight])
def test_a_time_that_a_server_named_with_any_of_its_failures_counts_for_the_worker(
    kind: FailureKind,
) -> None:
    table = Cooldowns()
    failed(table, kind, now=5.0, hint=40.0)
    assert entries_of(table, 5.0) == {(None, None): Cooldown(kind, 5.0, 45.0, 45.0, DECLARED)}


@pytest.mark.parametrize("kind", [k for k in K if REACTIONS[k].cooldown is None and not REACTIONS[k].weight])
def test_a_time_beside_a_failure_that_is_not_the_workers_counts_for_nothing(kind: FailureKind) -> None:
    table = Cooldowns()
    failed(table, kind, hint=40.0)
    assert not entries_of(table)


@pytest.mark.parametrize("kind", list(K))
@pytest.mark.parametrize("hint", [None, 30.0])
def test_a_shortage_of_this_machine_makes_nothing_cool_down(kind: FailureKind, hint: float | None) -> None:
    table = Cooldowns()
    failed(table, kind, hint=hint, ours=True)
    assert not entries_of(table)


@pytest.mark.parametrize("kind", [K.CREDENTIAL, K.QUOTA, K.PERMISSION, K.RATE_LIMIT])
def test_a_worker_without_keys_cools_down_itself(kind: FailureKind) -> None:
    table = Cooldowns()
    failed(table, kind, key=None)
    cooldown = table.of_worker("w", MODEL, 0.0)
    assert cooldown is not None
    assert cooldown.kind is kind
    assert table.of_keys("w", MODEL, (), 0.0) is None


def test_one_key_does_not_find_a_model_and_another_may() -> None:
    table = Cooldowns()
    failed(table, K.MODEL_NOT_FOUND, key=A, more=True)
    assert set(entries_of(table)) == {(MODEL, A)}
    assert table.of_worker("w", MODEL, 1.0) is None
    failed(table, K.MODEL_NOT_FOUND, key=A, more=True, now=61.0)
    assert table.of_worker("w", MODEL, 61.0) is None, "the same key twice says nothing of the others"


def test_a_model_that_two_keys_do_not_find_is_not_there() -> None:
    table = Cooldowns()
    failed(table, K.MODEL_NOT_FOUND, key=A, more=True)
    failed(table, K.MODEL_NOT_FOUND, key=B, more=True)
    assert table.of_worker("w", MODEL, 1.0) is not None
    assert table.of_worker("w", OTHER, 1.0) is None


# ------------------------------------------------------------------ growth


@pytest.mark.parametrize(
    ("kind", "seconds", "trials"),
    [
        (K.CREDENTIAL, [900, 1800, 3600, 3600], [60, 120, 240, 480]),
        (K.QUOTA, [900, 1800, 3600, 3600], [60, 120, 240, 480]),
        (K.PERMISSION, [60, 120, 240, 480, 960, 1920, 3600, 3600], None),
        (K.MODEL_NOT_FOUND, [60, 120, 240, 480, 960, 1920, 3600, 3600], None),
        (K.REGION, [60, 120, 240, 480, 960, 1920, 3600, 3600], None),
        (K.RATE_LIMIT, [10, 30, 60, 120, 120], [0] * 5),
    ],
)
def test_in_a_row_each_is_longer_up_to_its_longest(
    kind: FailureKind, seconds: list[float], trials: list[float] | None
) -> None:
    table, now, seen = Cooldowns(), 0.0, []
    for number in range(len(seconds)):
        failed(table, kind, now=now)
        cooldown = only(table, now)
        assert cooldown.failures == number + 1
        seen.append((cooldown.until - now, cooldown.trial_at - now))
        now = cooldown.until
    assert seen == list(zip(seconds, trials or seconds, strict=False))


@pytest.mark.parametrize("kind", [kind for kind in K if REACTIONS[kind].cooldown])
def test_failures_at_the_same_time_count_once(kind: FailureKind) -> None:
    """A hundred are in flight when a limit is met: it was met once."""
    table = Cooldowns()
    for number in range(100):
        failed(table, kind, started=0.0, now=1.0 + number / 1000)
    cooldown = only(table, 1.1)
    rule = REACTIONS[kind].cooldown
    assert rule is not None
    assert cooldown.failures == 1
    assert cooldown.until == pytest.approx(1.0 + rule.seconds[0], abs=0.1)


def test_a_success_resets_the_failures_in_a_row() -> None:
    table = Cooldowns()
    for now in (0.0, 10.0, 40.0):
        failed(table, K.RATE_LIMIT, now=now)
    table.served("w", MODEL, A, started=100.0, now=100.0)
    failed(table, K.RATE_LIMIT, now=101.0)
    assert only(table, 101.0).until == 111.0


def test_another_kind_begins_a_row_of_its_own() -> None:
    table = Cooldowns()
    failed(table, K.CREDENTIAL, now=0.0)
    failed(table, K.QUOTA, now=1000.0)
    assert (only(table, 1000.0).failures, only(table, 1000.0).until) == (1, 1900.0)


def test_failures_in_a_row_count_on_after_a_cooldown_has_ended_and_was_swept() -> None:
    table = Cooldowns()
    failed(table, K.RATE_LIMIT, now=0.0)
    table.sweep(1000.0)
    failed(table, K.RATE_LIMIT, now=1000.0)
    assert only(table, 1000.0).until == 1030.0


def test_fixed_seconds_replace_the_growing_cooldown_where_they_are_configured() -> None:
    table = Cooldowns(rate_limit_seconds=900.0)
    for start in (0.0, 900.0):
        failed(table, K.RATE_LIMIT, now=start)
        assert only(table, start).until == start + 900.0
    failed(table, K.RATE_LIMIT, now=1800.0, hint=20.0)
    assert only(table, 1800.0).until == 1820.0, "but not a time that the server named"


def test_configured_seconds_are_capped_at_an_hour() -> None:
    table = Cooldowns(rate_limit_seconds=1e6)
    failed(table, K.RATE_LIMIT)
    assert only(table).until == HOUR


# ------------------------------------------------------------------ what a server declared


@pytest.mark.parametrize("hint", [0.5, 37.0, 299.0, HOUR])
@pytest.mark.parametrize("kind", [K.RATE_LIMIT, K.OVERLOADED, K.SERVER, K.EDGE])
def test_a_declared_time_is_honoured_in_full(kind: FailureKind, hint: float) -> None:
    table = Cooldowns()
    failed(table, kind, hint=hint)
    cooldown = only(table)
    assert (cooldown.until, cooldown.trial_at, cooldown.basis) == (hint, hint, DECLARED)
    assert not cooldown.may_be_tried(math.nextafter(hint, 0))
    assert cooldown.is_over(hint)


@pytest.mark.parametrize("kind", [kind for kind in K if REACTIONS[kind].cooldown or REACTIONS[kind].weight])
def test_no_declared_time_is_longer_than_an_hour(kind: FailureKind) -> None:
    table = Cooldowns()
    failed(table, kind, hint=30 * 24 * HOUR, now=7.0)
    assert only(table, 7.0).until == 7.0 + HOUR


@pytest.mark.parametrize("kind", [K.CREDENTIAL, K.QUOTA, K.PERMISSION, K.MODEL_NOT_FOUND, K.REGION])
def test_a_refusal_with_a_time_lasts_that_long_and_is_tried_after_a_minute(kind: FailureKind) -> None:
    table = Cooldowns()
    failed(table, kind, hint=1253.0)
    assert (only(table).until, only(table).trial_at, only(table).basis) == (1253.0, 60.0, REFUSED)


def test_a_declared_time_of_zero_blocks_nothing() -> None:
    table = Cooldowns()
    failed(table, K.RATE_LIMIT, hint=0.0)
    assert table.of_key("w", MODEL, A, 0.0) is None


def test_a_declared_time_replaces_a_longer_guess() -> None:
    """Else the key could be used as the least bad one, earlier than the server allowed."""
    table = Cooldowns()
    failed(table, K.RATE_LIMIT, now=0.0)
    failed(table, K.RATE_LIMIT, now=1.0, hint=5.0)
    assert (only(table, 1.0).until, only(table, 1.0).basis) == (6.0, DECLARED)


def test_a_guess_never_replaces_a_declared_time() -> None:
    table = Cooldowns()
    failed(table, K.RATE_LIMIT, now=0.0, hint=5.0)
    failed(table, K.RATE_LIMIT, now=1.0, started=0.0)
    assert (only(table, 1.0).until, only(table, 1.0).basis) == (5.0, DECLARED)


def test_a_shorter_declared_time_does_not_shorten_a_longer_one() -> None:
    table = Cooldowns()
    failed(table, K.RATE_LIMIT, hint=60.0)
    failed(table, K.RATE_LIMIT, hint=1.0)
    assert only(table).until == 60.0


def test_a_guess_about_one_model_does_not_hide_that_the_key_has_no_credit() -> None:
    table = Cooldowns()
    failed(table, K.QUOTA, hint=50.0)
    failed(table, K.RATE_LIMIT, now=1.0, started=0.0)
    cooldown = table.of_key("w", MODEL, A, 2.0)
    assert cooldown is not None
    assert (cooldown.kind, cooldown.until) == (K.QUOTA, 50.0)


def test_an_empty_bucket_blocks_the_key_for_that_model_and_is_tried_after_a_minute() -> None:
    table = Cooldowns()
    table.bucket_is_empty("w", MODEL, A, 12.0, now=3.0)
    table.bucket_is_empty("w", OTHER, A, 1000.0, now=3.0)
    found = entries_of(table, 3.0)
    assert found[MODEL, A] == Cooldown(K.RATE_LIMIT, 3.0, 15.0, 15.0, DECLARED)
    assert found[OTHER, A].until == 1003.0
    assert found[OTHER, A].trial_at == 3.0 + EMPTY_BUCKET_TRIAL_SECONDS


# ------------------------------------------------------------------ trials


def test_each_trial_doubles_the_time_to_the_next() -> None:
    table, begun, now = Cooldowns(), [], 0.0
    failed(table, K.CREDENTIAL)
    while now < 900.0:
        now = only(table).trial_at
        begun.append(now)
        table.begin_trial("w", MODEL, A, now)
    assert begun == [60.0, 180.0, 540.0, 900.0]


def test_a_trial_that_has_begun_is_the_only_one() -> None:
    table = Cooldowns()
    failed(table, K.QUOTA)
    assert only(table).may_be_tried(60.0)
    table.begin_trial("w", MODEL, A, 60.0)
    assert not only(table).may_be_tried(60.0)
    before = entries_of(table)
    table.begin_trial("w", MODEL, A, 100.0)
    assert entries_of(table) == before, "no trial is due"


def test_a_trial_of_one_key_is_no_trial_of_another() -> None:
    table = Cooldowns()
    for key in (A, B):
        failed(table, K.CREDENTIAL, key=key)
    table.begin_trial("w", MODEL, A, 60.0)
    found = entries_of(table)
    assert (found[None, A].trial_at, found[None, B].trial_at) == (180.0, 60.0)


def test_guesses_and_declared_times_have_no_trials_to_count() -> None:
    table = Cooldowns()
    failed(table, K.RATE_LIMIT)
    failed(table, K.RATE_LIMIT, key=B, hint=30.0)
    table.suspect("w", K.SERVER, 0.0)
    before = entries_of(table)
    table.begin_trial("w", MODEL, A, 5.0)
    table.begin_trial("w", MODEL, B, 5.0)
    assert entries_of(table) == before


# ------------------------------------------------------------------ a request that is served


@pytest.mark.parametrize("kind", [kind for kind in K if REACTIONS[kind].cooldown])
@pytest.mark.parametrize("hint", [None, 50.0])
def test_a_request_that_is_served_ends_what_began_before_it(kind: FailureKind, hint: float | None) -> None:
    table = Cooldowns()
    failed(table, kind, hint=hint)
    kept_calls_waiting = only(table, 1.0).trial_at > 1.0
    assert table.served("w", MODEL, A, started=1.0, now=1.0) is kept_calls_waiting
    assert not entries_of(table)
    assert not table.served("w", MODEL, A, started=1.0, now=1.0), "there was nothing left to end"


def test_a_request_that_began_before_a_cooldown_does_not_end_it() -> None:
    """Another request, or a header of its own answer, knows better."""
    table = Cooldowns()
    failed(table, K.RATE_LIMIT, now=5.0, hint=50.0)
    assert not table.served("w", MODEL, A, started=4.0, now=4.0)
    assert only(table, 6.0).until == 55.0


def test_a_request_that_is_served_outweighs_every_check_whenever_that_was() -> None:
    table = Cooldowns()
    table.suspect("w", K.SERVER, 5.0)
    table.suspect("w", K.CREDENTIAL, 5.0, key=A)
    table.suspect("w", K.CREDENTIAL, 5.0, key=B)
    assert table.served("w", MODEL, A, started=4.0, now=4.0)
    assert set(entries_of(table, 6.0)) == {(None, B)}


def test_a_request_that_is_served_says_nothing_of_other_models_keys_and_workers() -> None:
    table = Cooldowns()
    failed(table, K.RATE_LIMIT, hint=50.0, model=OTHER)
    failed(table, K.CREDENTIAL, key=B)
    failed(table, K.MODEL_NOT_FOUND, model=OTHER)
    before = entries_of(table)
    table.served("w", MODEL, A, started=1.0, now=1.0)
    table.served("another", OTHER, B, started=1.0, now=1.0)
    assert entries_of(table) == before


# ------------------------------------------------------------------ health checks and requests of the program


def test_a_failed_check_makes_a_worker_the_last_choice_for_two_minutes() -> None:
    table = Cooldowns()
    table.suspect("w", K.STALLED, 5.0)
    cooldown = table.of_worker("w", MODEL, 5.0)
    assert cooldown == Cooldown(K.STALLED, 5.0, 5.0 + CHECK_SECONDS, 5.0, SUSPECTED)
    assert cooldown.may_be_tried(5.0)
    assert table.of_worker("w", MODEL, 5.0 + CHECK_SECONDS) is None


@pytest.mark.parametrize("hint", [None, 600.0])
def test_a_failed_check_does_not_shorten_a_cooldown_from_a_request(hint: float | None) -> None:
    """A second refusal, by a check, must not make a refused key one that everything may use."""
    table = Cooldowns()
    failed(table, K.CREDENTIAL, hint=hint)
    failed(table, K.OVERLOADED, hint=200.0)
    before = entries_of(table)
    for now in (10.0, 61.0, 100.0, 199.0):
        table.suspect("w", K.CREDENTIAL, now, key=A)
        table.suspect("w", K.CREDENTIAL, now)
        assert entries_of(table) == before


def test_a_failed_check_does_not_shorten_the_next_cooldown_in_a_row() -> None:
    table = Cooldowns()
    for now in (0.0, 900.0):
        failed(table, K.CREDENTIAL, now=now)
    table.suspect("w", K.CREDENTIAL, 2800.0, key=A)
    failed(table, K.CREDENTIAL, now=2810.0)
    assert only(table, 2810.0).until == 2810.0 + HOUR


def test_a_check_that_passed_ends_what_checks_suspected_and_what_it_disproves() -> None:
    table = Cooldowns()
    table.suspect("w", K.SERVER, 0.0)
    failed(table, K.CREDENTIAL, key=A)
    failed(table, K.CREDENTIAL, key=B)
    failed(table, K.MODEL_NOT_FOUND)
    failed(table, K.MODEL_NOT_FOUND, model=OTHER)
    assert table.check_passed("w", A, [MODEL])
    assert set(entries_of(table)) == {(None, B), (OTHER, None)}


def test_a_check_that_changed_nothing_says_so() -> None:
    """Then no waiting call is woken for it."""
    table = Cooldowns()
    assert not table.check_passed("w", A, [MODEL])
    failed(table, K.RATE_LIMIT, hint=50.0)
    assert not table.check_passed("w", A, [MODEL])


@pytest.mark.parametrize("kind", [K.QUOTA, K.RATE_LIMIT, K.PERMISSION, K.REGION, K.OVERLOADED])
def test_a_passed_check_proves_nothing_about_credit_limits_and_permissions(kind: FailureKind) -> None:
    table = Cooldowns()
    failed(table, kind, hint=100.0)
    before = entries_of(table)
    assert before
    table.check_passed("w", A, [MODEL])
    assert entries_of(table) == before


def test_a_model_that_is_listed_for_one_key_may_still_be_missing_for_another() -> None:
    table = Cooldowns()
    failed(table, K.MODEL_NOT_FOUND, key=B, more=True)
    table.check_passed("w", A, [MODEL])
    assert set(entries_of(table)) == {(MODEL, B)}
    table.check_passed("w", B, [MODEL])
    assert not entries_of(table)


def test_a_check_without_a_key_accepts_a_worker_that_needs_none() -> None:
    table = Cooldowns()
    failed(table, K.CREDENTIAL, key=None)
    assert table.check_passed("w", None)
    assert not entries_of(table)


def test_a_requested_check_ends_every_cooldown_but_a_declared_one() -> None:
    table = Cooldowns()
    for kind in (K.CREDENTIAL, K.PERMISSION, K.MODEL_NOT_FOUND, K.REGION):
        failed(table, kind)
    failed(table, K.QUOTA, key=B)
    failed(table, K.RATE_LIMIT, key=C)
    failed(table, K.RATE_LIMIT, key=C, model=OTHER, hint=50.0)
    table.lift("w")
    assert set(entries_of(table)) == {(OTHER, C)}
    table.lift("unknown")
    assert table._workers.keys() == {"w"}


# ------------------------------------------------------------------ reading


def test_the_longest_of_several_is_the_one_that_counts() -> None:
    table = Cooldowns()
    failed(table, K.MODEL_NOT_FOUND)
    failed(table, K.OVERLOADED, hint=200.0)
    assert table.of_worker("w", MODEL, 0.0) == entries_of(table)[None, None]
    assert table.of_worker("w", MODEL, 200.0) is None


def test_of_several_keys_the_first_that_may_be_used_counts() -> None:
    table = Cooldowns()
    for key, hint in ((A, 60.0), (B, 20.0), (C, 40.0)):
        failed(table, K.RATE_LIMIT, key=key, hint=hint)
    assert table.of_keys("w", MODEL, (A, B, C), 0.0) == entries_of(table)[MODEL, B]
    assert table.of_keys("w", MODEL, (A, B, C), 20.0) is None
    assert table.of_keys("w", OTHER, (A, B, C), 0.0) is None
    assert table.of_keys("unknown", MODEL, (A, B, C), 0.0) is None


def test_no_key_shows_in_the_repr_of_the_table_or_of_an_entry() -> None:
    table = Cooldowns()
    failed(table, K.CREDENTIAL)
    assert A.reveal() not in f"{table!r} {vars(table)!r} {entries_of(table)!r}"


# ------------------------------------------------------------------ memory


def test_a_sweep_forgets_what_ended_an_hour_ago_and_nothing_else() -> None:
    table = Cooldowns()
    failed(table, K.RATE_LIMIT, hint=10.0, model="one")
    failed(table, K.RATE_LIMIT, hint=20.0, model="two")
    table.sweep(10.0 + REMEMBERED_SECONDS)
    assert set(table._workers["w"]) == {("two", A)}
    table.sweep(20.0 + REMEMBERED_SECONDS)
    assert not table._workers


def test_a_removed_worker_and_a_removed_key_leave_nothing() -> None:
    table = Cooldowns()
    failed(table, K.CREDENTIAL, key=A)
    failed(table, K.CREDENTIAL, key=B)
    failed(table, K.MODEL_NOT_FOUND)
    table.keep_keys("w", [B])
    assert set(entries_of(table)) == {(None, B), (MODEL, None)}
    table.forget("w")
    table.keep_keys("w", [B])
    assert not table._workers


def test_memory_is_bounded_whatever_models_callers_name() -> None:
    table = Cooldowns()
    failed(table, K.CREDENTIAL)
    failed(table, K.OVERLOADED, hint=600.0)
    for number in range(3 * MAX_COOLDOWNS_PER_WORKER):
        failed(table, K.MODEL_NOT_FOUND, model=f"model-{number}", now=number / 1000)
    found = entries_of(table, 4.0)
    assert len(found) == MAX_COOLDOWNS_PER_WORKER
    assert {(None, A), (None, None)} <= set(found), "names of models do not crowd out keys and workers"
    assert (f"model-{3 * MAX_COOLDOWNS_PER_WORKER - 1}", None) in found


# ------------------------------------------------------------------ any sequence

keys = st.sampled_from([A, B, C, None])
models = st.sampled_from([MODEL, OTHER])
seconds = st.floats(0, 1e7, allow_nan=False)
operations = st.one_of(
    st.tuples(st.just("failed"), st.sampled_from(list(K)), st.none() | seconds, keys, models, st.booleans()),
    st.tuples(st.just("bucket"), seconds, keys, models),
    st.tuples(st.just("served"), keys, models),
    st.tuples(st.just("trial"), keys, models),
    st.tuples(st.just("suspect"), st.sampled_from(list(K)), keys),
    st.tuples(st.just("passed"), keys, st.lists(models)),
    st.tuples(st.sampled_from(["lift", "sweep", "forget"])),
)


def apply(table: Cooldowns, step: Sequence[Any], started: float, now: float) -> None:
    actions: dict[str, Callable[..., Any]] = {
        "failed": lambda kind, hint, key, model, more: failed(
            table, kind, now=now, started=started, hint=hint, key=key, model=model, more=more
        ),
        "bucket": lambda lasts, key, model: table.bucket_is_empty("w", model, key, lasts, now),
        "served": lambda key, model: table.served("w", model, key, started=started, now=started),
        "trial": lambda key, model: table.begin_trial("w", model, key, now),
        "suspect": lambda kind, key: table.suspect("w", kind, now, key=key),
        "passed": lambda key, listed: table.check_passed("w", key, listed),
        "lift": lambda: table.lift("w"),
        "sweep": lambda: table.sweep(now),
        "forget": lambda: table.forget("w"),
    }
    actions[step[0]](*step[1:])


@pytest.mark.slow
@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.floats(0, 4000), st.floats(0, 100), operations), max_size=40),
    st.none() | st.floats(0, 1e6),
)
def test_after_any_sequence_every_cooldown_has_an_end_within_an_hour(
    steps: list[tuple[float, float, Sequence[Any]]], fixed: float | None
) -> None:
    table, now = Cooldowns(fixed), 0.0
    for wait, age, step in steps:
        now += wait
        apply(table, step, now - age, now)
        for cooldown in entries_of(table, now).values():
            assert cooldown.since <= cooldown.trial_at <= cooldown.until <= cooldown.since + LONGEST_COOLDOWN
            assert cooldown.since <= now < cooldown.until
            assert cooldown.failures >= 1
        for key, model in ((A, MODEL), (B, OTHER)):
            of_key = table.of_key("w", model, key, now)
            assert of_key == table.of_keys("w", model, (key,), now)
    later = now + LONGEST_COOLDOWN
    assert not entries_of(table, later), "nothing is left an hour later"
    table.sweep(later + REMEMBERED_SECONDS)
    assert not table._workers


@pytest.mark.slow
@settings(max_examples=200)
@given(st.lists(st.tuples(st.floats(0, 400), st.floats(0, 100), operations), max_size=30), keys, models)
def test_after_any_sequence_a_later_success_ends_the_cooldown(
    steps: list[tuple[float, float, Sequence[Any]]], key: ApiKey | None, model: str
) -> None:
    table, now = Cooldowns(), 0.0
    for wait, age, step in steps:
        now += wait
        apply(table, step, now - age, now)
    table.served("w", model, key, started=now + 1.0, now=now + 1.0)
    assert table.of_worker("w", model, now + 2.0) is None
    assert table.of_key("w", model, key, now + 2.0) is None
