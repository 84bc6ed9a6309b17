"""The answer that the user reads, in the user's own task. Knows no rule of failover and no byte of a response.

Nothing is read ahead: a slow reader pauses the provider. An interruption after something was delivered is handled as
`on_interrupt` says; before that, failover stays invisible.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from itertools import islice
from types import TracebackType
from typing import Literal, Self, final

import trio

from ...errors import AllWorkersFailed, ProviderError, StreamInterrupted
from ...events import (
    Attempt,
    Continued,
    Finished,
    FinishReason,
    Forwarded,
    Reply,
    ReplyBuilder,
    ResponseStarted,
    Restarted,
    StreamEvent,
    Usage,
    Vectors,
    WireEvent,
)
from ...failures import CortexError, Failure
from ...http.network import CLOSE_SECONDS
from ...messages import File, Image, ToolCall
from ...telemetry import AnswerInterrupted, Operation
from ..runtime import Runtime
from .attempt import OpenAttempt
from .call import Call
from .continuation import ContinuationDeduplicator
from .failover import Failover
from .jobs import ContinueJob
from .options import Chat, described
from .prepared import AttemptFailed
from .text import TextPieces

LEFT = "this answer was left before its end: read it inside its `async with`"
NOT_OPEN = "open the answer first: `async with cortex.chat(…) as answer:`, then read it inside"


@final
class ChatStream:
    """One answer while it arrives. Use it under `async with`: leaving closes the connection before it returns.

    Iterate it for events, `text()` for the text alone, `collect()` for the whole Reply. Cancelled while it reads, it
    loses no event and can be read on.

    Iterating raises:
        StreamInterrupted: the answer breaks off.
        trio.ClosedResourceError: the answer was left before its end.
        RuntimeError: the answer was not opened.

    Attributes:
        worker: the name of the worker that answers; "" before the answer is opened.
        provider: the name of its provider.
        model: the model that answers.
        call: the id of the call, which its events have as well; "" before the answer is opened.
    """

    def __init__(self, runtime: Runtime, chat: Chat, operation: Operation = "chat") -> None:
        self.worker = self.provider = self.model = self.call = ""
        self._operation: Operation = operation
        self._call: Call | None = None  # None until it is opened
        self._runtime = runtime
        self._chat = chat
        self._failover: Failover | None = None  # None until it is opened
        self._attempt: OpenAttempt | None = None  # None before it is opened, at the end, and between two
        self._pending: deque[WireEvent | Restarted | Continued] = deque()  # received, not yet delivered
        self._deduplicator: ContinuationDeduplicator | None = None  # while a continuation may repeat
        self._builder = ReplyBuilder()  # of what was delivered
        self._interruption: StreamInterrupted | None = None  # no worker continues, or none does yet
        self._left = False

    @property
    def attempts(self) -> Sequence[Attempt]:
        """The attempts that are over, in order; the last one served, once the stream has ended."""
        return tuple(self._call.attempts) if self._call else ()

    @property
    def overhead(self) -> float:
        """Seconds that the gateway itself has taken so far, as in `CallEnded`; 0 before the answer is opened."""
        return self._call.overhead if self._call else 0.0

    @property
    def usage(self) -> Usage:
        """The newest usage; complete once the stream has ended."""
        return self._builder.usage

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the model stopped; None while the answer is not complete."""
        return self._builder.finish.reason if self._builder.finish else None

    @property
    def text_so_far(self) -> str:
        """The text that was delivered; after a `Restarted`, that of the new answer."""
        return self._builder.text

    @property
    def reply_so_far(self) -> Reply:
        """The answer as far as it was delivered, also after the answer was left. `collect()` returns it whole."""
        return self._builder.reply(
            worker=self.worker,
            provider=self.provider,
            model=self.model,
            attempts=self.attempts,
            call=self.call,
            cost=self.cost,
        )

    @property
    def cost(self) -> float | None:
        """US dollars of the attempts that are over, as in `Reply.cost`; complete once the stream has ended."""
        return self._call.spending.cost if self._call else None

    # -------------------------------------------------------------- opening and closing

    async def __aenter__(self) -> Self:
        """Connect and wait for the first content. Raises as `Failover.open` does."""
        # Now, and not when the context was made: the state of the workers changes.
        runtime, chat = self._runtime, self._chat
        self._call = call = Call(
            runtime,
            self._operation,
            chat.criteria,
            options=described(chat.options) if runtime.telemetry.observers else {},
            tags=chat.tags,
        )
        self.call = call.id
        try:
            self._failover = Failover(runtime, call, chat.job, chat.criteria, chat.limits)
            await self._open_next()
            if self._chat.on_interrupt == "buffer":
                await self.peek(lambda _: False)
                await self._close_attempt()
        except BaseException as error:
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._leave(error)  # `__aexit__` is not called when `__aenter__` raises
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Leave it, as the end of `async with` does: when this returns, the connection is closed or given back."""
        await self._leave(None)

    async def _leave(self, error: BaseException | None) -> None:
        self._left = True
        try:
            await self._close_attempt()
        finally:
            self._end(error)

    def _end(self, error: BaseException | None = None) -> None:
        """Report the end of the call, the first time."""
        if self._call is not None:
            finish = self._builder.finish
            self._call.end(error, finish=finish.reason if finish else None)

    @property
    def _opened(self) -> Failover:
        if self._failover is None:
            raise RuntimeError(NOT_OPEN)
        return self._failover

    async def _open_next(self) -> None:
        """Get the answer of the next worker, at its commit point."""
        attempt = await self._opened.open()
        if self._left:  # another task closed it meanwhile, and will not do so again
            await attempt.aclose()
            raise trio.ClosedResourceError(LEFT)
        self._attempt = attempt
        state = attempt.candidate.state
        self.worker, self.provider, self.model = state.name, state.kind.name, attempt.candidate.model
        self._builder.origin = f"{self.provider}/{self.model}"
        self._queue(attempt.held)

    def _queue(self, events: Iterable[WireEvent]) -> None:
        """Queue received events for delivery; text of a continuation only once it is certainly no repetition."""
        deduplicator = self._deduplicator
        self._pending.extend(events if deduplicator is None else deduplicator.deliver(events))

    async def peek(self, is_wanted: Callable[[StreamEvent], bool]) -> StreamEvent | None:
        """Wait for the first event that `is_wanted`, and return it without delivering it; None: there is none.

        Only before content was delivered; failover stays invisible meanwhile.

        Raises: RuntimeError: something was delivered. Otherwise as entering the block does.
        """
        if self._builder.message().parts:
            raise RuntimeError("peek: something was delivered already")
        seen = 0
        while True:
            for event in islice(self._pending, seen, None):
                if not isinstance(event, Forwarded | Vectors | ResponseStarted | Failure) and is_wanted(
                    event
                ):
                    return event
            seen = len(self._pending)
            if self._attempt is None or self._attempt.finished:
                return None
            try:
                self._queue(await self._attempt.receive())
            except AttemptFailed as failed:
                seen = 0
                await self._fail_over(failed)

    async def _fail_over(self, failed: AttemptFailed) -> None:
        """Begin again with the next worker, before anything was delivered."""
        await self._give_up(failed, committed=False)
        self._pending.clear()
        try:
            await self._open_next()
        except CortexError as error:
            self._end(error)
            raise

    async def _close_attempt(self) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            await attempt.aclose()

    # -------------------------------------------------------------- reading

    def __aiter__(self) -> AsyncIterator[StreamEvent]:
        return self

    async def __anext__(self) -> StreamEvent:
        await self._wait_pending()
        event = self._take()
        while isinstance(event, Forwarded):  # bytes are for `receive`
            await self._wait_pending()
            event = self._take()
        return event

    async def receive(self) -> Sequence[StreamEvent | Forwarded]:
        """Return all events that are here, at least one; [] behind the end. Finished always comes alone.

        For a server that sends them on, with as few writes as possible. Raises as iterating does.
        """
        try:
            await self._wait_pending()
        except StopAsyncIteration:
            return ()
        events = [self._take()]
        while self._pending and not isinstance(self._pending[0], Finished):
            events.append(self._take())
        return events

    async def _wait_pending(self) -> None:
        """Wait until an event can be taken. Raises what ends the iteration."""
        if self._builder.finish or self._interruption or self._left:
            self._check_readable()
        while not self._pending:
            if self._attempt is None:
                raise RuntimeError(NOT_OPEN)
            try:
                self._queue(await self._attempt.receive())
            except AttemptFailed as failed:
                self._check_readable()  # another task may have closed it meanwhile
                await self._interrupted(failed)
        if isinstance(self._pending[0], Finished):
            # Closed before it is delivered: a reader that is cancelled here gets it when it reads on.
            await self._close_attempt()
            if self._builder.finish is not None:  # another task has read it meanwhile
                raise StopAsyncIteration

    def _take(self) -> StreamEvent | Forwarded:
        event = self._pending.popleft()
        if isinstance(event, Forwarded):
            return event
        # An OpenAttempt keeps them, and a chat has no vectors. (A tuple: a union would be made for each event.)
        assert not isinstance(event, (Failure, Vectors, ResponseStarted))
        self._builder.add(event)
        if isinstance(event, Finished):
            self._end()
        return event

    def _check_readable(self) -> None:
        """Raise what ends the iteration, if it has ended. Only a whole answer ends with StopAsyncIteration."""
        if self._builder.finish is not None:
            raise StopAsyncIteration
        if self._interruption is not None:
            raise self._interruption
        if self._left:
            raise trio.ClosedResourceError(LEFT)

    def text(self) -> AsyncIterator[str]:
        """Iterate over the text only, piece by piece. Raises as iterating does."""
        return TextPieces(self)

    async def collect(self) -> Reply:
        """Read to the end and return the whole answer, with what was read before. May be called again.

        Raises as iterating does.
        """
        async for _ in self:
            pass
        return self.reply_so_far

    # -------------------------------------------------------------- interruptions

    async def _interrupted(self, failed: AttemptFailed) -> None:
        """Prepare what `on_interrupt` promises after the answer broke off, or raise StreamInterrupted."""
        failure, worker = failed.failure, self.worker
        self._report_interruption(failure)
        await self._give_up(failed, committed=True)
        # Set here already, for a reader that is cancelled below and reads on all the same.
        self._interruption = self._interrupted_by(failure, worker)
        cause: Exception = failed
        try:
            if await self._resume(failure):
                self._interruption = None
                return
        except CortexError as error:
            cause = error
        self._interruption = self._interrupted_by(failure, worker)
        self._end(self._interruption)
        raise self._interruption from cause

    def _report_interruption(self, failure: Failure) -> None:
        if self._call is not None:
            self._call.interruption, self._call.resumed = failure.kind, None
        telemetry = self._runtime.telemetry
        if telemetry.observers:
            how = self._chat.on_interrupt
            telemetry.emit(AnswerInterrupted(self.worker, failure, how, call=self.call))

    def _interrupted_by(self, failure: Failure, worker: str) -> StreamInterrupted:
        error = StreamInterrupted(failure, worker, self.attempts, self.reply_so_far)
        error.call = self.call
        return error

    async def _resume(self, failure: Failure) -> bool:
        """Go on with the next worker, if the user wants that. Returns False if not.

        Never after a whole tool call was delivered, for the user may have acted on it; nor after a block of the
        provider's own, for its tools may have acted. Behind an image, or a tool call that was cut, no worker can
        continue, so the answer begins again.

        Raises:
            CortexError: no worker can go on.
        """
        how, text, parts = self._chat.on_interrupt, self._builder.text, self._builder.message().parts
        if self._builder.may_have_acted or how in ("raise", "buffer"):
            return False
        is_text = not any(isinstance(part, Image | File | ToolCall) for part in parts)
        if how == "continue" and text and is_text:
            try:
                await self._continue(failure, text)
                return True
            except (ProviderError, AllWorkersFailed):
                # No worker continues the other's answer: a whole answer is better than a part of one.
                self._opened.change_job(self._chat.job)
        await self._restart(failure)
        return True

    async def _continue(self, failure: Failure, text: str) -> None:
        self._opened.change_job(ContinueJob(self._chat.job, text))
        self._deduplicator = ContinuationDeduplicator(text)
        position = len(self._pending)
        try:
            await self._open_next()
        except CortexError:
            self._deduplicator = None
            raise
        self._pending.insert(position, Continued(failure, self.worker, len(text)))
        self._note_resumed("continue")

    async def _restart(self, failure: Failure) -> None:
        self._deduplicator = None
        await self._open_next()
        self._pending.appendleft(Restarted(failure, self.worker))
        self._note_resumed("restart")

    def _note_resumed(self, how: Literal["restart", "continue"]) -> None:
        if self._call is not None:
            self._call.resumed = how

    async def _give_up(self, failed: AttemptFailed, *, committed: bool) -> None:
        """Close the attempt that has failed, and record why."""
        attempt = self._attempt
        assert attempt is not None  # it is what failed
        await self._close_attempt()
        self._opened.interrupted(attempt, failed, committed=committed)
