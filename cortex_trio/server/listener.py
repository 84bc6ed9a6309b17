"""Listening sockets: opens them, and accepts clients for as long as the server runs. Knows no HTTP.

The sockets are opened before the tree and survive a crash of the listener: clients that connect meanwhile wait in the
backlog.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence

import trio

log = logging.getLogger("cortex_trio.server")

BACKLOG = 4096
"""Clients that may wait to be accepted; the system lowers it to its own limit."""
RETRY_SECONDS = 0.1
"""After the process has run out of file descriptors: connections must end first."""
ONE_CLIENT_ERRORS = frozenset(
    {errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETUNREACH}
)
"""Errors that `accept` has for the client that it returns, see accept(2)."""


def listen(host: str, port: int) -> Sequence[socket.socket]:
    """Open the listening sockets of a host: one for each of its addresses, all with one port.

    Args:
        host: a name or an address; empty: all interfaces.
        port: 0: one that is free.

    Raises:
        OSError: the address cannot be used, or the port is taken.
    """
    found = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
    )
    addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses:
            place = (address[0], port, *address[2:])
            try:
                sockets.append(_listen_on(family, place))
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


def _listen_on(family: int, address: tuple[str | int, ...]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


async def accept_clients(
    listener: trio.SocketListener, start: Callable[[trio.SocketStream], Awaitable[None]]
) -> None:
    """Accept clients until cancelled.

    Args:
        listener: of one socket.
        start: takes a client over, and closes it if that fails.
    """
    while True:
        try:
            client = await listener.accept()
        except OSError as error:
            if error.errno not in ONE_CLIENT_ERRORS:
                log.warning("cannot accept a connection: %s", error.strerror or error)
                await trio.sleep(RETRY_SECONDS)
        else:
            await start(client)
