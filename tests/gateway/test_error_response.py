"""An error status is never forgotten: its body may be a page, packed, cut, endless, or never come."""

import gzip
import json
import math
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence

import httpx
import pytest
import trio

from cortex_trio import ApiKey, Failure, FailureKind, WorkerConfig
from cortex_trio.failures import classify
from cortex_trio.gateway.transport.connections import Connections
from cortex_trio.gateway.transport.error_response import ERROR_BODY_LIMIT, ERROR_BODY_SECONDS, read_failure
from cortex_trio.wire.codec import HttpRequest

K = FailureKind
KEY = ApiKey("sk-error-response-key-0001")
SAYS_WHY = json.dumps({"error": {"message": "The engine is overloaded", "code": "why_not"}}).encode()
PAGE = b"<html><head><title>Sorry</title></head><body>try again later</body></html>"

Piece = bytes | float | Exception
"""What a body does next: bytes that come, seconds in which nothing comes, an error."""


class Body(httpx.AsyncByteStream):
    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces
        self.read = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            await trio.lowlevel.checkpoint()
            if isinstance(piece, bytes):
                self.read += len(piece)
                yield piece
            elif isinstance(piece, float):
                await trio.sleep(piece)
            else:
                raise piece


class Server(httpx.AsyncBaseTransport):
    """Answers every request with one status, some headers and a body."""

    def __init__(self, status: int, headers: Mapping[str, str], body: Sequence[Piece]) -> None:
        self.status = status
        self.headers = headers
        self.body = Body(body)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(self.status, headers=self.headers, stream=self.body)


async def failure_from(server: Server, *, until: float = math.inf) -> Failure:
    connections = Connections(WorkerConfig(provider="openai", api_keys=(KEY,)), server)
    answer = await connections.send(HttpRequest("GET", "/models"), KEY, connect_timeout=5.0)
    try:
        return await read_failure(answer, KEY, until=until)
    finally:
        await answer.aclose()


async def failure(status: int, *body: Piece, until: float = math.inf, **headers: str) -> Failure:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await failure_from(Server(status, named, body), until=until)


# ------------------------------------------------------------------ the status and its headers

STATUSES = [
    (401, K.CREDENTIAL),
    (402, K.RATE_LIMIT),  # beside a Retry-After of half a minute: money does not come back so soon
    (413, K.BAD_REQUEST),
    (429, K.RATE_LIMIT),
    (500, K.SERVER),
    (529, K.OVERLOADED),
]
BODIES: dict[str, tuple[Sequence[Piece], Mapping[str, str]]] = {
    "empty": ((), {}),
    "not JSON": ((b"nope",), {}),
    "cut": ((SAYS_WHY[:20], httpx.ReadError("reset")), {}),
    "broken at once": ((httpx.RemoteProtocolError("closed"),), {}),
    "never coming": ((math.inf,), {}),
    "stopping in the middle": ((SAYS_WHY[:20], math.inf), {}),
    "packed by nothing known": ((b"\xff\xfe\x00" * 100,), {"content-encoding": "x-custom"}),
    "not what its encoding says": ((b"\xff\xfe\x00" * 100,), {"content-encoding": "gzip"}),
    "packed twice": ((gzip.compress(gzip.compress(SAYS_WHY)),), {"content-encoding": "gzip, gzip"}),
    "packed and cut": ((gzip.compress(SAYS_WHY)[:25],), {"content-encoding": "gzip"}),
    "packed by a module that may be missing": ((b"\x1b\x00\xff" * 50,), {"content-encoding": "br"}),
    "not text": ((bytes(range(256)),), {"content-type": "application/json"}),
}


@pytest.mark.parametrize(("status", "kind"), STATUSES)
@pytest.mark.parametrize("body", BODIES)
async def test_the_status_decides_whatever_the_body_is(
    status: int, kind: FailureKind, body: str, autojump_clock: object
) -> None:
    pieces, headers = BODIES[body]
    found = await failure_from(Server(status, {"retry-after": "7", "x-request-id": "r-1", **headers}, pieces))
    assert (found.kind, found.status, found.retry_after, found.request_id) == (kind, status, 7.0, "r-1")
    assert not found.ours


