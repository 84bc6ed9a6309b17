"""A network backend of httpcore in place of this machine's network, such as the simulator's. Knows no HTTP."""

from __future__ import annotations

from typing import final

import httpcore
import trio

from .network import CLOSE_SECONDS, EMPTY, RECEIVE_BYTES, MakeSSLContext, NetworkStream, Origin, connect_error

WRITE_BYTES = 16 * 1024
"""Bytes of one write. Less than any buffer between here and the server, so a write does not wait for the server."""


@final
class HttpcoreBackend:
    """An `httpcore.AsyncNetworkBackend` as a `NetworkBackend`."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend, make_ssl_context: MakeSSLContext) -> None:
        self._backend = backend
        self._make_ssl_context = make_ssl_context

    async def connect(self, origin: Origin, timeout: float) -> NetworkStream:
        try:
            with trio.fail_after(timeout):
                stream = await self._backend.connect_tcp(origin.host, origin.port)
                if origin.secure:
                    stream = await stream.start_tls(self._make_ssl_context(), origin.host)
        except trio.TooSlowError as error:
            raise connect_error(origin, f"timed out after {timeout:g} s") from error
        except httpcore.ConnectTimeout as error:
            raise connect_error(origin, "timed out") from error
        except httpcore.ConnectError as error:
            raise connect_error(origin, str(error) or "refused by the network backend") from error
        return HttpcoreStream(stream)


@final
class HttpcoreStream:
    """An `httpcore.AsyncNetworkStream` as a `NetworkStream`.

    It cannot say how many bytes it would take without waiting. A request of up to WRITE_BYTES is therefore written at
    once, a longer one while the response is read. A cancelled write breaks the stream.
    """

    can_close_now = False

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._unsent = EMPTY
        self._is_writing = False  # stays True after a cancelled write

    @property
    def is_sending(self) -> bool:
        return bool(self._unsent)

    async def send(self, data: memoryview) -> None:
        self._unsent = data
        if len(data) <= WRITE_BYTES:
            await self.finish_sending()

    async def finish_sending(self) -> None:
        if self._is_writing:
            raise trio.BrokenResourceError("a write was cancelled; how many bytes were sent is not known")
        while self._unsent:
            await self._write(self._unsent[:WRITE_BYTES])
            self._unsent = self._unsent[WRITE_BYTES:]

    async def _write(self, data: memoryview) -> None:
        self._is_writing = True
        try:
            await self._stream.write(bytes(data))
        except httpcore.NetworkError as error:
            self._unsent = EMPTY
            raise trio.BrokenResourceError(str(error)) from error
        self._is_writing = False

    async def receive_some(self) -> bytes:
        try:
            return await self._stream.read(RECEIVE_BYTES)
        except httpcore.NetworkError as error:
            raise trio.BrokenResourceError(str(error)) from error

    def is_readable(self) -> bool:
        return bool(self._stream.get_extra_info("is_readable"))

    def close_now(self) -> None:
        raise NotImplementedError("a stream of a network backend can only be closed with `aclose`")

    async def aclose(self) -> None:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._stream.aclose()
