"""HTTP/1.1 answers out of bytes: as h11 reads them, at every slicing, in bounded memory.

h11 is the judge: what it reads is read alike. What it refuses and we read costs the connection, always.
"""

import random
from collections.abc import Iterable, Sequence
from itertools import pairwise

import attrs
import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cortex_trio.http.http1 import (
    CHUNK_LINE_LIMIT,
    HEAD_LIMIT,
    ConnectionBroken,
    RemoteProtocolError,
    ResponseParser,
    request_head,
)


@attrs.frozen
class Whole:
    """An answer that was read to its end."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    reusable: bool = attrs.field(default=False, eq=False)


Outcome = Whole | str  # "broken" or "bad"


def ours(slices: Iterable[bytes], method: str = "POST") -> Outcome:
    parser, body = ResponseParser(method), b""
    try:
        for data in slices:
            if parser.done:
                break
            body += parser.feed(data)
            if parser.body_error is not None:
                raise parser.body_error
        parser.finish()
    except RemoteProtocolError:
        return "bad"
    except ConnectionBroken:
        return "broken"
    assert parser.head is not None
    return Whole(parser.head.status, _without_framing(parser.head.fields), body, parser.reusable)


def _without_framing(fields: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Without what h11 rewrites (lengths said twice), and with one space for any run of them in a folded value."""
    framing = (b"content-length", b"transfer-encoding")
    return tuple((name, b" ".join(value.split())) for name, value in fields if name not in framing)


def theirs(data: bytes, method: str = "POST") -> Outcome:
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "x"), ("content-length", "0")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    client.receive_data(b"")
    head, body = None, b""
    try:
        while True:
            match client.next_event():
                case h11.Response() as response:
                    head = response
                case h11.Data() as piece:
                    body += bytes(piece.data)
                case h11.EndOfMessage():
                    assert head is not None
                    return Whole(head.status_code, _without_framing(head.headers), body)
                case h11.ConnectionClosed() | h11.NEED_DATA | h11.PAUSED:
                    return "broken"
    except h11.RemoteProtocolError as error:
        early = ("peer closed", "peer unexpectedly closed", "can't handle event type ConnectionClosed")
        return "broken" if str(error).startswith(early) else "bad"


def answer(head: str, body: str = "") -> bytes:
    return head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body.encode("latin-1")


OK = "HTTP/1.1 200 OK"
CHUNKED = f"{OK}\ntransfer-encoding: chunked"

WHOLE: Sequence[bytes] = [
    answer(f"{OK}\ncontent-length: 5", "hello"),
    answer(f"{OK}\ncontent-length: 0"),
    answer(f"{OK}\nContent-Length: 5, 5", "hello"),
    answer(f"{OK}\ncontent-length: 5\ncontent-length: 5", "hello"),
    answer(CHUNKED, "5\r\nhello\r\n0\r\n\r\n"),
    answer(CHUNKED, "0\r\n\r\n"),
    answer(CHUNKED, "5;name=value\r\nhello\r\n6 \r\n world\r\n00\r\nx-sum: 1\r\nx-more: 2\r\n\r\n"),
    answer(CHUNKED, "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"),
    answer(f"{CHUNKED}\ncontent-length: 3", "5\r\nhello\r\n0\r\n\r\n"),
    answer(OK, "until the connection ends"),
    answer("HTTP/1.0 200 OK", "until the connection ends"),
    answer("HTTP/1.1 204 No Content"),
    answer("HTTP/1.1 304 Not Modified\ncontent-length: 100"),
    answer("HTTP/1.1 100 Continue") + answer("HTTP/1.1 103 Early Hints\nlink: x") + answer(OK, "late"),
    answer("HTTP/1.1 200"),
    answer("HTTP/1.1 200 "),
    answer("HTTP/1.1 599 Ünheard of"),
    answer(f"{OK}\nx-folded: one\n two\n\tthree\ncontent-length: 0"),
    answer(f"{OK}\nx-empty:\nx-space: \t a \t b \t \ncontent-length: 0"),
    answer(f"{OK}\nset-cookie: a=\x01\ncontent-length: 0"),
    b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\n\r\nok",
]

