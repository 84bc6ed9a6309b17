"""Listening sockets: opens them, and accepts clients for as long as the server runs. Knows no HTTP.

The sockets are opened before the tree and survive a crash of the listener: clients that connect meanwhile wait in the
backlog.
"""

from __future__ import annotations

import errno
import logging
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence

import trio

log = logging.getLogger("cortex_trio.server")

BACKLOG = 4096
"""Clients that may wait to be accepted; the system lowers it to its own limit."""
RETRY_SECONDS = 0.1
"""After the process has run out of file descriptors: connections must end first."""
SPARE_SECONDS = 0.05
"""After which a client is accepted in place of another process that has not: it is busy, hangs, or has died."""
MOST_AT_ONCE = 64
"""Clients that are accepted in place of another process before the next pause."""
ONE_CLIENT_ERRORS = frozenset(
    getattr(errno, name)
    for name in (
        *("ECONNABORTED", "ECONNRESET", "EPERM", "EPROTO", "ENOPROTOOPT", "EOPNOTSUPP", "ETIMEDOUT"),
        *("EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENONET"),
    )
    if hasattr(errno, name)
)
"""Errors that `accept` has for the client that it returns, see accept(2). Systems other than Linux have fewer."""


def listen(host: str, port: int, *, is_shared: bool = False) -> Sequence[socket.socket]:
    """Open the listening sockets of a host: one for each of its addresses, all with one port.

    Args:
        host: a name or an address; empty: all interfaces.
        port: 0: one that is free.
        is_shared: other sockets may listen on the same port (SO_REUSEPORT), and the system distributes the clients.

    Raises:
        OSError: the address cannot be used, or the port is taken.
    """
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )
        addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
        for family, address in addresses:
            place = (address[0], port, *address[2:])
            try:
                sockets.append(_listen_on(family, place, is_shared))
            except OSError as error:
                # "localhost" may have an address of IPv6 on a machine without it
                if not sockets and (family, address) == addresses[-1]:
                    raise
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                continue
            port = sockets[0].getsockname()[1]
    except OSError as error:
        for one in sockets:
            one.close()
        raise OSError(error.errno, f"cannot listen on {host or '*'}:{port}: {error.strerror}") from error
    return sockets


def _listen_on(family: int, address: tuple[str | int, ...], is_shared: bool) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        if sys.platform != "win32":  # there two servers could listen on one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def adopt(sockets: Sequence[socket.socket]) -> Sequence[socket.socket]:
    """Return listening sockets that were opened elsewhere, ready for `accept_clients`.

    Raises:
        ValueError: one does not listen.
    """
    for one in sockets:
        trio.SocketListener(trio.socket.from_stdlib_socket(one))  # raises; and the socket blocks no more
    return sockets


async def accept_at_once() -> bool:
    """For `accept_clients`: there is no other process."""
    return False


async def accept_clients(
    listening: socket.socket,
    start: Callable[[trio.SocketStream], Awaitable[None]],
    wait_turn: Callable[[], Awaitable[bool]] = accept_at_once,
) -> None:
    """Accept clients until cancelled.

    Args:
        listening: a socket that does not block.
        start: takes a client over, and closes it if that fails.
        wait_turn: waits while other processes may accept a client; returns whether there was such a time.
    """
    while True:
        await trio.lowlevel.wait_readable(listening)
        for _ in range(MOST_AT_ONCE if await wait_turn() else 1):
            try:
                client, _ = listening.accept()
            except BlockingIOError:
                break  # another process has accepted it
            except OSError as error:
                if error.errno not in ONE_CLIENT_ERRORS:
                    log.warning("cannot accept a connection: %s", error.strerror or error)
                    await trio.sleep(RETRY_SECONDS)
                break
            client.setblocking(False)
            await start(trio.SocketStream(trio.socket.from_stdlib_socket(client)))
