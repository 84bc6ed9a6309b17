"""Embeddings and lists of models, from the user's call to the provider and back: simulated, and as recorded."""

import json
import struct
from base64 import b64decode
from pathlib import Path
from typing import Any

import attrs
import pytest
from at_rest import gateway, worker_of

from cortex_trio import InvalidRequest, NoWorkersAvailable, ProviderError
from cortex_trio.failures import FailureKind
from cortex_trio.providers import PROVIDERS
from cortex_trio.simulator import Behaviour, open_simulator

WITH_EMBEDDINGS = ("openai", "openai_responses", "gemini", "cohere", "ollama")
WITHOUT = ("anthropic", "groq", "xai", "xai_responses")


@pytest.mark.parametrize("name", WITH_EMBEDDINGS)
async def test_every_text_gets_its_vector_in_order(autojump_clock: object, name: str) -> None:
    async with open_simulator() as sim:
        provider = sim.add(name)
        async with gateway(sim) as cortex:
            cat, dog, again = await cortex.embed(["cat", "dog", "cat"])
            [alone] = await cortex.embed("cat")
        assert cat == again == alone != dog
        assert len(provider.requests) == 2
        assert (
            PROVIDERS[name].embed_model in json.dumps(provider.requests[0].body) + provider.requests[0].path
        )


@pytest.mark.parametrize("name", WITH_EMBEDDINGS)
async def test_vectors_have_as_many_dimensions_as_were_asked_for(autojump_clock: object, name: str) -> None:
    async with open_simulator() as sim:
        sim.add(name)
        async with gateway(sim) as cortex:
            vectors = await cortex.embed(["a", "b"], dimensions=5)
    assert [len(vector) for vector in vectors] == [5, 5]


@pytest.mark.parametrize("name", WITH_EMBEDDINGS)
async def test_embeddings_fail_over_like_chats_to_who_has_the_same_model(
    autojump_clock: object, name: str
) -> None:
    async with open_simulator() as sim:
        failing = sim.add("first", Behaviour(error=FailureKind.OVERLOADED), provider=name)
        serving = sim.add("second", provider=name)
        async with gateway(sim) as cortex:
            assert len(await cortex.embed(["a", "b"])) == 2
        assert failing.requests
        assert len(serving.requests) == 1


async def test_vectors_of_two_models_are_never_mixed(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(error=FailureKind.OVERLOADED))
        other = sim.add("cohere")
        async with gateway(sim, max_attempts=1) as cortex:
            with pytest.raises(ProviderError, match="overloaded"):
                await cortex.embed("a")
            assert await cortex.embed("a", provider="cohere")
        assert len(other.requests) == 1


@pytest.mark.parametrize("name", WITHOUT)
async def test_who_has_no_embeddings_is_passed_over_with_a_reason(autojump_clock: object, name: str) -> None:
    async with open_simulator() as sim:
        without, _ = sim.add(name), sim.add("openai")
        async with gateway(sim) as cortex:
            assert await cortex.embed("a")
            with pytest.raises(NoWorkersAvailable, match=f"{name}.*has no default model for embeddings"):
                await cortex.embed("a", provider=name)
        assert without.requests == []


async def test_a_server_without_a_default_for_embeddings_is_asked_with_the_model(
    autojump_clock: object,
) -> None:
    async with open_simulator() as sim:
        server = sim.add("openai_compatible", models=["chat-1", "embed-1"])
        async with gateway(sim) as cortex:
            assert len(await cortex.embed(["a", "b"], model="embed-1")) == 2
            with pytest.raises(NoWorkersAvailable, match="has no default model for embeddings"):
                await cortex.embed("a")
        assert [request.body["model"] for request in server.requests] == ["embed-1"]


@pytest.mark.parametrize(("name", "most"), [("cohere", 96), ("gemini", 100)])
async def test_a_list_longer_than_a_provider_takes_goes_in_several_requests(
    autojump_clock: object, name: str, most: int
) -> None:
    texts = [f"text {number}" for number in range(most + 1)]
    async with open_simulator() as sim:
        provider = sim.add(name)
        async with gateway(sim) as cortex:
            vectors = await cortex.embed(texts)
            [last] = await cortex.embed(texts[-1])
        assert len(vectors) == len(texts)
        assert vectors[-1] == last
        assert len(provider.requests) == 3


async def test_a_wire_without_embeddings_has_none_under_any_name(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        without = sim.add("anthropic", models=["embed-1"])
        async with gateway(sim) as cortex:
            with pytest.raises(InvalidRequest, match="embeddings"):
                await cortex.embed("a", model="embed-1")
        assert without.requests == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{}", "no list"),
        (b"no JSON", "not JSON"),
        (b'{"data":[{"index":0,"embedding":[]}]}', "not an empty one"),
        (b'{"data":[{"index":0,"embedding":[1.0]}]}', "1 vectors came for 2 texts"),
    ],
)
async def test_an_answer_that_is_no_embeddings_is_a_protocol_failure(
    autojump_clock: object, body: bytes, said: str
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(body=body))
        async with gateway(sim, max_attempts=1) as cortex:
            with pytest.raises(ProviderError, match=said) as caught:
                await cortex.embed(["a", "b"])
    assert caught.value.failure.kind is FailureKind.PROTOCOL


