"""The address of a server: how to call it, send to it, watch it and end it. Knows nothing of supervisors.

A `Ref` is made before anything runs, handed to whatever needs it, and outlives every restart; a process is
one incarnation behind it (OTP: a registered name and a pid). Mailbox, pending calls and monitors belong to
the process: a message sent between two incarnations is not kept for the next one.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, TypeVar, cast, final, overload

import trio

from .deferred import Deferred
from .errors import ActorExited, CallingSelf, MailboxFull, NoProcess, require
from .mailbox import AsyncFn, Call, Cast, Info, P, R
from .monitor import Monitor
from .process import Process
from .reasons import Killed, Normal
from .reports import log

if TYPE_CHECKING:
    from .gen_server import GenServer
    from .task import Task

S = TypeVar("S", bound="GenServer")
Method = Callable[Concatenate[S, P], Awaitable[R]]


@final
class Ref(Generic[S]):
    """The stable address of a server: you may hold it before the process exists and after it restarted.

    `name` is the id of the child it stands for. `process` is the current incarnation, None between two.
    `dead_letters` counts casts and infos without effect: there was no process, it ended before it came to them,
    or it rejected them.
    """

    def __init__(self, name: str) -> None:
        require(isinstance(name, str) and name != "", f"a Ref is named by a non-empty string, not {name!r}")
        self.name = name
        self.process: Process | None = None
        self.dead_letters = 0
        self.tracers: list[Callable[[str], None]] = []  # see `trace`
        self.run: Monitor | None = None  # of the last run of a `Task`, set by it
        self.returned: tuple[Any] | None = None  # what its function returned, if it did
        self.arrivals = trio.lowlevel.ParkingLot()  # tasks that wait until a server is up

    def __repr__(self) -> str:
        return f"<Ref {self.name!r} {'alive' if self.alive else 'without a process'}>"

    @property
    def alive(self) -> bool:
        """A process is behind this ref: perhaps still in init, perhaps already stopping."""
        return self.process is not None

    # ---------------------------------------------------------------- messages

    @overload
    async def call(self, method: Method[S, P, Deferred[R]], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    async def call(self, method: Method[S, P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @trio.lowlevel.enable_ki_protection  # an interrupt gets in while it waits, and takes the request back
    async def call(self, method: AsyncFn, /, *args: object, **kwargs: object) -> object:
        """Run `method` in the server, between its other messages, and return what it returns.

        A server that overrides `method` runs its own. Never blocks on a full mailbox. No timeout argument: use
        `with trio.fail_after(5): await ref.call(...)`. Cancelling the caller abandons the answer, not the work,
        unless the mailbox is bounded and full; a caller that is cancelled already sends nothing. The caller's
        context variables do not travel with the call: put what the server must know in arguments.

        Raises NoProcess, CallingSelf, ActorExited, or what the method passed to Reject.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        process, task = self.process, trio.lowlevel.current_task()
        if process is None or process.mailbox.closed:
            await trio.lowlevel.checkpoint()  # else a loop that tries again would let no other task run
            raise NoProcess(f"there is no process behind {self.name!r}: the call was not delivered")
        if not process.mailbox.is_awaited and process.waits_for(task):
            await trio.lowlevel.checkpoint()
            raise CallingSelf(f"{self.name!r} cannot answer before this very task goes on")
        call = Call(process, task, method, args, kwargs)
        process.pending.add(call)
        process.mailbox.put(call)
        return await trio.lowlevel.wait_task_rescheduled(call.abandon)

    def cast(self, method: Method[S, P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Queue a call and forget it, with its answer. Never blocks. Without a process: dropped, a dead letter.

        Raises MailboxFull when `Child.mailbox` casts, or calls whose caller gave up, wait already.
        """
        process = self.process
        if process is None or process.mailbox.closed:
            self.count_dead_letters("a cast")
            return
        if process.mailbox.unattended >= process.mailbox.limit:
            raise MailboxFull(f"{self.name!r} holds {process.mailbox.unattended} casts: one more is refused")
        process.mailbox.put(Cast(process, None, method, args, kwargs))

    def info(self, message: object) -> None:
        """Queue a plain message for `handle_info`. Never blocks, never fails, and is not bounded."""
        if self.process is None or not self.process.mailbox.put(Info(message, is_letter=True)):
            self.count_dead_letters("a info")

    # ---------------------------------------------------------------- the process behind it

    def monitor(self) -> Monitor:
        """Watch the current process: `down = await ref.monitor().down()`."""
        return Monitor(self)

    async def arrival(self) -> None:
        """Wait until a server is up: its init is over and it takes messages. Returns at once if one is.

        After NoProcess, or ActorExited with `started` False, this is what to wait for before trying again. If it
        may never come (a server that is not restarted), put `trio.move_on_after` around it.
        """
        await trio.lowlevel.checkpoint()
        while self.process is None or not self.process.initialised or self.process.mailbox.closed:
            await self.arrivals.park()

    async def stop(self) -> None:
        """Ask the current process to stop in order, and wait until it has; no-op without one (OTP `gen_server:stop`).

        What is queued is handled, `terminate` runs, and it ends Normal: a PERMANENT child is started again.
        There is no time limit: use `trio.move_on_after` and then `kill`. Raises CallingSelf.
        """
        await trio.lowlevel.checkpoint()
        if process := self.process:
            if process.waits_for(trio.lowlevel.current_task()):
                raise CallingSelf(f"{self.name!r} cannot wait for its own end: raise Stop instead")
            process.request_stop(Normal())
            await process.exited.wait()

    def kill(self) -> None:
        """Cancel the current process, as a stranger would: it ends Killed, which is abnormal. No-op without one.

        As strong as Trio allows: code that shields itself from cancellation is waited for. A supervisor that is
        killed still stops its children in order; nothing is left behind.
        """
        if self.process is not None:
            self.process.kill_scope.cancel()

    async def result(self: Ref[Task[R]]) -> R:
        """Wait for the end of a `Task`, and return what its function returned; also after it has ended.

        Raises ActorExited, from the exception of a function that raised, and when the task was stopped or killed;
        NoProcess if it never ran. Of a task that was restarted, the last run counts that began before.
        """
        if self.run is None:
            await trio.lowlevel.checkpoint()
            raise NoProcess(f"no task has run behind {self.name!r}")
        down = await self.run.down()
        if self.returned is None:
            raise ActorExited(self.name, down.reason or Killed(), started=True)
        return cast("R", self.returned[0])

    # ---------------------------------------------------------------- for the process

    def count_dead_letters(self, what: str, number: int = 1, level: int = logging.INFO) -> None:
        """So many messages to this ref had no effect. Never says what they carried."""
        self.dead_letters += number
        log(level, "dead letter: %s to %s", what, self.name)
