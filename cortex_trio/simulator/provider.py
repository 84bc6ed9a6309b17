"""One simulated provider: its script, the requests it received, its connections. Knows no dialect."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from typing import Any

import trio

from ..failures import FailureKind
from ..gateway.settings.config import WorkerConfig
from ..wire.server import Operation, ParsedRequest, Rejected
from .account import AccountRules
from .behaviour import Behaviour
from .link import Link
from .request import SimRequest
from .scene import Scene, compose, listing, one_body
from .script import Playback, Script, Step, script_of
from .serve import Connection
from .servers import SimServer

_SCRIPTED = (Operation.CHAT, Operation.EMBED)
"""What uses up a step of the script."""


class SimulatedProvider:
    """A fake upstream, made by `Simulator.add`.

    Legal chat and embedding requests use up its script, one step each unless the step `lasts`; the last step repeats.
    Requests a real provider would not accept (bad key, illegal body) are rejected as it would, and use up nothing.
    Health checks, counts of tokens and requests about models get good responses unless `behave_health` says otherwise
    or connections are refused.
    """

    def __init__(
        self,
        name: str,
        provider: str,
        server: SimServer,
        script: Script,
        models: Sequence[str],
        stop: Callable[[Exception], None],
    ) -> None:
        self.name = name
        self.provider = provider
        self.server = server
        self.models: tuple[str, ...] = tuple(models)
        self.api_keys: tuple[str, ...] = (f"sk-sim-{_printable(name)}-0001",) if server.needs_key else ()
        """The keys its configuration is given."""
        self.valid_keys: set[str] | None = None
        """The only keys that are accepted; None: any."""
        self.prefill: bool | None = None
        """Whether a conversation may end with an assistant's message; None: as the model really does."""
        self.one_at_a_time = False
        """Whether it answers one request after the other, as a small server does that runs one model: all others,
        health checks among them, wait for the answer that is being sent."""
        self.requests: list[SimRequest] = []
        self.connections_made = 0
        self.connections_refused = 0
        self.in_flight = 0
        self.bytes_sent = 0
        """Bytes handed to connections; the last write may still be waiting for its reader."""
        self.url = ""  # set when it is reachable
        self.link = Link()
        """The link to it, for the network in memory; over sockets put a chaos proxy in between."""
        self._stop = stop
        self._script = Playback(script)
        self._health = Playback((Behaviour(),))
        self._turn = trio.Lock()
        self._key_limits: dict[str, Behaviour] = {}
        self._connections: set[Connection] = set()

    def __repr__(self) -> str:
        return f"<SimulatedProvider {self.name!r} ({self.provider}) at {self.url}, {len(self.requests)} requests>"

    # ---- scripting

    def behave(self, *script: Step) -> None:
        """Start a new script: behaviours for the next requests, or one function from request to behaviour.

        With a function, `refuse` takes effect as a reset once the request was read, and `connect_after` none.
        """
        self._script = Playback(script_of(script))

    def behave_health(self, *script: Step) -> None:
        """The same for health checks and lists of models: a server without a list has `Behaviour(status=404)`."""
        self._health = Playback(script_of(script))

    def limit_key(self, key: str, behaviour: Behaviour | None) -> None:
        """Every legal request with this key gets this behaviour, outside the script; None lifts it."""
        if behaviour is None:
            self._key_limits.pop(key, None)
        else:
            self._key_limits[key] = behaviour

    # ---- for the configuration of a gateway

    def worker(self, **settings: Any) -> WorkerConfig:
        """Return a gateway's worker for it; `settings` are those of WorkerConfig, times in seconds."""
        own: dict[str, Any] = {
            "provider": self.provider,
            "api_keys": self.api_keys,
            "models": self.models,
            "base_url": self.url,
        }
        return WorkerConfig(**{**own, **settings})

    # ---- what is going on

    @property
    def open_connections(self) -> int:
        """Connections a client still holds; in memory to the moment, over sockets once the close was seen."""
        return sum(connection.is_open for connection in self._connections)

    # ---- for the network and the server

    def next_connection(self) -> Behaviour:
        """Return the behaviour of a connection about to be made; a refusal uses up its step."""
        behaviour = self._script.connect(trio.current_time())
        if behaviour.refuse:
            self.connections_refused += 1
        return behaviour

    async def serve(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.connections_made += 1
        connection = Connection(self, stream, self.connections_made)
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)

    async def serve_socket(self, stream: trio.SocketStream) -> None:
        """As `serve`; a refusal is an RST right after accepting: as close as a listening socket comes."""
        if self.next_connection().refuse:
            await Connection(self, stream, 0).reset()
        else:
            await self.serve(stream)

    def scene(self, request: SimRequest) -> Scene:
        """Record the request and decide what it gets."""
        self.requests.append(request)
        try:
            exchange = self.server.parse(request, self._rules())
        except Rejected as rejected:
            return one_body(rejected.response)
        parsed = exchange.request
        if parsed.operation is Operation.MODEL and parsed.model not in self.models:
            return one_body(exchange.failure(FailureKind.MODEL_NOT_FOUND))
        behaviour = self._behaviour(parsed, request)
        if parsed.operation in _SCRIPTED:
            return compose(exchange, behaviour)
        return listing(exchange, behaviour, self.models)

    def _rules(self) -> AccountRules:
        keys = None if self.valid_keys is None else frozenset(self.valid_keys)
        return AccountRules(needs_key=self.server.needs_key, keys=keys, prefill=self.prefill)

    @contextmanager
    def answering(self) -> Iterator[None]:
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def turn(self) -> AbstractAsyncContextManager[object]:
        """Return the context an answer is sent in: a lock, where answers wait for each other."""
        return self._turn if self.one_at_a_time else nullcontext()

    def _behaviour(self, parsed: ParsedRequest, request: SimRequest) -> Behaviour:
        if request.key in self._key_limits:
            return self._key_limits[request.key]
        try:
            return (self._script if parsed.operation in _SCRIPTED else self._health).take(request)
        except Exception as error:
            self._stop(error)  # before the client sees its connection break, and reports only that
            raise


def _printable(name: str) -> str:
    """A name as it may stand in a key: keys travel in a header."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", name)
