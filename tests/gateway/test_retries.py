"""How soon and how often: full jitter, and a budget that an outage cannot exceed."""

from hypothesis import given
from hypothesis import strategies as st

from cortex_trio.gateway.routing.retries import (
    BACKOFF_SECONDS,
    BUDGET_MOST,
    BUDGET_PER_SECOND,
    BUDGET_SHARE,
    SDK_BACKOFF_SECONDS,
    RetryBudget,
    backoff,
    sdk_backoff,
)


def test_pauses_double_up_to_four_seconds() -> None:
    assert [backoff(retry, 1.0) for retry in range(7)] == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


@given(st.integers(0, 100), st.floats(0, 1))
def test_a_pause_is_somewhere_between_nothing_and_the_most(retry: int, chance: float) -> None:
    assert 0 <= backoff(retry, chance) <= BACKOFF_SECONDS[1]


def takes(budget: RetryBudget, now: float) -> bool:
    """Take one retry out if the budget allows it now."""
    ready = budget.ready_in(now) == 0
    if ready:
        budget.take(now)
    return ready


def test_an_outage_is_not_made_a_storm_of() -> None:
    """1,000 requests a second that all fail and all would like to be repeated, for a minute."""
    budget, repeated = RetryBudget(), 0
    for number in range(60_000):
        now = number / 1000
        budget.request(now)
        repeated += takes(budget, now)
    assert repeated <= BUDGET_MOST + 60_000 * BUDGET_SHARE + 60 * BUDGET_PER_SECOND
    assert repeated >= 60_000 * BUDGET_SHARE


def test_a_quiet_gateway_may_always_repeat_a_little() -> None:
    budget = RetryBudget()
    while takes(budget, 0.0):
        pass
    assert not takes(budget, 0.3)
    assert takes(budget, 0.34)
    assert not takes(budget, 0.34)


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
            takes(budget, now)
    taken = 0
    while takes(budget, now):
        taken += 1
    assert taken <= BUDGET_MOST


def test_a_retry_that_is_taken_in_advance_delays_the_next() -> None:
    budget = RetryBudget()
    for _ in range(int(BUDGET_MOST) + 2):
        budget.take(0.0)
    assert budget.ready_in(0.0) == 3 / BUDGET_PER_SECOND
    assert budget.ready_in(0.5) == 1.5 / BUDGET_PER_SECOND
    assert budget.ready_in(1.0) == 0


def test_the_pauses_of_the_sdks_are_as_published() -> None:
    assert [sdk_backoff(retry, 0.0) for retry in range(6)] == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    assert sdk_backoff(0, 0.999) > 0.75 * SDK_BACKOFF_SECONDS[0]
