"""A connection in memory as a stream of httpcore, for the network backends of the raw test servers."""

from typing import Protocol

import httpcore
import trio


class End(Protocol):
    """The client's end of a connection in memory."""

    async def receive_some(self, max_bytes: int, /) -> bytes: ...

    async def send_all(self, data: bytes, /) -> None: ...

    async def aclose(self) -> None: ...

    @property
    def is_readable(self) -> bool: ...


class MemoryStream(httpcore.AsyncNetworkStream):
    """`end` with the methods and errors of httpcore."""

    def __init__(self, end: End) -> None:
        self._end = end

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return await self._end.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            await self._end.send_all(buffer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        await self._end.aclose()

    def get_extra_info(self, info: str) -> object:
        return self._end.is_readable if info == "is_readable" else None
