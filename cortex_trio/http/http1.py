"""The client's half of HTTP/1.1: writes the head of a request, parses the bytes of one response. No I/O, no clock.

Why not h11: it is well kept, and made for both sides of a connection. For one piece of a stream it takes 5 µs and this
parser 1 µs; for a head 33 µs and 11 µs. That is a tenth of a whole streamed request (`docs/performance.md`).

Everything that h11 accepts is accepted here; a test asks h11 about the same bytes. In addition this parser accepts some
mistakes that llhttp, curl or a browser accepts. A response with such a mistake is read, but its connection carries no
second request, so that two readings of its bytes can never exchange two responses.
https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import final

import attrs

from .errors import ConnectionBroken, RemoteProtocolError

HEAD_LIMIT = 100 * 1024
"""Bytes of a head or of a trailer, the same limit as httpcore's. No provider sends a tenth of it."""
CHUNK_LINE_LIMIT = 4096
"""Bytes of the line with a chunk's size, extensions included. No provider sends extensions."""

_PROTOCOL = b"HTTP/"
_TLS_RECORDS = (b"\x15", b"\x16")  # an alert, a handshake
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: (?:[ \t]|[^\x00\s])*)?")
_LENIENT_STATUS_LINE = re.compile(_STATUS_LINE.pattern, re.IGNORECASE)
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*((?:[^\x00\s]+(?:[ \t]+[^\x00\s]+)*)?)[ \t]*")
_SPACED_FIELD = re.compile(_FIELD.pattern.replace(b"]+):", b"]+)[ \\t]+:"))
"""A space in front of the colon. A proxy must remove it: RFC 9112, section 5.1."""
_FOLDED = re.compile(rb"\r?\n[ \t]+")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n\x00]*)?\r\n")
_LENIENT_CHUNK = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\n\x00]*)?\r?\n")
_FRAMING = (b"content-length", b"transfer-encoding")
_CONNECTION_FIELDS = frozenset({*_FRAMING, b"connection"})
_WITHOUT_BODY = (204, 304)


@final
@attrs.frozen
class ResponseHead:
    """Status and header fields of a response."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    """Names in lower case and values, in the order of the response."""
    minor_version: int = 1
    """1 for HTTP/1.1, 0 for HTTP/1.0."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The value of each name. Values of a repeated name are joined with commas: RFC 9110, section 5.3."""
        headers: dict[str, str] = {}
        for name, value in self.fields:
            key, text = name.decode("ascii"), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        return headers

    def lists(self, names: Collection[bytes]) -> Mapping[bytes, Sequence[bytes]]:
        """Return the items of the comma-separated fields of these names, in lower case. Absent names are left out."""
        found: dict[bytes, list[bytes]] = {}
        for name, value in self.fields:
            if name in names:
                found.setdefault(name, []).extend([item.strip() for item in value.lower().split(b",")])
        return found


