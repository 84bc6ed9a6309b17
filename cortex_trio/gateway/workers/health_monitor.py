"""The actor that has idle workers checked in regular rounds. What a check is, is in `gateway.health`."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from ...otp import GenServer, Timer

JITTER = 0.1
"""Of an interval: the rounds of many processes must not come together."""


class HealthMonitor(GenServer):
    """Runs a round of checks every `interval()` seconds, a little jittered; 0 means never.

    Args:
        check: one round; it takes as long as the slowest check.
        interval: returns the seconds between two rounds; asked anew before each.
        source: of the jitter.
    """

    def __init__(
        self, check: Callable[[], Awaitable[None]], interval: Callable[[], float], source: random.Random
    ) -> None:
        self._check = check
        self._interval = interval
        self._source = source
        self._timer: Timer | None = None  # None: there are no rounds

    async def init(self) -> None:
        self._schedule()

    async def reschedule(self) -> None:
        """The interval was changed: the next round is due so long from now."""
        self._schedule()

    async def handle_info(self, message: object) -> None:
        if message == "check":
            await self._check()
            self._schedule()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()  # at most one is set
        interval = self._interval()
        if interval > 0:
            jittered = interval * (1 + JITTER * (self._source.random() - 0.5))
            self._timer = self.send_after(jittered, "check")
