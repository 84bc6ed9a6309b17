"""When no worker may be asked now, a call waits for the first that opens: within `max_wait` and its own deadline."""

import logging
from itertools import pairwise

import pytest
import trio
from raw_bytes import TEXT, chunk, delta, error, http, open_head, said, sse
from raw_server import Play, World, play

from cortex_trio import AllWorkersFailed, Attempt, Cortex, CortexError, NoWorkersAvailable, Reply, open_cortex

LIMITED = error("Rate limit reached", "rate_limit_error", "rate_limit_exceeded")
BOOM = error("boom")
EMPTY_BUCKET = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}


def limited(seconds: float, status: int = 429) -> Play:
    return play(http(status, LIMITED, {"retry-after": f"{seconds:g}"}))


async def ask_many(cortex: Cortex, count: int, into: list[Reply | CortexError]) -> None:
    async def ask() -> None:
        try:
            into.append(await cortex.complete("Hi"))
        except CortexError as problem:
            into.append(problem)

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(ask)


def texts(outcomes: list[Reply | CortexError]) -> list[object]:
    return [outcome.text if isinstance(outcome, Reply) else outcome for outcome in outcomes]


@pytest.mark.parametrize("status", [429, 503, 529])
async def test_ten_calls_at_once_with_a_retry_after_are_all_served(
    memory: World, status: int, autojump_clock: object
) -> None:
    server = memory.server(chat=[limited(1, status)] * 10)
    async with memory.gateway() as cortex:
        start, outcomes = trio.current_time(), []
        await ask_many(cortex, 10, outcomes)
        assert texts(outcomes) == [TEXT] * 10
        later = [at - start for at in server.asked_at if at > start + 0.01]
        assert min(later) >= 1
        assert max(later) < 5
        assert len(set(later)) > 1, "they come with jitter, not all in one moment"


@pytest.mark.parametrize("status", [429, 503, 529])
async def test_nine_calls_wait_after_a_first_got_a_retry_after(
    memory: World, status: int, autojump_clock: object
) -> None:
    server = memory.server(chat=[limited(1, status)])
    async with memory.gateway() as cortex:
        start, outcomes = trio.current_time(), []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_many, cortex, 1, outcomes)
            await trio.sleep(0.2)
            await ask_many(cortex, 9, outcomes)
        assert texts(outcomes) == [TEXT] * 10
        assert [at - start >= 1 for at in server.asked_at] == [False, *[True] * 10]


async def test_an_empty_bucket_in_the_headers_of_an_answer_makes_the_next_calls_wait(
    memory: World, autojump_clock: object
) -> None:
    server = memory.server(then_chat=play(said(headers=EMPTY_BUCKET)))
    async with memory.gateway() as cortex:
        for _ in range(5):
            assert (await cortex.complete("Hi")).text == TEXT
        asked = server.asked_at
        assert [after - before >= 1 for before, after in pairwise(asked)] == [True] * 4


@pytest.mark.parametrize("calls", [3, 10])
async def test_many_calls_behind_an_empty_bucket_are_all_served(
    memory: World, calls: int, autojump_clock: object
) -> None:
    memory.server(chat=[play(said(headers=EMPTY_BUCKET))])
    async with memory.gateway() as cortex:
        await cortex.complete("Hi")
        outcomes: list[Reply | CortexError] = []
        await ask_many(cortex, calls, outcomes)
        assert texts(outcomes) == [TEXT] * calls


@pytest.mark.parametrize("seconds", [0.5, 5, 25])
async def test_a_hint_within_the_longest_wait_is_waited_for_and_not_shortened(
    memory: World, seconds: float, autojump_clock: object
) -> None:
    server = memory.server(chat=[limited(seconds)])
    async with memory.gateway() as cortex:
        assert (await cortex.complete("Hi")).text == TEXT
        first, second = server.asked_at
        assert seconds <= second - first <= seconds * 1.1 + 1


@pytest.mark.parametrize("seconds", [45, 3600])
async def test_a_hint_beyond_the_longest_wait_is_an_error_at_once(
    memory: World, seconds: float, autojump_clock: object
) -> None:
    server = memory.server(chat=[limited(seconds)])
    async with memory.gateway() as cortex:
        for _ in range(3):
            begin = trio.current_time()
            with pytest.raises(CortexError) as caught:
                await cortex.complete("Hi")
            assert trio.current_time() - begin < 1
            assert seconds - 5 <= getattr(caught.value, "retry_after", 0) <= seconds * 1.1
        assert isinstance(caught.value, NoWorkersAvailable)
        assert len(server.asked) == 1


