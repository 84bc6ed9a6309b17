"""The breaker, explored exhaustively: every reachable state, and how each one ends."""

from collections import deque
from collections.abc import Iterator
from copy import copy

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_trio.gateway.workers.breaker import (
    IN_A_ROW,
    MIN_CALLS,
    OPEN_SECONDS,
    WINDOW_CALLS,
    WINDOW_SECONDS,
    Breaker,
    BreakerState,
)

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
FAILED, HALF_FAILED, SERVED, NOTHING = 1.0, 0.5, 0.0, None
WEIGHTS = (FAILED, HALF_FAILED, SERVED, NOTHING)
"""How much of a failure a request may be; None says nothing about the worker."""


def ask(breaker: Breaker, now: float, weight: float | None) -> bool:
    """One request from admission to result; False if it was not admitted."""
    if not breaker.admits(now):
        return False
    breaker.record(weight, now, trial=breaker.take(now))
    return True


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(IN_A_ROW):
        ask(breaker, now, FAILED)
    assert breaker.state(now) is OPEN
    return breaker


# ------------------------------------------------------------------ when it opens


def test_three_failures_in_a_row_open_it() -> None:
    breaker = Breaker()
    assert [ask(breaker, 0.0, FAILED) for _ in range(4)] == [True, True, True, False]


def test_a_success_in_between_resets_the_failures_in_a_row() -> None:
    breaker = Breaker()
    for weight in (FAILED, FAILED, SERVED, FAILED):
        ask(breaker, 0.0, weight)
    assert breaker.state(0.0) is CLOSED


def test_half_of_five_in_a_minute_open_it() -> None:
    breaker = Breaker()
    for weight in (FAILED, SERVED, FAILED, SERVED):
        assert ask(breaker, 0.0, weight)
    assert breaker.state(0.0) is CLOSED
    ask(breaker, 0.0, FAILED)
    assert breaker.state(0.0) is OPEN


def test_less_than_half_leaves_it_closed() -> None:
    breaker = Breaker()
    for _ in range(100):
        for weight in (FAILED, SERVED, SERVED):
            assert ask(breaker, 0.0, weight)


def test_results_older_than_the_window_do_not_count() -> None:
    breaker = Breaker()
    for at, weight in ((0.0, FAILED), (1.0, FAILED), (2.0, SERVED), (WINDOW_SECONDS + 3, FAILED)):
        ask(breaker, at, weight)
    for _ in range(3):
        ask(breaker, WINDOW_SECONDS + 3, SERVED)
    ask(breaker, WINDOW_SECONDS + 3, FAILED)
    assert breaker.state(WINDOW_SECONDS + 3) is CLOSED


def test_a_failure_that_may_be_ours_counts_half() -> None:
    breaker = Breaker()
    asked = [ask(breaker, 0.0, HALF_FAILED) for _ in range(8)]
    assert asked.count(True) in (5, 6)  # by the row, or by the rate
    assert breaker.state(0.0) is OPEN


def test_requests_that_prove_nothing_change_nothing() -> None:
    breaker = Breaker()
    for weight in (FAILED, FAILED, *[NOTHING] * 1000):
        assert ask(breaker, 0.0, weight)
    assert breaker.state(0.0) is CLOSED
    ask(breaker, 0.0, FAILED)
    assert breaker.state(0.0) is OPEN


def test_it_stays_closed_while_too_many_others_are_open() -> None:
    breaker = Breaker()
    for _ in range(20):
        breaker.record(FAILED, 0.0, may_open=False)
    assert breaker.state(0.0) is CLOSED
    breaker.record(FAILED, 0.0)
    assert breaker.state(0.0) is OPEN


# ------------------------------------------------------------------ how it comes back


def test_the_first_trial_comes_within_ten_seconds() -> None:
    breaker = opened(now=100.0)
    assert breaker.half_open_at - 100.0 <= 10
    assert not breaker.admits(breaker.half_open_at - 0.001)
    assert breaker.admits(breaker.half_open_at)


def test_a_trial_that_is_served_closes_it_and_forgets_all_failures() -> None:
    breaker = opened()
    assert ask(breaker, 5.0, SERVED)
    assert breaker.state(5.0) is CLOSED
    for weight in (FAILED, FAILED, SERVED):
        assert ask(breaker, 5.0, weight)
    assert breaker.state(5.0) is CLOSED


