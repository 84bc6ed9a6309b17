"""The table of reactions is complete and says what the policy says."""

import pytest

from cortex_trio.failures import (
    PRIMARY_ORDER,
    REACTIONS,
    FailureKind,
    NextKey,
    NextWorker,
    Reaction,
    Rest,
    SameWorker,
)

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


def test_a_silent_route_is_never_asked_again() -> None:
    assert REACTIONS[K.STALLED].same_worker is SameWorker.NEVER


@pytest.mark.parametrize("kind", [K.BAD_REQUEST, K.CONTEXT_LENGTH, K.CONTENT_POLICY, K.CRASHED, K.CANCELLED])
def test_nobody_rests_for_what_is_nobodys_fault_there(kind: FailureKind) -> None:
    assert REACTIONS[kind].rest is Rest.NOTHING


def test_a_fault_of_the_worker_never_rests_a_key_and_one_of_the_key_never_a_worker() -> None:
    keys_rest = {Rest.KEY, Rest.KEY_QUOTA, Rest.KEY_MODEL, Rest.KEY_MODEL_FOR_GOOD}
    for kind, reaction in REACTIONS.items():
        assert (reaction.rest in keys_rest) == (reaction.next_key is NextKey.YES), kind


def test_a_row_is_a_value() -> None:
    row = REACTIONS[K.SERVER]
    assert row == Reaction(SameWorker.ONCE, NextKey.NO, NextWorker.YES, Rest.BREAKER)
    with pytest.raises(AttributeError):
        row.rest = Rest.NOTHING  # type: ignore[misc]
