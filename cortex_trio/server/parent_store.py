"""The store of a server with several processes: the memory of the supervising process, over a Unix socket.

The data and the socket are made before the tree, so a crash of the task that serves them loses nothing. The socket is
in a folder that only this user can open. Knows no HTTP, and not what is stored.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self, final

import trio

from ..cluster import MemoryStore, serve_link
from ..otp import Backoff, Child, Ref, Task
from ..otp.nursery import open_flat_nursery
from .listener import accept_clients

BACKLOG = 128
"""Links that may wait to be accepted."""


@final
class ParentStore:
    """A MemoryStore that other processes reach by `path`. Use it in a `with` block, which removes the socket.

    Attributes:
        path: of the socket.
    """

    def __init__(self) -> None:
        self._store = MemoryStore()
        self._folder = tempfile.mkdtemp(prefix="cortex-")  # its mode is 0700
        self.path = str(Path(self._folder) / "store")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def listen(self) -> None:
        """Open the socket: from now on links can be opened.

        Raises:
            OSError: the path is too long for a socket; the variable TMPDIR has it.
        """
        self._socket.bind(self.path)
        self._socket.listen(BACKLOG)

    def child(self) -> Child[Task[None]]:
        """Return the task that serves the links. Call `listen` first."""
        return Child(ref=Ref("store"), start=lambda: Task(self._serve), backoff=Backoff(first=0.05, most=1.0))

    async def _serve(self) -> None:
        async with open_flat_nursery() as nursery:

            async def start(stream: trio.SocketStream) -> None:
                nursery.start_soon(serve_link, self._store, stream)

            await accept_clients(self._socket, start)