def test_every_trial_that_fails_doubles_the_time_up_to_a_minute() -> None:
    breaker, now, waits = opened(), 0.0, []
    for _ in range(7):
        waits.append(breaker.half_open_at - now)
        now = breaker.half_open_at
        assert ask(breaker, now, FAILED)
    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]
    ask(breaker, breaker.half_open_at, SERVED)
    again = breaker.half_open_at + 1000.0
    for _ in range(IN_A_ROW):
        ask(breaker, again, FAILED)
    assert breaker.half_open_at - again == OPEN_SECONDS[0]


def test_only_one_trial_is_lent_at_a_time() -> None:
    breaker = opened()
    assert breaker.admits(5.0)
    assert breaker.take(5.0)
    assert not breaker.admits(5.0)
    assert not breaker.admits(1e6)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_a_trial_with_content_allows_the_next_and_counts_at_its_end(
    weight: float | None,
) -> None:
    breaker = opened()
    assert breaker.take(5.0)
    breaker.release_trial()
    assert breaker.state(5.0) is HALF_OPEN
    assert breaker.take(6.0)
    assert not breaker.admits(6.0)
    breaker.record(weight, 7.0, trial=True, is_released=True)
    assert breaker.state(7.0) is {SERVED: CLOSED, NOTHING: HALF_OPEN}.get(weight, OPEN)
    assert weight is not NOTHING or not breaker.admits(7.0), "the second has no content yet"


@pytest.mark.parametrize("weight", WEIGHTS)
def test_after_any_result_of_a_trial_another_one_follows_in_time(weight: float | None) -> None:
    breaker = opened()
    assert ask(breaker, 5.0, weight)
    assert any(breaker.admits(5.0 + seconds) for seconds in range(61))


def test_a_cancelled_trial_is_free_again_at_once() -> None:
    breaker = opened()
    assert ask(breaker, 5.0, NOTHING)
    assert breaker.state(5.0) is HALF_OPEN
    assert breaker.admits(5.0)


def test_a_request_from_before_neither_closes_it_nor_takes_the_trial_away() -> None:
    breaker = opened()
    assert breaker.take(5.0)
    for weight in WEIGHTS:
        breaker.record(weight, 5.0)
        assert breaker.state(5.0) is HALF_OPEN
        assert not breaker.admits(5.0)


def test_a_passed_check_moves_the_breaker_to_half_open_only() -> None:
    breaker = opened()
    breaker.check_passed()
    assert breaker.state(0.1) is HALF_OPEN
    breaker.check_passed()
    assert breaker.state(0.1) is HALF_OPEN


def test_a_passed_check_changes_nothing_while_the_breaker_is_closed() -> None:
    breaker = Breaker()
    breaker.check_passed()
    for _ in range(IN_A_ROW):
        ask(breaker, 0.0, FAILED)
    assert breaker.state(0.0) is OPEN


def test_a_trial_after_a_probe_that_fails_opens_it_for_longer() -> None:
    breaker = opened()
    breaker.check_passed()
    ask(breaker, 1.0, FAILED)
    assert breaker.state(1.0) is OPEN
    assert breaker.half_open_at == 11.0


# ------------------------------------------------------------------ all there is


def clone(breaker: Breaker) -> Breaker:
    twin = copy(breaker)
    twin._calls = breaker._calls.copy()
    return twin


@attrs.frozen
class World:
    """A breaker, the requests it has admitted, and the time."""

    breaker: Breaker
    out: tuple[str, ...]  # of each of them: "plain", "trial", or "answered", a trial that has content
    now: float

    @property
    def key(self) -> tuple[object, ...]:
        """What can matter for what comes next, with time made relative; of the window only what trips it."""
        b = self.breaker
        since = None if b._opened is None else min(self.now - b._opened, OPEN_SECONDS[1])
        window = (
            None if b._opened is not None else (len(b._calls) >= MIN_CALLS, 2 * b._failed >= len(b._calls))
        )
        return (
            b.state(self.now),
            min(b._row, IN_A_ROW),
            b._open_for,
            b._health_check_passed,
            since,
            window,
            self.out,
        )


MOST_OUT = 2
STEPS = (0.0, 5.0, 60.0)


