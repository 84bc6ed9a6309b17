"""One incarnation of a server: one task, one mailbox, one end. It knows nothing of what the server does.

A `Process` is what OTP calls a process and its pid. The rules it keeps, each held by a test:

* The task has its own *shielded* cancel scope. Only a kill cancels it, so a tree is always stopped by its
  supervisor, in order, and never by a cancellation of what is around it.
* Exceptions are caught *outside* that scope. When the cleanup of a cancelled task crashes, Trio raises a
  group of Cancelled and the error, which `except Exception` does not match; the scope takes its Cancelled
  out of the group first, and what is left is an ordinary crash.
* KeyboardInterrupt and SystemExit are not crashes: they are not reported, so nothing is restarted.
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
from .mailbox import AsyncFn, Call, Cast, Mailbox
from .reasons import ExitReason, Killed, Normal, Shutdown
from .timers import Clock

if TYPE_CHECKING:
    from .gen_server import GenServer
    from .monitor import Monitor
    from .ref import Ref


class Watcher(Protocol):
    """Hears of the end of a process: a monitor, or a registry that forgets its names."""

    def process_ended(self, process: Process, /) -> None: ...


@attrs.define(eq=False, repr=False)
class Process:
    """Where a server runs, from its factory to its end."""

    ref: Ref[Any]
    body: Callable[[Process], Awaitable[None]]  # builds the server and runs it; called inside the new task
    mailbox: Mailbox
    tell_supervisor: Callable[[Process], None] | None  # at the end; None: there is none to restart it
    server: GenServer | None = None  # from when its factory returned until the end
    server_type: type[GenServer] | None = None  # of `server`, kept after the end
    task: trio.lowlevel.Task | None = None  # None only until the first step
    initialised: bool = False  # init returned: from here on an exit is not a failed start
    ignored: bool = False  # init raised Ignore
    overdue: bool = False  # did not stop in time, and that was reported
    stop_reason: ExitReason = attrs.Factory(Shutdown)  # why it ends when it ends by request
    waits_on: dict[Process, trio.Event] = attrs.field(factory=dict)  # children this supervisor waits for
    init_over: trio.Event = attrs.field(factory=trio.Event)  # init is done, or will never be
    exited: trio.Event = attrs.field(factory=trio.Event)
    kill_scope: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))
    stop_scope: trio.CancelScope | None = None  # of a server that a stop interrupts, see `interruptible`
    clock: Clock = attrs.Factory(lambda self: Clock(self.mailbox, self.ref.name), takes_self=True)
    continuations: list[AsyncFn] = attrs.field(factory=list)  # run before the next message
    pending: set[Call] = attrs.field(factory=set)  # without an answer: queued, in the middle or deferred
    monitors: set[Monitor] = attrs.field(factory=set)  # those it made; they end with it
    watchers: weakref.WeakSet[Watcher] = attrs.field(factory=weakref.WeakSet)
    reason: ExitReason = attrs.field(init=False)  # there once `exited` is set

    # ---------------------------------------------------------------- what others ask

    @property
    def mailbox_length(self) -> int:
        """Messages that wait, of all kinds."""
        return len(self.mailbox.queue)

    def waits_for(self, task: trio.lowlevel.Task) -> bool:
        """True if this process cannot answer before `task` goes on.

        That is its own task, a task in a nursery one of its methods has opened, or one of a child it waits for.
        """
        is_ours = self.task is task or self._opened_a_nursery_around(task)
        return is_ours or any(p.waits_for(task) for p, event in self.waits_on.items() if not event.is_set())

    def _opened_a_nursery_around(self, task: trio.lowlevel.Task) -> bool:
        own, nursery = getattr(self.server, "nursery", None), task.parent_nursery  # `own` waits for nothing
        while nursery is not None and (nursery.parent_task is not self.task or nursery is own):
            nursery = nursery.parent_task.parent_nursery
        return nursery is not None

    # ---------------------------------------------------------------- what others do to it

    def request_stop(self, reason: ExitReason) -> None:
        """Ask for an orderly stop: what is queued is handled, then `terminate(reason)` runs.

        Supervisors and tasks, which may be busy for long, are interrupted instead.
        """
        self.stop_reason = reason
        self.mailbox.close()
        if self.stop_scope is not None:
            self.stop_scope.cancel()

    def fail_pending(self, reason: ExitReason) -> None:
        """Tell every caller that no answer will come."""
        for call in list(self.pending):
            call.answer(outcome.Error(ActorExited(self.ref.name, reason, started=call.started)))

    # ---------------------------------------------------------------- what its server tells

    def init_done(self) -> None:
        """From here on the supervisor goes on, and the ref leads to a server that is up."""
        self.initialised = True
        self.init_over.set()
        self.ref.arrivals.unpark_all()

    def interruptible(self) -> trio.CancelScope:
        """The scope a request to stop cancels, for what does not come back to its mailbox soon."""
        self.stop_scope = trio.CancelScope(deadline=-math.inf if self.mailbox.closed else math.inf)
        return self.stop_scope

    # ---------------------------------------------------------------- from beginning to end

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """All of it. What a supervisor spawns."""
        reason: ExitReason = Killed()
        try:
            with self.kill_scope:
                self.task = trio.lowlevel.current_task()
                if self.ref.process is not None:
                    raise AlreadyStarted(f"the ref {self.ref.name!r} is already behind a running process")
                self.ref.process = self
                await self.body(self)
                if not self.kill_scope.cancel_called:
                    reason = self.stop_reason  # the body returns only when it was asked to stop
        except Exception as error:
            reason = Normal() if self.ignored else exit_reason(error)
        except BaseException:
            self.tell_supervisor = None  # the program ends, or what is around us: no restart
            raise
        finally:
            self.finish(reason)
            del reason  # else a crash would hold this frame, and this frame the crash

    def finish(self, reason: ExitReason) -> None:
        """Everything that must be true of a dead process, in one step of which nothing is seen half done."""
        self.reason = reason
        self.mailbox.close()
        if self.ref.process is self:
            self.ref.process = None
        self.fail_pending(reason)
        for monitor in list(self.monitors):
            monitor.cancel()
        for watcher in list(self.watchers):
            watcher.process_ended(self)
        letters = [m for m in self.mailbox.queue if isinstance(m, Cast) or getattr(m, "is_letter", False)]
        self.mailbox.queue.clear()
        if letters:
            self.ref.count_dead_letters(f"{len(letters)} not handled at the end", len(letters))
        self.server = None  # with the server's own reference to us it would be a cycle
        self.init_over.set()
        self.exited.set()
        if self.tell_supervisor is not None:
            self.tell_supervisor(self)
