"""Opens a server in front of a gateway, and ends it: the only part that users call.

async with open_cortex() as cortex, open_server(cortex, "127.0.0.1", 8080, keys=[...]) as server:
    print(server.url)
"""

from __future__ import annotations

import ipaddress
import math
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, final

import trio

from ..failures import ConfigError
from ..gateway.cortex import Cortex
from ..otp import ActorError, AlreadyPresent, AlreadyStarted, Child, Ref, Supervisor
from .admission import KeyRing
from .api_protocol import Api
from .counters import Counters, MemoryCounters, SharedCounters
from .front import ServerFront
from .listener import adopt, listen
from .metrics import prometheus
from .own_routes import Metrics, OwnRoutes
from .settings import Limits
from .tree import ServerTree
from .virtual_keys import AnyKey, virtual_keys_from

CUT_SECONDS = 0.9
"""From the end of the grace: for error events to be sent and connections to close."""
STOP_SECONDS = 0.3
"""For the processes to end, whose sockets are closed."""
DEFAULTS = Limits()


@final
class Server:
    """A server that runs, made by `open_server`."""

    def __init__(self, url: str, port: int, tree: ServerTree, reload: _Reload) -> None:
        self.url = url
        """With which clients reach it: `http://127.0.0.1:8080`."""
        self.port = port
        """On which it listens."""
        self._tree = tree
        self._reload = reload

    @property
    def is_draining(self) -> bool:
        """Whether it is being stopped."""
        return self._tree.drain.is_draining

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._tree.drain.connections

    def actor(self, name: str) -> Ref[Any]:
        """Return the address of an actor of the server, as `Cortex.actor` does: "connections" or "listener"."""
        return self._tree.actors[name]

    def drain(self, *, alone: bool = False) -> None:
        """Begin to stop: idle connections are closed, new requests get 503. The end of the block goes on from here.

        Args:
            alone: other processes that listen on the same port go on: clients that connect are left to them. A second
                call without it says that these end as well.
        """
        if alone:
            self._tree.drain.leave()
        else:
            self._tree.drain.rejoin()
            self._tree.drain.begin()

    def reload(self, *, keys: Sequence[AnyKey]) -> Callable[[], None]:
        """Change the keys for the requests from now on. What keys have used stays counted.

        Args:
            keys: all of them, as for `open_server`.

        Returns:
            A function that takes the change back.

        Raises:
            ConfigError: a key is wrong, or none is left on an interface that is not loopback. Nothing was changed.
        """
        return self._reload.apply(keys)


