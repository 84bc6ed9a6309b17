"""Which workers are asked, in which order, and why the others are not."""

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from cortex_trio import Failure, FailureKind, WorkerConfig
from cortex_trio.gateway.routing.eligibility import Criteria, is_local
from cortex_trio.gateway.routing.index import WorkerIndex
from cortex_trio.gateway.routing.selection import Conditions, Evaluation, evaluate_all, explain
from cortex_trio.gateway.routing.strategies import STRATEGIES
from cortex_trio.gateway.transport.connections import Connections
from cortex_trio.gateway.workers.breaker import IN_A_ROW
from cortex_trio.gateway.workers.cooldowns import Cooldowns
from cortex_trio.gateway.workers.endpoint import Endpoint
from cortex_trio.gateway.workers.worker import Permit, Refusal, WorkerState
from cortex_trio.messages import ChatRequest, Document, File, Image, Message, Text, Tool, ToolResult
from cortex_trio.otp import Ref

K = FailureKind


def worker(name: str, provider: str = "openai", **fields: Any) -> WorkerState:
    keyless = provider in ("ollama", "openai_compatible")
    config = WorkerConfig(provider=provider, **{"api_keys": () if keyless else (f"{name}-key",), **fields})
    return WorkerState(name, Endpoint(config, Connections(config)), Ref(name))


def fail(
    cooldowns: Cooldowns,
    state: WorkerState,
    kind: FailureKind,
    *,
    now: float = 0.0,
    hint: float | None = None,
) -> None:
    """An attempt at `state`, with its first key, has failed."""
    key = next(iter(state.endpoint.keys), None)
    cooldowns.failed(state.name, state.models[0], key, Failure(kind, retry_after=hint), started=now, now=now)


def choose(
    states: Sequence[WorkerState],
    *,
    strategy: str = "priority",
    cooldowns: Cooldowns | None = None,
    now: float = 0.0,
    rng: Random | None = None,
    **criteria: Any,
) -> Evaluation:
    table = Cooldowns() if cooldowns is None else cooldowns
    for state in states:
        state.cooldowns = table
    wanted = Criteria(**criteria)
    group, conditions = WorkerIndex(states).group(wanted), Conditions(wanted, table)
    return evaluate_all(states, group, STRATEGIES[strategy], conditions, now=now, rng=rng or Random(1))


def names(evaluation: Evaluation) -> list[str]:
    return [candidate.state.name for candidate in evaluation.order]


def why_not(evaluation: Evaluation) -> dict[str, Refusal]:
    return {state.name: refusal for state, refusal in evaluation.skipped}


# ------------------------------------------------------------------ strategies


def one_of_each() -> list[WorkerState]:
    kinds = ("ollama", "cohere", "xai", "gemini", "groq", "anthropic", "openai")
    return [worker(kind, kind) for kind in kinds]


def test_by_priority_the_documented_order_comes_out() -> None:
    documented = ["openai", "anthropic", "groq", "gemini", "xai", "cohere", "ollama"]
    assert names(choose(one_of_each())) == documented


def test_a_priority_of_its_own_goes_before_its_providers_and_equals_keep_their_order() -> None:
    states = [worker("a", priority=7), worker("b", priority=7), worker("c"), worker("d", priority=0)]
    assert names(choose(states)) == ["d", "c", "a", "b"]


def test_local_first_takes_what_is_on_this_machine_and_then_by_priority() -> None:
    states = [
        worker("cloud"),
        worker("loopback", base_url="http://127.0.0.1:8080/v1", priority=90),
        worker("ollama", "ollama"),
        worker("six", base_url="http://[::1]/v1", priority=80),
    ]
    assert names(choose(states, strategy="local_first")) == ["ollama", "six", "loopback", "cloud"]


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("http://localhost:1/v1", True),
        ("http://127.8.8.8/v1", True),
        ("http://[::1]/v1", True),
        ("http://localhost.example.com/v1", False),
        ("http://10.0.0.1/v1", False),
        ("https://127.0.0.1.nip.io", False),
    ],
)
def test_local_is_the_loopback_and_nothing_that_looks_like_it(address: str, local: bool) -> None:
    assert is_local(worker("w", base_url=address)) == local


def test_round_robin_begins_one_further_each_time() -> None:
    states = [worker(name) for name in "abc"]
    index, criteria, orders = WorkerIndex(states), Criteria(), list[str]()
    group, conditions = index.group(criteria), Conditions(criteria, Cooldowns())
    for _ in range(4):
        evaluation = evaluate_all(
            states, group, STRATEGIES["round_robin"], conditions, now=0.0, rng=Random(1)
        )
        orders.append("".join(names(evaluation)))
        index.record_turn(group, evaluation.order[0])
    assert orders == ["abc", "bca", "cab", "abc"]


def test_least_used_goes_by_what_is_in_flight_and_then_by_the_total() -> None:
    states = [worker(name) for name in "abc"]
    states[0].permits.add(Permit("a", "m"))
    states[1].requests = 9
    assert names(choose(states, strategy="least_used")) == ["c", "b", "a"]


