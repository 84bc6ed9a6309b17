"""The table of reactions is complete and says what the policy says."""

import pytest

from cortex_trio.failures import (
    LONGEST_COOLDOWN,
    PRIMARY_ORDER,
    REACTIONS,
    CooldownRule,
    Failure,
    FailureKind,
    NextKey,
    NextWorker,
    Reaction,
    SameWorker,
    Scope,
    official_sdks_retry,
    same_worker_of,
)

DOUBLING = (60, 120, 240, 480, 960, 1920, 3600)
QUARTER_HOUR = (900, 1800, 3600)

K = FailureKind


def test_every_kind_has_a_row() -> None:
    assert set(REACTIONS) == set(K)


def test_every_kind_has_one_place_in_the_order_of_importance() -> None:
    assert sorted(PRIMARY_ORDER) == sorted(K)


def test_the_order_of_importance_is_the_policys() -> None:
    promised = (K.BAD_REQUEST, K.CONTENT_POLICY, K.CREDENTIAL, K.QUOTA, K.RATE_LIMIT, K.OVERLOADED, K.SERVER)
    assert sorted(promised, key=PRIMARY_ORDER.index) == [*promised]


def kinds(condition: str, value: object) -> set[FailureKind]:
    return {kind for kind, reaction in REACTIONS.items() if getattr(reaction, condition) is value}


def test_only_a_key_that_was_the_trouble_is_exchanged() -> None:
    """Rotating on a server's error burns every key."""
    assert kinds("next_key", NextKey.YES) == {K.CREDENTIAL, K.PERMISSION, K.QUOTA, K.RATE_LIMIT}
    assert kinds("next_key", NextKey.ONCE) == {K.MODEL_NOT_FOUND}


def test_only_the_callers_own_faults_end_the_call() -> None:
    assert kinds("next_worker", NextWorker.NO) == {K.BAD_REQUEST, K.CONTENT_POLICY, K.CANCELLED}
    assert kinds("next_worker", NextWorker.LARGER) == {K.CONTEXT_LENGTH}


def test_a_silent_worker_is_not_asked_again_in_the_same_call() -> None:
    assert REACTIONS[K.STALLED].same_worker is SameWorker.NEVER


# ------------------------------------------------------------------ what cools down


@pytest.mark.parametrize(
    ("kind", "scope", "seconds", "trial_seconds"),
    [
        (K.CREDENTIAL, Scope.KEY, QUARTER_HOUR, DOUBLING),
        (K.QUOTA, Scope.KEY, QUARTER_HOUR, DOUBLING),
        (K.PERMISSION, Scope.KEY_MODEL, DOUBLING, DOUBLING),
        (K.RATE_LIMIT, Scope.KEY_MODEL, (10, 30, 60, 120), (0,)),
        (K.MODEL_NOT_FOUND, Scope.MODEL, DOUBLING, DOUBLING),
        (K.REGION, Scope.WORKER, DOUBLING, DOUBLING),
    ],
)
def test_a_cooldown_has_the_scope_and_the_times_of_the_policy(
    kind: FailureKind, scope: Scope, seconds: tuple[float, ...], trial_seconds: tuple[float, ...]
) -> None:
    assert REACTIONS[kind].cooldown == CooldownRule(scope, seconds, trial_seconds)


def test_no_other_kind_has_a_cooldown_of_its_own() -> None:
    with_cooldown = {kind for kind in K if REACTIONS[kind].cooldown}
    assert with_cooldown == {
        K.CREDENTIAL,
        K.QUOTA,
        K.PERMISSION,
        K.RATE_LIMIT,
        K.MODEL_NOT_FOUND,
        K.REGION,
    }


@pytest.mark.parametrize("kind", [kind for kind in K if REACTIONS[kind].cooldown])
def test_every_cooldown_ends_within_an_hour_and_never_shrinks(kind: FailureKind) -> None:
    rule = REACTIONS[kind].cooldown
    assert rule is not None
    assert max(rule.seconds) <= LONGEST_COOLDOWN == 3600
    assert list(rule.seconds) == sorted(rule.seconds)
    assert list(rule.trial_seconds) == sorted(rule.trial_seconds)
    assert rule.trial_seconds[0] in (0, 60), "a refusal is tried after a minute; a guess is only asked last"


