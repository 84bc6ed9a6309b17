"""What one request gets from a simulated provider. Does not depend on a dialect or a socket.

A `Behaviour` without arguments is a good answer. Every other field is a fault that real providers have, and most of
them can be combined: a stall after two events, then a cut after four.

"After N content events" means: N deltas of text, reasoning or tool calls, or whole parts, were sent, and the next event
was not. If the answer has fewer, it means after the last delta, so that a scripted fault always happens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from ..events import CitationDelta, FinishReason, Usage
from ..failures import FailureKind
from ..messages import Image, Opaque, ToolCall

NOT_SENT: Mapping[FailureKind, str] = {
    FailureKind.CONNECTION: "refuse, reset_after or cut_mid_chunk",
    FailureKind.STALLED: "silent or stall_after",
    FailureKind.PROTOCOL: "garble_after or html",
    FailureKind.TRUNCATED: "cut_after",
    FailureKind.EMPTY: 'text=""',
    FailureKind.CRASHED: "nothing: it happens in the gateway",
    FailureKind.CANCELLED: "nothing: the caller does it",
}
"""Failure kinds that no provider sends, and the fields to set instead."""

STATUS_KINDS: Mapping[int, FailureKind] = {
    400: FailureKind.BAD_REQUEST,
    401: FailureKind.CREDENTIAL,
    402: FailureKind.QUOTA,
    403: FailureKind.PERMISSION,
    404: FailureKind.MODEL_NOT_FOUND,
    409: FailureKind.BAD_REQUEST,
    413: FailureKind.BAD_REQUEST,
    415: FailureKind.BAD_REQUEST,
    422: FailureKind.BAD_REQUEST,
    429: FailureKind.RATE_LIMIT,
    498: FailureKind.OVERLOADED,
    500: FailureKind.SERVER,
    502: FailureKind.SERVER,
    503: FailureKind.OVERLOADED,
    504: FailureKind.SERVER,
    529: FailureKind.OVERLOADED,
}
"""The failure kind whose error body is sent with a status; another status gets the body of UNKNOWN."""

Break = Literal["request", "headers"]
"""Where a connection ends: after the whole request, without a byte of the response, or after its headers."""
Packing = Literal["gzip", "deflate"]


def _not_negative(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and not value >= 0:
        raise ValueError(f"Behaviour.{attribute.name}: must be 0 or more, not {value!r}")


def _positive(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and not value > 0:
        raise ValueError(f"Behaviour.{attribute.name}: must be more than 0, not {value!r}")


def _is(kind: type) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, kind):
            raise ValueError(f"Behaviour.{attribute.name}: a {kind.__name__} is needed, not {value!r:.60}")

    return check


def _seconds(default: float = 0.0) -> Any:
    return attrs.field(default=default, validator=_not_negative)


def _after() -> Any:
    return attrs.field(default=None, validator=_not_negative)


_is_break = attrs.validators.in_((None, "request", "headers"))
_is_packing = attrs.validators.in_((None, "gzip", "deflate"))


@attrs.frozen(kw_only=True)
class Behaviour:
    """What one request gets. All times are in seconds.

    Raises ValueError for values that are out of range or contradict each other.
    """

    # ---- a good answer
    text: str = attrs.field(default="Hello from the simulator.", validator=_is(str))
    """Sent as the deltas `tokens.split_tokens(text)`."""
    tokens: Sequence[str] | None = None
    """The text deltas, instead of `text`. May be very many: each is rendered when it is sent. None: use `text`."""
    reasoning: str = attrs.field(default="", validator=_is(str))
    """Sent where the dialect sends it; in OpenAI's chat completions it is only counted."""
    tool_calls: Sequence[ToolCall] = ()
    parts: Sequence[Image | Opaque] = ()
    """Sent whole between reasoning and text, where the dialect can: provider-specific blocks (Anthropic, Gemini, the
    Responses API), images (Gemini, the Responses API; OpenAI-compatible servers such as OpenRouter: after the text)."""
    citations: Sequence[CitationDelta] = ()
    refusal: bool = attrs.field(default=False, validator=_is(bool))
    """The text is a refusal; an ordinary answer where the dialect cannot mark it (Groq, Gemini, Cohere, Ollama)."""
    finish: FinishReason = FinishReason.STOP
    """STOP becomes TOOL_CALLS if there are tool calls."""
    usage: Usage | None = None
    """None: the tokens of the prompt and of the answer are counted."""

    # ---- its timing
    connect_after: float = _seconds()
    """The connection is accepted so much later. Only in memory, and only in a script of behaviours."""
    first_token_after: float = _seconds()
    tokens_per_second: float = attrs.field(default=math.inf, validator=_positive)
    pings: float | None = attrs.field(default=None, validator=_positive)
    """During a wait, the interval of comments or pings; None: none. NDJSON (Ollama) has none."""

    lasts: float | None = attrs.field(default=None, validator=_positive)
    """In a script: all requests and connections get this step for so many seconds, counted from the first one that
    gets it. Then the next step begins; so the last step cannot have it. None: the step is for one request. A function
    in a script uses `SimRequest.when` instead."""

    # ---- an error before the stream
    status: int = 200
    """Other than 200: sent with its usual error body, or the status of `error`, `error_body`, `body`."""
    error: FailureKind | None = None
    """Sent with the provider's own status and body for this kind; with `error_after`, inside a stream of status 200."""
    error_body: bytes | str | None = None
    """Exactly this error body, with `content_type`. None: the provider's own."""
    retry_after: float | str | None = None
    """The Retry-After header. A number is also put into the body where the provider does that. None: no header."""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    """Added to the headers of the response; they replace headers of the same name."""

    # ---- a connection that fails
    refuse: bool = False
    """A new connection is refused (over sockets: accepted and reset at once), a kept-alive connection reset."""
    reset_at: Break | None = attrs.field(default=None, validator=_is_break)
    """Where the connection is reset before content; None: it is not. After content: `reset_after`."""
    cut_at: Break | None = attrs.field(default=None, validator=_is_break)
    """Where the connection is closed in an orderly way before the body; None: it is not."""
    silent: bool = False
    """The request is accepted, and no byte of a response is sent."""
    close_idle: bool = False
    """The connection is closed after the response, without `connection: close`."""
    close_on_reuse: bool = False
    """The connection is closed when its next request arrives: the race of keep-alive connections."""
    endless_headers: bool = False

    # ---- a body that fails
    reset_after: int | None = _after()
    """The connection is reset after N content events."""
    cut_after: int | None = _after()
    """The body ends in an orderly way after N content events, without finish reason and terminal marker."""
    cut_mid_chunk: int | None = _after()
    """The connection is closed in the middle of an HTTP chunk after N content events."""
    stall_after: int | None = _after()
    """Nothing is sent for `stall_for` seconds after N content events; 0: after headers and opening events."""
    stall_for: float = _seconds(math.inf)
    garble_after: int | None = _after()
    """A malformed event is sent after N content events; then the answer continues."""
    error_after: int | None = _after()
    """The error `error` is sent as an event of the dialect after N content events; 0: it is the first event."""
    no_terminal: bool = False
    """The finish reason is sent, but not `[DONE]` or `message_stop`."""

    # ---- how the bytes are written
    slice_bytes: int | None = attrs.field(default=None, validator=_not_negative)
    """The body is written N bytes at a time; None and 0: one write for each event."""
    one_block: bool = False
    """The whole body is written at once."""

    packed: Packing | None = attrs.field(default=None, validator=_is_packing)
    """How a body that is not streamed (an error, a page, an answer) is compressed, with the header content-encoding.
    None: not at all. For a wrong header use `headers` instead."""

    # ---- another body
    html: bool = False
    """A web page is sent instead of the answer: with status 200 as by a captive portal, with another `status` and
    `retry_after` as by a proxy."""
    body: bytes | None = attrs.field(
        default=None, repr=lambda body: "None" if body is None else f"<{len(body)} bytes>"
    )
    """Exactly this body is sent, with `content_type`, to every request. None: the answer."""
    content_type: str = "application/json"

    def __attrs_post_init__(self) -> None:
        if self.error is not None and self.error in NOT_SENT:
            raise ValueError(
                f"Behaviour.error: no provider sends {self.error.value!r}; use {NOT_SENT[self.error]}"
            )
        if self.error_after is not None and self.error is None:
            raise ValueError("Behaviour.error_after: error= is needed as well")

    @property
    def breaks_body(self) -> bool:
        """Whether the body may not be sent whole, so that no content-length can be sent."""
        faults = (self.reset_after, self.cut_after, self.cut_mid_chunk, self.stall_after, self.garble_after)
        return any(fault is not None for fault in faults)

    @property
    def failure(self) -> FailureKind | None:
        """The kind of the error that is sent instead of a stream; None: a stream begins."""
        if self.error is not None and self.error_after is None:
            return self.error
        if self.status != 200 or self.error_body is not None:
            return STATUS_KINDS.get(self.status, FailureKind.UNKNOWN)
        return None
