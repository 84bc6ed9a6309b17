"""The way between clients and one simulated provider: how long it takes, how much fits, and when it is cut.

For the network in memory. A link may be changed while connections run over it. It keeps bytes in order, as TCP
does; with jitter the readiness of different connections comes out of order.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Protocol, final

import trio


class Connected(Protocol):
    """What a link needs of a connection that runs over it."""

    @property
    def is_over(self) -> bool:
        """Both sides have closed it."""
        ...

    def wake(self) -> None:
        """The link has changed: tasks that wait should look again."""

    def reset(self) -> None:
        """Break it: both sides hear of it."""

    def vanish(self) -> None:
        """Its provider forgets it without a word."""


@final
class Link:
    """A link is ideal until something is set: no delay, no limit.

    `latency` is one way, in seconds; `jitter` is added at random, up to so much; `bandwidth` is in bytes a second,
    for each direction of each connection; with `refusing` new connections are refused.
    """

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self.latency = 0.0
        self.jitter = 0.0
        self.bandwidth = math.inf
        self.refusing = False
        self._chance = chance
        self._parted = False
        self._healed = trio.lowlevel.ParkingLot()
        self._connections: dict[Connected, None] = {}  # in the order they were made

    @property
    def is_partitioned(self) -> bool:
        return self._parted

    @property
    def is_ideal(self) -> bool:
        return not (self._parted or self.latency or self.jitter or self.bandwidth < math.inf)

    def delay(self) -> float:
        """Seconds one message takes, one way."""
        return self.latency + (self.jitter * self._chance() if self.jitter else 0.0)

    # ---- what can happen to it

    def partition(self) -> None:
        """From now on nothing passes, in neither direction, and neither side gets an error."""
        self._parted = True

    def heal(self) -> None:
        """What was on its way arrives now, late."""
        self._parted = False
        self._healed.unpark_all()
        for connection in tuple(self._connections):
            connection.wake()

    def reset_connections(self) -> None:
        """Every connection breaks at once, as by a firewall that forgets its table and says so."""
        for connection in tuple(self._connections):
            connection.reset()

    def forget_connections(self) -> None:
        """The provider's machine loses power and is back: clients hear of it when they next send, not before.

        Connections are half-open until then.
        """
        for connection in tuple(self._connections):
            connection.vanish()

    # ---- for the network

    def attach(self, connection: Connected) -> None:
        """A connection runs over it from now on, until it is over."""
        living = [known for known in self._connections if not known.is_over]
        self._connections = dict.fromkeys([*living, connection])

    async def connect(self) -> None:
        """Take the time a handshake takes: for ever while the link is cut."""
        while self._parted:
            await self._healed.park()
        await trio.sleep(self.delay() + self.delay())