BAD: Sequence[bytes] = [
    b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    b"\x16\x03\x01\x00\xa5\r\n\r\n",
    b"HTTP/2 200 OK\r\n\r\n",
    b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1  200 OK\r\n\r\n",
    answer(f"{OK}\ncontent-length: -5", "hello"),
    answer(f"{OK}\ncontent-length: +5", "hello"),
    answer(f"{OK}\ncontent-length: 5_0", "hello"),
    answer(f"{OK}\ncontent-length: 5, 6", "hello"),
    answer("HTTP/1.1 304 Not Modified\ncontent-length: five"),
    answer(f"{OK}\ntransfer-encoding: gzip, chunked", "0\r\n\r\n"),
    answer(f"{OK}\ntransfer-encoding: chunked, identity", "0\r\n\r\n"),
    answer(f"{OK}\ncontent-length:", "hello"),
    answer(f"{OK}\ncontent-length; 5", "hello"),
    answer(f"{OK}\nx-transfer-encoding\x00: chunked", "hello"),
    answer(CHUNKED, "\r\n"),
    answer(CHUNKED, "-5\r\nhello\r\n"),
    answer(CHUNKED, "0x5\r\nhello\r\n"),
    answer(CHUNKED, "5\r\nhello world\r\n"),
    answer(CHUNKED, "fffffffffffffffffffffff\r\n"),
]

TOLERATED: Sequence[tuple[bytes, bytes]] = [
    # Responses that h11 refuses although they have one reading only, with their bodies.
    (b"http/1.1 200 ok\r\ncontent-length: 2\r\n\r\nok", b"ok"),
    (b"\r\n\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", b"ok"),
    (b"\nHTTP/1.1 100 Continue\n\n\nHTTP/1.1 200 OK\ncontent-length: 2\n\nok", b"ok"),
    (answer(f"{OK}\ncontent-length : 2", "ok"), b"ok"),
    (answer(f"{OK}\ntransfer-encoding\t : chunked", "2\r\nok\r\n0\r\n\r\n"), b"ok"),
    (answer(f"{OK}\nno colon\ncontent-length: 2", "ok"), b"ok"),
    (answer(f"{OK}\n: no name\ncontent-length: 2", "ok"), b"ok"),
    (answer(f"{OK}\nx: a\x00b\ncontent-length: 2", "ok"), b"ok"),
    (answer(f"{OK}\nnäme: a\ncontent-length: 2", "ok"), b"ok"),
    (b"HTTP/1.1 200 OK\r\n folded onto nothing\r\ncontent-length: 2\r\n\r\nok", b"ok"),
    (answer(f"{OK}\ntransfer-encoding: identity", "to the end"), b"to the end"),
    (answer(f"{OK}\ntransfer-encoding: Identity\ncontent-length: 2", "ok"), b"ok"),
    (answer(f"{OK}\ntransfer-encoding: identity, chunked", "2\r\nok\r\n0\r\n\r\n"), b"ok"),
    (answer(f"{CHUNKED}\ntransfer-encoding: chunked", "2\r\nok\r\n0\r\n\r\n"), b"ok"),
    (answer(f"{CHUNKED}\ncontent-length: five", "2\r\nok\r\n0\r\n\r\n"), b"ok"),
    (answer(CHUNKED, "2\nok\n0\n\n"), b"ok"),
    (answer(CHUNKED, " 2\r\nok\r\n\t0\r\n\r\n"), b"ok"),
    (answer(CHUNKED, "2\r\nok\r\n0\r\nno trailer\r\n\r\n"), b"ok"),
    (answer(CHUNKED, "2\r\nok\r\n0\r\ncontent-length: 3\r\n\r\n"), b"ok"),
]

BROKEN: Sequence[bytes] = [
    b"\r\n\r\n",
    b"",
    b"HTTP/1.1 200 OK\r\n",
    answer("HTTP/1.1 100 Continue"),
    answer(f"{OK}\ncontent-length: 5", "hell"),
    answer(CHUNKED, "5\r\nhel"),
    answer(CHUNKED, "5\r\nhello\r\n"),
    answer(CHUNKED, "5"),
    answer(CHUNKED, "0\r\n"),
    answer(CHUNKED, "0\r\nx-trailer: 1\r\n"),
]


@pytest.mark.parametrize("data", WHOLE)
def test_a_complete_response_is_read_as_h11_reads_it(data: bytes) -> None:
    assert isinstance(ours([data]), Whole)
    assert ours([data]) == theirs(data)


@pytest.mark.parametrize("data", BAD)
def test_bytes_that_are_not_http_are_refused_where_h11_refuses_them(data: bytes) -> None:
    assert ours([data]) == theirs(data) == "bad"


@pytest.mark.parametrize("data", BROKEN)
def test_a_cut_response_is_never_a_complete_one(data: bytes) -> None:
    assert ours([data]) == "broken"
    assert not isinstance(theirs(data), Whole)


@pytest.mark.parametrize(("data", "body"), TOLERATED)
def test_a_response_with_a_mistake_is_read_and_its_connection_is_not_used_again(
    data: bytes, body: bytes
) -> None:
    read = ours([data])
    assert isinstance(read, Whole)
    assert (read.status, read.body, read.reusable) == (200, body, False)


