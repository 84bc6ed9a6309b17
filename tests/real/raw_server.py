"""A server that sends given bytes: any status, body, delay and end.

    world.server(chat=[play(http(503), ...), ...])   one Play for each request of a kind, then `then` for ever
    Play(steps, reads)                               bytes are sent, numbers are seconds of waiting, Do is done

One script, two carriers: "memory" runs in virtual time (`autojump_clock`), "sockets" and "tls" on loopback ports.
"""

import enum
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import attrs
import httpx
import trio
import trio.testing
from certificates import client_context
from raw_bytes import MODEL, embedding_list, http, model_list, said
from raw_carriers import Line, MemoryNetwork, SocketServer

from cortex_trio import Config, Cortex, WorkerConfig, open_cortex
from cortex_trio.http import PooledTransport

GONE = (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError, OSError)
TLS_HANDSHAKE = 0x16
KEY = "sk-raw-0123456789-abcdef"


class Do(enum.Enum):
    """What is done beside sending and waiting."""

    RESET = "reset"
    CLOSE = "close"
    HANG = "hang"  # send and read nothing until the client leaves


Step = bytes | float | Do


@attrs.frozen
class Play:
    """What answers one request: the steps, after `reads` bytes of its body came (None: all of it).

    If the body was not read to its end, nothing more of it is read: after its steps the server only waits.
    """

    steps: tuple[Step, ...]
    reads: int | None = None


def play(*steps: Step, reads: int | None = None) -> Play:
    return Play(steps, reads)


@attrs.frozen
class Request:
    """What came; `at` is Trio time, when its head was read."""

    at: float
    method: str
    path: str
    headers: dict[str, str] = attrs.field(repr=False)  # they hold the key
    connection: int  # which connection of the server, from 1
    body: bytearray = attrs.field(factory=bytearray, repr=False)


@attrs.define(eq=False)
class RawServer:
    """Scripts for chat, lists and embeddings: each request takes one Play; when none is left, the last of `then`."""

    name: str
    provider: str
    url: str = ""
    chat: deque[Play] = attrs.field(factory=deque)
    lists: deque[Play] = attrs.field(factory=deque)
    embeds: deque[Play] = attrs.field(factory=deque)
    on_connect: deque[Step] = attrs.field(factory=deque)  # one for each connection, before it is read
    then: dict[str, Play] = attrs.field(factory=dict)  # what follows when a script is over
    requests: list[Request] = attrs.field(factory=list)
    connections: int = 0
    open_connections: int = 0
    refuse: Callable[[float], None] = lambda seconds: None

    @property
    def asked(self) -> list[Request]:
        """The chat requests."""
        return [request for request in self.requests if _kind(request) == "chat"]

    @property
    def asked_at(self) -> list[float]:
        return [request.at for request in self.asked]

    @property
    def listed(self) -> list[Request]:
        return [request for request in self.requests if _kind(request) == "lists"]

    def worker(self, **settings: Any) -> WorkerConfig:
        """The configuration of a worker that asks this server."""
        base: dict[str, Any] = {"provider": self.provider, "models": [MODEL], "base_url": self.url}
        if self.provider not in ("ollama", "openai_compatible"):
            base["api_keys"] = [KEY]
        return WorkerConfig(**{**base, **settings})

    async def serve(self, line: Line) -> None:
        """Serve one connection until one side ends it."""
        self.connections += 1
        self.open_connections += 1
        number = self.connections
        try:
            with suppress(*GONE):
                if self.on_connect:
                    await _do(line, self.on_connect.popleft())
                await self._serve_requests(line, number)
        finally:
            self.open_connections -= 1
            with trio.CancelScope(shield=True), suppress(*GONE):
                await line.aclose()

    async def _serve_requests(self, line: Line, number: int) -> None:
        ahead = bytearray()
        while True:
            while b"\r\n\r\n" not in ahead:
                if not (data := await line.receive_some()):
                    return
                ahead += data
                if ahead[0] == TLS_HANDSHAKE:  # to a port without TLS: servers answer in plain HTTP
                    await line.send_all(http(400, b"Bad Request", kind="text/plain"))
                    return
            end = ahead.index(b"\r\n\r\n") + 4
            request = _request(bytes(ahead[:end]), number)
            del ahead[:end]
            self.requests.append(request)
            plan = self._next(_kind(request))
            size = int(request.headers.get("content-length", "0"))
            wanted = size if plan.reads is None else min(size, plan.reads)
            while len(ahead) < wanted:
                if not (data := await line.receive_some()):
                    return
                ahead += data
            request.body.extend(ahead[:size])
            del ahead[:size]
            for step in plan.steps:
                await _do(line, step)
            if len(request.body) < size:
                await _do(line, Do.HANG)

    def _next(self, kind: str) -> Play:
        script = {"chat": self.chat, "lists": self.lists, "embeds": self.embeds}[kind]
        return script.popleft() if script else self.then[kind]


