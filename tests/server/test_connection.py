"""Connections over real sockets: keep-alive, pipelining, streams, limits, clients that leave or do not read."""

import logging
from itertools import pairwise

import pytest
import trio
import trio.testing
from served import Client, StandIn, open_served, request, until

from cortex_trio.server.connection import RouteFailed


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with open_served() as (server, api, _):
        client = await Client.to(server)
        for number in range(3):
            answer = await client.post("/echo", b"%d" % number)
            assert (answer.status, answer.body) == (200, b"%d" % number)
        assert len({one.id for one in api.requests}) == 3


async def test_each_response_has_the_id_of_its_request() -> None:
    async with open_served() as (server, api, _):
        client = await Client.to(server)
        answer = await client.post("/echo")
        assert answer.headers["x-request-id"] == answer.headers["request-id"] == api.requests[0].id
        assert (await client.get("/nothing")).headers["x-request-id"].startswith("req_")


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with open_served() as (server, _, _):
        client = await Client.to(server)
        await client.send(
            request("POST", "/echo", b"1") + request("POST", "/stream") + request("POST", "/echo", b"3")
        )
        bodies = [(await client.answer()).body for _ in range(3)]
        assert bodies == [b"1", b"data: 0\n\ndata: 1\n\ndata: 2\n\n", b"3"]


async def test_other_tasks_run_between_pipelined_requests(caplog: pytest.LogCaptureFixture) -> None:
    answered = [0]  # at each turn of another task

    async def take_turns() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            answered.append(len(caplog.records))

    async with open_served() as (server, _, _), trio.open_nursery() as nursery:
        client = await Client.to(server)
        nursery.start_soon(take_turns)
        with caplog.at_level(logging.INFO, "cortex_trio.server"):
            await client.send(request("GET", "/nothing") * 100)
            for _ in range(100):
                assert (await client.answer()).status == 404
        nursery.cancel_scope.cancel()
    assert answered[-1] >= 99
    assert max(after - before for before, after in pairwise(answered)) <= 2


async def test_requests_that_arrive_while_one_is_answered_are_kept() -> None:
    async with open_served() as (server, api, _):
        client = await Client.to(server)
        await client.send(request("POST", "/wait"))
        await api.started.wait()
        await client.send(request("POST", "/echo", b"next"))
        await trio.testing.wait_all_tasks_blocked(0.02)
        api.go.set()
        assert (await client.answer()).body == b"waited"
        assert (await client.answer()).body == b"next"


async def test_a_stream_is_sent_in_chunks() -> None:
    async with open_served() as (server, _, _):
        client = await Client.to(server)
        answer = await client.post("/stream")
        assert answer.headers["transfer-encoding"] == "chunked"
        assert answer.is_whole
        assert (await client.post("/echo", b"x")).body == b"x"


async def test_a_client_of_http_1_0_gets_a_body_without_chunks() -> None:
    async with open_served() as (server, _, _):
        client = await Client.to(server)
        await client.send(b"POST /stream HTTP/1.0\r\nHost: localhost\r\n\r\n")
        raw = b""
        while data := await client.stream.receive_some():
            raw += data
        head, _, body = raw.partition(b"\r\n\r\n")
        assert b"chunked" not in head
        assert body == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


async def test_connection_close_is_obeyed() -> None:
    async with open_served() as (server, _, _):
        client = await Client.to(server)
        answer = await client.post("/echo", b"x", [("Connection", "close")])
        assert answer.headers["connection"] == "close"
        assert await client.is_closed()


async def test_a_chunked_body_is_read() -> None:
    async with open_served() as (server, _, _):
        client = await Client.to(server)
        head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = await client.ask(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert answer.body == b"abcde"
        assert (await client.post("/echo", b"next")).body == b"next"


async def test_a_client_that_expects_100_continue_gets_it() -> None:
    async with open_served() as (server, _, _):
        client = await Client.to(server)
        await client.send(
            b"POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        )
        assert await client.stream.receive_some() == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await client.ask(b"abc")).body == b"abc"


async def test_a_client_that_expects_100_continue_gets_an_error_instead() -> None:
    async with open_served(max_body=10) as (server, _, _):
        client = await Client.to(server)
        head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n"
        assert (await client.ask(head)).status == 413
        assert await client.is_closed()


async def test_a_route_gets_no_key_and_no_framing() -> None:
    async with open_served() as (server, api, _):
        client = await Client.to(server)
        secret = [
            ("Authorization", "Bearer s"),
            ("X-Api-Key", "s"),
            ("X-Goog-Api-Key", "s"),
            ("X-Other", "o"),
        ]
        await client.post("/echo?key=s&alt=sse", b"x", secret)
        (received,) = api.requests
        assert [name for name, _ in received.headers] == ["host", "x-other"]
        assert received.query == {"alt": "sse"}


# ------------------------------------------------------------------ clients that leave


@pytest.mark.parametrize("path", ["/wait", "/endless"])
async def test_a_client_that_leaves_is_noticed_at_once(path: str) -> None:
    async with open_served() as (server, api, _):
        client = await Client.to(server)
        await client.send(request("POST", path))
        await api.started.wait()
        await client.stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.005)
        assert api.cancelled.is_set()
        await until(lambda: server.connections == 0)


