"""However an answer is read, half of one never looks like a whole one."""

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
import trio
from at_rest import gateway

from cortex_trio import (
    AllWorkersFailed,
    ChatStream,
    Config,
    FailureKind,
    Finished,
    ProviderError,
    Restarted,
    StreamInterrupted,
    TextDelta,
    WorkerConfig,
    open_cortex,
)
from cortex_trio.simulator import Behaviour, open_simulator

STORY = "Once upon a time there was a gateway that never lost a word."
CUT = Behaviour(text=STORY, cut_after=3)


async def test_an_answer_that_was_left_early_cannot_be_read_on(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text=STORY, one_block=True))  # all of it has arrived already
        async with gateway(sim) as cortex:
            async with cortex.chat("Tell me") as answer:
                await anext(aiter(answer))
            with pytest.raises(trio.ClosedResourceError, match="left before its end"):
                await answer.collect()
            with pytest.raises(trio.ClosedResourceError):
                await anext(answer.text())


async def test_a_whole_answer_may_be_collected_again_and_after_it_was_left(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text=STORY))
        async with gateway(sim) as cortex:
            async with cortex.chat("Tell me") as answer:
                await anext(answer.text())
                assert (await answer.collect()).text == STORY
                assert [event async for event in answer] == []
            assert (await answer.collect()).text == STORY


async def test_a_broken_answer_stays_broken(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", CUT)
        async with gateway(sim) as cortex, cortex.chat("Tell me") as answer:
            with pytest.raises(StreamInterrupted) as first:
                await answer.collect()
            with pytest.raises(StreamInterrupted) as second:
                await answer.collect()
        assert second.value is first.value


async def test_the_partial_answer_lists_the_attempt_that_broke_off(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", CUT)
        async with gateway(sim) as cortex, cortex.chat("Tell me") as answer:
            with pytest.raises(StreamInterrupted) as caught:
                await answer.collect()
        assert [attempt.worker for attempt in caught.value.partial.attempts] == ["openai"]
        assert caught.value.partial.attempts == caught.value.attempts


async def test_cancelled_while_the_next_worker_is_asked_it_is_interrupted(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", CUT)
        sim.add("anthropic", Behaviour(text=STORY, first_token_after=10))
        async with gateway(sim) as cortex, cortex.chat("Tell me", on_interrupt="restart") as answer:
            with trio.move_on_after(1) as scope:
                await answer.collect()
            assert scope.cancelled_caught
            with pytest.raises(StreamInterrupted):
                await answer.collect()


async def test_a_deadline_for_the_opening_alone_does_not_bind_what_follows(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text=STORY, tokens_per_second=1, cut_after=3))
        sim.add("anthropic", Behaviour(text=STORY))
        async with gateway(sim) as cortex, AsyncExitStack() as stack:
            with trio.fail_after(2):
                answer = await stack.enter_async_context(cortex.chat("Tell me", on_interrupt="restart"))
            events = [event async for event in answer]
    assert [event.worker for event in events if isinstance(event, Restarted)] == ["anthropic"]
    assert "".join(event.text for event in events if isinstance(event, TextDelta)).endswith(STORY)


async def read_slowly(answer: ChatStream) -> None:
    async for _ in answer:
        await trio.sleep(10)


async def test_a_call_whose_time_is_over_ends_and_counts_against_no_worker(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(tokens=["word "] * 10_000))
        async with gateway(sim, total_timeout=600) as cortex:
            async with cortex.chat("Tell me", on_interrupt="restart") as answer:
                with pytest.raises(StreamInterrupted, match="time is over") as caught:
                    await read_slowly(answer)
            assert caught.value.failure.kind is FailureKind.CANCELLED
            worker = (await cortex.health_status()).workers["openai"]
            assert (worker.requests, worker.failures) == (1, 0)


async def test_the_time_of_a_call_is_shared_by_all_its_attempts(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        for name in ("openai", "anthropic"):
            sim.add(name, Behaviour(silent=True))
        async with gateway(sim, total_timeout=40) as cortex:
            began = trio.current_time()
            with pytest.raises(AllWorkersFailed) as caught:
                await cortex.complete("Hi", first_token_timeout=30)
            assert trio.current_time() - began == 40
            kinds = [
                error.failure.kind for error in caught.value.exceptions if isinstance(error, ProviderError)
            ]
            assert kinds == [FailureKind.STALLED, FailureKind.CANCELLED]


async def test_a_reader_whose_answer_another_task_closes_gets_an_error_that_says_so(
    autojump_clock: object,
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text=STORY, stall_after=3))
        async with gateway(sim) as cortex, trio.open_nursery() as nursery, cortex.chat("Tell me") as answer:

            async def read() -> None:
                with pytest.raises(trio.ClosedResourceError, match="left before its end"):
                    await answer.collect()

            nursery.start_soon(read)
            await trio.sleep(5)
            await answer.aclose()


@pytest.mark.parametrize("how", ["restart", "continue"])
async def test_closed_while_the_next_worker_is_asked_nothing_is_left_open(
    how: str, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", CUT)
        sim.add("anthropic", Behaviour(text=STORY, first_token_after=10))
        async with gateway(sim) as cortex, trio.open_nursery() as nursery:
            async with cortex.chat("Tell me", on_interrupt=how) as answer:

                async def read() -> None:
                    with pytest.raises(trio.ClosedResourceError, match="left before its end"):
                        await answer.collect()

                nursery.start_soon(read)
                await trio.sleep(5)
            await trio.sleep(30)
            assert [len(provider.requests) for provider in sim.providers.values()] == [1, 1]


def chunk(**delta: str) -> bytes:
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta}]})}\n\n".encode()


