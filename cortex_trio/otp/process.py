"""One incarnation of a server: one task, one mailbox, one end. It knows nothing of what the server does.

A `Process` is what OTP calls a process and its pid. The rules it keeps, each held by a test:

* The task has its own *shielded* cancel scope. Only `kill` cancels it, so a tree is always stopped by its
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
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, final

import outcome
import trio

from .errors import ActorExited, Stop
from .reasons import Crashed, ExitReason, Killed, Shutdown

if TYPE_CHECKING:
    from .gen_server import GenServer
    from .ref import Ref

S_co = TypeVar("S_co", bound="GenServer", covariant=True)


@final
class Call:
    """A request and the place its answer goes. The caller's task sleeps until `settle`."""

    __slots__ = ("args", "kwargs", "method", "process", "started", "task")

    def __init__(
        self, process: Process[Any], task: trio.lowlevel.Task,
        method: Callable[..., Awaitable[object]], args: tuple[object, ...], kwargs: dict[str, object],
    ) -> None:  # fmt: skip
        self.process = process
        self.task: trio.lowlevel.Task | None = task  # None once answered, or once the caller gave up
        self.method = method
        self.args = args
        self.kwargs = kwargs
        self.started = False  # handling has begun: the request may have had effects

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


@final
class Cast:
    """A request nobody waits for."""

    __slots__ = ("args", "kwargs", "method")

    def __init__(
        self, method: Callable[..., Awaitable[object]], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> None:
        self.method = method
        self.args = args
        self.kwargs = kwargs


@final
class Info:
    """A plain message for `handle_info`; timers and monitors may take it back while it is queued."""

    __slots__ = ("content", "withdrawn")

    def __init__(self, content: object) -> None:
        self.content = content
        self.withdrawn = False


Message = Call | Cast | Info


class Watcher(Protocol):
    """Wants to hear of the end of a process: a monitor, or a registry that forgets its names."""

    def on_exit(self, process: Process[Any], reason: ExitReason) -> None: ...


class Possession(Protocol):
    """Something a process must not leave behind: its timers, and its monitors of others."""

    def cancel(self) -> None: ...


class Process(Generic[S_co]):
    """Where a server runs, from its factory to its end.

    `start` builds the server inside the new task, so a factory that fails is a start that failed.
    `nursery` is the supervisor's; the timers of this process live there too. `on_exit` tells the supervisor.
    """

    def __init__(
        self,
        ref: Ref[S_co],
        start: Callable[[], S_co],
        nursery: trio.Nursery,
        *,
        on_exit: Callable[[], None],
        mailbox: float = math.inf,
    ) -> None:
        self.ref = ref
        self.nursery = nursery
        self.server: S_co | None = None  # None only until the factory returned
        self.task: trio.lowlevel.Task | None = None  # None only until the first step
        self.reason: ExitReason | None = None  # set once, by finish
        self.started = trio.Event()  # init is over, or will never be
        self.exited = trio.Event()
        self.initialised = False  # init returned: from here on an exit is not a failed start
        self.ignored = False  # init raised Ignore
        self.closing = False  # takes no more messages
        self.scope = trio.CancelScope(shield=True)  # cancelled by kill
        self.work = trio.CancelScope()  # cancelled by request_stop; entered by supervisors and tasks
        self.awaited: Process[Any] | None = None  # the child this supervisor waits for; see Ref.call
        self.pending: set[Call] = set()
        self.possessions: set[Possession] = set()
        self.watchers: weakref.WeakSet[Watcher] = weakref.WeakSet()
        self.cast_limit = mailbox
        self.casts_queued = 0
        self._start = start
        self._on_exit: Callable[[], None] | None = on_exit
        self._letterbox, self.inbox = trio.open_memory_channel[Message](math.inf)

    @property
    def mailbox_length(self) -> int:
        """Messages that wait, of all kinds."""
        return self.inbox.statistics().current_buffer_used

    def waits_for(self, task: trio.lowlevel.Task) -> bool:
        """True if this process cannot answer before `task` goes on: its own task, or a child it waits for."""
        process: Process[Any] | None = self
        while process is not None:
            if process.task is task:
                return True
            process = process.awaited
        return False

    def post(self, message: Message) -> bool:
        """Queue a message; False (and no effect) when the process takes no more."""
        if not self.closing:
            self._letterbox.send_nowait(message)
        return not self.closing

    def close(self) -> None:
        """Take no more messages; those already queued will still be handled."""
        self.closing = True
        self._letterbox.close()

    def request_stop(self) -> None:
        """Ask for an orderly stop: what is queued is handled, then `terminate(Shutdown())` runs.

        Supervisors and tasks, which may be busy for long, are interrupted in `work` instead.
        """
        self.close()
        self.work.cancel()

    def kill(self) -> None:
        """Cancel whatever it does. As strong as Trio allows: code that shields itself is waited for."""
        self.scope.cancel()

    def fail_pending(self, reason: ExitReason) -> None:
        """Tell every caller, queued or in the middle or deferred, that no answer will come."""
        for call in list(self.pending):
            call.settle(outcome.Error(ActorExited(self.ref.name, reason, started=call.started)))

    async def run(self) -> None:
        """The whole life. The only thing ever spawned into a supervisor's nursery besides timers."""
        self.task = trio.lowlevel.current_task()
        reason: ExitReason = Killed()
        try:
            with self.scope:
                self.ref.bind(self)
                self.server = self._start()
                await self.server._serve(self)
                reason = Shutdown()  # the loop ends by itself only after `close`
        except Stop as stop:
            reason = stop.reason
        except Exception as error:
            reason = Crashed(error)
        except BaseException:
            self._on_exit = None  # the program ends, or our surroundings do: no restart
            raise
        finally:
            self.finish(reason)

    @trio.lowlevel.enable_ki_protection
    def finish(self, reason: ExitReason) -> None:
        """Everything that must be true of a dead process, in one step nobody can see half of."""
        self.reason = reason
        self.close()
        self.inbox.close()
        self.ref.unbind(self)
        self.fail_pending(reason)
        for possession in list(self.possessions):
            possession.cancel()
        for watcher in list(self.watchers):
            watcher.on_exit(self, reason)
        self.started.set()
        self.exited.set()
        if self._on_exit is not None:
            self._on_exit()
