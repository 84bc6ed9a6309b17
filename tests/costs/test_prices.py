"""What one request costs: the arithmetic, your own table, and the list of genai-prices."""

import pickle
import sys
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from cortex_trio import Attempt, Config, ConfigError, Failure, FailureKind, Price, Usage, WorkerConfig
from cortex_trio.costs import Priced, Spending, cost_of, load_prices
from cortex_trio.costs.price_list import MOST_MODELS, PROVIDER_IDS, listed_price
from cortex_trio.providers import PROVIDERS

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
MILLION = 1_000_000
WORKER = WorkerConfig(provider="openai", api_keys=("sk-1",))


def priced(model: str = "m-1", **changes: Any) -> Priced:
    return attrs.evolve(Priced("w", "openai_compatible", model, "http://localhost:8000/v1", NOW), **changes)


def attempt(usage: Usage | None, cost: float | None, *, failed: bool = False) -> Attempt:
    failure = Failure(FailureKind.TRUNCATED) if failed else None
    return Attempt(1, "w", "openai", "m-1", None, failure, 1.0, None, usage, cost=cost)


# ------------------------------------------------------------------ the arithmetic


def test_tokens_cost_what_a_million_of_them_costs() -> None:
    assert Price(2.0, 10.0).cost(Usage(MILLION, MILLION)) == 12.0
    assert Price(2.0, 10.0).cost(Usage(500, 100)) == pytest.approx(0.002)


def test_cached_and_written_tokens_have_prices_of_their_own() -> None:
    usage = Usage(1000, 0, cached_input_tokens=600, cache_write_tokens=300)
    assert Price(1.0, 0, 0.1, 1.25).cost(usage) == pytest.approx((100 + 60 + 375) / MILLION)
    assert Price(1.0, 0).cost(usage) == pytest.approx(1000 / MILLION)
    assert Price(1.0, 0, cached_input=0.0).cost(usage) == pytest.approx(400 / MILLION)


def test_reasoning_is_a_part_of_the_output() -> None:
    assert Price(0, 1.0).cost(Usage(0, 50, reasoning_tokens=40)) == pytest.approx(50 / MILLION)


def test_what_one_side_reported_is_priced() -> None:
    assert Price(1.0, 2.0).cost(Usage(input_tokens=10)) == pytest.approx(10 / MILLION)
    assert Price(1.0, 2.0).cost(Usage(output_tokens=10)) == pytest.approx(20 / MILLION)


@pytest.mark.parametrize("usage", [Usage(), Usage(total_tokens=5), Usage(cached_input_tokens=3)])
def test_without_counts_of_either_side_the_cost_is_unknown(usage: Usage) -> None:
    assert Price(1.0, 2.0).cost(usage) is None


def test_a_free_model_costs_nothing_which_is_known() -> None:
    assert Price(0, 0).cost(Usage(10, 10)) == 0.0


@pytest.mark.parametrize(
    "usage",
    [
        Usage(10, 0, cached_input_tokens=30),
        Usage(10, 0, cache_write_tokens=30),
        Usage(10, 0, cached_input_tokens=8, cache_write_tokens=8),
    ],
)
def test_counts_that_do_not_add_up_are_never_paid_twice(usage: Usage) -> None:
    assert Price(1.0, 0).cost(usage) == pytest.approx(10 / MILLION)


