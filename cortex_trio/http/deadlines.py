"""Closes what waits longer than its deadline, reads and idle connections: one task for all of them.

Every read of every stream has a deadline, and nearly no deadline passes. Entering and leaving a cancel scope takes a
third of the CPU time of a read (`docs/performance.md`, "deadlines"). Here a read costs one comparison.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Protocol, final

import trio


class HasDeadline(Protocol):
    """Something that is closed when its deadline passes."""

    deadline: float
    """Trio time; infinity while nothing waits."""

    def close_expired(self) -> None:
        """Called once when the deadline has passed. Must not wait and must not raise. Ends the watching."""
        ...


@final
class Deadlines:
    """Watches deadlines while `run` runs. Moving a deadline to a later time, as streams do, wakes no task."""

    def __init__(self) -> None:
        self.is_running = False
        self._watched: set[HasDeadline] = set()
        self._sleep = trio.CancelScope()  # its deadline is never later than the earliest watched deadline
        self._nursery: trio.Nursery | None = None  # None while `run` is not running

    def watch(self, watched: HasDeadline) -> None:
        """Watch the deadline of `watched` until `forget` is called or the deadline passes."""
        self._watched.add(watched)

    def forget(self, watched: HasDeadline) -> None:
        """Stop watching. Does nothing if `watched` is not watched."""
        self._watched.discard(watched)

    def set_deadline(self, watched: HasDeadline, deadline: float) -> None:
        """Start a wait of `watched` that may take until `deadline` (Trio time).

        The task that waits sets `watched.deadline` back to infinity when its wait is over.
        """
        watched.deadline = deadline
        if deadline < self._sleep.deadline:
            self._sleep.deadline = deadline

    def start_soon(self, close: Callable[[], Awaitable[None]]) -> None:
        """Run the part of a close that waits, in the background.

        Args:
            close: must not raise. It is cancelled together with `run`, and not started when `run` is not running.
        """
        if self._nursery is not None:
            self._nursery.start_soon(close)

    async def run(self) -> None:
        """Run until cancelled. Wakes about once in the shortest timeout, however many streams there are."""
        try:
            async with trio.open_nursery() as self._nursery:
                self.is_running = True
                while True:
                    with trio.CancelScope(deadline=self._close_expired()) as self._sleep:
                        await trio.sleep_forever()
        finally:
            self.is_running, self._nursery = False, None
            for watched in self._watched:
                watched.deadline = math.inf
            self._watched.clear()

    def _close_expired(self) -> float:
        """Close what has expired; return the earliest deadline that is left."""
        now = trio.current_time()
        for expired in [watched for watched in self._watched if watched.deadline <= now]:
            self._watched.discard(expired)
            expired.close_expired()
        return min((watched.deadline for watched in self._watched), default=math.inf)
