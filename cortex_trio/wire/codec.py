"""The client side of a dialect: what a translation between our values and one API must offer.

A dialect is pure. It encodes a request into an `HttpRequest` and returns a new `Decoder` for every answer. It has no
clock, no socket and no policy. Nothing a server sends makes a decoder raise: it returns events, the last of them a
`Finished` or a `Failure`. `wire.conformance` checks all of this. The other side is in `wire.server`.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import attrs

from ..events import Vectors, WireEvent
from ..failures import Failure, FailureKind, InvalidRequest
from ..messages import ChatRequest

EVENT_LIMIT = 128 * 1024 * 1024
"""Bytes of one SSE event, one line, one element of an array, or one whole body: protection against a stream without
line ends. It is far above any content: an image of 20 MB is 27 MB of base64 in one event, and a whole answer may come
as one line. How long an answer may be is the gateway's `max_answer_bytes`."""


class Unsupported(InvalidRequest):
    """The request sets something that the API of this dialect has no field for. A dialect never drops an option.

    Attributes:
        what: The option or part, in words that follow "does not support".
        provider: The name of the provider that was to be asked.
    """

    def __init__(self, what: str, provider: str) -> None:
        super().__init__(f"{provider} does not support {what}; leave it out, or pass it through extra_body")
        self.what = what
        self.provider = provider


@attrs.frozen
class HttpRequest:
    """A request without host and credentials, which the worker adds."""

    method: Literal["GET", "POST"]
    path: str
    """Follows the worker's base_url, and may have a query."""
    body: bytes | None = None
    """None: the request has no body."""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    """Names in lower case. The headers of the provider and the API key come on top."""
    added: frozenset[str] = frozenset()
    """Fields of the body that the caller did not set, and that `adapted_to` of the dialect can leave out or rename."""


class Decoder(Protocol):
    """Decodes the bytes of one answer into events. The slicing of the bytes makes no difference.

    The events end with exactly one `Finished` or `Failure`. A `Finished` is held back until the terminal marker was
    seen, or the end of the body where an API has none. So it always comes last, after the last `UsageUpdate`.
    """

    @property
    def done(self) -> bool:
        """Whether the last event was returned. Bytes that follow are ignored."""
        ...

    def feed(self, data: bytes) -> list[WireEvent]:
        """Decode some bytes of the body.

        Args:
            data: The next bytes, any number of them.

        Returns:
            The events that these bytes complete, in order; often none.
        """
        ...

    def finish(self) -> list[WireEvent]:
        """Decode what is left when the body has ended.

        Returns:
            The remaining events. Unless `done` was True before, the last is a Finished, or a Failure of kind
            TRUNCATED where the answer is not complete.
        """
        ...


class Dialect(Protocol):
    """The client side of one API. A value of it has no state."""

    @property
    def name(self) -> str:
        """The name of the dialect, such as "chat_completions"."""
        ...

    def encode(self, request: ChatRequest, provider: str, model: str) -> HttpRequest:
        """Encode a chat request.

        Args:
            request: What to send. Options that are None are left out, so that the server's defaults apply.
            provider: Named in errors. Together with `model` it decides which reasoning and which opaque parts of the
                history go back: those whose origin is "provider/model".
            model: The model as the API names it.

        Returns:
            The request, for a streamed answer if `request.stream`.

        Raises:
            Unsupported: The API has no field for something the request sets.
            InvalidRequest: The request is wrong for any provider, such as a schema that is not JSON.
        """
        ...

    def decoder(self) -> Decoder:
        """Return a new decoder for one streamed answer."""
        ...

    def decode_reply(self, body: bytes) -> list[WireEvent]:
        """Decode an answer that is not streamed.

        Args:
            body: The whole body of a response with a good status.

        Returns:
            The events that a stream of it would have had; the last is a Finished or a Failure.
        """
        ...

    def encode_embed(
        self, texts: Sequence[str], provider: str, model: str, dimensions: int | None
    ) -> HttpRequest:
        """Encode a request for embeddings.

        Args:
            texts: What to embed. How many one request may hold is `Provider.embed_batch`.
            provider: Named in errors.
            model: The model as the API names it.
            dimensions: The length of each vector. None: the model's own.

        Raises:
            Unsupported: The API has no embeddings, or takes fewer texts at once.
        """
        ...

    def decode_embed(self, body: bytes) -> Vectors | Sequence[Sequence[float]]:
        """Decode the response to a request for embeddings.

        Returns:
            One vector for each text, in order; as Vectors with the token counts if the response has them.

        Raises:
            ValueError: The body is not such a response.
        """
        ...

    def decode_models(self, body: bytes) -> Sequence[str]:
        """Decode the response to a request for the list of models.

        Returns:
            The names of the models, as a request would give them.

        Raises:
            ValueError: The body is not such a response.
        """
        ...


# ------------------------------------------------------------------ shared by the dialects


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@runtime_checkable
class AdaptableDialect(Protocol):
    """A dialect that adds fields which some servers do not know, such as `stream_options`."""

    def adapted_to(self, failure: Failure, added: Collection[str]) -> Dialect | None:
        """Return the dialect of a server that does not know one of the added fields; None for other failures.

        Args:
            failure: How the server has answered.
            added: `HttpRequest.added` of the request.
        """
        ...


def json_body(value: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> bytes:
    """Return a request body: compact JSON in UTF-8.

    Args:
        value: The fields of the body.
        extra: The caller's `extra_body`: its fields replace those of `value`.

    Raises:
        InvalidRequest: A value has no JSON form.
    """
    merged = {**value, **extra} if extra else value
    try:
        text = _ENCODER.encode(merged)
    except (TypeError, ValueError, RecursionError):
        raise _unwritable(merged) from None
    # Half a surrogate pair, as a cut answer may hold, has no UTF-8 form.
    return text.encode("utf-8", "replace")


def _unwritable(fields: Mapping[str, Any]) -> InvalidRequest:
    """Return an error that names the field without a JSON form: one of extra_body, a schema or a tool."""
    for name, field in fields.items():
        try:
            json.dumps(field, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            return InvalidRequest(f"{name}: there is no JSON for it ({error})")
    return InvalidRequest("extra_body: its keys must be str")


def json_post(
    path: str,
    value: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
    *,
    accept: str,
    own_fields: Collection[str] = (),
) -> HttpRequest:
    """Return a POST of `json_body(value, extra)`.

    Args:
        path: See `HttpRequest`.
        value: The fields of the body.
        extra: The caller's `extra_body`.
        accept: The media type of the answer.
        own_fields: Which fields are the dialect's, see `HttpRequest.added`, if they are there and not the caller's.
    """
    headers = {"content-type": "application/json", "accept": accept}
    added = frozenset(name for name in own_fields if name in value and not (extra and name in extra))
    return HttpRequest("POST", path, json_body(value, extra), headers, added)


def compact(arguments: object) -> str:
    """Return tool arguments that came as an object as JSON text.

    A number too large for a float (1e999) becomes null: the infinity it was read as has no JSON form.
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


def data_url(media_type: str | None, data: bytes) -> str:
    """Return bytes as a data URL."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def truncated(message: str = "the stream ended without its terminal marker") -> Failure:
    """Return the failure of an answer that was cut."""
    return Failure(FailureKind.TRUNCATED, message, phase="stream")


def malformed(message: str) -> Failure:
    """Return the failure of an answer that breaks the grammar of its API."""
    return Failure(FailureKind.PROTOCOL, message, phase="stream")
