"""Choosing among many: the order is the one that sorting all would give, and no other worker is looked at."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortex_trio import Failure, FailureKind, WorkerConfig
from cortex_trio.gateway.routing.index import KINDS_KNOWN, Roster, Selection
from cortex_trio.gateway.routing.selection import Candidate, Selected, Wanted
from cortex_trio.gateway.routing.strategies import ONE_BY_ONE, STRATEGIES, Group, Ranking, is_local
from cortex_trio.gateway.transport.connections import Connections
from cortex_trio.gateway.workers.cooldowns import Cooldowns
from cortex_trio.gateway.workers.endpoint import Endpoint
from cortex_trio.gateway.workers.worker import Permit, WorkerState
from cortex_trio.messages import ChatRequest, Tool, user
from cortex_trio.otp import Ref


def worker(name: str, **fields: Any) -> WorkerState:
    config = WorkerConfig(**{"provider": "openai", "api_keys": (f"{name}-key",), **fields})
    return WorkerState(name, Endpoint(config, Connections(config)), Ref(name))


def take(
    roster: Roster, strategy: str = "priority", cooldowns: Cooldowns | None = None, **wanted: Any
) -> Selection:
    table = Cooldowns() if cooldowns is None else cooldowns
    return roster.select(Wanted(**wanted), strategy=strategy, cooldowns=table, clock=lambda: 0.0)


def rate_limit(cooldowns: Cooldowns, state: WorkerState) -> None:
    """Its key is refused without a time: from now on it is the last choice."""
    [key] = state.endpoint.keys
    failure = Failure(FailureKind.RATE_LIMIT)
    cooldowns.failed(state.name, state.models[0], key, failure, started=0.0, now=0.0)


def names(candidates: Sequence[Candidate]) -> list[str]:
    return [candidate.state.name for candidate in candidates]


def first(roster: Roster, strategy: str, **wanted: Any) -> str:
    return next(take(roster, strategy, **wanted)).state.name


# ------------------------------------------------------------------ the same as sorting all

SORTED_BY: dict[str, Callable[[WorkerState], Any]] = {
    "priority": lambda state: state.priority,
    "local_first": lambda state: (not is_local(state), state.priority),
    "least_used": lambda state: (state.in_flight, state.requests),
    "fastest": lambda state: state.latency or 0.0,
}

workers = st.lists(
    st.fixed_dictionaries(
        {
            "priority": st.integers(0, 3),
            "local": st.booleans(),
            "in_flight": st.integers(0, 3),
            "requests": st.integers(0, 3),
            "latency": st.none() | st.floats(0, 2),
            "is_well": st.booleans(),
            "suspect": st.booleans(),
        }
    ),
    max_size=12,
)


def build(drawn: Sequence[dict[str, Any]]) -> tuple[list[WorkerState], Cooldowns]:
    states, cooldowns = [], Cooldowns()
    for number, facts in enumerate(drawn):
        address = {"base_url": "http://localhost:1/v1"} if facts["local"] else {}
        state = worker(f"w{number}", priority=facts["priority"], **address)
        state.permits.update(Permit(state.name, "m") for _ in range(facts["in_flight"]))
        state.requests, state.latency = facts["requests"], facts["latency"]
        state.draining, state.cooldowns = not facts["is_well"], cooldowns
        states.append(state)
        if facts["suspect"]:
            rate_limit(cooldowns, state)
    return states, cooldowns


def is_suspect(state: WorkerState, cooldowns: Cooldowns) -> bool:
    return cooldowns.of_keys(state.name, state.models[0], state.endpoint.keys, 0.0) is not None


@given(drawn=workers, strategy=st.sampled_from(sorted(SORTED_BY)))
def test_the_order_is_that_of_sorting_all(drawn: Sequence[dict[str, Any]], strategy: str) -> None:
    states, cooldowns = build(drawn)
    random.seed(1)  # draws 0.13: no worker is explored
    selected = take(Roster(states), strategy, cooldowns).whole()
    well = [state for state in states if not state.draining]
    expected = sorted(sorted(well, key=SORTED_BY[strategy]), key=lambda state: is_suspect(state, cooldowns))
    assert names(selected.order) == [state.name for state in expected]
    assert [state.name for state, _ in selected.skipped] == [s.name for s in states if s.draining]


@given(drawn=workers, strategy=st.sampled_from(sorted(STRATEGIES)), seed=st.integers(0, 99))
def test_each_worker_that_may_be_asked_comes_once_by_every_strategy(
    drawn: Sequence[dict[str, Any]], strategy: str, seed: int
) -> None:
    states, cooldowns = build(drawn)
    random.seed(seed)
    order = take(Roster(states), strategy, cooldowns).whole().order
    assert sorted(names(order)) == sorted(state.name for state in states if not state.draining)
    suspects = [is_suspect(candidate.state, cooldowns) for candidate in order]
    assert suspects == sorted(suspects)


@settings(max_examples=60)
@given(steps=st.lists(st.tuples(st.integers(0, 5), st.sampled_from("+-")), max_size=120))
def test_the_least_used_is_known_after_any_coming_and_going(steps: Sequence[tuple[int, str]]) -> None:
    states = [worker(f"w{number}") for number in range(6)]
    roster = Roster(states)
    for number, what in steps:
        state = states[number]
        if what == "+":  # as admission does: more use is found out, less is told
            state.permits.add(Permit(state.name, "m"))
            state.requests += 1
        elif state.permits:
            state.permits.pop()
            assert roster.note(state)
        least = min(states, key=lambda s: (s.in_flight, s.requests))
        assert first(roster, "least_used") == least.name


def test_a_ranking_does_not_grow_with_the_requests() -> None:
    members = [Candidate(worker(name), "m") for name in "abc"]
    ranking = Ranking(members, lambda state: state.requests)
    for number in range(1000):
        members[number % 3].state.requests = 1000 - number
        ranking.touch(members[number % 3].state)
    assert len(ranking._heap) <= 2 * len(members) + 17
    assert ranking.least(lambda place: True) == 0


# ------------------------------------------------------------------ no other worker is looked at


class Counted(dict[str, Any]):
    """The table of all workers, which counts the workers that were looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_up: set[str] = set()

    def __contains__(self, worker: object) -> bool:
        self.looked_up.add(str(worker))
        return super().__contains__(worker)

    def get(self, worker: str, default: Any = None) -> Any:
        self.looked_up.add(worker)
        return super().get(worker, default)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_of_a_thousand_is_chosen_by_looking_at_two_at_most(strategy: str) -> None:
    states, cooldowns = [worker(f"w{number}") for number in range(1000)], Cooldowns()
    counted = cooldowns._workers = Counted()
    for state in states:
        state.cooldowns = cooldowns
    roster = Roster(states)
    for _ in range(50):
        counted.looked_up.clear()
        next(take(roster, strategy, cooldowns))
        assert 1 <= len(counted.looked_up) <= 2  # the second one by `fastest`, when it explores


