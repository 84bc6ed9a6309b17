"""The answer is read while the request is still being sent; and each request that reached a server is in the ledger."""

import pytest
import trio
from raw_bytes import HTML, PAGE, TEXT, error, http, said
from raw_server import Do, Play, World, open_world, play

from cortex_trio import Cortex, CortexError, Failure, FailureKind

pytestmark = pytest.mark.slow

K = FailureKind
LONG = "x" * 20_000_000
CARRIERS = ["memory", "sockets", "tls"]
TOO_LARGE = error("Request too large")
EARLY: dict[str, tuple[Play, int, FailureKind]] = {
    "413 and no more reading": (play(http(413, TOO_LARGE), reads=1024), 413, K.BAD_REQUEST),
    "413 as a page and no more reading": (play(http(413, PAGE, kind=HTML), reads=1024), 413, K.BAD_REQUEST),
    "413 and closed a moment later": (
        play(http(413, TOO_LARGE), 0.3, Do.CLOSE, reads=1024),
        413,
        K.BAD_REQUEST,
    ),
    "413 that announces its end": (
        play(http(413, TOO_LARGE, {"connection": "close"}), 0.3, Do.CLOSE, reads=1024),
        413,
        K.BAD_REQUEST,
    ),
    "401 and no more reading": (play(http(401, error("no")), reads=1024), 401, K.CREDENTIAL),
    "500 and no more reading": (play(http(500, error("no")), reads=1024), 500, K.SERVER),
    "413 without reading at all": (play(http(413, TOO_LARGE), reads=0), 413, K.BAD_REQUEST),
    "413 after a megabyte": (play(http(413, TOO_LARGE), reads=1_000_000), 413, K.BAD_REQUEST),
}


async def failure_of(cortex: Cortex, **options: object) -> Failure:
    with pytest.raises(CortexError) as caught:
        await cortex.complete(LONG, max_attempts=1, **options)  # type: ignore[arg-type]
    primary = getattr(caught.value, "primary", caught.value)
    found = getattr(primary, "failure")  # noqa: B009
    assert isinstance(found, Failure)
    return found


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("case", EARLY)
async def test_an_early_response_to_twenty_megabytes_is_seen_at_once(carrier: str, case: str) -> None:
    answer, status, kind = EARLY[case]
    async with open_world(carrier) as world:  # type: ignore[arg-type]
        world.server(then_chat=answer)
        async with world.gateway() as cortex:
            with trio.fail_after(10):
                failure = await failure_of(cortex, first_token_timeout=5)
    assert (failure.status, failure.kind) == (status, kind)


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_request_that_is_too_large_is_sent_to_one_worker(carrier: str) -> None:
    async with open_world(carrier) as world:  # type: ignore[arg-type]
        world.server(then_chat=play(http(413, TOO_LARGE), reads=1024))
        second = world.server()
        async with world.gateway() as cortex:
            with trio.fail_after(10), pytest.raises(CortexError):
                await cortex.complete(LONG, first_token_timeout=5)
    assert second.asked == []


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_response_to_a_request_that_is_not_read_is_a_response(carrier: str) -> None:
    async with open_world(carrier) as world:  # type: ignore[arg-type]
        server = world.server(chat=[play(said(), reads=1024)])
        async with world.gateway() as cortex:
            with trio.fail_after(10):
                assert (await cortex.complete(LONG, first_token_timeout=5)).text == TEXT
                assert (await cortex.complete("Hi")).text == TEXT
    assert [request.connection for request in server.asked] == [1, 2], (
        "a half-sent request spoils its connection"
    )


async def test_a_server_that_reads_nothing_and_says_nothing_is_stalled_in_time(
    memory: World, autojump_clock: object
) -> None:
    memory.server(then_chat=play(Do.HANG, reads=0))
    async with memory.gateway() as cortex:
        begin = trio.current_time()
        assert (await failure_of(cortex, first_token_timeout=0.5)).kind is K.STALLED
        assert trio.current_time() - begin < 3


@pytest.mark.parametrize("carrier", ["sockets", "tls"])
async def test_a_socket_of_a_server_that_reads_nothing_is_stalled_long_before_the_timeout(
    carrier: str,
) -> None:
    async with open_world(carrier) as world:  # type: ignore[arg-type]
        world.server(then_chat=play(Do.HANG, reads=0))
        async with world.gateway() as cortex:
            with trio.fail_after(20):
                assert (await failure_of(cortex, first_token_timeout=0.5)).kind is K.STALLED


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_slow_reader_gets_the_whole_request(carrier: str) -> None:
    async with open_world(carrier) as world:  # type: ignore[arg-type]
        server = world.server()
        async with world.gateway() as cortex:
            with trio.fail_after(20):
                assert (await cortex.complete(LONG)).text == TEXT
    assert len(server.asked[0].body) > len(LONG)


# ------------------------------------------------------------------ sent twice


@pytest.mark.parametrize("step", [Do.RESET, Do.CLOSE])
@pytest.mark.parametrize("seconds", [1.0, 20.0])
async def test_a_kept_connection_that_breaks_during_a_request_is_an_attempt(
    memory: World, step: Do, seconds: float, autojump_clock: object
) -> None:
    server = memory.server(chat=[play(said()), play(seconds, step)])
    async with memory.gateway() as cortex:
        await cortex.complete("Hi")
        reply = await cortex.complete("Hi")
        assert reply.text == TEXT
        assert [attempt.failure and attempt.failure.kind for attempt in reply.attempts] == [
            K.CONNECTION,
            None,
        ]
    assert len(server.asked) == 3


@pytest.mark.parametrize("step", [Do.RESET, Do.CLOSE])
async def test_a_call_of_one_attempt_is_one_request(memory: World, step: Do, autojump_clock: object) -> None:
    server = memory.server(chat=[play(said()), play(1.0, step)])
    async with memory.gateway() as cortex:
        await cortex.complete("Hi")
        with pytest.raises(CortexError):
            await cortex.complete("Hi", max_attempts=1)
    assert len(server.asked) == 2


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_kept_connection_that_was_closed_before_the_request_costs_no_attempt(carrier: str) -> None:
    async with open_world(carrier) as world:  # type: ignore[arg-type]
        server = world.server(chat=[play(said(), Do.CLOSE)] * 3)
        async with world.gateway(max_attempts=1) as cortex:
            for _ in range(4):
                reply = await cortex.complete("Hi")
                assert (reply.text, len(reply.attempts)) == (TEXT, 1)
                await trio.testing.wait_all_tasks_blocked(0.01)
    assert len(server.asked) == 4


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_kept_connection_that_breaks_during_a_request_over_sockets_is_an_attempt(
    carrier: str,
) -> None:
    async with open_world(carrier) as world:  # type: ignore[arg-type]
        server = world.server(chat=[play(said()), play(0.5, Do.RESET)])
        async with world.gateway() as cortex:
            await cortex.complete("Hi")
            reply = await cortex.complete("Hi")
            assert (reply.text, len(reply.attempts)) == (TEXT, 2)
    assert len(server.asked) == 3
