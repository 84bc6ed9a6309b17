"""The head of a request: finds its end, refuses what proxies could read differently, parses the others with h11. Pure.

h11 accepts more than is safe behind a proxy: a bare LF as the end of a line, content-length beside transfer-encoding,
folded lines. Two programs that disagree about where a request ends let one client write into the requests of another
(RFC 9112, section 11.2). So a head is checked as bytes before h11 reads it. Knows no socket and no route.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import final
from urllib.parse import parse_qsl, unquote

import attrs
import h11

from .exchange import Headers

MOST_HEAD_BYTES = 64 * 1024
MOST_FIELDS = 100
MOST_EMPTY_LINES = 2
"""Before the request line: some old clients send one after a body (RFC 9112, section 2.2)."""

_BARE_CR = re.compile(rb"\r(?!\n)")
_FOLDED = re.compile(rb"\r\n[ \t]")
_START = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]")
"""The first byte of a method. Anything else is no HTTP: the start of TLS, for example."""
_ABSOLUTE = re.compile(r"https?://([^/?]+)(.*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?:\[[0-9A-Za-z:.]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
"""The value of Host, without the name of a user (RFC 9112, section 3.2)."""
_LENGTH = re.compile(r"[0-9]{1,18}")


class BadHead(Exception):
    """The head cannot be served. The connection must be closed after the response.

    Attributes:
        status: of the response, 400 or 431.
    """

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


@attrs.frozen(kw_only=True)
class RequestHead:
    """A head that can be served."""

    method: str
    path: str
    """Percent escapes are decoded."""
    query: Mapping[str, str]
    """The first value of each field."""
    headers: Headers
    """Names in lower case."""
    length: int | None
    """Of the body in bytes, 0 if there is none. None: it comes in chunks."""
    expects_continue: bool
    """The client waits for `100 Continue` before it sends the body."""
    takes_chunks: bool
    """It speaks HTTP/1.1. The body of a response to HTTP/1.0 ends with the connection."""
    keeps_alive: bool
    """The client may send another request on this connection."""

    def header(self, name: str) -> str | None:
        """Return the first value of a header, in lower case; None if it is not there."""
        return next((value for found, value in self.headers if found == name), None)


@final
class HeadFinder:
    """Finds the end of a head in what has arrived, and refuses it as soon as it can.

    Each byte is looked at once, however slowly the head arrives.
    """

    def __init__(self) -> None:
        self._scanned = 0

    def take(self, data: bytearray) -> bytes | None:
        """Remove the head from the beginning of `data` and return it, with its empty line. None: it is not whole.

        Args:
            data: what has arrived; the same object in each call.

        Raises:
            BadHead: it is too long, has a bare LF, or is no HTTP.
        """
        if self._scanned == 0:
            _drop_empty_lines(data)
            if data == b"\r":
                return None
            if data and not _START.match(data):
                raise BadHead("this is no HTTP request")
        while (end := data.find(b"\n", self._scanned, MOST_HEAD_BYTES)) >= 0:
            if data[end - 1 : end] != b"\r":
                raise BadHead("a line of the head ends without CR")
            self._scanned = end + 1
            if data[end - 3 : end] == b"\r\n\r":
                head = bytes(data[: end + 1])
                del data[: end + 1]
                self._scanned = 0
                return head
        if len(data) >= MOST_HEAD_BYTES:
            raise BadHead(f"the head is longer than {MOST_HEAD_BYTES} bytes", 431)
        self._scanned = len(data)
        return None


def _drop_empty_lines(data: bytearray) -> None:
    for _ in range(MOST_EMPTY_LINES):
        if data[:2] == b"\r\n":
            del data[:2]


def parse_head(raw: bytes) -> RequestHead:
    """Return a head.

    Args:
        raw: the whole head with its empty line.

    Raises:
        BadHead: it is malformed, or ambiguous.
    """
    if _BARE_CR.search(raw):
        raise BadHead("a CR in the head is not followed by LF")
    if _FOLDED.search(raw):
        raise BadHead("a header is folded over two lines")
    if raw.count(b"\r\n") - 2 > MOST_FIELDS:
        raise BadHead(f"the head has more than {MOST_FIELDS} fields", 431)
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD_BYTES)
    http.receive_data(raw)
    try:
        request = http.next_event()
    except h11.RemoteProtocolError:
        # Without h11's text, which repeats the line: it may have a key.
        raise BadHead("the head is malformed") from None
    if not isinstance(request, h11.Request):
        raise BadHead("this is no HTTP request")
    if not request.http_version.startswith(b"1."):
        raise BadHead("only HTTP/1.1 and HTTP/1.0 are served")
    headers = [(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers]
    authority, target = _split_target(request.target.decode("latin-1"))
    if authority is not None:
        headers = [("host", authority), *(field for field in headers if field[0] != "host")]
    if not all(_AUTHORITY.fullmatch(value) for name, value in headers if name == "host"):
        raise BadHead("the host of the request is malformed")
    path, query = _path_and_query(target)
    takes_chunks = request.http_version >= b"1.1"
    return RequestHead(
        method=request.method.decode("ascii"),
        path=path,
        query=query,
        headers=headers,
        length=_body_length(headers, request.http_version),
        expects_continue=http.they_are_waiting_for_100_continue,
        takes_chunks=takes_chunks,
        keeps_alive=takes_chunks and not _says_close(headers),
    )


def _says_close(headers: Headers) -> bool:
    options = (value.lower().split(",") for name, value in headers if name == "connection")
    return any(option.strip() == "close" for listed in options for option in listed)


def _split_target(target: str) -> tuple[str | None, str]:
    """Return the authority and the path of a target in absolute form; None and the path of one in origin form.

    The authority is what the client wants, whatever Host says (RFC 9112, section 3.2.2).
    """
    if "#" in target:
        raise BadHead("the target of the request has a fragment")
    if target.startswith("/"):
        return None, target
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        raise BadHead("the target of the request is no path")
    authority, path = found.groups()
    return authority, path if path.startswith("/") else "/" + path


def _path_and_query(target: str) -> tuple[str, Mapping[str, str]]:
    path, _, text = target.partition("?")
    try:
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise BadHead(f"the query has more than {MOST_FIELDS} fields") from None
    return unquote(path), dict(reversed(fields))


def _body_length(headers: Headers, version: bytes) -> int | None:
    """Return the length of the body; None for chunks. h11 has refused two lengths and unknown encodings."""
    lengths = [value for name, value in headers if name == "content-length"]
    encodings = [value for name, value in headers if name == "transfer-encoding"]
    if encodings and lengths:
        raise BadHead("content-length and transfer-encoding exclude each other")
    if encodings and version < b"1.1":
        raise BadHead("transfer-encoding needs HTTP/1.1")
    if encodings:
        return None
    if not lengths:
        return 0
    if not _LENGTH.fullmatch(lengths[0]):
        raise BadHead("content-length is no number")
    return int(lengths[0])
