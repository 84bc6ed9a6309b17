"""A transport of the user's own may do anything; what it does becomes a failure of one attempt."""

import errno
import gc
import logging
import traceback
from collections.abc import AsyncIterator, Callable

import attrs
import httpx
import pytest
import trio
from at_rest import settle, worker_of

from cortex_trio import Config, ConfigError, FailureKind, ProviderError, WorkerConfig, open_cortex
from cortex_trio.http import PooledTransport
from cortex_trio.simulator import Behaviour, open_simulator

KEY = "sk-live-0123456789abcdefghij"
GATE_KEY = "of-the-gate-9876543210zyxwvu"
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
async def test_an_exception_of_a_transport_is_the_failure_of_an_attempt(
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


def repeats_the_key(request: httpx.Request) -> httpx.Response:
    raise httpx.RemoteProtocolError(f"illegal header line: {request.headers['authorization']}")


def repeats_the_key_in_the_body(request: httpx.Request) -> httpx.Response:
    async def body() -> AsyncIterator[bytes]:
        yield b"data: "
        raise httpx.ReadError(f"stopped after {request.headers['x-gate']}")

    return httpx.Response(200, content=body(), headers={"content-type": "text/event-stream"})


def repeats_the_key_in_a_note(request: httpx.Request) -> httpx.Response:
    error = httpx.ReadError("broken")
    error.add_note(f"while sending {request.headers['authorization']}")
    raise error


def repeats_the_key_over_a_group(request: httpx.Request) -> httpx.Response:
    group = ExceptionGroup(f"sending {request.headers['authorization']}", [OSError("gone")])
    raise httpx.ReadError("broken") from group


@pytest.mark.parametrize(
    "handler",
    [
        raises,
        repeats_the_key,
        repeats_the_key_in_the_body,
        repeats_the_key_in_a_note,
        repeats_the_key_over_a_group,
    ],
)
async def test_an_error_that_repeats_a_key_does_not_show_it_and_is_not_kept(
    handler: Handler, autojump_clock: object
) -> None:
    worker = WorkerConfig(provider="openai", api_keys=[KEY], secret_headers={"x-gate": GATE_KEY})
    config = Config(workers={"w": worker}, health_check_interval=0)
    async with open_cortex(config, http_transport=lambda worker: httpx.MockTransport(handler)) as cortex:
        for ask in (lambda: cortex.models(worker="w"), lambda: cortex.complete("Hi", max_attempts=1)):
            with pytest.raises(ProviderError) as caught:
                await ask()
            shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__context__)
            assert KEY[:16] not in shown
            assert GATE_KEY[:16] not in shown


