"""The address of a server: call it, send to it, monitor it, stop it. Knows nothing of supervisors.

A `Ref` is made before anything runs, is given to the code that needs it, and stays the same across restarts; a
process is one incarnation behind it (OTP: a registered name and a pid). Mailbox, pending calls and monitors belong
to the process: a message that is sent between two incarnations is not kept for the next one.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Concatenate, Generic, Protocol, TypeVar, final, overload

import attrs
import trio

from .deferred import Deferred
from .errors import CallingSelf, MailboxFull, NoProcess, require
from .mailbox import AsyncFn, Call, Cast, Info, P, R
from .process import Process, Server
from .reasons import ExitReason, Normal
from .reports import log

S = TypeVar("S", bound=Server)
R_co = TypeVar("R_co", covariant=True)
Method = Callable[Concatenate[S, P], Awaitable[R]]


class Run(Protocol[R_co]):
    """A server that runs one function: a `Task`."""

    async def wait_result(self) -> R_co: ...


class TaskRef(Protocol[R_co]):
    """The ref of a server with a result: `Ref[Task[R]]` and no other."""

    @property
    def last_run(self) -> Run[R_co] | None: ...


@final
class Ref(Generic[S]):
    """The stable address of a server. It can be used before the process exists and after a restart.

    Attributes:
        name: the id of the child it stands for, not empty.
        process: the current incarnation; None before the first, between two, and after the last. Set by the process.
        dead_letters: how many casts and infos had no effect, in all incarnations: there was no process, it exited
            before it handled them, or it rejected them.
        last_run: the server that last ran behind it, for `result`; None if it is not a `Task`, or did not run yet.

    Raises:
        ValueError: if `name` is not a string, or empty.
    """

    def __init__(self, name: str) -> None:
        require(isinstance(name, str) and name != "", f"a Ref is named by a non-empty string, not {name!r}")
        self.name = name
        self.process: Process | None = None
        self.dead_letters = 0
        self.last_run: S | None = None
        self.tracers: list[Callable[[str], None]] = []  # see `trace`
        self.arrivals = trio.lowlevel.ParkingLot()  # tasks that wait in `arrival`

    def __repr__(self) -> str:
        return f"<Ref {self.name!r} {'alive' if self.alive else 'without a process'}>"

    @property
    def alive(self) -> bool:
        """Whether there is a process behind this ref: its init may still run, and it may be stopping."""
        return self.process is not None

    # ---------------------------------------------------------------- messages

    @overload
    async def call(self, method: Method[S, P, Deferred[R]], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    async def call(self, method: Method[S, P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @trio.lowlevel.enable_ki_protection  # an interrupt is raised where it waits, and abandons the request
    async def call(self, method: AsyncFn, /, *args: object, **kwargs: object) -> object:
        """Run `method` in the server, between its other messages, and wait for what it returns.

        There is no timeout argument: use `with trio.fail_after(5): await ref.call(...)`. The call is queued even if
        the mailbox is full. The server does not see the caller's context variables: put what it must know into
        arguments.

        Cancellation: the answer is dropped, but the server still handles the request, unless the mailbox has a
        limit and is full. A caller that is already cancelled sends nothing.

        Args:
            method: an async method of the server's class. A subclass that overrides it runs its own.
            args, kwargs: its arguments.

        Returns:
            What the method returned, or the value of the Deferred that it returned.

        Raises:
            NoProcess: there is no process, or it is stopping. Not delivered: safe to retry, see `arrival`.
            CallingSelf: the server waits for this very task.
            ActorExited: the server ended before it answered; `started` says whether handling had begun.
            Exception: what the method passed to Reject, or to `Deferred.fail`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        process, task = self.process, trio.lowlevel.current_task()
        if process is None or process.mailbox.closed:
            await trio.lowlevel.checkpoint()  # else a loop of retries would let no other task run
            raise NoProcess(f"there is no process behind {self.name!r}: the call was not delivered")
        if not process.mailbox.is_reading and process.waits_for(task):
            await trio.lowlevel.checkpoint()
            raise CallingSelf(f"{self.name!r} waits for the task that calls it: the call could never return")
        call = Call(process.mailbox, task, method, args, kwargs)
        process.mailbox.pending.add(call)
        process.mailbox.put(call)
        return await trio.lowlevel.wait_task_rescheduled(partial(process.mailbox.abandon, call))

    def cast(self, method: Method[S, P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Queue a request without waiting; what the method returns is dropped.

        Without a process the request is dropped and counted in `dead_letters`.

        Args:
            method: an async method of the server's class.
            args, kwargs: its arguments.

        Raises:
            MailboxFull: `Child.mailbox` messages without a waiting caller are queued already.
        """
        process = self.process
        if process is None or process.mailbox.closed:
            self.count_dead_letters("a cast")
            return
        if process.mailbox.without_caller >= process.mailbox.limit:
            raise MailboxFull(f"the mailbox of {self.name!r} is full: its limit is {process.mailbox.limit}")
        process.mailbox.put(Cast(process.mailbox, None, method, args, kwargs))

    def info(self, message: object) -> None:
        """Queue a plain message for `handle_info`. Never waits, never fails, and has no limit.

        Without a process the message is dropped and counted in `dead_letters`.
        """
        if self.process is None or not self.process.mailbox.put(Info(message, counts_as_dead_letter=True)):
            self.count_dead_letters("an info")

    # ---------------------------------------------------------------- the process behind it

    def monitor(self) -> Monitor:
        """Return a monitor of the current process: `down = await ref.monitor().down()`."""
        return Monitor(self)

    async def arrival(self) -> None:
        """Wait until a server is ready: its init is done and it accepts messages. If one is, return at once.

        Use it before a retry after NoProcess, or after ActorExited with `started` False. It waits for ever for a
        server that is not restarted: put `trio.move_on_after` around it. Cancelling it has no other effect.
        """
        await trio.lowlevel.checkpoint()
        while self.process is None or not self.process.initialised or self.process.mailbox.closed:
            await self.arrivals.park()

    async def stop(self) -> None:
        """Stop the current process in order and wait for its exit (OTP `gen_server:stop`). No effect without one.

        The queued messages are handled and `terminate` runs. The exit reason is Normal, so a PERMANENT child is
        started again. Cancelling the wait does not take the stop request back. There is no time limit: use
        `trio.move_on_after`, and then `kill`.

        Raises:
            CallingSelf: the server waits for this very task; raise Stop in it instead.
        """
        await trio.lowlevel.checkpoint()
        if process := self.process:
            if process.waits_for(trio.lowlevel.current_task()):
                raise CallingSelf(f"{self.name!r} cannot wait for its own exit: raise Stop instead")
            process.request_stop(Normal())
            await process.exited.wait()

    def kill(self) -> None:
        """Cancel the current process. Its exit reason is Killed, which is abnormal. No effect without one.

        Code that is shielded from cancellation still runs to its end: Trio has nothing stronger. A supervisor that is
        killed still stops its children in order.
        """
        if self.process is not None:
            self.process.kill_scope.cancel()

    async def result(self: TaskRef[R]) -> R:
        """Wait for the end of a `Task`; it may have ended before. Cancelling the wait leaves the task running.

        Returns:
            What its function returned. Of a task that was restarted, the run counts that was the last when this
            was called.

        Raises:
            ActorExited: its function raised (then that is the cause), or it was stopped or killed.
            NoProcess: it never ran.
        """
        if self.last_run is None:
            await trio.lowlevel.checkpoint()
            raise NoProcess(f"no task has run behind {self!r}")
        return await self.last_run.wait_result()

    # ---------------------------------------------------------------- for the process

    def count_dead_letters(self, what: str, number: int = 1, level: int = logging.INFO) -> None:
        """Count and log messages that had no effect. What they contained is not logged."""
        self.dead_letters += number
        log(level, "dead letter: %s to %s", what, self.name)


@attrs.frozen
class Down:
    """What a monitor delivers, once.

    Attributes:
        ref: the ref whose process was monitored.
        reason: why it exited; None if there was no process to monitor (OTP `noproc`).
    """

    ref: Ref[Any]
    reason: ExitReason | None


@final
class Monitor:
    """Waits for the exit of one process: the one behind `ref` now, not a later incarnation.

    With a `watcher`, a process, the Down is put into its mailbox, in order with its other messages, and the monitor
    is cancelled when the watcher exits. A monitor to which the program keeps no reference is dropped.
    """

    def __init__(self, ref: Ref[Any], watcher: Process | None = None) -> None:
        self._ref, self._watched, self._watcher = ref, ref.process, watcher
        self._notice = Info(None)  # holds the Down as soon as it is known
        self._over = trio.Event()  # the Down is known, or the monitor was cancelled
        if watcher is not None:
            watcher.at_exit.add(self.cancel)
        if self._watched is not None:
            self._watched.watchers.add(self)
        else:
            self.process_ended(None)

    async def down(self) -> Down:
        """Wait for the exit. Cancelling the wait leaves the monitor as it was.

        Returns:
            The Down; the same one each time.

        Raises:
            trio.ClosedResourceError: the monitor is cancelled, before the call or during it, and the process had
                not exited.
        """
        await self._over.wait()
        if not isinstance(self._notice.content, Down):
            raise trio.ClosedResourceError(f"the monitor of {self._ref.name!r} was cancelled")
        return self._notice.content

    def cancel(self) -> None:
        """Deliver nothing to `handle_info` from now on, not even a Down that is queued there."""
        self._over.set()
        if self._watched is not None:
            self._watched.watchers.discard(self)
        if self._watcher is not None:
            self._watcher.mailbox.take_back(self._notice)
            self._watcher.at_exit.discard(self.cancel)

    def process_ended(self, process: Process | None, /) -> None:
        """For `Process`: it exited; None: there was none."""
        self._notice.content = Down(self._ref, None if process is None else process.reason)
        self._over.set()
        if self._watcher is not None:
            self._watcher.at_exit.discard(self.cancel)
            self._watcher.mailbox.put(self._notice)