@pytest.mark.parametrize("data", [*WHOLE, *BAD, *BROKEN, *(data for data, _ in TOLERATED)])
def test_slicing_changes_nothing(data: bytes) -> None:
    expected = ours([data])
    assert ours(data[i : i + 1] for i in range(len(data))) == expected
    for cut in range(len(data)):
        assert ours([data[:cut], data[cut:]]) == expected


def test_the_response_to_head_has_no_body() -> None:
    assert ours([answer(f"{OK}\ncontent-length: 5")], "HEAD") == theirs(
        answer(f"{OK}\ncontent-length: 5"), "HEAD"
    )


# ------------------------------------------------------------------ where we differ, on purpose


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"HTTP/2.0 200 OK\r\n\r\n", id="another version, to which these rules do not apply"),
        pytest.param(answer("HTTP/1.1 101 Switching Protocols"), id="another protocol, not requested"),
    ],
)
def test_a_mistake_that_h11_leaves_to_its_user_is_refused(data: bytes) -> None:
    assert ours([data]) == "bad"


@pytest.mark.parametrize(
    "start", [b"SSH-2.0-OpenSSH_9.6\r\n", b"220 mail", b"\x15\x03\x01\x00\x02\x02\x46", b"HTTQ", b"<html>"]
)
@pytest.mark.parametrize("size", [1, 100])
def test_bytes_that_cannot_become_a_response_are_refused_at_once(start: bytes, size: int) -> None:
    parser = ResponseParser("POST")
    slices = [start[at : at + size] for at in range(0, len(start), size)]
    with pytest.raises(RemoteProtocolError) as caught:
        list(map(parser.feed, slices))
    assert ("needs https" in str(caught.value)) == start.startswith(b"\x15")


@pytest.mark.parametrize(
    "framing",
    [
        "content-length: x",
        "content-length: 5, 6",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: gzip\ncontent-length: 5",
    ],
)
@pytest.mark.parametrize("status", [400, 401, 413, 429, 503])
def test_a_body_without_a_known_end_does_not_hide_an_error_status(status: int, framing: str) -> None:
    data = answer(f"HTTP/1.1 {status} No\n{framing}\nretry-after: 7", "hello")
    for slices in ([data], [data[at : at + 1] for at in range(len(data))]):
        parser = ResponseParser("POST")
        assert b"".join(map(parser.feed, slices)) == b""
        assert parser.head is not None
        assert (parser.head.status, parser.head.headers["retry-after"]) == (status, "7")
        assert isinstance(parser.body_error, RemoteProtocolError)
        assert not parser.done


@pytest.mark.parametrize("rest", ["", "x", "nonsense\r\n"])
def test_bytes_before_a_framing_error_are_returned_first(rest: str) -> None:
    parser = ResponseParser("POST")
    end = "\r\n" if rest else "!!"
    assert parser.feed(answer(CHUNKED, f"5\r\nhello{end}{rest}" + "\r\n" * (rest == "x"))) == b"hello"
    assert isinstance(parser.body_error, RemoteProtocolError)
    assert not parser.done


# ------------------------------------------------------------------ keeping the connection


def reusable(data: bytes) -> bool:
    parser = ResponseParser("POST")
    parser.feed(data)
    assert parser.done
    return parser.reusable


@pytest.mark.parametrize(
    "data",
    [
        answer(f"{OK}\ncontent-length: 2", "ok"),
        answer(f"{OK}\ncontent-length: 0"),
        answer(CHUNKED, "0\r\n\r\n"),
        answer("HTTP/1.1 204 No Content"),
        answer(f"{OK}\ncontent-length: 0\nconnection: keep-alive"),
    ],
)
def test_after_a_complete_response_the_connection_may_be_used_again(data: bytes) -> None:
    assert reusable(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(answer(f"{OK}\ncontent-length: 2\nconnection: Close", "ok"), id="it says close"),
        pytest.param(answer(f"{OK}\ncontent-length: 0\nconnection: x, close"), id="among other things"),
        pytest.param(answer("HTTP/1.0 200 OK\ncontent-length: 2", "ok"), id="HTTP/1.0"),
        pytest.param(answer(f"{CHUNKED}\ncontent-length: 9", "0\r\n\r\n"), id="two framings at once"),
        pytest.param(answer(f"{OK}\ncontent-length: 2", "ok!"), id="more than was announced"),
        pytest.param(answer(CHUNKED, "0\r\n\r\nHTTP/1.1 200 OK"), id="an answer to no question"),
        pytest.param(answer("HTTP/1.1 204 No Content", "body"), id="a body where none can be"),
    ],
)
def test_a_connection_whose_responses_may_get_mixed_up_is_not_used_again(data: bytes) -> None:
    assert not reusable(data)


