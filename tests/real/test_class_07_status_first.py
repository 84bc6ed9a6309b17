"""Status and headers count whatever the body is: a web page, packed, cut, or one that never comes."""

import json
from collections.abc import Callable

import pytest
import trio
from raw_bytes import (
    HTML,
    JSON,
    MODEL,
    PAGE,
    TEXT,
    answer_body,
    chunk,
    chunked,
    completion,
    embedding_list,
    error,
    head,
    http,
    open_head,
    packed,
    said,
)
from raw_server import Do, Step, World, play

from cortex_trio import (
    AllWorkersFailed,
    Cortex,
    CortexError,
    Failure,
    FailureKind,
    NoWorkersAvailable,
    ProviderError,
)

pytestmark = pytest.mark.slow

K = FailureKind
Headers = dict[str, str]
PLAIN = error("Try again later")
BOMB = packed(b"\0" * 50_000_000, "gzip")


def _with(body: bytes, kind: str, **more: str) -> Callable[[int, Headers], tuple[Step, ...]]:
    extra = {name.replace("_", "-"): value for name, value in more.items()}
    return lambda status, headers: (http(status, body, {**headers, **extra}, kind=kind),)


def _head_then(*steps: Step) -> Callable[[int, Headers], tuple[Step, ...]]:
    return lambda status, headers: (head(status, {**headers, "content-length": "1000"}), *steps)


BODIES: dict[str, Callable[[int, Headers], tuple[Step, ...]]] = {
    "a web page": _with(PAGE, HTML),
    "a web page in capitals": _with(PAGE.upper(), "text/html; charset=utf-8"),
    "a web page that calls itself JSON": _with(PAGE, JSON),
    "a packed web page": _with(packed(PAGE, "gzip"), HTML, content_encoding="gzip"),
    "packed JSON": _with(packed(PLAIN, "gzip"), JSON, content_encoding="gzip"),
    "deflated JSON": _with(packed(PLAIN, "deflate"), JSON, content_encoding="deflate"),
    "JSON that says it is packed": _with(PLAIN, JSON, content_encoding="gzip"),
    "packed JSON that is cut": _with(packed(PLAIN, "gzip")[:-20], JSON, content_encoding="gzip"),
    "fifty megabytes in a small packet": _with(BOMB, JSON, content_encoding="gzip"),
    "packed as no client knows": _with(b"\1\2\3\4", JSON, content_encoding="x-unknown"),
    "nothing": _with(b"", JSON),
    "a body that never comes": _head_then(Do.HANG),
    "a body that is cut": _head_then(b'{"error":', Do.CLOSE),
    "a body that is reset": _head_then(0.1, Do.RESET),
}
ALL = [pytest.param(case, id=name) for name, case in BODIES.items()]


async def first_failure(cortex: Cortex) -> Failure:
    with pytest.raises(CortexError) as caught:
        await cortex.complete("Hi", max_attempts=1)
    found = caught.value
    assert isinstance(found, ProviderError | AllWorkersFailed), found
    return found.failure if isinstance(found, ProviderError) else found.primary.failure


@pytest.mark.parametrize("status", [429, 503, 529])
@pytest.mark.parametrize("body", ALL)
async def test_a_hint_is_honoured_whatever_the_body_is(
    memory: World, status: int, body: Callable[[int, Headers], tuple[Step, ...]], autojump_clock: object
) -> None:
    server = memory.server(chat=[play(*body(status, {"retry-after": "9"}))])
    async with memory.gateway() as cortex:
        reply = await cortex.complete("Hi")
        assert reply.text == TEXT
        first, second = server.asked_at
        assert 9 <= second - first < 20
        failure = reply.attempts[0].failure
        assert failure is not None
        assert (failure.status, failure.retry_after) == (status, 9)
        assert (failure.kind is K.RATE_LIMIT) == (status == 429)


@pytest.mark.parametrize("body", ALL)
async def test_a_rate_limited_key_cools_down_and_the_other_key_serves(
    memory: World, body: Callable[[int, Headers], tuple[Step, ...]], autojump_clock: object
) -> None:
    server = memory.server(chat=[play(*body(429, {"retry-after": "20"}))])
    keys = ["sk-raw-first-0123456789", "sk-raw-other-0123456789"]
    async with memory.gateway(worker={"api_keys": keys}) as cortex:
        for _ in range(4):
            assert (await cortex.complete("Hi")).text == TEXT
    used = [request.headers["authorization"] for request in server.asked]
    assert used[0] not in used[1:]