async def test_an_error_status_counts_if_its_body_never_arrives(
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


async def test_a_body_that_fails_to_close_changes_nothing(autojump_clock: object) -> None:
    class Body(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b'data: {"choices":[{"delta":{"content":"Hello"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'

        async def aclose(self) -> None:
            raise RuntimeError("no")

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Body(), headers={"content-type": "text/event-stream"})

    async with open_cortex(CONFIG, http_transport=lambda worker: httpx.MockTransport(answer)) as cortex:
        assert (await cortex.complete("Hi")).text == "Hello"


async def test_an_address_that_cannot_be_encoded_cannot_be_reached() -> None:
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


async def test_a_shared_transport_is_closed_once_by_its_last_worker(autojump_clock: object) -> None:
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


# ------------------------------------------------------------------ httpx2, and any other with the two methods

STREAM = b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


async def test_a_transport_of_httpx2_works_like_one_of_httpx() -> None:
    httpx2 = pytest.importorskip("httpx2", reason="httpx2 is not installed")
    async with open_simulator(sockets=True) as sim:
        provider = sim.add("openai", Behaviour(tokens=["word "] * 1000, tokens_per_second=500))
        config = Config(workers={"openai": worker_of(provider)}, health_check_interval=0)
        async with open_cortex(config, http_transport=lambda worker: httpx2.AsyncHTTPTransport()) as cortex:
            async with cortex.chat("Hi") as answer:
                assert await anext(answer.text())
            assert await settle(lambda: not provider.open_connections)
            provider.behave(Behaviour(text="Short."))
            assert (await cortex.complete("Hi")).text == "Short."
            provider.behave(Behaviour(refuse=True))
            await cortex.check_health()
            gc.collect()


async def test_a_mock_of_httpx2_gets_a_request_of_httpx2(autojump_clock: object) -> None:
    httpx2 = pytest.importorskip("httpx2", reason="httpx2 is not installed")
    kinds: set[type] = set()

    def answer(request: object) -> object:
        kinds.add(type(request))
        return httpx2.Response(200, content=STREAM, headers={"content-type": "text/event-stream"})

    async with open_cortex(CONFIG, http_transport=lambda worker: httpx2.MockTransport(answer)) as cortex:
        assert (await cortex.complete("Hi")).text == "Hi"
    assert kinds == {httpx2.Request}


class Body:
    def __init__(self) -> None:
        self.pieces = iter([STREAM[:20], b"", STREAM[20:]])
        self.closed = 0

    def __aiter__(self) -> "Body":
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        try:
            return next(self.pieces)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        self.closed += 1


@attrs.define
class Plain:
    """A response with what is asked of one and no more."""

    stream: object
    status_code: int = 200
    headers: dict[str, str] = attrs.field(factory=lambda: {"Content-Type": "text/event-stream"})


async def test_a_transport_needs_no_base_class_only_its_two_methods(autojump_clock: object) -> None:
    body, closed = Body(), []

    class Structural:
        async def handle_async_request(self, request: httpx.Request) -> Plain:
            assert isinstance(request, httpx.Request)
            return Plain(body)

        async def aclose(self) -> None:
            closed.append(self)

    async with open_cortex(CONFIG, http_transport=lambda worker: Structural()) as cortex:
        assert (await cortex.complete("Hi")).text == "Hi"
    assert (body.closed, len(closed)) == (1, 1)


async def test_the_annotation_of_a_wrapper_chooses_the_request(autojump_clock: object) -> None:
    httpx2 = pytest.importorskip("httpx2", reason="httpx2 is not installed")

    class Wrapper:
        async def handle_async_request(self, request: "httpx2.Request") -> object:  # type: ignore[name-defined]
            assert isinstance(request, httpx2.Request)
            return Plain(Body())

        async def aclose(self) -> None:
            """Nothing is open."""

    async with open_cortex(CONFIG, http_transport=lambda worker: Wrapper()) as cortex:
        assert (await cortex.complete("Hi")).text == "Hi"


async def makes_one(worker: WorkerConfig) -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport()


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (httpx.AsyncHTTPTransport(), "this is a transport, AsyncHTTPTransport; pass a function"),
        (httpx.MockTransport(raises), "this is a transport, MockTransport; pass a function"),
        (httpx.AsyncHTTPTransport, "this is the class AsyncHTTPTransport; pass a function"),
        (httpx.AsyncClient(), "this is of type AsyncClient; pass a function"),
        (5, "this is of type int; pass a function"),
        (makes_one, "the function is async; pass a function"),
        (lambda worker: None, "returned a value of type NoneType, which has no handle_async_request"),
        (lambda worker: httpx.HTTPTransport(), "returned a value of type HTTPTransport, which has no"),
        (lambda worker: httpx.AsyncClient(), "returned a value of type AsyncClient, which has no"),
    ],
)
async def test_a_value_that_is_no_function_of_transports_is_refused(wrong: object, expected: str) -> None:
    with pytest.raises(ConfigError, match=f"^http_transport: .*{expected}"):
        async with open_cortex(CONFIG, http_transport=wrong):  # type: ignore[arg-type]
            pytest.fail("it was opened")


async def test_a_pool_timeout_of_a_users_transport_is_no_failure_of_the_worker(
    autojump_clock: object,
) -> None:
    asked = 0

    def full_at_first(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        if asked < 4:
            raise httpx.PoolTimeout("")
        return httpx.Response(200, content=STREAM, headers={"content-type": "text/event-stream"})

    async with open_cortex(CONFIG, http_transport=lambda _: httpx.MockTransport(full_at_first)) as cortex:
        with pytest.raises(ProviderError, match="no connection of the transport's pool was free") as caught:
            await cortex.complete("Hi", max_attempts=1)
        assert caught.value.failure.kind is FailureKind.CONNECTION
        assert caught.value.failure.ours
        assert (await cortex.complete("Hi")).text == "Hi"  # a lone worker is asked again
        assert asked == 4
        assert (await cortex.health_status()).system_health == "healthy"


async def test_an_error_that_the_caller_was_handling_is_no_cause(autojump_clock: object) -> None:
    """Python makes it the context of every exception that is raised in the meantime."""

    def breaks(request: httpx.Request) -> httpx.Response:
        raise httpx.RemoteProtocolError("illegal header line")

    async with open_cortex(CONFIG, http_transport=lambda _: httpx.MockTransport(breaks)) as cortex:
        try:
            raise OSError(errno.EMFILE, "of a file of the caller's")
        except OSError:
            with pytest.raises(ProviderError) as caught:
                await cortex.complete("Hi", max_attempts=1)
    assert caught.value.failure.message == "illegal header line"
    assert not caught.value.failure.ours
