"""The end of a server: what is in flight may end, within the grace; then everything ends, whatever clients do."""

import pytest
import trio
import trio.testing
from served import WORKER, Client, StandIn, open_served, request, until

from cortex_trio import open_cortex
from cortex_trio.server.serving import open_server


class Stopping:
    """A server whose block ends when the test says so."""

    def __init__(self, grace: float) -> None:
        self.api = StandIn()
        self._grace = grace
        self._leave = trio.Event()
        self._ended = trio.Event()
        self.left_at = 0.0
        self.seconds = 0.0

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with open_cortex(WORKER) as cortex:
            async with open_server(cortex, api=self.api, grace=self._grace) as self.server:
                task_status.started()
                await self._leave.wait()
                self.left_at = trio.current_time()
            self.seconds = trio.current_time() - self.left_at
            self._ended.set()
        while Client.made:
            Client.made.pop().stream.socket.close()

    async def leave(self) -> None:
        self._leave.set()
        await until(lambda: self.server.is_draining)

    async def ended(self) -> None:
        with trio.fail_after(self._grace + 5):
            await self._ended.wait()


async def test_a_server_without_requests_ends_at_once(nursery: trio.Nursery) -> None:
    stopping = Stopping(grace=30)
    await nursery.start(stopping.run)
    idle, new = await Client.to(stopping.server), await Client.to(stopping.server)
    await idle.post("/echo")
    await stopping.leave()
    assert await idle.is_closed()
    assert await new.is_closed()
    await stopping.ended()
    assert stopping.seconds < 1


async def test_a_request_in_flight_is_answered_and_new_ones_are_not(nursery: trio.Nursery) -> None:
    stopping = Stopping(grace=30)
    await nursery.start(stopping.run)
    client = await Client.to(stopping.server)
    await client.send(request("POST", "/wait"))
    await stopping.api.started.wait()
    await stopping.leave()
    probe = await Client.to(stopping.server)
    ready = await probe.get("/health/ready")
    assert (ready.status, ready.headers["connection"]) == (503, "close")
    assert (await (await Client.to(stopping.server)).get("/health/live")).status == 200
    refused = await (await Client.to(stopping.server)).post("/echo", b"x")
    assert (refused.status, refused.error) == (503, "DRAINING")
    stopping.api.go.set()
    answer = await client.answer()
    assert (answer.body, answer.headers["connection"]) == (b"waited", "close")
    await stopping.ended()
    assert stopping.seconds < 5


async def test_a_stream_ends_with_an_error_event_when_the_grace_is_over(nursery: trio.Nursery) -> None:
    stopping = Stopping(grace=0.2)
    await nursery.start(stopping.run)
    client = await Client.to(stopping.server)
    await client.send(request("POST", "/endless"))
    await stopping.api.started.wait()
    await stopping.leave()
    answer = await client.answer()
    assert answer.is_whole
    assert answer.body.endswith(b"data: x\n\ndata: error\n\n")
    await stopping.ended()
    assert 0.2 <= stopping.seconds < 1.2


async def test_a_request_without_a_response_is_503_when_the_grace_is_over(nursery: trio.Nursery) -> None:
    stopping = Stopping(grace=0.1)
    await nursery.start(stopping.run)
    client, slow = await Client.to(stopping.server), await Client.to(stopping.server)
    await client.send(request("POST", "/wait"))
    await slow.send(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n")
    await stopping.api.started.wait()
    await until(lambda: stopping.server.connections == 2)
    await stopping.leave()
    for one in (client, slow):
        answer = await one.answer()
        assert (answer.status, answer.error) == (503, "DRAINING")
    await stopping.ended()


@pytest.mark.slow
async def test_a_client_that_never_reads_does_not_delay_the_end(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    stopping = Stopping(grace=0.2)
    await nursery.start(stopping.run)
    for _ in range(3):
        client = await Client.to(stopping.server)
        await client.send(request("POST", "/flood"))
    half = await Client.to(stopping.server)
    await half.send(b"POST /echo HT")
    await until(lambda: stopping.api.running == 3)
    await trio.testing.wait_all_tasks_blocked(0.05)
    await stopping.leave()
    await stopping.ended()
    assert stopping.seconds < 2.2
    assert "RouteFailed" not in caplog.text  # such a client is no bug of a route


async def test_a_write_that_the_drain_interrupts_is_completed_before_the_error_event(
    nursery: trio.Nursery,
) -> None:
    stopping = Stopping(grace=0.2)
    await nursery.start(stopping.run)
    client = await Client.to(stopping.server)
    await client.send(request("POST", "/flood"))
    await until(lambda: stopping.api.running == 1)
    await trio.testing.wait_all_tasks_blocked(0.05)
    await stopping.leave()
    await trio.sleep(0.3)  # the grace is over
    answer = await client.answer()
    assert answer.is_whole
    assert answer.body.strip(bytes(1)) == b"data: error\n\n"
    await stopping.ended()


async def test_a_block_that_raises_gives_no_grace() -> None:
    async def fail() -> None:
        async with open_served(grace=30) as (server, api, _):
            client = await Client.to(server)
            await client.send(request("POST", "/wait"))
            await api.started.wait()
            raise ValueError("mine")

    start = trio.current_time()
    with pytest.raises(ValueError, match="mine"):
        await fail()
    assert trio.current_time() - start < 3


async def test_a_block_that_is_cancelled_ends() -> None:
    with trio.move_on_after(10) as scope:
        async with open_served(grace=30) as (server, api, _):
            client = await Client.to(server)
            await client.send(request("POST", "/endless"))
            await api.started.wait()
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() < scope.deadline


async def test_the_server_is_a_part_of_the_tree() -> None:
    async with open_served() as (server, _, cortex):
        tree = cortex.tree()
        for name in ("server", "connections", "listener"):
            assert name in tree
        client = await Client.to(server)
        await client.post("/echo")
        async with open_server(cortex, api=StandIn()) as second:
            assert second.port != server.port
            assert "server-2" in cortex.tree()
        assert "server-2" not in cortex.tree()
        assert (await client.post("/echo", b"x")).body == b"x"


@pytest.mark.parametrize("name", ["listener", "connections"])
async def test_a_killed_actor_of_the_server_is_restarted(name: str) -> None:
    async with open_served() as (server, _, _):
        await (await Client.to(server)).post("/echo")
        ref = server.actor(name)
        process = ref.process
        ref.kill()
        await until(lambda: ref.alive and ref.process is not process)
        assert (await (await Client.to(server)).post("/echo", b"x")).body == b"x"