def _kind(request: Request) -> str:
    if request.method == "GET":
        return "lists"
    return "embeds" if "embed" in request.path.lower() else "chat"


def _request(data: bytes, connection: int) -> Request:
    first, *lines = data.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return Request(trio.current_time(), method, path, headers, connection)


async def _do(line: Line, step: Step) -> None:
    match step:
        case bytes():
            await line.send_all(step)
        case Do.RESET:
            line.reset()
            raise trio.ClosedResourceError
        case Do.CLOSE:
            await line.aclose()
            raise trio.ClosedResourceError
        case Do.HANG:
            await trio.sleep_forever()
        case _:
            await trio.sleep(step)


# ------------------------------------------------------------------ servers together


@attrs.define(eq=False)
class World:
    """Raw servers on one carrier, and gateways before them."""

    carrier: Literal["memory", "sockets", "tls"]
    nursery: trio.Nursery
    network: MemoryNetwork
    servers: list[RawServer] = attrs.field(factory=list)
    _sockets: list[SocketServer] = attrs.field(factory=list)

    def server(
        self,
        provider: str = "openai",
        *,
        chat: Iterable[Play] = (),
        lists: Iterable[Play] = (),
        embeds: Iterable[Play] = (),
        on_connect: Iterable[Step] = (),
        **then: Play,
    ) -> RawServer:
        """Start one; `chat=`, `lists=`, `embeds=` are its scripts, `then_chat=` and so on what follows for ever."""
        known = {name.removeprefix("then_"): value for name, value in then.items()}
        after = {
            "chat": play(said(provider)),
            "lists": play(model_list(provider)),
            "embeds": play(http(200, embedding_list(1, 3))),
            **known,
        }
        name = f"raw{len(self.servers) + 1}"
        made = RawServer(name, provider, then=after)
        made.chat.extend(chat)
        made.lists.extend(lists)
        made.embeds.extend(embeds)
        made.on_connect.extend(on_connect)
        if self.carrier == "memory":
            host = f"{name}.test"
            self.network.hosts[host] = made.serve
            made.url = f"http://{host}/v1"

            def refuse(seconds: float) -> None:
                self.network.refusing[host] = trio.current_time() + seconds

            made.refuse = refuse
        else:
            secure = self.carrier == "tls"
            sockets = SocketServer(self.nursery, made.serve, secure=secure)
            self._sockets.append(sockets)
            made.url = f"http{'s' * secure}://127.0.0.1:{sockets.port}/v1"
            made.refuse = sockets.refuse
        self.servers.append(made)
        return made

    def transport(self, config: WorkerConfig) -> httpx.AsyncBaseTransport:
        """The gateway's own transport, on this carrier."""
        if self.carrier == "memory":
            return PooledTransport(network_backend=self.network)
        return PooledTransport(ssl_context=client_context())

    def config(self, *servers: RawServer, worker: dict[str, Any] | None = None, **settings: Any) -> Config:
        """A configuration that asks `servers` in this order. No active health checks unless `settings` say so."""
        workers = {
            server.name: server.worker(priority=index, **(worker or {}))
            for index, server in enumerate(servers or self.servers)
        }
        return Config(workers=workers, **{"health_check_interval": 0, **settings})

    @asynccontextmanager
    async def gateway(
        self,
        *servers: RawServer,
        on_event: Callable[[object], None] | None = None,
        worker: dict[str, Any] | None = None,
        **settings: Any,
    ) -> AsyncIterator[Cortex]:
        """A gateway before `servers`, or before all there are; at its end no request may hold anything."""
        config = self.config(*servers, worker=worker, **settings)
        own = None if self.carrier == "sockets" else self.transport
        async with open_cortex(config, http_transport=own, on_event=on_event) as cortex:
            yield cortex
            await trio.testing.wait_all_tasks_blocked()
            assert [info.name for info in await cortex.list_workers() if info.in_flight] == []


@asynccontextmanager
async def open_world(carrier: Literal["memory", "sockets", "tls"] = "memory") -> AsyncIterator[World]:
    """Servers that run until the block is left."""
    async with trio.open_nursery() as nursery:
        world = World(carrier, nursery, MemoryNetwork(nursery))
        try:
            yield world
        finally:
            nursery.cancel_scope.cancel()
            for server in world._sockets:
                server.close()
