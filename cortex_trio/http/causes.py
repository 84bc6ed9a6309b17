"""The reason why a connection failed, as text, and whether this machine ran out of something. No I/O, no policy.

The only module that knows these texts, for our own connections and for the errors of httpx, httpx2 and httpcore. The
reason stands at the end of a text.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence

SHOWN_LENGTH, MAX_TEXT_LENGTH = 180, 100
"""Characters of a text that a Failure's message shows, and those that are kept in front of a reason.

A Failure's message is cut at its end, where the reason is.
"""
LOCAL_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors of the machine on which this program runs. They say nothing of the server."""

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
    number: text
    for name, text in (
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
_TRIO_TEXT = re.compile(r"all attempts to connect to (\S+) failed")
"""The text of `trio.open_tcp_stream`, which httpx and httpcore repeat. Replaced by the address and the cause."""


def explain(error: BaseException) -> str:
    """Return the text of `error`, followed by the reasons of its causes that the text does not contain.

    A text that only repeats a reason is left out. If several addresses failed for different reasons, each reason is
    given once.
    """
    found = list(causes(error))
    reasons = list(dict.fromkeys(filter(None, map(_reason, found))))
    text = str(error)
    if reasons and (error in found or isinstance(error, BaseExceptionGroup) or _is_repeated(text, found)):
        text = ""
    elif not text and not reasons:
        name = type(error).__name__
        text = "timed out" if name.endswith("Timeout") else name
    missing = [reason for reason in reasons if reason.casefold() not in text[:SHOWN_LENGTH].casefold()]
    if missing:
        text = text[:MAX_TEXT_LENGTH]
    return ": ".join(filter(None, (text, ", ".join(missing))))


def address_of(error: BaseException) -> str | None:
    """Return the address of the failed connection, if `error` or an error that led to it names one."""
    return next((found[1] for step in chain(error) if (found := _TRIO_TEXT.search(str(step)))), None)


def is_our_shortage(error: BaseException) -> bool:
    """Return whether this machine had no descriptor, no memory or no port left for a connection.

    EADDRNOTAVAIL means that no port was left, unless another address failed in another way: then it is an IPv6 address
    on a machine without IPv6.
    """
    numbers = {_system_number(cause) for cause in causes(error)}
    return not numbers.isdisjoint(LOCAL_SHORTAGES) or numbers == {errno.EADDRNOTAVAIL}


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the origins of `error`: in each branch of its causes and groups the first with a reason, or the last.

    A context counts only if `from None` hid it, as httpcore hides its causes. Any other context may be an error that
    the caller was handling, which has nothing to do with the connection.
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
    """Yield `error` and all errors that its traceback could show: causes, contexts, members of groups. Each once."""
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
    """Whether `text` is the text of a cause that has a reason, or the text of trio that replaces the reasons."""
    return _TRIO_TEXT.fullmatch(text) is not None or any(text == str(cause) for cause in found)


def _system_number(error: BaseException) -> int | None:
    """Return the `errno`. The numbers of the resolver and of TLS mean other things."""
    if isinstance(error, OSError) and not isinstance(error, socket.gaierror | ssl.SSLError):
        return error.errno
    return None


def _reason(error: BaseException) -> str | None:
    """Return what the system, the resolver or TLS reports; None for an error of another source."""
    match error:
        case ssl.SSLWantReadError() | ssl.SSLWantWriteError():
            return None  # not an error: TLS waits
        case ssl.SSLCertVerificationError():
            problem = getattr(error, "verify_message", "") or str(error)  # only OpenSSL sets it
            return f"certificate verify failed: {problem.rstrip('.')}"
        case ssl.SSLEOFError() | ssl.SSLError(reason="UNEXPECTED_EOF_WHILE_READING"):
            return "the server closed the connection"
        case ssl.SSLError():
            reason = getattr(error, "reason", "") or ""
            text = reason.replace("_", " ").lower() or str(error)
            return f"TLS failed: {text}{_TLS_HINTS.get(reason, '')}"
        case socket.gaierror():
            return _BY_RESOLVER.get(error.errno or 0) or f"name resolution failed: {error.strerror or error}"
        case UnicodeDecodeError():
            return None
        case UnicodeError():  # errors of IDNA are UnicodeErrors
            return "no such host: the name is not valid"
        case OSError(errno=int(number)) if number in errno.errorcode:
            text = _BY_NUMBER.get(number) or os.strerror(number).lower()
            return f"{text}: {error.filename}" if error.filename else text
        case _:
            return None
