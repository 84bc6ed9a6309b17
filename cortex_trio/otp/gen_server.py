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
    """A process that owns state and handles one message at a time. The state is `self`; a restart builds a new one.

    Any async method is a message: `await ref.call(Counter.increment, 2)`. Its return value is the answer; return
    a `Deferred` to answer later. Raise `Reject(error)` to refuse one call and `Stop(reason)` to end the process; any
    other exception is a crash. While a method waits, no other message is handled: put long work into a
    TaskSupervisor, and loops that read or accept into `self.nursery`.
    """

    ref: Ref[Any]
    """Its own address. Set before `init`."""
    nursery: trio.Nursery
    """For tasks that belong to this process, such as a loop that reads or accepts. Set before `init`.

    A crash in it is a crash of the server. A stop handles the queued messages, cancels these tasks, waits for them,
    and then runs `terminate`. They may call `self.ref` like any other task.
    """
    resources: AsyncExitStack
    """What is entered or pushed here is closed after `terminate`, in reverse order, on every exit. Set before `init`.

    After a kill it is closed under cancellation, as far as Trio's resources allow. Do not enter nurseries, cancel
    scopes, or context managers that open one: Trio needs them closed before `nursery`, and these are closed after it.
    """
    is_supervisor: ClassVar[bool] = False
    messages_per_turn: ClassVar[int] = 1
    """How many messages are handled before other tasks have a turn. Raise it only if no method waits or takes long."""
    _process: Process  # set before `init`

    # ---------------------------------------------------------------- to override

    async def init(self) -> None:
        """Prepare the server. The supervisor starts the next child when this returns.

        An exception is a failed start; raise `Ignore` if the server is not needed. `terminate` does not run then.
        Cancellation: by a kill, or after `Child.shutdown` seconds if the supervisor stops meanwhile.
        """

    async def handle_continue(self) -> None:
        """Do slow start-up work: after `init`, while the supervisor goes on, and before the first message."""

    async def handle_info(self, message: object) -> None:
        """Handle a message of a timer or a monitor (`Down`), or one sent with `Ref.info`.

        The default logs the type of the message.
        """
        log(logging.WARNING, "%s ignored an unexpected %s", self.ref.name, type(message).__name__)

    async def terminate(self, reason: ExitReason) -> None:
        """Clean up. Runs on every exit except Killed, but not after a failed `init`.

        The tasks in `self.nursery` have ended; `self.resources` are closed after this. If it raises, that is the exit
        reason. Cancellation: `Child.shutdown` seconds after the stop request.

        Args:
            reason: why the process ends.
        """

    # ---------------------------------------------------------------- to use

    def send_after(self, seconds: float, message: object) -> Timer:
        """Deliver `message` to `handle_info` later. Without effect once the process has ended.

        Args:
            seconds: the delay, >= 0.
            message: anything.

        Returns:
            The timer, which can be cancelled.

        Raises:
            ValueError: `seconds` is not allowed.
        """
        require(is_amount(seconds), f"seconds must be >= 0, not {seconds!r}")
        return self._post_after(seconds, Info(message))

    def monitor(self, ref: Ref[Any]) -> Monitor:
        """Monitor the process behind `ref`: its exit is delivered to `handle_info` as a `Down`, once.

        Returns:
            The monitor, which can be cancelled. It is cancelled when this process ends.
        """
        return Monitor(ref, watcher=self._process)

    def continue_with(self, step: Callable[P, Awaitable[None]], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Run `await step(...)` after this callback and before the next message (OTP `{continue, Term}`).

        The answer of this callback is sent first. If this is called in `init`, `step` runs after `handle_continue`.

        Args:
            step: an async method of this server, or another async function.
            args, kwargs: its arguments.
        """
        self._process.continuations.append(partial(step, *args, **kwargs))

    # ---------------------------------------------------------------- from start to exit

    async def _run_process(self, process: Process) -> None:
        """Run the server from `init` to its last cleanup. What this raises is the exit reason."""
        async with AsyncExitStack() as self.resources:
            try:
                async with open_flat_nursery() as self.nursery:
                    await without_ki_protection(self._work, process)
                    self.nursery.cancel_scope.cancel()
            except Exception as error:
                stop, call = control_of(error), process.final_call
                try:
                    if process.initialised:
                        await without_ki_protection(self.terminate, exit_reason(error))
                finally:  # as in OTP: the answer is sent though `terminate` failed, but not after a kill
                    if isinstance(stop, Stop) and call is not None and not process.kill_scope.cancel_called:
                        call.answer(outcome.Value(stop.reply))
                raise
            if process.initialised:  # else a stop request interrupted its init
                await without_ki_protection(self.terminate, process.stop_reason)

    async def _work(self, process: Process) -> None:
        """Run `init` and handle messages. Returns when the mailbox is closed and empty."""
        try:
            await self._start_up()
            process.init_done()
            await require_awaitable(self.handle_continue(), self.handle_continue)
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
                    await require_awaitable(self.handle_info(message.content), self.handle_info)
                elif isinstance(message, Event):
                    await message.act(*message.args)
                del message  # while the server waits, the last request must not be kept
        finally:
            process.mailbox.close()

    async def _start_up(self) -> None:
        await require_awaitable(self.init(), self.init)

    async def _next_message(self) -> Message | None:
        return await self._process.mailbox.get(self.messages_per_turn)

    # ---------------------------------------------------------------- one message

    async def _handle_call(self, call: Call) -> None:
        call.started = True
        method, kind, name = call.method, type(self), getattr(call.method, "__name__", "")
        own = getattr(kind, name, method)
        if own is not method and any(vars(base).get(name) is method for base in kind.__mro__):
            method = own  # the class of this server overrides it
        try:
            answer = await require_awaitable(method(self, *call.args, **call.kwargs), method)
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

    if not TYPE_CHECKING:  # else type checkers would accept every attribute

        def __getattr__(self, name: str) -> Any:
            hint = TOO_EARLY if name in GenServer.__annotations__ else ""
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")


@trio.lowlevel.enable_ki_protection  # an interrupt here would leave a coroutine that is not awaited
def require_awaitable(result: Awaitable[R], method: object) -> Awaitable[R]:
    """Return `result`, which `method` returned. Raises TypeError if it cannot be awaited."""
    if type(result) is CoroutineType or isinstance(result, Awaitable):
        return result
    raise TypeError(f"{name_of(method)} is not async: write it with `async def`")


@trio.lowlevel.disable_ki_protection  # an interrupt may end an endless loop of the user, but must not break a scope
async def without_ki_protection(method: Callable[..., Awaitable[None]], *args: object) -> None:
    """Await `method(*args)` so that Ctrl-C may be raised in it."""
    await require_awaitable(method(*args), method)


async def serve(start: Callable[[], GenServer], ref: Ref[Any], process: Process) -> None:
    """Build a server with `start` and run it: the body of a process."""
    server = start()
    if not isinstance(server, GenServer):
        if isinstance(server, CoroutineType):
            server.close()  # else Python would also warn that it was not awaited
        raise TypeError(f"`start` returned {type(server).__name__}, no GenServer; await in `async def init`")
    if "_process" in server.__dict__:
        raise RuntimeError(f"this {type(server).__name__} ran before: `start` must build a new one")
    process.server, process.server_type = server, type(server)
    server._process, server.ref = process, ref
    await server._run_process(process)
