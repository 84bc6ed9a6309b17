"""A nursery of ours must not show in what a user catches: neither around a server nor around a tree."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_flat_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery from which one exception comes out as it went in; several at once stay a group."""
    raised: list[BaseException] = []
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        raised.extend(group.exceptions)
        if len(raised) > 1:
            raise
    if raised:
        raise raised.pop()  # not from a variable: that would hold it in this frame, and it holds this frame
