"""Simulated LLM providers that answer, stall, refuse, cut and garble, in every dialect.

For tests of whatever is built on this gateway, and for its own: the providers speak byte-faithfully over loopback
sockets or, in virtual time, over a network in memory.

    async with open_simulator() as sim:
        sim.add("openai", Behaviour(status=503), Behaviour(text="Hello."))
        async with open_gateway(sim) as cortex:
            ...

behaviour   what one request gets
script      whose turn it is
provider    one fake upstream: its script and what it was asked
simulator   all of them, and the way in
link        the link to it: latency, bandwidth, partitions
scene, perform, serve   how an answer becomes bytes
network, pipe, channel  connections in memory
chaos       a TCP proxy with faults, for real sockets
seeded      reproducible runs
leftovers   what requests still hold
gateway     a gateway in front of the providers
speak       the providers' side of each dialect
"""

from .behaviour import Behaviour
from .chaos import ChaosProxy, ProxyFaults, open_chaos_proxy
from .gateway import open_gateway
from .leftovers import connected, leftovers
from .link import Link
from .provider import SimulatedProvider
from .seeded import seeded
from .simulator import Simulator, open_simulator
from .speak.speaker import SimRequest

__all__ = [
    "Behaviour",
    "ChaosProxy",
    "Link",
    "ProxyFaults",
    "SimRequest",
    "SimulatedProvider",
    "Simulator",
    "connected",
    "leftovers",
    "open_chaos_proxy",
    "open_gateway",
    "open_simulator",
    "seeded",
]
