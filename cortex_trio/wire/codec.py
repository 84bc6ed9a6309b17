"""The dialect seam: what every translation between our values and one wire format must offer.

A dialect is pure. It encodes a request into an `HttpRequest`, and hands out a fresh `Decoder` for
every answer. It knows no clock, no socket and no policy; it never raises on what a server sends:
whatever comes, only `WireEvent`s come out. The conformance check in `wire.conformance` says the rest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import attrs

from ..events import WireEvent
from ..failures import Failure, FailureKind, InvalidRequest
from ..messages import ChatRequest

EVENT_LIMIT = 128 * 1024 * 1024
"""Bytes of one SSE event, one line, one element of an array, or one whole body: a last resort against a stream
without line ends. It is far above any content: an image of 20 MB is 27 MB of base64 in one event, a whole answer may
come as one line. How long an answer may be is the gateway's `max_answer_bytes`."""


class Unsupported(InvalidRequest):
    """The caller set something this dialect has no name for. Nothing is dropped in silence."""

    def __init__(self, what: str, provider: str) -> None:
        super().__init__(f"{provider} has no way to say {what}; leave it out, or pass it through extra_body")
        self.what = what
        self.provider = provider


@attrs.frozen
class HttpRequest:
    """A request without address and credentials: `path` follows the worker's base_url."""

    method: Literal["GET", "POST"]
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)


class Decoder(Protocol):
    """Bytes of one answer to events; correct at every slicing of the bytes.

    The events end with exactly one Finished or Failure; `done` is True from then on and later bytes are ignored.
    A Finished is held back until the terminal marker (or, where that is missing, the end) was seen, so it
    is always last, after the final UsageUpdate.
    """

    @property
    def done(self) -> bool: ...

    def feed(self, data: bytes) -> list[WireEvent]: ...

    def finish(self) -> list[WireEvent]:
        """The body ended: what is still due, ending in Finished or a Failure(TRUNCATED)."""
        ...


class Dialect(Protocol):
    """One wire format. `provider` is the name used in errors and for the origin of replayed reasoning."""

    @property
    def name(self) -> str: ...

    def encode(self, request: ChatRequest, provider: str, model: str) -> HttpRequest:
        """Raises Unsupported for an option this wire has no name for."""
        ...

    def decoder(self) -> Decoder:
        """A decoder for a streamed answer."""
        ...

    def decode_reply(self, body: bytes) -> list[WireEvent]:
        """A whole, not streamed answer as the events its stream would have had."""
        ...

    def encode_embed(
        self, texts: Sequence[str], provider: str, model: str, dimensions: int | None
    ) -> HttpRequest:
        """Raises Unsupported where there are no embeddings."""
        ...

    def decode_embed(self, body: bytes) -> Sequence[Sequence[float]]:
        """One vector for each text, in order. Raises ValueError if the body is not what was asked for."""
        ...

    def decode_models(self, body: bytes) -> Sequence[str]:
        """Model ids of a list-models answer. Raises ValueError if the body is none."""
        ...


# ------------------------------------------------------------------ shared by the dialects


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def json_body(value: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> bytes:
    """A request body: compact, UTF-8, with the caller's `extra_body` laid over it, key by key.

    Raises InvalidRequest for what has no JSON form.
    """
    merged = {**value, **extra} if extra else value
    try:
        text = _ENCODER.encode(merged)
    except (TypeError, ValueError, RecursionError):
        raise _unwritable(merged) from None
    return text.encode(
        "utf-8", "replace"
    )  # half a surrogate pair, as a cut answer may hold, has no UTF-8 form


def _unwritable(fields: Mapping[str, Any]) -> InvalidRequest:
    """Say which field it is that has no JSON form: of extra_body, a schema or a tool, for nothing else is free."""
    for name, field in fields.items():
        try:
            json.dumps(field, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            return InvalidRequest(f"{name}: there is no JSON for it ({error})")
    return InvalidRequest("extra_body: its keys must be str")


def json_post(
    path: str, value: Mapping[str, Any], extra: Mapping[str, Any] | None = None, *, accept: str
) -> HttpRequest:
    return HttpRequest(
        "POST", path, json_body(value, extra), {"content-type": "application/json", "accept": accept}
    )


def compact(arguments: object) -> str:
    """Tool arguments that came as an object, as JSON text (dumped once, never parsed again).

    A number too large for a float (1e999) is null: there is no JSON for the infinity it was read as.
    """
    try:
        return _ENCODER.encode(arguments)
    except ValueError:
        return _ENCODER.encode(_finite(arguments))


def _finite(value: object) -> object:
    match value:
        case dict():
            return {name: _finite(inner) for name, inner in value.items()}
        case list():
            return [_finite(inner) for inner in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value


def truncated(message: str = "the stream ended without its terminal marker") -> Failure:
    return Failure(FailureKind.TRUNCATED, message, phase="stream")


def malformed(message: str) -> Failure:
    return Failure(FailureKind.PROTOCOL, message, phase="stream")
