"""Requests for one model and for the number of tokens of a request."""

import json

import pytest
from sim_client import headers

from cortex_trio.simulator import Behaviour

ABOUT = {
    "openai": ("GET", "/models/{}", "id"),
    "groq": ("GET", "/models/{}", "id"),
    "xai": ("GET", "/models/{}", "id"),
    "openai_compatible": ("GET", "/models/{}", "id"),
    "anthropic": ("GET", "/v1/models/{}", "id"),
    "gemini": ("GET", "/models/{}", "name"),
    "cohere": ("GET", "/v1/models/{}", "name"),
}
COUNTS = {
    "anthropic": (
        "/v1/messages/count_tokens",
        {"model": "m", "messages": [{"role": "user", "content": "one two"}], "system": "three"},
        ("/v1/messages", {"max_tokens": 9}),
    ),
    "gemini": (
        "/models/m:countTokens",
        {"contents": [{"parts": [{"text": "one two three"}]}]},
        ("/models/m:generateContent", {}),
    ),
}


async def ask(client, provider, method, path, body=None):
    content = None if body is None else json.dumps(body).encode()
    response = await client.pool.request(method, provider.url + path, headers=headers(), content=content)
    return response.status, json.loads(response.content)


@pytest.mark.parametrize("kind", ABOUT)
async def test_a_model_is_described_as_it_is_listed(sim, client, kind):
    method, path, name = ABOUT[kind]
    provider = sim.add(kind, models=["m-1", "m-2"])
    status, model = await ask(client, provider, method, path.format("m-1"))
    assert status == 200
    assert model[name].removeprefix("models/") == "m-1"
    _, listed = await ask(client, provider, "GET", path.format("").rstrip("/"))
    assert model in (listed.get("data") or listed["models"])


@pytest.mark.parametrize("path", ["/models/vendor/m-2", "/models/vendor%2Fm-2"])
async def test_a_model_may_have_a_slash_in_its_name(sim, client, path):
    status, model = await ask(client, sim.add("groq", models=["vendor/m-2"]), "GET", path)
    assert (status, model["id"]) == (200, "vendor/m-2")


@pytest.mark.parametrize("kind", ABOUT)
async def test_an_unknown_model_is_not_found(sim, client, kind):
    method, path, _ = ABOUT[kind]
    status, body = await ask(client, sim.add(kind), method, path.format("unknown"))
    assert status == 404
    assert "unknown" in json.dumps(body)


async def test_ollama_shows_a_model_it_has(sim, client):
    provider = sim.add("ollama", models=["qwen3"])
    status, model = await ask(client, provider, "POST", "/api/show", {"model": "qwen3"})
    assert (status, model["details"]["family"]) == (200, "qwen3")
    status, body = await ask(client, provider, "POST", "/api/show", {"model": "unknown"})
    assert (status, body) == (404, {"error": "model 'unknown' not found"})


@pytest.mark.parametrize("kind", COUNTS)
async def test_tokens_are_counted_and_no_step_is_used_up(sim, client, kind):
    path, body, (ask_path, more) = COUNTS[kind]
    provider = sim.add(kind, Behaviour(text="first"), Behaviour(text="second"))
    status, counted = await ask(client, provider, "POST", path, body)
    assert status == 200
    assert counted.get("input_tokens", counted.get("totalTokens")) == 3
    _, answer = await ask(client, provider, "POST", ask_path, {**body, **more})
    assert "first" in json.dumps(answer)


async def test_a_count_ignores_limits_of_the_answer(sim, client):
    path, body, _ = COUNTS["anthropic"]
    status, declined = await ask(client, sim.add("anthropic"), "POST", path, {**body, "max_tokens": 1})
    assert status == 400
    assert "max_tokens: Extra inputs are not permitted" in declined["error"]["message"]