def test_the_next_of_many_costs_no_more_after_a_few_failed() -> None:
    states = [worker(f"w{number:02}") for number in range(40)]
    assert len(states) > 2 * ONE_BY_ONE
    order = take(Roster(states), "least_used")
    assert names(list(order)) == [state.name for state in states]


# ------------------------------------------------------------------ turns


def test_a_worker_that_may_not_be_asked_does_not_double_the_requests_of_the_next() -> None:
    states = [worker(name) for name in "abcd"]
    states[1].draining = True
    roster = Roster(states)
    begun = Counter(first(roster, "round_robin") for _ in range(300))
    assert begun == {"a": 100, "c": 100, "d": 100}


def test_each_kind_of_request_has_turns_of_its_own() -> None:
    """Two kinds in alternation would else each be served by one worker alone."""
    states = [worker(name, models=("x", "y")) for name in "ab"]
    roster = Roster(states)
    begun = [(first(roster, "round_robin", model="x"), first(roster, "round_robin", model="y"))]
    begun += [(first(roster, "round_robin", model="x"), first(roster, "round_robin", model="y"))]
    assert begun == [("a", "a"), ("b", "b")]


def test_turns_go_on_where_they_were_when_a_worker_comes_or_goes() -> None:
    """Else the first would be asked by every request that follows a change, and the last by hardly any."""
    states = [worker(name) for name in "abc"]
    begun, selections = Counter[str](), 0
    for _ in range(300):
        roster = Roster(states, selections)
        begun[first(roster, "round_robin")] += 1
        selections = roster.selections
    assert begun == {"a": 100, "b": 100, "c": 100}


