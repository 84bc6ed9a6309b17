"""How one speaks to a server: its address, its answers, its end. Knows nothing of supervisors.

A `Ref` is made before anything runs, handed to whoever needs it, and outlives every restart; a process is
one incarnation behind it (OTP: a registered name and a pid). Mailbox, pending calls and monitors belong to
the process: a message sent between two incarnations is not kept for the next one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, final, overload

import attrs
import outcome
import trio

from .errors import ActorExited, CallingSelf, MailboxFull, NoProcess, require
from .process import AsyncFn, Call, Cast, Info, Process
from .reasons import ExitReason, Killed
from .reports import logger

if TYPE_CHECKING:
    from .gen_server import GenServer

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="GenServer")
Method = Callable[Concatenate[S, P], Awaitable[R]]


@final
class Ref(Generic[S]):
    """The stable address of a server: you may hold it before the process exists and after it restarted.

    `name` is the id of the child it stands for. `process` is the current incarnation, None between two.
    `dead_letters` counts casts and infos nobody was there to take.
    """

    def __init__(self, name: str) -> None:
        require(isinstance(name, str) and name != "", f"a Ref is named by a non-empty string, not {name!r}")
        self.name = name
        self.process: Process | None = None
        self.dead_letters = 0

    def __repr__(self) -> str:
        return f"<Ref {self.name!r} {'alive' if self.alive else 'without a process'}>"

    @property
    def alive(self) -> bool:
        """A process is behind this ref: perhaps still in init, perhaps already stopping."""
        return self.process is not None

    @overload
    async def call(self, method: Method[S, P, Deferred[R]], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    async def call(self, method: Method[S, P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @trio.lowlevel.enable_ki_protection  # an interrupt gets in while it waits, and takes the request back
    async def call(self, method: AsyncFn, /, *args: object, **kwargs: object) -> object:
        """Run `method` in the server, between its other messages, and return what it returns.

        Never blocks on a full mailbox. No timeout argument: use `with trio.fail_after(5): await ref.call(...)`.
        Cancelling the caller abandons the answer, not the work; a caller that is cancelled already sends nothing.
        The caller's context variables do not travel with the call: put what the server must know in arguments.
        Raises NoProcess, CallingSelf, ActorExited, or what the method passed to Reject.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        process, task = self.process, trio.lowlevel.current_task()
        if process is None or process.closing:
            raise NoProcess(f"nobody is behind {self.name!r}: the call was not delivered")
        if process.waits_for(task):
            raise CallingSelf(f"{self.name!r} cannot answer before this very task goes on")
        call = Call(process, task, method, args, kwargs)
        process.pending.add(call)
        process.post(call)
        return await trio.lowlevel.wait_task_rescheduled(call.abandon)

    def cast(self, method: Method[S, P, None], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Queue a call and forget it. Never blocks. To a dead server: dropped and reported as a dead letter.

        Raises MailboxFull when `Child.mailbox` casts wait already.
        """
        process = self.process
        if process is None or process.closing:
            self._dead_letter("cast")
            return
        if process.casts_queued >= process.cast_limit:
            raise MailboxFull(f"{process.casts_queued} casts wait at {self.name!r}: one more was refused")
        process.casts_queued += 1
        process.post(Cast(process, None, method, args, kwargs))

    def info(self, message: object) -> None:
        """Queue a plain message for `handle_info`. Never blocks, never fails."""
        if self.process is None or not self.process.post(Info(message)):
            self._dead_letter("info")

    def monitor(self) -> Monitor:
        """Watch the current process: `down = await ref.monitor().down()`."""
        return Monitor(self)

    def kill(self) -> None:
        """Cancel the current process, as a stranger would: it ends Killed, which is abnormal. No-op without one.

        As strong as Trio allows: code that shields itself from cancellation is waited for. A supervisor that is
        killed still stops its children in order; nothing is left behind.
        """
        if self.process is not None:
            self.process.scope.cancel()

    def _dead_letter(self, what: str) -> None:
        self.dead_letters += 1
        logger.info("dead letter: a %s to %s", what, self.name)


@final
class Deferred(Generic[R]):
    """An answer given later. A method returns it instead of R, keeps it, and settles it once, from any task.

    The caller still fails with ActorExited if the server exits first. The first answer wins, later ones
    (and answers to callers that gave up) are dropped. One Deferred answers one call.
    """

    def __init__(self) -> None:
        self._call: Call | None = None
        self._result: outcome.Outcome[R] | None = None

    def reply(self, value: R) -> None:
        """Answer with a value."""
        self._settle(outcome.Value(value))

    def fail(self, error: Exception) -> None:
        """Answer with an exception, raised in the caller."""
        self._settle(outcome.Error(error))

    async def reply_with(self, async_fn: Callable[..., Awaitable[R]], *args: object) -> None:
        """Run async_fn and settle with its result or its Exception; hand this to a TaskSupervisor.

        If it is cancelled, the caller gets ActorExited(Killed) rather than no answer at all. If it never runs,
        because the TaskSupervisor was full or away, nobody answers: callers bound their wait, as for any call.
        """
        try:
            self.reply(await async_fn(*args))
        except Exception as error:
            self.fail(error)
        finally:
            self.fail(ActorExited(getattr(async_fn, "__qualname__", "task"), Killed(), started=True))

    def answer(self, call: Call) -> None:
        """For `GenServer`: the method returned this Deferred, so `call` is whom it answers."""
        if self._call is not None:
            raise RuntimeError("a Deferred answers one call: make a new one for each")
        self._call = call
        if self._result is not None:
            call.settle(self._result)

    def _settle(self, result: outcome.Outcome[R]) -> None:
        if self._result is None:
            self._result = result
            if self._call is not None:
                self._call.settle(result)


@attrs.frozen
class Down:
    """What a monitor delivers, once. reason is None if there was no process to watch (OTP `noproc`)."""

    ref: Ref[Any]
    reason: ExitReason | None


@final
class Monitor:
    """Hears of the end of one process, the one behind `ref` now; never of a later incarnation.

    With a `watcher` the Down is posted to its mailbox, in order with its other messages, and the monitor ends
    with the watcher. A monitor nobody holds any more is forgotten.
    """

    def __init__(self, ref: Ref[Any], watcher: Process | None = None) -> None:
        self._ref, self._watched, self._watcher = ref, ref.process, watcher
        self._notice = Info(None)  # holds the Down as soon as it is known
        self._known = trio.Event()
        if watcher is not None:
            watcher.possessions.add(self.cancel)
        if self._watched is not None:
            self._watched.watchers.add(self)
        else:
            self.on_exit(None)

    async def down(self) -> Down:
        """Wait for the end. Cancelling the wait leaves the monitor as it was."""
        await self._known.wait()
        assert isinstance(self._notice.content, Down)
        return self._notice.content

    def cancel(self) -> None:
        """Nothing is delivered to `handle_info` from here on, even if the end came but was not handled yet."""
        self._notice.withdrawn = True
        if self._watched is not None:
            self._watched.watchers.discard(self)
        if self._watcher is not None:
            self._watcher.possessions.discard(self.cancel)

    def on_exit(self, process: Process | None, /) -> None:
        """For `Process`: it has ended (or, with None, was not there)."""
        self._notice.content = Down(self._ref, None if process is None else process.reason)
        self._known.set()
        if self._watcher is not None:
            self._watcher.possessions.discard(self.cancel)
            self._watcher.post(self._notice)
