"""The second half of an attempt: read the response within its deadlines. Knows no permit, no key and no ledger."""

from __future__ import annotations

from contextlib import suppress
from typing import final

import trio

from ...events import FinishReason, LogprobsDelta, ResponseStarted, Usage, WireEvent
from ...http.errors import ReadTimeout
from ..transport.errors import TransportFailed
from ..transport.response import Response
from .decoding import ResponseDecoder
from .prepared import BodyFailure, PreparedAttempt

HELD_EVENTS = 64
"""Lifecycle events and preambles that may come before the first content. What is still arriving is not counted: it may
be the content, an image or vectors. Nor are log probabilities: those of a tool call come while it grows, and nothing of
it may be emitted yet. Bytes are limited by `Job.max_bytes` alone."""
DRAIN_SECONDS, DRAIN_BYTES = 0.05, 64 * 1024
"""Reading to the end after the terminal marker keeps the connection; a new TLS handshake costs more than this."""


@final
class ResponseReader:
    """The body of one response, as events. Used by one task at a time; does not close the response.

    Attributes:
        first_token_after: seconds from the start of the attempt to the first content; None before it.
    """

    def __init__(self, attempt: PreparedAttempt, response: Response, decoder: ResponseDecoder) -> None:
        self.first_token_after: float | None = None
        self._attempt = attempt
        self._response = response
        self._decoder = decoder
        self._last_byte = attempt.started  # Trio time of the last byte of the body; before it the start

    @property
    def finished(self) -> bool:
        """The answer is whole: Finished is among the events returned, and nothing more will come."""
        return self._decoder.finished

    @property
    def usage(self) -> Usage | None:
        """The newest usage; None before the first."""
        return self._decoder.usage

    @property
    def started(self) -> ResponseStarted | None:
        """The provider's names for the answer; None before they came."""
        return self._decoder.started

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the model stopped; None before the answer is whole."""
        return self._decoder.finish_reason

    @property
    def chunks(self) -> int:
        """Events with content so far."""
        return self._decoder.chunks

    async def read_until_content(self) -> list[WireEvent]:
        """Return the events up to the commit point: the first content, or the end of an answer without content.

        Raises:
            AttemptFailed: there was no content in time, or the response broke before any event can be delivered.
        """
        decoder, held, counted = self._decoder, list[WireEvent](), 0
        while not decoder.has_content and not decoder.finished:
            if counted > HELD_EVENTS:
                raise self._attempt.protocol_error(f"no content after {HELD_EVENTS} events")
            attempt = self._attempt
            events = await self._read(attempt.timeouts.first_content_by(attempt.started, self._last_byte))
            held += events
            counted += sum(not isinstance(event, LogprobsDelta) for event in events)
            decoder.check()  # it may have broken right behind the first content, of which nothing was delivered yet
        return held

    async def receive(self) -> list[WireEvent]:
        """Return the next events, at least one; the last of all is Finished, and [] stands behind it.

        Raises:
            AttemptFailed: the answer breaks off here.
        """
        self._decoder.check()
        # Counted from here and not from the last byte: the time that the reader took is not the worker's silence.
        timeouts, now = self._attempt.timeouts, trio.current_time()
        without_content = min(now + timeouts.content, timeouts.until)
        while not self.finished:
            if events := await self._read(min(now + timeouts.idle, without_content)):
                return events
            now = trio.current_time()
        return []

    async def drain(self) -> None:
        """Read what is left behind a whole answer, for a short time, so that the connection can be kept."""
        read, deadline = 0, trio.current_time() + DRAIN_SECONDS
        # The answer is whole; an error behind it changes nothing.
        with suppress(TransportFailed, ReadTimeout):
            while read < DRAIN_BYTES and (data := await self._response.receive(deadline)):
                read += len(data)

    async def _read(self, deadline: float) -> list[WireEvent]:
        """Return the events of the next bytes, perhaps none."""
        data, broken = b"", None
        try:
            data = await self._response.receive(deadline)
        except TransportFailed as error:
            broken = BodyFailure(error.failure, error.__cause__)
        except ReadTimeout:
            broken = BodyFailure(self._attempt.timed_out("stream", has_content=self._decoder.has_content))
        if data:
            self._last_byte = trio.current_time()
        events = self._decoder.feed(data) if data else self._decoder.end(broken)
        if self.first_token_after is None and self._decoder.has_content:
            self.first_token_after = trio.current_time() - self._attempt.started
        return events