def test_a_kind_that_was_forgotten_does_not_begin_with_the_first_again() -> None:
    roster = Roster([worker(name, models=("m",)) for name in "abc"])
    begun = Counter[str]()
    for number in range(3 * KINDS_KNOWN):
        begun[first(roster, "round_robin", provider="openai", model=f"m{number % (KINDS_KNOWN + 1)}")] += 1
    assert max(begun.values()) < 2 * KINDS_KNOWN, begun


def test_to_explain_an_order_takes_no_turn() -> None:
    roster = Roster([worker(name) for name in "ab"])
    for _ in range(2):
        looked = roster.peek(Wanted(), strategy="round_robin", cooldowns=Cooldowns(), clock=lambda: 0.0)
        assert names(looked.order) == ["a", "b"]
    assert first(roster, "round_robin") == "a"


# ------------------------------------------------------------------ kinds of request


def test_another_configuration_needs_another_roster() -> None:
    state = worker("a", models=("x",))
    roster = Roster([state])
    assert roster.note(state)
    config = WorkerConfig(provider="openai", api_keys=("k",), models=("y",))
    state.endpoint = Endpoint(config, Connections(config))
    assert not roster.note(state)


def test_memory_is_bounded_whatever_names_callers_use() -> None:
    roster = Roster([worker("a", capabilities=("tools",))])
    for number in range(3 * KINDS_KNOWN):
        roster.group(Wanted(worker="a", model=f"m{number}"))
    assert len(roster._groups) <= KINDS_KNOWN


def test_the_workers_that_can_do_it_are_found_once_for_each_need() -> None:
    states = [worker("no", capabilities=()), worker("yes", capabilities=("tools",))]
    roster = Roster(states)
    plain = ChatRequest(messages=(user("Hi"),))
    needy = ChatRequest(messages=(user("Hi"),), tools=(Tool("f", "", {}),))
    assert first(roster, "priority", request=plain) == "no"
    assert first(roster, "priority", request=needy) == "yes"
    assert roster.group(Wanted(request=needy)) is roster.group(Wanted(request=needy))


def test_a_worker_that_became_free_between_two_steps_is_seen() -> None:
    states = [worker("a"), worker("b")]
    states[1].draining = True
    order = take(Roster(states))
    assert next(order).state.name == "a"
    states[1].draining = False
    assert next(order).state.name == "b"


def test_a_worker_that_was_full_and_now_cools_down_on_a_guess_is_asked_as_the_last() -> None:
    states, cooldowns = [worker("a", max_concurrency=1), worker("b")], Cooldowns()
    states[1].requests = 1
    permit = Permit("a", "m")
    states[0].permits.add(permit)
    order = take(Roster(states), "least_used", cooldowns)
    assert next(order).state.name == "b"
    states[0].permits.clear()
    rate_limit(cooldowns, states[0])
    assert next(order).state.name == "a"


def test_to_look_at_the_whole_decision_takes_no_worker_away() -> None:
    order = take(Roster([worker(name) for name in "abc"]))
    assert next(order).state.name == "a"
    assert names(order.whole().order) == ["a", "b", "c"]
    assert names(list(order)) == ["b", "c"]
    assert names(order.whole().order) == ["a", "b", "c"]


def test_the_reasons_of_workers_that_were_passed_over_are_kept() -> None:
    states, cooldowns = [worker("a"), worker("b")], Cooldowns()
    states[0].cooldowns = cooldowns
    failure = Failure(FailureKind.OVERLOADED, retry_after=9.0)
    cooldowns.failed("a", states[0].models[0], None, failure, started=0.0, now=0.0)
    order = take(Roster(states), cooldowns=cooldowns)
    assert next(order).state.name == "b"
    cooldowns.forget("a")
    whole: Selected = order.whole()
    assert [(state.name, why.until) for state, why in whole.skipped] == [("a", 9.0)]


def test_an_empty_group_has_no_order() -> None:
    for order in STRATEGIES.values():
        assert list(order(Group(()), lambda place: True)) == []
