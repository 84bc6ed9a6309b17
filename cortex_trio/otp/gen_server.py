"""A server is a class: its state is `self`, its messages are its methods. Knows nothing of its supervisor."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar

import outcome
import trio

from .deferred import Deferred
from .errors import NO_REPLY, Reject, Stop, control_of, exit_reason, is_amount, require
from .mailbox import Call, Cast, Event, Info, Message, P, R, name_of
from .nursery import open_flat_nursery
from .process import Process
from .reasons import ExitReason
from .ref import Monitor, Ref
from .reports import log
from .timers import Timer
from .trace import call_tracers

TOO_EARLY = ": `__init__` has no process yet; timers, monitors and tasks belong in `async def init(self)`"


class GenServer:
    """A process that owns state and handles one message at a time. State is `self`; a restart builds a new one.

    Any async method is a message: `await ref.call(Counter.increment, 2)`. Its return value is the answer; return
    a `Deferred` to answer later. Raise `Reject(error)` to refuse one call, `Stop(reason)` to leave; any other
    exception is a crash. A method that waits makes every other caller wait: put long work into a TaskSupervisor,
    and loops that read or accept into `self.nursery`.
    """

    ref: Ref[Any]  # set before init
    nursery: trio.Nursery  # set before init, closed before `terminate`
    """For tasks that belong to this process, such as a loop that reads or accepts.

    A crash in it is the crash of the server. A stop cancels its tasks when the messages that were queued are handled,
    and waits for them before `terminate` runs. They may call `self.ref` like any other task.
    """
    resources: AsyncExitStack  # set before init
    """What is entered or pushed here is closed at the end, in reverse order, however the process ends.

    After a kill it is closed under cancellation, as Trio's resources allow. Not for nurseries and cancel scopes, or
    what opens one: those must be left before `nursery` is.
    """
    is_supervisor: ClassVar[bool] = False
    messages_per_turn: ClassVar[int] = 1
    """How many may be handled before other tasks have a turn; more only where no handler waits or takes long."""
    _process: Process  # set before init

    # ---------------------------------------------------------------- to override

    async def init(self) -> None:
        """Runs before the supervisor starts the next child. Fail here to make the start fail."""

    async def handle_continue(self) -> None:
        """Slow start-up work: runs after init returned to the supervisor and before the first message."""

    async def handle_info(self, message: object) -> None:
        """Timers, Down notices and anything sent with `Ref.info`. This default logs the message's type."""
        log(logging.WARNING, "%s ignored an unexpected %s", self.ref.name, type(message).__name__)

    async def terminate(self, reason: ExitReason) -> None:
        """Clean up. Runs on every exit except Killed, within the child's shutdown time. Not after a failed init.

        The tasks in `self.nursery` have ended; `self.resources` are closed after it.
        """

    # ---------------------------------------------------------------- to use

    def send_after(self, seconds: float, message: object) -> Timer:
        """Deliver `message` to handle_info later; dies with the process."""
        require(is_amount(seconds), f"seconds must be >= 0, not {seconds!r}")
        return self._post_after(seconds, Info(message))

    def monitor(self, ref: Ref[Any]) -> Monitor:
        """Like Ref.monitor, but the Down arrives at handle_info."""
        return Monitor(ref, watcher=self._process)

    def continue_with(self, step: Callable[P, Awaitable[None]], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Run `await step(...)` after this callback and before the next message (OTP `{continue, Term}`).

        The caller of this message has its answer by then. From init: after handle_continue.
        """
        self._process.continuations.append(partial(step, *args, **kwargs))

    # ---------------------------------------------------------------- from beginning to end

    async def _live(self, process: Process) -> None:
        """Everything this server does, from init to its last cleanup; what it raises is why the process ends."""
        async with AsyncExitStack() as self.resources:
            try:
                async with open_flat_nursery() as self.nursery:
                    await interruptibly(self._work, process)
                    self.nursery.cancel_scope.cancel()
            except Exception as error:
                stop, call = control_of(error), process.final_call
                try:
                    if process.initialised:
                        await interruptibly(self.terminate, exit_reason(error))
                finally:  # as in OTP: a cleanup that fails does not take the answer back, a kill does
                    if isinstance(stop, Stop) and call is not None and not process.kill_scope.cancel_called:
                        call.answer(outcome.Value(stop.reply))
                raise
            if process.initialised:  # else its init was interrupted by the stop
                await interruptibly(self.terminate, process.stop_reason)

    async def _work(self, process: Process) -> None:
        """From init to the last message; returns when the mailbox is closed and empty."""
        try:
            await self._start_up()
            process.init_done()
            await awaitable(self.handle_continue(), self.handle_continue)
            while True:
                while process.continuations:
                    await process.continuations.pop(0)()
                message = await self._next_message()
                if message is None:
                    return
                if self.ref.tracers:
                    call_tracers(self.ref, message)
                if isinstance(message, Call):
                    await self._handle_call(message)
                elif isinstance(message, Info):
                    await awaitable(self.handle_info(message.content), self.handle_info)
                elif isinstance(message, Event):
                    await message.act(*message.args)
                del message  # an idle server must not keep the last request alive
        finally:
            process.mailbox.close()

    async def _start_up(self) -> None:
        await awaitable(self.init(), self.init)

    async def _next_message(self) -> Message | None:
        return await self._process.mailbox.get(self.messages_per_turn)

    # ---------------------------------------------------------------- one message

    async def _handle_call(self, call: Call) -> None:
        call.started = True
        method, kind, name = call.method, type(self), getattr(call.method, "__name__", "")
        own = getattr(kind, name, method)
        if own is not method and any(vars(base).get(name) is method for base in kind.__mro__):
            method = own  # this class overrides it
        try:
            answer = await awaitable(method(self, *call.args, **call.kwargs), method)
        except Exception as error:
            control = control_of(error)
            if isinstance(control, Stop) and control.reply is not NO_REPLY:
                self._process.final_call = call
            if not isinstance(control, Reject):
                raise
            if isinstance(call, Cast):
                what = f"a cast that {name_of(method)} rejected with {type(control.error).__name__}"
                self.ref.count_dead_letters(what, level=logging.WARNING)
            call.answer(outcome.Error(control.error))
            return
        if isinstance(answer, Deferred):
            answer.attach(call)
        else:
            call.answer(outcome.Value(answer))

    def _post_after(self, seconds: float, message: Message) -> Timer:
        return self._process.clock.set(trio.current_time() + seconds, message, self.nursery)

    if not TYPE_CHECKING:  # for type checkers it would make every attribute exist

        def __getattr__(self, name: str) -> Any:
            hint = TOO_EARLY if name in GenServer.__annotations__ else ""
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")


@trio.lowlevel.enable_ki_protection  # an interrupt here would leave a coroutine that is never awaited
def awaitable(result: Awaitable[R], method: object) -> Awaitable[R]:
    """`result` of calling `method`; TypeError that says what to write if it cannot be awaited."""
    if type(result) is CoroutineType or isinstance(result, Awaitable):
        return result
    raise TypeError(f"{name_of(method)} is not async: what is awaited must be written with `async def`")


@trio.lowlevel.disable_ki_protection  # an endless loop in a server can be interrupted, scopes and nurseries cannot
async def interruptibly(method: Callable[..., Awaitable[None]], *args: object) -> None:
    await awaitable(method(*args), method)


async def serve(start: Callable[[], GenServer], ref: Ref[Any], process: Process) -> None:
    """Build a server with its factory and run it: the body of a process."""
    server = start()
    if not isinstance(server, GenServer):
        if isinstance(server, CoroutineType):
            server.close()  # else Python warns that it was never awaited, and that would hide what matters
        raise TypeError(f"`start` returned {type(server).__name__}, no GenServer; await in `async def init`")
    if "_process" in server.__dict__:
        raise RuntimeError(f"this {type(server).__name__} ran before: `start` must build a new one")
    process.server, process.server_type = server, type(server)
    server._process, server.ref = process, ref
    await server._live(process)
