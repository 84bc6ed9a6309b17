"""Errors before an answer: the shape and status of the client's API, when to come back, and nothing that is secret."""

import json
from typing import Any

import attrs
import pytest
import trio
from api_clients import CHAT, CLIENTS, GEMINI, MESSAGES, MODEL, NAMES, RESPONSES, Client, ask

from cortex_trio.failures import FailureKind
from cortex_trio.server.api.routes import ApiRoutes
from cortex_trio.server.limits_protocol import ErrorKind
from cortex_trio.simulator import Behaviour, open_gateway, open_simulator

every_client = pytest.mark.parametrize("client", CLIENTS, ids=NAMES)
streamed_and_not = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])

SHAPES: list[tuple[Client, FailureKind, int, str]] = [
    (CHAT, FailureKind.RATE_LIMIT, 429, "rate_limit_exceeded"),
    (CHAT, FailureKind.QUOTA, 429, "insufficient_quota"),
    (CHAT, FailureKind.CREDENTIAL, 401, "invalid_api_key"),
    (CHAT, FailureKind.CONTEXT_LENGTH, 400, "context_length_exceeded"),
    (CHAT, FailureKind.SERVER, 500, "server_error"),
    (RESPONSES, FailureKind.RATE_LIMIT, 429, "rate_limit_exceeded"),
    (RESPONSES, FailureKind.CONTEXT_LENGTH, 400, "context_length_exceeded"),
    (MESSAGES, FailureKind.RATE_LIMIT, 429, "rate_limit_error"),
    (MESSAGES, FailureKind.OVERLOADED, 529, "overloaded_error"),
    (MESSAGES, FailureKind.CREDENTIAL, 401, "authentication_error"),
    (MESSAGES, FailureKind.BAD_REQUEST, 400, "invalid_request_error"),
    (GEMINI, FailureKind.RATE_LIMIT, 429, "RESOURCE_EXHAUSTED"),
    (GEMINI, FailureKind.OVERLOADED, 503, "UNAVAILABLE"),
    (GEMINI, FailureKind.BAD_REQUEST, 400, "INVALID_ARGUMENT"),
]


@pytest.mark.parametrize(("client", "kind", "status", "name"), SHAPES)
@pytest.mark.parametrize("is_native", [True, False], ids=["native", "translated"])
@streamed_and_not
async def test_a_failure_has_the_shape_of_the_clients_api(
    client: Client,
    kind: FailureKind,
    status: int,
    name: str,
    is_native: bool,
    stream: bool,
    autojump_clock: trio.testing.MockClock,
) -> None:
    provider = client.provider if is_native else "groq"
    async with open_simulator() as sim:
        sim.add(provider, Behaviour(error=kind), models=[MODEL])
        async with open_gateway(sim, max_wait=0) as cortex:
            got = await ask(cortex, client.request(stream=stream))
    assert got.status == status
    assert got.headers["content-type"].startswith("application/json")
    assert name in json.dumps(got.json)
    assert provider in client.error_message(got.json), "the message names the worker"
    assert "sk-sim" not in got.body.decode()
    assert client.dialect.decode_reply(got.body)


async def test_several_failures_are_one_error_that_forbids_another_try() -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(status=401), models=[MODEL])
        sim.add("groq", Behaviour(error=FailureKind.RATE_LIMIT, retry_after=17), models=[MODEL])
        async with open_gateway(sim, max_wait=0) as cortex:
            got = await ask(cortex, CHAT.request())
    assert (got.headers["x-should-retry"], got.headers["x-cortex-attempts"]) == ("false", "2")
    assert "sub-exceptions" not in CHAT.error_message(got.json)
    assert 15 <= int(got.headers["retry-after"]) <= 17
    assert 15_000 <= int(got.headers["retry-after-ms"]) <= 17_000


@every_client
async def test_a_request_that_is_too_large_for_the_provider_is_413(client: Client) -> None:
    """Clients that see it make their request smaller."""
    async with open_simulator() as sim:
        sim.add(client.provider, Behaviour(status=413), models=[MODEL])
        async with open_gateway(sim, max_wait=0) as cortex:
            got = await ask(cortex, client.request())
    assert got.status == 413


