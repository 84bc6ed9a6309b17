"""A transport of the user's own may do anything; what it does becomes a failure of one attempt."""

import gc
import logging
from collections.abc import AsyncIterator, Callable

import attrs
import httpx
import pytest
import trio

from cortex_trio import Config, FailureKind, ProviderError, WorkerConfig, open_cortex
from cortex_trio.gateway.pooled_transport import PooledTransport
from cortex_trio.simulator import Behaviour, open_simulator
from tests.at_rest import settle, worker_of

KEY = "sk-live-0123456789abcdefghij"
CONFIG = Config(workers={"openai": WorkerConfig(provider="openai", api_keys=[KEY])}, health_check_interval=0)
Handler = Callable[[httpx.Request], httpx.Response]


def raises(request: httpx.Request) -> httpx.Response:
    raise ValueError(f"never seen such a header: {request.headers['authorization']}")


def answers_with_a_synchronous_body(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, content=iter([b"data: "]))


def breaks_in_the_body(request: httpx.Request) -> httpx.Response:
    async def body() -> AsyncIterator[bytes]:
        yield b": wait\n\n"
        raise OSError("the tunnel collapsed")

    return httpx.Response(200, content=body(), headers={"content-type": "text/event-stream"})


@pytest.mark.parametrize("handler", [raises, answers_with_a_synchronous_body, breaks_in_the_body])
async def test_what_it_raises_is_the_failure_of_an_attempt(
    handler: Handler, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_cortex(CONFIG, http_transport=lambda worker: httpx.MockTransport(handler)) as cortex:
        with pytest.raises(ProviderError) as caught:
            await cortex.complete("Hi")
        assert caught.value.failure.kind is FailureKind.CRASHED
        assert "a bug in the transport" in caught.value.failure.message
        assert (await cortex.check_health()).system_health == "unhealthy"
    assert any(record.levelno == logging.ERROR for record in caplog.get_records("call"))
    assert KEY not in f"{caplog.text} {caught.value!r}"


async def test_an_error_whose_explanation_never_comes_is_that_error_all_the_same(
    autojump_clock: object,
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'{"error": '
        await trio.sleep_forever()

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(429, content=body(), headers={"retry-after": "300"})

    async with open_cortex(CONFIG, http_transport=lambda worker: httpx.MockTransport(answer)) as cortex:
        began = trio.current_time()
        with pytest.raises(ProviderError) as caught:
            await cortex.complete("Hi")
        assert caught.value.failure.kind is FailureKind.RATE_LIMIT
        assert caught.value.failure.retry_after == 300
        assert trio.current_time() - began < 10


async def test_a_second_reader_is_refused_and_the_first_reads_on(autojump_clock: object) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'data: {"choices":[{"delta":{"content":"Hello"}}]}\n\n'
        await trio.sleep(5)
        yield b'data: {"choices":[{"delta":{"content":"!"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body(), headers={"content-type": "text/event-stream"})

    async with (
        open_cortex(CONFIG, http_transport=lambda worker: httpx.MockTransport(answer)) as cortex,
        cortex.chat("Hi") as reply,
        trio.open_nursery() as nursery,
    ):

        async def interfere() -> None:
            await trio.sleep(1)
            with pytest.raises(trio.BusyResourceError):
                await reply.collect()

        nursery.start_soon(interfere)
        assert (await reply.collect()).text == "Hello!"


async def test_a_body_that_will_not_be_closed_changes_nothing(autojump_clock: object) -> None:
    class Body(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b'data: {"choices":[{"delta":{"content":"Hello"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'

        async def aclose(self) -> None:
            raise RuntimeError("no")

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Body(), headers={"content-type": "text/event-stream"})

    async with open_cortex(CONFIG, http_transport=lambda worker: httpx.MockTransport(answer)) as cortex:
        assert (await cortex.complete("Hi")).text == "Hello"


async def test_an_address_nobody_can_spell_is_one_that_cannot_be_reached() -> None:
    worker = WorkerConfig(provider="ollama", models=["m"], base_url=f"http://{'a' * 70}.example")
    async with open_cortex(Config(workers={"far": worker}, health_check_interval=0)) as cortex:
        with pytest.raises(ProviderError) as caught:
            await cortex.complete("Hi", max_attempts=1)
        assert caught.value.failure.kind is FailureKind.CONNECTION


async def test_the_transport_of_httpx_leaves_no_generator_behind_when_an_answer_is_left() -> None:
    """httpcore nests its generators; one that is collected while suspended is a ResourceWarning, here an error."""
    async with open_simulator(sockets=True) as sim:
        provider = sim.add("openai", Behaviour(tokens=["word "] * 1000, tokens_per_second=500))
        config = Config(workers={"openai": worker_of(provider)}, health_check_interval=0)
        async with open_cortex(config, http_transport=lambda worker: httpx.AsyncHTTPTransport()) as cortex:
            async with cortex.chat("Hi") as answer:
                await anext(answer.text())
            with trio.move_on_after(0.05):
                await cortex.complete("Hi")
            gc.collect()
            assert await settle(lambda: not provider.open_connections)


class Shared(httpx.AsyncBaseTransport):
    """One for all workers; counts how often it is closed, and refuses to serve then."""

    closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.closed:
            raise httpx.ReadError("closed")
        body = 'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        return httpx.Response(200, text=body, headers={"content-type": "text/event-stream"})

    async def aclose(self) -> None:
        self.closed += 1


async def test_one_that_is_shared_is_closed_once_by_the_last_who_used_it(autojump_clock: object) -> None:
    shared = Shared()
    worker = {"provider": "openai", "api_keys": [KEY]}
    workers = {"first": worker, "second": worker, "third": worker}
    async with open_cortex(workers, http_transport=lambda _: shared) as cortex:
        await cortex.remove_worker("first")
        await cortex.reload({"second": {**worker, "priority": 1}, "third": worker})
        await cortex.reload({"second": {**worker, "priority": 2}, "fourth": worker})
        assert (await cortex.complete("Hi", worker="fourth")).text == "Hi"
        before = shared.closed
    assert (before, shared.closed) == (0, 1)


async def test_connections_that_are_shared_are_kept_when_one_of_their_workers_changes(
    autojump_clock: object,
) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai", Behaviour(text="ok"))
        worker = worker_of(provider)
        shared = sim.transport(worker)
        assert isinstance(shared, PooledTransport)
        before = Config(workers={"a": worker, "b": worker}, health_check_interval=0)
        async with open_cortex(before, http_transport=lambda _: shared) as cortex:
            await cortex.complete("Hi", worker="a")
            changed = attrs.evolve(worker, priority=1)
            await cortex.reload(Config(workers={"a": changed, "b": worker}, health_check_interval=0))
            assert shared.idle == 1
            await cortex.complete("Hi", worker="b")
            await cortex.remove_worker("b")
            assert (shared.idle, provider.open_connections) == (1, 1)
        assert provider.open_connections == 0
