"""Bodies of requests: framing at every slicing, limits, content encodings."""

import gzip
import zlib

import pytest

from cortex_trio.server.body import (
    MOST_FRAMING_BYTES,
    MOST_MEMBERS,
    MOST_TRAILER_BYTES,
    BadBody,
    BodyReader,
    BodyTooLarge,
    body_deadline,
    unpacked,
)

CHUNKED = b"3\r\nabc\r\nA;ext=1\r\n0123456789\r\n0\r\nX-Trailer: y\r\n\r\n"


def read(raw: bytes, length: int | None = None, most: int = 1000) -> tuple[bytes, bytes]:
    """Return the body and what follows it."""
    reader, data = BodyReader(length, most), bytearray(raw)
    reader.feed(data)
    assert reader.is_done
    return reader.body(), bytes(data)


def test_a_body_with_a_length_is_read() -> None:
    assert read(b"abcNEXT", 3) == (b"abc", b"NEXT")
    assert read(b"NEXT", 0) == (b"", b"NEXT")


def test_chunks_are_read_at_every_slicing() -> None:
    for cut in range(len(CHUNKED) + 1):
        reader, data = BodyReader(None, 1000), bytearray(CHUNKED[:cut])
        reader.feed(data)
        assert reader.is_done == (cut == len(CHUNKED))
        data += CHUNKED[cut:] + b"NEXT"
        reader.feed(data)
        assert (reader.is_done, reader.body(), bytes(data)) == (True, b"abc0123456789", b"NEXT")


MALFORMED = {
    "no number": b"x\r\n",
    "empty line": b"\r\n",
    "sign": b"+3\r\nabc\r\n",
    "prefix": b"0x3\r\nabc\r\n",
    "blank": b" 3\r\nabc\r\n",
    "underscore": b"1_0\r\n",
    "bare LF after the size": b"3\nabc\r\n",
    "bare LF after the data": b"3\r\nabc\n0\r\n\r\n",
    "too much data": b"3\r\nabcd\r\n",
    "bare LF at the end": b"0\r\n\n",
    "bare LF in a trailer": b"0\r\nX: y\n\r\n",
    "too long": b"3;" + b"x" * 2000,
    "huge": b"1" * 16 + b"\r\n",
    "trailer that is a request": b"0\r\nGET / HTTP/1.1\r\n\r\n",
    "trailer with a NUL": b"0\r\nX: \x00\r\n\r\n",
    "trailer with a bare CR": b"0\r\nX: a\rb\r\n\r\n",
    "trailer that is folded": b"0\r\nX: a\r\n b\r\n\r\n",
    "trailer with a blank before the colon": b"0\r\nX : a\r\n\r\n",
    "trailers": b"0\r\n" + (b"X: " + b"y" * 500 + b"\r\n") * (MOST_TRAILER_BYTES // 500 + 1),
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
def test_malformed_chunks_are_refused(raw: bytes) -> None:
    with pytest.raises(BadBody):
        read(raw)


def test_a_length_above_the_limit_is_refused_before_the_body() -> None:
    with pytest.raises(BodyTooLarge):
        BodyReader(11, 10)
    assert read(b"0123456789", 10, most=10) == (b"0123456789", b"")


def test_chunks_above_the_limit_are_refused_when_they_are_announced() -> None:
    with pytest.raises(BodyTooLarge):
        read(b"6\r\n012345\r\n5\r\n", most=10)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "deflate", "identity", ""])
def test_content_encodings_are_undone(encoding: str) -> None:
    data = b"abc" * 100
    packed = {"gzip": gzip.compress, "deflate": zlib.compress}.get(
        encoding.lower().removeprefix("x-"), lambda data: data
    )(data)
    assert unpacked(packed, encoding, 300) == data


def test_deflate_without_the_header_of_zlib_is_undone() -> None:
    packed = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    assert unpacked(packed.compress(b"abc") + packed.flush(), "deflate", 10) == b"abc"


def test_two_members_of_gzip_are_one_body() -> None:
    assert unpacked(gzip.compress(b"abc") + gzip.compress(b"def"), "gzip", 6) == b"abcdef"


def test_the_limit_is_applied_to_unpacked_bytes() -> None:
    with pytest.raises(BodyTooLarge):
        unpacked(gzip.compress(bytes(10_000_000)), "gzip", 1000)
    with pytest.raises(BodyTooLarge):
        unpacked(gzip.compress(bytes(600)) * 2, "gzip", 1000)


@pytest.mark.parametrize(
    ("body", "encoding"),
    [(b"abc", "gzip"), (b"abc", "deflate"), (b"abc", "br"), (gzip.compress(b"abc" * 99)[:-9], "gzip")],
    ids=["no gzip", "no deflate", "br", "cut"],  # gzip writes the time into its head
)
def test_what_cannot_be_unpacked_is_refused(body: bytes, encoding: str) -> None:
    with pytest.raises(BadBody):
        unpacked(body, encoding, 1000)


def test_a_body_that_stops_and_one_that_is_slow_have_a_deadline() -> None:
    assert body_deadline(started=0, last=5, received=10**9, seconds=60) == 65
    assert body_deadline(started=0, last=59, received=1024, seconds=60) == 61


@pytest.mark.parametrize(
    "chunk", [b"1\r\nx\r\n", b"1;" + b"y" * 900 + b"\r\nx\r\n"], ids=["tiny", "extensions"]
)
def test_chunks_may_not_be_more_framing_than_body(chunk: bytes) -> None:
    number = 2 * MOST_FRAMING_BYTES // len(chunk)
    with pytest.raises(BadBody, match="chunks"):
        read(chunk * number, most=10_000_000)


def test_many_chunks_of_a_usual_size_are_read() -> None:
    body, _ = read(b"10\r\n0123456789abcdef\r\n" * 50_000 + b"0\r\n\r\n", most=1_000_000)
    assert len(body) == 800_000


def test_a_body_has_few_members_of_gzip() -> None:
    assert unpacked(gzip.compress(b"a") * MOST_MEMBERS, "gzip", 1000) == b"a" * MOST_MEMBERS
    with pytest.raises(BadBody):
        unpacked(gzip.compress(b"") * (MOST_MEMBERS + 1), "gzip", 1000)
