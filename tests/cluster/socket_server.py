"""A MemoryStore that is served on a Unix socket, as the supervising process of `cortex-trio serve` does it."""

import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

from cortex_trio.cluster import MemoryStore, serve_link


@asynccontextmanager
async def serving(
    store: MemoryStore, handler: Callable[[trio.SocketStream], Awaitable[object]] | None = None
) -> AsyncIterator[str]:
    """Serve the store, or what `handler` does, until the block ends; return the path of the socket."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as opened:
        path = f"{folder}/store"
        opened.bind(path)
        opened.listen()
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(opened))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                partial(
                    trio.serve_listeners,
                    handler or partial(serve_link, store),
                    [listener],
                    handler_nursery=nursery,
                )
            )
            yield path
            nursery.cancel_scope.cancel()
