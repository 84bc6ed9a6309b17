"""One incarnation of a server: one task, one mailbox, one exit. Knows nothing of what the server does.

A `Process` is what OTP calls a process and its pid. Its rules, each held by a test:

* The task has its own *shielded* cancel scope. Only a kill cancels it, so a tree is always stopped by its
  supervisors, in order, and never by a cancellation from outside the tree.
* Exceptions are caught *outside* that scope. When the cleanup of a cancelled task crashes, Trio raises a
  group of Cancelled and the error, which `except Exception` does not match; the scope takes its Cancelled
  out of the group first, and what is left is an ordinary crash.
* KeyboardInterrupt and SystemExit are not crashes: they are not reported, and so nothing is restarted.
* `finish` runs once, synchronously, on every path, and no caller waits after it.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Awaitable, Callable
from typing import ClassVar, Protocol

import attrs
import outcome
import trio

from .errors import ActorExited, AlreadyStarted, Ignore, control_of, exit_reason
from .mailbox import AsyncFn, Call, Mailbox
from .reasons import ExitReason, Killed, Normal, Shutdown
from .timers import Clock


class Server(Protocol):
    """What a process knows of its server: any `GenServer`."""

    is_supervisor: ClassVar[bool]


class Address(Protocol):
    """What a process knows of its ref."""

    name: str
    process: Process | None
    arrivals: trio.lowlevel.ParkingLot

    def count_dead_letters(self, what: str, number: int = 1) -> None: ...


class Watcher(Protocol):
    """Is notified of the exit of a process: a monitor, or a registry that removes its keys."""

    def process_ended(self, process: Process, /) -> None: ...


Body = Callable[["Process"], Awaitable[None]]


@attrs.define(eq=False, repr=False)
class Process:
    """Where a server runs, from its factory to its exit."""

    ref: Address
    mailbox: Mailbox
    server: Server | None = None  # None before its factory returned, and after the exit
    server_type: type[Server] | None = None  # class of `server`, kept after the exit
    task: trio.lowlevel.Task | None = None  # None only until the first step
    initialised: bool = False  # init returned: from here on an exit is not a failed start
    ignored: bool = False  # init raised Ignore
    overdue: bool = False  # did not stop in time, and that was reported
    stop_reason: ExitReason = attrs.Factory(Shutdown)  # the exit reason after `request_stop`
    final_call: Call | None = None  # whose method raised Stop with a reply; answered after `terminate`
    waits_on: dict[Process, trio.Event] = attrs.field(factory=dict)  # children this supervisor waits for
    init_over: trio.Event = attrs.field(factory=trio.Event)  # init returned, or the process ended before that
    exited: trio.Event = attrs.field(factory=trio.Event)
    kill_scope: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))
    stop_scope: trio.CancelScope | None = None  # of a server that a stop interrupts, see `interruptible`
    clock: Clock = attrs.Factory(lambda self: Clock(self.mailbox, self.ref.name), takes_self=True)
    continuations: list[AsyncFn] = attrs.field(factory=list)  # run before the next message
    at_exit: set[Callable[[], None]] = attrs.field(factory=set)  # cancel the monitors that it made
    watchers: weakref.WeakSet[Watcher] = attrs.field(factory=weakref.WeakSet)
    reason: ExitReason = attrs.field(init=False)  # set before `exited`, not there earlier

    # ---------------------------------------------------------------- queries

    def waits_for(self, task: trio.lowlevel.Task) -> bool:
        """Whether this process cannot answer a call before `task` goes on.

        True for its own task, for a task in a nursery that one of its methods has opened, and for the tasks of a
        child that it waits for.
        """
        is_ours = self.task is task or self._opened_a_nursery_around(task)
        return is_ours or any(p.waits_for(task) for p, event in self.waits_on.items() if not event.is_set())

    def _opened_a_nursery_around(self, task: trio.lowlevel.Task) -> bool:
        # The process does not wait for the tasks in the server's own nursery.
        own, nursery = getattr(self.server, "nursery", None), task.parent_nursery
        while nursery is not None and (nursery.parent_task is not self.task or nursery is own):
            nursery = nursery.parent_task.parent_nursery
        return nursery is not None

    # ---------------------------------------------------------------- for supervisors and refs

    def request_stop(self, reason: ExitReason) -> None:
        """Request an orderly stop: the queued messages are handled, then `terminate(reason)` runs.

        A supervisor and a `Task` are interrupted instead, because they may be busy for a long time.
        """
        self.stop_reason = reason
        self.mailbox.close()
        if self.stop_scope is not None:
            self.stop_scope.cancel()

    def fail_pending(self, reason: ExitReason) -> None:
        """Raise ActorExited in every caller that waits for an answer."""
        for call in list(self.mailbox.pending):
            call.answer(outcome.Error(ActorExited(self.ref.name, reason, started=call.started)))

    # ---------------------------------------------------------------- for the server

    def init_done(self) -> None:
        """Record that init returned: the supervisor goes on, and `Ref.arrival` returns."""
        self.initialised = True
        self.init_over.set()
        self.ref.arrivals.unpark_all()

    def interruptible(self) -> trio.CancelScope:
        """Return the scope that a stop request cancels, for code that does not return to its mailbox soon."""
        self.stop_scope = trio.CancelScope(deadline=-math.inf if self.mailbox.closed else math.inf)
        return self.stop_scope

    # ---------------------------------------------------------------- from start to exit

    @trio.lowlevel.enable_ki_protection
    async def run(self, body: Body, on_exit: Callable[[Process], None] | None) -> None:
        """Run the process: the one function a supervisor starts in its nursery.

        Args:
            body: builds the server and runs it. Not kept after the exit, because it holds arguments of the user.
            on_exit: called after the exit, unless the program ends; None at the root.
        """
        reason: ExitReason = Killed()
        try:
            with self.kill_scope:
                self.task = trio.lowlevel.current_task()
                if self.ref.process is not None:
                    raise AlreadyStarted(f"the ref {self.ref.name!r} already has a running process")
                self.ref.process = self
                await body(self)
                if not self.kill_scope.cancel_called:
                    reason = self.stop_reason  # the body returns only after a stop request
        except Exception as error:
            self.ignored = not self.initialised and isinstance(control_of(error), Ignore)
            reason = Normal() if self.ignored else exit_reason(error)
        except BaseException:
            on_exit = None  # the program ends, or a part of it around the tree: no restart
            raise
        finally:
            self.finish(reason)
            if on_exit is not None:
                on_exit(self)
            del reason  # else a crash would hold this frame, and this frame the crash

    def finish(self, reason: ExitReason) -> None:
        """Do everything that must be true of a process that has ended, in one step without a checkpoint."""
        self.reason = reason
        self.mailbox.close()
        if self.ref.process is self:
            self.ref.process = None
        self.fail_pending(reason)
        for cancel_monitor in list(self.at_exit):
            cancel_monitor()
        for watcher in list(self.watchers):
            watcher.process_ended(self)
        unhandled = sum(message.counts_as_dead_letter for message in self.mailbox.queue)
        self.mailbox.queue.clear()
        if unhandled:
            self.ref.count_dead_letters(f"{unhandled} not handled before the exit", unhandled)
        self.server = None  # with the server's own reference to this process it would be a cycle
        self.init_over.set()
        self.exited.set()