@pytest.mark.parametrize("wrong", [-1, -0.001, float("nan"), float("inf"), 10**400, True, "1", None])
@pytest.mark.parametrize("field", ["input", "output"])
def test_a_wrong_number_is_refused_and_named(field: str, wrong: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{field}: US dollars per million tokens"):
        Price(**{"input": 1.0, "output": 1.0, field: wrong})


@pytest.mark.parametrize("wrong", [-1, float("nan"), "1", False])
@pytest.mark.parametrize("field", ["cached_input", "cache_write"])
def test_a_wrong_price_of_cached_tokens_is_refused_and_named(field: str, wrong: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{field}: "):
        Price(1.0, 1.0, **{field: wrong})


def test_a_price_is_a_frozen_value() -> None:
    price = Price(1.0, 2.0)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        price.input = 3.0  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(price)) == price == Price(1, 2)
    assert hash(price) == hash(Price(1, 2))


# ------------------------------------------------------------------ your own table


def test_your_own_price_wins_and_the_one_of_a_worker_wins_over_that() -> None:
    usage, prices = Usage(MILLION, 0), {"gpt-4o": Price(7, 7), "cheap/gpt-4o": Price(3, 3)}
    request = priced("gpt-4o", provider="openai", address="https://api.openai.com/v1")
    assert cost_of(usage, request, prices) == 7.0
    assert cost_of(usage, attrs.evolve(request, worker="cheap"), prices) == 3.0


def test_a_model_that_is_in_no_table_has_no_known_price() -> None:
    assert cost_of(Usage(10, 10), priced("our-model"), {}) is None
    assert cost_of(Usage(10, 10), priced("our-model"), {"our-model-2": Price(1, 1)}) is None
    assert cost_of(None, priced("m-1"), {"m-1": Price(1, 1)}) is None
    assert cost_of(Usage(), priced("m-1"), {"m-1": Price(1, 1)}) is None


def test_prices_are_read_from_mappings() -> None:
    table: Any = {"m-1": {"input": 1, "output": 2, "cache_write": 3}, "m-2": Price(1, 1)}
    config = Config(workers={"openai": WORKER}, prices=table)
    assert config.prices == {"m-1": Price(1, 2, None, 3), "m-2": Price(1, 1)}
    assert Config(workers={"openai": WORKER}).prices == {}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"m-1": {"input": -1, "output": 2}}, r"^prices\.m-1\.input: .*not -1"),
        ({"m-1": {"input": 1}}, r"^prices\.m-1\.output: .*needed"),
        (
            {"m-1": {"input": 1, "output": 2, "cached": 1}},
            r"^prices\.m-1\.cached: unknown; allowed are input",
        ),
        ({"m-1": {"inptu": 1, "output": 2}}, r"^prices\.m-1\.inptu: .*did you mean input"),
        ({"m-1": 3}, r"^prices\.m-1: an object with input, .* not int"),
        ({"claude-sonnet-4-5-20250929": {"input": "1", "output": 2}}, r"claude-sonnet-4-5-20250929\.input"),
        ({"": Price(1, 1)}, r"^prices: a model is a non-empty str"),
        ({7: Price(1, 1)}, r"^prices: a model is a non-empty str"),
        ([Price(1, 1)], r"^prices: an object of models and prices is needed, not list"),
        (None, r"^prices: .*not NoneType"),
    ],
)
def test_a_mistake_in_the_table_names_its_place(table: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Config(workers={"openai": WORKER}, prices=table)


# ------------------------------------------------------------------ the list


def price_of(provider: str, model: str, tokens: int = 1000, address: str = "") -> Price | None:
    return listed_price(provider, model, address or PROVIDERS[provider].base_url, tokens, NOW)


USAGES = [
    Usage(1000, 100),
    Usage(1000, 100, cached_input_tokens=500, cache_write_tokens=100),
    Usage(600_000, 2000, cached_input_tokens=300_000),
    Usage(0, 0),
    Usage(2_000_000, 0, reasoning_tokens=0),
]
MODELS = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-6.1-terra"),
    ("openai_responses", "gpt-5.4"),
    ("openai", "text-embedding-3-small"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-sonnet-5-5"),
    ("gemini", "gemini-2.5-pro"),
    ("gemini", "gemini-embedding-001"),
    ("groq", "llama-3.3-70b-versatile"),
    ("cohere", "command-a-03-2025"),
    ("cohere", "embed-v4.0"),
    ("xai", "grok-4"),
]


@pytest.mark.parametrize(("provider", "model"), MODELS)
@pytest.mark.parametrize("usage", USAGES)
def test_ours_is_the_price_that_genai_prices_calculates(provider: str, model: str, usage: Usage) -> None:
    genai_prices = pytest.importorskip("genai_prices")
    theirs = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cached_input_tokens,
            cache_write_tokens=usage.cache_write_tokens,
        ),
        model,
        provider_id=PROVIDER_IDS[provider],
        genai_request_timestamp=NOW,
    )
    request = priced(model, provider=provider, address=PROVIDERS[provider].base_url)
    assert cost_of(usage, request, {}) == pytest.approx(float(theirs.total_price))


