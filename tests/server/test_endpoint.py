"""The whole endpoint over sockets: server, routes, gateway, and a simulated provider behind it."""

import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from served import Answer, Client, request, until

from cortex_trio import open_cortex
from cortex_trio.server import Server, VirtualKey, open_server
from cortex_trio.server.virtual_keys import sha256_of
from cortex_trio.simulator import Behaviour, open_gateway, open_simulator
from cortex_trio.simulator.provider import SimulatedProvider

SLOW = Behaviour(tokens=["word "] * 500, tokens_per_second=50)
CHAT = "/v1/chat/completions"


def chat(
    *,
    stream: bool,
    path: str = CHAT,
    model: str = "",
    headers: Sequence[tuple[str, str]] = (),
    prompt: str = "Hi",
) -> bytes:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "stream": stream,
        "max_tokens": 9,
    }
    return request("POST", path, json.dumps(body).encode(), headers)


@asynccontextmanager
async def endpoint(
    *script: Behaviour, grace: float = 30.0, keys: Sequence[VirtualKey] = ()
) -> AsyncIterator[tuple[Server, SimulatedProvider]]:
    async with open_simulator(sockets=True) as sim:
        provider = sim.add("openai", *script, models=["m"])
        async with open_cortex(sim.config()) as cortex, open_server(cortex, grace=grace, keys=keys) as server:
            try:
                yield server, provider
            finally:
                if script != (SLOW,):
                    while Client.made:
                        Client.made.pop().stream.socket.close()
        while Client.made:
            Client.made.pop().stream.socket.close()


async def test_an_answer_comes_through() -> None:
    async with endpoint(Behaviour(text="Good day.")) as (server, _):
        client = await Client.to(server)
        answer = await client.ask(chat(stream=False))
        assert json.loads(answer.body)["choices"][0]["message"]["content"] == "Good day."
        assert answer.headers["x-cortex-model"] == "m"
        streamed = await client.ask(chat(stream=True))
        assert streamed.is_whole
        assert streamed.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [True, False])
async def test_the_upstream_is_closed_when_the_client_leaves(stream: bool) -> None:
    async with endpoint(SLOW) as (server, provider):
        client = await Client.to(server)
        await client.send(chat(stream=stream))
        await until(lambda: provider.open_connections == 1)
        await trio.testing.wait_all_tasks_blocked(0.005)
        await client.stream.aclose()
        await until(lambda: provider.open_connections == 0, seconds=5)  # the answer takes ten


@pytest.mark.parametrize(
    ("path", "end"),
    [(CHAT, b'"error"'), ("/v1/messages", b"event: error"), ("/v1/responses", b"response.failed")],
)
async def test_a_drain_ends_a_stream_with_the_error_event_of_its_api(path: str, end: bytes) -> None:
    streamed: list[Answer] = []

    async def read(client: Client) -> None:
        streamed.append(await client.answer())

    async with trio.open_nursery() as nursery:
        async with endpoint(SLOW, grace=0.2) as (server, _):
            client = await Client.to(server)
            asked = [{"role": "user", "content": "Hi"}]
            name, limit = ("input", {}) if path == "/v1/responses" else ("messages", {"max_tokens": 9})
            body = {"model": "m", "stream": True, name: asked, **limit}
            await client.send(request("POST", path, json.dumps(body).encode()))
            await client.has_begun()
            nursery.start_soon(read, client)
            start = trio.current_time()
        assert trio.current_time() - start < 8  # the answer takes ten
    (answer,) = streamed
    assert answer.status == 200
    assert end in answer.body
    assert b"[DONE]" not in answer.body
    assert b"message_stop" not in answer.body


async def test_the_tokens_of_a_call_are_charged_to_its_key() -> None:
    key = VirtualKey(name="a", key_sha256=sha256_of("k"), tokens_per_minute=5, models=["m"])
    async with endpoint(Behaviour(text="one two three four five six"), keys=[key]) as (server, _):
        client = await Client.to(server)
        bearer = [("authorization", "Bearer k")]
        assert (await client.ask(chat(stream=False, model="m", headers=bearer))).status == 200
        refused = await client.ask(chat(stream=False, model="m", headers=bearer))
        assert refused.status == 429
        assert json.loads(refused.body)["error"]["code"]
        assert int(refused.headers["retry-after"]) >= 1


