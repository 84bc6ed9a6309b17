"""The network in memory: bounded buffers, half-closed connections and resets, as with TCP."""

import re

import httpcore
import pytest
import trio
from sim_client import Client, body
from trio.testing import check_half_closeable_stream, wait_all_tasks_blocked

from cortex_trio.simulator import Behaviour
from cortex_trio.simulator.channel import BUFFER
from cortex_trio.simulator.pipe import open_pipe


async def test_an_end_passes_the_stream_tests_of_trio():
    async def make() -> tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]:
        return open_pipe()

    async def make_clogged() -> tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]:
        one, other = open_pipe()
        for end in (one, other):
            await end.send_all(bytes(BUFFER))
        return one, other

    await check_half_closeable_stream(make, make_clogged)


async def test_a_writer_waits_for_its_reader():
    one, other = open_pipe()
    sent = []

    async def write() -> None:
        for _ in range(4):
            await one.send_all(bytes(BUFFER // 2))
            sent.append(BUFFER // 2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await wait_all_tasks_blocked()
        assert sum(sent) == BUFFER
        received = 0
        while received < 2 * BUFFER:
            received += len(await other.receive_some())
    assert sum(sent) == 2 * BUFFER


async def test_what_was_written_before_a_reset_is_still_read():
    one, other = open_pipe()
    await one.send_all(b"last bytes")
    one.reset()
    assert await other.receive_some() == b"last bytes"
    with pytest.raises(trio.BrokenResourceError):
        await other.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await other.send_all(b"hello?")


async def test_a_reset_wakes_waiting_tasks():
    one, other = open_pipe()
    woken = []

    async def read() -> None:
        try:
            await other.receive_some()
        except trio.BrokenResourceError:
            woken.append("broken")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        one.reset()
    assert woken == ["broken"]


async def test_a_slow_reader_pauses_the_provider(sim, client):
    openai = sim.add("openai", Behaviour(tokens=["x" * 10_000] * 1_000))
    async with client.stream(openai) as response:
        seen = 0
        async for data in response.aiter_stream():
            seen += len(data)
            if seen < 1_000_000:
                await wait_all_tasks_blocked()
                assert openai.bytes_sent < seen + 4 * BUFFER
    assert seen > 10_000_000


async def test_a_half_closed_client_gets_its_answer(sim):
    openai = sim.add("openai", Behaviour(text="a b"))
    client, server = open_pipe()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(openai.serve, server)
        await client.send_all(request_of(openai))
        await client.send_eof()
        received = b""
        while data := await client.receive_some():
            received += data
        assert b"data: [DONE]" in received
        await client.aclose()
    assert openai.open_connections == 0


async def test_an_unknown_provider_is_not_found(sim):
    with pytest.raises(httpcore.ConnectError, match=r"no simulated provider at 'unknown\.sim'"):
        await sim.network.connect_tcp("unknown.sim", 80)


async def test_reading_can_time_out(sim, autojump_clock):
    openai = sim.add("openai", Behaviour(silent=True))
    stream = await sim.network.connect_tcp(host_of(openai), 80)
    await stream.write(request_of(openai))
    with pytest.raises(httpcore.ReadTimeout):
        await stream.read(10, timeout=3)
    await stream.aclose()


async def test_an_idle_connection_is_readable_once_the_provider_closed_it(sim):
    openai = sim.add("openai", Behaviour(close_idle=True))
    stream = await sim.network.connect_tcp(host_of(openai), 80)
    assert not stream.get_extra_info("is_readable")
    await stream.write(request_of(openai))
    while await stream.read(65536):
        pass
    assert stream.get_extra_info("is_readable")
    await stream.aclose()


async def test_there_is_no_tls(sim):
    openai = sim.add("openai")
    client = Client(sim)
    with pytest.raises(httpcore.ConnectError, match="http:// URLs"):
        await client.pool.request("GET", openai.url.replace("http:", "https:"))
    await client.pool.aclose()


async def test_malformed_http_ends_that_connection_only(any_sim, any_client):
    openai = any_sim.add("openai")
    if any_sim.network is None:
        stream = await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", int(openai.url.split(":")[2][:-3]))
    else:
        stream = await any_sim.network.connect_tcp(host_of(openai), 80)
    await stream.write(b"\x16\x03\x01 hello\r\n\r\n")
    assert await stream.read(100) == b""
    await stream.aclose()
    assert (await any_client.post(openai)).status == 200


def host_of(provider) -> str:
    return re.sub(r"http://|/v1", "", provider.url)


def request_of(provider) -> bytes:
    content = body()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\ncontent-length: {len(content)}"
    return head.encode() + b"\r\n\r\n" + content