@pytest.mark.parametrize("body", ALL)
async def test_a_refused_key_is_replaced_by_the_other_one(
    memory: World, body: Callable[[int, Headers], tuple[Step, ...]], autojump_clock: object
) -> None:
    memory.server(chat=[play(*body(401, {}))])
    keys = ["sk-raw-first-0123456789", "sk-raw-other-0123456789"]
    async with memory.gateway(worker={"api_keys": keys}) as cortex:
        reply = await cortex.complete("Hi")
        assert reply.text == TEXT
        assert reply.attempts[0].failure is not None
        assert (reply.attempts[0].failure.kind, reply.attempts[0].failure.status) == (K.CREDENTIAL, 401)


@pytest.mark.parametrize("body", ALL)
@pytest.mark.parametrize("status", [404, 500, 502, 503, 504])
async def test_the_next_worker_serves(
    memory: World,
    status: int,
    body: Callable[[int, Headers], tuple[Step, ...]],
    autojump_clock: object,
) -> None:
    memory.server(then_chat=play(*body(status, {})))
    second = memory.server()
    async with memory.gateway() as cortex:
        reply = await cortex.complete("Hi")
        assert reply.worker == second.name
        assert reply.attempts[0].failure is not None
        assert reply.attempts[0].failure.status == status
        allowed = {K.MODEL_NOT_FOUND, K.UNKNOWN} if status == 404 else {K.SERVER, K.EDGE, K.OVERLOADED}
        assert reply.attempts[0].failure.kind in allowed


@pytest.mark.parametrize("body", ALL)
async def test_a_request_that_is_too_large_is_the_callers(
    memory: World, body: Callable[[int, Headers], tuple[Step, ...]], autojump_clock: object
) -> None:
    memory.server(then_chat=play(*body(413, {})))
    second = memory.server()
    async with memory.gateway() as cortex:
        failure = await first_failure(cortex)
    assert (failure.kind, failure.status) == (K.BAD_REQUEST, 413)
    assert second.asked == []


READABLE = {
    "gzip": "gzip",
    "GZIP": "gzip",
    "x-gzip": "gzip",
    "deflate": "deflate",
    "br": "br",
    "zstd": "zstd",
}


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "context_length_exceeded", K.CONTEXT_LENGTH),
        (429, "insufficient_quota", K.QUOTA),
        (404, "model_not_found", K.MODEL_NOT_FOUND),
        (400, "content_policy_violation", K.CONTENT_POLICY),
    ],
)
async def test_a_compressed_error_is_read(
    memory: World, name: str, status: int, code: str, kind: FailureKind, autojump_clock: object
) -> None:
    if modules := {"br": "brotli", "zstd": "zstandard"}.get(name):
        pytest.importorskip(modules)
    body = packed(error("It was like this", "some_error", code), READABLE[name])
    memory.server(then_chat=play(http(status, body, {"content-encoding": name})))
    async with memory.gateway() as cortex:
        failure = await first_failure(cortex)
    assert (failure.kind, failure.message) == (kind, "It was like this")


ODD_ENCODINGS = ["none", "", "utf-8", "UTF-8", "identity, identity", "Identity", "binary", "chunked", "8bit"]


