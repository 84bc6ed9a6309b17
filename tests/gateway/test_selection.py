"""Who is asked, in which order, and why the others are not."""

import math
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from cortex_trio import Failure, FailureKind, WorkerConfig
from cortex_trio.gateway.breaker import IN_A_ROW, Verdict
from cortex_trio.gateway.keys import KeyRing, Lease
from cortex_trio.gateway.roster import Roster, Selection
from cortex_trio.gateway.selection import Selected, Wanted, explain
from cortex_trio.gateway.strategies import STRATEGIES, is_local
from cortex_trio.gateway.transport import Connections
from cortex_trio.gateway.worker import Permit, Refusal, WorkerState
from cortex_trio.messages import ChatRequest, Document, Image, Message, Text, Tool
from cortex_trio.otp import Ref

K = FailureKind


def worker(name: str, provider: str = "openai", **fields: Any) -> WorkerState:
    keyless = provider in ("ollama", "openai_compatible")
    config = WorkerConfig(provider=provider, **{"api_keys": () if keyless else (f"{name}-key",), **fields})
    return WorkerState(name, config, Connections(config), Ref(name))


def ring_of(states: Sequence[WorkerState]) -> KeyRing:
    ring = KeyRing()
    for state in states:
        ring.set_keys(state.name, state.config.api_keys)
    return ring


def choose(
    states: Sequence[WorkerState],
    *,
    strategy: str = "priority",
    ring: KeyRing | None = None,
    now: float = 0.0,
    **wanted: Any,
) -> Selected:
    used = ring or ring_of(states)
    return Roster(states).peek(Wanted(**wanted), strategy=strategy, ring=used, clock=lambda: now)


def take(roster: Roster, ring: KeyRing, strategy: str, **wanted: Any) -> Selection:
    return roster.select(Wanted(**wanted), strategy=strategy, ring=ring, clock=lambda: 0.0)


def names(selected: Selected) -> list[str]:
    return [candidate.state.name for candidate in selected.order]


def why_not(selected: Selected) -> dict[str, Refusal]:
    return {state.name: refusal for state, refusal in selected.skipped}


# ------------------------------------------------------------------ strategies


def everybody() -> list[WorkerState]:
    kinds = ("ollama", "cohere", "xai", "gemini", "groq", "anthropic", "openai")
    return [worker(kind, kind) for kind in kinds]


def test_by_priority_the_documented_order_comes_out() -> None:
    documented = ["openai", "anthropic", "groq", "gemini", "xai", "cohere", "ollama"]
    assert names(choose(everybody())) == documented


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
    roster, ring = Roster(states), ring_of(states)
    begun = [names(take(roster, ring, "round_robin").whole()) for _ in range(4)]
    assert ["".join(order) for order in begun] == ["abc", "bca", "cab", "abc"]


def test_least_used_goes_by_what_is_in_flight_and_then_by_the_total() -> None:
    states = [worker(name) for name in "abc"]
    states[0].permits.add(Permit("a", "m"))
    states[1].requests = 9
    assert names(choose(states, strategy="least_used")) == ["c", "b", "a"]


def test_random_is_fair_and_leaves_nobody_out() -> None:
    random.seed(5)
    states = [worker(name) for name in "abc"]
    orders = [names(choose(states, strategy="random")) for _ in range(600)]
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)
    assert min(Counter(order[0] for order in orders).values()) > 150


def test_fastest_goes_by_the_time_to_first_token_and_looks_around_now_and_then() -> None:
    random.seed(5)
    states = [worker(name) for name in "abc"]
    for state, latency in zip(states, (0.9, 0.2, 0.5), strict=True):
        state.latency = latency
    firsts = Counter(names(choose(states, strategy="fastest"))[0] for _ in range(1000))
    assert firsts["b"] > 900
    assert set(firsts) == {"a", "b", "c"}


def test_fastest_asks_first_who_was_never_measured() -> None:
    random.seed(5)
    states = [worker(name) for name in "ab"]
    states[0].latency = 0.1
    firsts = Counter(names(choose(states, strategy="fastest"))[0] for _ in range(100))
    assert firsts["b"] > 80


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_orders_everybody_exactly_once_and_bears_nobody(strategy: str) -> None:
    states = everybody()
    assert sorted(names(choose(states, strategy=strategy))) == sorted(state.name for state in states)
    assert names(choose([], strategy=strategy)) == []


