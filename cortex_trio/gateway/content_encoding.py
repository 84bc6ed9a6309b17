"""Unpacks bodies that a server has compressed although `identity` was asked for. Pure, incremental and bounded.

Servers and proxies send error pages packed, or name encodings that do not exist on bodies that can be read ("none",
"utf-8", ""). RFC 9110 §8.4.1 has the known ones; Brotli and Zstandard need a module that is used if it is installed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, Protocol, final

PIECE = 1 << 20
"""Bytes that are unpacked at once: a few kilobytes may unpack to gigabytes."""


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
        self._is_text: bool | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` unpacks to, in pieces of at most 1 MiB. Raises BadEncoding."""
        if self._is_text is None and data:
            # gzip, zlib and Zstandard have a byte above 127 among the first four.
            self._is_text = len(data) >= 4 and data[:64].isascii() and data[:1] in b"{[<: \r\n\tdei"
        return iter((data,)) if self._is_text else self._format.feed(data)


@final
class _Zlib:
    """gzip and deflate; deflate comes with a zlib header, or without one from old servers (RFC 9110 §8.4.1.2)."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._object: Any = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        if not data:
            return
        if self._object is None:
            raw = not self._gzip and data[0] & 0x0F != 8
            self._object = zlib.decompressobj(-15 if raw else 47 if self._gzip else 15)
        while data and not self._object.eof:
            try:
                piece = self._object.decompress(data, PIECE)
            except zlib.error as error:
                raise BadEncoding(f"not {'gzip' if self._gzip else 'deflate'}: {error}") from error
            data = self._object.unconsumed_tail
            if piece:
                yield piece


@final
class _Module:
    """Brotli and Zstandard, through the module that is installed."""

    def __init__(self, name: str, modules: Mapping[str, Callable[[Any], Any]]) -> None:
        self._name = name
        for module, make in modules.items():
            try:
                self._object = make(import_module(module))
            except ImportError:
                continue
            return
        raise BadEncoding(f"packed with {name}, which no installed module unpacks ({', '.join(modules)})")

    def feed(self, data: bytes) -> Iterator[bytes]:
        # These modules have no bound; an input piece is small, and 64 KiB unpack to some tens of megabytes at worst.
        for start in range(0, len(data), 1024):
            try:
                piece = self._unpack(data[start : start + 1024])
            except Exception as error:  # each module has its own
                raise BadEncoding(f"not {self._name}: {error}") from error
            if piece:
                yield piece

    def _unpack(self, data: bytes) -> bytes:
        unpack = getattr(self._object, "decompress", None) or self._object.process
        return bytes(unpack(data))


_FORMATS: Mapping[str, Callable[[], _Format]] = {
    "gzip": lambda: _Zlib(gzip=True),
    "x-gzip": lambda: _Zlib(gzip=True),
    "deflate": lambda: _Zlib(gzip=False),
    "br": lambda: _Module(
        "br", {"brotli": lambda m: m.Decompressor(), "brotlicffi": lambda m: m.Decompressor()}
    ),
    "zstd": lambda: _Module(
        "zstd",
        {
            "compression.zstd": lambda m: m.ZstdDecompressor(),
            "backports.zstd": lambda m: m.ZstdDecompressor(),
            "zstandard": lambda m: m.ZstdDecompressor().decompressobj(),
        },
    ),
}
