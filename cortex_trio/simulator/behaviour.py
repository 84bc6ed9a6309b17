"""What one request gets: the script a simulated provider plays from. Knows no dialect and no socket.

A `Behaviour` with no arguments is a good answer. Everything else is one thing that providers are known to do
wrong, and most of them combine: a stall after two events, then a cut after four.

"After N content events" means: N deltas of text, reasoning or tool calls or whole parts went out, and the next
thing, a delta or the finish, did not. An N beyond the end of the answer means after the last delta, so a scripted
fault always happens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from ..events import CitationDelta, FinishReason, Usage
from ..failures import FailureKind
from ..messages import Image, Opaque, ToolCall

WIRELESS: Mapping[FailureKind, str] = {
    FailureKind.CONNECTION: "refuse, reset_after or cut_mid_chunk",
    FailureKind.STALLED: "silent or stall_after",
    FailureKind.PROTOCOL: "garble_after or html",
    FailureKind.TRUNCATED: "cut_after",
    FailureKind.EMPTY: 'text=""',
    FailureKind.CRASHED: "nothing: it happens inside the gateway",
    FailureKind.CANCELLED: "nothing: it happens to the caller",
}
"""Kinds no provider answers with, and what to script instead."""

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
"""The body that goes with a bare status; any other status gets the body of UNKNOWN."""

Break = Literal["request", "headers"]
"""Where a connection breaks: behind the whole request, with no byte of an answer, or right behind the headers."""
Packing = Literal["gzip", "deflate"]


def _not_negative(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and not value >= 0:
        raise ValueError(f"Behaviour.{attribute.name}: zero or more, not {value!r}")


def _positive(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and not value > 0:
        raise ValueError(f"Behaviour.{attribute.name}: more than zero, not {value!r}")


def _seconds(default: float = 0.0) -> Any:
    return attrs.field(default=default, validator=_not_negative)


def _after() -> Any:
    return attrs.field(default=None, validator=_not_negative)


_is_break = attrs.validators.in_((None, "request", "headers"))
_is_packing = attrs.validators.in_((None, "gzip", "deflate"))


@attrs.frozen(kw_only=True)
class Behaviour:
    """What one request gets. All times in seconds.

    Raises ValueError for what cannot be played.
    """

    # ---- a good answer
    text: str = "Hello from the simulator."
    """Sent as tokens: `tokens.split_tokens(text)`."""
    tokens: Sequence[str] | None = None
    """Exact text deltas instead of `text`; may be huge: they are rendered one by one, as they are sent."""
    reasoning: str = ""
    """Shown where the wire shows it; OpenAI's chat completions only count it."""
    tool_calls: Sequence[ToolCall] = ()
    parts: Sequence[Image | Opaque] = ()
    """Said whole between reasoning and text, where the wire can: blocks of the provider's own (Anthropic, Gemini, the
    Responses API), images (Gemini, the Responses API; an OpenAI-compatible server, as OpenRouter: behind the text)."""
    citations: Sequence[CitationDelta] = ()
    refusal: bool = False
    """The text is a refusal; a plain answer where the wire has no word for it (Groq, Gemini, Cohere, Ollama)."""
    finish: FinishReason = FinishReason.STOP
    """STOP becomes TOOL_CALLS where there are some."""
    usage: Usage | None = None
    """None: tokens are counted, the prompt's as well."""

    # ---- its timing
    connect_after: float = _seconds()
    """In memory, and from a script only: the connection is accepted this much later."""
    first_token_after: float = _seconds()
    tokens_per_second: float = attrs.field(default=math.inf, validator=_positive)
    pings: float | None = attrs.field(default=None, validator=_positive)
    """While waiting, a comment or ping this often. NDJSON has none: Ollama stays silent."""

    lasts: float | None = attrs.field(default=None, validator=_positive)
    """In a script: every request and every connection gets this step for so many seconds, counted from the first one
    that meets it; then the next step begins, so that the last step cannot have it. None: the step is for one request.
    A function of a script looks at `SimRequest.when` instead."""

    # ---- an error before the stream
    status: int = 200
    """Another one: the error body that usually goes with it, or the status of `error`, `error_body`, `body`."""
    error: FailureKind | None = None
    """The provider's own status and body for that kind; with `error_after`, its own shape inside a 200 stream."""
    error_body: bytes | str | None = None
    """Exactly this body instead, as `content_type`."""
    retry_after: float | str | None = None
    """The Retry-After header as given; a number is also put where the provider's body has a place for it."""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    """Added to the answer's own headers, or instead of those of the same name."""

    # ---- a connection that fails
    refuse: bool = False
    """The connection is refused (over sockets: accepted and reset at once); a kept-alive one is reset."""
    reset_at: Break | None = attrs.field(default=None, validator=_is_break)
    """The connection is reset there. `reset_after` is the same behind content."""
    cut_at: Break | None = attrs.field(default=None, validator=_is_break)
    """The connection is closed in good order there, although an answer or its body was due."""
    silent: bool = False
    """The request is accepted and not one byte comes back."""
    close_idle: bool = False
    """The connection is closed right after the answer, without having said so."""
    close_on_reuse: bool = False
    """The next request on this connection is met by a close: the race of keep-alive, lost."""
    endless_headers: bool = False

    # ---- a body that fails
    reset_after: int | None = _after()
    """The connection is reset after N content events."""
    cut_after: int | None = _after()
    """The body ends in good order after N content events, without finish or terminal marker."""
    cut_mid_chunk: int | None = _after()
    """The connection is closed in the middle of an HTTP chunk after N content events."""
    stall_after: int | None = _after()
    """Silence after N content events; 0: headers and opening frames went out."""
    stall_for: float = _seconds(math.inf)
    garble_after: int | None = _after()
    """A malformed event after N content events; the rest follows."""
    error_after: int | None = _after()
    """An error of kind `error` in the dialect's own shape after N content events; 0: it is the first event."""
    no_terminal: bool = False
    """The finish reason comes, `[DONE]` or `message_stop` does not."""

    # ---- how the bytes are cut
    slice_bytes: int | None = attrs.field(default=None, validator=_not_negative)
    """The body is written in pieces of N bytes; None and 0: one write for each event."""
    one_block: bool = False
    """The whole body in one write."""

    packed: Packing | None = attrs.field(default=None, validator=_is_packing)
    """A body that is sent whole (an error, a page, an answer that is not streamed) is compressed, and the header
    content-encoding says so. For a false header leave it out and use `headers`."""

    # ---- something else altogether
    html: bool = False
    """A web page instead of the answer: under 200 as captive portals send it, under another `status`, with its
    `retry_after`, as proxies do."""
    body: bytes | None = attrs.field(
        default=None, repr=lambda body: "None" if body is None else f"<{len(body)} bytes>"
    )
    """Exactly this body, as `content_type`, whatever was asked."""
    content_type: str = "application/json"

    def __attrs_post_init__(self) -> None:
        if self.error is not None and self.error in WIRELESS:
            raise ValueError(
                f"Behaviour.error: no provider answers {self.error.value!r}; script {WIRELESS[self.error]}"
            )
        if self.error_after is not None and self.error is None:
            raise ValueError("Behaviour.error_after: error= must say which kind")

    @property
    def breaks_body(self) -> bool:
        """Whether something happens to the body on its way, so that its length cannot be promised."""
        faults = (self.reset_after, self.cut_after, self.cut_mid_chunk, self.stall_after, self.garble_after)
        return any(fault is not None for fault in faults)

    @property
    def failure(self) -> FailureKind | None:
        """The kind of the error answered before any stream; None for a good start."""
        if self.error is not None and self.error_after is None:
            return self.error
        if self.status != 200 or self.error_body is not None:
            return STATUS_KINDS.get(self.status, FailureKind.UNKNOWN)
        return None