def test_whose_keys_rest_on_a_guess_is_asked_last() -> None:
    states = [worker("a"), worker("b", "groq")]
    ring = ring_of(states)
    lease = Lease("a", states[0].models[0])
    ring.lend(lease, 0.0)
    lease.failure, lease.settled = Failure(K.RATE_LIMIT), True
    ring.report(lease, 0.0)
    assert names(choose(states, ring=ring, now=1.0)) == ["b", "a"]
    assert names(choose(states, ring=ring, now=100.0)) == ["a", "b"]


# ------------------------------------------------------------------ names


def test_names_are_compared_whole() -> None:
    """A part of a name would send traffic to strangers."""
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


def test_a_model_of_ones_own_may_be_asked_of_whom_one_names() -> None:
    """Providers have more models than a configuration lists."""
    states = [worker("a", models=("gpt-4",)), worker("b", "groq", models=("llama",))]
    (candidate,) = choose(states, worker="a", model="gpt-99").order
    assert (candidate.state.name, candidate.model) == ("a", "gpt-99")
    assert names(choose(states, provider="groq", model="gpt-99")) == ["b"]


def test_without_a_model_the_first_of_each_is_taken() -> None:
    states = [worker("a", models=("one", "two")), worker("b", "groq", models=("three",))]
    assert [candidate.model for candidate in choose(states).order] == ["one", "three"]


def test_embeddings_are_asked_of_whom_has_them_with_their_own_model() -> None:
    selected = choose([worker("a"), worker("c", "anthropic")], embed=True)
    assert [(c.state.name, c.model) for c in selected.order] == [("a", "text-embedding-3-small")]
    assert "embeddings" in why_not(selected)["c"].reason


# ------------------------------------------------------------------ filters


def test_everybody_who_is_not_asked_has_a_reason() -> None:
    states = everybody()
    draining, region, missing, failing, unwell, full = states[:6]
    draining.draining = True
    region.region_blocked = True
    missing.model_rests[missing.models[0]] = K.MODEL_NOT_FOUND
    for _ in range(IN_A_ROW):
        failing.breaker.record(Verdict.FAILED, 0.0)
    failing.last_failure = K.STALLED
    unwell.region_blocked = True
    ring = ring_of(states)
    lease = Lease(full.name, full.models[0])
    ring.lend(lease, 0.0)
    lease.failure, lease.settled = Failure(K.QUOTA), True
    ring.report(lease, 0.0)
    selected = choose(states, ring=ring, now=1.0)
    assert names(selected) == [states[6].name]
    reasons = why_not(selected)
    assert reasons[draining.name].reason == "is being removed"
    assert reasons[region.name].kind is K.REGION
    assert "has no model" in reasons[missing.name].reason
    assert reasons[failing.name] == Refusal("is failing (stalled)", K.STALLED, 5.0)
    assert reasons[full.name] == Refusal("has no key to use (quota)", K.QUOTA, 900.0)


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
        (request(Document("text")), "documents"),
        (request(Text("hi"), documents=(Document("text"),)), "documents"),
        (request(Text("hi"), reasoning="low"), "reasoning"),
        (request(Text("hi"), response_schema={}), "json"),
    ],
)
def test_who_cannot_do_what_is_needed_is_not_asked(asked: ChatRequest, what: str) -> None:
    states = [worker("cannot", capabilities=()), worker("can", capabilities=(what,)), worker("unsure")]
    selected = choose(states, request=asked)
    assert names(selected) == ["can", "unsure"]
    assert why_not(selected)["cannot"].reason == f"cannot do {what}"


# ------------------------------------------------------------------ in words


def test_the_explanation_has_a_line_for_everybody() -> None:
    states = [
        worker("a", models=("m",)),
        worker("b", "groq", models=("n",)),
        worker("c", "xai", models=("o",)),
    ]
    for _ in range(IN_A_ROW):
        states[1].breaker.record(Verdict.FAILED, 10.0)
    states[1].last_failure = K.SERVER
    selected = choose(states, now=11.5)
    assert explain(selected, 11.5).splitlines() == [
        "1. a (openai, m, priority 5)",
        "2. c (xai, o, priority 25)",
        "-  b is failing (server), for another 3.5 s",
    ]


def test_what_time_alone_does_not_cure_is_told_without_a_time() -> None:
    state = worker("a")
    state.region_blocked = True
    assert why_not(choose([state]))["a"].until == math.inf
    assert explain(choose([state]), 0.0) == "-  a does not serve this region"