@pytest.mark.parametrize("kind", [K.BAD_REQUEST, K.CONTEXT_LENGTH, K.CONTENT_POLICY, K.CRASHED, K.CANCELLED])
def test_a_failure_that_is_not_the_providers_counts_against_nothing(kind: FailureKind) -> None:
    assert (REACTIONS[kind].cooldown, REACTIONS[kind].weight) == (None, 0)


def test_a_fault_of_the_worker_takes_no_key_away_and_one_of_the_key_no_worker() -> None:
    for kind, reaction in REACTIONS.items():
        rule = reaction.cooldown
        of_key = rule is not None and rule.scope in (Scope.KEY, Scope.KEY_MODEL)
        assert of_key == (reaction.next_key is NextKey.YES), kind
        assert not (rule and reaction.weight), f"{kind} would count twice"


def test_the_breaker_counts_faults_of_the_worker_and_halves_what_may_be_ours() -> None:
    weights = {kind: reaction.weight for kind, reaction in REACTIONS.items() if reaction.weight}
    whole = (K.OVERLOADED, K.SERVER, K.CONNECTION, K.STALLED, K.PROTOCOL, K.TRUNCATED, K.EMPTY)
    assert weights == {**dict.fromkeys(whole, 1), K.EDGE: 0.5, K.UNKNOWN: 0.5}


# ------------------------------------------------------------------ the same worker again


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Failure(K.SERVER, status=500), SameWorker.ONCE),
        (Failure(K.SERVER, status=500, should_retry=False), SameWorker.NEVER),
        (Failure(K.UNKNOWN, status=404), SameWorker.NEVER),
        (Failure(K.UNKNOWN, status=404, should_retry=True), SameWorker.ONCE),
        (Failure(K.UNKNOWN, status=408), SameWorker.ONCE),
        (Failure(K.UNKNOWN, status=409), SameWorker.ONCE),
        (Failure(K.UNKNOWN, status=425), SameWorker.ONCE),
        (Failure(K.UNKNOWN, status=409, should_retry=False), SameWorker.NEVER),
        (Failure(K.STALLED, status=408), SameWorker.NEVER),
        (Failure(K.CREDENTIAL, status=401, should_retry=True), SameWorker.NEVER),  # by another key
        (Failure(K.RATE_LIMIT, status=429), SameWorker.AFTER_COOLDOWN),
    ],
)
def test_a_status_or_the_providers_own_word_decides_whether_the_worker_is_asked_again(
    failure: Failure, expected: SameWorker
) -> None:
    assert same_worker_of(failure) is expected


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Failure(K.CONNECTION), True),
        (Failure(K.TRUNCATED), True),
        (Failure(K.RATE_LIMIT, status=429), True),
        (Failure(K.OVERLOADED, status=529), True),
        (Failure(K.SERVER, status=500), True),
        (Failure(K.EDGE, status=502), True),
        (Failure(K.UNKNOWN, status=408), True),
        (Failure(K.UNKNOWN, status=409), True),
        (Failure(K.UNKNOWN, status=425), True),
        (Failure(K.STALLED), False),
        (Failure(K.UNKNOWN, status=404), False),
        (Failure(K.EDGE, status=403), False),
        (Failure(K.CREDENTIAL, status=401), False),
        (Failure(K.BAD_REQUEST, status=400), False),
        (Failure(K.SERVER, status=500, should_retry=False), False),
        (Failure(K.BAD_REQUEST, status=400, should_retry=True), True),
    ],
)
def test_what_the_official_sdks_ask_again_is_asked_again(failure: Failure, expected: bool) -> None:
    assert official_sdks_retry(failure) is expected


def test_a_row_is_a_value() -> None:
    row = REACTIONS[K.SERVER]
    assert row == Reaction(SameWorker.ONCE, NextKey.NO, NextWorker.YES, weight=1)
    with pytest.raises(AttributeError):
        row.weight = 0  # type: ignore[misc]
