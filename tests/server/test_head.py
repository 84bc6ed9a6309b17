"""Heads of requests: what is served, and what is refused because another program could read it differently."""

import h11
import pytest

from cortex_trio.server.exchange import Headers
from cortex_trio.server.head import MOST_FIELDS, MOST_HEAD_BYTES, BadHead, HeadFinder, RequestHead, parse_head

PLAIN = b"POST /v1/x%20y?a=1&a=2&b= HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"


def parsed(raw: bytes) -> RequestHead:
    data = bytearray(raw)
    head = HeadFinder().take(data)
    assert head is not None
    return parse_head(head)


def test_a_head_is_read() -> None:
    head = parsed(PLAIN)
    assert (head.method, head.path, head.length) == ("POST", "/v1/x y", 3)
    assert head.query == {"a": "1", "b": ""}
    assert head.header("host") == "h"


def test_a_head_is_found_at_every_slicing() -> None:
    for cut in range(1, len(PLAIN)):
        data, finder = bytearray(PLAIN[:cut]), HeadFinder()
        assert finder.take(data) is None
        data += PLAIN[cut:] + b"abc"
        assert finder.take(data) == PLAIN
        assert data == b"abc"


def test_a_head_is_found_byte_by_byte() -> None:
    data, finder, found = bytearray(), HeadFinder(), None
    for byte in b"\r\n" + PLAIN:
        data.append(byte)
        found = finder.take(data)
    assert found == PLAIN


