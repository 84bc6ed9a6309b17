"""A Unix socket that serves snapshots to its owner: one JSON object a line, at once and then each second.

Nothing is read from a client. A client that does not read, or that leaves, is disconnected; it delays no other client
and no request of the gateway. `socket_client` is the other side.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Self, final

import trio

from ..failures import ConfigError
from ..otp.nursery import open_flat_nursery
from .snapshot import Snapshot
from .snapshot_json import to_json

log = logging.getLogger("cortex_trio")

INTERVAL_SECONDS = 1.0
MOST_CLIENTS = 8
"""More are disconnected at once: each costs a snapshot a second."""
SEND_SECONDS = 5.0
"""A client that takes longer to read a snapshot is disconnected."""
RETRY_SECONDS = 1.0
"""After a connection could not be accepted, usually because the process has no file descriptor left."""
OWNER_ONLY = 0o600


@final
class SocketServer:
    """Serves snapshots on a socket that `listen` has opened. Outlives its task, which may be started again."""

    def __init__(self, path: Path, listening: socket.socket) -> None:
        self.path = path
        self._file = _identity(path)
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        self._clients = 0

    @classmethod
    def listen(cls, path: Path) -> Self:
        """Listen on a new socket file, readable and writable by its owner only.

        The file of a program that has ended is replaced.

        Raises:
            ConfigError: the file cannot be made, exists and is no socket, or another program listens on it.
        """
        if not hasattr(socket, "AF_UNIX"):
            raise ConfigError("observe", "this platform has no Unix sockets")
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _remove_stale(path)
            listening.bind(os.fspath(path))
            path.chmod(OWNER_ONLY)  # before `listen`: until then no client can connect
            listening.listen(MOST_CLIENTS)
            listening.setblocking(False)
            return cls(path, listening)
        except OSError as error:  # also for a path that is too long
            listening.close()
            raise ConfigError("observe", f"cannot listen on {path}: {error.strerror or error}") from error
        except BaseException:
            listening.close()
            raise

    async def run(self, snapshot: Callable[[], Snapshot]) -> None:
        """Accept clients until cancelled; then all of them are disconnected."""
        async with open_flat_nursery() as nursery:
            while True:
                try:
                    client = await self._listener.accept()
                except OSError as error:
                    log.warning("observe: cannot accept a connection: %s", error)
                    await trio.sleep(RETRY_SECONDS)
                else:
                    nursery.start_soon(self._serve, client, snapshot)

    async def aclose(self) -> None:
        """Stop listening and remove the socket file, if it is still the one that was made here."""
        try:
            await self._listener.aclose()
        finally:
            if self._file == _identity(self.path):
                self.path.unlink(missing_ok=True)

    async def _serve(self, client: trio.SocketStream, snapshot: Callable[[], Snapshot]) -> None:
        self._clients += 1
        try:
            while self._clients <= MOST_CLIENTS:
                line = to_json(snapshot()).encode() + b"\n"
                with trio.move_on_after(SEND_SECONDS) as sending:
                    await client.send_all(line)
                if sending.cancelled_caught:
                    return
                await trio.sleep(INTERVAL_SECONDS)
        except trio.BrokenResourceError:
            return  # the client has left
        finally:
            self._clients -= 1
            await trio.aclose_forcefully(client)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what identifies a file: two files at one path, one after the other, differ in it."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _remove_stale(path: Path) -> None:
    """Remove the socket file of a program that has ended. Raises ConfigError if it may not be removed."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError("observe", f"{path} exists and is no socket: use another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full backlog is an answer as well: a program listens
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass
    raise ConfigError("observe", f"another program listens on {path}: use another path")
