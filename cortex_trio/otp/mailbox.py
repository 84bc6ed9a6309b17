"""The messages of a process, and the queue in which they wait. Knows nothing of what the messages mean.

`put` never blocks and has no limit: messages of supervisors, timers and monitors must always be queued. The limit of a
mailbox is for messages that no caller waits for: casts, and calls whose caller was cancelled. The other calls limit
themselves, because each caller waits for its answer.

The queue is an OrderedDict and not a memory channel of Trio, because messages are also removed from its middle.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar, TypeVarTuple

import attrs
import outcome
import trio

P = ParamSpec("P")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")
AsyncFn = Callable[..., Awaitable[object]]


class Message:
    """Anything that waits in a mailbox."""

    __slots__ = ()
    counts_as_dead_letter = False  # if the process exits before it is handled


@attrs.define(eq=False, repr=False)
class Call(Message):
    """A request, and where its answer goes: the caller's task sleeps until `answer`."""

    mailbox: Mailbox  # the one it was put into
    task: trio.lowlevel.Task | None  # None for a cast, once answered, and once the caller was cancelled
    method: AsyncFn
    args: tuple[object, ...]
    kwargs: dict[str, object]
    started: bool = False  # handling has begun: the request may have had effects

    @trio.lowlevel.enable_ki_protection
    def answer(self, result: outcome.Outcome[Any]) -> None:
        """Wake the caller with `result`. The first answer counts; a later one has no effect."""
        task, self.task = self.task, None
        if task is not None:
            self.mailbox.pending.discard(self)
            trio.lowlevel.reschedule(task, result)


class Cast(Call):
    """A request without a waiting caller."""

    counts_as_dead_letter = True


@attrs.define(eq=False, repr=False)
class Info(Message):
    """A plain message for `handle_info`."""

    content: object
    counts_as_dead_letter: bool = False  # True for `Ref.info`; False for timers and monitors


@attrs.define(eq=False, repr=False)
class Event(Message):
    """A call of the process to itself between its messages, such as a supervisor's reaction to the exit of a child."""

    act: AsyncFn
    args: tuple[object, ...]


@attrs.define(eq=False, repr=False)
class Mailbox:
    """The messages of one process, in order of arrival. One task takes them."""

    limit: float = math.inf  # of `without_caller`, checked by `Ref.cast`
    without_caller: int = 0  # how many queued messages are casts, or calls whose caller was cancelled
    closed: bool = False  # accepts no more messages; those in the queue are still handled
    is_reading: bool = False  # the process is in `get`: it handles no message, and so waits for no other task
    pending: set[Call] = attrs.field(factory=set)  # whose caller waits: queued, being handled, or deferred
    queue: OrderedDict[Message, None] = attrs.field(factory=OrderedDict)
    _reader: trio.lowlevel.Task | None = None  # the task that sleeps in `get`
    _taken_in_a_row: int = 0  # messages since other tasks had a turn

    @trio.lowlevel.enable_ki_protection
    def put(self, message: Message) -> bool:
        """Queue a message. Return False, without effect, if the mailbox is closed."""
        if not self.closed:
            self.queue[message] = None
            self.without_caller += isinstance(message, Cast)
            self._wake_reader()
        return not self.closed

    def take_back(self, message: Message) -> None:
        """Remove a message. No effect if it is not in the queue."""
        self.queue.pop(message, None)

    def abandon(self, call: Call, _: object) -> trio.lowlevel.Abort:
        """The caller of `call` was cancelled: count it like a cast, or remove it if the limit is reached."""
        call.task = None
        self.pending.discard(call)
        if self.without_caller >= self.limit:
            self.take_back(call)
        elif call in self.queue:
            self.without_caller += 1
        return trio.lowlevel.Abort.SUCCEEDED

    def close(self) -> None:
        """Accept no more messages; `get` returns None after the last one."""
        self.closed = True
        self._wake_reader()

    @trio.lowlevel.enable_ki_protection
    async def get(self, per_turn: int) -> Message | None:
        """Wait for the next message.

        Other tasks have a turn before it returns, or after `per_turn` messages in a row. A message stays in the queue
        until this returns, so a cancellation loses none.

        Returns:
            The message; None if the mailbox is closed and empty.
        """
        self.is_reading = True
        self._taken_in_a_row = self._taken_in_a_row % per_turn + 1 if self.queue else 1
        if self._taken_in_a_row > 1:
            await trio.lowlevel.checkpoint_if_cancelled()
        elif self.queue:
            await trio.lowlevel.checkpoint()
        while not self.queue and not self.closed:
            self._reader = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._stop_reading)
        self.is_reading = False
        if not self.queue:
            return None
        message, _ = self.queue.popitem(last=False)
        self.without_caller -= isinstance(message, Call) and message.task is None
        return message

    def _wake_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            trio.lowlevel.reschedule(reader)

    def _stop_reading(self, _: object) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED


def name_of(method: object) -> str:
    """The name of a function in a message to the user, such as `Counter.add`; of another object, its class."""
    return str(getattr(method, "__qualname__", None) or type(method).__name__)
