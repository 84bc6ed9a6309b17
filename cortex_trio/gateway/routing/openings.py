"""Wakes calls that wait because no worker may be asked: when a request ends, and when something else changes.

A request that ends frees one place, so one call is woken; waking all of them at each end would cost the square of
their number. The place is reserved for the call that was woken, so that a call that has just begun does not take it.
That call uses the place or hands it on, also when it is cancelled: one that waits for another worker, or has a better
one by now, must not keep it from the others.
"""

from __future__ import annotations

from collections import Counter
from typing import final

import attrs
import trio


@attrs.frozen
class Place:
    """A place that a request of `worker` has freed. It can be handed on `hand_ons` times: it never goes in circles."""

    worker: str
    hand_ons: int


@attrs.define(eq=False)
class _Waiter:
    event: trio.Event = attrs.field(factory=trio.Event)
    place: Place | None = None  # what it was woken for; None: something else has changed


@final
class Openings:
    """Where calls wait. Everything but `wait` is synchronous.

    A Place that `wait` returned is reserved until its call says `used` or `hand_on`, once.
    """

    def __init__(self) -> None:
        self._for_place: dict[_Waiter, None] = {}  # in the order they came
        self._for_change: dict[_Waiter, None] = {}
        self._reserved = Counter[str]()  # by worker; no entry where there are none

    def __len__(self) -> int:
        """Calls that wait at the moment."""
        return len(self._for_place) + len(self._for_change)

    def reserved(self, worker: str, *, besides: Place | None = None) -> int:
        """Places of `worker` that calls were woken for and have not yet taken, `besides` the caller's own."""
        reserved = self._reserved.get(worker, 0)
        return reserved - 1 if besides is not None and besides.worker == worker else reserved

    def place_freed(self, worker: str) -> None:
        """A request of `worker`, which has a limit, has ended."""
        self._give(Place(worker, len(self._for_place) - 1))

    def used(self, place: Place) -> None:
        """The call that was woken for `place` has been admitted."""
        self._reserved[place.worker] -= 1
        if not self._reserved[place.worker]:
            del self._reserved[place.worker]

    def hand_on(self, place: Place) -> None:
        """The call that was woken for `place` does not use it: perhaps the next one does."""
        self.used(place)
        if place.hand_ons > 0:
            self._give(attrs.evolve(place, hand_ons=place.hand_ons - 1))

    def _give(self, place: Place) -> None:
        waiter = next(iter(self._for_place), None)
        if waiter is not None:
            del self._for_place[waiter]
            waiter.place = place
            self._reserved[place.worker] += 1
            waiter.event.set()

    def changed(self) -> None:
        """A cooldown was lifted, a breaker has closed, a worker came: all look again."""
        for waiter in [*self._for_place, *self._for_change]:
            waiter.event.set()
        self._for_place.clear()
        self._for_change.clear()

    async def wait(self, until: float, *, for_place: bool) -> Place | None:
        """Wait until `until` (Trio time), or until something changes; with `for_place` also until a request ends.

        Returns:
            The place that was freed, for the caller to use or to `hand_on`, whatever becomes of the caller; else None.

        Cancelled after it was woken, it returns the place all the same; cancelled before, it hands on what it is given
        until it runs again.
        """
        waiter, queue = _Waiter(), self._for_place if for_place else self._for_change
        queue[waiter] = None
        try:
            with trio.move_on_at(until):
                await waiter.event.wait()
        except BaseException:
            if waiter.place is not None:
                self.hand_on(waiter.place)
            raise
        finally:
            queue.pop(waiter, None)
        return waiter.place
