"""TLS on the side of the server: what is served, and clients that stall, cut or skip the encryption."""

import ssl

import pytest
import trio
from certificates import client_context, server_context
from served import Client, open_served, request, until


async def test_one_connection_serves_many_requests() -> None:
    async with open_served(tls=server_context()) as (server, _, _):
        assert server.url.startswith("https://127.0.0.1:")
        client = await Client.through_tls(server)
        assert (await client.post("/echo", b"x" * 200_000)).body == b"x" * 200_000
        assert (await client.post("/stream")).body.endswith(b"data: 2\n\n")
        await client.send(request("POST", "/echo", b"one") + request("POST", "/echo", b"two"))
        assert [(await client.answer()).body for _ in range(2)] == [b"one", b"two"]


async def test_a_client_that_leaves_is_noticed() -> None:
    async with open_served(tls=server_context(), write_timeout=0.3) as (server, api, _):
        for path in ("/wait", "/flood"):  # leaves; does not read
            client = await Client.through_tls(server)
            await client.send(request("POST", path))
            await until(lambda: api.running == 1)
            if path == "/wait":
                await trio.aclose_forcefully(client.stream)
            await until(lambda: api.running == 0)


async def test_the_end_of_a_body_without_framing_is_authentic() -> None:
    """Without `close_notify`, a body of HTTP/1.0 that was cut on the way would look whole."""
    async with open_served(tls=server_context()) as (server, _, _):
        client = await Client.through_tls(server)
        answer = await client.ask(b"POST /stream HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        assert answer.is_whole
        assert answer.body.endswith(b"data: 2\n\n")
        await until(lambda: server.connections == 0)


async def test_a_cut_body_without_framing_is_broken() -> None:
    async with open_served(tls=server_context()) as (server, _, _):
        client = await Client.through_tls(server)
        await client.send(b"POST /cut HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_all()


async def test_a_connection_above_the_limit_gets_its_error() -> None:
    async with open_served(tls=server_context(), max_connections=1) as (server, _, _):
        first = await Client.through_tls(server)
        await first.post("/echo")
        assert (await (await Client.through_tls(server)).post("/echo")).status == 503


# ------------------------------------------------------------------ clients that attack


def hello() -> bytes:
    """Return the first bytes of a handshake."""
    outgoing = ssl.MemoryBIO()
    tls = client_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


UNFINISHED = {"nothing": b"", "half a hello": hello()[:100], "no answer to the server's hello": hello()}


@pytest.mark.parametrize("raw", UNFINISHED.values(), ids=UNFINISHED)
async def test_a_handshake_that_stops_is_ended(raw: bytes) -> None:
    async with open_served(tls=server_context(), head_timeout=0.3) as (server, _, _):
        client, start = await Client.to(server), trio.current_time()
        await client.send(raw)
        await until(lambda: server.connections == 1)
        await until(lambda: server.connections == 0)
        assert 0.25 < trio.current_time() - start < 5


async def test_a_handshake_that_drips_is_ended() -> None:
    async with open_served(tls=server_context(), head_timeout=0.3) as (server, _, _):
        client, start = await Client.to(server), trio.current_time()

        async def drip() -> None:
            for byte in hello():
                await client.send(bytes([byte]))
                await trio.sleep(0.02)

        with pytest.raises(trio.BrokenResourceError):
            await drip()
        assert 0.25 < trio.current_time() - start < 5
        assert server.connections == 0


async def test_a_request_may_not_be_slow_after_the_handshake() -> None:
    async with open_served(tls=server_context(), head_timeout=0.3) as (server, _, _):
        client = await Client.through_tls(server)
        assert (await client.ask(b"POST /echo HT")).status == 408


NO_TLS = {
    "plain HTTP": request("POST", "/echo", b"x"),
    "zeros": bytes(1000),
    "an alert": b"\x15\3\3\0\2\2\x28",
}


@pytest.mark.parametrize("raw", NO_TLS.values(), ids=NO_TLS)
async def test_what_is_no_handshake_is_ended_at_once(raw: bytes) -> None:
    async with open_served(tls=server_context(), head_timeout=30) as (server, api, _):
        client = await Client.to(server)
        await client.send(raw)
        await until(lambda: server.connections == 0)
        assert api.requests == []
        assert (await (await Client.through_tls(server)).post("/echo", b"x")).body == b"x"


CUT = {
    "in the head": b"POST /echo HTTP/1.1\r\nHost: loc",
    "in the body": b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc",
    "between chunks": b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
}


@pytest.mark.parametrize("raw", CUT.values(), ids=CUT)
async def test_a_request_that_is_cut_without_close_notify_is_not_served(raw: bytes) -> None:
    async with open_served(tls=server_context()) as (server, api, _):
        client = await Client.through_tls(server)
        await client.send(raw)
        await until(lambda: server.connections == 1)
        client.socket.shutdown(trio.socket.SHUT_WR)
        await until(lambda: server.connections == 0)
        assert api.requests == []


async def test_a_drain_waits_for_no_handshake() -> None:
    async with open_served(tls=server_context(), grace=30, head_timeout=30) as (server, _, _):
        for raw in UNFINISHED.values():
            await (await Client.to(server)).send(raw)
        idle = await Client.through_tls(server)
        await idle.post("/echo")
        await until(lambda: server.connections == 4)
        start = trio.current_time()
    assert trio.current_time() - start < 10
