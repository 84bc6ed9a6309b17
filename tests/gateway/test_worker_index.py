"""Choosing among many: the order is the one that sorting all would give, and no other worker is looked at."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, final, get_args

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortex_trio import Config, Failure, FailureKind, WorkerConfig, open_cortex
from cortex_trio.cli.arguments import parser
from cortex_trio.gateway.routing.eligibility import Candidate, Criteria, is_local
from cortex_trio.gateway.routing.group import SLACK, CandidateGroup, Ranking
from cortex_trio.gateway.routing.index import MAX_GROUPS, WorkerIndex
from cortex_trio.gateway.routing.selection import Conditions, Evaluation, choose, evaluate_all
from cortex_trio.gateway.routing.strategies import STRATEGIES, Group, Strategy, strategy
from cortex_trio.gateway.transport.connections import Connections
from cortex_trio.gateway.workers.cooldowns import Cooldowns
from cortex_trio.gateway.workers.endpoint import Endpoint
from cortex_trio.gateway.workers.worker import Permit, WorkerState
from cortex_trio.messages import ChatRequest, Tool, user
from cortex_trio.otp import Ref

NOT_EXPLORING = 1
"""A seed whose first number is 0.13: `fastest` explores below 0.05."""


def worker(name: str, **fields: Any) -> WorkerState:
    config = WorkerConfig(**{"provider": "openai", "api_keys": (f"{name}-key",), **fields})
    return WorkerState(name, Endpoint(config, Connections(config)), Ref(name))


@final
@attrs.define
class Chooser:
    """Chooses as one call does: iterate it for the next worker, each of them once."""

    index: WorkerIndex
    strategy: str = "priority"
    cooldowns: Cooldowns = attrs.field(factory=Cooldowns)
    criteria: Criteria = attrs.field(factory=Criteria)
    rng: Random = attrs.field(factory=lambda: Random(NOT_EXPLORING))
    tried: set[str] = attrs.field(factory=set)

    def __iter__(self) -> Iterator[Candidate]:
        return self

    def __next__(self) -> Candidate:
        group, conditions = self.index.group(self.criteria), Conditions(self.criteria, self.cooldowns)
        chosen = choose(
            group,
            STRATEGIES[self.strategy],
            conditions,
            now=0.0,
            rng=self.rng,
            is_excluded=lambda candidate: candidate.state.name in self.tried,
        )
        if chosen is None:
            raise StopIteration
        if not self.tried:
            self.index.record_turn(group, chosen)
        self.tried.add(chosen.state.name)
        return chosen

    def evaluate_all(self) -> Evaluation:
        """The whole decision, without a turn."""
        group, conditions = self.index.group(self.criteria), Conditions(self.criteria, self.cooldowns)
        strategy = STRATEGIES[self.strategy]
        return evaluate_all(self.index.workers, group, strategy, conditions, now=0.0, rng=self.rng)


def rate_limit(cooldowns: Cooldowns, state: WorkerState) -> None:
    """Its key is refused without a time: from now on it is a last resort."""
    [key] = state.endpoint.keys
    failure = Failure(FailureKind.RATE_LIMIT)
    cooldowns.failed(state.name, state.models[0], key, failure, started=0.0, now=0.0)


def names(candidates: Sequence[Candidate]) -> list[str]:
    return [candidate.state.name for candidate in candidates]


def first(index: WorkerIndex, strategy: str, **criteria: Any) -> str:
    return next(Chooser(index, strategy, criteria=Criteria(**criteria))).state.name


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


@pytest.mark.slow
@given(drawn=workers, strategy=st.sampled_from(sorted(SORTED_BY)))
def test_the_order_is_that_of_sorting_all(drawn: Sequence[dict[str, Any]], strategy: str) -> None:
    states, cooldowns = build(drawn)
    evaluation = Chooser(WorkerIndex(states), strategy, cooldowns).evaluate_all()
    well = [state for state in states if not state.draining]
    expected = sorted(sorted(well, key=SORTED_BY[strategy]), key=lambda state: is_suspect(state, cooldowns))
    assert names(evaluation.order) == [state.name for state in expected]
    assert [state.name for state, _ in evaluation.skipped] == [s.name for s in states if s.draining]


@pytest.mark.slow
@given(drawn=workers, strategy=st.sampled_from(sorted(STRATEGIES)), seed=st.integers(0, 99))
def test_each_worker_that_may_be_asked_comes_once_by_every_strategy(
    drawn: Sequence[dict[str, Any]], strategy: str, seed: int
) -> None:
    states, cooldowns = build(drawn)
    index = WorkerIndex(states)
    order = Chooser(index, strategy, cooldowns, rng=Random(seed)).evaluate_all().order
    assert sorted(names(order)) == sorted(state.name for state in states if not state.draining)
    suspects = [is_suspect(candidate.state, cooldowns) for candidate in order]
    assert suspects == sorted(suspects)
    chosen = list(Chooser(index, strategy, cooldowns, rng=Random(seed)))
    assert sorted(names(chosen)) == sorted(names(order))
    assert [is_suspect(candidate.state, cooldowns) for candidate in chosen] == suspects


@settings(max_examples=60)
@given(steps=st.lists(st.tuples(st.integers(0, 5), st.sampled_from("+-")), max_size=120))
def test_the_least_used_is_known_after_any_coming_and_going(steps: Sequence[tuple[int, str]]) -> None:
    states = [worker(f"w{number}") for number in range(6)]
    index = WorkerIndex(states)
    for number, what in steps:
        state = states[number]
        if what == "+":  # as admission does: the index learns only of what ends
            state.permits.add(Permit(state.name, "m"))
            state.requests += 1
        elif state.permits:
            state.permits.pop()
            assert index.update(state)
        least = min(states, key=lambda s: (s.in_flight, s.requests))
        assert first(index, "least_used") == least.name


def test_a_ranking_does_not_grow_with_the_requests() -> None:
    members = [Candidate(worker(name), "m") for name in "abc"]
    ranking = Ranking(members, lambda candidate: candidate.state.requests)
    for number in range(1000):
        members[number % 3].state.requests = 1000 - number
        ranking.update(number % 3)
    assert len(ranking._heap) <= 2 * len(members) + SLACK + 1
    assert next(iter(ranking)) == 0


@settings(max_examples=60)
@given(
    steps=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), st.booleans()), max_size=60),
    stops=st.integers(0, 6),
)
def test_a_ranking_is_the_sorted_order_also_when_its_iterators_are_left(
    steps: Sequence[tuple[int, int, bool]], stops: int
) -> None:
    members = [Candidate(worker(f"w{number}"), "m") for number in range(6)]
    ranking = Ranking(members, lambda candidate: candidate.state.requests)
    for number, requests, is_read in steps:
        state = members[number].state
        is_less = requests < state.requests
        state.requests = requests
        if is_less:
            ranking.update(number)
        if is_read:
            order = sorted(range(6), key=lambda position: members[position].state.requests)
            assert [position for position, _ in zip(ranking, range(stops), strict=False)] == order[:stops]
            assert list(ranking) == order


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


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_of_a_thousand_is_chosen_by_looking_at_two_at_most(strategy: str) -> None:
    states, cooldowns = [worker(f"w{number}") for number in range(1000)], Cooldowns()
    counted = cooldowns._workers = Counted()
    for state in states:
        state.cooldowns = cooldowns
    index = WorkerIndex(states)
    for number in range(50):
        counted.looked_up.clear()
        next(Chooser(index, strategy, cooldowns, rng=Random(number)))
        assert 1 <= len(counted.looked_up) <= 2  # the second one by `fastest`, when it explores


def test_the_next_of_many_costs_no_more_after_a_few_failed() -> None:
    states, cooldowns = [worker(f"w{number:02}") for number in range(1000)], Cooldowns()
    counted = cooldowns._workers = Counted()
    for state in states:
        state.cooldowns = cooldowns
    order = Chooser(WorkerIndex(states), "least_used", cooldowns)
    for number in range(5):
        counted.looked_up.clear()
        assert next(order).state is states[number]
        assert len(counted.looked_up) == 1


# ------------------------------------------------------------------ turns


def test_a_worker_that_may_not_be_asked_does_not_double_the_requests_of_the_next() -> None:
    states = [worker(name) for name in "abcd"]
    states[1].draining = True
    index = WorkerIndex(states)
    begun = Counter(first(index, "round_robin") for _ in range(300))
    assert begun == {"a": 100, "c": 100, "d": 100}


def test_each_kind_of_request_has_turns_of_its_own() -> None:
    """Two kinds in alternation would else each be served by one worker alone."""
    states = [worker(name, models=("x", "y")) for name in "ab"]
    index = WorkerIndex(states)
    begun = [(first(index, "round_robin", model="x"), first(index, "round_robin", model="y"))]
    begun += [(first(index, "round_robin", model="x"), first(index, "round_robin", model="y"))]
    assert begun == [("a", "a"), ("b", "b")]


def test_turns_go_on_where_they_were_when_a_worker_comes_or_goes() -> None:
    """Else the first would be asked by every request that follows a change, and the last by hardly any."""
    states = [worker(name) for name in "abc"]
    begun, turns = Counter[str](), 0
    for _ in range(300):
        index = WorkerIndex(states, turns)
        begun[first(index, "round_robin")] += 1
        turns = index.turns
    assert begun == {"a": 100, "b": 100, "c": 100}


def test_a_group_that_was_forgotten_does_not_begin_with_the_first_again() -> None:
    index = WorkerIndex([worker(name, models=("m",)) for name in "abc"])
    begun = Counter[str]()
    for number in range(3 * MAX_GROUPS):
        begun[first(index, "round_robin", provider="openai", model=f"m{number % (MAX_GROUPS + 1)}")] += 1
    assert max(begun.values()) < 2 * MAX_GROUPS, begun


def test_to_evaluate_an_order_takes_no_turn() -> None:
    index = WorkerIndex([worker(name) for name in "ab"])
    for _ in range(2):
        assert names(Chooser(index, "round_robin").evaluate_all().order) == ["a", "b"]
    assert first(index, "round_robin") == "a"


async def test_to_explain_a_choice_takes_no_turn() -> None:
    workers = {"a": WorkerConfig(provider="ollama"), "b": WorkerConfig(provider="ollama")}
    async with open_cortex(Config(workers=workers, strategy="round_robin")) as cortex:
        assert cortex.explain("Hi") == cortex.explain("Hi")


# ------------------------------------------------------------------ kinds of request


def test_another_configuration_needs_another_index() -> None:
    state = worker("a", models=("x",))
    index = WorkerIndex([state])
    assert index.update(state)
    config = WorkerConfig(provider="openai", api_keys=("k",), models=("y",))
    state.endpoint = Endpoint(config, Connections(config))
    assert not index.update(state)


def test_memory_is_bounded_for_any_names_that_callers_use() -> None:
    index = WorkerIndex([worker("a", capabilities=("tools",))])
    for number in range(3 * MAX_GROUPS):
        index.group(Criteria(worker="a", model=f"m{number}"))
    assert len(index._groups) <= MAX_GROUPS


def test_the_workers_that_can_do_it_are_found_once_for_each_need() -> None:
    states = [worker("no", capabilities=()), worker("yes", capabilities=("tools",))]
    index = WorkerIndex(states)
    plain = ChatRequest(messages=(user("Hi"),))
    needy = ChatRequest(messages=(user("Hi"),), tools=(Tool("f", "", {}),))
    assert first(index, "priority", request=plain) == "no"
    assert first(index, "priority", request=needy) == "yes"
    assert index.group(Criteria(request=needy)) is index.group(Criteria(request=needy))


def test_a_worker_that_became_free_between_two_steps_is_seen() -> None:
    states = [worker("a"), worker("b")]
    states[1].draining = True
    order = Chooser(WorkerIndex(states))
    assert next(order).state.name == "a"
    states[1].draining = False
    assert next(order).state.name == "b"


def test_a_worker_that_was_full_and_now_cools_down_on_a_guess_is_asked_as_the_last() -> None:
    states, cooldowns = [worker("a", max_concurrency=1), worker("b")], Cooldowns()
    states[1].requests = 1
    permit = Permit("a", "m")
    states[0].permits.add(permit)
    order = Chooser(WorkerIndex(states), "least_used", cooldowns)
    assert next(order).state.name == "b"
    states[0].permits.clear()
    rate_limit(cooldowns, states[0])
    assert next(order).state.name == "a"


def test_to_evaluate_the_whole_order_takes_no_worker_away() -> None:
    order = Chooser(WorkerIndex([worker(name) for name in "abc"]))
    assert next(order).state.name == "a"
    assert names(order.evaluate_all().order) == ["a", "b", "c"]
    assert names(list(order)) == ["b", "c"]
    assert names(order.evaluate_all().order) == ["a", "b", "c"]


def test_a_worker_that_was_skipped_is_chosen_as_soon_as_it_may_be_asked() -> None:
    states, cooldowns = [worker("a"), worker("b")], Cooldowns()
    states[0].cooldowns = cooldowns
    failure = Failure(FailureKind.OVERLOADED, retry_after=9.0)
    cooldowns.failed("a", states[0].models[0], None, failure, started=0.0, now=0.0)
    order = Chooser(WorkerIndex(states), cooldowns=cooldowns)
    assert [(state.name, why.until) for state, why in order.evaluate_all().skipped] == [("a", 9.0)]
    assert next(order).state.name == "b"
    cooldowns.forget("a")
    assert next(order).state.name == "a"


def test_an_empty_group_has_no_order() -> None:
    for order in STRATEGIES.values():
        assert list(order(CandidateGroup(()), Random(1))) == []


# ------------------------------------------------------------------ another strategy


@pytest.fixture
def added_strategy() -> Iterator[str]:
    """The name of a strategy that is added as a new function in `routing/strategies.py` would be."""

    @strategy("last_added_first")
    def last_added_first(group: Group, rng: Random) -> Iterator[int]:
        return iter(range(len(group) - 1, -1, -1))

    yield "last_added_first"
    del STRATEGIES["last_added_first"]


async def test_to_add_a_strategy_one_function_is_written(added_strategy: str) -> None:
    """The configuration, the environment and the command line know its name, and a gateway uses it."""
    environ = {
        "CORTEX_PROVIDERS": '{"first": {"provider": "ollama"}, "last": {"provider": "ollama"}}',
        "WORKER_POOL_STRATEGY": added_strategy,
    }
    config = Config.from_env(environ)
    assert config.strategy == added_strategy
    async with open_cortex(config) as cortex:
        assert cortex.explain("Hi").splitlines()[0].startswith("1. last ")
    assert parser().parse_args(["chat", "--strategy", added_strategy, "Hi"]).strategy == added_strategy


def test_type_checkers_know_every_strategy() -> None:
    assert get_args(Strategy) == tuple(STRATEGIES)
