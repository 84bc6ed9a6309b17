"""Bytes behind an answer never become the next answer, in one TLS record or another."""

import pytest
import trio
import trio.testing
from raw_bytes import TEXT, completion, http, said
from raw_server import Play, World, open_world, play

pytestmark = pytest.mark.slow

CARRIERS = ["memory", "sockets", "tls"]
FOREIGN = "an answer for another caller"
ANSWERS = {"chunked": said(text="first"), "by its length": http(200, completion("first"))}
EXTRA = {
    "a whole answer": said(text=FOREIGN),
    "a whole answer of JSON": http(200, completion(FOREIGN)),
    "an error": http(400, b'{"error":{"message":"not yours"}}'),
    "a piece of a head": b"HTTP/1.1 200 OK\r\n",
    "an empty line": b"\r\n",
    "garbage": b"\0\1\2\3garbage",
    "a request to leave": http(408, b"timeout", {"connection": "close"}),
}


def _plays(answer: bytes, extra: bytes) -> dict[str, Play]:
    return {"in one piece": play(answer + extra), "in another piece": play(answer, extra)}


CASES = [
    pytest.param(when, id=f"{framing}, then {what} {how}")
    for framing, answer in ANSWERS.items()
    for what, extra in EXTRA.items()
    for how, when in _plays(answer, extra).items()
]


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("first", CASES)
async def test_the_next_response_is_separate(carrier: str, first: Play) -> None:
    async with open_world(carrier) as world:  # type: ignore[arg-type]
        server = world.server(chat=[first])
        async with world.gateway() as cortex:
            assert (await cortex.complete("Hi")).text == "first"
            await trio.testing.wait_all_tasks_blocked(0.02)  # what was sent behind it has come
            reply = await cortex.complete("Hi")
            assert (reply.text, len(reply.attempts)) == (TEXT, 1)
    assert [request.connection for request in server.asked] == [1, 2]


async def test_bytes_seconds_after_a_response_close_the_connection_as_well(
    memory: World, autojump_clock: object
) -> None:
    server = memory.server(chat=[play(said(text="first"), 2.0, EXTRA["a whole answer"])])
    async with memory.gateway() as cortex:
        assert (await cortex.complete("Hi")).text == "first"
        await trio.sleep(3)
        assert (await cortex.complete("Hi")).text == TEXT
    assert [request.connection for request in server.asked] == [1, 2]


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_an_interim_response_is_skipped(carrier: str) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
    async with open_world(carrier) as world:  # type: ignore[arg-type]
        world.server(then_chat=play(interim + said()))
        async with world.gateway() as cortex:
            for _ in range(2):
                assert (await cortex.complete("Hi")).text == TEXT
