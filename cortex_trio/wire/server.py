"""The server side of a dialect: what it reads from a client and what it sends back. Knows no socket and no clock.

A `ServerDialect` is the other half of a `codec.Dialect`. It parses a client's request into the values that `encode`
takes, and renders stream events, a `Reply` or a failure as the frames and bodies of its API. The HTTP endpoint and
the simulated providers both use it.

    ReceivedRequest --parse--> ParsedRequest            what is asked for: enough to route it
                    --chat_request--> ChatRequest       the whole conversation and its options
    StreamEvent     --StreamRenderer--> Frame           one response, piece by piece
    Reply           --render_reply--> bytes             the same, not streamed

Identifiers and times of a response come from the caller, in a `ResponseIdentity`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import attrs

from ..events import ReasoningSeal, Reply, StreamEvent, Usage
from ..failures import FailureKind
from ..messages import ChatRequest

# ------------------------------------------------------------------ the request


@attrs.frozen(kw_only=True)
class ResponseIdentity:
    """What makes one response different from all others. The caller makes it: a dialect has no clock, no randomness."""

    id: str
    """Letters, digits and underscores; the dialect puts its own prefix before it ("chatcmpl-", "msg_")."""
    uuid: str
    """The same for APIs whose ids are UUIDs."""
    created: int
    """Seconds since 1970."""
    created_text: str
    """The same moment as RFC 3339 has it, in UTC."""


@attrs.frozen(kw_only=True)
class ReceivedRequest:
    """One request as a client sent it."""

    method: str
    path: str
    """Without the query; percent escapes are decoded."""
    query: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    """Names in lower case."""
    body: Any = attrs.field(default=None, repr=False)
    """Parsed JSON; None where there is no body; the bytes themselves where they are not JSON."""
    identity: ResponseIdentity = attrs.field(repr=False)
    """Of the response to it."""


class Operation(enum.Enum):
    """What a client asks for."""

    CHAT = "chat"
    EMBED = "embed"
    MODELS = "models"  # the list of models
    MODEL = "model"  # one model
    COUNT = "count"  # the number of tokens of a chat request
    HEALTH = "health"


@attrs.frozen(kw_only=True)
class ParsedRequest:
    """What a request asks for: enough to route it and to render the response to it."""

    operation: Operation
    identity: ResponseIdentity = attrs.field(repr=False)
    model: str = ""
    """Empty where the request names none."""
    stream: bool = False
    prompt_tokens: int = 0
    """Tokens of the request. `parse` leaves it at 0; a caller that has counted them may set it."""
    texts: Sequence[str] = attrs.field(default=(), repr=False)
    """What to embed."""
    tokens: Sequence[Sequence[int]] = attrs.field(default=(), repr=False)
    """What to embed where tokens came and no texts: those of the tokenizer of the model."""
    dimensions: int | None = None
    """Of each embedding; None: the model's own number."""
    logprobs: int | None = None
    """Alternatives that are wanted with the log probability of each token. None: log probabilities are not wanted."""
    form: object = None
    """What only this dialect's renderer reads, such as whether usage was asked for. None: the defaults."""


