"""Bodies that a server has compressed: every encoding, every cut, and no more memory than is asked for."""

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_trio.http.content_encoding import PIECE_BYTES, DecodingError, Decompressor, decompressor_for

TEXT = b'{"error": {"message": "Rate limit reached for gpt-4", "type": "requests"}}' * 3
MEGABYTE = 1 << 20


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def installed(*modules: str) -> Any:
    """The first of `modules` that is installed; skips the test if there is none."""
    for name in modules:
        try:
            return import_module(name)
        except ImportError:
            continue
    pytest.skip(f"none of {', '.join(modules)} is installed")


def brotli(data: bytes) -> bytes:
    return bytes(installed("brotli", "brotlicffi").compress(data))


def zstd(data: bytes) -> bytes:
    return bytes(installed("compression.zstd", "backports.zstd", "zstandard").compress(data))


Compress = Callable[[bytes], bytes]
COMPRESSED = [
    pytest.param("gzip", gzip.compress, id="gzip"),
    pytest.param("x-gzip", gzip.compress, id="x-gzip"),
    pytest.param("GZip", gzip.compress, id="upper case"),
    pytest.param("identity, gzip", gzip.compress, id="identity and gzip"),
    pytest.param(" gzip ,", gzip.compress, id="blanks and an empty name"),
    pytest.param("deflate", zlib.compress, id="deflate with a zlib header"),
    pytest.param("deflate", raw_deflate, id="raw deflate"),
    pytest.param("gzip", zlib.compress, id="zlib that is called gzip"),
    pytest.param("br", brotli, id="br"),
    pytest.param("zstd", zstd, id="zstd"),
]
compressed = pytest.mark.parametrize(("name", "compress"), COMPRESSED)


def decompressor(name: str) -> Decompressor:
    found = decompressor_for(name)
    assert found is not None
    return found


def decompress(name: str, pieces: Iterable[bytes]) -> bytes:
    using = decompressor(name)
    return b"".join(piece for data in pieces for piece in using.feed(data))


# ------------------------------------------------------------------ names


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        " ",
        ",",
        "identity",
        "identity, identity",
        "none",
        "utf-8",
        "UTF-8",
        "text",
        "compress",
        "x-custom",
    ],
)
def test_with_no_name_or_an_unknown_one_the_body_is_read_as_it_is(name: str | None) -> None:
    assert decompressor_for(name) is None


@pytest.mark.parametrize("name", ["gzip, gzip", "gzip, br", "deflate, gzip"])
def test_a_body_that_is_compressed_twice_is_an_error_that_says_so(name: str) -> None:
    with pytest.raises(DecodingError, match="compressed 2 times"):
        decompressor_for(name)


@pytest.mark.parametrize(
    ("name", "modules"),
    [("br", ("brotli", "brotlicffi")), ("zstd", ("compression.zstd", "backports.zstd", "zstandard"))],
)
def test_without_a_module_the_error_names_the_ones_to_install(name: str, modules: tuple[str, ...]) -> None:
    for module in modules:
        try:
            import_module(module)
        except ImportError:
            continue
        pytest.skip(f"{module} is installed")
    with pytest.raises(
        DecodingError, match=f"compressed with {name}; none of its modules is installed"
    ) as caught:
        decompressor_for(name)
    assert all(module in str(caught.value) for module in modules)


# ------------------------------------------------------------------ what comes out


@compressed
def test_a_compressed_body_is_decompressed(name: str, compress: Compress) -> None:
    assert decompress(name, [compress(TEXT)]) == TEXT


@compressed
def test_a_compressed_body_is_decompressed_wherever_it_is_cut(name: str, compress: Compress) -> None:
    body = compress(TEXT)
    for cut in range(len(body) + 1):
        assert decompress(name, [body[:cut], body[cut:]]) == TEXT, cut
    assert decompress(name, [body[at : at + 1] for at in range(len(body))]) == TEXT


