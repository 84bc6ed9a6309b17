"""The head of a request: finds its end, refuses what proxies could read differently, parses the others. Pure.

Two programs that disagree about where a request ends let one client write into the requests of another (RFC 9112,
section 11.2). So only what the RFC allows is accepted, and less: a bare LF as the end of a line, content-length beside
transfer-encoding and folded lines are refused. Why not h11: it accepts these, so a head had to be checked before it,
and it takes more than twice as long. A test asks h11 about all heads that are accepted here.
Knows no socket and no route.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import final
from urllib.parse import parse_qsl, unquote

import attrs

from .exchange import Headers

MOST_HEAD_BYTES = 64 * 1024
MOST_FIELDS = 100
MOST_EMPTY_LINES = 2
"""Before the request line: some old clients send one after a body (RFC 9112, section 2.2)."""

_REQUEST_LINE = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~]+) HTTP/([0-9]\.[0-9])")
_FIELD = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t -~\x80-\xff]*)")
"""Without a blank before the colon, and without control characters: no bare CR, no NUL, no folded line."""
_START = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]")
"""The first byte of a method. Anything else is no HTTP: the start of TLS, for example."""
_ABSOLUTE = re.compile(r"https?://([^/?:][^/?]*)(.*)", re.IGNORECASE)
"""A target in absolute form. Its host is not empty (RFC 9110, section 4.2.1); that of `Host` may be."""
_AUTHORITY = re.compile(r"(?:\[[0-9A-Za-z:.]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
"""The value of Host, without the name of a user (RFC 9112, section 3.2)."""
_LENGTH = re.compile(r"[0-9]{1,18}")


class BadHead(Exception):
    """The head cannot be served. The connection must be closed after the response.

    Attributes:
        status: of the response: 400, 408 or 431.
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

    No byte is looked at again when more arrives, however slowly: but for three, which may be half of an end.
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
        scanned, last = self._scanned, data.find(b"\r\n\r\n", max(0, self._scanned - 3), MOST_HEAD_BYTES)
        end = len(data) if last < 0 else last + 4
        if data.count(b"\n", scanned, end) != data.count(b"\r\n", max(0, scanned - 1), end):
            raise BadHead("a line of the head ends without CR")
        if last >= 0:
            head = bytes(data[:end])
            del data[:end]
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
    line, *fields = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    if len(fields) > MOST_FIELDS:
        raise BadHead(f"the head has more than {MOST_FIELDS} fields", 431)
    # No error repeats a line: it may have a key.
    if (request_line := _REQUEST_LINE.fullmatch(line)) is None:
        raise BadHead("the first line is no request of HTTP/1.1")
    method, target, version = request_line.groups()
    if version[0] != "1":
        raise BadHead("only HTTP/1.1 and HTTP/1.0 are served")
    headers = [_parse_field(field) for field in fields]
    authority, target = _split_target(target)
    is_1_1 = version >= "1.1"
    _check_host([value for name, value in headers if name == "host"], is_required=is_1_1)
    if authority is not None:
        _check_host([authority], is_required=True)
        headers = [("host", authority), *(field for field in headers if field[0] != "host")]
    path, query = _path_and_query(target)
    return RequestHead(
        method=method,
        path=path,
        query=query,
        headers=headers,
        length=_body_length(headers, takes_chunks=is_1_1),
        expects_continue=is_1_1 and "100-continue" in _items(headers, "expect"),
        takes_chunks=is_1_1,
        keeps_alive=is_1_1 and "close" not in _items(headers, "connection"),
    )


def _parse_field(line: str) -> tuple[str, str]:
    if (field := _FIELD.fullmatch(line)) is None:
        raise BadHead("a header is malformed")
    return field[1].lower(), field[2].strip(" \t")


def _items(headers: Headers, name: str) -> set[str]:
    """Return the items of a header whose value is a list, in lower case."""
    items = (item for found, value in headers if found == name for item in value.lower().split(","))
    return {item.strip(" \t") for item in items}  # only these: in Latin-1 others are blanks as well


def _check_host(hosts: Sequence[str], *, is_required: bool) -> None:
    if len(hosts) > 1 or (is_required and not hosts):
        raise BadHead("a request has one host")
    if not all(map(_AUTHORITY.fullmatch, hosts)):
        raise BadHead("the host of the request is malformed")


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
    if not text:
        return unquote(path), {}
    try:
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise BadHead(f"the query has more than {MOST_FIELDS} fields") from None
    return unquote(path), dict(reversed(fields))


def _body_length(headers: Headers, *, takes_chunks: bool) -> int | None:
    """Return the length of the body; None for chunks."""
    encodings = [value.lower() for name, value in headers if name == "transfer-encoding"]
    lengths = _items(headers, "content-length")  # the same length twice is accepted: RFC 9110, section 8.6
    if encodings and lengths:
        raise BadHead("content-length and transfer-encoding exclude each other")
    if encodings and not takes_chunks:
        raise BadHead("transfer-encoding needs HTTP/1.1")
    if encodings:
        if encodings != ["chunked"]:
            # 400 and not 501 (RFC 9112, section 6.1): only in some of these does the body have an end.
            raise BadHead("the only transfer-encoding is chunked")
        return None
    if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise BadHead("content-length is no number, or there are two")
    return int(lengths.pop()) if lengths else 0