def end(breaker: Breaker, request: str, weight: float | None, now: float, *, may_open: bool = True) -> None:
    breaker.record(
        weight, now, trial=request != "plain", is_released=request == "answered", may_open=may_open
    )


def moves(world: World) -> Iterator[tuple[str, World]]:
    for seconds in STEPS[1:]:
        yield f"wait {seconds}", attrs.evolve(world, now=world.now + seconds)
    if len(world.out) < MOST_OUT and world.breaker.admits(world.now):
        breaker = clone(world.breaker)
        admitted = "trial" if breaker.take(world.now) else "plain"
        yield "admit", World(breaker, tuple(sorted((*world.out, admitted))), world.now)
    for index, request in enumerate(world.out):
        if request == "trial":
            breaker = clone(world.breaker)
            breaker.release_trial()
            out = (*world.out[:index], "answered", *world.out[index + 1 :])
            yield "answer", World(breaker, tuple(sorted(out)), world.now)
        for weight in WEIGHTS:
            for may_open in (True, False):
                breaker = clone(world.breaker)
                end(breaker, request, weight, world.now, may_open=may_open)
                out = world.out[:index] + world.out[index + 1 :]
                yield f"result {weight}, may_open={may_open}", World(breaker, out, world.now)
    breaker = clone(world.breaker)
    breaker.check_passed()
    yield "probe", attrs.evolve(world, breaker=breaker)


def explore(limit: int = 20_000) -> list[World]:
    """Every world that can be reached, up to `key`, breadth first; checks every step."""
    start = World(Breaker(), (), 0.0)
    seen, queue = {start.key: start}, deque([start])
    while queue:
        world = queue.popleft()
        for name, after in moves(world):
            check_step(world, name, after)
            if after.key not in seen:
                seen[after.key] = after
                queue.append(after)
        assert len(seen) < limit, "the state machine is larger than it should be"
    return list(seen.values())


def check_step(before: World, name: str, after: World) -> None:
    was, now = before.breaker.state(before.now), after.breaker.state(after.now)
    trials = after.out.count("trial")
    assert trials <= 1, "more than one trial"
    assert after.breaker._has_trial == bool(trials), "a trial that no request has, or one that is not known"
    if name == "probe":
        assert (was, now) in {(CLOSED, CLOSED), (OPEN, HALF_OPEN), (HALF_OPEN, HALF_OPEN)}
    if name.startswith("wait"):
        assert (was, now) in {(CLOSED, CLOSED), (OPEN, OPEN), (OPEN, HALF_OPEN), (HALF_OPEN, HALF_OPEN)}
    if name.startswith(f"result {NOTHING},") or name == "answer":
        assert was is now
    if now is CLOSED and was is not CLOSED:
        assert name.startswith(f"result {SERVED},")
        assert set(before.out) != {"plain"}, "closed by something that was not a trial"


@pytest.mark.slow
def test_every_reachable_state_keeps_the_rules_and_can_close_again() -> None:
    worlds = explore()
    assert {world.breaker.state(world.now) for world in worlds} == set(BreakerState)
    assert len(worlds) > 100
    for world in worlds:
        breaker, now = clone(world.breaker), world.now
        for request in world.out:  # each request ends, if only cancelled
            end(breaker, request, NOTHING, now)
        now += OPEN_SECONDS[1]
        assert breaker.admits(now), "no trial is possible, although no request has one"
        assert ask(breaker, now, SERVED)
        assert breaker.state(now) is CLOSED


@given(st.lists(st.tuples(st.floats(0, 20), st.sampled_from(WEIGHTS), st.booleans()), max_size=60))
def test_the_sum_of_the_window_is_correct(
    steps: list[tuple[float, float | None, bool]],
) -> None:
    breaker, now = Breaker(), 0.0
    for wait, weight, may_open in steps:
        now += wait
        if not breaker.admits(now):
            continue
        breaker.record(weight, now, trial=breaker.take(now), may_open=may_open)
        assert breaker._failed == sum(counted for _, counted in breaker._calls)
        if weight is not NOTHING:
            assert all(at >= now - WINDOW_SECONDS for at, _ in breaker._calls)


def test_its_memory_is_bounded_however_busy_it_is() -> None:
    breaker = Breaker()
    for _ in range(3 * WINDOW_CALLS):
        breaker.record(SERVED, 0.0)
    assert len(breaker._calls) == WINDOW_CALLS
