"""A free check is a hint, never a gate: whatever a worker's list of models says, its chat is what counts."""

import pytest
import trio
from raw_bytes import HTML, PAGE, TEXT, chunk, delta, error, head, http, model_list, open_head, said, sse
from raw_server import Do, Play, World, play

pytestmark = pytest.mark.slow

WITH_A_KEY = error("Incorrect API key provided: sk-raw-***", "invalid_request_error", "invalid_api_key")
NOTHING_SAID: dict[str, Play] = {
    "the list is 404 as JSON": play(http(404, error("Not found", "invalid_request_error"))),
    "the list is 404 as a page": play(http(404, PAGE, kind=HTML)),
    "the list is 404 without a body": play(http(404)),
    "the list is 405": play(http(405, b"Method Not Allowed", kind="text/plain")),
    "the list is 501": play(http(501, error("not implemented"))),
    "the list is a web page with 200": play(http(200, PAGE, kind=HTML)),
    "the list is a web page with 403": play(http(403, PAGE, kind=HTML)),
    "the list is empty JSON": play(http(200, b"{}")),
    "the list redirects to a login page": play(http(302, b"", {"location": "/login"})),
}
SUSPICIOUS: dict[str, Play] = {
    "the list is 500": play(http(500, error("boom"))),
    "the list is 503": play(http(503, error("down"))),
    "the list is 403 as JSON": play(http(403, error("You may not list models", "permission_error"))),
    "the list is 401 as JSON": play(http(401, WITH_A_KEY)),
    "the list never comes": play(Do.HANG),
    "the list stops after its head": play(head(200, {"content-length": "99"}), Do.HANG),
    "the list takes longer than the check": play(8.0, model_list()),
    "the list's connection is reset": play(Do.RESET),
    "the list's connection is closed": play(Do.CLOSE),
    "the list is cut in the middle": play(open_head(), chunk(b'{"data":['), Do.CLOSE),
}
ALL = NOTHING_SAID | SUSPICIOUS
HOUR = 3600.0


def _ids(table: dict[str, Play]) -> list[object]:
    return [pytest.param(case, id=name) for name, case in table.items()]


@pytest.mark.parametrize("answer", _ids(ALL))
async def test_a_lone_worker_never_stops_serving(memory: World, answer: Play, autojump_clock: object) -> None:
    server = memory.server(then_lists=answer)
    async with memory.gateway(health_check_interval=30) as cortex:
        start = trio.current_time()
        while trio.current_time() - start < HOUR:
            await trio.sleep(65)  # two rounds of checks
            begin = trio.current_time()
            assert (await cortex.complete("Hi")).text == TEXT
            assert trio.current_time() - begin < 1, "a suspicion costs the only worker no time"
    assert len(server.listed) > 50


@pytest.mark.parametrize(
    "provider", ["anthropic", "gemini", "cohere", "groq", "xai", "openai_responses", "ollama"]
)
@pytest.mark.parametrize("answer", _ids(ALL))
async def test_a_lone_worker_serves_after_checks_in_every_dialect(
    memory: World, provider: str, answer: Play, autojump_clock: object
) -> None:
    memory.server(provider, then_lists=answer)
    async with memory.gateway(health_check_interval=30) as cortex:
        await cortex.check_health()
        assert (await cortex.complete("Hi")).text == TEXT
        await trio.sleep(200)
        await cortex.check_health()
        async with cortex.chat("Hi") as stream:
            assert (await stream.collect()).text == TEXT


async def test_a_local_server_that_does_not_list_the_model_is_asked_when_it_is_the_only_one(
    memory: World, autojump_clock: object
) -> None:
    memory.server("ollama", then_lists=play(model_list("ollama", "another:latest")))
    async with memory.gateway() as cortex:
        await cortex.check_health()
        assert (await cortex.complete("Hi")).text == TEXT


@pytest.mark.parametrize("answer", _ids(NOTHING_SAID))
async def test_a_list_that_says_nothing_about_chat_changes_no_order_and_no_status(
    memory: World, answer: Play, autojump_clock: object
) -> None:
    first, _ = memory.server(then_lists=answer), memory.server()
    async with memory.gateway() as cortex:
        for _ in range(3):
            status = await cortex.check_health()
            assert status.workers[first.name].status == "available"
            assert (await cortex.complete("Hi")).worker == first.name