@pytest.mark.parametrize("encoding", ODD_ENCODINGS)
@pytest.mark.parametrize("answer", ["stream", "whole", "vectors", "list"])
async def test_an_odd_encoding_of_a_readable_answer_is_no_failure(
    memory: World, answer: str, encoding: str, autojump_clock: object
) -> None:
    headers = {"content-encoding": encoding}
    whole = play(http(200, completion(), headers))
    server = memory.server(
        then_chat=play(said(headers=headers)) if answer == "stream" else whole,
        then_embeds=play(http(200, embedding_list(1, 3), headers)),
        then_lists=play(http(200, b'{"object":"list","data":[{"id":"m-1","object":"model"}]}', headers)),
    )
    async with memory.gateway(max_attempts=1) as cortex:
        if answer == "vectors":
            assert len(await cortex.embed(["a"], model=MODEL)) == 1
        elif answer == "list":
            assert list(await cortex.models(worker=server.name)) == [MODEL]
        else:
            assert (await cortex.complete("Hi")).text == TEXT


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("answer", ["stream", "whole", "vectors"])
async def test_a_compressed_answer_is_read_or_a_protocol_failure_that_says_so(
    memory: World, answer: str, encoding: str, autojump_clock: object
) -> None:
    headers = {"content-encoding": encoding}
    stream = chunked(packed(answer_body("openai"), encoding), headers=headers)
    memory.server(
        then_chat=play(stream if answer == "stream" else http(200, packed(completion(), encoding), headers)),
        then_embeds=play(http(200, packed(embedding_list(1, 3), encoding), headers)),
    )
    async with memory.gateway(max_attempts=1) as cortex:
        failure = None
        try:
            if answer == "vectors":
                assert len(await cortex.embed(["a"], model=MODEL)) == 1
            else:
                assert (await cortex.complete("Hi")).text == TEXT
        except ProviderError as problem:
            failure = problem.failure
        assert failure is None or (failure.kind is K.PROTOCOL and encoding in failure.message)


async def test_the_explanation_of_an_error_is_waited_for_seconds_and_not_longer(
    memory: World, autojump_clock: object
) -> None:
    drips = [step for _ in range(600) for step in (1.0, chunk(b" "))]
    memory.server(then_chat=play(open_head(500, kind=JSON), *drips))
    second = memory.server()
    async with memory.gateway() as cortex:
        begin = trio.current_time()
        assert (await cortex.complete("Hi")).worker == second.name
        assert trio.current_time() - begin < 20


DATE = "Tue, 01 Dec 2026 12:00:00 GMT"
HINTS: dict[str, list[tuple[str, str]]] = {
    "seconds": [("retry-after", "4")],
    "a fraction": [("retry-after", "4.0")],
    "seconds with their unit": [("retry-after", "4s")],
    "milliseconds": [("retry-after-ms", "4000")],
    "Azure's milliseconds": [("x-ms-retry-after-ms", "4000")],
    "a date": [("date", DATE), ("retry-after", "Tue, 01 Dec 2026 12:00:04 GMT")],
    "an RFC 3339 time": [("date", DATE), ("retry-after", "2026-12-01T12:00:04Z")],
    "seconds since 1970": [("date", DATE), ("retry-after", "1796126404")],
    "two headers": [("retry-after", "1"), ("retry-after", "4")],
    "two equal headers": [("retry-after", "4"), ("retry-after", "4")],
    "Anthropic's unified limit": [("date", DATE), ("anthropic-ratelimit-unified-reset", "1796126404")],
}


@pytest.mark.parametrize("headers", [pytest.param(case, id=name) for name, case in HINTS.items()])
async def test_every_spelling_of_a_hint_is_understood(
    memory: World, headers: list[tuple[str, str]], autojump_clock: object
) -> None:
    body = json.dumps({"error": {"message": "Rate limit reached", "type": "rate_limit_error"}}).encode()
    server = memory.server(chat=[play(http(429, body, headers))])
    async with memory.gateway() as cortex:
        assert (await cortex.complete("Hi")).text == TEXT
        first, second = server.asked_at
        assert 4 <= second - first < 6


@pytest.mark.parametrize("status", [429, 503])
async def test_a_time_counts_though_the_caller_left_before_the_body_came(
    memory: World, autojump_clock: object, status: int
) -> None:
    waits = head(status, {"retry-after": "60", "content-length": "1000"})
    server = memory.server(chat=[play(waits, Do.HANG)])
    async with memory.gateway(max_wait=0) as cortex:
        with trio.move_on_after(2) as scope:
            await cortex.complete("Hi")
        assert scope.cancelled_caught
        with pytest.raises(NoWorkersAvailable) as caught:
            await cortex.complete("Hi")
        assert caught.value.retry_after == pytest.approx(60, abs=1)
        assert len(server.asked) == 1
        await trio.sleep(60)
        assert (await cortex.complete("Hi")).text == TEXT