@final
class ResponseParser:
    """Parses one response from the bytes of a connection, however they are cut.

    The parser is always in one state, which is the method that reads the next bytes:

        _read_head ──► _read_length ──────────────────────► _read_nothing  (done)
             ├───────► _read_chunks ──► _read_trailer ────────────▲
             ├───────► _read_until_close  (done by `finish`)      │
             ├──────────── no body ───────────────────────────────┘
             └───────► _read_unframed  (an error status whose body has no end that can be found)

    Attributes:
        head: None until the head is complete.
        done: whether the response is complete.
        reusable: once `done`, whether the connection may carry another request.
        body_error: what is wrong with the body after the bytes that `feed` has returned; then no more bytes follow.
    """

    def __init__(self, method: str) -> None:
        """
        Args:
            method: of the request; a response to HEAD has no body.
        """
        self._method = method
        self._buffer = bytearray()  # of a head, a trailer or a chunk's size that is not complete
        self._searched = 0  # bytes of the buffer that contain no end of a head
        self._ignored = 0  # bytes in front of the response: 1xx responses and empty lines
        # A function and not a bound method, which would make each parser a reference cycle.
        self._read: _Read = ResponseParser._read_head
        self._left = 0  # bytes of the body, or of the current chunk, that have not arrived
        self._at_chunk_end = False  # the line end after the data of a chunk is next
        self._is_strict = True  # no mistake was accepted so far
        self.head: ResponseHead | None = None
        self.done = False
        self.reusable = False
        self.body_error: RemoteProtocolError | None = None

    def feed(self, data: bytes) -> bytes:
        """Parse the next bytes of the connection.

        Returns:
            The bytes of the body among them, decoded; b"" if there are none.

        Raises:
            RemoteProtocolError: the bytes are not HTTP/1.1, or exceed a limit. The parser must not be used any more.
        """
        return self._read(self, data)

    def finish(self) -> None:
        """Note that the server has ended the connection.

        Raises:
            ConnectionBroken: the response is not complete.
        """
        if not self.done and self._read is not ResponseParser._read_until_close:
            raise ConnectionBroken("the server closed the connection in the middle of the response")
        self.done = True

    # -------------------------------------------------------------- head

    def _read_head(self, data: bytes) -> bytes:
        while True:
            if not self._buffer:
                data = self._skip_empty_lines(data)
            block, data = self._take_block(data)
            if block is None:
                _require_http(self._buffer)
                return b""
            head, is_strict = _parse_head(block)
            self._is_strict = self._is_strict and is_strict
            if head.status >= 200:
                break
            self._ignore(len(block))
            if head.status == 101:
                raise RemoteProtocolError(
                    "the server switches to another protocol, which was not requested (HTTP 101)"
                )
        self.head = head
        try:
            self._frame(head)
        except RemoteProtocolError as error:
            if head.status < 400:
                raise
            self.body_error = error  # an error status is useful without its body
            self._read = ResponseParser._read_unframed
        return self._read(self, data) if data or self.done else b""

    def _skip_empty_lines(self, data: bytes) -> bytes:
        """Skip empty lines before a response, as llhttp does. RFC 9112, section 2.2, allows it to servers."""
        begun = data.lstrip(b"\r\n")
        if skipped := len(data) - len(begun):
            self._is_strict = False
            self._ignore(skipped)
        return begun

    def _ignore(self, size: int) -> None:
        """Count bytes that came before the response."""
        self._ignored += size
        if self._ignored > HEAD_LIMIT:
            raise RemoteProtocolError(f"more than {HEAD_LIMIT:,} bytes before the response")

    def _take_block(self, data: bytes) -> tuple[bytes | None, bytes]:
        """Return the lines up to an empty line, and the bytes after it; None while the empty line has not arrived."""
        self._buffer += data
        end = _end_of_block(self._buffer, max(0, self._searched - 2))
        if (end or len(self._buffer)) > HEAD_LIMIT:
            raise RemoteProtocolError(f"headers of more than {HEAD_LIMIT:,} bytes")
        if not end:
            self._searched = len(self._buffer)
            return None, b""
        block, following = bytes(self._buffer[:end]), bytes(self._buffer[end:])
        self._buffer, self._searched = bytearray(), 0
        return block, following

    def _frame(self, head: ResponseHead) -> None:
        """Find out how the body is delimited: RFC 9112, section 6.3."""
        lists = head.lists(_CONNECTION_FIELDS)
        codings, lengths = lists.get(b"transfer-encoding", ()), set(lists.get(b"content-length", ()))
        is_chunked = self._is_chunked(codings) if codings else False
        if not is_chunked and (len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths))):
            raise RemoteProtocolError("a content-length that is not a number, or two that differ")
        self.reusable = (
            self._is_strict and head.minor_version >= 1 and b"close" not in lists.get(b"connection", ())
        )
        if self._method == "HEAD" or head.status in _WITHOUT_BODY:
            self._read = ResponseParser._read_nothing
            self.done = True
        elif is_chunked:
            self.reusable = self.reusable and not lengths  # both fields: an attempt to smuggle a response
            self._read = ResponseParser._read_chunks
        elif lengths:
            self._left = int(lengths.pop())
            self._read = ResponseParser._read_length
            self.done = not self._left
        else:
            self._read = ResponseParser._read_until_close
            self.reusable = False

    def _is_chunked(self, codings: Sequence[bytes]) -> bool:
        """Whether the body is chunked. `identity`, of RFC 2616, means no coding; some proxies write `chunked` twice."""
        others = set(codings) - {b"chunked", b"identity", b""}
        if others or (b"chunked" in codings and codings[-1] != b"chunked"):
            raise RemoteProtocolError("a transfer-encoding other than chunked")
        self._is_strict = self._is_strict and codings == [b"chunked"]
        return b"chunked" in codings

    def _accept_mistake(self) -> None:
        """Note a mistake that leaves only one reading of the bytes: the connection carries no other request."""
        self._is_strict = self.reusable = False

    # -------------------------------------------------------------- body

    def _read_nothing(self, data: bytes) -> bytes:
        """Drop bytes after the end of the response: no request asked for them."""
        self.reusable = self.reusable and not data
        return b""

    def _read_unframed(self, data: bytes) -> bytes:
        """Drop a body whose end cannot be found."""
        return b""

    def _read_length(self, data: bytes) -> bytes:
        body = data[: self._left]
        self._left -= len(body)
        if not self._left:
            self._end(data[len(body) :])
        return body

    def _read_until_close(self, data: bytes) -> bytes:
        return data

    def _read_chunks(self, data: bytes) -> bytes:
        if self._buffer:
            data = bytes(self._buffer) + data
            self._buffer = bytearray()
        pieces: list[bytes] = []
        try:
            self._take_chunks(data, pieces)
        except RemoteProtocolError as error:
            if not pieces:
                raise
            self.body_error = error  # raised later: the data before the mistake may be the whole message
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _take_chunks(self, data: bytes, pieces: list[bytes]) -> None:
        at, size = 0, len(data)
        while at < size:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._at_chunk_end = not self._left
            elif self._at_chunk_end:
                if size - at < 2 and data[at:] == b"\r":
                    break
                if data.startswith(b"\r\n", at):
                    at += 2
                elif data.startswith(b"\n", at):
                    at += 1
                    self._accept_mistake()
                else:
                    raise RemoteProtocolError("a chunk longer than its size")
                self._at_chunk_end = False
            elif line := _CHUNK.match(data, at) or self._lenient_chunk(data, at):
                at = line.end()
                self._left = int(line[1], 16)
                if not self._left:
                    self._read = ResponseParser._read_trailer
                    self._buffer += b"\n"  # a trailer without fields is then an empty line, too
                    self._read_trailer(data[at:])
                    return
            else:
                if size - at > CHUNK_LINE_LIMIT or b"\n" in data[at:]:
                    raise RemoteProtocolError("a chunk without a size")
                break
        if at < size:
            self._buffer += data[at:]

    def _lenient_chunk(self, data: bytes, at: int) -> re.Match[bytes] | None:
        line = _LENIENT_CHUNK.match(data, at)
        if line is not None:
            self._accept_mistake()
        return line

    def _read_trailer(self, data: bytes) -> bytes:
        """Read the fields after the last chunk, usually none, and drop them: the body is complete without them."""
        block, following = self._take_block(data)
        if block is not None:
            fields, is_strict = _parse_fields(block)
            if not is_strict or any(name in _FRAMING for name, _ in fields):
                self._accept_mistake()
            self._end(following)
        return b""

    def _end(self, following: bytes) -> None:
        self.done = True
        self._read = ResponseParser._read_nothing
        self._read_nothing(following)


