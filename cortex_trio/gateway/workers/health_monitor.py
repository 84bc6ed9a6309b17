"""The actor that starts a round of health checks at regular intervals. `gateway.health` does the checks."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from ...otp import GenServer, Timer

JITTER = 0.1
"""Share of an interval by which it varies, so that many processes do not check at the same time."""


class HealthMonitor(GenServer):
    """Runs a round of health checks every `interval()` seconds, with a little jitter."""

    def __init__(
        self, check: Callable[[], Awaitable[None]], interval: Callable[[], float], source: random.Random
    ) -> None:
        """
        Args:
            check: does one round; takes as long as its slowest check.
            interval: returns the seconds between two rounds, called before each. 0: no rounds.
            source: of the jitter.
        """
        self._check = check
        self._interval = interval
        self._source = source
        self._timer: Timer | None = None  # None: no round is scheduled

    async def init(self) -> None:
        self._schedule()

    async def reschedule(self) -> None:
        """Start the interval again, because its length has changed."""
        self._schedule()

    async def handle_info(self, message: object) -> None:
        if message == "check":
            await self._check()
            self._schedule()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()  # at most one timer is set
        interval = self._interval()
        if interval > 0:
            jittered = interval * (1 + JITTER * (self._source.random() - 0.5))
            self._timer = self.send_after(jittered, "check")
