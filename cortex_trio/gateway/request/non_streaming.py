"""Reads one JSON object where a stream was asked for."""

from __future__ import annotations

from typing import final

from ...events import WireEvent
from ...failures import Failure, FailureKind
from ...wire.codec import EVENT_LIMIT, Decoder, Dialect

WHOLE_LIMIT = EVENT_LIMIT
"""Bytes of an answer that is kept whole, as of one event that holds all of it. `max_answer_bytes` is the limit that a
user sets, and is lower by default."""


@final
class NonStreamingFallback:
    """A Decoder that looks at the first byte: `{` begins a whole answer, anything else goes to the stream's decoder.

    Args:
        dialect: decodes the whole answer.
        stream: the decoder for a stream.
    """

    def __init__(self, dialect: Dialect, stream: Decoder) -> None:
        self._dialect = dialect
        self._stream = stream
        self._body = bytearray()
        self._whole: bool | None = None
        self._done = False

    @property
    def done(self) -> bool:
        return self._done or self._stream.done

    @property
    def is_whole(self) -> bool:
        """The body is one object and no stream."""
        return self._whole is True

    def feed(self, data: bytes) -> list[WireEvent]:
        if self._whole is None and (start := data.lstrip()):
            self._whole = start.startswith(b"{")
        if self._whole is False:
            return self._stream.feed(data)
        self._body += data
        if len(self._body) > WHOLE_LIMIT and not self._done:
            self._done = True
            self._body.clear()
            return [
                Failure(FailureKind.PROTOCOL, f"an answer of more than {WHOLE_LIMIT:,} bytes", phase="body")
            ]
        return []

    def finish(self) -> list[WireEvent]:
        if self._done:
            return []
        if not self._whole:
            return self._stream.finish()
        self._done = True
        body = bytes(self._body)
        self._body.clear()  # it may be large, and is about to be decoded into text
        return self._dialect.decode_reply(body)
