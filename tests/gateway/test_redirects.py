"""Redirects: to the same origin they are followed, otherwise the error names the target."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import httpx
import pytest
import trio
from fronts import serving

from cortex_trio import Config, Cortex, FailureKind, ProviderError, WorkerConfig, open_cortex
from cortex_trio.gateway.transport.redirects import MAX_REDIRECTS, next_target

KEY = "sk-live-0123456789abcdefghij"
ANSWER = b'data: {"choices":[{"delta":{"content":"There."},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


@attrs.define
class ParsedRequest:
    """One request as the server read it."""

    line: str
    authorization: str
    body: bytes


@attrs.define
class Server:
    url: str = ""
    asked: list[ParsedRequest] = attrs.field(factory=list)


Script = Callable[[str], tuple[int, str] | None]  # a target, to a status and a Location, or None: the answer


@asynccontextmanager
async def redirecting(script: Script) -> AsyncIterator[Server]:
    async def handle(stream: trio.abc.Stream) -> None:
        data = bytearray()
        while True:
            while b"\r\n\r\n" not in data:
                more = await stream.receive_some()
                if not more:
                    return
                data += more
            head, _, after = bytes(data).partition(b"\r\n\r\n")
            line, *fields = head.decode().split("\r\n")
            headers = {n.lower(): v.strip() for n, _, v in (field.partition(":") for field in fields)}
            length = int(headers.get("content-length", 0))
            body = bytearray(after)
            while len(body) < length:
                body += await stream.receive_some()
            data = bytearray()
            server.asked.append(ParsedRequest(line, headers.get("authorization", ""), bytes(body)))
            if (further := script(line.split()[1])) is not None:
                status, location = further
                answer = f"HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
                await stream.send_all(answer.encode())
            else:
                kind = b"content-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
                await stream.send_all(b"HTTP/1.1 200 OK\r\n" + kind + ANSWER)

    server = Server()
    async with serving(handle) as port:
        server.url = f"http://127.0.0.1:{port}"
        yield server


@asynccontextmanager
async def asking(url: str, *, by_httpx: bool, **fields: object) -> AsyncIterator[Cortex]:
    worker = WorkerConfig(provider="openai", api_keys=[KEY], base_url=f"{url}/v1", **fields)  # type: ignore[arg-type]
    transport = (lambda worker: httpx.AsyncHTTPTransport()) if by_httpx else None
    config = Config(workers={"w": worker}, health_check_interval=0)
    async with open_cortex(config, http_transport=transport) as cortex:
        yield cortex


both = pytest.mark.parametrize("by_httpx", [False, True], ids=["ours", "httpx"])


@both
@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize(
    "location", ["/new/v1/chat/completions?x=1", "{url}/new/v1/chat/completions?x=1", "?x=1"]
)
async def test_on_the_same_origin_the_same_request_is_sent_again(
    by_httpx: bool, status: int, location: str
) -> None:
    async with redirecting(
        lambda target: None if "x=1" in target else (status, location.format(url=server.url))
    ) as server:
        async with asking(server.url, by_httpx=by_httpx) as cortex:
            reply = await cortex.complete("Hi")
    first, second = server.asked
    assert (reply.text, len(reply.attempts)) == ("There.", 1)
    assert second.line.endswith("/v1/chat/completions?x=1 HTTP/1.1")
    assert json.loads(first.body) == json.loads(second.body)
    assert first.authorization == second.authorization == f"Bearer {KEY}"


@both
async def test_redirects_without_end_are_an_error(by_httpx: bool) -> None:
    async with redirecting(lambda target: (307, f"{target}x")) as server:
        async with asking(server.url, by_httpx=by_httpx) as cortex:
            with pytest.raises(ProviderError, match=f"more than {MAX_REDIRECTS} redirects") as caught:
                await cortex.complete("Hi")
    assert len(server.asked) == MAX_REDIRECTS + 1
    assert caught.value.failure.status == 307


@both
@pytest.mark.parametrize(
    ("status", "location", "named"),
    [
        (307, "https://elsewhere.example/v1/chat?token=abc#there", "https://elsewhere.example/v1/chat"),
        (308, "http://user:word@127.0.0.1:1/v1", "http://127.0.0.1:1/v1"),
        (307, "//other.example/v1", "http://other.example/v1"),
        (301, "/v2/chat/completions", "/v2/chat/completions"),
        (302, "/login?next=/v1", "/login"),
        (303, "https://login.example/", "https://login.example/"),
    ],
)
async def test_any_other_redirect_is_named_and_not_followed(
    by_httpx: bool, status: int, location: str, named: str
) -> None:
    async with redirecting(lambda _: (status, location)) as server:
        async with asking(server.url, by_httpx=by_httpx) as cortex:
            with pytest.raises(ProviderError) as caught:
                await cortex.complete("Hi")
            with pytest.raises(ProviderError) as listing:
                await cortex.models(worker="w")
    assert len(server.asked) == 2
    for error in (caught.value, listing.value):
        assert f"redirects to {named if '://' in named else server.url + named}: set base_url" in str(error)
        assert (error.failure.kind, error.failure.status) == (FailureKind.UNKNOWN, status)
        assert not [secret for secret in ("token", "abc", "word", "next=") if secret in str(error)]


def test_a_status_that_is_no_redirect_is_left_alone() -> None:
    url = httpx.URL("https://api.example/v1")
    assert next_target(200, {"location": "/x"}, url, 3) is None
    assert next_target(304, {"location": "/x"}, url, 3) is None
    assert next_target(307, {}, url, 3) is None
    assert next_target(307, {"location": "https://API.example:443/x"}, url, 3) == "/x"
    assert next_target(307, {"location": "http://api.example/x"}, url, 3) != "/x"


def test_the_error_says_that_a_location_is_no_address() -> None:
    url = httpx.URL("https://api.example/v1")
    failure = next_target(307, {"location": "http://[\x1b"}, url, 3)
    assert "redirects to an invalid address: http://[\\x1b" in str(failure)
