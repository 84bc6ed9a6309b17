"""One attempt: one request to one worker with one key, from the first byte to the last.

Going down, values get more concrete (request, bytes, socket); going up, bytes get more meaningful (events). An
`OpenAttempt` is open under `async with`, in the task that reads it: no task and no cancel scope of ours outlives a
method. Leaving it closes the socket, settles the permit and the lease, and writes the one record of this attempt,
whatever happened, cancellation included.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, final

import attrs
import trio

from ...events import CONTENT, Attempt, Finished, FinishReason, Usage, UsageUpdate, WireEvent
from ...failures import Failure, FailureKind, empty_bucket_reset, scrub
from ...failures.kinds import Phase
from ...failures.redact import without_repetition
from ...http.content_encoding import BadEncoding, Unpacker, unpacker_for
from ...http.exchange import Progress, ReadTimeout
from ...wire.codec import Decoder, HttpRequest, truncated
from ..routing.selection import Candidate
from ..runtime import Runtime
from ..settings.secrets import ApiKey
from ..transport.connections import Answer, TransportFailed
from ..transport.error_response import read_failure
from .admission import Admission
from .jobs import Job
from .non_streaming import NonStreamingFallback

log = logging.getLogger("cortex_trio")

HELD_EVENTS = 64
"""Lifecycle events and preambles that may come before the first content. What is still arriving is not counted: it may
be the content, an image or vectors. Bytes are limited by `Job.max_bytes` alone."""
DRAIN_SECONDS, DRAIN_BYTES = 0.05, 64 * 1024
"""Reading to the end after the terminal marker keeps the connection; a new TLS handshake costs more than this."""

NEEDS_CONTENT = {FinishReason.STOP, FinishReason.TOOL_CALLS, FinishReason.OTHER}
"""Finish reasons that promise something; the others explain by themselves why nothing came."""


class AttemptFailed(Exception):
    """This attempt is over without an answer; what it proved is the Failure.

    `cause` is what the system, a transport or a dialect raised, if it did; it holds no key.
    `reused` is True when it was asked on a kept connection.
    """

    def __init__(self, failure: Failure, cause: BaseException | None = None, *, reused: bool = False) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.cause = cause
        self.reused = reused


@attrs.frozen
class Timers:
    """Seconds, and `until`: the Trio time at which the whole call is over.

    `first_token_is_ours` and `idle_is_ours`: the caller set a shorter limit than the worker's own, so running into it
    says nothing about the worker.
    """

    connect: float
    first_token: float
    idle: float
    content: float
    until: float = math.inf
    first_token_is_ours: bool = False
    idle_is_ours: bool = False


@final
class OpenAttempt:
    """A try that is open. `held` are the events up to the first content; `receive` gives the ones after.

    Entering sends the request and waits for the first content: raises AttemptFailed if it does not come.
    """

    def __init__(
        self,
        runtime: Runtime,
        candidate: Candidate,
        job: Job,
        http_request: HttpRequest,
        decoder: Decoder,
        admission: Admission,
        timers: Timers,
        number: int,
        record: Callable[[Attempt], None],
        *,
        fresh: bool = False,
    ) -> None:
        self.candidate = candidate
        self.held: list[WireEvent] = []
        self.usage: Usage | None = None
        self._runtime = runtime
        self._http_request = http_request
        self._job = job
        self._admission = admission
        self._timers = timers
        self._number = number
        self._record = record
        self._decoder = decoder
        # What the record says if the attempt ends without an answer or a failure.
        self.left_because = "the caller left"
        self._fresh = fresh  # it must not be asked on a kept connection
        self._progress = Progress()
        self._answer: Answer | None = None
        self._unpacker: Unpacker | None = None
        self._bytes = 0  # of the answer so far, unpacked
        self._started = trio.current_time()
        self._first_token_after: float | None = None  # None: there was no content yet
        self._broken: Failure | None = None  # decoded, but not yet raised
        self._cause: BaseException | None = None  # of a connection that broke
        self._failure: Failure | None = None
        self._finished = False
        self._closed = False

    @property
    def key(self) -> ApiKey | None:
        """The key it was asked with."""
        return self._admission.key

    # -------------------------------------------------------------- opening

    async def __aenter__(self) -> Self:
        try:
            await self._send()
            await self._wait_for_content()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def _send(self) -> None:
        """Connect, send, read the headers; an error status is classified with its body."""
        key, timers = self._admission.key, self._timers
        connect = timers.connect
        if not timers.first_token_is_ours:
            # A worker that is not reached within its own time to the first token counts as unreachable.
            connect = min(connect, timers.first_token)
        with trio.move_on_at(self._first_token_deadline()) as scope:
            try:
                self._answer = await self.candidate.endpoint.connections.send(
                    self._http_request,
                    key,
                    connect_timeout=connect,
                    deadlines=self._runtime.deadlines,
                    fresh=self._fresh,
                    progress=self._progress,
                )
            except TransportFailed as error:
                raise self._failed(error.failure, error.__cause__) from error
        if scope.cancelled_caught or self._answer is None:
            raise self._failed(self._too_late("headers"))
        if not 200 <= self._answer.status < 300:
            raise self._failed(await read_failure(self._answer, key, until=timers.until))
        self._read_headers(self._answer)

    def _read_headers(self, answer: Answer) -> None:
        """What the headers of a 200 tell: an empty bucket, and what kind of body is coming."""
        candidate, now = self.candidate, trio.current_time()
        if seconds := empty_bucket_reset(answer.headers, datetime.now(UTC)):
            self._runtime.cooldowns.bucket_is_empty(
                candidate.state.name, candidate.model, self.key, seconds, now
            )
        try:
            self._unpacker = unpacker_for(answer.headers.get("content-encoding"))
        except BadEncoding as error:
            raise self._failed(_protocol(str(error))) from error
        content_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type == "text/html":
            raise self._failed(_protocol("the answer is a web page"))
        # Ollama's cloud calls its lines application/json; and one object is a line, too.
        lines = self._http_request.headers.get("accept") == "application/x-ndjson"
        if content_type == "application/json" and not lines and self._job.whole_hook is None:
            # Streaming was asked for and a whole answer came: it is read all the same.
            self._decoder = NonStreamingFallback(candidate.endpoint.provider.dialect, self._decoder)

    async def _wait_for_content(self) -> None:
        """Hold what comes back until the first content: the commit point before which failover is invisible."""
        while self._first_token_after is None and not self._finished:
            self.held += self._decode(*await self._read(self._first_token_deadline()))
            if len(self.held) > HELD_EVENTS and self._first_token_after is None and not self._finished:
                raise self._failed(_protocol(f"no content after {HELD_EVENTS} events"))
        if self._broken:
            raise self._failed(self._broken)  # it broke in the same breath, and nothing was delivered yet
        if self._first_token_after is not None:
            self._admission.content_came(self._runtime)

    # -------------------------------------------------------------- reading

    @property
    def finished(self) -> bool:
        """The answer is whole: Finished is among the events given out, and nothing more will come."""
        return self._finished

    async def receive(self) -> list[WireEvent]:
        """Return the next events, at least one; the last of all is Finished. Raises AttemptFailed."""
        if self._broken:
            raise self._failed(self._broken)
        # Counted from here and not from the last byte: the time the reader took is not the worker's silence.
        timers, now = self._timers, trio.current_time()
        without_content = min(now + timers.content, timers.until)
        while not self._finished:
            deadline = min(now + timers.idle, without_content)
            if events := self._decode(*await self._read(deadline, ours=timers.idle_is_ours)):
                return events
            now = trio.current_time()
        return []

    async def _read(self, deadline: float, *, ours: bool = False) -> tuple[bytes, Failure | None]:
        """The next bytes; b"" at the end, with the reason if it was no orderly one."""
        assert self._answer is not None
        try:
            return await self._answer.receive(deadline), None
        except TransportFailed as error:
            self._cause = error.__cause__
            return b"", error.failure
        except ReadTimeout:
            return b"", self._too_late("stream", idle_is_ours=ours)

    def _decode(self, data: bytes, broken: Failure | None) -> list[WireEvent]:
        """Bytes to events, unpacked on the way."""
        if self._unpacker is None or not data:
            return self._decode_piece(data, broken)
        events: list[WireEvent] = []
        try:
            for piece in self._unpacker.feed(data):
                events += self._decode_piece(piece, broken)
                if self._finished or self._broken:
                    break
        except BadEncoding as error:
            self._broken = _protocol(str(error))
            if not events:
                raise self._failed(self._broken) from error
        return events

    def _decode_piece(self, data: bytes, broken: Failure | None) -> list[WireEvent]:
        """A failure behind good events waits in `_broken` until those were handed on.

        At a disorderly end the decoder has the last word: an answer whose finish was seen is whole, however the
        connection ended. A bug in a dialect is this attempt's failure, not the gateway's.
        """
        if not self._bytes and data.lstrip()[:1] == b"<":  # whatever it calls itself
            raise self._failed(_protocol("the answer is a web page"))
        self._bytes += len(data)
        most = self._job.max_bytes(self._runtime.config)
        if self._bytes > most:
            raise self._failed(
                _protocol(f"an answer of more than {most:,} bytes; {self._job.limited_by} allows no more")
            )
        try:
            events = self._decoder.feed(data) if data else self._decoder.finish()
            if not isinstance(events, list):
                raise TypeError(f"it returned {type(events).__name__}, not a list of events")
        except Exception as error:
            provider = self.candidate.endpoint.provider.name
            bug = self._runtime.dialects.bug(provider, self._hook(data), error, self.key)
            raise self._failed(bug.failure, bug.__cause__) from bug.__cause__
        if events and isinstance(failure := events[-1], Failure):
            events.pop()
            self._broken = broken or failure
        for event in events:
            if isinstance(event, CONTENT):
                if self._first_token_after is None:
                    self._first_token_after = trio.current_time() - self._started
            elif isinstance(event, UsageUpdate):
                self.usage = event.usage
            elif isinstance(event, Finished):
                self._finish(event)
        if not data and not self._finished and self._broken is None:
            self._broken = broken or truncated()  # whatever its dialect makes of it, the end is the end
        if self._broken and not events:
            raise self._failed(self._broken)
        return events

    def _hook(self, data: bytes) -> str:
        """Which of the dialect's hooks it was that raised."""
        if self._job.whole_hook is not None:
            return self._job.whole_hook
        if isinstance(self._decoder, NonStreamingFallback) and self._decoder.is_whole:
            return "decode_reply"
        return "feed" if data else "finish"

    def _finish(self, event: Finished) -> None:
        on_purpose = (event.raw_reason or "").lower() == "stop_sequence"  # it was hit at once
        empty = self._first_token_after is None and event.reason in NEEDS_CONTENT and not on_purpose
        if empty:
            raise self._failed(
                Failure(FailureKind.EMPTY, f"an answer without content ({event.raw_reason})", phase="stream")
            )
        self._finished = True

    # -------------------------------------------------------------- time

    def _first_token_deadline(self) -> float:
        return min(self._started + self._timers.first_token, self._timers.until)

    def _too_late(self, phase: Phase, *, idle_is_ours: bool = False) -> Failure:
        now, timers = trio.current_time(), self._timers
        waited = now - self._started
        if now >= timers.until:  # the call's own limit: not the fault of a worker that still answers
            text = f"the call's time is over, {waited:.1f} s after this attempt began"
            return Failure(FailureKind.CANCELLED, text, phase=phase)
        if self._first_token_after is None:
            text = f"no first token within {waited:.1f} s"
            ours = timers.first_token_is_ours or self._progress.phase == "place"
        else:
            text, ours = f"silent in the middle, {waited:.1f} s after the start", idle_is_ours
        return Failure(FailureKind.STALLED, text, phase=phase, ours=ours)

    # -------------------------------------------------------------- the end

    def _failed(self, failure: Failure, cause: BaseException | None = None) -> AttemptFailed:
        """End this attempt. Its failure repeats neither the key, which decoders do not know, nor the request."""
        if self.key is not None:
            failure = without_secret(failure, self.key)
        message = without_repetition(failure.message, self._job.texts())
        if message != failure.message:
            failure = attrs.evolve(failure, message=message)
        self._failure = failure
        return AttemptFailed(failure, cause or self._cause, reused=self._progress.reused)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Settle and close, once. The bookkeeping is synchronous: cancellation cannot come between."""
        if self._closed:
            return
        self._closed = True
        if not self._finished and self._failure is None:
            self._failure = Failure(FailureKind.CANCELLED, self.left_because)
        self._settle()
        if self._answer is not None:
            try:
                if self._finished:
                    await self._drain(self._answer)
            finally:
                await self._answer.aclose()

    async def _drain(self, answer: Answer) -> None:
        read, deadline = 0, trio.current_time() + DRAIN_SECONDS
        with suppress(
            TransportFailed, ReadTimeout
        ):  # the answer is whole; what breaks after it breaks nothing
            while read < DRAIN_BYTES and (data := await answer.receive(deadline)):
                read += len(data)

    def _settle(self) -> None:
        """Give back what was checked out, with the result, and add the record to the ledger."""
        limits = None
        if self._answer is not None:
            # Only these are kept: any other header may repeat the key.
            headers = self._answer.headers.items()
            limits = {name: text for name, text in headers if name == "date" or "ratelimit" in name}
        self._admission.settle(
            self._runtime, self._failure, time_to_first_token=self._first_token_after, headers=limits
        )
        record = Attempt(
            number=self._number,
            worker=self.candidate.state.name,
            provider=self.candidate.endpoint.provider.name,
            model=self.candidate.model,
            key=self.key.masked if self.key else None,
            failure=self._failure,
            duration=trio.current_time() - self._started,
            time_to_first_token=self._first_token_after,
            usage=self.usage,
        )
        self._record(record)
        self._runtime.activity.attempt_ended(record, trio.current_time())
        self._runtime.telemetry.emit(record)


def without_secret(failure: Failure, key: ApiKey) -> Failure:
    """Return `failure` with `key` scrubbed from the texts that came from the provider."""

    def clean(text: str) -> str:
        return scrub(text, (key.reveal(),))

    return attrs.evolve(
        failure,
        message=clean(failure.message),
        code=failure.code and clean(failure.code),
        request_id=failure.request_id and clean(failure.request_id),
    )


def _protocol(message: str) -> Failure:
    return Failure(FailureKind.PROTOCOL, message, phase="body")