@compressed
def test_a_large_body_is_decompressed_whole(name: str, compress: Compress) -> None:
    """Also what stands at the end of a piece: an decompressor may hold some output back when its limit is reached."""
    draw = random.Random(7)
    for size in (PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 17):
        data = draw.randbytes(1000) + b"a" * (size - 1000)
        assert decompress(name, [compress(data)]) == data


@compressed
def test_of_a_body_that_was_cut_as_much_as_came_is_decompressed(name: str, compress: Compress) -> None:
    data = random.Random(5).randbytes(200_000)
    body = compress(data)
    begun = decompress(name, [body[: len(body) // 2]])
    assert data.startswith(begun)


@compressed
@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        b"<html><body>502 Bad Gateway</body></html>",
        b'data: {"choices": []}\n\n',
        b"event: error\ndata: {}\n\n",
        b"id: 7\ndata: {}\n\n",
        b": ping\n\n",
        b"\r\n  {}  ",
        b"[]  ",
        '{"error": "überlastet, später"}'.encode(),
        '{"é'.encode() + b'": 1}',
    ],
    ids=lambda text: repr(text[:12]),
)
def test_text_with_a_wrong_content_encoding_is_read_as_text_however_it_is_cut(
    name: str, compress: Compress, text: bytes
) -> None:
    compress(b"")  # skips where there is no module
    for cut in range(min(len(text), 80) + 1):
        assert decompress(name, [text[:cut], text[cut:]]) == text, cut
    assert decompress(name, [text[at : at + 1] for at in range(len(text))]) == text


@compressed
def test_a_body_that_is_neither_text_nor_compressed_is_an_error(name: str, compress: Compress) -> None:
    compress(b"")
    noise = b"\xff\xfe" + random.Random(3).randbytes(500)
    with pytest.raises(DecodingError):
        decompress(name, [noise])


@pytest.mark.parametrize("padding", [b"", b"\0" * 100, b"behind the end"])
def test_bytes_after_a_gzip_body_are_no_part_of_it(padding: bytes) -> None:
    body = gzip.compress(TEXT) + padding
    assert decompress("gzip", [body]) == TEXT
    assert decompress("gzip", [body[at : at + 1] for at in range(len(body))]) == TEXT


def test_gzip_in_several_members_is_one_body() -> None:
    """RFC 1952 §2.2: a file is a series of members. Nothing of an answer may be lost without an error."""
    body = gzip.compress(TEXT) + gzip.compress(b"and more")
    for cut in range(len(body)):
        assert decompress("gzip", [body[:cut], body[cut:]]) == TEXT + b"and more", cut


@compressed
def test_an_empty_body_decompresses_to_nothing(name: str, compress: Compress) -> None:
    compress(b"")
    assert decompress(name, []) == decompress(name, [b"", b""]) == b""
    assert decompress(name, [compress(b"")]) == b""


@given(
    st.binary(max_size=200), st.lists(st.integers(0, 250), max_size=5), st.sampled_from(["gzip", "deflate"])
)
def test_any_bytes_arrive_unchanged_at_any_cuts(data: bytes, cuts: list[int], name: str) -> None:
    body = gzip.compress(data) if name == "gzip" else zlib.compress(data)
    ends = [*sorted(cuts), len(body)]
    starts = [0, *ends[:-1]]
    assert decompress(name, [body[start:end] for start, end in zip(starts, ends, strict=True)]) == data


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate"]))
def test_any_bytes_at_all_are_decompressed_or_refused(data: bytes, name: str) -> None:
    with suppress(DecodingError):  # and nothing else is raised
        assert len(decompress(name, [data])) < 1_000_000


# ------------------------------------------------------------------ bombs


@pytest.mark.slow
@compressed
def test_a_bomb_is_decompressed_piece_by_piece(name: str, compress: Compress) -> None:
    """Some hundred bytes may decompress to gigabytes: a reader can stop after the first piece."""
    bomb = compress(b"\0" * (64 * MEGABYTE))
    tracemalloc.start()
    try:
        pieces = decompressor(name).feed(bomb)
        first = next(iter(pieces))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0 < len(first) <= 16 * MEGABYTE
    assert peak < 48 * MEGABYTE
