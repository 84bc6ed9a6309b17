"""`embed` returns the vectors as a value, with model, worker, token counts and attempts."""

import json
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
from at_rest import gateway, worker_of

from cortex_trio import (
    ConfigError,
    Embeddings,
    InvalidRequest,
    NoWorkersAvailable,
    Usage,
    WorkerConfig,
)
from cortex_trio.failures import FailureKind
from cortex_trio.providers import PROVIDERS
from cortex_trio.simulator import Behaviour, SimRequest, SimulatedProvider, open_simulator

PROVIDERS_WITH_EMBEDDINGS = ("openai", "openai_responses", "gemini", "cohere", "ollama")


def texts_of(request: SimRequest) -> list[str]:
    """The texts in a request in the dialect of OpenAI."""
    return list(request.body["input"])


@pytest.mark.parametrize("name", PROVIDERS_WITH_EMBEDDINGS)
async def test_the_result_says_who_made_it(autojump_clock: object, name: str) -> None:
    async with open_simulator() as sim:
        sim.add("first", Behaviour(error=FailureKind.OVERLOADED), provider=name)
        sim.add("second", provider=name)
        async with gateway(sim) as cortex:
            result = await cortex.embed(["cat", "dog"])
    assert isinstance(result, Embeddings)
    assert isinstance(result, Sequence)
    assert (result.worker, result.provider, result.model) == ("second", name, PROVIDERS[name].embed_model)
    assert [attempt.worker for attempt in result.attempts][-1] == "second"
    assert result.attempts[0].failure is not None
    assert result.call == result.attempts[0].call is not None


@pytest.mark.parametrize("name", PROVIDERS_WITH_EMBEDDINGS)
async def test_the_tokens_of_the_request_are_reported(autojump_clock: object, name: str) -> None:
    async with open_simulator() as sim:
        sim.add(name)
        async with gateway(sim) as cortex:
            result = await cortex.embed(["three short tokens", "a"])
    assert result.usage.input_tokens
    assert result.attempts[0].usage == result.usage


@pytest.mark.parametrize(
    ("name", "file", "tokens"),
    [
        ("openai", "openai/embeddings_float.json", 111),
        ("openai", "openai/embeddings_dimensions.json", 5),
        ("gemini", "gemini/batch_embed_contents.json", 8),
        ("cohere", "cohere/v2_embed_2026.json", 3),
        ("ollama", "ollama/embed_nomic.json", 4),
    ],
)
def test_the_tokens_of_recorded_responses_are_read(
    shared_dir: Path, name: str, file: str, tokens: int
) -> None:
    found = PROVIDERS[name].dialect.decode_embed((shared_dir / "wire/recordings" / file).read_bytes())
    assert getattr(found, "usage", None) == Usage(input_tokens=tokens, total_tokens=tokens)


@pytest.mark.parametrize(
    "usage", ["null", "{}", "[]", "7", '{"prompt_tokens":"many"}', '{"prompt_tokens":-1}']
)
async def test_a_count_that_is_none_is_unknown_and_the_vectors_arrive(
    autojump_clock: object, usage: str
) -> None:
    body = f'{{"data":[{{"index":0,"embedding":[1.0]}}],"usage":{usage}}}'.encode()
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(body=body))
        async with gateway(sim) as cortex:
            result = await cortex.embed("a")
    assert list(result) == [[1.0]]
    assert result.usage == Usage()


async def test_a_long_list_goes_in_requests_of_the_configured_size_and_is_summed(
    autojump_clock: object,
) -> None:
    texts = [f"text {number}" for number in range(40)]
    async with open_simulator() as sim:
        provider = sim.add("openai")
        async with gateway(sim, workers={"openai": worker_of(provider, embed_batch=1)}) as cortex:
            result = await cortex.embed(texts)
            single = await cortex.embed(texts[-1])
    assert len(provider.requests) == 41
    assert [texts_of(request) for request in provider.requests[:2]] == [["text 0"], ["text 1"]]
    assert result[-1] == single[0]
    assert len(result) == len(result.vectors) == 40
    assert result.usage.input_tokens == sum(
        attempt.usage.input_tokens or 0 for attempt in result.attempts if attempt.usage
    ) + 8 * (single.usage.input_tokens or 0)  # 32 records of attempts are kept


