"""Simulated LLM providers that answer, stall, refuse, cut and garble, in every dialect.

For tests of programs built on this gateway, and for its own tests. The providers send the bytes of the real ones, over
loopback sockets or, in virtual time, over a network in memory.

    async with open_simulator() as sim:
        sim.add("openai", Behaviour(status=503), Behaviour(text="Hello."))
        async with open_gateway(sim) as cortex:
            ...

behaviour   what one request gets
script      which request gets which behaviour
request     one request as it was received
provider    one simulated provider: its script and its requests
simulator   all of them; `open_simulator`
servers     the real providers' servers: their dialects (from `wire`), seals and order of parts
account, response_headers, tokens   API keys, rate-limit headers, token counts and embeddings
answer      a good answer as events
pages       pages of proxies, damaged events
scene, perform, serve   how a response becomes bytes on a connection
link        the link to a provider: latency, bandwidth, partitions
network, pipe, channel  connections in memory
chaos       a TCP proxy with faults, for real sockets
store       a store that several gateways share, slow, hanging, losing and breaking
seeding     reproducible runs
held        what requests still hold
gateway     a gateway in front of the providers
plan        what the command line asks for: providers, faults, API keys, models
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .behaviour import Behaviour
    from .chaos import ChaosProxy, ProxyFaults, open_chaos_proxy
    from .gateway import open_gateway
    from .held import connected, leftovers
    from .link import Link
    from .provider import SimulatedProvider
    from .request import SimRequest
    from .seeding import seeded
    from .simulator import Simulator, open_simulator
    from .store import SimulatedStore

__all__ = [
    "Behaviour",
    "ChaosProxy",
    "Link",
    "ProxyFaults",
    "SimRequest",
    "SimulatedProvider",
    "SimulatedStore",
    "Simulator",
    "connected",
    "leftovers",
    "open_chaos_proxy",
    "open_gateway",
    "open_simulator",
    "seeded",
]

_MODULE_OF = {
    "Behaviour": "behaviour",
    "ChaosProxy": "chaos",
    "Link": "link",
    "ProxyFaults": "chaos",
    "SimRequest": "request",
    "SimulatedProvider": "provider",
    "SimulatedStore": "store",
    "Simulator": "simulator",
    "connected": "held",
    "leftovers": "held",
    "open_chaos_proxy": "chaos",
    "open_gateway": "gateway",
    "open_simulator": "simulator",
    "seeded": "seeding",
}
"""The module of each public name. No name is that of a module: an import would replace the one by the other."""

if not TYPE_CHECKING:  # a type checker that saw `__getattr__` would accept any name

    def __getattr__(name: str) -> object:
        """Load the module of a public name, and keep the name, so that this is called once for each.

        Raises:
            AttributeError: This package has no such name.
        """
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(f"{__name__}.{_MODULE_OF[name]}")
        value = globals()[name] = getattr(module, name)
        return value

    def __dir__() -> list[str]:
        """Return the public names, loaded or not, with what every module has."""
        return sorted({*globals(), *__all__})
