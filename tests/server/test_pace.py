"""How slowly a client may read."""

import pytest
import trio

from cortex_trio.server.client_stream import TCPClient
from cortex_trio.server.pace import LEAST_BYTES_PER_SECOND, WritePace


def test_a_pause_uses_the_time_that_is_left() -> None:
    pace = WritePace(30)
    pace.sent(0, waited=29)
    assert pace.left == 1


def test_a_client_that_reads_a_byte_before_each_end_is_not_served_forever() -> None:
    pace, pauses = WritePace(30), 0
    while pace.left >= 29:
        pace.sent(1, waited=29)
        pauses += 1
    assert pauses == 1
    assert pace.left < 1.1


def test_a_client_that_reads_fast_enough_may_pause_again_and_again() -> None:
    pace = WritePace(30)
    for _ in range(1000):
        pace.sent(29 * LEAST_BYTES_PER_SECOND, waited=29)
        assert pace.left == 30


def test_bytes_give_back_no_more_than_was_used() -> None:
    pace = WritePace(30)
    pace.sent(100_000_000)
    assert pace.left == 30


async def test_a_write_waits_no_longer_than_the_time_that_is_left() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener, await trio.open_tcp_stream(*listener.socket.getsockname()[:2]):
        client, pace = TCPClient(await listener.accept()), WritePace(0.3)
        with trio.fail_after(10), pytest.raises(trio.BrokenResourceError, match="too slowly"):
            await client.send_all(bytes(32_000_000), pace)  # more than the system takes
        client.close_now()