@pytest.mark.parametrize("answer", _ids(SUSPICIOUS))
async def test_a_suspected_worker_is_asked_last(memory: World, answer: Play, autojump_clock: object) -> None:
    first, second = memory.server(then_lists=answer), memory.server()
    async with memory.gateway() as cortex:
        status = await cortex.check_health()
        assert status.workers[first.name].status != "available"
        assert (await cortex.complete("Hi")).worker == second.name
        assert first.asked == []


@pytest.mark.parametrize("answer", _ids(SUSPICIOUS))
async def test_a_suspected_worker_is_asked_when_the_other_one_fails(
    memory: World, answer: Play, autojump_clock: object
) -> None:
    first, second = memory.server(then_lists=answer), memory.server(then_chat=play(http(503, error("down"))))
    async with memory.gateway() as cortex:
        await cortex.check_health()
        reply = await cortex.complete("Hi")
        assert (reply.text, reply.worker) == (TEXT, first.name)
        assert second.asked


@pytest.mark.parametrize("answer", _ids(SUSPICIOUS))
async def test_a_successful_request_ends_the_suspicion(
    memory: World, answer: Play, autojump_clock: object
) -> None:
    first, _ = memory.server(then_lists=answer), memory.server()
    async with memory.gateway() as cortex:
        await cortex.check_health()
        assert (await cortex.complete("Hi", worker=first.name)).text == TEXT
        status = await cortex.health_status()
        assert status.workers[first.name].status == "available"
        assert (await cortex.complete("Hi")).worker == first.name


async def test_two_suspected_workers_are_asked_in_their_order(memory: World, autojump_clock: object) -> None:
    broken = play(http(500, error("boom")))
    first, _ = memory.server(then_lists=broken), memory.server(then_lists=broken)
    async with memory.gateway() as cortex:
        await cortex.check_health()
        assert (await cortex.complete("Hi")).worker == first.name


async def test_a_check_that_waits_behind_an_answer_that_is_arriving_proves_nothing(
    memory: World, autojump_clock: object
) -> None:
    pieces = [step for _ in range(30) for step in (2.0, chunk(sse(delta("x"))))]
    ending = chunk(sse(delta(finish="stop"), "[DONE]")) + chunk(b"")
    first = memory.server(chat=[play(open_head(), *pieces, ending)], then_lists=play(Do.HANG))
    memory.server()
    async with memory.gateway(health_check_interval=10, health_check_timeout=5) as cortex:
        async with cortex.chat("Hi") as stream:
            async for _ in stream:
                status = await cortex.health_status()
                assert status.workers[first.name].status == "available"
            assert len(first.listed) > 2
            assert (await cortex.complete("Hi")).worker == first.name


async def test_a_check_that_passes_ends_a_suspicion(memory: World, autojump_clock: object) -> None:
    first, _ = memory.server(lists=[play(http(500, error("boom")))]), memory.server()
    async with memory.gateway() as cortex:
        await cortex.check_health()
        assert (await cortex.check_health()).workers[first.name].status == "available"
        assert (await cortex.complete("Hi")).worker == first.name


async def test_thousands_of_checks_run_at_most_thirty_two_at_a_time(
    memory: World, autojump_clock: object
) -> None:
    servers = [memory.server(then_lists=play(1.0, model_list())) for _ in range(500)]
    async with memory.gateway() as cortex:
        status = await cortex.check_health()
        assert status.available_workers == 500
    starts = sorted(request.at for server in servers for request in server.listed)
    assert len(starts) == 500
    for at in starts:
        assert sum(at - 1 < start <= at for start in starts) <= 32


async def test_a_worker_that_serves_is_available_although_its_model_list_is_refused(
    memory: World, autojump_clock: object
) -> None:
    server = memory.server(chat=[play(30.0, said())], then_lists=play(http(401, WITH_A_KEY)))
    async with memory.gateway(health_check_interval=5, worker={"timeout": 60}) as cortex:
        assert (await cortex.complete("Hi")).text == TEXT
        assert (await cortex.complete("Hi")).text == TEXT
    assert len(server.asked) == 2
