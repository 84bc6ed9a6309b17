"""Why there is no connection, or no more of it: the words for it, and whether this machine ran out of something.

The only place that says so, for our own connections and for what httpx, httpx2 and httpcore raise. The last part of
each text names the cause. No I/O, no policy.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence

SHOWN, LONGEST_TEXT = 180, 100
"""Characters of a text that a Failure's message has room for, and those kept in front of a reason.

The message is cut at its end, where the reason is.
"""
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
_TRIO_SAYS = re.compile(r"all attempts to connect to (\S+) failed")
"""`trio.open_tcp_stream`, in whose place the cause and the address are said; httpx and httpcore repeat it."""


def explain(error: BaseException) -> str:
    """Return the text of `error` and, behind it, the reasons of its causes that it does not say itself.

    A text that says nothing but a reason in other words is left out. Several addresses that failed in different ways
    have several reasons, each one once.
    """
    found = list(causes(error))
    reasons = list(dict.fromkeys(filter(None, map(_reason, found))))
    text = str(error)
    if reasons and (error in found or isinstance(error, BaseExceptionGroup) or _is_repeated(text, found)):
        text = ""
    elif not text and not reasons:
        name = type(error).__name__
        text = "timed out" if name.endswith("Timeout") else name
    missing = [reason for reason in reasons if reason.casefold() not in text[:SHOWN].casefold()]
    if missing:
        text = text[:LONGEST_TEXT]
    return ": ".join(filter(None, (text, ", ".join(missing))))


def address_of(error: BaseException) -> str | None:
    """Return the address that could not be connected to, if `error` or what led to it names one."""
    return next((found[1] for step in chain(error) if (found := _TRIO_SAYS.search(str(step)))), None)


def is_our_shortage(error: BaseException) -> bool:
    """Return whether this machine had no descriptor, no memory or no port left for a connection.

    An address that is not available is a port that is not, unless another address failed in another way: then it is
    an IPv6 address on a machine without IPv6.
    """
    numbers = {_system_number(cause) for cause in causes(error)}
    return not numbers.isdisjoint(OUR_SHORTAGES) or numbers == {errno.EADDRNOTAVAIL}


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield what `error` comes from: in each branch of its causes and groups the first with a reason, or the last.

    A context counts where it was hidden by `from None`, as httpcore hides its causes. Any other context may be what the
    caller was handling when it asked, which has nothing to do with the connection.
    """
    yield from _causes(error, set())


def _causes(error: BaseException, seen: set[int]) -> Iterator[BaseException]:
    if id(error) in seen:
        return
    seen.add(id(error))
    inner: Sequence[BaseException] = ()
    if isinstance(error, BaseExceptionGroup):
        inner = error.exceptions
    elif _reason(error) is None:
        cause = error.__cause__ or (error.__context__ if error.__suppress_context__ else None)
        inner = () if cause is None else (cause,)
    if not inner:
        yield error
    for one in inner:
        yield from _causes(one, seen)


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and all that a traceback of it could show: causes, contexts, members of groups. Each once."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        at = waiting.pop(0)
        if id(at) in seen:
            continue
        seen.add(id(at))
        yield at
        waiting += at.exceptions if isinstance(at, BaseExceptionGroup) else ()
        waiting += filter(None, (at.__cause__, at.__context__))


def _is_repeated(text: str, found: Sequence[BaseException]) -> bool:
    """Is `text` that of a cause which has a reason, or what trio says instead of the reasons?"""
    return _TRIO_SAYS.fullmatch(text) is not None or any(text == str(cause) for cause in found)


def _system_number(error: BaseException) -> int | None:
    """What the system calls it; the resolver and TLS have numbers of their own, which mean other things."""
    if isinstance(error, OSError) and not isinstance(error, socket.gaierror | ssl.SSLError):
        return error.errno
    return None


def _reason(error: BaseException) -> str | None:
    """What the system, the resolver or TLS reports with this exception; None if it is of none of them."""
    match error:
        case ssl.SSLWantReadError() | ssl.SSLWantWriteError():
            return None  # no error: TLS waits
        case ssl.SSLCertVerificationError():
            problem = getattr(error, "verify_message", "") or str(
                error
            )  # OpenSSL sets it, a transport may not
            return f"certificate verify failed: {problem.rstrip('.')}"
        case ssl.SSLEOFError() | ssl.SSLError(reason="UNEXPECTED_EOF_WHILE_READING"):
            return "the server closed the connection"
        case ssl.SSLError():
            reason = getattr(error, "reason", "") or ""
            words = reason.replace("_", " ").lower() or str(error)
            return f"TLS failed: {words}{_TLS_HINTS.get(reason, '')}"
        case socket.gaierror():
            return _BY_RESOLVER.get(error.errno or 0) or f"name resolution failed: {error.strerror or error}"
        case UnicodeDecodeError():
            return None
        case UnicodeError():  # IDNA's, too
            return "no such host: the name is not valid"
        case OSError(errno=int(number)) if number in errno.errorcode:
            words = _BY_NUMBER.get(number) or os.strerror(number).lower()
            return f"{words}: {error.filename}" if error.filename else words
        case _:
            return None