_Read = Callable[[ResponseParser, bytes], bytes]


def _end_of_block(data: bytearray, start: int) -> int:
    """Return where the first empty line ends; 0 if there is none. A bare LF ends a line: RFC 9112, section 2.2."""
    ends = [at + len(mark) for mark in (b"\n\r\n", b"\n\n") if (at := data.find(mark, start)) >= 0]
    return min(ends, default=0)


def _require_http(start: bytearray) -> None:
    """Raise RemoteProtocolError if no response can start with these bytes: their end may never arrive."""
    if start.startswith(_TLS_RECORDS):
        raise RemoteProtocolError("the response is TLS: this address needs https")
    if not _PROTOCOL.startswith(bytes(start[: len(_PROTOCOL)]).upper()):
        raise RemoteProtocolError("the response is not HTTP")


def _parse_head(block: bytes) -> tuple[ResponseHead, bool]:
    """Return the head, and whether it contains no mistake."""
    line, _, fields_block = block.partition(b"\n")
    line = line.removesuffix(b"\r")
    status_line = _STATUS_LINE.fullmatch(line)
    lenient_line = status_line or _LENIENT_STATUS_LINE.fullmatch(line)
    if lenient_line is None:
        _require_http(bytearray(line))
        raise RemoteProtocolError("the response is not HTTP/1.1")
    fields, is_strict = _parse_fields(fields_block)
    return ResponseHead(
        int(lenient_line[2]), fields, int(lenient_line[1])
    ), is_strict and status_line is not None


def _parse_fields(block: bytes) -> tuple[tuple[tuple[bytes, bytes], ...], bool]:
    """Return the fields, and whether every line was a field. Other lines are left out, as browsers do."""
    if b"\n " in block or b"\n\t" in block:
        block = _FOLDED.sub(b" ", block)
    fields: list[tuple[bytes, bytes]] = []
    is_strict = True
    for ended_line in block.split(b"\n"):
        line = ended_line.removesuffix(b"\r")
        if field := _FIELD.fullmatch(line):
            fields.append((field[1].lower(), field[2]))
        elif line:
            is_strict = False
            if spaced := _SPACED_FIELD.fullmatch(line):
                fields.append((spaced[1].lower(), spaced[2]))
            elif any(name in line.lower() for name in _FRAMING):
                raise RemoteProtocolError("a header of the body's length that cannot be parsed")
    return tuple(fields), is_strict


def request_head(method: str, target: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """Return the head of a request, without the empty line that ends it.

    Raises:
        ValueError: a field contains a line end, which would make two fields of it.
    """
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    if any("\r" in line or "\n" in line or "\0" in line for line in lines):
        raise ValueError("a line end in a header")
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")
