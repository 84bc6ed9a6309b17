"""A status that no table names says nothing about the caller: another worker is asked, and the first one soon again."""

import pytest
import trio
from raw_bytes import HTML, PAGE, TEXT, error, http
from raw_server import Play, World, play

from cortex_trio import CortexError, FailureKind

pytestmark = pytest.mark.slow

THE_CALLERS = {413, 415, 422}
NOT_THE_CALLERS = [status for status in range(402, 500) if status not in THE_CALLERS]
BEYOND = [
    300,
    302,
    304,
    305,
    399,
    501,
    505,
    507,
    511,
    520,
    521,
    522,
    523,
    524,
    525,
    526,
    527,
    530,
    599,
    600,
    999,
]
BODIES = {
    "nothing": lambda status: play(http(status)),
    "JSON": lambda status: play(http(status, error("something is odd"))),
    "a page": lambda status: play(http(status, PAGE, kind=HTML)),
}


def _answer(status: int, body: str) -> Play:
    return BODIES[body](status)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("status", [*NOT_THE_CALLERS, *BEYOND])
async def test_another_worker_serves(memory: World, status: int, body: str, autojump_clock: object) -> None:
    memory.server(then_chat=_answer(status, body))
    second = memory.server()
    async with memory.gateway() as cortex:
        reply = await cortex.complete("Hi")
        assert (reply.text, reply.worker) == (TEXT, second.name)
        assert reply.attempts[0].failure is not None
        assert reply.attempts[0].failure.status == status


@pytest.mark.parametrize("status", [*NOT_THE_CALLERS, *BEYOND])
async def test_a_lone_worker_serves_again_within_two_minutes(
    memory: World, status: int, autojump_clock: object
) -> None:
    memory.server(chat=[_answer(status, "JSON")])
    async with memory.gateway() as cortex:
        begin = trio.current_time()
        while True:
            try:
                assert (await cortex.complete("Hi")).text == TEXT
                break
            except CortexError:
                assert trio.current_time() - begin <= 120
                await trio.sleep(10)


@pytest.mark.parametrize("status", [400, *sorted(THE_CALLERS)])
async def test_a_failure_of_the_caller_ends_the_call(
    memory: World, status: int, autojump_clock: object
) -> None:
    memory.server(then_chat=_answer(status, "JSON"))
    second = memory.server()
    async with memory.gateway() as cortex:
        with pytest.raises(CortexError) as caught:
            await cortex.complete("Hi")
        assert getattr(caught.value, "failure").kind is FailureKind.BAD_REQUEST  # noqa: B009
    assert second.asked == []


@pytest.mark.parametrize("status", [409, 425])
async def test_a_temporary_failure_is_retried_once(
    memory: World, status: int, autojump_clock: object
) -> None:
    server = memory.server(chat=[play(http(status))])
    async with memory.gateway() as cortex:
        assert (await cortex.complete("Hi")).text == TEXT
    assert len(server.asked) == 2
