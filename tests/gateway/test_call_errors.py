"""The error of a call without an answer: which workers were asked, why each failed, when to try again."""

from random import Random
from typing import Any

import pytest

from cortex_trio import AllWorkersFailed, Failure, FailureKind, ProviderError, WorkerConfig
from cortex_trio.gateway.request.errors import WORKERS_LISTED, all_failed, no_workers_available, reopens_after
from cortex_trio.gateway.routing.eligibility import Candidate, Criteria, current_refusal
from cortex_trio.gateway.routing.index import WorkerIndex
from cortex_trio.gateway.routing.selection import Conditions, evaluate_all
from cortex_trio.gateway.routing.strategies import priority
from cortex_trio.gateway.transport.connections import Connections
from cortex_trio.gateway.workers.cooldowns import Cooldowns
from cortex_trio.gateway.workers.endpoint import Endpoint
from cortex_trio.gateway.workers.worker import Refusal, WorkerState
from cortex_trio.otp import Ref


def worker(name: str, provider: str, *, opens_in: float | None = None, **fields: Any) -> WorkerState:
    config = WorkerConfig(provider=provider, api_keys=(f"{name}-key-0001",), **fields)
    state = WorkerState(name, Endpoint(config, Connections(config)), Ref(name))
    if opens_in is not None:
        failure = Failure(FailureKind.OVERLOADED, retry_after=opens_in)
        state.cooldowns.failed(name, state.models[0], None, failure, started=0.0, now=0.0)
    return state


def error_of(*states: WorkerState, **names: Any) -> tuple[str, float | None]:
    """The text of the error and its `retry_after`."""
    criteria = Criteria(**names)
    group, conditions = WorkerIndex(states).group(criteria), Conditions(criteria, Cooldowns())
    evaluation = evaluate_all(states, group, priority, conditions, now=0.0, rng=Random(1))
    error = no_workers_available(states, criteria, evaluation.skipped, 0.0)
    return str(error), error.retry_after


COOLING = "cooling down after overloaded, retry in"


def test_all_workers_are_listed_if_none_was_named() -> None:
    first, second = worker("a", "openai", opens_in=20.0), worker("b", "groq", opens_in=10.0)
    assert error_of(first, second) == (f"no worker available: a: {COOLING} 20.0 s; b: {COOLING} 10.0 s", 10.0)


@pytest.mark.parametrize("names", [{"worker": "a"}, {"provider": "openai"}, {"model": "the-one"}])
def test_only_the_workers_that_were_named_are_listed(names: dict[str, str]) -> None:
    """The reasons and times of other workers do not answer the question."""
    named = worker("a", "openai", models=["the-one"], opens_in=20.0)
    others = [worker(f"other-{number}", "groq", opens_in=1.0) for number in range(3)]
    assert error_of(named, *others, **names) == (f"no worker available: a: {COOLING} 20.0 s", 20.0)


def test_names_that_do_not_go_together_are_explained_for_each_worker() -> None:
    text, retry_after = error_of(worker("a", "openai"), worker("b", "groq"), worker="a", provider="groq")
    assert text == "no worker available: a: is not of the provider 'groq'; b: is not the worker 'a'"
    assert retry_after is None


def test_the_error_for_an_unknown_name_lists_the_known_names() -> None:
    assert error_of(worker("a", "openai"), worker("b", "groq"), worker="c") == (
        "there is no worker 'c'; there are: a, b",
        None,
    )


def test_a_worker_without_embeddings_is_listed_if_it_was_named() -> None:
    text, _ = error_of(worker("a", "anthropic"), worker("b", "openai"), provider="anthropic", embed=True)
    assert text == "no worker available: a: has no default model for embeddings"


def test_a_long_list_of_workers_is_cut_and_says_so() -> None:
    many = [worker(f"w{number:03}", "openai", opens_in=20.0) for number in range(300)]
    text, retry_after = error_of(*many)
    assert text.count(COOLING) == WORKERS_LISTED
    assert text.endswith("; and 290 more")
    assert retry_after == 20.0


def test_a_long_list_of_names_is_cut_and_says_so() -> None:
    many = [worker(f"w{number:03}", "openai", models=[f"model-{number}"]) for number in range(300)]
    text, _ = error_of(*many, model="x" * 10_000)
    assert len(text) < 500
    assert text.endswith("and 290 more")


def test_a_worker_that_refused_twice_is_listed_once() -> None:
    state = worker("a", "openai")
    reasons = [(state, Refusal("first")), (state, Refusal("second"))]
    assert str(no_workers_available([state], Criteria(), reasons, 0.0)) == "no worker available: a: second"


def test_without_workers_the_error_says_that_there_are_none() -> None:
    assert error_of() == ("no worker available: there are none", None)


# ------------------------------------------------------------------ after attempts


def failed(kind: FailureKind, name: str = "a", **fields: Any) -> ProviderError:
    return ProviderError(Failure(kind, **fields), name)


def test_one_failure_is_raised_as_it_is() -> None:
    error = failed(FailureKind.SERVER)
    assert all_failed([error], (), None) is error


def test_of_several_failures_the_one_that_says_most_is_the_primary_one() -> None:
    errors = [
        failed(FailureKind.SERVER),
        failed(FailureKind.CREDENTIAL, "b"),
        failed(FailureKind.CONNECTION, "c"),
    ]
    error = all_failed(errors, (), 7.0)
    assert isinstance(error, AllWorkersFailed)
    assert (error.primary, error.retry_after) == (errors[1], 7.0)


def test_a_failure_that_ended_the_call_is_the_primary_one() -> None:
    errors = [failed(FailureKind.CREDENTIAL), failed(FailureKind.CONTENT_POLICY, "b")]
    error = all_failed(errors, (), None)
    assert isinstance(error, AllWorkersFailed)
    assert error.primary is errors[1]


def test_a_bad_request_is_raised_alone() -> None:
    errors = [failed(FailureKind.SERVER), failed(FailureKind.BAD_REQUEST, "b")]
    assert all_failed(errors, (), None) is errors[1]


def reopens(*states: WorkerState) -> float | None:
    candidates = [Candidate(state, state.models[0]) for state in states]
    return reopens_after(candidates, lambda c, now: current_refusal(c, c.state.cooldowns, now), 0.0)


def test_retry_after_is_the_first_time_at_which_a_worker_may_be_asked() -> None:
    states = worker("a", "openai", opens_in=20.0), worker("b", "groq", opens_in=10.0)
    assert reopens(*states) == 10.0
    assert reopens(worker("c", "groq")) is None


def test_the_message_names_ten_workers_however_many_failed() -> None:
    errors = [failed(FailureKind.CONNECTION, f"worker-{number}") for number in range(300)]
    error = all_failed(errors, (), None)
    assert "300 attempts failed" in str(error)
    assert "worker-9 and 290 more" in str(error)
    assert len(str(error)) < 400


def test_a_default_model_for_embeddings_is_known_though_no_configuration_lists_it() -> None:
    text, retry_after = error_of(
        worker("a", "openai", opens_in=20.0), model="text-embedding-3-small", embed=True
    )
    assert (text, retry_after) == (f"no worker available: a: {COOLING} 20.0 s", 20.0)
    assert (
        "there is no model 'gpt-nothing'"
        in error_of(worker("a", "openai"), model="gpt-nothing", embed=True)[0]
    )
