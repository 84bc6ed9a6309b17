"""The part of the supervision tree that is the server.

server              one_for_one
├── connections     Connections     one task for each connection; a crash ends that connection only
└── listener        Task            accepts clients; one for each listening socket

It is a child of the gateway's root. Sockets, keys and counters are made before it, so any of these may be killed.
"""

from __future__ import annotations

import logging
import math
import socket
import ssl
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, final

import trio

from ..otp import ActorError, Backoff, Child, GenServer, Ref, Supervisor, Task
from .client_stream import TCPClient, TLSClient
from .connection import Connection
from .drain import Drain
from .listener import SPARE_SECONDS, accept_clients
from .outgoing import KEEPALIVE_SECONDS
from .settings import Limits
from .verdict import Front

log = logging.getLogger("cortex_trio.server")

SURPLUS_CONNECTIONS = 128
"""Connections above the limit that get a 503; more are closed at once."""
LEAST_SLEEP_SECONDS = 1.0
"""Between two looks at the responses: a keepalive comes so much later at most."""
RESTART_SECONDS = 2.0
"""For the supervisor of the connections to be restarted, while a client waits."""


@final
class Connections(GenServer):
    """Supervises the tasks of the connections, and keeps their responses alive. A crash ends one connection only.

    A supervisor of its own kind, as Ranch has one for its connections (`ranch_conns_sup`): a connection is never
    started again, and the process that a TaskSupervisor has for each child takes 10 KiB, more than all else of a
    connection. One task sends the keepalives of all: one for each response takes 4 KiB.
    """

    def __init__(self, drain: Drain) -> None:
        self._drain = drain

    async def init(self) -> None:
        self.nursery.start_soon(self._keep_alive)

    async def _keep_alive(self) -> None:
        while True:
            now = trio.current_time()
            due = [connection.keep_alive(now) for connection in self._drain.busy]
            # A response that begins meanwhile is due after `now + KEEPALIVE_SECONDS`.
            until = min(due, default=math.inf)
            await trio.sleep_until(min(max(until, now + LEAST_SLEEP_SECONDS), now + KEEPALIVE_SECONDS))

    async def serve(self, connection: Connection) -> None:
        """Start the task of a connection."""
        self.nursery.start_soon(_serve, connection)


async def _serve(connection: Connection) -> None:
    try:
        await connection.run()
    except Exception as error:
        log.error("a connection has crashed", exc_info=error)


@final
class ServerTree:
    """What the processes of one server share.

    Args:
        sockets: that listen.
        spare: listening sockets of other processes, for clients that these do not accept soon.
        front: decides about requests.
        limits: of clients.
        tls: None: plain HTTP.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        spare: Sequence[socket.socket],
        front: Front,
        limits: Limits,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._sockets = [*sockets, *spare]
        self._own_count = len(sockets)
        self._accepted: list[Connection | None] = [None for _ in self._sockets]
        """By listener: the one whose task has not started. A killed listener must not lose it."""
        self._front = front
        self._limits = limits
        self._tls = tls
        self.drain = Drain()
        self.connections: Ref[Connections] = Ref("connections")
        names = ["listener", *(f"listener-{number}" for number in range(2, len(self._sockets) + 1))]
        self._listener_refs: list[Ref[Task[None]]] = [Ref(name) for name in names]

    @property
    def actors(self) -> Mapping[str, Ref[Any]]:
        """The actors by name."""
        refs: list[Ref[Any]] = [self.connections, *self._listener_refs]
        return {ref.name: ref for ref in refs}

    def supervisor(self) -> Supervisor:
        """Return the root of the subtree."""
        return Supervisor(
            [
                Child(ref=self.connections, start=lambda: Connections(self.drain)),
                *(self._listener(index) for index in range(len(self._sockets))),
            ]
        )

    def _listener(self, index: int) -> Child[Task[None]]:
        return Child(
            ref=self._listener_refs[index],
            start=lambda: Task(self._accept, index),
            backoff=Backoff(first=0.01),
        )

    async def _accept(self, index: int) -> None:
        await self._hand_over(index)  # the listener before this one was killed while it held a client
        await accept_clients(
            self._sockets[index], partial(self._start, index), partial(self._wait_turn, index)
        )

    async def _wait_turn(self, index: int) -> bool:
        """Leave the clients of a socket to other processes for some time. Returns whether there was such a time."""
        is_spare = index >= self._own_count
        if is_spare:
            await trio.sleep(SPARE_SECONDS)
        if not self.drain.is_alone:
            return is_spare
        await self.drain.wait_rejoined()
        return True

    async def _start(self, index: int, client: trio.SocketStream) -> None:
        """Start the task of a client, or close the connection."""
        if self.drain.connections >= self._limits.max_connections + SURPLUS_CONNECTIONS:
            await trio.aclose_forcefully(client)
            return
        peer = _peer(client)
        stream = TCPClient(client) if self._tls is None else TLSClient(client, self._tls)
        connection = Connection(
            stream,
            peer,
            self._front,
            self._limits,
            self.drain,
            is_surplus=self.drain.connections >= self._limits.max_connections,
        )
        self.drain.add(connection)
        self._accepted[index] = connection
        await self._hand_over(index)

    async def _hand_over(self, index: int) -> None:
        """Start the task of the connection that a listener has accepted, if there is one.

        A listener that is killed meanwhile leaves it to the next one.
        """
        connection = self._accepted[index]
        if connection is None:
            return
        is_started = False
        while not is_started:
            try:
                # Without a limit: on a busy machine one pass of the scheduler may take seconds.
                await self.connections.call(Connections.serve, connection)
                is_started = True
            except ActorError:
                with trio.move_on_after(RESTART_SECONDS) as limit:
                    await self.connections.arrival()
                if limit.cancelled_caught:
                    break
        self._accepted[index] = None
        if not is_started:
            self.drain.remove(connection)
            connection.close_now()


def _peer(client: trio.SocketStream) -> str:
    try:
        return str(client.socket.getpeername()[0])
    except OSError:
        return "-"  # it has left already
