"""The link to a provider: latency, bandwidth, partitions, resets, half-open connections."""

from collections.abc import Callable

import httpcore
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from cortex_trio import Cortex, FailureKind, StreamInterrupted
from cortex_trio.simulator import Behaviour, Link, open_gateway
from cortex_trio.simulator.channel import BUFFER
from cortex_trio.simulator.pipe import Pipe, open_pipe

FORTY = Behaviour(text=" ".join(f"word{number}" for number in range(40)), tokens_per_second=4)


def link_of(**settings: float) -> Link:
    link = Link()
    for name, value in settings.items():
        setattr(link, name, value)
    return link


# ------------------------------------------------------------------ bytes


async def test_bytes_arrive_after_the_latency_and_in_order(autojump_clock):
    client, server = open_pipe(link_of(latency=0.25))
    await client.send_all(b"one ")
    await trio.sleep(0.1)
    await client.send_all(b"two")
    assert not server.is_readable
    assert await server.receive_some() == b"one "
    assert trio.current_time() == pytest.approx(0.25)
    assert await server.receive_some() == b"two"
    assert trio.current_time() == pytest.approx(0.35)


async def test_jitter_changes_the_times_but_not_the_order(autojump_clock):
    client, server = open_pipe(link_of(latency=0.1, jitter=1.0))
    sent = [bytes([number]) for number in range(20)]
    for piece in sent:
        await client.send_all(piece)
    received, times = b"", []
    while len(received) < len(sent):
        received += await server.receive_some(1)
        times.append(trio.current_time())
    assert received == b"".join(sent)
    assert times == sorted(times)
    assert 0.1 <= times[0] <= times[-1] <= 1.1
    assert times[-1] > 0.1, "twenty times no delay at all is no chance"


async def test_each_direction_has_the_whole_bandwidth(autojump_clock):
    link = link_of(bandwidth=10_000)
    pairs = [open_pipe(link) for _ in range(3)]
    ended: list[float] = []

    async def write(end: trio.abc.HalfCloseableStream) -> None:
        await end.send_all(bytes(100_000))
        await end.aclose()

    async def read(end: trio.abc.HalfCloseableStream) -> None:
        while await end.receive_some():
            pass
        ended.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        for client, server in pairs:
            nursery.start_soon(write, client)
            nursery.start_soon(read, server)
    assert ended == pytest.approx([10.0] * 3)


async def test_a_slow_link_holds_no_more_than_a_buffer(autojump_clock):
    client, _ = open_pipe(link_of(bandwidth=1))
    with trio.move_on_after(5) as scope:
        await client.send_all(bytes(BUFFER + 1))
    assert scope.cancelled_caught


async def test_an_end_and_a_reset_are_delayed_as_bytes_are(autojump_clock):
    link = link_of(latency=1.0)
    for leave, expected in (("close", "end"), ("reset", "broken")):
        client, server = open_pipe(link)
        await client.send_all(b"bye")
        start = trio.current_time()
        getattr(client, leave)()
        assert await server.receive_some() == b"bye"
        try:
            seen = "end" if not await server.receive_some() else "data"
        except trio.BrokenResourceError:
            seen = "broken"
        assert seen == expected
        assert trio.current_time() - start == pytest.approx(1.0)


async def test_a_writer_learns_after_the_delay_that_its_reader_left(autojump_clock):
    client, server = open_pipe(link_of(latency=1.0))
    await server.aclose()
    await client.send_all(b"still believing")
    await trio.sleep(1)
    with pytest.raises(trio.BrokenResourceError):
        await client.send_all(b"not any more")


