"""The link between clients and one simulated provider: its latency, its bandwidth, its faults.

Only the network in memory has links. A link may be changed while connections use it. Bytes of one connection arrive in
order, as with TCP; with jitter, bytes of different connections may overtake each other.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Protocol, final

import trio


class Connected(Protocol):
    """What a link needs of a connection that uses it."""

    @property
    def is_over(self) -> bool:
        """Whether both sides have closed it."""
        ...

    def wake(self) -> None:
        """The link has changed: waiting tasks must check their conditions again."""

    def reset(self) -> None:
        """Break it: both sides get an error."""

    def vanish(self) -> None:
        """Its provider forgets it and sends nothing about it."""


@final
class Link:
    """A link without delay and limit, until a field is set. `chance` returns random numbers from 0 to 1, for jitter."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self.latency = 0.0
        """Seconds that a message takes in one direction."""
        self.jitter = 0.0
        """Seconds, at most, that are added to the latency at random."""
        self.bandwidth = math.inf
        """Bytes per second, for each direction of each connection."""
        self.refusing = False
        """Whether new connections are refused."""
        self._chance = chance
        self._is_partitioned = False
        self._healed = trio.lowlevel.ParkingLot()
        self._connections: dict[Connected, None] = {}  # in the order in which they were made

    @property
    def is_partitioned(self) -> bool:
        return self._is_partitioned

    @property
    def is_ideal(self) -> bool:
        """Whether messages arrive at once."""
        return not (self._is_partitioned or self.latency or self.jitter or self.bandwidth < math.inf)

    @property
    def connections(self) -> Sequence[Connected]:
        """Those that were open when the last one was made."""
        return tuple(self._connections)

    def delay(self) -> float:
        """Draw how many seconds one message takes, in one direction."""
        return self.latency + (self.jitter * self._chance() if self.jitter else 0.0)

    # ---- faults

    def partition(self) -> None:
        """From now on no byte arrives, in either direction, and neither side gets an error."""
        self._is_partitioned = True

    def heal(self) -> None:
        """End a partition: bytes that were sent during it arrive now."""
        self._is_partitioned = False
        self._healed.unpark_all()
        for connection in self.connections:
            connection.wake()

    def reset_connections(self) -> None:
        """Break every connection at once, as a firewall does that loses its table and sends resets."""
        for connection in self.connections:
            connection.reset()

    def forget_connections(self) -> None:
        """Make every connection half-open, as a restart of the provider's machine does after a power failure.

        A client gets a reset when it sends the next time, and nothing before.
        """
        for connection in self.connections:
            connection.vanish()

    # ---- for the network

    def attach(self, connection: Connected) -> None:
        """Add a connection. It is removed some time after it is over."""
        living = [known for known in self._connections if not known.is_over]
        self._connections = dict.fromkeys([*living, connection])

    async def connect(self) -> None:
        """Wait as long as a TCP handshake takes; during a partition, until it ends."""
        while self._is_partitioned:
            await self._healed.park()
        await trio.sleep(self.delay() + self.delay())