def test_random_is_fair_and_leaves_no_worker_out() -> None:
    states, rng = [worker(name) for name in "abc"], Random(5)
    orders = [names(choose(states, strategy="random", rng=rng)) for _ in range(600)]
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)
    assert min(Counter(order[0] for order in orders).values()) > 150


def test_fastest_goes_by_the_time_to_first_token_and_explores_now_and_then() -> None:
    states, rng = [worker(name) for name in "abc"], Random(5)
    for state, latency in zip(states, (0.9, 0.2, 0.5), strict=True):
        state.latency = latency
    firsts = Counter(names(choose(states, strategy="fastest", rng=rng))[0] for _ in range(1000))
    assert firsts["b"] > 900
    assert set(firsts) == {"a", "b", "c"}


def test_fastest_asks_first_a_worker_that_was_never_measured() -> None:
    states, rng = [worker(name) for name in "ab"], Random(5)
    states[0].latency = 0.1
    firsts = Counter(names(choose(states, strategy="fastest", rng=rng))[0] for _ in range(100))
    assert firsts["b"] > 80


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_orders_each_worker_once_and_none_if_there_are_none(strategy: str) -> None:
    states = one_of_each()
    assert sorted(names(choose(states, strategy=strategy))) == sorted(state.name for state in states)
    assert names(choose([], strategy=strategy)) == []


