"""New connections: TCP by happy eyeballs, TLS over it, and the cause if there is none. Knows no HTTP."""

from __future__ import annotations

import errno
import os
import socket
from typing import final

import trio

from .causes import causes, explain
from .sockets import Origin, PlainSocket, Socket, SslContext, connect_error
from .tls import SecureSocket


@final
class TrioNetwork:
    """The network of this machine."""

    def __init__(self, ssl_context: SslContext) -> None:
        self._ssl_context = ssl_context

    async def connect(self, origin: Origin, timeout: float) -> Socket:
        try:
            with trio.fail_after(timeout):
                plain = PlainSocket(await trio.open_tcp_stream(origin.host, origin.port))
                return await self._start_tls(plain, origin.host) if origin.secure else plain
        except trio.TooSlowError as error:
            raise connect_error(origin, f"timed out after {timeout:g} s") from error
        except trio.BrokenResourceError as error:  # in the TLS handshake
            raise connect_error(origin, f"{error} in the TLS handshake") from (error.__cause__ or error)
        except (
            OSError,
            ValueError,
        ) as error:  # ValueError: a name that IDNA or TLS cannot spell, or a bad CA file
            cause = _cause(error)
            raise connect_error(origin, explain(cause)) from cause

    async def _start_tls(self, plain: PlainSocket, host: str) -> Socket:
        try:
            secure = SecureSocket(plain, self._ssl_context(), host)
            await secure.handshake()
        except BaseException:
            plain.abort()
            raise
        return secure


def _cause(error: Exception) -> BaseException:
    """What the system said: one error if all addresses failed alike, otherwise the group of them."""
    if isinstance(error, socket.gaierror) and not _can_open_a_socket():
        # The resolver had no descriptor either; what it says about that differs from system to system.
        shortage = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        shortage.__cause__ = error
        return shortage
    found = list(causes(error))
    alike = len({getattr(cause, "errno", None) for cause in found}) == 1
    return found[0] if alike else error.__cause__ or error


def _can_open_a_socket() -> bool:
    try:
        socket.socket().close()
    except OSError:
        return False
    return True
