"""Ends what waits too long, reads and idle connections: one task for all, in place of a cancel scope around each.

Every piece of every stream has its deadline, and nearly every deadline passes unused. A cancel scope to enter and
leave is a third of what a piece costs (`docs/performance.md`, "deadlines"); here it is one comparison.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Protocol, final

import trio


class Watched(Protocol):
    """Something a task waits in. `deadline` is Trio time, infinity while no task waits."""

    deadline: float

    def abort(self) -> None:
        """The deadline has passed: end the wait, and do not wait yourself. It is watched no more. Must not raise."""
        ...


@final
class Deadlines:
    """Watches deadlines while `run` runs. Deadlines that move ahead, as a stream's do, wake no task."""

    def __init__(self) -> None:
        self.awake = False
        self._watched: set[Watched] = set()
        self._nap = trio.CancelScope()  # its deadline is never later than the earliest of those watched
        self._nursery: trio.Nursery | None = None  # there while it is awake

    def watch(self, watched: Watched) -> None:
        """Keep an eye on `watched` from now on, until `forget`."""
        self._watched.add(watched)

    def forget(self, watched: Watched) -> None:
        self._watched.discard(watched)

    def expect(self, watched: Watched, deadline: float) -> None:
        """`watched` begins to wait until `deadline`; the task that waits sets it back to infinity."""
        watched.deadline = deadline
        if deadline < self._nap.deadline:
            self._nap.deadline = deadline

    def start_soon(self, finish: Callable[[], Awaitable[None]]) -> None:
        """For what is aborted and has an end that waits. It must not raise, and is cancelled with the deadlines."""
        if self._nursery is not None:
            self._nursery.start_soon(finish)

    async def run(self) -> None:
        """Run until cancelled. Wakes about once in the shortest time-out, however many streams there are."""
        try:
            async with trio.open_nursery() as self._nursery:
                self.awake = True
                while True:
                    with trio.CancelScope(deadline=self._abort_late_ones()) as self._nap:
                        await trio.sleep_forever()
        finally:
            self.awake, self._nursery = False, None
            for watched in self._watched:
                watched.deadline = math.inf
            self._watched.clear()

    def _abort_late_ones(self) -> float:
        """Return the earliest deadline that is still to come."""
        now = trio.current_time()
        for late in [watched for watched in self._watched if watched.deadline <= now]:
            self._watched.discard(late)
            late.abort()
        return min((watched.deadline for watched in self._watched), default=math.inf)