def test_a_worker_whose_keys_cool_down_on_a_guess_is_asked_last() -> None:
    states, cooldowns = [worker("a"), worker("b", "groq")], Cooldowns()
    fail(cooldowns, states[0], K.RATE_LIMIT)
    assert names(choose(states, cooldowns=cooldowns, now=1.0)) == ["b", "a"]
    assert names(choose(states, cooldowns=cooldowns, now=100.0)) == ["a", "b"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_worker_whose_check_has_failed_is_asked_last_and_never_left_out(strategy: str) -> None:
    states, cooldowns = [worker("a"), worker("b"), worker("c")], Cooldowns()
    for name in "ab":
        cooldowns.suspect(name, K.STALLED, 0.0)
    order = names(choose(states, strategy=strategy, cooldowns=cooldowns, now=1.0))
    assert order[0] == "c"
    assert sorted(order) == ["a", "b", "c"]
    assert names(choose(states[:1], strategy=strategy, cooldowns=cooldowns, now=1.0)) == ["a"]


@pytest.mark.parametrize("kind", [K.CREDENTIAL, K.QUOTA])
def test_a_worker_whose_key_was_refused_may_be_tried_after_a_minute_as_the_last(kind: FailureKind) -> None:
    states, cooldowns = [worker("a"), worker("b"), worker("c")], Cooldowns()
    fail(cooldowns, states[0], kind)
    before = choose(states, cooldowns=cooldowns, now=59.0)
    assert names(before) == ["b", "c"]
    assert why_not(before)["a"].until == 60.0
    assert names(choose(states, cooldowns=cooldowns, now=60.0)) == ["b", "c", "a"]
    cooldowns.begin_trial("a", states[0].models[0], states[0].endpoint.keys[0], 60.0)
    assert names(choose(states, cooldowns=cooldowns, now=60.0)) == ["b", "c"], "one request tries, not all"


# ------------------------------------------------------------------ names


def test_names_are_compared_whole() -> None:
    """A match of a part would send requests to other workers."""
    states = [
        worker("openai-1"),
        worker("openai", models=("gpt-4",)),
        worker("gpt", "groq", models=("gpt-4o",)),
    ]
    assert names(choose(states, worker="openai")) == ["openai"]
    assert names(choose(states, worker="open")) == []
    assert names(choose(states, provider="openai")) == ["openai-1", "openai"]
    assert names(choose(states, provider="open")) == []
    assert names(choose(states, model="gpt-4")) == ["openai"]
    assert names(choose(states, model="gpt")) == []


def test_a_model_that_is_not_configured_may_be_asked_of_a_named_worker() -> None:
    """Providers have more models than a configuration lists."""
    states = [worker("a", models=("gpt-4",)), worker("b", "groq", models=("llama",))]
    (candidate,) = choose(states, worker="a", model="gpt-99").order
    assert (candidate.state.name, candidate.model) == ("a", "gpt-99")
    assert names(choose(states, provider="groq", model="gpt-99")) == ["b"]


def test_without_a_model_the_first_of_each_worker_is_taken() -> None:
    states = [worker("a", models=("one", "two")), worker("b", "groq", models=("three",))]
    assert [candidate.model for candidate in choose(states).order] == ["one", "three"]


def test_embeddings_are_asked_of_workers_that_have_them_with_their_own_model() -> None:
    selected = choose([worker("a"), worker("c", "anthropic")], embed=True)
    assert [(c.state.name, c.model) for c in selected.order] == [("a", "text-embedding-3-small")]
    assert "embeddings" in why_not(selected)["c"].reason


# ------------------------------------------------------------------ filters


def test_each_worker_that_is_not_asked_has_a_reason() -> None:
    states, cooldowns = one_of_each(), Cooldowns()
    draining, region, missing, failing, overloaded, without_credit, well = states
    draining.draining = True
    fail(cooldowns, region, K.REGION)
    fail(cooldowns, missing, K.MODEL_NOT_FOUND)
    for _ in range(IN_A_ROW):
        failing.breaker.record(1.0, 0.0)
    failing.last_failure = K.STALLED
    fail(cooldowns, overloaded, K.OVERLOADED, hint=40.0)
    fail(cooldowns, without_credit, K.QUOTA)
    selected = choose(states, cooldowns=cooldowns, now=1.0)
    assert names(selected) == [well.name]
    assert why_not(selected) == {
        draining.name: Refusal("is being removed"),
        region.name: Refusal("cooling down after region", K.REGION, 60.0),
        missing.name: Refusal(
            f"cooling down after model_not_found (model {missing.models[0]!r})", K.MODEL_NOT_FOUND, 60.0
        ),
        failing.name: Refusal("breaker open after stalled", K.STALLED, 5.0),
        overloaded.name: Refusal("cooling down after overloaded", K.OVERLOADED, 40.0),
        without_credit.name: Refusal("its API keys are cooling down after quota", K.QUOTA, 60.0),
    }


def test_a_worker_at_its_limit_has_a_permit_later() -> None:
    state = worker("a", max_concurrency=1)
    state.permits.add(Permit("a", "m"))
    assert why_not(choose([state]))["a"] == Refusal(
        "is busy with 1 request, its limit", until_request_ends=True
    )


def test_one_model_that_is_not_there_leaves_the_others_of_the_worker() -> None:
    state, cooldowns = worker("a", models=("one", "two")), Cooldowns()
    fail(cooldowns, state, K.MODEL_NOT_FOUND)
    assert names(choose([state], cooldowns=cooldowns, model="one")) == []
    assert names(choose([state], cooldowns=cooldowns, model="two")) == ["a"]


def request(*content: Any, **fields: Any) -> ChatRequest:
    return ChatRequest(messages=(Message("user", content),), **fields)


def test_a_prompt_that_certainly_does_not_fit_is_not_sent() -> None:
    states = [
        worker("small", context_window=100),
        worker("large", context_window=10_000),
        worker("unsure", models=("x",)),
    ]
    fits, too_long = request(Text("x" * 600)), request(Text("x" * 606))
    assert set(names(choose(states, request=fits))) == {"small", "large", "unsure"}
    selected = choose(states, request=too_long)
    assert set(names(selected)) == {"large", "unsure"}
    assert "context window of 100 tokens" in why_not(selected)["small"].reason


def test_the_bytes_of_an_image_are_not_counted_as_text() -> None:
    small = worker("small", context_window=10)
    image = Image(url="https://example.com/" + "x" * 1000)
    assert names(choose([small], request=request(Text("hi"), image))) == ["small"]


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        (request(Text("hi"), tools=(Tool("f", "", {}),)), "tools"),
        (request(Image(url="https://example.com/a.png")), "images"),
        (request(ToolResult("a", (Text("x"), Image(url="https://example.com/a.png")))), "images"),
        (request(File(data=b"GIF8", media_type="image/gif")), "images"),
        (request(File(data=b"RIFF", media_type="audio/wav")), "audio"),
        (request(File(url="https://example.com/a.pdf")), "files"),
        (request(ToolResult("a", (File(id="file_1", media_type="video/mp4"),))), "files"),
        (request(Document("text")), "documents"),
        (request(Text("hi"), documents=(Document("text"),)), "documents"),
        (request(Text("hi"), reasoning="low"), "reasoning"),
        (request(Text("hi"), response_schema={}), "json"),
    ],
)
def test_a_worker_that_cannot_do_what_is_needed_is_not_asked(asked: ChatRequest, what: str) -> None:
    states = [worker("cannot", capabilities=()), worker("can", capabilities=(what,)), worker("unsure")]
    selected = choose(states, request=asked)
    assert names(selected) == ["can", "unsure"]
    assert why_not(selected)["cannot"].reason == f"cannot do {what}"


# ------------------------------------------------------------------ as text


def test_the_explanation_has_a_line_for_each_worker() -> None:
    states = [
        worker("a", models=("m",)),
        worker("b", "groq", models=("n",)),
        worker("c", "xai", models=("o",)),
    ]
    for _ in range(IN_A_ROW):
        states[1].breaker.record(1.0, 10.0)
    states[1].last_failure = K.SERVER
    selected = choose(states, now=11.5)
    assert explain(selected, 11.5).splitlines() == [
        "1. a (openai, m, priority 5)",
        "2. c (xai, o, priority 25)",
        "-  b breaker open after server, retry in 3.5 s",
    ]


def test_what_time_alone_does_not_end_is_explained_without_a_time() -> None:
    state = worker("a")
    state.draining = True
    assert explain(choose([state]), 0.0) == "-  a is being removed"
