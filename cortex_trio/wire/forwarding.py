"""Decoders that pass the bytes of an answer on, whole frame by whole frame, beside the events they mean.

For a gateway whose client speaks the dialect of the provider: the client gets the bytes, the gateway watches for the
end, for errors and for usage. A frame that holds an error, or that was cut, is not passed on. Knows no provider.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import final

from ..events import Finished, Forwarded, WireEvent
from ..failures import Failure
from .codec import Decoder, Dialect

_BLANK_LINE = re.compile(rb"\n\n|\r\n\r\n|\r\r|\n\r\n")
_ENDS: Mapping[str, tuple[re.Pattern[bytes], bytes]] = {
    "chat_completions": (re.compile(rb"\[DONE\]\s*\Z"), b"data: [DONE]\n\n"),
    "anthropic_messages": (
        re.compile(rb'"type"\s*:\s*"message_stop"'),
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    ),
}
"""By dialect, how its last frame is recognised, and the frame itself: an answer may be whole without it, but a client
waits for it."""

_STREAM_STARTS = (b"data:", b"event:", b"id:", b":")
"""The first lines of server-sent events; no JSON begins so."""

Drops = Callable[[bytes], bool]


@final
class ForwardingDecoder:
    """The Decoder of a streamed answer in server-sent events.

    Args:
        dialect: Decodes the stream.
        drops: Returns whether a frame is not passed on. Its events are returned all the same.
    """

    def __init__(self, dialect: Dialect, drops: Drops = lambda frame: False) -> None:
        self._decoder: Decoder = dialect.decoder()
        self._drops = drops
        end = _ENDS.get(dialect.name)
        self._mark = end[0] if end else None
        self._last_frame = end[1] if end else b""
        self._has_ended = self._mark is None  # the last frame was passed on, or there is none
        self._rest = bytearray()  # a frame that is growing

    @property
    def done(self) -> bool:
        return self._decoder.done

    def feed(self, data: bytes) -> list[WireEvent]:
        forwarded: list[bytes] = []
        events: list[WireEvent] = []
        for frame in self._frames(data):
            if self._decoder.done:
                break
            decoded = self._decoder.feed(frame)
            self._forward(frame, decoded, forwarded)
            events += decoded
        return self._with_bytes(forwarded, events)

    def finish(self) -> list[WireEvent]:
        if self._decoder.done:
            return []
        frame = bytes(self._rest)
        self._rest.clear()
        events = self._decoder.feed(frame) if frame else []
        if not self._decoder.done:
            events += self._decoder.finish()
        forwarded: list[bytes] = []
        if frame and [event for event in events if not isinstance(event, Failure | Finished)]:
            forwarded.append(frame.rstrip(b"\r\n") + b"\n\n")  # complete but for its blank line
        elif frame and not (events and isinstance(events[-1], Failure)):
            self._forward(frame.rstrip(b"\r\n") + b"\n\n", events, forwarded)
        return self._with_bytes(forwarded, events)

    def _frames(self, data: bytes) -> list[bytes]:
        """Return the frames that `data` completes, each with its blank line."""
        start = max(0, len(self._rest) - 3)  # a blank line may be cut
        self._rest += data
        frames, at = list[bytes](), 0
        for found in _BLANK_LINE.finditer(self._rest, start):
            frames.append(bytes(self._rest[at : found.end()]))
            at = found.end()
        del self._rest[:at]
        return frames

    def _forward(self, frame: bytes, decoded: list[WireEvent], forwarded: list[bytes]) -> None:
        if (decoded and isinstance(decoded[-1], Failure)) or self._drops(frame):
            return
        self._has_ended = self._has_ended or (self._mark is not None and bool(self._mark.search(frame)))
        forwarded.append(frame)

    def _with_bytes(self, forwarded: list[bytes], events: list[WireEvent]) -> list[WireEvent]:
        if events and isinstance(events[-1], Finished) and not self._has_ended:
            self._has_ended = True
            forwarded.append(self._last_frame)
        return [Forwarded(b"".join(forwarded)), *events] if forwarded else events


@final
class WholeForwardingDecoder:
    """The Decoder of an answer that is not streamed: the body as it came, then the events that it means.

    Some servers stream whatever was asked for. Then there are the events only: the body is none of a whole answer.

    Args:
        decode: Decodes the body.
        stream: Returns the decoder of a stream. None: a stream is no answer here.
    """

    def __init__(
        self, decode: Callable[[bytes], list[WireEvent]], stream: Callable[[], Decoder] | None = None
    ) -> None:
        self._decode = decode
        self._stream = stream
        self._body = bytearray()
        self.done = False

    def feed(self, data: bytes) -> list[WireEvent]:
        self._body += data
        return []

    def finish(self) -> list[WireEvent]:
        if self.done:
            return []
        self.done = True
        body = bytes(self._body)
        self._body.clear()
        if self._stream is not None and body.lstrip().startswith(_STREAM_STARTS):
            decoder = self._stream()
            return [*decoder.feed(body), *decoder.finish()]
        events = self._decode(body)
        if not events or isinstance(events[-1], Failure):
            return events
        return [Forwarded(body), *events]


def is_usage_chunk(frame: bytes) -> bool:
    """Return whether a frame of chat completions holds the usage and no choice: the chunk that `include_usage` adds."""
    if b'"usage"' not in frame or b'"delta"' in frame:
        return False
    data = b"".join(line.removeprefix(b"data:") for line in frame.splitlines() if line.startswith(b"data:"))
    try:
        chunk = json.loads(data)
    except ValueError:
        return False
    return isinstance(chunk, dict) and not chunk.get("choices") and chunk.get("usage") is not None
