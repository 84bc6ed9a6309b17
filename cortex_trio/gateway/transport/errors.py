"""What a transport raises, as a Failure: one table for our own connections, for httpx and for httpx2.

The table is by the name of the class, for httpx2 has httpx's tree of exceptions with classes of its own. An exception
that is in no row of it, nor any of its bases, is a bug in a transport of the user's.
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
"""What a request shows to its provider and an error must not repeat."""
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
    # our own connections (ConnectError and RemoteProtocolError have httpx's names, too)
    "ConnectionBroken": _BROKE,
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


class TransportFailed(Exception):
    """No answer, or no more of it: the Failure says why. Its cause is what the transport raised."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


def transport_failed(error: Exception, phase: Phase, secrets: Iterable[ApiKey] = ()) -> TransportFailed:
    """Return what to raise for `error`: its Failure without the secrets, and `error` as its cause.

    An error whose text or notes, or those of one that led to it, repeat a secret is not kept as the cause.
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
    """Drop the tracebacks: their frames hold what was sent and read, which may repeat a key.

    A context is left alone unless it was hidden: it may be the caller's.
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
        where = "".join(traceback.format_tb(error.__traceback__))  # its text may repeat what was sent
        log.error("the transport raised %s\n%s", type(error).__name__, where)
        text = f"a bug in the transport: {type(error).__name__}: {error}"
        return Failure(K.CRASHED, text, phase=phase, ours=ours)
    text = explain(error)
    if row.kind is K.PROTOCOL and _HUNG_UP.search(text):
        row = _BROKE
    return Failure(row.kind, _message(row, error, text), phase=row.phase or phase, ours=row.ours or ours)


def _message(row: Row, error: Exception, text: str) -> str:
    if not row.said or text.startswith(row.said):  # ours say it themselves
        return text
    address = address_of(error) if row is _CONNECT else None
    return f"{row.said}{f' to {address}' if address else ''}: {text}"


def _row_of(error: Exception) -> Row | None:
    for kind in type(error).__mro__:
        if kind.__module__.partition(".")[0] in LIBRARIES and kind.__name__ in TABLE:
            return TABLE[kind.__name__]
    return None


def _texts(error: BaseException) -> Iterator[str]:
    """Everything that a traceback would show of `error` in words."""
    for step in chain(error):
        yield str(step)
        yield from getattr(step, "__notes__", ())
