"""One incarnation of a server: one task, one mailbox, one end. It knows nothing of what the server does.

A `Process` is what OTP calls a process and its pid. The rules it keeps, each held by a test:

* The task has its own *shielded* cancel scope. Only a kill cancels it, so a tree is always stopped by its
  supervisor, in order, and never by a cancellation that happens to pass by.
* Exceptions are caught *outside* that scope. When the cleanup of a cancelled task crashes, Trio raises a
  group of Cancelled and the error, which `except Exception` does not match; the scope takes its Cancelled
  out of the group first, and what is left is an ordinary crash.
* KeyboardInterrupt and SystemExit are not crashes: nobody is told, so nobody restarts anything.
* Posting never blocks and needs no room: supervisors, timers and monitors must always get through. Only
  casts can be bounded, because a call has a waiting caller and so bounds itself.
* `finish` runs once, synchronously, on every path, and leaves no caller waiting.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import outcome
import trio

from .errors import ActorExited, AlreadyStarted, exit_reason
from .reasons import ExitReason, Killed, Shutdown

if TYPE_CHECKING:
    from .gen_server import GenServer
    from .ref import Ref

AsyncFn = Callable[..., Awaitable[object]]


@attrs.define(eq=False, repr=False)
class Call:
    """A request, and the place its answer goes: the caller's task sleeps until `settle`."""

    process: Process
    task: trio.lowlevel.Task | None  # None for a cast, once answered, and once the caller gave up
    method: AsyncFn
    args: tuple[object, ...]
    kwargs: dict[str, object]
    started: bool = False  # handling has begun: the request may have had effects

    @trio.lowlevel.enable_ki_protection
    def settle(self, result: outcome.Outcome[Any]) -> None:
        """Wake the caller with `result`; the first answer wins, and nobody minds a late one."""
        task, self.task = self.task, None
        if task is not None:
            self.process.pending.discard(self)
            trio.lowlevel.reschedule(task, result)

    def abandon(self, _: object) -> trio.lowlevel.Abort:
        """The caller was cancelled: drop the answer, not the work."""
        self.task = None
        self.process.pending.discard(self)
        return trio.lowlevel.Abort.SUCCEEDED


class Cast(Call):
    """A request nobody waits for."""


@attrs.define(eq=False, repr=False)
class Info:
    """A plain message for `handle_info`; timers and monitors may take it back while it is queued."""

    content: object
    withdrawn: bool = False


Message = Call | Info


class Watcher(Protocol):
    """Wants to hear of the end of a process: a monitor, or a registry that forgets its names."""

    def on_exit(self, process: Process, /) -> None: ...


@attrs.define(eq=False, repr=False)
class Process:
    """Where a server runs, from its factory to its end."""

    ref: Ref[Any]
    _start: Callable[[], GenServer]  # called inside the new task: a factory that fails is a start that failed
    nursery: trio.Nursery  # the supervisor's; the timers of this process live there too
    _on_exit: Callable[[Process], None] | None  # tells the supervisor; None once nobody is to be told
    cast_limit: float = math.inf
    casts_queued: int = 0
    server: GenServer | None = None  # None only until the factory returned
    task: trio.lowlevel.Task | None = None  # None only until the first step
    initialised: bool = False  # init returned: from here on an exit is not a failed start
    ignored: bool = False  # init raised Ignore
    closing: bool = False  # takes no more messages
    awaited: dict[Process, trio.Event] = attrs.field(factory=dict)  # children this supervisor waits for
    started: trio.Event = attrs.field(factory=trio.Event)  # init is over, or will never be
    exited: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))  # cancelled to kill
    work: trio.CancelScope = attrs.field(factory=trio.CancelScope)  # cancelled by request_stop, see there
    pending: set[Call] = attrs.field(factory=set)
    possessions: set[Callable[[], None]] = attrs.field(factory=set)  # cancel its timers and monitors
    watchers: weakref.WeakSet[Watcher] = attrs.field(factory=weakref.WeakSet)
    reason: ExitReason = attrs.field(init=False)  # there once `exited` is set
    _in_a_row: int = 0  # messages taken since other tasks had a turn
    _mailbox: trio.MemorySendChannel[Message] = attrs.field(init=False)
    _inbox: trio.MemoryReceiveChannel[Message] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._mailbox, self._inbox = trio.open_memory_channel[Message](math.inf)

    @property
    def mailbox_length(self) -> int:
        """Messages that wait, of all kinds."""
        return self._inbox.statistics().current_buffer_used

    def waits_for(self, task: trio.lowlevel.Task) -> bool:
        """True if this process cannot answer before `task` goes on: its own task, or a child it waits for."""
        for child, event in self.awaited.items():
            if not event.is_set() and child.waits_for(task):
                return True
        return self.task is task

    def post(self, message: Message) -> bool:
        """Queue a message; False (and no effect) when the process takes no more."""
        if not self.closing:
            self._mailbox.send_nowait(message)
        return not self.closing

    def close(self) -> None:
        """Take no more messages; those already queued will still be handled."""
        self.closing = True
        self._mailbox.close()

    async def next_message(self, per_turn: int) -> Message | None:
        """Wait for a message; None once the process is closed and has handled what was queued."""
        try:
            if 0 < self._in_a_row < per_turn and not self.scope.cancel_called:
                self._in_a_row += 1
                return self._inbox.receive_nowait()
        except trio.WouldBlock:
            pass
        except trio.EndOfChannel:
            return None
        self._in_a_row = 1
        return await anext(self._inbox, None)

    def request_stop(self) -> None:
        """Ask for an orderly stop: what is queued is handled, then `terminate(Shutdown())` runs.

        Supervisors and tasks, which may be busy for long, are interrupted in `work` instead.
        """
        self.close()
        self.work.cancel()

    def fail_pending(self, reason: ExitReason) -> None:
        """Tell every caller, queued or in the middle or deferred, that no answer will come."""
        for call in list(self.pending):
            call.settle(outcome.Error(ActorExited(self.ref.name, reason, started=call.started)))

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """The whole life. The only thing ever spawned into a supervisor's nursery besides timers."""
        reason: ExitReason = Killed()
        try:
            with self.scope:
                await self._serve()
                reason = Shutdown()  # the loop ends by itself only after `close`
        except Exception as error:
            reason = exit_reason(error)
        except BaseException:
            self._on_exit = None  # the program ends, or our surroundings do: no restart
            raise
        finally:
            self.finish(reason)

    @trio.lowlevel.disable_ki_protection  # an endless loop in a server can be interrupted
    async def _serve(self) -> None:
        self.task = trio.lowlevel.current_task()
        if self.ref.process is not None:
            raise AlreadyStarted(f"the ref {self.ref.name!r} is already behind a running process")
        self.ref.process = self
        self.server = self._start()
        await self.server._serve(self)

    def finish(self, reason: ExitReason) -> None:
        """Everything that must be true of a dead process, in one step nobody can see half of."""
        self.reason = reason
        self.close()
        self._inbox.close()
        if self.ref.process is self:
            self.ref.process = None
        self.fail_pending(reason)
        for cancel in list(self.possessions):
            cancel()
        for watcher in list(self.watchers):
            watcher.on_exit(self)
        self.started.set()
        self.exited.set()
        if self._on_exit is not None:
            self._on_exit(self)
