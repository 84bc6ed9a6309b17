"""Why a connection could not be made or broke, in words for the reader of an error. No I/O, no policy."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator, Mapping

OUR_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors of the machine this program runs on. They say nothing about the server."""

_BY_NUMBER: Mapping[int, str] = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset by the server",
    errno.EPIPE: "connection closed by the server",
    errno.ENETUNREACH: "network is unreachable",
    errno.EHOSTUNREACH: "no route to host",
    errno.ETIMEDOUT: "timed out",
    errno.EMFILE: "too many open files in this process",
    errno.ENFILE: "too many open files in this system",
}
_BY_RESOLVER: Mapping[int, str] = {
    number: words
    for name, words in (
        ("EAI_NONAME", "no such host"),
        ("EAI_NODATA", "no such host"),
        ("EAI_AGAIN", "temporary failure in name resolution"),
    )
    if (number := getattr(socket, name, None)) is not None
}
_TLS_HINTS: Mapping[str, str] = {
    "WRONG_VERSION_NUMBER": "; the server may not speak TLS on this port",
    "PACKET_LENGTH_TOO_LONG": "; the server may not speak TLS on this port",
}


def explain(error: BaseException) -> str:
    """The cause of `error`, without the words around it that name no cause.

    Several addresses that failed in different ways are a group, whose causes are listed, each one once.
    """
    return ", ".join(dict.fromkeys(_explain_one(cause) for cause in causes(error)))


def causes(error: BaseException) -> Iterator[BaseException]:
    """What `error` is about: the errors of each address, where trio wraps them in one that names none."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from causes(inner)
    elif isinstance(error, OSError) and error.errno is None and error.__cause__ is not None:
        yield from causes(error.__cause__)
    else:
        yield error


def is_our_shortage(error: BaseException) -> bool:
    """Whether this machine had no descriptor, no memory or no port left for a connection.

    An address that is not available is a port that is not, unless another address failed in another way: then it is
    an IPv6 address on a machine without IPv6.
    """
    numbers = {_system_number(cause) for cause in causes(error)}
    return not numbers.isdisjoint(OUR_SHORTAGES) or numbers == {errno.EADDRNOTAVAIL}


def _system_number(error: BaseException) -> int | None:
    """What the system calls it; the resolver and TLS have numbers of their own, which mean other things."""
    if isinstance(error, OSError) and not isinstance(error, socket.gaierror | ssl.SSLError):
        return error.errno
    return None


def _explain_one(error: BaseException) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"certificate verify failed: {error.verify_message.rstrip('.')}"
        case ssl.SSLEOFError() | ssl.SSLError(reason="UNEXPECTED_EOF_WHILE_READING"):
            return "the server closed the connection in the TLS handshake"
        case ssl.SSLError():
            reason = error.reason or ""
            words = reason.replace("_", " ").lower() or str(error)
            return f"TLS failed: {words}{_TLS_HINTS.get(reason, '')}"
        case socket.gaierror():
            return _BY_RESOLVER.get(error.errno or 0) or f"name resolution failed: {error.strerror or error}"
        case UnicodeError():
            return "no such host: the name is not valid"
        case OSError(errno=int(number)):
            words = _BY_NUMBER.get(number) or os.strerror(number).lower()
            return f"{words}: {error.filename}" if error.filename else words
        case _:
            return str(error) or type(error).__name__
