"""Unpacks bodies that a server has compressed although `identity` was asked for. Pure, incremental and bounded.

Servers and proxies send error pages packed, or name encodings that do not exist on bodies that can be read ("none",
"utf-8", ""). RFC 9110 §8.4.1 has the known ones; Brotli and Zstandard need a module that is used if it is installed.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, Protocol, final

PIECE = 1 << 20
"""Bytes that are unpacked at once: a few kilobytes may unpack to gigabytes."""
ENOUGH_TO_TELL = 4
"""Bytes that show whether a body is packed, however it is cut. A text that is shorter explains nothing."""
TEXT_BEGINS = frozenset(bytes([byte]) for byte in b"{[<: \r\n\tdei")
"""How JSON, HTML and server-sent events begin."""

Unpack = Callable[[bytes], Iterator[bytes]]


class BadEncoding(ValueError):
    """The body is not what its Content-Encoding says, or there is no module to unpack it with."""


class _Format(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]: ...


def unpacker_for(content_encoding: str | None) -> Unpacker | None:
    """Return what unpacks a body with this header; None if nothing is to be done.

    Raises BadEncoding for Brotli and Zstandard without their modules. An unknown name is no reason to refuse a body:
    whether it can be read is seen when it is read.
    """
    names = [name.strip().lower() for name in (content_encoding or "").split(",")]
    packed = [name for name in names if name in _FORMATS]
    if not packed:
        return None
    if len(packed) > 1:
        raise BadEncoding(f"packed {len(packed)} times")
    return Unpacker(_FORMATS[packed[0]]())


@final
class Unpacker:
    """Unpacks one body. A body that begins with text is not packed, whatever its header says."""

    def __init__(self, format: _Format) -> None:
        self._format = format
        self._begin = b""  # what came while it was not known whether it is text
        self._is_text: bool | None = None  # None: too little has come to tell

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` unpacks to, in pieces of about 1 MiB. Raises BadEncoding."""
        if self._is_text is None:
            self._begin = data = self._begin + data
            if len(data) < ENOUGH_TO_TELL:
                return iter(())
            self._is_text, self._begin = _is_text(data[:64]), b""
        return iter((data,)) if self._is_text else self._format.feed(data)


def _is_text(begin: bytes) -> bool:
    """gzip, zlib and Zstandard have a byte among the first four that begins no character of UTF-8, or is no text."""
    if begin[:1] not in TEXT_BEGINS:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(begin)  # it may end in the middle of a character
    except UnicodeDecodeError:
        return False
    return True


@final
class _Zlib:
    """gzip and deflate; deflate comes with a zlib header, or without one from old servers (RFC 9110 §8.4.1.2)."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._object: Any = None
        self._members = 0  # that ended: a gzip body may have several (RFC 1952 §2.2)
        self._is_over = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        piece = b""
        # zlib may keep some output although it has read all input, if it had no room for more.
        while (data or len(piece) == PIECE) and not self._is_over:
            if self._object is None:
                raw = not self._gzip and data[0] & 0x0F != 8
                self._object = zlib.decompressobj(-15 if raw else 47 if self._gzip else 15)
            try:
                piece = self._object.decompress(data, PIECE)
            except zlib.error as error:
                if self._members:  # padding behind the last member
                    self._is_over = True
                    return
                raise BadEncoding(f"not {'gzip' if self._gzip else 'deflate'}: {error}") from error
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
    """Brotli and Zstandard, through the module that is installed."""

    def __init__(self, name: str, modules: Mapping[str, Callable[[Any], Unpack]]) -> None:
        self._name = name
        for module, make in modules.items():
            try:
                self._unpack = make(import_module(module))
            except ImportError:
                continue
            return
        raise BadEncoding(f"packed with {name}, which no installed module unpacks ({', '.join(modules)})")

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            for piece in self._unpack(data):
                if piece:
                    yield piece
        except Exception as error:  # each module has its own
            raise BadEncoding(f"not {self._name}: {error}") from error


def _brotli(module: Any) -> Unpack:
    """Since 1.2 these modules can stop at a size. Before, no more than some bytes are given to them at once: four
    bytes may stand for 16 MiB, the longest copy there is (RFC 7932 §5)."""
    unpacker = module.Decompressor()

    def bounded(data: bytes) -> Iterator[bytes]:
        while not unpacker.is_finished():
            piece = unpacker.process(data, output_buffer_limit=PIECE)
            if not piece and unpacker.can_accept_more_data():
                return  # it may hold output back without saying so
            yield piece
            data = b""

    def in_small_steps(data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), 4):
            yield unpacker.process(data[start : start + 4])

    return bounded if hasattr(unpacker, "can_accept_more_data") else in_small_steps


def _zstd(module: Any) -> Unpack:
    unpacker = module.ZstdDecompressor()

    def bounded(data: bytes) -> Iterator[bytes]:
        while not unpacker.eof and (data or not unpacker.needs_input):
            yield unpacker.decompress(data, PIECE)
            data = b""

    return bounded


def _zstandard(module: Any) -> Unpack:
    """This one has no bound: four bytes may stand for a block of 128 KiB (RFC 8878 §3.1.1.2)."""
    unpacker = module.ZstdDecompressor().decompressobj()

    def in_small_steps(data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), 64):
            if unpacker.eof:
                return
            yield unpacker.decompress(data[start : start + 64])

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