async def test_a_model_that_a_key_does_not_include_is_refused() -> None:
    key = VirtualKey(name="a", key_sha256=sha256_of("k"), models=["other"])
    async with endpoint(Behaviour(text="x"), keys=[key]) as (server, _):
        client = await Client.to(server)
        for model in ("m", ""):
            answer = await client.ask(
                chat(stream=False, model=model, headers=[("authorization", "Bearer k")])
            )
            assert answer.status == 403


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/chat/completions", ("error", "message")),
        ("/v1/messages", ("error", "message")),
        ("/v1beta/models/m:generateContent", ("error", "status")),
    ],
)
async def test_errors_of_the_server_have_the_shape_of_the_api(path: str, shape: tuple[str, str]) -> None:
    key = VirtualKey(name="a", key_sha256=sha256_of("k"))
    async with endpoint(Behaviour(text="x"), keys=[key]) as (server, _):
        client = await Client.to(server)
        for method, where, status in (("POST", path, 401), ("DELETE", path, 405)):
            answer = await client.ask(request(method, where, b"{}"))
            assert answer.status == status
            assert json.loads(answer.body)[shape[0]][shape[1]]


@pytest.mark.parametrize("header", [None, "anthropic-version", "x-goog-api-client"])
async def test_errors_of_a_path_that_several_apis_have_follow_the_headers(
    header: str | None,
) -> None:
    key = VirtualKey(name="a", key_sha256=sha256_of("k"))
    headers = [(header, "1")] if header else []
    bearer = [*headers, ("authorization", "Bearer k")]
    async with endpoint(Behaviour(text="x"), keys=[key]) as (server, _):
        client = await Client.to(server)
        for method, path, status, sent in (
            ("GET", "/v1/models", 401, headers),
            ("GET", "/v1/models/m", 401, headers),
            ("DELETE", "/v1/models", 405, bearer),
            ("GET", "/v1/models/none", 404, bearer),
            ("GET", "/v1/files", 404, bearer),
        ):
            answer = await client.ask(request(method, path, None, sent))
            found = json.loads(answer.body)
            assert answer.status == status, path
            assert ("type" in found) == (header == "anthropic-version"), path
            assert ("status" in found["error"]) == (header == "x-goog-api-client"), path


async def test_no_log_has_a_prompt_an_answer_or_a_key(caplog: pytest.LogCaptureFixture) -> None:
    """Of any level, also where providers fail and repeat the keys and the prompt."""
    caplog.set_level(logging.DEBUG)
    prompt = "PROMPT-1 is the beginning of a question that is long enough to be found in an error."
    secrets = ("PROMPT-1", "ANSWER-1", "sk-client-0001", "sk-upstream-0001")
    echo = json.dumps(
        {"error": {"message": f"no: sk-client-0001 sk-upstream-0001 {prompt}", "type": "server_error"}}
    )
    async with open_simulator(sockets=True) as sim:
        sim.add("openai", Behaviour(status=500, error_body=echo), models=["m"])
        sim.add("anthropic", Behaviour(text="ANSWER-1"), models=["m"])
        sim.add("groq", Behaviour(text="ANSWER-1 goes on and on", cut_after=2), models=["cut"])
        workers = {one.name: one.worker(api_keys=["sk-upstream-0001"]) for one in sim.providers.values()}
        async with (
            open_gateway(sim, workers) as cortex,
            open_server(cortex, keys=["sk-client-0001"]) as server,
        ):
            client = await Client.to(server)
            key = [("authorization", "Bearer sk-client-0001")]
            for model in ("m", "cut", "missing"):
                await client.ask(chat(prompt=prompt, stream=True, model=model, headers=key))
            Client.made.pop().stream.socket.close()
    assert [record for record in caplog.records if record.name == "cortex_trio.server"]
    text = caplog.text + repr([record.__dict__ for record in caplog.records])
    assert [secret for secret in secrets if secret in text] == []


async def test_the_aliases_of_the_configuration_are_models() -> None:
    async with open_simulator(sockets=True) as sim:
        sim.add("openai", Behaviour(text="x"), models=["m"])
        config = {**sim.config(), "$settings": {"aliases": {"fast": ["openai/m"]}}}
        async with open_cortex(config) as cortex, open_server(cortex) as server:
            client = await Client.to(server)
            assert (await client.ask(chat(stream=False, model="fast"))).headers["x-cortex-model"] == "m"
            assert b'"fast"' in (await client.get("/v1/models")).body
            Client.made.pop().stream.socket.close()
