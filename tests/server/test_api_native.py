"""Workers that speak the client's own API: the request and the answer pass through byte for byte."""

import json
from typing import Any

import attrs
import pytest
import raw_bytes
import trio.testing
from api_clients import CHAT, CLIENTS, GEMINI, MESSAGES, MODEL, NAMES, RESPONSES, Client, ask
from raw_server import open_world

from cortex_trio.events import Reply
from cortex_trio.server.api.inbound import read_request
from cortex_trio.server.api.ingress import ingress_of
from cortex_trio.simulator import Behaviour, SimRequest, SimulatedProvider, open_gateway, open_simulator
from cortex_trio.wire.chat_completions.dialect import ChatCompletions

native_clients = pytest.mark.parametrize("client", CLIENTS, ids=NAMES)
ODD = (
    b' {\r\n "messages" : [ {"role":"user","content":"Hi \\u00e9\\ud83d\\ude00"} ] ,"model":\t"fast",'
    b' "x_next_month": 1.50,\n'
    b'"max_tokens":5,"metadata":{"model":"stays"},  "stream" :false }\n'
)


@native_clients
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_unknown_fields_and_the_answer_pass(client: Client, stream: bool) -> None:
    fields: dict[str, Any] = (
        {"next_month": {"a": [1.5]}} if client.name != "gemini" else {"labels": {"a": "b"}}
    )
    async with open_simulator() as sim:
        provider = sim.add(client.provider, Behaviour(text="Grüße, Welt"), models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request(stream=stream, **fields))
        [request] = provider.requests
    if got.status == 200:
        reply = client.read(got.body, stream=stream)
        assert isinstance(reply, Reply)
        assert reply.text == "Grüße, Welt"
    else:  # a strict server refuses unknown fields: that is the provider's own answer
        assert got.status == 400
    assert request.body.items() >= fields.items()


@pytest.mark.parametrize(
    "client", [CHAT, RESPONSES, MESSAGES, GEMINI], ids=["chat", "responses", "messages", "gemini"]
)
@pytest.mark.parametrize("slice_bytes", [None, 1, 7])
async def test_a_stream_is_forwarded_byte_for_byte(client: Client, slice_bytes: int | None) -> None:
    """The ids in it are those of the provider."""
    usage: dict[str, Any] = {"stream_options": {"include_usage": True}} if client is CHAT else {}
    async with open_simulator() as sim:
        provider = sim.add(
            client.provider, Behaviour(slice_bytes=slice_bytes, reasoning="hm"), models=[MODEL]
        )
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request(stream=True, **usage))
        assert got.body == await direct(provider.requests[0], provider)


@pytest.mark.parametrize(
    "client", [CHAT, RESPONSES, MESSAGES, GEMINI], ids=["chat", "responses", "messages", "gemini"]
)
async def test_a_whole_answer_is_forwarded_byte_for_byte(client: Client) -> None:
    async with open_simulator() as sim:
        provider = sim.add(client.provider, Behaviour(text="Grüße"), models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request())
        [request] = provider.requests
        assert got.body == await direct(request, provider)


async def direct(request: SimRequest, provider: SimulatedProvider) -> bytes:
    """Return the body that the provider has sent."""
    scene = provider.scene(request)
    return b"".join(frame.data for frame in scene.frames)


def test_only_the_model_of_a_body_is_replaced() -> None:
    request = attrs.evolve(CHAT.request(), body=ODD)
    forward = read_request(ingress_of(request.path), request).forward_request()
    sent = forward.native("gpt-x", ChatCompletions())
    assert sent.body == ODD.replace(b'"fast"', b'"gpt-x"')
    assert sent.path == "/chat/completions"