@pytest.mark.parametrize("status", [401, 403, 404, 413, 429, 500, 502, 503])
@pytest.mark.parametrize("packed", [False, True])
async def test_a_web_page_does_not_hide_the_status_and_its_time(
    status: int, packed: bool, autojump_clock: object
) -> None:
    headers = {"content-type": "text/html", "retry-after": "30"}
    body, packing = (gzip.compress(PAGE), {"content-encoding": "gzip"}) if packed else (PAGE, {})
    found = await failure_from(Server(status, headers | packing, [body]))
    assert (found.status, found.retry_after) == (status, 30.0)
    assert found.kind is classify(status, headers, PAGE).kind


# ------------------------------------------------------------------ what a body explains


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("identity", bytes),
        ("identity, identity", bytes),
        ("none", bytes),
        ("utf-8", bytes),
        ("", bytes),
        ("gzip", bytes),
        ("x-custom", bytes),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_compressed_body_explains_as_much_as_a_plain_one(
    name: str, pack: type[bytes], size: int, autojump_clock: object
) -> None:
    body = pack(SAYS_WHY)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    found = await failure(500, *pieces, content_encoding=name)
    assert "The engine is overloaded" in found.message
    assert found.code == "why_not"


async def test_the_received_part_of_a_compressed_body_is_read(autojump_clock: object) -> None:
    text = b"insufficient_quota: " + b"".join(b"word%d " % number for number in range(3000))
    body = gzip.compress(text)
    found = await failure(500, body[: len(body) // 2], httpx.ReadError("reset"), content_encoding="gzip")
    assert found.message.startswith("insufficient_quota: word0 ")


@pytest.mark.parametrize("packed", [False, True])
async def test_a_key_that_is_repeated_in_the_body_is_not_in_the_failure(
    packed: bool, autojump_clock: object
) -> None:
    said = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY.reveal()}"}}).encode()
    found = await failure(
        401, gzip.compress(said) if packed else said, content_encoding="gzip" if packed else "identity"
    )
    assert found.kind is K.CREDENTIAL
    assert KEY.reveal() not in repr(found)


# ------------------------------------------------------------------ bounds


@pytest.mark.parametrize("pieces", [(math.inf,), (SAYS_WHY[:20], math.inf), (1.0, b"{", 1.0, b"}", math.inf)])
async def test_a_body_is_waited_for_five_seconds(pieces: Sequence[Piece], autojump_clock: object) -> None:
    await failure(500, *pieces)
    assert trio.current_time() == pytest.approx(ERROR_BODY_SECONDS, abs=0.1)


async def test_a_body_that_drips_is_read_for_five_seconds_in_all(autojump_clock: object) -> None:
    drops: list[Piece] = []
    for _ in range(100):
        drops += [1.0, b"x"]
    await failure(500, *drops)
    assert trio.current_time() == pytest.approx(ERROR_BODY_SECONDS, abs=0.1)


async def test_the_calls_own_deadline_goes_first(autojump_clock: object) -> None:
    found = await failure(429, math.inf, until=2.0, retry_after="9")
    assert trio.current_time() == pytest.approx(2.0, abs=0.1)
    assert (found.kind, found.retry_after) == (K.RATE_LIMIT, 9.0)


async def test_a_deadline_that_is_over_still_leaves_the_status(autojump_clock: object) -> None:
    found = await failure(429, SAYS_WHY, until=-1.0)
    assert (found.kind, found.status) == (K.RATE_LIMIT, 429)


async def test_an_endless_body_is_read_up_to_its_limit(autojump_clock: object) -> None:
    server = Server(500, {}, [b"x" * 1000] * 10_000)
    found = await failure_from(server)
    assert server.body.read <= ERROR_BODY_LIMIT + 1000
    assert (found.kind, len(found.message) <= 200) == (K.SERVER, True)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_bomb_is_decompressed_up_to_the_limit(
    name: str, pack: type[bytes], autojump_clock: object
) -> None:
    bomb = pack(b"overloaded " * 10_000_000)
    server = Server(
        503, {"content-encoding": name, "retry-after": "5"}, [bomb[:1000], *[bomb[1000:2000]] * 10_000]
    )
    found = await failure_from(server)
    assert server.body.read <= 2 * ERROR_BODY_LIMIT
    assert (found.kind, found.retry_after, len(found.message) <= 200) == (K.OVERLOADED, 5.0, True)


async def test_a_cancelled_reader_leaves_at_once(autojump_clock: object) -> None:
    with trio.move_on_after(1.0) as scope:
        await failure(500, math.inf)
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(1.0)