async def test_a_client_that_leaves_is_noticed_behind_many_pipelined_requests() -> None:
    async with open_served() as (server, api, _):
        client = await Client.to(server)
        await client.send(request("POST", "/wait") + request("POST", "/echo", bytes(100_000)))
        await api.started.wait()
        await trio.testing.wait_all_tasks_blocked(0.002)
        await client.stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.005)
        assert api.cancelled.is_set()


async def test_a_client_that_leaves_before_its_body_is_whole_starts_no_route() -> None:
    async with open_served() as (server, api, _):
        client = await Client.to(server)
        await client.send(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nab")
        await client.stream.aclose()
        await until(lambda: server.connections == 0)
        assert api.requests == []


async def test_a_client_that_does_not_read_stops_its_own_stream_only() -> None:
    async with open_served(write_timeout=0.3) as (server, api, _):
        client = await Client.to(server)
        await client.send(request("POST", "/flood"))
        await api.started.wait()
        other = await Client.to(server)
        assert (await other.post("/echo", b"x")).body == b"x"
        await until(lambda: api.running == 0)
        assert api.written < 200
        await until(lambda: server.connections == 1)


# ------------------------------------------------------------------ routes that fail


async def test_a_crash_ends_one_connection(caplog: pytest.LogCaptureFixture) -> None:
    async with open_served() as (server, _, _):
        other, client = await Client.to(server), await Client.to(server)
        await other.post("/echo")
        answer = await client.post("/crash")
        assert (answer.status, answer.error) == (500, "INTERNAL")
        assert await client.is_closed()
        assert (await other.post("/echo", b"x")).body == b"x"
    (error,) = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert isinstance(error, RouteFailed)
    assert isinstance(error.__cause__, ValueError)


async def test_a_crash_after_the_head_cuts_the_body() -> None:
    async with open_served() as (server, _, _):
        client = await Client.to(server)
        answer = await client.post("/crash", b"x")
        assert (answer.status, answer.is_whole) == (200, False)


async def test_a_route_that_returns_within_a_body_cuts_it() -> None:
    async with open_served() as (server, _, _):
        client = await Client.to(server)
        answer = await client.post("/cut")
        assert (answer.body, answer.is_whole) == (b"half", False)


async def test_a_route_that_sends_nothing_is_an_error() -> None:
    async with open_served() as (server, _, _):
        client = await Client.to(server)
        assert (await client.post("/silent")).status == 500


async def test_no_header_can_be_injected() -> None:
    async with open_served() as (server, _, _):
        client = await Client.to(server)
        answer = await client.post("/inject")
        assert "x-evil" not in answer.headers
        assert answer.headers["x-cortex-model"] == "a x-evil: 1 body"
        assert answer.body == b""


# ------------------------------------------------------------------ the log


async def test_a_request_is_one_line_of_the_log_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cortex_trio.server")
    async with open_served(keys=["sk-secret-1"]) as (server, _, _):
        client = await Client.to(server)
        await client.post("/echo?key=sk-secret-1", b"a prompt")
        await client.post("/echo", b"a prompt", [("authorization", "Bearer sk-secret-1")])
        await client.post("/echo", b"a prompt", [("authorization", "Bearer sk-secret-2")])
        await client.get("/a%0d%0ab")
    records = [record for record in caplog.records if record.name == "cortex_trio.server"]
    assert [record.status for record in records] == [200, 200, 401, 404]
    first = records[0].__dict__
    assert (first["method"], first["path"], first["outcome"], first["key"]) == (
        "POST",
        "/echo",
        "completed",
        "key-1",
    )
    assert (first["received"], first["sent"], first["client"]) == (8, 8, "127.0.0.1")
    text = caplog.text + repr([record.__dict__ for record in caplog.records])
    assert "secret" not in text
    assert "prompt" not in text
    assert "\r" not in records[3].getMessage()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("/wait", b"a prompt", None), ("/crash", b"a prompt", 200), ("/no", b"12", 404)],
)
async def test_the_access_log_has_the_bytes_that_came_whatever_the_end(
    caplog: pytest.LogCaptureFixture, path: str, body: bytes, status: int | None
) -> None:
    caplog.set_level(logging.INFO, "cortex_trio.server")
    async with open_served() as (server, api, _):
        client = await Client.to(server)
        await client.send(request("POST", path, body))
        if status is None:
            await api.started.wait()
            await client.stream.aclose()
        await until(lambda: server.connections == 0 or status is not None)
        await until(lambda: any(hasattr(record, "received") for record in caplog.records))
    (record,) = [record for record in caplog.records if hasattr(record, "received")]
    assert (record.__dict__["status"], record.__dict__["received"]) == (status, len(body))


async def test_the_stand_in_is_an_api() -> None:
    from cortex_trio.server.api_protocol import Api

    api: Api = StandIn()
    assert not api.serves("GET", "/")
