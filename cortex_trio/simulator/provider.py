"""One simulated provider: its script, what it was asked, who is connected. Knows dialects only as a `Speaker`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import trio

from ..failures import FailureKind
from ..gateway.config import WorkerConfig
from .behaviour import Behaviour
from .link import Link
from .scene import Scene, compose, decline, listing
from .serve import Connection
from .speak.speaker import Asked, Declined, SimRequest, Speaker, Terms

Script = Sequence[Behaviour] | Callable[[SimRequest], Behaviour]


class SimulatedProvider:
    """A fake upstream, made by `Simulator.add`.

    Legal chat and embedding requests use up its script, one step each; the last step repeats. Requests a real
    provider would not accept (bad key, illegal body) are declined in its own words and use up nothing. Health checks,
    counts of tokens and questions about models are answered well unless `behave_health` says otherwise or nobody
    can connect.
    """

    def __init__(
        self,
        name: str,
        provider: str,
        speaker: Speaker,
        script: Script,
        models: Sequence[str],
        stop: Callable[[Exception], None],
    ) -> None:
        self.name = name
        self.provider = provider
        self.speaker = speaker
        self.models: tuple[str, ...] = tuple(models)
        self.api_keys: tuple[str, ...] = (f"sk-sim-{_printable(name)}-0001",) if speaker.needs_key else ()
        """The keys its configuration is given."""
        self.valid_keys: set[str] | None = None
        """The only keys that are accepted; None: any."""
        self.prefill: bool | None = None
        """Whether a conversation may end with an assistant's message; None: as the model really does."""
        self.requests: list[SimRequest] = []
        self.connections_made = 0
        self.connections_refused = 0
        self.in_flight = 0
        self.bytes_sent = 0
        """Bytes handed to connections; the last write may still be waiting for its reader."""
        self.url = ""  # set when it is reachable
        self.link = Link()
        """The way to it, for the network in memory; over sockets put a chaos proxy in between."""
        self._stop = stop
        self._script = script
        self._health: Script = (Behaviour(),)
        self._step = 0
        self._health_step = 0
        self._key_limits: dict[str, Behaviour] = {}
        self._connections: set[Connection] = set()

    def __repr__(self) -> str:
        return f"<SimulatedProvider {self.name!r} ({self.provider}) at {self.url}, {len(self.requests)} requests>"

    # ---- scripting

    def behave(self, *script: Behaviour | Callable[[SimRequest], Behaviour]) -> None:
        """Start a new script: behaviours for the next requests, or one function from request to behaviour.

        With a function, `refuse` takes effect as a reset once the request was read, and `connect_after` none.
        """
        self._script, self._step = script_of(script), 0

    def behave_health(self, *script: Behaviour | Callable[[SimRequest], Behaviour]) -> None:
        """The same for health checks and lists of models."""
        self._health, self._health_step = script_of(script), 0

    def limit_key(self, key: str, behaviour: Behaviour | None) -> None:
        """Every legal request with this key gets this behaviour, outside the script; None lifts it."""
        if behaviour is None:
            self._key_limits.pop(key, None)
        else:
            self._key_limits[key] = behaviour

    # ---- for the configuration of a gateway

    def worker(self, **settings: Any) -> WorkerConfig:
        """What a gateway is told of this provider; `settings` are WorkerConfig's own, times in seconds."""
        told: dict[str, Any] = {
            "provider": self.provider,
            "api_keys": self.api_keys,
            "models": self.models,
            "base_url": self.url,
        }
        return WorkerConfig(**{**told, **settings})

    # ---- what is going on

    @property
    def open_connections(self) -> int:
        """Connections a client still holds; in memory to the moment, over sockets once the close was seen."""
        return sum(connection.is_open for connection in self._connections)

    # ---- for the network and the server

    def next_connection(self) -> Behaviour:
        """The behaviour that decides over a connection about to be made; a refusal uses up its step."""
        behaviour = self._peek()
        if behaviour.refuse:
            self._step += 1
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
        keys = None if self.valid_keys is None else frozenset(self.valid_keys)
        try:
            asked = self.speaker.understand(request, Terms(keys=keys, prefill=self.prefill))
        except Declined as declined:
            return decline(declined.answer)
        if asked.what == "model" and asked.model not in self.models:
            return decline(self.speaker.failure(FailureKind.MODEL_NOT_FOUND, asked))
        behaviour = self._behaviour(asked, request)
        if asked.what in ("chat", "embed"):
            return compose(self.speaker, asked, behaviour)
        return listing(self.speaker, asked, behaviour, self.models)

    @contextmanager
    def answering(self) -> Iterator[None]:
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def _behaviour(self, asked: Asked, request: SimRequest) -> Behaviour:
        if request.key in self._key_limits:
            return self._key_limits[request.key]
        if asked.what in ("chat", "embed"):
            behaviour = self._at(self._script, self._step, request)
            self._step += 1
        else:
            behaviour = self._at(self._health, self._health_step, request)
            self._health_step += 1
        return behaviour

    def _at(self, script: Script, step: int, request: SimRequest) -> Behaviour:
        if not callable(script):
            return script[min(step, len(script) - 1)]
        try:
            return script(request)
        except Exception as error:
            self._stop(error)  # before the client sees its connection break and takes that for the trouble
            raise

    def _peek(self) -> Behaviour:
        return Behaviour() if callable(self._script) else self._script[min(self._step, len(self._script) - 1)]


def _printable(name: str) -> str:
    """A name as it may stand in a key: keys travel in a header."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", name)


def script_of(steps: Sequence[Behaviour | Callable[[SimRequest], Behaviour]]) -> Script:
    """One function, or behaviours; none at all is one good behaviour for ever."""
    behaviours = [step for step in steps if isinstance(step, Behaviour)]
    if len(behaviours) == len(steps):
        return tuple(behaviours) or (Behaviour(),)
    if len(steps) == 1 and not isinstance(steps[0], Behaviour) and callable(steps[0]):
        return steps[0]
    raise TypeError("a script is any number of Behaviour values, or exactly one function of a SimRequest")