@pytest.mark.parametrize("where", ["in the configuration", "in the call"])
async def test_a_longest_wait_of_zero_is_an_error_at_once_that_says_when(
    memory: World, where: str, autojump_clock: object
) -> None:
    server = memory.server(chat=[limited(4)])
    settings = {"max_wait": 0} if where == "in the configuration" else {}
    options = {} if settings else {"max_wait": 0}
    async with memory.gateway(**settings) as cortex:
        begin = trio.current_time()
        with pytest.raises(CortexError):
            await cortex.complete("Hi", **options)
        with pytest.raises(NoWorkersAvailable) as caught:
            await cortex.complete("Hi", **options)
        assert trio.current_time() - begin < 1
        assert caught.value.retry_after is not None
        assert 3 < caught.value.retry_after <= 4.4
        assert len(server.asked) == 1


async def test_a_call_may_wait_longer_than_the_configuration_says(
    memory: World, autojump_clock: object
) -> None:
    server = memory.server(chat=[limited(50)])
    async with memory.gateway() as cortex:
        assert (await cortex.complete("Hi", max_wait=90)).text == TEXT
        first, second = server.asked_at
        assert second - first >= 50


async def test_a_wait_that_does_not_fit_the_deadline_is_an_error_at_once(
    memory: World, autojump_clock: object
) -> None:
    memory.server(chat=[limited(5)])
    async with memory.gateway() as cortex:
        begin = trio.current_time()
        for _ in range(2):
            with trio.fail_after(2), pytest.raises(CortexError):
                await cortex.complete("Hi")
        assert trio.current_time() - begin < 1


async def test_the_first_worker_that_opens_serves(memory: World, autojump_clock: object) -> None:
    memory.server(chat=[limited(20)])
    second = memory.server(chat=[limited(2)])
    async with memory.gateway() as cortex:
        for _ in range(3):
            assert (await cortex.complete("Hi")).worker == second.name
        assert second.asked_at[1] - second.asked_at[0] >= 2


async def test_calls_over_the_concurrency_limit_wait_their_turn(
    memory: World, autojump_clock: object
) -> None:
    server = memory.server(then_chat=play(1.0, said()))
    async with memory.gateway(worker={"max_concurrency": 2}) as cortex:
        outcomes: list[Reply | CortexError] = []
        await ask_many(cortex, 10, outcomes)
        assert texts(outcomes) == [TEXT] * 10
    asked = server.asked_at
    assert max(sum(at - 0.99 < other <= at for other in asked) for at in asked) <= 2


async def test_a_call_waits_for_an_open_breaker(memory: World, autojump_clock: object) -> None:
    memory.server(chat=[play(http(500, error("boom")))] * 12)
    async with memory.gateway() as cortex:
        for _ in range(3):
            with pytest.raises(CortexError):
                await cortex.complete("Hi", max_attempts=4)
        begin = trio.current_time()
        assert (await cortex.complete("Hi")).text == TEXT
        assert trio.current_time() - begin <= 30


async def test_a_wait_is_an_event_and_a_log_line(
    memory: World, caplog: pytest.LogCaptureFixture, autojump_clock: object
) -> None:
    memory.server(chat=[limited(3)])
    events: list[object] = []
    with caplog.at_level(logging.DEBUG, "cortex_trio"):
        async with memory.gateway(on_event=events.append) as cortex:
            await cortex.complete("Hi")
    assert any("wait" in record.getMessage().lower() for record in caplog.records)
    own = [event for event in events if not isinstance(event, Attempt)]
    assert any("wait" in type(event).__name__.lower() for event in own), own


async def test_a_call_that_is_cancelled_while_it_waits_leaves_nothing(
    memory: World, autojump_clock: object
) -> None:
    server = memory.server(chat=[limited(20)])
    async with memory.gateway() as cortex:
        with trio.move_on_after(25), trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cortex.complete, "Hi")
                await trio.sleep(5)
                scope.cancel()
        assert len(server.asked) == 1
        assert (await cortex.complete("Hi")).text == TEXT
        assert server.asked_at[1] - server.asked_at[0] >= 20


@pytest.mark.parametrize("later", [limited(40), play(http(503, LIMITED, {"retry-after": "40"}))])
async def test_the_error_says_when_to_come_back_from_now_and_not_from_the_first_refusal(
    memory: World, later: Play, autojump_clock: object
) -> None:
    """The first hint was waited for; the second is longer than the call may wait."""
    memory.server(chat=[limited(1), later])
    async with memory.gateway() as cortex:
        with pytest.raises(AllWorkersFailed) as caught:
            await cortex.complete("Hi")
    assert caught.value.retry_after == pytest.approx(40, abs=0.1)


