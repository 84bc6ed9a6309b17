"""The Failure for an exception of a transport: one table for our own connections, for httpx and for httpx2.

The table is by class name, because httpx2 has httpx's tree of exceptions with classes of its own. An exception that is
in no row, and has no base in one, is a bug in a transport of the user's.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import attrs

from ...failures import Failure, FailureKind, scrub
from ...failures.classify import holds
from ...failures.kinds import Phase
from ...http.causes import address_of, chain, explain, is_our_shortage
from ..settings.secrets import ApiKey

log = logging.getLogger("cortex_trio")

K = FailureKind
Secrets = tuple[ApiKey, ...]
"""Secrets that a request contains and an error must not repeat."""
LIBRARIES = {"cortex_trio", "httpx", "httpx2", "httpcore", "httpcore2"}
"""The packages whose exceptions the table is for."""


class Row(NamedTuple):
    """What an exception proves."""

    kind: FailureKind
    prefix: str = ""
    """Written in front of the text of the exception."""
    phase: Phase | None = None
    """None: the phase in which the exception was raised."""
    ours: bool = False
    """Whether the reason is on this machine."""


_CONNECT = Row(K.CONNECTION, "could not connect", "connect")
_BROKEN = Row(K.CONNECTION, "the connection broke")

TABLE: Mapping[str, Row] = {
    # of cortex_trio.http; ConnectError, RemoteProtocolError and ReadTimeout have the names of httpx
    "ConnectionBroken": _BROKEN,
    # of httpx, from the leaves of its tree to the root
    "ConnectError": _CONNECT,
    "ConnectTimeout": _CONNECT,
    "ProxyError": Row(K.CONNECTION, "could not connect: the proxy refused", "connect"),
    "UnsupportedProtocol": _CONNECT,
    "PoolTimeout": Row(K.CONNECTION, "no connection of the transport's pool was free", "connect", ours=True),
    "ReadTimeout": Row(K.STALLED),
    "WriteTimeout": Row(K.STALLED),
    "TimeoutException": Row(K.STALLED),
    "ReadError": _BROKEN,
    "WriteError": _BROKEN,
    "CloseError": _BROKEN,
    "NetworkError": _BROKEN,
    "RemoteProtocolError": Row(K.PROTOCOL),
    "LocalProtocolError": Row(K.PROTOCOL),
    "ProtocolError": Row(K.PROTOCOL),
    "DecodingError": Row(K.PROTOCOL),
    "TooManyRedirects": Row(K.UNKNOWN, "too many redirects"),
    "InvalidURL": Row(K.CONNECTION, "could not connect", "connect"),
    "TransportError": _BROKEN,
    "HTTPError": _BROKEN,
}

_CONNECTION_CLOSED = re.compile(
    r"disconnected|peer closed connection|ConnectionTerminated|StreamReset", re.IGNORECASE
)
"""Texts with which httpcore, h11 and h2 report a closed connection as a RemoteProtocolError."""


class TransportFailed(Exception):
    """There is no response, or not all of it.

    Attributes:
        failure: the reason. `__cause__` is the exception of the transport, unless it repeats a secret.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


def transport_failed(error: Exception, phase: Phase, secrets: Iterable[ApiKey] = ()) -> TransportFailed:
    """Return the exception to raise for `error`.

    Args:
        error: raised by a transport. It becomes the cause, unless it or an error that led to it repeats a secret in
            its text or notes.
        phase: in which it was raised.
        secrets: are removed from the text of the failure.
    """
    failure = failure_of(error, phase)
    revealed = [secret.reveal() for secret in secrets]
    failed = TransportFailed(attrs.evolve(failure, message=scrub(failure.message, revealed)))
    if not any(holds(text, secret) for text in _texts(error) for secret in revealed):
        failed.__cause__ = error
        if failure.phase != "connect" and failure.kind is not K.CRASHED:
            _forget_frames(error)
    return failed


def _forget_frames(error: BaseException) -> None:
    """Drop the tracebacks: their frames hold the bytes of the request, which contain the API key.

    A context is changed only if `from None` hid it; any other may belong to the caller.
    """
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        at.__traceback__ = None
        at = at.__cause__ or (at.__context__ if at.__suppress_context__ else None)


def failure_of(error: Exception, phase: Phase) -> Failure:
    """Return what `error`, raised by a transport in `phase`, proves. A bug in a transport is logged."""
    row, ours = _row_of(error), is_our_shortage(error)
    if row is None:
        # Without the text, which may repeat the request.
        where = "".join(traceback.format_tb(error.__traceback__))
        log.error("the transport raised %s\n%s", type(error).__name__, where)
        text = f"a bug in the transport: {type(error).__name__}: {error}"
        return Failure(K.CRASHED, text, phase=phase, ours=ours)
    text = explain(error)
    if row.kind is K.PROTOCOL and _CONNECTION_CLOSED.search(text):
        row = _BROKEN
    return Failure(row.kind, _message(row, error, text), phase=row.phase or phase, ours=row.ours or ours)


def _message(row: Row, error: Exception, text: str) -> str:
    if not row.prefix or text.startswith(row.prefix):  # our own errors contain it
        return text
    address = address_of(error) if row is _CONNECT else None
    return f"{row.prefix}{f' to {address}' if address else ''}: {text}"


def _row_of(error: Exception) -> Row | None:
    for kind in type(error).__mro__:
        if kind.__module__.partition(".")[0] in LIBRARIES and kind.__name__ in TABLE:
            return TABLE[kind.__name__]
    return None


def _texts(error: BaseException) -> Iterator[str]:
    """Yield the texts and notes of all errors that a traceback of `error` would show."""
    for step in chain(error):
        yield str(step)
        yield from getattr(step, "__notes__", ())