async def test_a_server_that_refuses_the_question_for_usage_is_not_asked_it_again() -> None:
    error = json.dumps({"error": {"message": "Unrecognized request argument supplied: stream_options"}})

    def answer(request: SimRequest) -> Behaviour:
        return Behaviour(status=400, error_body=error) if "stream_options" in request.body else Behaviour()

    async with open_simulator() as sim:
        provider = sim.add("openai", answer, models=[MODEL])
        async with open_gateway(sim) as cortex:
            for _ in range(2):
                got = await ask(cortex, CHAT.request(stream=True))
                assert got.status == 200
                assert b"[DONE]" in got.body
        assert ["stream_options" in request.body for request in provider.requests] == [True, False, False]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ({"include_usage": True}, "Unrecognized request argument supplied: include_usage"),
        ({"max_tokens": 7}, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        ({"stream_options": {"include_usage": True}}, "Unknown parameter: 'stream_options'."),
    ],
)
async def test_a_field_of_one_client_changes_nothing_for_the_others(field: dict[str, Any], text: str) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai", models=[MODEL])
        async with open_gateway(sim) as cortex:
            provider.behave(Behaviour(status=400, error_body=json.dumps({"error": {"message": text}})))
            assert (await ask(cortex, CHAT.request(stream=True, **field))).status == 400
            assert len(provider.requests) == 1
            provider.behave(Behaviour())
            await ask(cortex, CHAT.request(stream=True))
            await cortex.complete("Hi", max_tokens=7)
        _, client, own = (request.body for request in provider.requests)
        assert client["stream_options"] == {"include_usage": True}
        assert own["max_completion_tokens"] == 7


@pytest.mark.parametrize("options", [None, {"include_obfuscation": False}])
async def test_usage_is_asked_for_and_its_chunk_taken_out(options: dict[str, bool] | None) -> None:
    fields: dict[str, Any] = {} if options is None else {"stream_options": options}
    async with open_simulator() as sim:
        provider = sim.add("openai", models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, CHAT.request(stream=True, **fields))
        assert provider.requests[0].body["stream_options"] == {**(options or {}), "include_usage": True}
    chunks = [json.loads(line[6:]) for line in got.body.decode().splitlines() if line.startswith("data: {")]
    assert all(chunk["choices"] for chunk in chunks)
    assert got.body.endswith(b"data: [DONE]\n\n")


async def test_betas_and_versions_are_forwarded_and_nothing_else() -> None:
    headers = (("anthropic-beta", "b-1,b-2"), ("x-own", "1"), ("cookie", "c"), ("user-agent", "claude-cli"))
    request = attrs.evolve(MESSAGES.request(headers=headers), query={"beta": "true"})
    async with open_simulator() as sim:
        provider = sim.add("anthropic", models=[MODEL])
        async with open_gateway(sim) as cortex:
            await ask(cortex, request)
        [seen] = provider.requests
    assert (seen.path, seen.query) == ("/v1/messages", {"beta": "true"})
    assert seen.headers["anthropic-beta"] == "b-1,b-2"
    assert seen.headers["anthropic-version"] == "2023-06-01"
    assert not {"x-own", "cookie"} & seen.headers.keys()
    assert "claude-cli" not in seen.headers["user-agent"]


async def test_a_whole_answer_may_take_longer_than_a_first_token(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="late", first_token_after=60), models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, CHAT.request())
    assert (got.status, got.json["choices"][0]["message"]["content"]) == (200, "late")


@pytest.mark.parametrize("client", [CHAT, MESSAGES], ids=["chat", "messages"])
async def test_an_answer_without_its_last_frame_gets_one(client: Client) -> None:
    """The provider said why the model stopped, so the answer is whole; a client waits for the last frame."""
    async with open_simulator() as sim:
        sim.add(client.provider, Behaviour(text="Hello", no_terminal=True), models=[MODEL])
        async with open_gateway(sim, max_attempts=1) as cortex:
            got = await ask(cortex, client.request(stream=True))
    if got.status == 200:
        assert got.body.endswith((b"data: [DONE]\n\n", b'"message_stop"}\n\n'))


@pytest.mark.parametrize("client", [CHAT, RESPONSES, MESSAGES, GEMINI], ids=lambda client: client.name)
async def test_a_worker_that_streams_whatever_was_asked_for_is_read(
    client: Client, autojump_clock: trio.testing.MockClock
) -> None:
    """The client asked for a whole answer, so it gets one."""
    async with open_world("memory") as world:
        server = world.server(client.provider)
        async with world.gateway() as cortex:
            got = await ask(cortex, client.request(model=raw_bytes.MODEL))
        assert len(server.asked) == 1
    assert got.status == 200, got.body
    assert got.headers["content-type"].startswith("application/json")
    reply = client.read(got.body, stream=False)
    assert isinstance(reply, Reply)
    assert reply.text == raw_bytes.TEXT