async def test_a_hint_that_fits_the_deadline_is_waited_for_by_all_calls(
    memory: World, autojump_clock: object
) -> None:
    memory.server(chat=[limited(10)] * 20)
    async with memory.gateway() as cortex:
        outcomes: list[Reply | CortexError] = []
        with trio.fail_after(10.3):
            await ask_many(cortex, 20, outcomes)
        assert texts(outcomes) == [TEXT] * 20


@pytest.mark.parametrize("fault", [limited(20), play(http(500, LIMITED))], ids=["waiting", "pausing"])
async def test_a_call_ends_at_once_when_the_gateway_is_left(
    memory: World, fault: Play, autojump_clock: object
) -> None:
    """Whether it waits for a cooldown or pauses before a retry."""
    server = memory.server(then_chat=fault)
    ended: list[float] = []

    async def asks(cortex: Cortex) -> None:
        with pytest.raises(trio.ClosedResourceError, match="this gateway was closed"):
            await cortex.complete("Hi", max_attempts=10)
        ended.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        async with open_cortex(memory.config(), http_transport=memory.transport) as cortex:
            for _ in range(5):
                nursery.start_soon(asks, cortex)
            await trio.sleep(0.6)
        left, asked = trio.current_time(), len(server.asked)
    assert ended == [pytest.approx(left, abs=0.01)] * 5
    assert len(server.asked) == asked


async def test_a_call_ends_at_once_when_the_only_worker_it_waits_for_is_being_removed(
    memory: World, autojump_clock: object
) -> None:
    """The request in flight goes on to its end; no other request is admitted for it."""
    server = memory.server(then_chat=play(10.0, said()))
    other = memory.server()
    ended: dict[str, float] = {}

    async def asks(cortex: Cortex, name: str, outcomes: list[Reply | CortexError]) -> None:
        try:
            outcomes.append(await cortex.complete("Hi", worker=server.name))
        except CortexError as problem:
            outcomes.append(problem)
        ended[name] = trio.current_time()

    outcomes: list[Reply | CortexError] = []
    async with memory.gateway(server, other, worker={"max_concurrency": 1}) as cortex:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asks, cortex, "first", outcomes)
            await trio.sleep(1)
            nursery.start_soon(asks, cortex, "second", outcomes)
            await trio.sleep(1)
            await cortex.remove_worker(server.name)
    assert ended == {"first": pytest.approx(10, abs=0.1), "second": pytest.approx(2, abs=0.1)}
    assert isinstance(outcomes[0], NoWorkersAvailable)
    assert "is being removed" in str(outcomes[0])


def long_stream(seconds: int) -> Play:
    """An answer that says a word each second."""
    deltas = [step for _ in range(seconds) for step in (1.0, chunk(sse(delta("x"))))]
    ending = chunk(sse(delta(finish="stop"), "[DONE]")) + chunk(b"")
    return play(open_head(), chunk(sse(delta("x"))), *deltas, ending)


NO_CREDIT = error("You exceeded your current quota", "insufficient_quota", "insufficient_quota")


@pytest.mark.parametrize(
    ("failure", "opens_after"),
    [(play(http(529, BOOM)), 6.0), (play(http(402, NO_CREDIT)), 61.0)],
    ids=["of a breaker", "of a cooldown"],
)
async def test_calls_need_not_wait_for_the_end_of_a_trial_that_answers(
    memory: World, failure: Play, opens_after: float, autojump_clock: object
) -> None:
    """Its stream takes minutes; its first content shows that the worker serves again. No other worker does."""
    first = memory.server(chat=[failure] * 3 + [long_stream(200)])
    memory.server(then_chat=limited(3000))
    async with memory.gateway() as cortex:
        for _ in range(3):
            with pytest.raises(CortexError):
                await cortex.complete("Hi", worker=first.name, max_attempts=1, max_wait=0)
        first.chat = type(first.chat)([long_stream(200)])
        await trio.sleep(opens_after)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cortex.complete, "Hi")
            await trio.sleep(1)
            begin, outcomes = trio.current_time(), []
            await ask_many(cortex, 5, outcomes)
            assert texts(outcomes) == [TEXT] * 5
            assert trio.current_time() - begin < 1
            nursery.cancel_scope.cancel()