async def test_the_smallest_batch_of_the_workers_that_may_be_asked_counts(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        first, second = sim.add("first", provider="openai"), sim.add("second", provider="openai")
        workers = {"first": worker_of(first, embed_batch=3), "second": worker_of(second, embed_batch=2)}
        async with gateway(sim, workers=workers) as cortex:
            await cortex.embed(["a"] * 6)
    sizes = [len(texts_of(request)) for request in (*first.requests, *second.requests)]
    assert sizes == [2, 2, 2]


async def test_the_models_for_embeddings_are_configured_for_each_worker(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        plain, own = sim.add("plain", provider="openai"), sim.add("own", provider="openai")
        workers = {
            "plain": worker_of(plain, priority=2),
            "own": worker_of(own, priority=1, embed_models=["embed-1", "embed-2"]),
        }
        async with gateway(sim, workers=workers) as cortex:
            assert (await cortex.embed("a")).model == "embed-1"
            second = await cortex.embed("a", model="embed-2")
            default = await cortex.embed("a", model="text-embedding-3-small")
            with pytest.raises(NoWorkersAvailable, match="embed-2"):
                await cortex.embed("a", model="embed-3")
            with pytest.raises(NoWorkersAvailable, match="there is no model 'embed-1'"):
                await cortex.complete("Hi", model="embed-1")
    assert (second.worker, second.model) == ("own", "embed-2")
    assert default.worker == "plain"


async def test_a_provider_without_a_default_model_for_embeddings_can_be_given_one(
    autojump_clock: object,
) -> None:
    async with open_simulator() as sim:
        provider = sim.add("vllm", provider="openai_compatible", models=["m-1"])
        async with gateway(sim) as cortex:
            with pytest.raises(NoWorkersAvailable, match="no default model for embeddings"):
                await cortex.embed("a")
        async with gateway(sim, workers={"vllm": worker_of(provider, embed_models="e-1")}) as cortex:
            assert (await cortex.embed("a")).model == "e-1"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("embed_batch", 0),
        ("embed_batch", 1.5),
        ("embed_batch", True),
        ("embed_models", 3),
        ("embed_models", [""]),
        ("embed_models", ["sk-proj-abcdefghijklmnopqrstuvwxyz123456"]),
    ],
)
def test_a_wrong_setting_is_named(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field):
        WorkerConfig(provider="openai", api_keys=("sk-1",), **{field: value})  # type: ignore[arg-type]


async def test_a_batch_above_the_limit_of_the_dialect_is_refused_before_anything_is_sent(
    autojump_clock: object,
) -> None:
    async with open_simulator() as sim:
        provider = sim.add("cohere")
        async with gateway(sim, workers={"cohere": worker_of(provider, embed_batch=500)}) as cortex:
            with pytest.raises(InvalidRequest, match="96 texts"):
                await cortex.embed(["a"] * 97)
    assert provider.requests == []


# ------------------------------------------------------------------ the value


def embeddings(**changes: object) -> Embeddings:
    made = Embeddings([[0.5, 1.0], [2.0, 3.0]], "e-1", "openai", "openai", Usage(2), ())
    return attrs.evolve(made, **changes)  # type: ignore[arg-type]


def test_it_is_a_sequence_of_its_vectors() -> None:
    value = embeddings()
    first, second = value
    assert (first, second) == (value[0], value[-1]) == ([0.5, 1.0], [2.0, 3.0])
    assert value[1:] == [[2.0, 3.0]]
    assert len(value) == 2
    assert [0.5, 1.0] in value
    assert json.dumps(list(value)) == "[[0.5, 1.0], [2.0, 3.0]]"
    assert list(reversed(value)) == [[2.0, 3.0], [0.5, 1.0]]


def test_it_is_equal_to_its_vectors_and_to_one_with_the_same_fields() -> None:
    value = embeddings()
    assert value == [[0.5, 1.0], [2.0, 3.0]]
    assert value == embeddings(call="another")
    assert value != embeddings(model="e-2")
    assert value != [[0.5, 1.0]]
    assert value != "e-1"


def test_it_is_frozen_and_its_repr_is_short() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        embeddings().model = "e-2"  # type: ignore[misc]
    assert "<2 vectors>" in repr(embeddings())
    assert "0.5" not in repr(embeddings())


async def test_a_dialect_of_your_own_may_return_plain_lists(autojump_clock: object) -> None:
    sound = PROVIDERS["openai"].dialect

    class Plain:
        name = "plain"
        encode, decoder, decode_reply = sound.encode, sound.decoder, sound.decode_reply
        encode_embed, decode_models = sound.encode_embed, sound.decode_models

        def decode_embed(self, body: bytes) -> Sequence[Sequence[float]]:
            return [list(vector) for vector in sound.decode_embed(body)]

    async with open_simulator() as sim:
        provider: SimulatedProvider = sim.add("openai")
        own = attrs.evolve(PROVIDERS["openai"], name="own", dialect=Plain())
        worker = attrs.evolve(worker_of(provider), provider=own)
        async with gateway(sim, workers={"own": worker}) as cortex:
            result = await cortex.embed("a")
    assert len(result) == 1
    assert result.usage == Usage()
