"""Text of clients, providers and configurations that tries to become a header, a second response, an event or a line.

Over real sockets, read as bytes: what h11 or an SDK would refuse must not be sent either.
"""

import json
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
import trio
from served import Client, request

from cortex_trio import open_cortex
from cortex_trio.server import Server, open_server
from cortex_trio.simulator import Behaviour, SimulatedProvider, open_simulator

EVIL = {
    "a header": "m\r\nx-evil: 1",
    "a response": "m\r\n\r\nHTTP/1.1 200 OK\r\nx-evil: 1\r\n\r\n",
    "a bare LF": "m\nx-evil: 1",
    "a bare CR": "m\rx-evil: 1",
    "an event": 'm\n\ndata: [DONE]\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n',
    "NUL": "m\x00x",
    "other letters": "mé\u0100日\u2028\x85\x1b[2J\u202e",
}
"""Text by what it tries to be."""
QUICK = ("a response", "an event", "other letters")
"""They have the characters of the others."""
HEADERS = frozenset(
    {
        *("content-type", "content-length", "transfer-encoding", "connection", "cache-control"),
        *(
            "x-accel-buffering",
            "x-request-id",
            "request-id",
            "retry-after",
            "retry-after-ms",
            "x-should-retry",
        ),
        *(
            "x-cortex-worker",
            "x-cortex-model",
            "x-cortex-attempts",
            "x-cortex-overhead-ms",
            "www-authenticate",
        ),
    }
)
"""All that a response may have."""

HI = [{"role": "user", "content": "Hi"}]