def test_a_chunked_body_has_no_length() -> None:
    assert parsed(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").length is None


def test_an_absolute_target_is_a_path() -> None:
    assert parsed(b"GET http://h:80/a?b=c HTTP/1.1\r\nHost: h\r\n\r\n").path == "/a"


@pytest.mark.parametrize("query", ["?x=/a", "?x=http://i/a"])
def test_an_absolute_target_may_have_no_path(query: str) -> None:
    head = parsed(f"GET http://h{query} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    assert (head.path, head.query) == ("/", {"x": query.removeprefix("?x=")})


def test_the_authority_of_an_absolute_target_replaces_the_host() -> None:
    head = parsed(b"GET http://other:80/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert [value for name, value in head.headers if name == "host"] == ["other:80"]


@pytest.mark.parametrize("host", ["h", "h:80", "h:", "my_host-1.example", "127.0.0.1:8080", "[::1]:80", ""])
def test_a_host_is_accepted(host: str) -> None:
    assert parsed(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).header("host") == host


def test_the_expectation_of_a_client_is_seen() -> None:
    raw = b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    assert parsed(raw).expects_continue


HOST = b"Host: h\r\n"
REFUSED = {
    "length and chunks": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunks and length": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
    "two lengths in one": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 4\r\n\r\n",
    "negative length": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -3\r\n\r\n",
    "length with a sign": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\n",
    "unknown transfer encoding": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "two transfer encodings": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    "bare LF in the request line": b"GET / HTTP/1.1\nHost: h\r\n\r\n",
    "bare LF in a field": b"GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n",
    "bare LF at the end": b"GET / HTTP/1.1\r\nHost: h\r\n\n",
    "LF at the beginning": b"\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "bare CR": b"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n",
    "folded": b"GET / HTTP/1.1\r\nHost: h\r\n x\r\n\r\n",
    "blank before colon": b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length : 3\r\n\r\n",
    "NUL": b"GET / HTTP/1.1\r\nHost: h\r\nX: \x00\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
    "no path": b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00",
    "one word": b"hello\r\n\r\n",
    "major version 2": b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
    "major version 0": b"GET / HTTP/0.9\r\nHost: h\r\n\r\n",
    "fragment": b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n",
    "host with a path": b"GET / HTTP/1.1\r\nHost: h/x\r\n\r\n",
    "host with a user": b"GET / HTTP/1.1\r\nHost: x@h\r\n\r\n",
    "host with a blank": b"GET / HTTP/1.1\r\nHost: h i\r\n\r\n",
    "host with a port that is no number": b"GET / HTTP/1.1\r\nHost: h:x\r\n\r\n",
    "authority with a user": b"GET http://x@h/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "no authority": b"GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n",
    "no host before the port": b"GET http://:80/a HTTP/1.1\r\nHost: h\r\n\r\n",
    "another scheme": b"GET ftp://h/a HTTP/1.1\r\nHost: h\r\n\r\n",
    "authority form": b"GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n",
    "three empty lines": b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "two blanks in the request line": b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
    "tab in the request line": b"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "blank after the request line": b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
    "no version": b"GET /\r\nHost: h\r\n\r\n",
    "version in lower case": b"GET / http/1.1\r\nHost: h\r\n\r\n",
    "version of two digits": b"GET / HTTP/1.10\r\nHost: h\r\n\r\n",
    "target that is not ASCII": b"GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n",
}
FIELDS_REFUSED = {
    "folded first": b" x: y",
    "no colon": b"x",
    "no name": b": x",
    "name that is not ASCII": b"\xe4: x",
    "NUL in a name": b"x\0: y",
    "control character": b"x: \x01",
    "DEL": b"x: \x7f",
    "no length": b"Content-Length:",
    "length in hexadecimal": b"Content-Length: 0x3",
    "length with an underscore": b"Content-Length: 1_0",
    "length with a blank": b"Content-Length: 1 0",
    "length with a fraction": b"Content-Length: 3.0",
    "length in superscript": b"Content-Length: \xb3",
    "length behind a blank of Latin-1": b"Content-Length: \xa03",
    "length with a comma": b"Content-Length: 3,",
    "length of 19 digits": b"Content-Length: " + b"9" * 19,
    "no transfer encoding": b"Transfer-Encoding:",
    "identity": b"Transfer-Encoding: identity",
    "chunks twice": b"Transfer-Encoding: chunked, chunked",
    "chunks in two fields": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "chunks with a parameter": b"Transfer-Encoding: chunked;x=1",
    "chunks in quotes": b'Transfer-Encoding: "chunked"',
    "chunks behind a blank of Latin-1": b"Transfer-Encoding: \xa0chunked",
    "chunks behind a vertical tab": b"Transfer-Encoding: \vchunked",
}
REFUSED |= {
    name: b"POST / HTTP/1.1\r\n" + field + b"\r\nHost: h\r\n\r\n" for name, field in FIELDS_REFUSED.items()
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
def test_a_head_is_refused(raw: bytes) -> None:
    with pytest.raises(BadHead) as caught:
        parsed(raw)
    assert caught.value.status == 400


LENGTHS: dict[bytes, int | None] = {
    b"X: y": 0,
    b"Content-Length:3": 3,
    b"content-length: \t3 \t": 3,
    b"Content-Length: 3 ,\t3": 3,
    b"Content-Length: 3\r\nContent-Length: 3": 3,
    b"Content-Length: 003": 3,
    b"Content-Length: " + b"9" * 18: 10**18 - 1,
    b"Transfer-Encoding:Chunked\t": None,
}


@pytest.mark.parametrize(("field", "length"), LENGTHS.items(), ids=range(len(LENGTHS)))
def test_the_length_of_a_body_is_read_as_h11_reads_it(field: bytes, length: int | None) -> None:
    raw = b"POST / HTTP/1.1\r\nHost: h\r\n" + field + b"\r\n\r\n"
    peer = h11.Connection(h11.SERVER)
    peer.receive_data(raw)
    request = peer.next_event()
    assert isinstance(request, h11.Request)
    fields = dict(request.headers)
    chunked = fields.get(b"transfer-encoding") == b"chunked"
    assert parsed(raw).length == length == (None if chunked else int(fields.get(b"content-length", b"0")))


AS_H11 = (
    b"POST /v1/x?a=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nX: a b\r\n\r\n",
    b"PUT /x HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\nHost: h:80\r\n\r\n",
    b"GET / HTTP/1.0\r\nContent-Length: 3, 3\r\n\r\n",
)
INSERTED = (
    b"",
    *(bytes([byte]) for byte in b'\0\1\t\n\v\r "#%,/0:;@[\\]x{|\x7f\x80\x85\xa0\xff'),
    b"\r\n",
    b" HTTP/1.1",
)


def without_length(headers: Headers) -> Headers:
    """h11 makes one number of a length that was sent twice."""
    return [(name, value) for name, value in headers if name != "content-length"]


@pytest.mark.parametrize("head", AS_H11, ids=range(len(AS_H11)))
def test_what_is_accepted_means_the_same_to_h11(head: bytes) -> None:
    accepted = 0
    for at in range(len(head)):
        for inserted in INSERTED:
            for length in (0, 1):  # inserted, or instead of a byte
                raw = head[:at] + inserted + head[at + length :]
                try:
                    found = parsed(raw)
                except (BadHead, AssertionError):  # refused, or not at its end
                    continue
                accepted += 1
                peer = h11.Connection(h11.SERVER)
                peer.receive_data(raw.removeprefix(b"\r\n"))
                request = peer.next_event()
                assert isinstance(request, h11.Request), raw
                fields = [(name.decode(), value.decode("latin-1")) for name, value in request.headers]
                lengths: list[int | None] = [int(value) for name, value in fields if name == "content-length"]
                assert found.method.encode() == request.method, raw
                assert without_length(found.headers) == without_length(fields), raw
                assert found.expects_continue == peer.they_are_waiting_for_100_continue, raw
                assert [found.length] == (
                    lengths or [None if ("transfer-encoding", "chunked") in fields else 0]
                ), raw
    assert accepted > len(head)


def test_an_error_does_not_repeat_the_head() -> None:
    with pytest.raises(BadHead) as caught:
        parsed(b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization sk-secret\r\n\r\n")
    assert "secret" not in str(caught.value)


def test_garbage_is_refused_before_its_line_ends() -> None:
    with pytest.raises(BadHead):
        HeadFinder().take(bytearray(b"\x00\x01"))


def test_a_head_has_at_most_a_hundred_fields() -> None:
    fields = b"".join(b"X: y\r\n" for _ in range(MOST_FIELDS - 1))
    assert parsed(b"GET / HTTP/1.1\r\n" + HOST + fields + b"\r\n").path == "/"
    with pytest.raises(BadHead) as caught:
        parsed(b"GET / HTTP/1.1\r\n" + HOST + fields + b"X: y\r\n\r\n")
    assert caught.value.status == 431


def test_a_head_has_at_most_64_kib() -> None:
    start = b"GET / HTTP/1.1\r\nHost: h\r\nX: "
    longest = start + b"y" * (MOST_HEAD_BYTES - len(start) - 4) + b"\r\n\r\n"
    assert parsed(longest).path == "/"
    data = bytearray(start + b"y" * MOST_HEAD_BYTES)
    with pytest.raises(BadHead) as caught:
        HeadFinder().take(data)
    assert caught.value.status == 431
