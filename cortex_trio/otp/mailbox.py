"""What a process is sent, and the queue where it waits. Knows nothing of what the messages mean.

Posting never blocks and needs no room: supervisors, timers and monitors must always get through. The bound of a
mailbox is on what no caller waits for: casts, and calls whose caller gave up. A waiting caller bounds itself.
The queue is an OrderedDict and not a channel of Trio, because messages are also taken back from its middle.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, TypeVarTuple

import attrs
import outcome
import trio

if TYPE_CHECKING:
    from .process import Process

P = ParamSpec("P")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")
AsyncFn = Callable[..., Awaitable[object]]


class Message:
    """Anything that waits in a mailbox."""

    __slots__ = ()


@attrs.define(eq=False, repr=False)
class Call(Message):
    """A request, and where its answer goes: the caller's task sleeps until `answer`."""

    process: Process
    task: trio.lowlevel.Task | None  # None for a cast, once answered, and once the caller gave up
    method: AsyncFn
    args: tuple[object, ...]
    kwargs: dict[str, object]
    started: bool = False  # handling has begun: the request may have had effects

    @trio.lowlevel.enable_ki_protection
    def answer(self, result: outcome.Outcome[Any]) -> None:
        """Wake the caller with `result`. The first answer wins; a late one has no effect."""
        task, self.task = self.task, None
        if task is not None:
            self.process.pending.discard(self)
            trio.lowlevel.reschedule(task, result)

    def abandon(self, _: object) -> trio.lowlevel.Abort:
        """The caller was cancelled: drop the answer, not the work, as long as the mailbox has room for it."""
        self.task = None
        self.process.pending.discard(self)
        self.process.mailbox.keep_abandoned(self)
        return trio.lowlevel.Abort.SUCCEEDED


class Cast(Call):
    """A request without a waiting caller."""


@attrs.define(eq=False, repr=False)
class Info(Message):
    """A plain message for `handle_info`."""

    content: object
    is_letter: bool = False  # sent with `Ref.info`, not by a timer or a monitor


@attrs.define(eq=False, repr=False)
class Event(Message):
    """Something the process itself has to do between its messages: a supervisor's news of a child."""

    act: AsyncFn
    args: tuple[object, ...]


@attrs.define(eq=False, repr=False)
class Mailbox:
    """The messages of one process, in order of arrival. One task takes them."""

    limit: float = math.inf  # how many messages without a waiting caller `Ref.cast` may queue
    unattended: int = 0  # how many are queued
    closed: bool = False  # takes no more; what is queued will still be handled
    # Its process is in `get`: it handles nothing now, and so waits for no other task.
    is_awaited: bool = False
    queue: OrderedDict[Message, None] = attrs.field(factory=OrderedDict)
    _reader: trio.lowlevel.Task | None = None  # the task that sleeps in `get`
    _in_a_row: int = 0  # messages taken since other tasks had a turn

    @trio.lowlevel.enable_ki_protection
    def put(self, message: Message) -> bool:
        """Queue a message; False (and no effect) when the mailbox is closed."""
        if not self.closed:
            self.queue[message] = None
            self.unattended += isinstance(message, Cast)
            self._wake_reader()
        return not self.closed

    def take_back(self, message: Message) -> None:
        """It will not be handled, unless it was already; without effect on a message that is not here."""
        self.queue.pop(message, None)

    def keep_abandoned(self, call: Call) -> None:
        """A call, perhaps queued, has lost its caller: it counts like a cast, or is taken back if there is no room."""
        if self.unattended >= self.limit:
            self.take_back(call)
        elif call in self.queue:
            self.unattended += 1

    def close(self) -> None:
        self.closed = True
        self._wake_reader()

    @trio.lowlevel.enable_ki_protection
    async def get(self, per_turn: int) -> Message | None:
        """Wait for a message; None once the mailbox is closed and empty.

        Other tasks have a turn before it returns, or after `per_turn` messages in a row. Until it returns the
        message stays in the queue, so a cancellation loses nothing.
        """
        self.is_awaited = True
        self._in_a_row = self._in_a_row % per_turn + 1 if self.queue else 1
        if self._in_a_row > 1:
            await trio.lowlevel.checkpoint_if_cancelled()
        elif self.queue:
            await trio.lowlevel.checkpoint()
        while not self.queue and not self.closed:
            self._reader = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._stop_reading)
        self.is_awaited = False
        if not self.queue:
            return None
        message, _ = self.queue.popitem(last=False)
        self.unattended -= isinstance(message, Call) and message.task is None
        return message

    def _wake_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            trio.lowlevel.reschedule(reader)

    def _stop_reading(self, _: object) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED


def name_of(method: object) -> str:
    """The name of a function for people: `Counter.add`."""
    return str(getattr(method, "__qualname__", None) or type(method).__name__)