# ------------------------------------------------------------------ bounds


def feed_until_refused(start: bytes, more: bytes, limit: int) -> int:
    """How many bytes were taken before RemoteProtocolError."""
    parser, taken = ResponseParser("POST"), 0
    parser.feed(start)
    try:
        while taken <= 2 * limit:
            parser.feed(more)
            taken += len(more)
    except RemoteProtocolError:
        return taken
    raise AssertionError("it is taken without end")


@pytest.mark.parametrize("more", [b"x-endless: header\r\n", b"x" * 1000], ids=["many headers", "a long one"])
@pytest.mark.parametrize(
    "start", [f"{OK}\r\n".encode(), answer(CHUNKED, "0\r\n")], ids=["in the head", "in the trailer"]
)
def test_endless_headers_are_refused(start: bytes, more: bytes) -> None:
    assert feed_until_refused(start, more, HEAD_LIMIT) <= HEAD_LIMIT


def test_endless_empty_lines_are_refused() -> None:
    assert feed_until_refused(b"", b"\r\n" * 100, HEAD_LIMIT) <= HEAD_LIMIT


def test_endless_informational_answers_are_refused() -> None:
    assert feed_until_refused(b"", answer("HTTP/1.1 103 Early Hints"), HEAD_LIMIT) <= HEAD_LIMIT + 100


def test_a_thousand_informational_responses_in_one_read_are_skipped() -> None:
    hints = answer("HTTP/1.1 103 Early Hints") * 1000
    parser = ResponseParser("POST")
    assert parser.feed(hints + answer(f"{OK}\ncontent-length: 2", "ok")) == b"ok"
    assert parser.done


def test_an_endless_chunk_extension_is_refused() -> None:
    start = answer(CHUNKED, "5;")
    assert feed_until_refused(start, b"x" * 100, CHUNK_LINE_LIMIT) <= CHUNK_LINE_LIMIT


def test_a_header_of_ten_megabytes_is_refused_as_it_arrives() -> None:
    with pytest.raises(RemoteProtocolError, match="headers of more than"):
        ResponseParser("POST").feed(f"{OK}\r\nx: {'y' * 10_000_000}".encode())


def test_a_body_is_handed_on_and_not_kept() -> None:
    parser = ResponseParser("POST")
    parser.feed(answer(CHUNKED, "ffffff\r\n"))
    for _ in range(100):
        assert parser.feed(b"x" * 10_000) == b"x" * 10_000
    assert not parser._buffer


# ------------------------------------------------------------------ anything at all

FRAGMENTS = [*WHOLE, *BAD, *BROKEN, *(data for data, _ in TOLERATED)]
PIECES = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"0",
    b"5",
    b":",
    b";",
    b"chunked",
    b"content-length: 3",
    b"\x00",
    b"\xff",
]


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """An answer of the lists above with something cut out of it, put into it, or put behind it."""
    data = draw(st.sampled_from(FRAGMENTS))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        to = draw(st.integers(at, min(len(data), at + 8)))
        insert = draw(st.sampled_from([b"", *PIECES]) | st.binary(max_size=4))
        data = data[:at] + insert + data[to:]
    return data + draw(st.sampled_from([b"", b"", *FRAGMENTS]))


def agree(mine: Outcome, judged: Outcome) -> bool:
    """What h11 reads is read alike or refused on purpose; what it refuses is refused or costs the connection."""
    if isinstance(judged, Whole):
        return mine == judged if isinstance(mine, Whole) else mine == "bad"
    return not mine.reusable if isinstance(mine, Whole) else True


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(spoiled(), st.randoms(use_true_random=False))
@example(b"HTTP/1.1 200 OK\r\n\r\n", random.Random(0))
def test_any_bytes_are_read_as_h11_reads_them_or_refused(data: bytes, chance: random.Random) -> None:
    mine = ours([data])
    assert agree(mine, theirs(data))
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(5))
    cuts_and_ends = [0, *cuts, len(data)]
    sliced = ours(data[start:end] for start, end in pairwise(cuts_and_ends))
    assert sliced == mine


# ------------------------------------------------------------------ requests


def test_a_request_head_is_its_line_and_its_fields() -> None:
    head = request_head("POST", "/v1/x", [("host", "h"), ("x-latin", "é")])
    assert head == b"POST /v1/x HTTP/1.1\r\nhost: h\r\nx-latin: \xe9\r\n"


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\nb", "a\rb", "a\0b", "☃"])
def test_a_header_cannot_become_two(value: str) -> None:
    with pytest.raises(ValueError, match=r"line end|latin-1"):
        request_head("GET", "/", [("x", value)])
