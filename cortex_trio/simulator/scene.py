"""Decides what is sent for a request under a behaviour. Pure: no socket, no clock.

A `Scene` is a whole response: status, headers and frames, and the behaviour with its timing and its faults.
"""

from __future__ import annotations

import gzip
import itertools
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import attrs

from ..wire.server import Frame, FrameKind, HttpResponse, Operation
from .behaviour import Behaviour
from .pages import PORTAL_PAGE
from .request import DATE
from .servers import Exchange


def _nothing() -> bytes:
    return b""


@attrs.frozen(kw_only=True)
class Scene:
    status: int
    headers: Mapping[str, str]
    frames: Iterable[Frame]
    behaviour: Behaviour
    length: int | None  # None: chunked
    delay: float = 0.0  # seconds before the first content
    pause: float = 0.0  # seconds between two contents
    keepalive: bytes = b""
    garbled: bytes = b""
    failure_frame: Callable[[], bytes] = _nothing  # called where the answer breaks off


def one_body(response: HttpResponse, behaviour: Behaviour | None = None) -> Scene:
    """The scene of a response that is one body: an error, a page."""
    behaviour = behaviour or Behaviour()
    body = _packed(response.body, behaviour)
    return Scene(
        status=response.status,
        headers=_headers(response.headers, behaviour),
        frames=_halves(body),
        behaviour=behaviour,
        length=None if behaviour.breaks_body else len(body),
        delay=behaviour.first_token_after,
        garbled=b"\x00{",
    )


def compose(exchange: Exchange, behaviour: Behaviour) -> Scene:
    """The scene of a legal request under this behaviour."""
    request = exchange.request
    if behaviour.html or behaviour.body is not None:
        return one_body(_foreign(behaviour), behaviour)
    if behaviour.failure is not None or (behaviour.error_after is not None and not request.stream):
        # It is the whole response now, and nothing happens in the middle of it.
        return one_body(_failure(exchange, behaviour), attrs.evolve(behaviour, error_after=None))
    if request.operation is not Operation.CHAT:
        is_embedding = request.operation is Operation.EMBED
        return _whole(exchange, behaviour, exchange.embeddings() if is_embedding else b"")
    if request.stream:
        return _streamed(exchange, behaviour)
    answer = exchange.answer(behaviour)
    scene = _whole(exchange, behaviour, exchange.whole(answer))
    return attrs.evolve(scene, delay=scene.delay + len(answer.tokens) / behaviour.tokens_per_second)


def listing(exchange: Exchange, behaviour: Behaviour, models: Iterable[str]) -> Scene:
    """The scene of a list of models, one of them, a count of tokens or a health check."""
    fails = behaviour.failure is not None or behaviour.error is not None
    if behaviour.html or behaviour.body is not None or fails:
        return compose(exchange, behaviour)
    return _whole(exchange, behaviour, exchange.listing(tuple(models)))


def _streamed(exchange: Exchange, behaviour: Behaviour) -> Scene:
    streaming = exchange.stream(exchange.answer(behaviour))
    frames: Iterable[Frame] = streaming.frames()
    if behaviour.no_terminal:
        frames = (frame for frame in frames if frame.kind is not FrameKind.TERMINAL)
    error = behaviour.error if behaviour.error_after is not None else None
    return Scene(
        status=200,
        headers=_headers(exchange.headers(stream=True), attrs.evolve(behaviour, packed=None)),
        frames=frames,
        behaviour=behaviour,
        length=None,
        delay=behaviour.first_token_after,
        pause=1 / behaviour.tokens_per_second,
        keepalive=exchange.keepalive(),
        garbled=exchange.garbled(),
        failure_frame=partial(streaming.fail, error, _wait(behaviour)) if error else _nothing,
    )


def _whole(exchange: Exchange, behaviour: Behaviour, body: bytes) -> Scene:
    response = HttpResponse(status=200, headers=exchange.headers(stream=False), body=body)
    return one_body(response, behaviour)


def _foreign(behaviour: Behaviour) -> HttpResponse:
    """A body that has nothing to do with the request."""
    if behaviour.html:
        headers = {"content-type": "text/html; charset=utf-8"}
        return HttpResponse(status=behaviour.status, headers=headers, body=PORTAL_PAGE)
    headers = {"content-type": behaviour.content_type}
    return HttpResponse(status=behaviour.status, headers=headers, body=behaviour.body or b"")


def _failure(exchange: Exchange, behaviour: Behaviour) -> HttpResponse:
    kind = behaviour.failure or behaviour.error
    assert kind is not None, "only called for a behaviour that fails"
    status = None if behaviour.status == 200 else behaviour.status
    response = exchange.failure(kind, status=status, wait=_wait(behaviour))
    if behaviour.error_body is None:
        return response
    body = behaviour.error_body
    exact = body.encode() if isinstance(body, str) else body
    headers = {**response.headers, "content-type": behaviour.content_type}
    return attrs.evolve(response, body=exact, headers=headers)


def _wait(behaviour: Behaviour) -> float | None:
    return behaviour.retry_after if isinstance(behaviour.retry_after, int | float) else None


def _headers(own: Mapping[str, str], behaviour: Behaviour) -> dict[str, str]:
    hint = behaviour.retry_after
    said = {} if hint is None else {"retry-after": hint if isinstance(hint, str) else f"{hint:g}"}
    packed = {"content-encoding": behaviour.packed} if behaviour.packed else {}
    extra = {name.lower(): value for name, value in behaviour.headers.items()}
    return {"date": DATE, **own, **packed, **said, **extra}


def _packed(body: bytes, behaviour: Behaviour) -> bytes:
    """The body as it travels; "deflate" is zlib's format (RFC 9110, 8.4.1.2)."""
    match behaviour.packed:
        case "gzip":
            return gzip.compress(body, mtime=0)  # the same bytes in every run
        case "deflate":
            return zlib.compress(body)
        case None:
            return body


def _halves(body: bytes) -> Iterable[Frame]:
    """One body as two frames, so that it can be cut, stalled or garbled in the middle."""
    middle = (len(body) + 1) // 2
    parts = (Frame(FrameKind.CONTENT, body[:middle]), Frame(FrameKind.FINISH, body[middle:]))
    return itertools.filterfalse(lambda frame: not frame.data, parts)