def asking(model: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the path and the body of a request in each API."""
    parts = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    return {
        "chat": ("/v1/chat/completions", {"model": model, "messages": HI}),
        "responses": ("/v1/responses", {"model": model, "input": "Hi"}),
        "messages": ("/v1/messages", {"model": model, "messages": HI, "max_tokens": 9}),
        "gemini": (f"/v1beta/models/{quote(model, safe='')}:generateContent", parts),
    }


def streamed(path: str, body: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if path.endswith(":generateContent"):
        return path.replace(":generateContent", ":streamGenerateContent?alt=sse"), dict(body)
    return path, {**body, "stream": True}


async def raw_response(server: Server, raw: bytes) -> tuple[int, Sequence[tuple[str, str]], str]:
    """Return status, headers and body of the only response, checked as bytes."""
    client = await Client.to(server)
    await client.send(raw.replace(b"\r\nHost:", b"\r\nConnection: close\r\nHost:", 1))
    received = b""
    with trio.fail_after(10):
        while data := await client.stream.receive_some():
            received += data
    await client.stream.aclose()
    Client.made.remove(client)
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    assert re.fullmatch(rb"HTTP/1\.1 [0-9]{3} [A-Za-z -]+", first)
    assert all(re.fullmatch(rb"[a-z0-9-]+: [\x20-\x7e]*", line) for line in lines), lines
    fields = [tuple(line.decode().split(": ", 1)) for line in lines]
    names = [name for name, _ in fields]
    assert set(names) <= HEADERS, names
    assert len(set(names)) == len(names)
    if "content-length" in names:
        assert len(body) == int(dict(fields)["content-length"])  # type: ignore[arg-type]
    return int(first.split()[1]), fields, body.decode()  # type: ignore[return-value]


APIS = tuple(asking(""))
every_text = pytest.mark.parametrize(
    "text",
    [pytest.param(EVIL[name], marks=() if name in QUICK else pytest.mark.slow) for name in EVIL],
    ids=EVIL,
)


async def ask(server: Server, api: str, *, model: str = "m", stream: bool = False) -> tuple[int, str]:
    path, body = asking(model)[api]
    path, body = streamed(path, body) if stream else (path, body)
    status, _, answer = await raw_response(server, request("POST", path, json.dumps(body).encode()))
    return status, answer


@asynccontextmanager
async def serving(provider: str, *script: Behaviour) -> AsyncIterator[tuple[Server, SimulatedProvider]]:
    async with open_simulator(sockets=True) as sim:
        simulated = sim.add(provider, *script, models=["m"])
        async with open_cortex(sim.config()) as cortex, open_server(cortex) as server:
            yield server, simulated


def lines_of(body: str) -> list[str]:
    """Return the lines as a reader of events sees them."""
    return re.split(r"\r\n|\r|\n", body)


# ------------------------------------------------------------------ from a client


@every_text
async def test_the_model_of_a_request_stays_a_name(text: str) -> None:
    async with serving("gemini") as (server, gemini):
        for api in APIS:
            for model in (text, f"gemini/{text}"):
                assert (await ask(server, api, model=model))[0] == 404
        assert gemini.requests == []


@pytest.mark.parametrize(
    "name", ["../../x", "a?key=1&x=2", "a#b", "a b", "a%0d%0ax-evil: 1", "mé日", "//h/x"]
)
async def test_a_name_leads_to_no_other_path_of_a_provider(name: str) -> None:
    async with serving("gemini") as (server, gemini):
        for api in APIS:
            assert (await ask(server, api, model=f"gemini/{name}"))[0] == 200
        assert len(gemini.requests) == len(APIS)
        for got in gemini.requests:
            assert re.fullmatch(r"/v1beta/models/(.*):(stream)?[gG]enerateContent", got.path), got.path
            assert set(got.query) <= {"alt"}
            assert "x-evil" not in got.headers


@every_text
async def test_a_request_is_one_line_of_the_log(text: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cortex_trio.server")
    async with serving("openai") as (server, _):
        raw = request("POST", "/" + quote(text), b"{}", [("x-request-id", "mine"), ("traceparent", "00-x")])
        status, fields, _ = await raw_response(server, raw)
    assert status == 404
    assert dict(fields)["x-request-id"].startswith("req_")
    [line] = [record for record in caplog.records if record.name.startswith("cortex_trio.server")]
    assert line.getMessage().isprintable()


# ------------------------------------------------------------------ from a provider


@every_text
async def test_an_error_of_a_provider_stays_a_text(text: str) -> None:
    error = json.dumps({"error": {"message": text, "type": text, "code": text, "status": text}})
    async with serving("openai", Behaviour(status=400, error_body=error)) as (server, _):
        for api in APIS:
            for stream in (False, True):
                status, body = await ask(server, api, stream=stream)
                assert status == 400
                assert "error" in json.loads(body)


@every_text
async def test_the_model_of_an_answer_stays_a_text(text: str) -> None:
    """It is in each event of a stream, and may be in a header."""
    chunk = {"id": text, "object": "chat.completion.chunk", "created": 1, "model": text}
    said = {"index": 0, "delta": {"content": text}, "finish_reason": "stop"}
    stream = f"data: {json.dumps({**chunk, 'choices': [said]})}\n\ndata: [DONE]\n\n".encode()
    async with serving("openai", Behaviour(body=stream, content_type="text/event-stream")) as (server, _):
        for api in APIS:
            status, body = await ask(server, api, stream=True)
            assert status == 200
            assert lines_of(body).count("data: [DONE]") == (api == "chat")
            assert lines_of(body).count("event: message_stop") == (api == "messages")


@every_text
async def test_an_error_inside_a_stream_stays_one_event(text: str) -> None:
    said = {"choices": [{"index": 0, "delta": {"content": "Hello"}}], "id": "x", "model": "m"}
    error = {"error": {"message": text, "type": "invalid_request_error"}}
    stream = f"data: {json.dumps(said)}\n\ndata: {json.dumps(error)}\n\n".encode()
    async with serving("openai", Behaviour(body=stream, content_type="text/event-stream")) as (server, _):
        for api in APIS:
            status, body = await ask(server, api, stream=True)
            assert status in (200, 400)  # 400: both events have come at once, and nothing was sent yet
            assert not {"data: [DONE]", "event: message_stop"} & {*lines_of(body)}
            assert "error" in body


# ------------------------------------------------------------------ from a configuration


@every_text
async def test_names_of_a_configuration_stay_names(text: str) -> None:
    async with open_simulator(sockets=True) as sim:
        url = sim.add("openai", Behaviour(text="ok")).url
        worker = {"provider": "openai", "models": [text], "base_url": url, "api_keys": ["sk-sim-0001"]}
        async with open_cortex({"wörk 日": worker}) as cortex, open_server(cortex) as server:
            for api in APIS:
                for stream in (False, True):
                    assert (await ask(server, api, model="auto", stream=stream))[0] == 200
            status, _, body = await raw_response(server, request("GET", "/v1/models"))
    assert status == 200
    assert text in [model["id"] for model in json.loads(body)["data"]]