@attrs.frozen(kw_only=True)
class HttpResponse:
    """A whole response: `headers` without framing, names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Rejected(Exception):
    """A request this API does not accept.

    Attributes:
        response: Says so as this API does.
    """

    def __init__(self, response: HttpResponse) -> None:
        super().__init__(response.status)
        self.response = response


# ------------------------------------------------------------------ the response


class FrameKind(enum.Enum):
    """What a piece of a streamed body is for."""

    OPENING = "opening"  # lifecycle before, between and after deltas
    CONTENT = "content"  # a delta that the user sees
    FINISH = "finish"  # the finish reason, final usage
    TERMINAL = "terminal"  # [DONE], message_stop


class Frame(NamedTuple):
    """One piece of a streamed body."""

    kind: FrameKind
    data: bytes


@attrs.frozen(kw_only=True)
class Preview:
    """What is known of an answer before its first event. A gateway knows nothing and takes the defaults.

    Some APIs say things at the start that others say at the end: the tokens of the prompt, whether tool calls come.
    """

    usage: Usage = attrs.field(factory=Usage)
    reasoning: bool = False
    """Reasoning will come."""
    text: bool = True
    calls: bool = False
    """Tool calls will come."""
    refused: bool = False
    """The text is a refusal."""
    seal: ReasoningSeal | None = None
    """The seal of the first block of reasoning: some APIs send its id before the reasoning. None: unknown."""


class StreamRenderer(Protocol):
    """Renders one streamed answer. Call `begin` once, then `render` for each event; `Finished` ends the body."""

    def begin(self) -> list[Frame]:
        """Return the frames before the first event."""
        ...

    def render(self, event: StreamEvent) -> list[Frame]:
        """Return the frames of one event, of which there may be none: some events wait for a later one.

        `Restarted` and `Continued` have no form in any API and give no frames.
        """
        ...

    def fail(self, kind: FailureKind, *, message: str | None = None, wait: float | None = None) -> bytes:
        """Return the end of a body that broke off: an error in the form this API has inside a stream.

        Args:
            kind: What went wrong. A kind that this API has no error for becomes a server error.
            message: The text of the error. None: the usual text of this API.
            wait: Seconds until a retry makes sense, where the error has a place for it. None: unknown.
        """
        ...


class ServerDialect(Protocol):
    """The server side of one dialect. Values of it have no state."""

    @property
    def name(self) -> str:
        """The name of the `codec.Dialect` it is the other side of."""
        ...

    @property
    def base_path(self) -> str:
        """The path that a client's base URL ends with: "/v1" for OpenAI, nothing for Anthropic."""
        ...

    def serves(self, method: str, path: str) -> bool:
        """Whether a request to this path is for this dialect, on a server that has several."""
        ...

    def key_of(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        """Return the API key as the client sent it, None where there is none."""
        ...

    def parse(self, request: ReceivedRequest) -> ParsedRequest:
        """Return what is asked for. Reads only what that needs.

        Raises:
            Rejected: There is no such path, or a field that is needed is missing or of another type.
        """
        ...

    def validate(
        self, request: ReceivedRequest, parsed: ParsedRequest, *, prefill: bool | None = None
    ) -> None:
        """Check a parsed request as strictly as the real API: unknown fields, ranges, the order of messages.

        Args:
            prefill: Whether the last message may be the assistant's. None: as the real model decides.

        Raises:
            Rejected: The real API would not accept it.
        """
        ...

    def chat_request(self, request: ReceivedRequest, *, origin: str | None = None) -> ChatRequest:
        """Return the request as the value that `Dialect.encode` takes.

        Options that a ChatRequest has no name for are in its `extra_body`, as they came. They are fields of this
        API: a caller that encodes the request for another API has to remove or translate them.

        Args:
            origin: "provider/model", set on reasoning, signatures and opaque parts. None: they go to any provider.

        Raises:
            Rejected: A field has the wrong type, or a part that our messages have no value for (audio, files).
        """
        ...

    def content_type(self, request: ParsedRequest) -> str:
        """Return the media type of a good response."""
        ...

    def renderer(self, request: ParsedRequest, preview: Preview | None = None) -> StreamRenderer:
        """Return a renderer for one streamed answer."""
        ...

    def render_reply(self, request: ParsedRequest, reply: Reply) -> bytes:
        """Return a whole answer that is not streamed."""
        ...

    def render_listing(self, request: ParsedRequest, models: Sequence[str]) -> bytes:
        """Return the body for a list of models, for one model, a count of tokens or a health check."""
        ...

    def render_embeddings(self, request: ParsedRequest, vectors: Sequence[Sequence[float]]) -> bytes:
        """Return the body with one vector for each of `request.texts`, in order."""
        ...

    def failure(
        self,
        kind: FailureKind,
        request: ParsedRequest,
        *,
        message: str | None = None,
        status: int | None = None,
        wait: float | None = None,
    ) -> HttpResponse:
        """Return this API's error for `kind`, before anything of an answer was sent.

        Args:
            kind: What went wrong. A kind that this API has no error for becomes a server error.
            message: The text of the error. None: the usual text of this API.
            status: None: the usual status of this error.
            wait: Seconds until a retry makes sense, where the body has a place for it. None: unknown.
        """
        ...

    def missing_key(self, request: ReceivedRequest) -> HttpResponse:
        """Return the error for a request without an API key."""
        ...

    def keepalive(self, request: ParsedRequest) -> bytes:
        """Return bytes that keep a stream alive and mean nothing; empty where the API has none."""
        ...