RECORDED_VECTORS = [
    ("openai", "openai/embeddings_float.json", ("data", 0, "embedding")),
    ("openai", "openai/embeddings_dimensions.json", ("data", 0, "embedding")),
    ("gemini", "gemini/batch_embed_contents.json", ("embeddings", 0, "values")),
    ("cohere", "cohere/v2_embed_2026.json", ("embeddings", "float", 0)),
    ("ollama", "ollama/embed_nomic.json", ("embeddings", 0)),
]


@pytest.mark.parametrize(("name", "file", "path"), RECORDED_VECTORS)
async def test_recorded_embeddings_arrive(
    autojump_clock: object, shared_dir: Path, name: str, file: str, path: tuple[str | int, ...]
) -> None:
    body = (shared_dir / "wire/recordings" / file).read_bytes()
    value: Any = json.loads(body)
    for step in path[:-1]:
        value = value[step]
    count = len(value) if isinstance(path[-1], int) else 1
    async with open_simulator() as sim:
        sim.add(name, Behaviour(body=body))
        async with gateway(sim) as cortex:
            vectors = await cortex.embed([f"text {number}" for number in range(count)])
    recorded = value[path[-1]]
    if isinstance(recorded, str):  # base64 of little-endian 32-bit floats
        recorded = list(struct.unpack(f"<{len(b64decode(recorded)) // 4}f", b64decode(recorded)))
    assert list(vectors[0]) == recorded


# ------------------------------------------------------------------ models


@pytest.mark.parametrize("name", sorted(PROVIDERS))
async def test_the_models_of_every_provider_are_listed_by_name(autojump_clock: object, name: str) -> None:
    async with open_simulator() as sim:
        sim.add(name, models=["m-1", "vendor/m-2:free"])
        async with gateway(sim) as cortex:
            assert list(await cortex.models(worker=name)) == ["m-1", "vendor/m-2:free"]


@pytest.mark.parametrize("name", sorted(PROVIDERS))
async def test_a_list_that_is_refused_has_the_reason(autojump_clock: object, name: str) -> None:
    async with open_simulator() as sim:
        provider = sim.add(name)
        provider.behave_health(Behaviour(error=FailureKind.OVERLOADED))
        async with gateway(sim) as cortex:
            with pytest.raises(ProviderError) as caught:
                await cortex.models(worker=name)
    assert caught.value.failure.kind is FailureKind.OVERLOADED


@pytest.mark.parametrize("name", sorted(PROVIDERS))
async def test_a_list_that_is_none_is_a_protocol_failure(autojump_clock: object, name: str) -> None:
    async with open_simulator() as sim:
        provider = sim.add(name)
        provider.behave_health(Behaviour(body=b'{"unheard":"of"}'))
        async with gateway(sim) as cortex:
            with pytest.raises(ProviderError) as caught:
                await cortex.models(worker=name)
    assert caught.value.failure.kind is FailureKind.PROTOCOL


@pytest.mark.parametrize(
    ("name", "file", "some"),
    [
        ("anthropic", "anthropic/models_list_2026_08.json", "claude-"),
        ("gemini", "gemini/models_list.json", "gemini-"),
        ("ollama", "ollama/tags.json", ""),
    ],
)
async def test_recorded_lists_of_models_arrive(
    autojump_clock: object, shared_dir: Path, name: str, file: str, some: str
) -> None:
    body = (shared_dir / "wire/recordings" / file).read_bytes()
    listed = json.loads(body)
    async with open_simulator() as sim:
        provider = sim.add(name)
        provider.behave_health(Behaviour(body=body))
        async with gateway(sim) as cortex:
            models = await cortex.models(worker=name)
    assert len(models) == len(listed.get("data") or listed["models"]) > 0
    assert any(model.startswith(some) for model in models)
    assert not any(model.startswith("models/") for model in models)


async def test_only_the_worker_that_is_named_is_asked(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        one, other = sim.add("one", provider="openai"), sim.add("other", provider="groq", models=["m-9"])
        workers = {name: worker_of(sim[name]) for name in ("one", "other")}
        async with gateway(sim, {name: attrs.evolve(worker) for name, worker in workers.items()}) as cortex:
            assert list(await cortex.models(worker="other")) == ["m-9"]
            with pytest.raises(NoWorkersAvailable, match="'third'"):
                await cortex.models(worker="third")
        assert (len(one.requests), len(other.requests)) == (0, 1)
