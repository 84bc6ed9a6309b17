"""What a transport raises, as a Failure: one table for our own connections, for httpx and for httpx2.

The table is by the name of the class, for httpx2 has httpx's tree of exceptions with classes of its own. An exception
that is in no row of it, nor any of its bases, is a bug in a transport of the user's.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import ssl
import traceback
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import attrs

from ..failures import Failure, FailureKind, scrub
from ..failures.classify import holds
from ..failures.kinds import Phase
from .secrets import ApiKey
from .sockets import CannotConnect

log = logging.getLogger("cortex_trio")

K = FailureKind
LONGEST_TEXT = 100
"""Characters kept in front of a reason: a Failure's message is cut at its end, where the reason is."""
LIBRARIES = {"cortex_trio", "httpx", "httpx2", "httpcore", "httpcore2"}


class Row(NamedTuple):
    """What an exception proves. `phase` None: the one in which it was raised."""

    kind: FailureKind
    said: str = ""  # in front of its text
    phase: Phase | None = None
    ours: bool = False


_CONNECT = Row(K.CONNECTION, "could not connect", "connect")
_BROKE = Row(K.CONNECTION, "the connection broke")

TABLE: Mapping[str, Row] = {
    # our own connections
    "CannotConnect": _CONNECT,
    "BrokenOff": _BROKE,
    "BadAnswer": Row(K.PROTOCOL),
    # httpx._exceptions, from the leaves to the root
    "ConnectError": _CONNECT,
    "ConnectTimeout": _CONNECT,
    "ProxyError": Row(K.CONNECTION, "could not connect: the proxy refused", "connect"),
    "UnsupportedProtocol": _CONNECT,
    "PoolTimeout": Row(K.CONNECTION, "no connection of the transport's pool was free", "connect", ours=True),
    "ReadTimeout": Row(K.STALLED),
    "WriteTimeout": Row(K.STALLED),
    "TimeoutException": Row(K.STALLED),
    "ReadError": _BROKE,
    "WriteError": _BROKE,
    "CloseError": _BROKE,
    "NetworkError": _BROKE,
    "RemoteProtocolError": Row(K.PROTOCOL),
    "LocalProtocolError": Row(K.PROTOCOL),
    "ProtocolError": Row(K.PROTOCOL),
    "DecodingError": Row(K.PROTOCOL),
    "TooManyRedirects": Row(K.UNKNOWN, "too many redirects"),
    "InvalidURL": Row(K.CONNECTION, "could not connect", "connect"),
    "TransportError": _BROKE,
    "HTTPError": _BROKE,
}

_HUNG_UP = re.compile(r"disconnected|peer closed connection|ConnectionTerminated|StreamReset", re.IGNORECASE)
"""How httpcore, h11 and h2 say, as a RemoteProtocolError, that the server closed the connection: no bad HTTP."""

_RAN_OUT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""Errors of a system call that say what this machine, or this process, has no more of."""


class TransportFailed(Exception):
    """No answer, or no more of it: the Failure says why. Its cause is what the transport raised."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


def transport_failed(error: Exception, phase: Phase, secrets: Iterable[ApiKey] = ()) -> TransportFailed:
    """Return what to raise for `error`: its Failure without the secrets, and `error` as its cause.

    An error whose text, or that of one of its causes, repeats a secret is not kept as the cause.
    """
    failure = failure_of(error, phase)
    revealed = [secret.reveal() for secret in secrets]
    failed = TransportFailed(attrs.evolve(failure, message=scrub(failure.message, revealed)))
    if not any(holds(str(cause), secret) for cause in _causes(error) for secret in revealed):
        failed.__cause__ = error
    return failed


def failure_of(error: Exception, phase: Phase) -> Failure:
    """Return what `error`, raised by a transport in `phase`, proves. A bug in a transport is logged."""
    row = _row_of(error)
    causes = tuple(_causes(error))
    ran_out = next(
        (cause for cause in causes if isinstance(cause, OSError) and cause.errno in _RAN_OUT), None
    )
    if row is None:
        where = "".join(traceback.format_tb(error.__traceback__))  # its text may repeat what was sent
        log.error("the transport raised %s\n%s", type(error).__name__, where)
        text = f"a bug in the transport: {type(error).__name__}: {error}"
        return Failure(K.CRASHED, text, phase=phase, ours=ran_out is not None)
    text = _text(error, causes)
    if row.kind is K.PROTOCOL and _HUNG_UP.search(text):
        row = _BROKE
    message = f"{row.said}: {text}" if row.said else text
    ours = row.ours or ran_out is not None or (isinstance(error, CannotConnect) and error.ours)
    return Failure(row.kind, message, phase=row.phase or phase, ours=ours)


def _row_of(error: Exception) -> Row | None:
    for kind in type(error).__mro__:
        if kind.__module__.partition(".")[0] in LIBRARIES and kind.__name__ in TABLE:
            return TABLE[kind.__name__]
    return None


# ------------------------------------------------------------------ the reason, which may be several causes down


def _text(error: Exception, causes: tuple[BaseException, ...]) -> str:
    """What the error says, and the reason behind it if it does not say that itself."""
    name = type(error).__name__
    text = str(error) or ("timed out" if name.endswith("Timeout") else name)
    reasons = dict.fromkeys(filter(None, map(_reason, causes)))
    missing = [reason for reason in reasons if reason.casefold() not in text.casefold()]
    return f"{text[:LONGEST_TEXT]}: {', '.join(missing)}" if missing else text


def _reason(cause: BaseException) -> str | None:
    """In the words of the system or of TLS, without the numbers: "Connection refused"."""
    match cause:
        case ssl.SSLCertVerificationError():
            return cause.verify_message or str(cause)
        case ssl.SSLError():
            return cause.reason.replace("_", " ").lower() if cause.reason else str(cause)
        case socket.gaierror():
            return cause.strerror or "the name could not be resolved"
        case OSError(errno=int() as number) if number in errno.errorcode:
            return os.strerror(number)
        case _:
            return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exceptions at the ends of its chains of causes, those of groups included. Each comes once."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        at = waiting.pop(0)
        if id(at) in seen:
            continue
        seen.add(id(at))
        inner: list[BaseException] = list(at.exceptions) if isinstance(at, BaseExceptionGroup) else []
        # httpcore raises its errors once more "from None": their context is the cause all the same.
        inner += [cause for cause in (at.__cause__ or at.__context__,) if cause is not None]
        waiting += inner
        if not isinstance(at, BaseExceptionGroup):
            yield at
