"""A race of two attempts: the second one begins when the first has sent no content for a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import final

import trio

from ...otp.nursery import open_flat_nursery
from ..routing.plan import Ask, FailoverPlan
from .attempt import OpenAttempt


@final
class Race:
    """One race. The first content wins; the other attempt is cancelled, which closes its socket and records it.

    Args:
        plan: says which worker to ask as well.
        ask: makes one attempt; returns None if there was no answer. It adds the attempt to `begun`.
        hedge_after: seconds without content after which the second attempt begins.

    Attributes:
        begun: the attempts that were begun.
    """

    def __init__(
        self,
        plan: FailoverPlan,
        ask: Callable[[Ask, Race], Awaitable[OpenAttempt | None]],
        hedge_after: float,
    ) -> None:
        self.begun: list[OpenAttempt] = []
        self._plan = plan
        self._ask = ask
        self._hedge_after = hedge_after
        self._running = 0
        self._winner: OpenAttempt | None = None
        self._scope = trio.CancelScope()

    async def run(self, first: Ask) -> OpenAttempt | None:
        """Return the attempt that won; None if there was no answer. Cancelled, it closes both attempts."""
        try:
            with self._scope:
                async with open_flat_nursery() as nursery:
                    nursery.start_soon(self._compete, first)
                    await trio.sleep(self._hedge_after)
                    if second := self._plan.hedge(trio.current_time()):
                        nursery.start_soon(self._compete, second)
        except BaseException:
            if self._winner is not None:
                await self._winner.aclose()
            raise
        return self._winner

    async def _compete(self, ask: Ask) -> None:
        self._running += 1
        attempt = await self._ask(ask, self)
        self._running -= 1
        if self._winner is not None:
            if attempt is not None:  # both answered at the same moment
                self._plan.record_hedge_loss(ask.candidate)
                await attempt.aclose()
        elif attempt is not None or self._running == 0:
            self._end(attempt)

    def _end(self, winner: OpenAttempt | None) -> None:
        """End the race; without a winner, the second attempt is not waited for."""
        self._winner = winner
        for attempt in self.begun:
            if attempt is not winner:
                attempt.lost_hedge = True
        self._scope.cancel()
