"""Wakes calls that wait because no worker may be asked: when a request ends, and when something else changes.

A request that ends makes room for one, so one call is woken; waking all of them at each end would cost the square of
their number. The call that was woken uses the place or hands it on, also when it is cancelled: one that waits for
another worker, or has a better one by now, must not keep it from the others.
"""

from __future__ import annotations

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
    """Where calls wait. Everything but `wait` is synchronous."""

    def __init__(self) -> None:
        self._for_place: dict[_Waiter, None] = {}  # in the order they came
        self._for_change: dict[_Waiter, None] = {}

    def __len__(self) -> int:
        """Calls that wait at the moment."""
        return len(self._for_place) + len(self._for_change)

    def place_freed(self, worker: str) -> None:
        """A request of `worker`, which has a limit, has ended."""
        self._give(Place(worker, len(self._for_place) - 1))

    def hand_on(self, place: Place) -> None:
        """The call that was woken for `place` does not use it: perhaps the next one does."""
        if place.hand_ons > 0:
            self._give(attrs.evolve(place, hand_ons=place.hand_ons - 1))

    def _give(self, place: Place) -> None:
        waiter = next(iter(self._for_place), None)
        if waiter is not None:
            del self._for_place[waiter]
            waiter.place = place
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
            Cancelled in the moment it was woken, it returns the place all the same.
        """
        waiter, queue = _Waiter(), self._for_place if for_place else self._for_change
        queue[waiter] = None
        try:
            with trio.move_on_at(until):
                await waiter.event.wait()
        finally:
            queue.pop(waiter, None)
        return waiter.place
