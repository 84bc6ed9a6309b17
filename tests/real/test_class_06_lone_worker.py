"""A call whose only candidate is one worker asks it again for all that the official SDKs ask again."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from raw_bytes import HTML, MODEL, PAGE, TEXT, chunk, delta, error, head, http, open_head, sse
from raw_server import Do, Play, World, open_world, play

from cortex_trio import AllWorkersFailed, Cortex, CortexError, FailureKind

pytestmark = pytest.mark.slow

BOOM = error("boom")
STATUSES = [408, 409, 425, 429, 500, 502, 503, 504, 529]
FAULTS: dict[str, Play] = {
    **{f"{status}": play(http(status, BOOM)) for status in STATUSES},
    "429 with a hint in milliseconds": play(http(429, BOOM, {"retry-after-ms": "200"})),
    "503 with a hint": play(http(503, BOOM, {"retry-after": "1"})),
    "500 as a page": play(http(500, PAGE, kind=HTML)),
    "closed before a byte": play(Do.CLOSE),
    "reset before a byte": play(Do.RESET),
    "closed within the head": play(b"HTTP/1.1 200 OK\r\ncontent-ty", Do.CLOSE),
    "closed after the headers": play(open_head(), Do.CLOSE),
    "reset after the headers": play(open_head(), Do.RESET),
    "a body cut in the middle of a chunk": play(open_head(), b'80\r\ndata: {"id', Do.CLOSE),
    "a body that is shorter than its length": play(head(200, {"content-length": "500"}), b"data: ", Do.CLOSE),
    "an end before the first content": play(open_head(), chunk(sse(delta(""))) + chunk(b"")),
}
TABLE = [pytest.param(case, id=name) for name, case in FAULTS.items()]
HTTP_ERRORS = [name for name in FAULTS if name[0] in "45"]


async def complete(cortex: Cortex) -> str:
    return (await cortex.complete("Hi")).text


async def stream(cortex: Cortex) -> str:
    async with cortex.chat("Hi") as answer:
        return "".join([piece async for piece in answer.text()])


async def embed(cortex: Cortex) -> str:
    assert len(await cortex.embed(["a"], model=MODEL)) == 1
    return TEXT


def _asked_again_by_every_client(name: str, times: int, job: object) -> bool:
    """Not a whole body without content; nor a third 429 without a hint, whose cooldown is longer than max_wait."""
    return (name, times) != ("429", 3) and not (job is embed and name == "an end before the first content")


SERVED = [
    pytest.param(FAULTS[name], times, job, id=f"{job.__name__}: {name}, {times} times")
    for job in (complete, stream, embed)
    for name in FAULTS
    for times in (1, 2, 3)
    if _asked_again_by_every_client(name, times, job)
]


@pytest.mark.parametrize(("fault", "times", "job"), SERVED)
async def test_it_is_served(
    memory: World,
    fault: Play,
    times: int,
    job: Callable[[Cortex], Awaitable[str]],
    autojump_clock: object,
) -> None:
    server = memory.server()
    server.chat.extend([fault] * times)
    server.embeds.extend([fault] * times)
    async with memory.gateway() as cortex:
        begin = trio.current_time()
        assert await job(cortex) == TEXT
        assert trio.current_time() - begin < 120
    assert len(server.requests) == times + 1


DIALECTS = ["anthropic", "gemini", "cohere", "groq", "xai", "openai_responses", "ollama"]
IN_DIALECTS = [
    pytest.param(provider, FAULTS[name], id=f"{provider}: {name}")
    for provider in DIALECTS
    for name in FAULTS
    if (provider, name) != ("ollama", "an end before the first content")  # which is no line of JSON
]


@pytest.mark.parametrize(("provider", "fault"), IN_DIALECTS)
async def test_it_is_served_in_every_dialect(
    memory: World, provider: str, fault: Play, autojump_clock: object
) -> None:
    memory.server(provider, chat=[fault] * 2)
    async with memory.gateway() as cortex:
        assert await complete(cortex) == TEXT


@pytest.mark.parametrize("fault", TABLE)
async def test_it_is_asked_max_attempts_times_and_no_more(
    memory: World, fault: Play, autojump_clock: object
) -> None:
    server = memory.server(then_chat=fault)
    async with memory.gateway(max_attempts=3) as cortex:
        with pytest.raises(CortexError) as caught:
            await complete(cortex)
    assert len(server.asked) == 3
    assert len(getattr(caught.value, "attempts", ())) == 3


@pytest.mark.parametrize("fault", TABLE)
async def test_beside_an_available_worker_it_is_asked_at_most_twice(
    memory: World, fault: Play, autojump_clock: object
) -> None:
    first, second = memory.server(then_chat=fault), memory.server()
    async with memory.gateway() as cortex:
        assert (await cortex.complete("Hi")).worker == second.name
    assert len(first.asked) <= 2
    assert len(second.asked) == 1


@pytest.mark.parametrize("name", HTTP_ERRORS)
async def test_the_provider_may_say_that_a_repeat_is_of_no_use(
    memory: World, name: str, autojump_clock: object
) -> None:
    status = int(name[:3])
    server = memory.server(then_chat=play(http(status, BOOM, {"x-should-retry": "false"})))
    async with memory.gateway() as cortex:
        with pytest.raises(CortexError):
            await complete(cortex)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_the_provider_may_ask_for_a_repeat(memory: World, status: int, autojump_clock: object) -> None:
    server = memory.server(chat=[play(http(status, BOOM, {"x-should-retry": "true"}))] * 2)
    async with memory.gateway() as cortex:
        assert await complete(cortex) == TEXT
    assert len(server.asked) == 3


@pytest.mark.parametrize("seconds", [0.3, 0.5, 1])
async def test_a_worker_that_refuses_for_a_moment_is_waited_for(
    memory: World, seconds: float, autojump_clock: object
) -> None:
    server = memory.server()
    server.refuse(seconds)
    async with memory.gateway() as cortex:
        assert await complete(cortex) == TEXT
    assert len(server.asked) == 1


async def test_a_worker_that_refuses_for_ever_is_an_error_in_seconds(
    memory: World, autojump_clock: object
) -> None:
    server = memory.server()
    server.refuse(1e9)
    async with memory.gateway() as cortex:
        begin = trio.current_time()
        with pytest.raises(CortexError, match="refused"):
            await complete(cortex)
        assert trio.current_time() - begin < 30


async def test_a_silent_worker_is_not_asked_again(memory: World, autojump_clock: object) -> None:
    server = memory.server(then_chat=play(Do.HANG))
    async with memory.gateway() as cortex:
        with pytest.raises(CortexError) as caught:
            await complete(cortex)
        failure = caught.value.primary if isinstance(caught.value, AllWorkersFailed) else caught.value
        assert getattr(failure, "failure").kind is FailureKind.STALLED  # noqa: B009
    assert len(server.asked) == 1


async def test_a_silent_kept_connection_is_asked_once_more_on_a_fresh_one(
    memory: World, autojump_clock: object
) -> None:
    server = memory.server()
    async with memory.gateway() as cortex:
        assert await complete(cortex) == TEXT
        server.chat.append(play(Do.HANG))
        assert await complete(cortex) == TEXT
    assert [request.connection for request in server.asked] == [1, 1, 2]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_retry_after_of_zero_is_answered_with_the_pauses_of_the_official_sdks(
    memory: World, status: int, autojump_clock: object
) -> None:
    """It says nothing of when it helps: four requests in one moment would all meet the same limit."""
    server = memory.server(then_chat=play(http(status, BOOM, {"retry-after": "0"})))
    async with memory.gateway() as cortex:
        with pytest.raises(CortexError):
            await complete(cortex)
    first, *others = server.asked_at
    assert len(others) == 3
    assert others[-1] - first > 1.0


# ------------------------------------------------------------------ over sockets


SHORT = {name: FAULTS[name] for name in FAULTS if name[0] not in "45"} | {
    "500": FAULTS["500"],
    "429 with a hint in milliseconds": FAULTS["429 with a hint in milliseconds"],
}


@pytest.mark.parametrize("carrier", ["sockets", "tls"])
@pytest.mark.parametrize("name", SHORT)
async def test_it_is_served_over_sockets(carrier: str, name: str) -> None:
    async with open_world(carrier) as world:  # type: ignore[arg-type]
        world.server(chat=[SHORT[name]] * 2)
        async with world.gateway() as cortex:
            with trio.fail_after(20):
                assert await complete(cortex) == TEXT


async def test_a_port_that_refuses_for_half_a_second_is_waited_for(sockets: World) -> None:
    server = sockets.server()
    server.refuse(0.5)
    async with sockets.gateway() as cortex:
        with trio.fail_after(20):
            assert await complete(cortex) == TEXT


@pytest.mark.parametrize("step", [Do.RESET, Do.CLOSE])
async def test_connections_that_are_ended_when_they_are_accepted_are_made_again(
    sockets: World, step: Do
) -> None:
    sockets.server(on_connect=[step] * 2)
    async with sockets.gateway() as cortex:
        with trio.fail_after(20):
            assert await complete(cortex) == TEXT
