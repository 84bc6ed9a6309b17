"""What goes in: messages, their parts, tools, and the one request value every dialect encodes.

Knows no provider and no wire. What else callers may write in their place is read in `intake`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from .failures import InvalidRequest

Role = Literal["system", "user", "assistant", "tool"]

ToolKind = Literal["function", "custom"]
"""A function takes a JSON object; a custom tool of OpenAI's takes free text."""


def _size(data: object, unit: str) -> str:
    return f"<{len(data)} {unit}>" if isinstance(data, str | bytes) else repr(data)


@attrs.frozen
class Text:
    text: str


@attrs.frozen
class Image:
    """An image by URL, or as bytes with a media type.

    One that a model made may have a `signature`, which goes back only to its `origin`, as that of a ToolCall does.
    """

    url: str | None = None
    data: bytes | None = attrs.field(default=None, repr=lambda data: _size(data, "bytes"))
    media_type: str | None = None
    signature: str | None = None
    origin: str | None = None

    def __attrs_post_init__(self) -> None:
        if (self.url is None) == (self.data is None):
            raise InvalidRequest("Image: exactly one of url= and data= is needed")
        if self.data is not None and not self.media_type:
            raise InvalidRequest('Image: data= needs media_type=, for example "image/png"')


@attrs.frozen
class Document:
    """A text for grounded answers (Cohere `documents`; others: a titled text part)."""

    text: str
    title: str | None = None
    id: str | None = None


@attrs.frozen
class Reasoning:
    """Thinking. `signature` / `encrypted` go back only to the provider they came from.

    `origin` is "provider/model" of the answer it was part of; None means the caller vouches for it.
    """

    text: str
    signature: str | None = None
    encrypted: str | None = None
    origin: str | None = None


@attrs.frozen
class ToolCall:
    """A call the model wants made. `signature` is Gemini's opaque thought signature, bound to `origin`.

    `complete`: its arguments came to their end. False for a call in which the answer was cut, as the partial reply of
    a StreamInterrupted may hold one. Two calls that differ in nothing else are equal.
    """

    id: str
    name: str
    arguments: str  # raw JSON text, never re-serialised; free text for a tool of kind "custom"
    signature: str | None = None
    origin: str | None = None
    kind: ToolKind = "function"
    complete: bool = attrs.field(default=True, eq=False)

    def parsed(self) -> dict[str, Any]:
        """Return the arguments as an object.

        `""`, `"null"` and blanks mean `{}` (Groq and Cohere send them for tools without arguments);
        anything that is not an object raises ValueError.
        """
        if self.arguments.strip() in ("", "null"):
            return {}
        value = json.loads(self.arguments)
        if not isinstance(value, dict):
            raise ValueError(
                f"arguments of tool call {self.name!r} are a JSON {type(value).__name__}, not an object"
            )
        return value


@attrs.frozen
class ToolResult:
    tool_call_id: str
    content: str | Sequence[Text | Image]
    name: str | None = None
    is_error: bool = False


@attrs.frozen
class Opaque:
    """A block only its provider understands, such as a search it ran itself: kept as it came, and sent back unread.

    It goes back only to the provider of its `origin` ("provider/model", as in Reasoning); None means: to every
    provider that is asked, the caller vouches for it. Without it the conversation is still legal, only poorer.
    """

    type: str  # as its provider calls it
    data: str = attrs.field(repr=lambda data: _size(data, "characters"))  # the whole block, raw JSON text
    origin: str | None = None

    def parsed(self) -> dict[str, Any]:
        """Return the block as an object; raises ValueError if it is none."""
        value = json.loads(self.data)
        if not isinstance(value, dict):
            raise ValueError(f"a block of type {self.type!r} is a JSON {type(value).__name__}, not an object")
        return value


Part = Text | Image | Document | Reasoning | ToolCall | ToolResult | Opaque


@attrs.frozen
class Message:
    role: Role
    content: str | Sequence[Part]

    @property
    def parts(self) -> tuple[Part, ...]:
        """The content as parts: a bare string is one Text, an empty string is none."""
        if isinstance(self.content, str):
            return (Text(self.content),) if self.content else ()
        return tuple(self.content)

    @property
    def text(self) -> str:
        """All Text parts joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


def system(text: str) -> Message:
    """Return a system message: what the model is to be, before the first message."""
    return Message("system", text)


def user(*content: str | Part) -> Message:
    """Return what the user says: one text, or any parts in order."""
    return Message("user", _content(content))


def assistant(*content: str | Part) -> Message:
    """Return what the model said before, as its `Reply.message` has it."""
    return Message("assistant", _content(content))


def _content(content: Sequence[str | Part]) -> str | tuple[Part, ...]:
    if len(content) == 1 and isinstance(content[0], str):
        return content[0]
    return tuple(Text(part) if isinstance(part, str) else part for part in content)


@attrs.frozen
class Tool:
    name: str
    description: str
    parameters: Mapping[str, Any]  # JSON Schema
    strict: bool | None = None


Messages = str | Message | Mapping[str, Any] | Sequence[Message | Mapping[str, Any]]
"""A bare string is one user message; mappings in OpenAI's shape ({"role": …, "content": …}) are accepted."""


@attrs.frozen(kw_only=True)
class ChatRequest:
    """One chat request, free of any provider. None means: the caller did not set it, so it is not sent."""

    messages: tuple[Message, ...]
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] | None = None
    tools: tuple[Tool, ...] | None = None
    tool_choice: str | None = None  # "auto" | "none" | "required" | a tool's name
    response_schema: Mapping[str, Any] | None = None
    reasoning: str | int | None = None  # effort, or a token budget
    documents: tuple[Document, ...] | None = None
    extra_body: Mapping[str, Any] | None = None
    stream: bool = True