async def test_what_was_unpacked_before_a_failure_is_delivered(autojump_clock: object) -> None:
    """A body may have several gzip members (RFC 1952, section 2.2), and two of them may come at once."""

    async def body() -> AsyncIterator[bytes]:
        yield gzip.compress(chunk(content="Once upon"))
        await trio.sleep(1)
        error = b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n'
        yield gzip.compress(chunk(content=" a time")) + gzip.compress(error)

    def respond(request: httpx.Request) -> httpx.Response:
        headers = {"content-type": "text/event-stream", "content-encoding": "gzip"}
        return httpx.Response(200, content=body(), headers=headers)

    workers = {"openai": WorkerConfig(provider="groq", api_keys=("sk-0123456789",))}
    config = Config(workers=workers, health_check_interval=0)
    async with open_cortex(config, http_transport=lambda worker: httpx.MockTransport(respond)) as cortex:
        async with cortex.chat("Tell me") as answer:
            with pytest.raises(StreamInterrupted) as caught:
                await answer.collect()
    assert caught.value.partial.text == "Once upon a time"


async def test_a_reader_that_is_cancelled_at_the_end_still_gets_the_last_event() -> None:
    """The end of the body comes late, and the connection is drained while the last event is read."""
    body = b"".join(
        b"data: %b\n\n" % data
        for data in (
            b'{"choices":[{"delta":{"content":"Hi"}}]}',
            b'{"choices":[{"delta":{},"finish_reason":"stop"}]}',
            b"[DONE]",
        )
    )

    class LateEnd(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield body
            await trio.sleep_forever()

    class Transport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=LateEnd())

    worker = WorkerConfig(provider="openai_compatible", models=["m"], base_url="http://api.example/v1")
    config = Config(workers={"w": worker}, health_check_interval=0)
    async with (
        open_cortex(config, http_transport=lambda _: Transport()) as cortex,
        cortex.chat("Hi") as answer,
    ):
        assert isinstance(await anext(aiter(answer)), TextDelta)
        with trio.CancelScope() as scope:
            scope.cancel()
            await anext(aiter(answer))
        assert scope.cancelled_caught
        assert isinstance(await anext(aiter(answer)), Finished)
        assert [attempt.failure for attempt in answer.attempts] == [None]
        with pytest.raises(StopAsyncIteration):
            await anext(aiter(answer))


async def test_log_probabilities_before_the_first_content_are_no_preamble(autojump_clock: object) -> None:
    """A server may send those of a tool call while it grows, and the call only at its end."""
    token = {"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}
    growing = {"choices": [{"index": 0, "delta": {}, "logprobs": {"content": [token]}}]}
    function = {"name": "f", "arguments": "{}"}
    calls = {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": function}]}
    called = {"choices": [{"index": 0, "delta": calls, "finish_reason": "tool_calls"}]}
    events = [*[growing] * 200, called]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    async with open_simulator() as sim:
        script = Behaviour(body=body.encode(), content_type="text/event-stream", slice_bytes=150)
        sim.add("openai_compatible", script)
        async with gateway(sim) as cortex, cortex.chat("Call it") as answer:
            reply = await answer.collect()
    assert [call.name for call in reply.tool_calls] == ["f"]
    assert len(reply.logprobs) == 200


@pytest.mark.parametrize(
    ("body", "content_type", "said"),
    [
        (
            b'{"choices": []}',
            "text/plain",
            "nothing of an answer was found in the body, whose content-type is 'text/plain'",
        ),
        (b'{"a": 1}\n{"a": 2}\n', "application/x-ndjson", "whose content-type is 'application/x-ndjson'"),
        (b"OK", "", "whose content-type is ''"),
        (b"OK", "text/event-stream; charset=utf-8", "without its terminal marker"),
        (
            b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n',
            "text/plain",
            "without its terminal marker",
        ),
    ],
    ids=["JSON", "lines", "text", "events were named", "events were there"],
)
async def test_a_body_without_events_is_named_by_its_type(
    body: bytes, content_type: str, said: str, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(body=body, content_type=content_type))
        async with gateway(sim) as cortex:
            with pytest.raises(AllWorkersFailed) as caught:
                await cortex.complete("Hi")
    assert caught.value.primary.failure.kind is FailureKind.TRUNCATED
    assert said in caught.value.primary.failure.message
