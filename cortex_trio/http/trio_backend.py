"""The network of this machine: name resolution, happy eyeballs, TLS for secure origins. Knows no HTTP."""

from __future__ import annotations

import errno
import os
import socket
from typing import final

import trio

from .causes import causes, explain
from .network import MakeSSLContext, NetworkStream, Origin, connect_error
from .tcp import TCPStream
from .tls import TLSStream


@final
class TrioBackend:
    """The network of this machine: a `NetworkBackend`."""

    def __init__(self, make_ssl_context: MakeSSLContext) -> None:
        self._make_ssl_context = make_ssl_context

    async def connect(self, origin: Origin, timeout: float) -> NetworkStream:
        try:
            with trio.fail_after(timeout):
                plain = TCPStream(await trio.open_tcp_stream(origin.host, origin.port))
                return await self._start_tls(plain, origin.host) if origin.secure else plain
        except trio.TooSlowError as error:
            raise connect_error(origin, f"timed out after {timeout:g} s") from error
        except trio.BrokenResourceError as error:  # in the TLS handshake
            raise connect_error(origin, f"{error} in the TLS handshake") from (error.__cause__ or error)
        except (
            OSError,
            ValueError,
        ) as error:  # ValueError: a host that IDNA or TLS rejects, or a bad CA file
            cause = _cause(error)
            raise connect_error(origin, explain(cause)) from cause

    async def _start_tls(self, plain: TCPStream, host: str) -> NetworkStream:
        try:
            secure = TLSStream(plain, self._make_ssl_context(), host)
            await secure.handshake()
        except BaseException:
            plain.close_now()
            raise
        return secure


def _cause(error: Exception) -> BaseException:
    """Return what the system reported: one error if all addresses failed alike, otherwise the group of them."""
    if isinstance(error, socket.gaierror) and not _can_open_a_socket():
        # The resolver had no descriptor either; what it reports then differs from system to system.
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
