"""The public face of the simulator: `open_simulator()`, providers by name, and the configuration of a gateway."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpcore
import httpx
import trio

from ..gateway.settings.config import WorkerConfig
from ..http import PooledTransport
from ..otp.nursery import open_flat_nursery
from ..providers import PROVIDERS
from .network import MemoryNetwork
from .provider import SimulatedProvider
from .script import Step, script_of
from .servers import SERVERS


class Simulator:
    """A set of simulated providers, reachable in memory or over loopback sockets."""

    def __init__(self, nursery: trio.Nursery, *, sockets: bool) -> None:
        self._nursery = nursery
        self._network = None if sockets else MemoryNetwork(nursery)
        self._providers: dict[str, SimulatedProvider] = {}
        self.script_error: Exception | None = None
        """What a script's function raised, which ended the simulation; None: nothing."""

    def add(
        self,
        name: str,
        *script: Step,
        provider: str | None = None,
        models: Sequence[str] | None = None,
        port: int = 0,
    ) -> SimulatedProvider:
        """Start a provider; `provider` is the real provider it simulates, and defaults to `name`.

        `port` is the one it listens on, where there are sockets; 0: any that is free. Raises ValueError for a name
        that is taken and for an unknown provider, OSError for a port that is taken.
        """
        kind = provider or name
        if name in self._providers:
            raise ValueError(f"there is a simulated provider {name!r} already")
        if kind not in SERVERS:
            raise ValueError(f"provider: one of {', '.join(SERVERS)}, not {kind!r}")
        defaults = PROVIDERS[kind].default_models or ("simulated-model",)
        made = SimulatedProvider(name, kind, SERVERS[kind], script_of(script), models or defaults, self._stop)
        made.url = self._open(made, port) + made.server.base_path
        self._providers[name] = made
        return made

    def __getitem__(self, name: str) -> SimulatedProvider:
        return self._providers[name]

    @property
    def providers(self) -> Mapping[str, SimulatedProvider]:
        return self._providers

    @property
    def network(self) -> httpcore.AsyncNetworkBackend | None:
        """The network in memory for clients built on httpcore; None where there are sockets."""
        return self._network

    def transport(self, worker: WorkerConfig) -> httpx.AsyncBaseTransport:
        """What `open_cortex(http_transport=sim.transport)` needs to reach the providers."""
        return PooledTransport(network_backend=self._network)

    def config(self, **common: Any) -> dict[str, Any]:
        """A worker for each provider, in the shape `Config.from_mapping` reads; `common` goes into each."""
        return {name: {**_worker(provider), **common} for name, provider in self._providers.items()}

    def _stop(self, error: Exception) -> None:
        self.script_error = error
        self._nursery.cancel_scope.cancel()

    def _open(self, provider: SimulatedProvider, port: int) -> str:
        if self._network is not None:
            host = f"{_slug(provider.name)}-{len(self._providers) + 1}.sim"
            self._network.attach(host, provider)
            return f"http://{host}"
        listening = socket.create_server(("127.0.0.1", port), backlog=1024)
        port = listening.getsockname()[1]
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        self._nursery.start_soon(partial(trio.serve_listeners, provider.serve_socket, [listener]))
        return f"http://127.0.0.1:{port}"


@asynccontextmanager
async def open_simulator(*, sockets: bool = False) -> AsyncIterator[Simulator]:
    """Run simulated providers until the block is left; then all of them stop at once.

    An exception of a script's function stops the block as well, and is raised from it.
    """
    async with open_flat_nursery() as nursery:
        simulator = Simulator(nursery, sockets=sockets)
        yield simulator
        nursery.cancel_scope.cancel()
    if simulator.script_error is not None:
        raise simulator.script_error


def _worker(provider: SimulatedProvider) -> dict[str, Any]:
    return {
        "provider": provider.provider,
        "api_keys": list(provider.api_keys),
        "models": list(provider.models),
        "base_url": provider.url,
    }


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
