"""From a request and a behaviour to what is played: pure decisions, no socket, no clock.

A `Scene` is a whole response: status, headers and frames, plus the behaviour that says how they are to be
played and where they go wrong.
"""

from __future__ import annotations

import gzip
import itertools
import zlib
from collections.abc import Iterable, Mapping

import attrs

from ..wire.server import DATE, PORTAL_PAGE, Answer, Frame, FrameKind, HttpAnswer, ParsedRequest, Speaker
from .answer import answer_of
from .behaviour import Behaviour


@attrs.frozen(kw_only=True)
class Scene:
    status: int
    headers: Mapping[str, str]
    frames: Iterable[Frame]
    behaviour: Behaviour
    length: int | None  # None: chunked
    delay: float = 0.0  # seconds before the first content
    pause: float = 0.0  # seconds between two contents
    ping: bytes = b""
    garbled: bytes = b""
    failure_frame: bytes = b""


def decline(answer: HttpAnswer, behaviour: Behaviour | None = None) -> Scene:
    """The scene of an answer that is one body: an error, a page."""
    behaviour = behaviour or Behaviour()
    body = _packed(answer.body, behaviour)
    return Scene(
        status=answer.status,
        headers=_headers(answer.headers, behaviour),
        frames=_halves(body),
        behaviour=behaviour,
        length=None if behaviour.breaks_body else len(body),
        delay=behaviour.first_token_after,
        garbled=b"\x00{",
    )


def compose(speaker: Speaker, asked: ParsedRequest, behaviour: Behaviour) -> Scene:
    """The scene of a legal request under this behaviour."""
    if behaviour.html or behaviour.body is not None:
        return decline(_foreign(behaviour), behaviour)
    if behaviour.failure is not None or (behaviour.error_after is not None and not asked.stream):
        # It is the whole answer now, and nothing happens in the middle of it.
        return decline(_failure(speaker, asked, behaviour), attrs.evolve(behaviour, error_after=None))
    if asked.what != "chat":
        body = speaker.embeddings(asked) if asked.what == "embed" else b""
        return _whole(speaker, asked, behaviour, body)
    answer = answer_of(behaviour, asked)
    if not asked.stream:
        scene = _whole(speaker, asked, behaviour, speaker.whole(asked, answer))
        return attrs.evolve(scene, delay=scene.delay + len(answer.tokens) / behaviour.tokens_per_second)
    return _streamed(speaker, asked, behaviour, answer)


def listing(speaker: Speaker, asked: ParsedRequest, behaviour: Behaviour, models: Iterable[str]) -> Scene:
    """The scene of a list of models, one of them, a count of tokens or a health check."""
    fails = behaviour.failure is not None or behaviour.error is not None
    if behaviour.html or behaviour.body is not None or fails:
        return compose(speaker, asked, behaviour)
    return _whole(speaker, asked, behaviour, speaker.listing(asked, tuple(models)))


def _streamed(speaker: Speaker, asked: ParsedRequest, behaviour: Behaviour, answer: Answer) -> Scene:
    frames = speaker.stream(asked, answer)
    if behaviour.no_terminal:
        frames = (frame for frame in frames if frame.kind is not FrameKind.TERMINAL)
    fails = behaviour.error is not None and behaviour.error_after is not None
    return Scene(
        status=200,
        headers=_headers(speaker.headers(asked), attrs.evolve(behaviour, packed=None)),
        frames=frames,
        behaviour=behaviour,
        length=None,
        delay=behaviour.first_token_after,
        pause=1 / behaviour.tokens_per_second,
        ping=speaker.ping(asked),
        garbled=speaker.garbled(asked),
        failure_frame=speaker.failure_frame(behaviour.error, asked, _wait(behaviour))
        if fails and behaviour.error
        else b"",
    )


def _whole(speaker: Speaker, asked: ParsedRequest, behaviour: Behaviour, body: bytes) -> Scene:
    answer = HttpAnswer(status=200, headers=speaker.headers(attrs.evolve(asked, stream=False)), body=body)
    return decline(answer, behaviour)


def _foreign(behaviour: Behaviour) -> HttpAnswer:
    """A body that has nothing to do with what was asked."""
    if behaviour.html:
        headers = {"content-type": "text/html; charset=utf-8"}
        return HttpAnswer(status=behaviour.status, headers=headers, body=PORTAL_PAGE)
    headers = {"content-type": behaviour.content_type}
    return HttpAnswer(status=behaviour.status, headers=headers, body=behaviour.body or b"")


def _failure(speaker: Speaker, asked: ParsedRequest, behaviour: Behaviour) -> HttpAnswer:
    kind = behaviour.failure or behaviour.error
    assert kind is not None, "only called for a behaviour that fails"
    status = None if behaviour.status == 200 else behaviour.status
    answer = speaker.failure(kind, asked, status=status, wait=_wait(behaviour))
    if behaviour.error_body is None:
        return answer
    body = behaviour.error_body
    exact = body.encode() if isinstance(body, str) else body
    headers = {**answer.headers, "content-type": behaviour.content_type}
    return attrs.evolve(answer, body=exact, headers=headers)


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
    """One body as one content event and the rest of it, so that it can be cut, stalled or garbled in the middle."""
    middle = (len(body) + 1) // 2
    parts = (Frame(FrameKind.CONTENT, body[:middle]), Frame(FrameKind.FINISH, body[middle:]))
    return itertools.filterfalse(lambda frame: not frame.data, parts)
