"""Simulated LLM providers that answer, stall, refuse, cut and garble, in every dialect.

For tests of whatever is built on this gateway, and for its own: the providers speak byte-faithfully over loopback
sockets or, in virtual time, over a network in memory.

    async with open_simulator() as sim:
        sim.add("openai", Behaviour(status=503), Behaviour(text="Hello."))
        async with open_cortex(sim.config(), http_transport=sim.transport) as cortex:
            ...

behaviour   what one request gets
script      whose turn it is
provider    one fake upstream: its script and what it was asked
simulator   all of them, and the way in
link        the way to it: slow, narrow, cut, half-open
scene, perform, serve   how an answer becomes bytes
network, pipe, channel  how bytes arrive, or do not
chaos       bad weather for real sockets
seeded      one seed, one run
leftovers   nothing may be left behind
world       whole lives in random worlds: `cortex-trio simulate`
exam        the failover exam: `cortex-trio exam`
speak       the providers' side of each dialect
"""

from .behaviour import Behaviour
from .chaos import ChaosProxy, Weather, open_chaos_proxy
from .leftovers import connected, leftovers
from .link import Link
from .provider import SimulatedProvider
from .request import SimRequest
from .seeded import seeded
from .simulator import Simulator, open_simulator

__all__ = [
    "Behaviour",
    "ChaosProxy",
    "Link",
    "SimRequest",
    "SimulatedProvider",
    "Simulator",
    "Weather",
    "connected",
    "leftovers",
    "open_chaos_proxy",
    "open_simulator",
    "seeded",
]
