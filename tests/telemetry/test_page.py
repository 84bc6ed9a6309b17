"""The live page over HTTP: real sockets, a real client, virtual time."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import h11
import httpx
import pytest
import trio

from cortex_trio import Cortex
from cortex_trio.simulator import open_gateway, open_simulator
from cortex_trio.telemetry import Snapshot, from_json
from cortex_trio.telemetry.page import (
    INTERVAL_SECONDS,
    MOST_STREAMS,
    PAGE,
    REQUEST_SECONDS,
    ObserverPage,
    open_observer_page,
)

MOST_BYTES = 12 * 1024


@attrs.frozen
class Opened:
    """A page with a client for it."""

    page: ObserverPage
    client: httpx.AsyncClient
    cortex: Cortex


@asynccontextmanager
async def opened() -> AsyncIterator[Opened]:
    """A gateway of one simulated provider, its page, and a client."""
    async with open_simulator() as sim:
        sim.add("openai")
        async with open_gateway(sim) as cortex, open_observer_page(cortex) as page:
            async with httpx.AsyncClient(base_url=page.url) as client:
                yield Opened(page, client, cortex)


class Events:
    """A connection that reads server-sent events. httpx would leave its generators open."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)
        self._text = b""

    async def start(self) -> h11.Response:
        request = h11.Request(method="GET", target="/events", headers=[("host", "localhost")])
        await self._stream.send_all(self._http.send(request) + self._http.send(h11.EndOfMessage()))
        response = await self._next()
        assert isinstance(response, h11.Response)
        return response

    async def snapshot(self) -> Snapshot:
        """The next event that has data."""
        while True:
            while b"\n\n" not in self._text:
                event = await self._next()
                assert isinstance(event, h11.Data)
                self._text += event.data
            found, _, self._text = self._text.partition(b"\n\n")
            if found.startswith(b"data: "):
                return from_json(found.removeprefix(b"data: "))

    async def read_for_ever(self) -> None:
        while True:
            await self.snapshot()

    async def _next(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._stream.receive_some())
        return event


@asynccontextmanager
async def events_of(page: ObserverPage) -> AsyncIterator[Events]:
    async with await trio.open_tcp_stream("127.0.0.1", page.port) as stream:
        yield Events(stream)


def test_the_file_is_small_and_loads_nothing() -> None:
    text = PAGE.decode()
    assert len(PAGE) < MOST_BYTES
    assert (
        re.findall(r"https?://(?!www\.w3\.org/2000/svg)|@import|<script src|<link rel=.stylesheet", text)
        == []
    )
    assert "innerHTML" not in text


async def test_the_page_is_served(autojump_clock: object) -> None:
    async with opened() as one:
        response = await one.client.get("/")
        assert response.status_code == 200
        assert response.content == PAGE
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in response.headers["content-security-policy"]


async def test_events_are_snapshots_at_once_and_then_each_second(autojump_clock: object) -> None:
    async with opened() as one, events_of(one.page) as events:
        response = await events.start()
        assert (b"content-type", b"text/event-stream") in list(response.headers)
        start = trio.current_time()
        first = await events.snapshot()
        assert trio.current_time() - start < INTERVAL_SECONDS
        await one.cortex.complete("Hi")
        second, third = await events.snapshot(), await events.snapshot()
        assert trio.current_time() - start >= INTERVAL_SECONDS
        assert (first.totals.calls, third.totals.calls) == (0, 1)
        assert third.at >= second.at >= first.at


async def test_leaving_the_block_ends_the_streams(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        async with open_gateway(sim) as cortex:
            async with open_observer_page(cortex) as page:
                stream = await trio.open_tcp_stream("127.0.0.1", page.port)
                events = Events(stream)
                await events.start()
                await events.snapshot()
            with pytest.raises((h11.RemoteProtocolError, trio.BrokenResourceError)):
                await events.read_for_ever()
            await stream.aclose()
            with pytest.raises(OSError, match="all attempts to connect"):
                await trio.open_tcp_stream("127.0.0.1", page.port)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/other", {}, 404),
        ("POST", "/", {}, 405),
        ("POST", "/events", {}, 405),
        ("HEAD", "/", {}, 200),
        ("HEAD", "/events", {}, 200),
        ("GET", "/", {"host": "attacker.example"}, 421),
        ("GET", "/events", {"host": "attacker.example:80"}, 421),
        ("GET", "/", {"host": "LOCALHOST:1"}, 200),
        ("GET", "/?query", {}, 200),
    ],
)
async def test_what_is_served_and_what_is_not(
    method: str, path: str, headers: dict[str, str], status: int, autojump_clock: object
) -> None:
    async with opened() as one:
        response = await one.client.request(method, path, headers=headers)
        assert response.status_code == status
        assert "access-control-allow-origin" not in response.headers


async def test_one_page_too_many_is_refused_and_a_closed_page_makes_place(autojump_clock: object) -> None:
    async with opened() as one:
        async with AsyncExitStack() as stack:
            for _ in range(MOST_STREAMS):
                events = await stack.enter_async_context(events_of(one.page))
                await events.start()
            assert (await one.client.get("/events")).status_code == 503
        await trio.sleep(3 * INTERVAL_SECONDS)
        async with events_of(one.page) as events:
            assert (await events.start()).status_code == 200


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"X" * 40_000])
async def test_a_client_that_speaks_no_http_is_disconnected(sent: bytes, autojump_clock: object) -> None:
    async with opened() as one:
        stream = await trio.open_tcp_stream("127.0.0.1", one.page.port)
        async with stream:
            await stream.send_all(sent)
            with trio.fail_after(2 * REQUEST_SECONDS):
                try:
                    while await stream.receive_some():
                        pass
                except trio.BrokenResourceError:
                    pass
        assert (await one.client.get("/")).status_code == 200


async def test_a_snapshot_that_cannot_be_made_ends_this_connection_only(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def snapshot(self) -> Snapshot:
            raise LookupError("broken")

    async with open_observer_page(Broken()) as page, httpx.AsyncClient(base_url=page.url) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/events")
        assert (await client.get("/")).status_code == 200
    assert [record.message for record in caplog.records] == ["the observer page has failed"]


async def test_a_port_that_is_taken_is_an_error(autojump_clock: object) -> None:
    async with opened() as one:
        with pytest.raises(OSError, match=r"already in use|Address"):
            async with open_observer_page(one.cortex, port=one.page.port):
                pass
