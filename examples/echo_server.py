"""A supervised TCP echo server with a child for each connection: a crash ends one connection only.

Run it: python examples/echo_server.py
"""

import logging

import trio

from cortex_trio.otp import Child, GenServer, Ref, Strategy, Supervisor, TaskSupervisor, open_tree


async def echo(stream: trio.SocketStream) -> None:
    async with stream:
        async for data in stream:
            if data == b"crash":
                raise ValueError("a bug in the handling of this connection")
            await stream.send_all(data)


class Listener(GenServer):
    """Accepts connections in a task of its own. The socket is closed on every exit."""

    def __init__(self, connections: Ref[TaskSupervisor]) -> None:
        self.connections = connections

    async def init(self) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.listener = await self.resources.enter_async_context(listener)
        self.nursery.start_soon(self.accept)

    async def accept(self) -> None:
        while True:
            stream = await self.listener.accept()
            await self.connections.call(TaskSupervisor.start_soon, echo, stream)

    async def port(self) -> int:
        return int(self.listener.socket.getsockname()[1])


async def main() -> None:
    logging.getLogger("cortex_trio.otp").setLevel(logging.CRITICAL)  # the crash below is intended
    connections: Ref[TaskSupervisor] = Ref("connections")
    listener: Ref[Listener] = Ref("listener")
    pool = Child(ref=connections, start=TaskSupervisor)
    front = Child(ref=listener, start=lambda: Listener(connections))
    root = Supervisor([pool, front], strategy=Strategy.REST_FOR_ONE)
    async with open_tree(root):
        port = await listener.call(Listener.port)
        first, second = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(2)]
        async with first, second:
            await first.send_all(b"crash")
            print("first: ", await first.receive_some())
            await second.send_all(b"hello")
            print("second:", await second.receive_some())


trio.run(main)
