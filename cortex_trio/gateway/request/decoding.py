"""The bytes of one response, turned into events. Waits for nothing and reads no clock."""

from __future__ import annotations

from typing import final

import attrs

from ...events import CONTENT, Finished, FinishReason, ResponseStarted, Usage, UsageUpdate, WireEvent
from ...failures import Failure, FailureKind
from ...http.content_encoding import DecodingError, Decompressor
from ...wire.codec import Decoder, truncated
from ..workers.dialect_guard import DialectFailed
from .non_streaming import NonStreamingFallback
from .prepared import BodyFailure, PreparedAttempt, protocol_failure
from .surrogates import SurrogatePairs

NEEDS_CONTENT = {FinishReason.STOP, FinishReason.TOOL_CALLS, FinishReason.OTHER}
"""Finish reasons that promise content; each of the others explains why nothing came."""


@final
class ResponseDecoder:
    """Decodes and unpacks one body, within the limit of its length.

    A failure behind good events waits in `pending` until those were delivered. After a failure nothing more is fed.

    Args:
        attempt: whose body it is.
        decoder: knows the events.
        decompressor: unpacks the body; None: it is not packed.
        foreign_type: the media type of the body where it is not the one that was asked for, else None. Named where no
            event is found.

    Attributes:
        usage: the newest usage; None before the first.
        started: the provider's names for the answer; None before they came. No event with them is returned.
        chunks: events with content so far.
        finish_reason: why the model stopped; None before Finished.
        finished: Finished was decoded; nothing more will come.
        pending: what the next read raises, or None.
    """

    def __init__(
        self,
        attempt: PreparedAttempt,
        decoder: Decoder,
        decompressor: Decompressor | None,
        foreign_type: str | None = None,
    ) -> None:
        self.usage: Usage | None = None
        self.started: ResponseStarted | None = None
        self.chunks = 0
        self.finish_reason: FinishReason | None = None
        self.finished = False
        self.pending: BodyFailure | None = None
        self._attempt = attempt
        self._decoder = decoder
        self._decompressor = decompressor
        self._foreign_type = foreign_type
        self._has_events = False
        self._pairs = SurrogatePairs()
        self._max_bytes = attempt.job.max_bytes(attempt.runtime.config)
        self._bytes = 0  # of the body so far, unpacked

    @property
    def has_content(self) -> bool:
        """Something of the answer was decoded."""
        return self.chunks > 0

    def feed(self, data: bytes) -> list[WireEvent]:
        """Return the events of the next bytes, perhaps none. Raises AttemptFailed."""
        if self._decompressor is None:
            return self._checked(self._feed(data))
        events: list[WireEvent] = []
        try:
            for piece in self._decompressor.feed(data):
                events += self._feed(piece)
                if self.finished or self.pending:
                    break
        except DecodingError as error:
            self.pending = BodyFailure(protocol_failure(str(error)))
        return self._checked(events)

    def end(self, broken: BodyFailure | None = None) -> list[WireEvent]:
        """Return the events that are still due at the end of the body.

        The decoder decides: an answer whose finish was seen is whole, however the connection ended.

        Args:
            broken: why the body has ended, if it did not end in order.

        Raises:
            AttemptFailed: the answer is not whole.
        """
        events = self._decode(b"")
        if self.pending is not None or not self.finished:
            self.pending = self._explained(broken or self.pending or BodyFailure(truncated()))
        return self._checked(events)

    def _explained(self, broken: BodyFailure) -> BodyFailure:
        """Name the media type where it is the reason that nothing was found."""
        is_cut = broken.failure.kind is FailureKind.TRUNCATED
        if self._foreign_type is None or self._has_events or not is_cut:
            return broken
        message = (
            f"nothing of an answer was found in the body, whose content-type is {self._foreign_type!r:.80}"
        )
        return attrs.evolve(broken, failure=attrs.evolve(broken.failure, message=message))

    def check(self) -> None:
        """Raise AttemptFailed if a failure is pending."""
        if self.pending is not None:
            raise self._attempt.failed(self.pending.failure, self.pending.cause)

    def _checked(self, events: list[WireEvent]) -> list[WireEvent]:
        if not events:
            self.check()
        return events

    def _feed(self, data: bytes) -> list[WireEvent]:
        if not self._bytes and data.lstrip()[:1] == b"<":  # whatever its content-type is
            raise self._attempt.protocol_error("the answer is a web page")
        self._bytes += len(data)
        if self._bytes > self._max_bytes:
            limit = self._attempt.job.limited_by
            raise self._attempt.protocol_error(
                f"an answer of more than {self._max_bytes:,} bytes; {limit} allows no more"
            )
        return self._decode(data)

    def _decode(self, data: bytes) -> list[WireEvent]:
        """Return the good events of `data`; b"" stands for the end. A bug in a dialect fails this attempt only."""
        attempt = self._attempt
        try:
            events = attempt.runtime.dialects.decode(
                attempt.provider, self._decoder, data, whole_hook=self._whole_hook, key=attempt.key
            )
        except DialectFailed as bug:
            raise attempt.failed(bug.failure, bug.__cause__) from bug.__cause__
        if events and isinstance(failure := events[-1], Failure):
            events.pop()
            self.pending = BodyFailure(failure)
        self._has_events = self._has_events or bool(events)
        events, named = self._pairs.joined(events), False
        for event in events:
            if isinstance(event, CONTENT):
                self.chunks += 1
            elif isinstance(event, UsageUpdate):
                self.usage = event.usage
            elif isinstance(event, ResponseStarted):
                self.started, named = event, True
            elif isinstance(event, Finished):
                self._finish(event)
        return [event for event in events if not isinstance(event, ResponseStarted)] if named else events

    @property
    def _whole_hook(self) -> str | None:
        """The hook of the dialect that decodes a whole body; None while the body is a stream."""
        if isinstance(self._decoder, NonStreamingFallback) and self._decoder.is_whole:
            return "decode_reply"
        return self._attempt.job.whole_hook

    def _finish(self, event: Finished) -> None:
        is_deliberate = (event.raw_reason or "").lower() == "stop_sequence"  # it was hit at once
        if not self.has_content and event.reason in NEEDS_CONTENT and not is_deliberate:
            message = f"an answer without content ({event.raw_reason})"
            raise self._attempt.failed(Failure(FailureKind.EMPTY, message, phase="stream"))
        self.finished, self.finish_reason = True, event.reason
