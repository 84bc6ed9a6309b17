"""Decompresses bodies that a server has compressed although the request asked for `identity`. Pure and bounded.

Servers and proxies compress error pages, or name encodings that do not exist ("none", "utf-8", "") on bodies that are
plain text. RFC 9110 §8.4.1 lists the encodings. Brotli and Zstandard need a module, which is used if it is installed.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, Protocol, final

PIECE_BYTES = 1 << 20
"""Bytes that are decompressed at once: a few kilobytes can decompress to gigabytes."""
MIN_SAMPLE_BYTES = 4
"""Bytes that show whether a body is compressed. A shorter text explains nothing and is dropped."""
TEXT_FIRST_BYTES = frozenset(bytes([byte]) for byte in b"{[<: \r\n\tdei")
"""First bytes of JSON, HTML and server-sent events."""

Decompress = Callable[[bytes], Iterator[bytes]]


class DecodingError(ValueError):
    """The body does not match its Content-Encoding, or no installed module can decompress it."""


class _Format(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]: ...


def decompressor_for(content_encoding: str | None) -> Decompressor | None:
    """Return a decompressor for a body with this Content-Encoding; None if the body is not compressed.

    An unknown encoding is not an error: the body may be plain text.

    Raises:
        DecodingError: the module for Brotli or Zstandard is not installed, or the body is compressed more than once.
    """
    names = [name.strip().lower() for name in (content_encoding or "").split(",")]
    compressed = [name for name in names if name in _FORMATS]
    if not compressed:
        return None
    if len(compressed) > 1:
        raise DecodingError(f"compressed {len(compressed)} times")
    return Decompressor(_FORMATS[compressed[0]]())


@final
class Decompressor:
    """Decompresses one body. A body that begins with text is returned as it is, whatever its header says."""

    def __init__(self, format: _Format) -> None:
        self._format = format
        self._sample = b""  # the first bytes, while `_is_text` is None
        self._is_text: bool | None = None  # None: too few bytes have arrived to decide

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the decompressed bytes of `data`, in pieces of about 1 MiB.

        Raises:
            DecodingError: the body does not match its Content-Encoding. Raised while the pieces are read.
        """
        if self._is_text is None:
            self._sample = data = self._sample + data
            if len(data) < MIN_SAMPLE_BYTES:
                return iter(())
            self._is_text, self._sample = _is_text(data[:64]), b""
        return iter((data,)) if self._is_text else self._format.feed(data)


def _is_text(sample: bytes) -> bool:
    """Whether a body is text. gzip, zlib and Zstandard have a byte among the first four that is not valid UTF-8."""
    if sample[:1] not in TEXT_FIRST_BYTES:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # it may end inside a character
    except UnicodeDecodeError:
        return False
    return True


@final
class _Zlib:
    """gzip and deflate; deflate comes with a zlib header, or without one from old servers (RFC 9110 §8.4.1.2)."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._object: Any = None
        self._members = 0  # complete ones; a gzip body may have several (RFC 1952 §2.2)
        self._is_over = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        piece = b""
        # zlib may keep output back after it has read all input, when the piece was full.
        while (data or len(piece) == PIECE_BYTES) and not self._is_over:
            if self._object is None:
                raw = not self._gzip and data[0] & 0x0F != 8
                self._object = zlib.decompressobj(-15 if raw else 47 if self._gzip else 15)
            try:
                piece = self._object.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                if self._members:  # padding after the last member
                    self._is_over = True
                    return
                raise DecodingError(f"not {'gzip' if self._gzip else 'deflate'}: {error}") from error
            data = self._object.unconsumed_tail
            if self._object.eof:
                data, self._object = self._object.unused_data, None
                self._members += 1
                self._is_over = not self._gzip
            if piece:
                yield piece
                piece = piece if self._object is not None else b""


@final
class _Module:
    """Brotli or Zstandard, by the first of `modules` that is installed."""

    def __init__(self, name: str, modules: Mapping[str, Callable[[Any], Decompress]]) -> None:
        self._name = name
        for module, make in modules.items():
            try:
                self._decompress = make(import_module(module))
            except ImportError:
                continue
            return
        raise DecodingError(
            f"compressed with {name}; none of its modules is installed ({', '.join(modules)})"
        )

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            for piece in self._decompress(data):
                if piece:
                    yield piece
        except Exception as error:  # each module raises errors of its own
            raise DecodingError(f"not {self._name}: {error}") from error


def _brotli(module: Any) -> Decompress:
    """From version 1.2 these modules can limit their output. Older ones are given four bytes at a time, which
    decompress to 16 MiB at most, the longest copy that Brotli has (RFC 7932 §5)."""
    decompressor = module.Decompressor()

    def bounded(data: bytes) -> Iterator[bytes]:
        while not decompressor.is_finished():
            piece = decompressor.process(data, output_buffer_limit=PIECE_BYTES)
            if not piece and decompressor.can_accept_more_data():
                return  # the module may keep output back
            yield piece
            data = b""

    def in_small_steps(data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), 4):
            yield decompressor.process(data[start : start + 4])

    return bounded if hasattr(decompressor, "can_accept_more_data") else in_small_steps


def _zstd(module: Any) -> Decompress:
    decompressor = module.ZstdDecompressor()

    def bounded(data: bytes) -> Iterator[bytes]:
        while not decompressor.eof and (data or not decompressor.needs_input):
            yield decompressor.decompress(data, PIECE_BYTES)
            data = b""

    return bounded


def _zstandard(module: Any) -> Decompress:
    """This module cannot limit its output: four bytes may decompress to a block of 128 KiB (RFC 8878 §3.1.1.2)."""
    decompressor = module.ZstdDecompressor().decompressobj()

    def in_small_steps(data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), 64):
            if decompressor.eof:
                return
            yield decompressor.decompress(data[start : start + 64])

    return in_small_steps


_FORMATS: Mapping[str, Callable[[], _Format]] = {
    "gzip": lambda: _Zlib(gzip=True),
    "x-gzip": lambda: _Zlib(gzip=True),
    "deflate": lambda: _Zlib(gzip=False),
    "br": lambda: _Module("br", {"brotli": _brotli, "brotlicffi": _brotli}),
    "zstd": lambda: _Module(
        "zstd", {"compression.zstd": _zstd, "backports.zstd": _zstd, "zstandard": _zstandard}
    ),
}
