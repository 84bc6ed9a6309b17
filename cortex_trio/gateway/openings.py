"""Wakes calls that wait because no worker may be asked: when a request ends, and when something else changes.

A request that ends makes room for one, so one call is woken; waking all of them at each end would cost the square of
their number. One that cannot use the place (it waits for another worker) hands it on.
"""

from __future__ import annotations

from typing import final

import trio


@final
class Openings:
    """Where calls wait. Everything but `wait` is synchronous."""

    def __init__(self) -> None:
        self._places = trio.lowlevel.ParkingLot()
        self._changes = trio.lowlevel.ParkingLot()
        self._hand_ons = 0  # how often the place that was freed last may still be handed on

    def __len__(self) -> int:
        """Calls that wait at the moment."""
        return len(self._places) + len(self._changes)

    def place_freed(self) -> None:
        """A request has ended."""
        self._hand_ons = len(self._places)
        self.hand_on()

    def hand_on(self) -> None:
        """A call that was woken does not use the place: perhaps the next one does."""
        if self._hand_ons > 0:
            self._hand_ons -= 1
            self._places.unpark()

    def changed(self) -> None:
        """A cooldown was lifted, a breaker has closed, a worker came: all look again."""
        self._hand_ons = 0
        self._places.unpark_all()
        self._changes.unpark_all()

    async def wait(self, until: float, *, for_place: bool) -> None:
        """Wait until `until` (Trio time), or until something changes; with `for_place` also until a request ends.

        A call that is cancelled in the moment it was woken hands its place on.
        """
        lot = self._places if for_place else self._changes
        with trio.move_on_at(until):
            try:
                await lot.park()
            except trio.Cancelled:
                self.hand_on()
                raise
