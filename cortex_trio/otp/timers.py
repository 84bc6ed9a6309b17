"""The timers of one process: a heap, and one task that sleeps until the first timer is due.

One task for each timer would be simpler, but 10 000 timers would need 10 000 tasks.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import final

import attrs
import trio

from .mailbox import Mailbox, Message


@final
@attrs.frozen(eq=False, repr=False)
class Timer:
    """A message that is put into the mailbox later; `GenServer.send_after` returns it."""

    _clock: Clock
    _message: Message

    def cancel(self) -> None:
        """Do not deliver the message, even if it is in the mailbox already. No effect once it is handled."""
        self._clock.cancel(self._message)


@attrs.define(eq=False, repr=False)
class Clock:
    """Puts messages into the mailbox when they are due, until the mailbox is closed."""

    _mailbox: Mailbox
    _name: str
    _heap: list[tuple[float, int, Message]] = attrs.field(factory=list)  # (due in Trio time, serial, message)
    _waiting: set[Message] = attrs.Factory(set)  # those in the heap that are not cancelled: at least half
    _sleep: trio.CancelScope | None = None  # until the first timer is due; None: no timer, and no task
    _serials: count[int] = attrs.field(factory=count)  # the order of messages that are due at the same time

    def set(self, due: float, message: Message, nursery: trio.Nursery) -> Timer:
        """Deliver `message` at `due` (Trio time, seconds). The first timer starts the task, in `nursery`."""
        if not self._mailbox.closed:
            heappush(self._heap, (due, next(self._serials), message))
            self._waiting.add(message)
            if self._sleep is None:
                self._sleep = trio.CancelScope()
                nursery.start_soon(self._run, self._sleep, name=f"timer of {self._name}")
            self._sleep.deadline = self._heap[0][0]
        return Timer(self, message)

    def cancel(self, message: Message) -> None:
        """For `Timer`: see there."""
        self._mailbox.take_back(message)
        self._waiting.discard(message)
        if len(self._heap) > 2 * len(self._waiting):
            self._heap = [entry for entry in self._heap if entry[2] in self._waiting]
            heapify(self._heap)
        if not self._heap and self._sleep is not None:
            self._sleep.cancel()
            self._sleep = None

    async def _run(self, sleep: trio.CancelScope | None) -> None:
        while sleep is not None and self._sleep is sleep:
            with sleep:
                await trio.sleep_forever()
            while self._heap and self._heap[0][0] <= trio.current_time():
                _, _, message = heappop(self._heap)
                if message in self._waiting:
                    self._waiting.remove(message)
                    self._mailbox.put(message)
            if self._sleep is sleep:  # else its last timer was cancelled, and a new one may have been set
                self._sleep = sleep = trio.CancelScope(deadline=self._heap[0][0]) if self._heap else None
