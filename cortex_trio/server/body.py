"""The body of a request: collects it up to a limit, and undoes its content encoding up to the same limit. Pure.

Chunks are read strictly, for the reason that `head` gives: CRLF only, no signs, no blanks. Trailers are dropped.
"""

from __future__ import annotations

import re
import zlib
from typing import final

CONTENT_ENCODINGS = ("gzip", "deflate")
MOST_CHUNK_LINE = 1024
MOST_TRAILER_BYTES = 8 * 1024
LEAST_BYTES_PER_SECOND = 1024
"""A body that arrives more slowly is ended: else one byte a minute would hold a connection for weeks."""
MOST_FRAMING_BYTES = 64 * 1024
"""Sizes and extensions of chunks may have so many bytes more than the body. Else a small body costs as much time as a
large one, and is within no limit."""
MOST_MEMBERS = 16
"""Of one gzip body. Each costs a copy of all that follow it, and an empty one has 20 bytes."""

_CHUNK_LINE = re.compile(rb"([0-9a-fA-F]{1,15})(?:[ \t]*;[^\r\n\x00]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\x00]*")
_ANY_ZLIB = zlib.MAX_WBITS | 32
"""Finds out whether the data is gzip or zlib."""


class BadBody(Exception):
    """The body is malformed. Where the next request begins is unknown."""


class BodyTooLarge(Exception):
    """The body is longer than allowed, as it is or unpacked."""


@final
class BodyReader:
    """Takes the body from what has arrived.

    Args:
        length: from the head; None: chunks.
        most: the bytes that are allowed.

    Attributes:
        is_done: it is whole.

    Raises:
        BodyTooLarge: `length` says so already.
    """

    def __init__(self, length: int | None, most: int) -> None:
        if length is not None and length > most:
            raise BodyTooLarge
        self._most = most
        self._body = bytearray()
        self._is_chunked = length is None
        self._missing = length or 0  # bytes of the body, or of the current chunk
        self._is_after_chunk = False  # the CRLF after the data of a chunk comes next
        self._framing_bytes = 0  # of the lines between chunks
        self._trailer_bytes = -1  # -1: the last chunk has not come
        self.is_done = length == 0

    @property
    def received(self) -> int:
        """Bytes of the body so far."""
        return len(self._body)

    def body(self) -> bytes:
        """Return the body so far."""
        return bytes(self._body)

    def feed(self, data: bytearray) -> None:
        """Remove what belongs to the body from the beginning of `data`.

        Raises:
            BadBody: a chunk is malformed.
            BodyTooLarge: more than the allowed bytes have arrived, or are announced by a chunk.
        """
        while data and not self.is_done:
            if self._missing:
                self._take_data(data)
            elif not self._is_chunked:
                self.is_done = True
            elif not self._take_line(data):
                return
        if not self._is_chunked and not self._missing:
            self.is_done = True

    def _take_data(self, data: bytearray) -> None:
        taken = min(self._missing, len(data))
        self._body += memoryview(data)[:taken] if taken < len(data) else data
        del data[:taken]
        self._missing -= taken
        self._is_after_chunk = self._is_chunked and not self._missing

    def _take_line(self, data: bytearray) -> bool:
        """Take one line between chunks, if it is whole."""
        end = data.find(b"\n", 0, MOST_CHUNK_LINE)
        if end < 0:
            if len(data) >= MOST_CHUNK_LINE:
                raise BadBody("a line between chunks is too long")
            return False
        if end == 0 or data[end - 1] != ord("\r"):
            raise BadBody("a line between chunks ends without CR")
        line = bytes(data[: end - 1])
        del data[: end + 1]
        if self._is_after_chunk:
            if line:
                raise BadBody("a chunk is longer than its size")
            self._is_after_chunk = False
        elif self._trailer_bytes >= 0:
            self._take_trailer(line)
        else:
            self._begin_chunk(line)
        self._framing_bytes += end + 1
        if self._framing_bytes > MOST_FRAMING_BYTES + len(self._body):
            raise BadBody("the chunks are too small, or have too many extensions")
        return True

    def _take_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if self._trailer_bytes > MOST_TRAILER_BYTES:
            raise BadBody("the trailers are too long")
        if line and not _TRAILER.fullmatch(line):
            raise BadBody("a trailer is malformed")
        self.is_done = not line

    def _begin_chunk(self, line: bytes) -> None:
        found = _CHUNK_LINE.fullmatch(line)
        if found is None:
            raise BadBody("the size of a chunk is no number")
        self._missing = int(found[1], 16)
        if not self._missing:
            self._trailer_bytes = 0
        if len(self._body) + self._missing > self._most:
            raise BodyTooLarge


def body_deadline(started: float, last: float, received: int, seconds: float) -> float:
    """Return when a body that does not go on is ended: it has stopped, or is too slow on average.

    Args:
        started: when the body began; Trio time, like the result.
        last: when bytes arrived last.
        received: bytes so far.
        seconds: of silence that are allowed.
    """
    return min(last + seconds, started + seconds + received / LEAST_BYTES_PER_SECOND)


def unpacked(body: bytes, encoding: str, most: int) -> bytes:
    """Undo a content encoding.

    Args:
        body: the whole body as it was sent.
        encoding: the value of content-encoding; empty: none.
        most: the bytes that the result may have.

    Raises:
        BadBody: the encoding is not served, or the body is not in it.
        BodyTooLarge: the result would be too long; no more than `most` bytes are unpacked.
    """
    name = encoding.strip().lower().removeprefix("x-")
    if name in ("", "identity"):
        return body
    if name not in CONTENT_ENCODINGS:
        raise BadBody(f"content-encoding may be {', '.join(CONTENT_ENCODINGS)}")
    try:
        return _inflated(body, most, _ANY_ZLIB)
    except zlib.error:
        if name == "deflate":  # often sent without the header of zlib, RFC 9110, section 8.4.1.2
            try:
                return _inflated(body, most, -zlib.MAX_WBITS)
            except zlib.error:
                pass
        raise BadBody(f"the body is not {name}") from None


def _inflated(body: bytes, most: int, format: int) -> bytes:
    result = bytearray()
    if not body:
        return b""
    for _ in range(MOST_MEMBERS):  # gzip allows several members, one after the other
        inflate = zlib.decompressobj(format)
        result += inflate.decompress(body, most + 1 - len(result))
        if len(result) > most:
            raise BodyTooLarge
        if not inflate.eof:
            raise BadBody("the encoded body is cut")
        body = inflate.unused_data
        if not body:
            return bytes(result)
    raise BadBody(f"the encoded body has more than {MOST_MEMBERS} members")
