"""The queue of calls that wait because no worker may be asked.

A request that ends frees one permit, so one call is woken; to wake all of them each time would cost the square of
their number. The permit is reserved for the call that was woken, so that a call that has just begun does not take it.
The call that was woken uses the permit or hands it on, also when it is cancelled: a call that waits for another
worker, or that has found a better one, must not keep the permit from the others.
"""

from __future__ import annotations

from collections import Counter
from typing import final

import attrs
import trio


@attrs.frozen
class FreedPermit:
    """A permit that a request of `worker` has freed.

    `hand_ons` is how many times it can be handed on: once to each call that waits, so that it never goes in circles.
    """

    worker: str
    hand_ons: int


@attrs.define(eq=False)
class _Waiter:
    woken: trio.Event = attrs.field(factory=trio.Event)
    permit: FreedPermit | None = None  # written once, before `woken` is set; None: something else has changed


@final
class WaitQueue:
    """Calls that wait, in the order in which they came. Everything but `wait` is synchronous.

    Invariant: a permit that `wait` has returned stays reserved until its call says `used` or `hand_on`, once.
    """

    def __init__(self) -> None:
        self._for_permit: dict[_Waiter, None] = {}  # also woken by a freed permit
        self._for_change: dict[_Waiter, None] = {}  # woken by `wake_all` only
        self._reserved = Counter[str]()  # permits by worker; no entry where there are none

    def __len__(self) -> int:
        """Return how many calls wait at the moment."""
        return len(self._for_permit) + len(self._for_change)

    def reserved(self, worker: str, *, besides: FreedPermit | None = None) -> int:
        """Return how many permits of `worker` are reserved; `besides` is the caller's own and not counted."""
        reserved = self._reserved.get(worker, 0)
        return reserved - 1 if besides is not None and besides.worker == worker else reserved

    def permit_freed(self, worker: str) -> None:
        """Wake the first call: a request of `worker`, which has a limit, has ended."""
        self._give(FreedPermit(worker, len(self._for_permit) - 1))

    def used(self, permit: FreedPermit) -> None:
        """End the reservation: the call that was woken has been admitted."""
        self._reserved[permit.worker] -= 1
        if not self._reserved[permit.worker]:
            del self._reserved[permit.worker]

    def hand_on(self, permit: FreedPermit) -> None:
        """Wake the next call: the one that was woken does not use the permit."""
        self.used(permit)
        if permit.hand_ons > 0:
            self._give(attrs.evolve(permit, hand_ons=permit.hand_ons - 1))

    def _give(self, permit: FreedPermit) -> None:
        waiter = next(iter(self._for_permit), None)
        if waiter is not None:
            del self._for_permit[waiter]
            waiter.permit = permit
            self._reserved[permit.worker] += 1
            waiter.woken.set()

    def wake_all(self) -> None:
        """Wake all calls: a cooldown or a breaker has ended, or a worker was added."""
        for waiter in [*self._for_permit, *self._for_change]:
            waiter.woken.set()
        self._for_permit.clear()
        self._for_change.clear()

    async def wait(self, until: float, *, for_permit: bool) -> FreedPermit | None:
        """Wait until `until` (Trio time) or until something changes.

        Cancelled after it was woken, it returns the permit all the same; cancelled before, it hands on the permit that
        it is given until it runs again.

        Args:
            until: when to return at the latest.
            for_permit: return also when a request ends.

        Returns:
            The permit that was freed, which the caller must use or hand on, whatever happens to the caller;
            None if nothing was freed.
        """
        waiter, queue = _Waiter(), self._for_permit if for_permit else self._for_change
        queue[waiter] = None
        try:
            with trio.move_on_at(until):
                await waiter.woken.wait()
        except BaseException:
            if waiter.permit is not None:
                self.hand_on(waiter.permit)
            raise
        finally:
            queue.pop(waiter, None)
        return waiter.permit