def test_the_address_says_whose_price_it_is() -> None:
    pytest.importorskip("genai_prices")
    address = "https://openrouter.ai/api/v1"
    routed = price_of("openai_compatible", "openai/gpt-4o", address=address)
    assert routed is not None
    assert price_of("openai", "openai/gpt-4o", address=address) == routed
    assert price_of("openai_compatible", "gpt-4o", address="http://10.0.0.7:8000/v1") is None
    behind_a_proxy = price_of("openai", "gpt-4o", address="http://proxy.internal/v1")
    assert behind_a_proxy == price_of("openai", "gpt-4o") is not None


@pytest.mark.parametrize(
    ("provider", "model"), [("openai", "no-such-model"), ("ollama", "qwen3:4b"), ("own", "x")]
)
def test_what_the_list_does_not_have_is_unknown(provider: str, model: str) -> None:
    assert price_of(provider, model, address="http://localhost:11434") is None


def test_without_the_package_only_your_own_prices_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "genai_prices"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert load_prices() is False
    assert price_of("openai", "gpt-4o") is None
    request = priced("gpt-4o", provider="openai")
    assert cost_of(Usage(MILLION, 0), request, {}) is None
    assert cost_of(Usage(MILLION, 0), request, {"gpt-4o": Price(2, 2)}) == 2.0


def test_any_number_of_names_takes_little_memory() -> None:
    pytest.importorskip("genai_prices")
    from cortex_trio.costs import price_list

    for number in range(60):
        assert price_of("openai", f"no-such-model-{number}") is None
    assert len(price_list._MODELS._known) <= MOST_MODELS


def test_a_list_that_is_broken_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("genai_prices")
    from genai_prices import data_snapshot

    class Broken:
        def find_provider(self, *_: object) -> object:
            raise AttributeError("another version")

    broken: Any = Broken()
    monkeypatch.setattr(data_snapshot, "_custom_snapshot", broken)
    assert price_of("openai", "gpt-4o") is None


# ------------------------------------------------------------------ several attempts


def test_attempts_cost_what_they_reported() -> None:
    cut = attempt(Usage(10, 3), 0.25, failed=True)
    refused = attempt(None, None, failed=True)
    spending = Spending.of([cut, refused, attempt(Usage(10, 5), 0.5)])
    assert (spending.cost, spending.usage, spending.unpriced) == (0.75, Usage(20, 8), 0)


def test_one_unknown_price_makes_the_sum_unknown() -> None:
    spending = Spending.of([attempt(Usage(10, 5), 0.5), attempt(Usage(1, 1), None, failed=True)])
    assert (spending.cost, spending.known, spending.unpriced) == (None, 0.5, 1)


def test_an_answer_without_counts_has_an_unknown_cost() -> None:
    assert Spending.of([attempt(None, None)]).cost is None
    assert Spending.of([attempt(Usage(), None)]).cost is None
    assert Spending.of([attempt(Usage(1, 1), 0.5, failed=True), attempt(None, None)]).cost is None


def test_nothing_reported_is_unknown_and_not_0() -> None:
    assert Spending.of([]).cost is None
    assert Spending.of([attempt(None, None, failed=True)]).cost is None
    assert Spending.of([attempt(Usage(), None, failed=True)]).cost is None
    assert Spending.of([attempt(Usage(1, 1), 0.0)]).cost == 0.0
