"""How soon and how often: full jitter, and a budget that an outage cannot exceed."""

from hypothesis import given
from hypothesis import strategies as st

from cortex_trio.gateway.retries import (
    BACKOFF_SECONDS,
    BUDGET_MOST,
    BUDGET_PER_SECOND,
    BUDGET_SHARE,
    RetryBudget,
    backoff,
)


def test_pauses_double_up_to_four_seconds() -> None:
    assert [backoff(retry, 1.0) for retry in range(7)] == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


@given(st.integers(0, 100), st.floats(0, 1))
def test_a_pause_is_somewhere_between_nothing_and_the_most(retry: int, chance: float) -> None:
    assert 0 <= backoff(retry, chance) <= BACKOFF_SECONDS[1]


def test_an_outage_is_not_made_a_storm_of() -> None:
    """1,000 requests a second that all fail and all would like to be repeated, for a minute."""
    budget, repeated = RetryBudget(), 0
    for number in range(60_000):
        now = number / 1000
        budget.request(now)
        repeated += budget.take(now)
    assert repeated <= BUDGET_MOST + 60_000 * BUDGET_SHARE + 60 * BUDGET_PER_SECOND
    assert repeated >= 60_000 * BUDGET_SHARE


def test_a_quiet_gateway_may_always_repeat_a_little() -> None:
    budget = RetryBudget()
    while budget.take(0.0):
        pass
    assert not budget.take(0.3)
    assert budget.take(0.34)
    assert not budget.take(0.34)


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=50))
def test_the_budget_neither_grows_beyond_its_size_nor_goes_below_nothing(
    steps: list[tuple[float, bool]],
) -> None:
    budget, now = RetryBudget(), 0.0
    for wait, is_request in steps:
        now += wait
        if is_request:
            budget.request(now)
        else:
            budget.take(now)
    taken = 0
    while budget.take(now):
        taken += 1
    assert taken <= BUDGET_MOST
