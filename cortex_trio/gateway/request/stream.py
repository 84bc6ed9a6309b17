"""What the user holds: one answer while it arrives, read in the user's own task, at the user's own pace.

Nothing is read ahead: a slow reader pauses the upstream. An interruption after something was delivered is
answered as `on_interrupt` says; before that, failover stays invisible.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from types import TracebackType
from typing import Self, final

import attrs
import trio

from ...errors import AllWorkersFailed, ProviderError, StreamInterrupted
from ...events import (
    Attempt,
    CitationDelta,
    Continued,
    Finished,
    Reply,
    ReplyBuilder,
    Restarted,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
    Vectors,
    WholePart,
    WireEvent,
)
from ...failures import CortexError, Failure
from ...messages import Image, ToolCall
from ...telemetry import AnswerInterrupted, Telemetry
from .attempt import AttemptFailed, OpenAttempt
from .continuation import ContinuationDeduplicator
from .failover import Call
from .jobs import ChatJob, ContinueJob
from .options import Chat, OnInterrupt

LEFT = "this answer was left before its end: read it inside its `async with`"
NOT_OPEN = "open the answer first: `async with cortex.chat(…) as answer:`, then read it inside"


@final
class ChatStream:
    """One answer while it arrives. Only under `async with`: leaving closes the upstream socket before it returns.

    Iterate it for events, `text()` for the text alone, `collect()` for the whole Reply. Iterating raises
    StreamInterrupted if the answer breaks off, trio.ClosedResourceError once it was left before its end, RuntimeError
    before it was opened; being cancelled loses nothing but the answer.
    """

    def __init__(self, begin: Callable[[], Call], chat: Chat, telemetry: Telemetry) -> None:
        self._begin = begin
        self._call: Call | None = None  # until it is opened
        self._request = chat.request
        self._on_interrupt = chat.on_interrupt
        self._telemetry = telemetry
        self._upstream: OpenAttempt | None = None
        self._pending: deque[WireEvent | Restarted | Continued] = deque()
        self._overlap: ContinuationDeduplicator | None = (
            None  # while the start of a continuation may be a repetition
        )
        self._builder = ReplyBuilder()
        self._interruption: StreamInterrupted | None = None  # no worker continues, or none does yet
        self._left = False
        self.worker = self.provider = self.model = ""

    # -------------------------------------------------------------- what it is

    @property
    def attempts(self) -> Sequence[Attempt]:
        """The tries that are over, in order; the last one serves, once the stream has ended."""
        return tuple(self._call.attempts) if self._call else ()

    @property
    def usage(self) -> Usage:
        """The newest snapshot; complete once the stream has ended."""
        return self._builder.usage

    # -------------------------------------------------------------- opening and closing

    async def __aenter__(self) -> Self:
        self._call = self._begin()  # now, and not when the context was made: who is well changes
        try:
            await self._open_next()
            if self._on_interrupt is OnInterrupt.BUFFER:
                await self._read_whole()
        except BaseException:
            await self.aclose()  # `__aexit__` is not called when `__aenter__` raises
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Leave it, as the end of `async with` does: when this returns, the upstream socket is closed."""
        self._left = True
        await self._close_upstream()

    @property
    def _opened_call(self) -> Call:
        if self._call is None:
            raise RuntimeError(NOT_OPEN)
        return self._call

    async def _open_next(self) -> None:
        """Get the next worker's stream, at its commit point."""
        upstream = await self._opened_call.open()
        if self._left:  # another task closed it meanwhile, and will not do so again
            await upstream.aclose()
            raise trio.ClosedResourceError(LEFT)
        self._upstream = upstream
        state = upstream.candidate.state
        self.worker, self.provider, self.model = state.name, state.kind.name, upstream.candidate.model
        self._builder.origin = f"{self.provider}/{self.model}"
        self._receive(upstream.held)

    def _receive(self, events: Iterable[WireEvent]) -> None:
        """Line up what came; text of a continuation only once it is no repetition."""
        if self._overlap is None:
            self._pending.extend(events)
            return
        for event in events:
            text = ""
            if isinstance(event, TextDelta):
                text = self._overlap.feed(event.text)
            elif isinstance(event, WholePart | ToolCallDelta | Finished):  # usage comes before text, too
                text = self._overlap.finish()
            elif isinstance(event, CitationDelta):
                # Its place is one in an answer of which perhaps only the end is delivered.
                event = attrs.evolve(event, start=None, end=None)
            if text:
                self._pending.append(TextDelta(text))
            if not isinstance(event, TextDelta):
                self._pending.append(event)

    async def _read_whole(self) -> None:
        """Read to the end before anything is delivered; whatever breaks on the way is an invisible failover."""
        while self._upstream is not None and not self._upstream.finished:
            try:
                self._receive(await self._upstream.receive())
            except AttemptFailed as failed:
                await self._give_up_on_upstream(failed.failure, committed=False)
                self._pending.clear()
                await self._open_next()
        await self._close_upstream()

    async def _close_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            await upstream.aclose()

    # -------------------------------------------------------------- reading

    def __aiter__(self) -> AsyncIterator[StreamEvent]:
        return self

    async def __anext__(self) -> StreamEvent:
        if self._builder.finish or self._interruption or self._left:
            self._check_readable()
        while not self._pending:
            if (
                self._upstream is None
            ):  # it is closed only behind the last event, or to be followed by another
                raise RuntimeError(NOT_OPEN)
            try:
                self._receive(await self._upstream.receive())
            except AttemptFailed as failed:
                self._check_readable()  # another task may have closed it meanwhile
                await self._interrupted(failed)
        event = self._pending.popleft()
        # An OpenAttempt raises failures, and vectors are not chatted. (A tuple: a union would be made for each event.)
        assert not isinstance(event, (Failure, Vectors))
        self._builder.add(event)
        if isinstance(event, Finished):
            await self._close_upstream()
        return event

    def _check_readable(self) -> None:
        """Only a whole answer comes to an end; half of one must never look like it, however it is read on."""
        if self._builder.finish is not None:
            raise StopAsyncIteration
        if self._interruption is not None:
            raise self._interruption
        if self._left:
            raise trio.ClosedResourceError(LEFT)

    def text(self) -> AsyncIterator[str]:
        """Only the text, piece by piece."""
        return _TextOf(self)

    async def collect(self) -> Reply:
        """Read to the end and return the whole answer, with what was read before. May be called again."""
        async for _ in self:
            pass
        return self._reply()

    def _reply(self) -> Reply:
        return self._builder.reply(
            worker=self.worker, provider=self.provider, model=self.model, attempts=self.attempts
        )

    # -------------------------------------------------------------- interruptions

    async def _interrupted(self, failed: AttemptFailed) -> None:
        """The answer broke off: prepare what `on_interrupt` promises, or raise StreamInterrupted."""
        failure, worker = failed.failure, self.worker
        self._telemetry.emit(AnswerInterrupted(worker, failure, self._on_interrupt.value))
        await self._give_up_on_upstream(failure, committed=True)
        # Already here, for a reader who is cancelled in what follows and reads on all the same.
        self._interruption = StreamInterrupted(failure, worker, self.attempts, self._reply())
        cause: Exception = failed
        try:
            if await self._resume(failure):
                self._interruption = None
                return
        except CortexError as error:
            cause = error
        self._interruption = StreamInterrupted(failure, worker, self.attempts, self._reply())
        raise self._interruption from cause

    async def _resume(self, failure: Failure) -> bool:
        """Go on with the next worker, if the user wants it; False if not. Raises CortexError if none can.

        Never after a whole tool call was delivered: the user may have acted on it. Nor after a block of the provider's
        own: its tools may have acted. Behind an image, or a tool call that was cut, no worker can go on, so the answer
        begins again.
        """
        how, text, parts = self._on_interrupt, self._builder.text, self._builder.message().parts
        if self._builder.may_have_acted or how in (OnInterrupt.RAISE, OnInterrupt.BUFFER):
            return False
        if how is OnInterrupt.CONTINUE and text and not any(isinstance(p, Image | ToolCall) for p in parts):
            try:
                await self._continue(failure, text)
                return True
            except (ProviderError, AllWorkersFailed):
                # No worker would go on where the other stopped: a whole answer is better than half a one.
                self._opened_call.change_job(ChatJob(self._request))
        await self._restart(failure)
        return True

    async def _continue(self, failure: Failure, text: str) -> None:
        self._opened_call.change_job(ContinueJob(self._request, text))
        self._overlap = ContinuationDeduplicator(text)
        here = len(self._pending)
        try:
            await self._open_next()
        except CortexError:
            self._overlap = None
            raise
        self._pending.insert(here, Continued(failure, self.worker, len(text)))

    async def _restart(self, failure: Failure) -> None:
        self._overlap = None
        await self._open_next()
        self._pending.appendleft(Restarted(failure, self.worker))

    async def _give_up_on_upstream(self, failure: Failure, *, committed: bool) -> None:
        upstream = self._upstream
        assert upstream is not None  # it is what failed
        await self._close_upstream()
        self._opened_call.failed(upstream.candidate, upstream, failure, committed=committed)


@final
class _TextOf:
    """An object and not a generator: one that is left by `break` owes nothing to the garbage collector."""

    def __init__(self, stream: ChatStream) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        while True:
            event = await self._stream.__anext__()
            if isinstance(event, TextDelta):
                return event.text
