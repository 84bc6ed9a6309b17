"""What a simulated provider must be able to say, whatever its dialect. Knows no socket and no clock.

A `Speaker` understands a request as strictly as the real provider would (or declines it in the provider's own
words), and renders an `Answer` as frames of a stream or as one body.
"""

from __future__ import annotations

import enum
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import attrs

from ..events import CitationDelta, FinishReason, Usage
from ..failures import FailureKind
from ..messages import Image, Opaque, ToolCall

CREATED = 1767225600
"""2026-01-01T00:00:00Z, the one moment at which every answer is made: runs are reproducible."""
DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
RFC3339 = "2026-01-01T00:00:00Z"

# ------------------------------------------------------------------ what was asked


@attrs.frozen(kw_only=True)
class SimRequest:
    """One request as it arrived. `when` is trio time; `connection` counts the provider's connections from 1."""

    when: float
    method: str
    path: str
    query: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    body: Any = None  # parsed JSON; None for none, the bytes for what is no JSON
    key: str | None = attrs.field(default=None, repr=False)  # as sent, for assertions; never shown
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)  # lower-case names
    connection: int = 0
    number: int = 0  # counts the provider's requests from 1


@attrs.frozen(kw_only=True)
class ParsedRequest:
    """A legal request, understood. `options` holds what the dialect itself wants to remember."""

    what: Literal["chat", "embed", "models", "model", "count", "health"]
    number: int
    model: str = ""
    stream: bool = False
    prompt_tokens: int = 0
    texts: Sequence[str] = ()  # to embed
    dimensions: int | None = None
    options: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class AccountRules:
    """What this account may do: the keys that are valid (None: any), prefill (None: as the model really does)."""

    keys: frozenset[str] | None = None
    prefill: bool | None = None


# ------------------------------------------------------------------ what is answered


class FrameKind(enum.Enum):
    OPENING = "opening"  # lifecycle before, between and after deltas
    CONTENT = "content"  # a delta the user gets to see
    FINISH = "finish"  # the finish reason, final usage
    TERMINAL = "terminal"  # [DONE], message_stop


class Frame(NamedTuple):
    kind: FrameKind
    data: bytes


@attrs.frozen(kw_only=True)
class Answer:
    """A behaviour's good answer, worked out for one request."""

    tokens: Sequence[str]
    reasoning: Sequence[str]
    parts: Sequence[Image | Opaque]
    tool_calls: Sequence[ToolCall]
    citations: Sequence[CitationDelta]
    refusal: bool
    finish: FinishReason
    usage: Usage

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def reasoning_text(self) -> str:
        return "".join(self.reasoning)


@attrs.frozen(kw_only=True)
class HttpAnswer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Rejected(Exception):  # an answer that travels up, not a fault of ours
    """The request is not legal; `answer` says so in the provider's own words."""

    def __init__(self, answer: HttpAnswer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Speaker(Protocol):
    """One provider's side of its dialect."""

    base_path: str
    """What follows the host in base_url: "/v1" for OpenAI, nothing for Anthropic."""
    needs_key: bool

    def key_of(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        """The key as it was sent, wherever this provider takes it from."""
        ...

    def parse(self, request: SimRequest, terms: AccountRules) -> ParsedRequest:
        """Raises Rejected for what the provider would not accept."""
        ...

    def headers(self, asked: ParsedRequest) -> Mapping[str, str]:
        """The response headers of a good answer, without framing."""
        ...

    def stream(self, asked: ParsedRequest, answer: Answer) -> Iterator[Frame]: ...

    def whole(self, asked: ParsedRequest, answer: Answer) -> bytes: ...

    def listing(self, asked: ParsedRequest, models: Sequence[str]) -> bytes:
        """The answer to a list of models, to `asked.model` alone, to a count of tokens or a health check."""
        ...

    def embeddings(self, asked: ParsedRequest) -> bytes: ...

    def failure(
        self, kind: FailureKind, asked: ParsedRequest, *, status: int | None = None, wait: float | None = None
    ) -> HttpAnswer:
        """The provider's own error for `kind`. `wait`: seconds to put where the body has a place for them."""
        ...

    def failure_frame(self, kind: FailureKind, asked: ParsedRequest, wait: float | None) -> bytes:
        """The same error inside a 200 stream, with whatever the dialect lets follow it."""
        ...

    def garbled(self, asked: ParsedRequest) -> bytes:
        """A malformed event."""
        ...

    def ping(self, asked: ParsedRequest) -> bytes:
        """A sign of life without content; empty where the wire has none."""
        ...


# ------------------------------------------------------------------ shared by the speakers

_TOKEN = re.compile(r"\s*\S+|\s+")


def split_tokens(text: str) -> tuple[str, ...]:
    """Words with the space before them, much as tokenisers cut; joined they are the text again."""
    return tuple(_TOKEN.findall(text))


EDGE_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    b"<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n"
)
PORTAL_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body>Log in to go on</body></html>\n"
)


def edge_answer(status: int | None) -> HttpAnswer:
    """What a proxy in front of a provider says when it cannot reach it."""
    headers = {"content-type": "text/html; charset=UTF-8", "server": "cloudflare"}
    return HttpAnswer(status=status or 502, headers=headers, body=EDGE_PAGE)


def unknown_answer(status: int | None) -> HttpAnswer:
    """An answer that is not the provider's error: a server on the way redirects."""
    headers = {"content-type": "text/html", "location": "https://login.invalid/"}
    return HttpAnswer(status=status or 302, headers=headers, body=PORTAL_PAGE)


def dumps(
    value: object, *, spaced: bool = False, indent: int | None = None, escape_html: bool = False
) -> str:
    """JSON as servers write it: compact; `spaced` after colons as Google's; `escape_html` as Go's and Google's do."""
    separators = (",", ": ") if spaced or indent else (",", ":")
    text = json.dumps(value, ensure_ascii=False, separators=separators, indent=indent)
    if escape_html:
        text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
        text = text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")  # for the sake of JavaScript
    return text


def count_tokens(value: object) -> int:
    """Tokens of every text in the messages of a request: strings under "content" and "text", at any depth."""
    match value:
        case str():
            return len(split_tokens(value))
        case list():
            return sum(count_tokens(item) for item in value)
        case dict():
            return sum(
                count_tokens(value[name]) for name in ("content", "text", "parts", "system") if name in value
            )
        case _:
            return 0


def vector_of(text: str, dimensions: int | None) -> list[float]:
    """A small vector that depends on nothing but the text, with components in [-1, 1)."""
    wanted = dimensions or 8
    digest = hashlib.shake_128(text.encode()).digest(wanted * 2)
    return [int.from_bytes(digest[at : at + 2], "big", signed=True) / 32768 for at in range(0, wanted * 2, 2)]


def json_object(arguments: str) -> object:
    """Tool arguments for wires that send an object; what is no JSON travels as it is."""
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return {"_": arguments}
