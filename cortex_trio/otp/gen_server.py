"""A server is a class: its state is `self`, its messages are its methods. Knows nothing of who supervises it."""

from __future__ import annotations

from typing import Any, ClassVar, final

import attrs
import outcome
import trio

from .errors import NO_REPLY, Ignore, Reject, Stop, exit_reason, is_amount, require
from .process import Call, Cast, Info, Message, Process
from .reasons import ExitReason, Normal, Shutdown
from .ref import Deferred, Monitor, Ref
from .reports import logger


class GenServer:
    """A process that owns state and handles one message at a time. State is `self`; a restart builds a new one.

    Any async method is a message: `await ref.call(Counter.increment, 2)`. Its return value is the answer; return
    a `Deferred` to answer later. Raise `Reject(error)` to refuse one call, `Stop(reason)` to leave; any other
    exception is a crash. A method that waits makes every other caller wait: put long work into a TaskSupervisor.
    """

    ref: Ref[Any]  # set before init
    _process: Process  # set before init
    messages_per_turn: ClassVar[int] = 1
    """How many may be handled before other tasks have a turn; more only where no handler waits or takes long."""

    async def init(self) -> None:
        """Runs before the supervisor starts the next child. Fail here to make the start fail."""

    async def handle_continue(self) -> None:
        """Slow start-up work: runs after init returned to the supervisor and before the first message."""

    async def handle_info(self, message: object) -> None:
        """Timers, Down notices and anything sent with `Ref.info`. This default logs the message's type."""
        logger.warning("%s ignored an unexpected %s", self.ref.name, type(message).__name__)

    async def terminate(self, reason: ExitReason) -> None:
        """Clean up. Runs on every exit except Killed, within the child's shutdown time. Not after a failed init."""

    def send_after(self, seconds: float, message: object) -> Timer:
        """Deliver `message` to handle_info later; dies with the process."""
        require(is_amount(seconds), f"seconds must be >= 0, not {seconds!r}")
        timer = Timer(self._process, seconds, Info(message))
        if not self._process.exited.is_set():  # else a stray task of a dead server asks: nobody to deliver to
            self._process.possessions.add(timer.cancel)
            self._process.nursery.start_soon(timer.run, name=f"timer of {self.ref.name}")
        return timer

    def monitor(self, ref: Ref[Any]) -> Monitor:
        """Like Ref.monitor, but the Down arrives at handle_info."""
        return Monitor(ref, watcher=self._process)

    async def _serve(self, process: Process) -> None:
        """The life of a server inside its process; returns when the mailbox is closed and empty."""
        if "_process" in self.__dict__:
            raise RuntimeError(f"this {type(self).__name__} ran before: `start` must build a new one")
        self._process, self.ref = process, process.ref
        try:
            await self.init()
        except Ignore:
            process.ignored = True
            raise Stop(Normal()) from None
        process.initialised = True
        process.started.set()
        message: Message | None = None
        try:
            await self.handle_continue()
            while (message := await process.next_message(self.messages_per_turn)) is not None:
                await self._handle(message)
                message = None  # an idle server must not keep the last request alive
        except Exception as error:
            try:
                await self.terminate(exit_reason(error))
            finally:  # as in OTP: a cleanup that fails does not take the answer back, a kill does
                reply = error.reply if isinstance(error, Stop) else NO_REPLY
                if reply is not NO_REPLY and isinstance(message, Call) and not process.scope.cancel_called:
                    message.settle(outcome.Value(reply))
            raise
        await self.terminate(Shutdown())

    async def _handle(self, message: Message) -> None:
        if isinstance(message, Info):
            if not message.withdrawn:
                await self.handle_info(message.content)
            return
        message.started = True
        if isinstance(message, Cast):
            self._process.casts_queued -= 1
        try:
            answer = await message.method(self, *message.args, **message.kwargs)
        except Reject as reject:
            message.settle(outcome.Error(reject.error))
            return
        if isinstance(answer, Deferred):
            answer.answer(message)
        else:
            message.settle(outcome.Value(answer))


@final
@attrs.define(eq=False, repr=False)
class Timer:
    """A message on its way to `handle_info`."""

    _process: Process
    _seconds: float
    _notice: Info
    # Shielded, for its process decides when it ends: no passing cancellation may silence a server that still runs.
    _scope: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))

    def cancel(self) -> None:
        """The message will not be handled, even if it is in the mailbox already."""
        self._notice.withdrawn = True
        self._scope.cancel()

    async def run(self) -> None:
        """For `GenServer.send_after`."""
        with self._scope:
            await trio.sleep(self._seconds)
            self._process.post(self._notice)
        self._process.possessions.discard(self.cancel)
