"""HTTP/1.1 as a client reads it: bytes of one answer to a head and a body. No I/O, no clock, no policy.

Why not h11: it is well kept, and made for both sides of a connection. For one piece of a stream it takes 5 µs where
this takes 1, for a head 33 where this takes 11: a tenth of a whole streamed request (`docs/performance.md`). All
that h11 accepts is accepted here, held by a test that asks h11 about the same bytes. Some more is: what llhttp, curl
or a browser takes from a careless server. Whatever is not as the RFC has it costs the connection, which carries no
second request, so that two readings of one answer can never mix up two answers.
https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import final

import attrs

HEAD_LIMIT = 100 * 1024
"""Bytes of a head, or of a trailer; httpcore allows as many. No provider sends a tenth."""
CHUNK_LINE_LIMIT = 4096
"""Bytes of a chunk's size with its extensions, which no provider uses."""

_PROTOCOL = b"HTTP/"
_TLS_RECORDS = (b"\x15", b"\x16")  # an alert, a handshake
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: (?:[ \t]|[^\x00\s])*)?")
_LOOSE_STATUS_LINE = re.compile(_STATUS_LINE.pattern, re.IGNORECASE)
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*((?:[^\x00\s]+(?:[ \t]+[^\x00\s]+)*)?)[ \t]*")
_SPACED_FIELD = re.compile(
    _FIELD.pattern.replace(b"]+):", b"]+)[ \\t]+:")
)  # RFC 9112, section 5.1: remove the space
_FOLDED = re.compile(rb"\r?\n[ \t]+")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n\x00]*)?\r\n")
_LOOSE_CHUNK = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\n\x00]*)?\r?\n")
_FRAMING = (b"content-length", b"transfer-encoding")
_FOR_THE_CONNECTION = frozenset({*_FRAMING, b"connection"})
_WITHOUT_BODY = (204, 304)


class RemoteProtocolError(Exception):
    """The server's answer is not HTTP, or exceeds a limit of this parser."""


class ConnectionBroken(Exception):
    """The connection ended inside the answer."""