@every_client
@pytest.mark.parametrize(
    ("others", "status"),
    [([], 429), ([FailureKind.RATE_LIMIT], 429), ([FailureKind.OVERLOADED], 503)],
    ids=range(3),
)
async def test_without_a_worker_the_error_has_the_time_to_come_back(
    client: Client, others: list[FailureKind], status: int
) -> None:
    """A limit of a provider is one for the client as well, as at the first time; anything else is not its business."""
    async with open_simulator() as sim:
        for number, kind in enumerate((FailureKind.RATE_LIMIT, *others)):
            behaviour = Behaviour(error=kind, retry_after=60 + number)
            sim.add(f"w{number}", behaviour, provider="openai", models=[MODEL])
        sim.add("other", provider="openai", models=["other-1"])
        async with open_gateway(sim, max_wait=0) as cortex:
            await ask(cortex, client.request())
            got = await ask(cortex, client.request())
    assert got.status == status
    assert 55 <= int(got.headers["retry-after"]) <= 60
    assert "x-should-retry" not in got.headers


@every_client
async def test_an_unknown_model_is_404(client: Client) -> None:
    async with open_simulator() as sim:
        sim.add("openai", models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request(model="other-1"))
    assert got.status == 404
    assert "'other-1'" in client.error_message(got.json)


@pytest.mark.parametrize("client", [CHAT, RESPONSES, MESSAGES, GEMINI], ids=NAMES[:4])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"null"])
async def test_a_body_that_is_no_object_is_400(client: Client, body: bytes) -> None:
    async with open_simulator() as sim:
        sim.add("openai", models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, attrs.evolve(client.request(), body=body))
    assert got.status == 400
    assert client.error_message(got.json)


@pytest.mark.parametrize(
    ("client", "fields", "name"),
    [
        (CHAT, {"messages": "Hi"}, "messages"),
        (CHAT, {"messages": [{"role": "alien", "content": "Hi"}]}, "role"),
        (CHAT, {"temperature": "hot"}, "temperature"),
        (RESPONSES, {"input": 4}, "input"),
        (MESSAGES, {"messages": [{"role": "user", "content": 4}]}, "content"),
        (GEMINI, {"contents": "Hi"}, "contents"),
    ],
)
async def test_a_wrong_field_is_named(client: Client, fields: dict[str, Any], name: str) -> None:
    async with open_simulator() as sim:
        sim.add("cohere", models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request(**fields))
    assert got.status == 400
    assert name in client.error_message(got.json)


@every_client
@streamed_and_not
@pytest.mark.parametrize("header", ["x-stainless-timeout", "x-stainless-read-timeout"])
async def test_the_clients_time_limit_ends_the_call(
    client: Client, stream: bool, header: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai", Behaviour(silent=True), models=[MODEL])
        async with open_gateway(sim) as cortex:
            began = trio.current_time()
            got = await ask(cortex, client.request(stream=stream, headers=((header, "2.5"),)))
            assert trio.current_time() - began == pytest.approx(2.5, abs=0.1)
            assert (await cortex.list_workers())[0].reason is None, "it is no fault of the worker"
        assert provider.open_connections == 0
    assert got.status == 504
    assert "2.5 s" in client.error_message(got.json)


async def test_the_time_limit_does_not_cut_a_stream(autojump_clock: trio.testing.MockClock) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="one two three four", tokens_per_second=0.5), models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, CHAT.request(stream=True, headers=(("x-stainless-timeout", "3"),)))
    assert got.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/chat/completions", "openai"),
        ("/v1/responses", "openai"),
        ("/v1/nothing", "openai"),
        ("/", "openai"),
        ("/v1/messages", "anthropic"),
        ("/v1/messages/count_tokens", "anthropic"),
        ("/v1/messages/nothing", "anthropic"),
        ("/v1beta/models/m:generateContent", "google"),
        ("/v1/models/m:streamGenerateContent", "google"),
        ("/v1beta/nothing", "google"),
    ],
)
@pytest.mark.parametrize("kind", ErrorKind)
async def test_the_servers_own_errors_have_the_shape_of_the_path(
    path: str, shape: str, kind: ErrorKind
) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        async with open_gateway(sim) as cortex:
            status, headers, body = ApiRoutes(cortex).error(path, kind, "too much", retry_after=1.2)
    assert status == kind.status
    assert {"retry-after": "2", "retry-after-ms": "1200"}.items() <= dict(headers).items()
    error = json.loads(body)["error"]
    assert error["message"] == "too much"
    match shape:
        case "openai":
            assert error.keys() == {"message", "type", "param", "code"}
        case "anthropic":
            assert json.loads(body)["type"] == "error"
            assert error["type"].endswith(("_error", "too_large"))
        case _:
            assert (error["code"], error["status"]) == (kind.status, error["status"].upper())