@asynccontextmanager
async def open_server(
    cortex: Cortex,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    keys: Sequence[AnyKey] = (),
    tls: ssl.SSLContext | None = None,
    grace: float = 30.0,
    max_body: int = DEFAULTS.max_body,
    body_timeout: float = DEFAULTS.body_timeout,
    head_timeout: float = DEFAULTS.head_timeout,
    idle_timeout: float = DEFAULTS.idle_timeout,
    write_timeout: float = DEFAULTS.write_timeout,
    max_connections: int = DEFAULTS.max_connections,
    metrics: Metrics | None = None,
    counters: Counters | None = None,
    api: Api | None = None,
    sockets: Sequence[socket.socket] | None = None,
    spare_sockets: Sequence[socket.socket] = (),
) -> AsyncIterator[Server]:
    """Serve a gateway over HTTP while the block runs, as a child of the gateway's supervision tree.

    At the end of the block the server drains: `/health/ready` answers 503, idle connections close, requests in flight
    have `grace` seconds, streams that are left end with the error event of their dialect. This takes at most `grace`
    and two seconds, whatever clients do. When the block raises or is cancelled there is no grace.

    Args:
        cortex: the gateway; it must outlive the server.
        host: the name or address of the interface.
        port: 0: one that is free.
        keys: of clients: plain ones, VirtualKey values, or mappings with their fields. Empty: no key is asked for.
        tls: of the server's side. None: plain HTTP.
        grace: seconds.
        max_body: bytes of a request's body, as sent and unpacked.
        body_timeout: seconds without a byte of a body.
        head_timeout: seconds for the head of a request.
        idle_timeout: seconds until the next request of a connection.
        write_timeout: seconds in which a client reads nothing of its response.
        max_connections: more are answered with 503.
        metrics: a `telemetry.prometheus.Prometheus` that is also an observer of the gateway. None: gauges only.
        counters: of what keys use. None: those of the gateway's store, or in memory if it has none.
        api: the routes of the API. None: those of this package.
        sockets: that listen already, instead of `host` and `port`; they are closed at the end.
        spare_sockets: those of other processes, which listen as well. A client that waits at one for 50 ms is accepted
            here. They are closed at the end.

    Raises:
        ConfigError: a key is wrong, or there is none and the interface is not loopback.
        OSError: the address cannot be used, or the port is taken.
    """
    limits = Limits(
        max_body=max_body,
        body_timeout=body_timeout,
        head_timeout=head_timeout,
        idle_timeout=idle_timeout,
        write_timeout=write_timeout,
        max_connections=max_connections,
        grace=grace,
    )
    counters = _counters(cortex) if counters is None else counters
    ring = KeyRing(virtual_keys_from(keys), counters)
    listening = listen(host, port) if sockets is None else adopt(sockets)
    spare = adopt(spare_sockets)
    try:
        is_local = all(ipaddress.ip_address(one.getsockname()[0]).is_loopback for one in listening)
        _require_keys(ring, is_local)
        api = _routes(cortex) if api is None else api
        front = ServerFront({}, api, ring, host if is_local else None)
        tree = ServerTree(listening, spare, front, limits, tls)
        own = OwnRoutes(cortex, metrics or prometheus(cortex), lambda: tree.drain.is_draining)
        front.own = own.by_path
        address, bound = listening[0].getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        url = f"{'http' if tls is None else 'https'}://{shown}:{bound}"
        async with _child_of(cortex, tree):
            try:
                yield Server(url, bound, tree, _Reload(front, counters, is_local))
                await _drain(tree, grace)
            finally:
                with trio.move_on_after(CUT_SECONDS, shield=True):
                    await _cut(tree)
                tree.drain.close_all()
    finally:
        for one in (*listening, *spare):
            one.close()


async def _drain(tree: ServerTree, grace: float) -> None:
    """Let requests in flight end."""
    tree.drain.begin()
    with trio.move_on_after(grace):
        await tree.drain.wait_quiet()


async def _cut(tree: ServerTree) -> None:
    """End the requests that are left."""
    tree.drain.begin()
    tree.drain.cut()
    await tree.drain.wait_quiet()


@asynccontextmanager
async def _child_of(cortex: Cortex, tree: ServerTree) -> AsyncIterator[None]:
    """Run the tree as a child of the gateway's root; a second server of one gateway has another name."""
    number = 1
    while True:
        ref: Ref[Supervisor] = Ref("server" if number == 1 else f"server-{number}")
        child = Child(ref=ref, start=tree.supervisor, shutdown=math.inf)
        try:
            await cortex.root.call(Supervisor.start_child, child)
            break
        except (AlreadyStarted, AlreadyPresent):
            number += 1
    try:
        yield
    finally:
        with trio.move_on_after(STOP_SECONDS, shield=True), suppress(ActorError):  # the gateway may be gone
            await cortex.root.call(Supervisor.terminate_child, ref.name)
            await cortex.root.call(Supervisor.delete_child, ref.name)


def _routes(cortex: Cortex) -> Api:
    from .api.routes import ApiRoutes  # here: a program with routes of its own needs no dialect's

    return ApiRoutes(cortex)


def _counters(cortex: Cortex) -> Counters:
    limits, totals = cortex.shared_limits, cortex.shared_totals
    return MemoryCounters() if limits is None or totals is None else SharedCounters(limits, totals)


def _require_keys(ring: KeyRing, is_local: bool) -> None:
    if ring.is_open and not is_local:
        raise ConfigError(
            "keys", "a server that other machines can reach needs an API key (--key, --keys-file)"
        )


@final
class _Reload:
    """Changes the keys of a server that runs."""

    def __init__(self, front: ServerFront, counters: Counters, is_local: bool) -> None:
        self._front = front
        self._counters = counters
        self._is_local = is_local

    def apply(self, keys: Sequence[AnyKey]) -> Callable[[], None]:
        """See `Server.reload`."""
        front, old = self._front, self._front.keys
        ring = KeyRing(virtual_keys_from(keys), self._counters, old=old)
        _require_keys(ring, self._is_local)
        front.keys = ring

        def undo() -> None:
            front.keys = old

        return undo