@final
@attrs.frozen
class Head:
    """Status and headers, names in lower case, in the order in which they came."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    minor_version: int = 1

    @property
    def headers(self) -> Mapping[str, str]:
        """One value a name; those of a repeated name are joined, as the RFC has it."""
        headers: dict[str, str] = {}
        for name, value in self.fields:
            key, text = name.decode("ascii"), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        return headers

    def lists(self, names: Collection[bytes]) -> Mapping[bytes, Sequence[bytes]]:
        """What the fields of these names list, in lower case, without the commas; only names that have a field."""
        found: dict[bytes, list[bytes]] = {}
        for name, value in self.fields:
            if name in names:
                found.setdefault(name, []).extend([item.strip() for item in value.lower().split(b",")])
        return found


@final
class AnswerReader:
    """Reads one answer. Feed it what the socket gives; `head` is there as soon as it is whole.

    `done`: the body is whole. `reusable`, once done: the connection may carry the next request. `spoiled`: what is
    wrong with the body behind what `feed` has given; nothing more will come.
    """

    def __init__(self, method: str) -> None:
        self._method = method
        self._buffer = bytearray()  # of a head, a trailer or a chunk's size that has not ended yet
        self._searched = 0  # bytes of it in which the end of the head is not
        self._informed = 0  # bytes of the 1xx answers that came before
        # A function and no bound method, which would make of each reader a cycle for the garbage collector.
        self._read: _Step = AnswerReader._read_head
        self._left = 0  # bytes of the body, or of its chunk, that are still to come
        self._at_chunk_end = False  # the line end after a chunk's data is due
        self._orderly = True  # all as the RFC has it so far
        self.head: Head | None = None
        self.done = False
        self.reusable = False
        self.spoiled: RemoteProtocolError | None = None

    def feed(self, data: bytes) -> bytes:
        """Take bytes, give those that are of the body. Raises RemoteProtocolError."""
        return self._read(self, data)

    def finish(self) -> None:
        """The connection has ended. Raises ConnectionBroken if the answer has not."""
        if not self.done and self._read is not AnswerReader._read_until_close:
            raise ConnectionBroken("the server hung up in the middle of the answer")
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
            head, orderly = _parse_head(block)
            self._orderly = self._orderly and orderly
            if head.status >= 200:
                break
            self._inform(len(block))
            if head.status == 101:
                raise RemoteProtocolError(
                    "the server switches to a protocol that was not asked for (HTTP 101)"
                )
        self.head = head
        try:
            self._frame(head)
        except RemoteProtocolError as error:
            if head.status < 400:
                raise
            self.spoiled = error  # of the body alone: what an error status says counts without it
            self._read = AnswerReader._read_spoiled
        return self._read(self, data) if data or self.done else b""

    def _skip_empty_lines(self, data: bytes) -> bytes:
        """Empty lines before an answer: RFC 9112, section 2.2, has servers skip them, llhttp does so as a client."""
        begun = data.lstrip(b"\r\n")
        if skipped := len(data) - len(begun):
            self._orderly = False
            self._inform(skipped)
        return begun

    def _inform(self, size: int) -> None:
        """Count what came before the answer."""
        self._informed += size
        if self._informed > HEAD_LIMIT:
            raise RemoteProtocolError(f"more than {HEAD_LIMIT:,} bytes before the answer")

    def _take_block(self, data: bytes) -> tuple[bytes | None, bytes]:
        """The lines up to an empty one, and what follows it; None while that has not come."""
        self._buffer += data
        end = _end_of_block(self._buffer, max(0, self._searched - 2))
        if (end or len(self._buffer)) > HEAD_LIMIT:
            raise RemoteProtocolError(f"headers of more than {HEAD_LIMIT:,} bytes")
        if not end:
            self._searched = len(self._buffer)
            return None, b""
        block, rest = bytes(self._buffer[:end]), bytes(self._buffer[end:])
        self._buffer, self._searched = bytearray(), 0
        return block, rest

    def _frame(self, head: Head) -> None:
        """How the body is delimited: RFC 9112, section 6.3."""
        lists = head.lists(_FOR_THE_CONNECTION)
        codings, lengths = lists.get(b"transfer-encoding", ()), set(lists.get(b"content-length", ()))
        is_chunked = self._is_chunked(codings) if codings else False
        if not is_chunked and (len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths))):
            raise RemoteProtocolError("a content-length that is no number, or two of them")
        self.reusable = (
            self._orderly and head.minor_version >= 1 and b"close" not in lists.get(b"connection", ())
        )
        if self._method == "HEAD" or head.status in _WITHOUT_BODY:
            self._read = AnswerReader._read_nothing
            self.done = True
        elif is_chunked:
            self.reusable = self.reusable and not lengths  # both at once: an attempt to smuggle an answer
            self._read = AnswerReader._read_chunks
        elif lengths:
            self._left = int(lengths.pop())
            self._read = AnswerReader._read_length
            self.done = not self._left
        else:
            self._read = AnswerReader._read_until_close
            self.reusable = False

    def _is_chunked(self, codings: Sequence[bytes]) -> bool:
        """Read the transfer codings: chunked or none. `identity` was none in RFC 2616; proxies say chunked twice."""
        others = set(codings) - {b"chunked", b"identity", b""}
        if others or (b"chunked" in codings and codings[-1] != b"chunked"):
            raise RemoteProtocolError("a transfer-encoding other than chunked")
        self._orderly = self._orderly and codings == [b"chunked"]
        return b"chunked" in codings

    def _tolerate(self) -> None:
        """What came is not as the RFC has it, but can be read in one way only."""
        self._orderly = self.reusable = False

    # -------------------------------------------------------------- body

    def _read_nothing(self, data: bytes) -> bytes:
        """After the end: what comes now was not asked for, and belongs to no answer."""
        self.reusable = self.reusable and not data
        return b""

    def _read_spoiled(self, data: bytes) -> bytes:
        """A body whose end cannot be found."""
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
            self.spoiled = error  # of the next bytes: an answer may be whole before its framing goes wrong
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
                    self._tolerate()
                else:
                    raise RemoteProtocolError("a chunk that is longer than it said")
                self._at_chunk_end = False
            elif line := _CHUNK.match(data, at) or self._loose_chunk(data, at):
                at = line.end()
                self._left = int(line[1], 16)
                if not self._left:
                    self._read = AnswerReader._read_trailer
                    self._buffer += b"\n"  # so that a trailer without fields is an empty line, too
                    self._read_trailer(data[at:])
                    return
            else:
                if size - at > CHUNK_LINE_LIMIT or b"\n" in data[at:]:
                    raise RemoteProtocolError("a chunk without a size")
                break
        if at < size:
            self._buffer += data[at:]

    def _loose_chunk(self, data: bytes, at: int) -> re.Match[bytes] | None:
        line = _LOOSE_CHUNK.match(data, at)
        if line is not None:
            self._tolerate()
        return line

    def _read_trailer(self, data: bytes) -> bytes:
        """Fields after the last chunk, nearly always none. They are forgotten: the body is whole without them."""
        block, rest = self._take_block(data)
        if block is not None:
            fields, orderly = _parse_fields(block)
            if not orderly or any(name in _FRAMING for name, _ in fields):
                self._tolerate()
            self._end(rest)
        return b""

    def _end(self, rest: bytes) -> None:
        self.done = True
        self._read = AnswerReader._read_nothing
        self._read_nothing(rest)


_Step = Callable[[AnswerReader, bytes], bytes]


def _end_of_block(data: bytearray, start: int) -> int:
    """Where the first empty line ends; 0 if there is none. A bare LF ends a line, too (RFC 9112, section 2.2)."""
    ends = [at + len(mark) for mark in (b"\n\r\n", b"\n\n") if (at := data.find(mark, start)) >= 0]
    return min(ends, default=0)


def _require_http(start: bytearray) -> None:
    """Refuse at the first bytes what will never be an answer: its end might never come."""
    if start.startswith(_TLS_RECORDS):
        raise RemoteProtocolError("the answer is TLS: this address wants https")
    if not _PROTOCOL.startswith(bytes(start[: len(_PROTOCOL)]).upper()):
        raise RemoteProtocolError("the answer is not HTTP")


def _parse_head(block: bytes) -> tuple[Head, bool]:
    """The head, and whether all of it is as the RFC has it."""
    line, _, fields_block = block.partition(b"\n")
    line = line.removesuffix(b"\r")
    status_line = _STATUS_LINE.fullmatch(line)
    loose_line = status_line or _LOOSE_STATUS_LINE.fullmatch(line)
    if loose_line is None:
        _require_http(bytearray(line))
        raise RemoteProtocolError("the answer is not HTTP/1.1")
    fields, orderly = _parse_fields(fields_block)
    return Head(int(loose_line[2]), fields, int(loose_line[1])), orderly and status_line is not None


def _parse_fields(block: bytes) -> tuple[tuple[tuple[bytes, bytes], ...], bool]:
    """The fields, and whether every line was one. Lines that are none are left out, as browsers do."""
    if b"\n " in block or b"\n\t" in block:
        block = _FOLDED.sub(b" ", block)
    fields: list[tuple[bytes, bytes]] = []
    orderly = True
    for ended_line in block.split(b"\n"):
        line = ended_line.removesuffix(b"\r")
        if field := _FIELD.fullmatch(line):
            fields.append((field[1].lower(), field[2]))
        elif line:
            orderly = False
            if spaced := _SPACED_FIELD.fullmatch(line):
                fields.append((spaced[1].lower(), spaced[2]))
            elif any(name in line.lower() for name in _FRAMING):
                raise RemoteProtocolError("a header about the length of the body that cannot be read")
    return tuple(fields), orderly


def request_head(method: str, target: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """The head of a request, without the empty line that ends it.

    Raises ValueError for what would end a line: a header must not become two.
    """
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    if any("\r" in line or "\n" in line or "\0" in line for line in lines):
        raise ValueError("a line end inside a header")
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")
