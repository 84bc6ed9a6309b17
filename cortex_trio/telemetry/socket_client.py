"""Reads the snapshots of a running program from its socket.

async with open_snapshots(path) as snapshots:
    while True:
        show(await snapshots.receive())
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import final

import trio

from .snapshot import Snapshot
from .snapshot_json import from_json
from .socket_path import find_sockets

MOST_BYTES = 64 * 1024 * 1024
"""Of one line. A snapshot has some hundred bytes for each worker, key and recent attempt."""
ANSWER_SECONDS = 5.0
"""How long `read_snapshot` waits: the first snapshot is sent at once."""


@asynccontextmanager
async def open_snapshots(path: str | os.PathLike[str]) -> AsyncIterator[SnapshotReceiver]:
    """Connect to a socket with snapshots while the block runs.

    Raises:
        OSError: there is no such socket, no program listens on it, or it belongs to another user.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise OSError("this platform has no Unix sockets")
    stream = await trio.open_unix_socket(Path(path))
    try:
        yield SnapshotReceiver(stream)
    finally:
        await trio.aclose_forcefully(stream)


async def read_snapshot(path: str | os.PathLike[str]) -> Snapshot:
    """Return the snapshot of a running program as it is now.

    Raises:
        OSError: as `open_snapshots`; TimeoutError after five seconds without an answer.
        EOFError: the program has ended.
        ValueError: this is no socket with snapshots.
    """
    with trio.move_on_after(ANSWER_SECONDS):
        async with open_snapshots(path) as snapshots:
            return await snapshots.receive()
    raise TimeoutError(f"{os.fspath(path)} sent no snapshot for {ANSWER_SECONDS:g} s")


async def find_running(environ: Mapping[str, str]) -> tuple[Path, Snapshot] | None:
    """Return the socket and a snapshot of the newest program of this user that was opened with `observe=True`.

    None: no such program is running. Sockets that programs left behind when they were killed are skipped.
    """
    for path in find_sockets(environ):
        try:
            return path, await read_snapshot(path)
        except (OSError, EOFError, ValueError):
            continue
    return None


@final
class SnapshotReceiver:
    """A connection to a running program."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def receive(self) -> Snapshot:
        """Wait for the next snapshot. Cancelling loses nothing.

        Raises:
            EOFError: the program has ended, or has disconnected this client.
            ValueError: what was received is no snapshot.
        """
        await trio.lowlevel.checkpoint()
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > MOST_BYTES:
                raise ValueError(f"received a line of more than {MOST_BYTES} bytes: this is no snapshot")
            try:
                data = await self._stream.receive_some()
            except trio.BrokenResourceError as error:
                raise EOFError("the connection was lost") from error
            if not data:
                raise EOFError("the program has ended, or serves other clients already")
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return _snapshot_from(line)


def _snapshot_from(line: bytes) -> Snapshot:
    from cattrs import BaseValidationError

    try:
        return from_json(line)
    except (ValueError, BaseValidationError) as error:
        raise ValueError("what was received is no snapshot of cortex_trio") from error