async def test_bytes_that_are_sent_during_a_partition_arrive_when_it_heals(autojump_clock):
    pipe = Pipe(link := Link())
    link.attach(pipe)
    link.partition()
    received: list[bytes] = []

    async def read() -> None:
        received.append(await pipe.server.receive_some())
        received.append(await pipe.server.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await pipe.client.send_all(b"hello")
        pipe.client.close()
        await trio.sleep(1000)
        assert received == []
        link.heal()
    assert received == [b"hello", b""]


async def test_a_half_open_connection_is_silent_until_its_client_writes(autojump_clock):
    pipe = Pipe(link := link_of(latency=0.5))
    link.attach(pipe)
    link.forget_connections()
    with pytest.raises(trio.BrokenResourceError):
        await pipe.server.receive_some()
    await pipe.server.aclose()
    with trio.move_on_after(1000) as scope:
        await pipe.client.receive_some()
    assert scope.cancelled_caught
    start = trio.current_time()
    await pipe.client.send_all(b"are you there?")
    with pytest.raises(trio.BrokenResourceError):
        await pipe.client.receive_some()
    assert trio.current_time() - start == pytest.approx(0.5)


async def test_a_link_forgets_connections_that_are_over():
    link = Link()
    for _ in range(100):
        pipe = Pipe(link)
        link.attach(pipe)
        await pipe.client.aclose()
        await pipe.server.aclose()
    assert len(link.connections) == 1


# ------------------------------------------------------------------ the gateway over it


async def test_connecting_takes_a_round_trip_and_an_answer_another(sim, autojump_clock):
    sim.add("openai").link.latency = 0.2
    async with open_gateway(sim) as cortex:
        reply = await cortex.complete("Hi")
        assert reply.attempts[0].time_to_first_token == pytest.approx(0.8)
        reply = await cortex.complete("Hi")  # over the same connection
        assert reply.attempts[0].time_to_first_token == pytest.approx(0.4)


async def read(cortex: Cortex, at_word_10: Callable[[], None]) -> None:
    async with cortex.chat("Hi") as answer:
        async for piece in answer.text():
            if piece == " word10":
                at_word_10()


async def test_during_a_partition_the_fallback_serves(sim, autojump_clock):
    primary = sim.add("openai")
    sim.add("anthropic")
    primary.link.partition()
    async with open_gateway(sim, connect_timeout=5) as cortex:
        reply = await cortex.complete("Hi")
        assert reply.worker == "anthropic"
        assert trio.current_time() == pytest.approx(5, abs=0.1)
        failure = reply.attempts[0].failure
        assert failure is not None
        assert (failure.kind, failure.phase) == (FailureKind.CONNECTION, "connect")


async def test_a_partition_in_the_middle_of_an_answer_is_a_stall(sim, autojump_clock):
    primary = sim.add("openai", FORTY)
    async with open_gateway(sim, idle_timeout=20) as cortex:
        with pytest.raises(StreamInterrupted) as interrupted:
            await read(cortex, at_word_10=primary.link.partition)
        assert interrupted.value.failure.kind is FailureKind.STALLED
        primary.link.heal()


async def test_a_partition_that_heals_in_time_is_a_pause(sim, autojump_clock):
    primary = sim.add("openai", FORTY)
    async with open_gateway(sim, idle_timeout=20) as cortex:
        async with cortex.chat("Hi") as answer:
            await trio.sleep(1)
            primary.link.partition()
            await wait_all_tasks_blocked()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(heal_later, primary.link, 15)
                reply = await answer.collect()
    assert reply.text == FORTY.text


async def heal_later(link: Link, seconds: float) -> None:
    await trio.sleep(seconds)
    link.heal()


async def test_a_half_open_kept_connection_is_replaced_without_a_failure(sim, autojump_clock):
    primary = sim.add("openai")
    async with open_gateway(sim) as cortex:
        await cortex.complete("Hi")
        primary.link.forget_connections()
        reply = await cortex.complete("Hi")
        assert [attempt.failure for attempt in reply.attempts] == [None]
    assert primary.connections_made == 2
    assert len(primary.requests) == 2


async def test_a_reset_of_all_connections_breaks_their_answers(sim, autojump_clock):
    primary = sim.add("openai", FORTY)
    async with open_gateway(sim) as cortex:
        with pytest.raises(StreamInterrupted) as interrupted:
            await read(cortex, at_word_10=primary.link.reset_connections)
        assert interrupted.value.failure.kind is FailureKind.CONNECTION


async def test_a_link_that_refuses_refuses_new_connections_only(sim, autojump_clock):
    primary = sim.add("openai", FORTY)
    async with open_gateway(sim) as cortex:
        async with cortex.chat("Hi") as answer:
            primary.link.refusing = True
            assert (await answer.collect()).text == FORTY.text
    with pytest.raises(httpcore.ConnectError, match="refused"):
        await sim.network.connect_tcp(primary.url.removeprefix("http://").partition("/")[0], 80)
