"""The input of a call: messages, their parts, tools, and the request value that every dialect encodes.

Knows no provider and no wire format. `intake` reads the other forms in which callers may write messages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from .failures import InvalidRequest

Role = Literal["system", "user", "assistant", "tool"]
"""The author of a message. "tool" messages hold the results of tool calls."""

ToolKind = Literal["function", "custom"]
"""A function takes a JSON object; a custom tool (OpenAI) takes free text."""


def _size(data: object, unit: str) -> str:
    return f"<{len(data)} {unit}>" if isinstance(data, str | bytes) else repr(data)


@attrs.frozen
class Text:
    """A piece of text."""

    text: str
    """The text, as it is sent."""


@attrs.frozen
class Image:
    """An image, by URL or as bytes. Exactly one of `url` and `data` is set.

    Raises:
        InvalidRequest: Both or neither of `url` and `data` are given, or `data` without `media_type`.
    """

    url: str | None = None
    """An address that the provider can load. None if `data` is set."""

    data: bytes | None = attrs.field(default=None, repr=lambda data: _size(data, "bytes"))
    """The bytes of the image. None if `url` is set."""

    media_type: str | None = None
    """The MIME type, such as "image/png". Needed with `data`; None means unknown."""

    signature: str | None = None
    """The provider's signature of an image that a model made, sent back only to `origin`. None: there is none."""

    origin: str | None = None
    """The "provider/model" of the model that made the image. None for an image of the caller."""

    def __attrs_post_init__(self) -> None:
        if (self.url is None) == (self.data is None):
            raise InvalidRequest("Image: exactly one of url= and data= is needed")
        if self.data is not None and not self.media_type:
            raise InvalidRequest('Image: data= needs media_type=, for example "image/png"')


@attrs.frozen
class Document:
    """A text that the answer is to be based on.

    Cohere gets it in `documents`; other providers get a text part with the title in front.
    """

    text: str
    """The text of the document."""

    title: str | None = None
    """The title. None: it has none."""

    id: str | None = None
    """The name by which citations refer to the document. None: the provider numbers the documents."""


@attrs.frozen
class Reasoning:
    """Reasoning of a model. `signature` and `encrypted` are sent back only to the model they came from."""

    text: str
    """The reasoning, or the provider's summary of it. May be empty."""

    signature: str | None = None
    """The provider's opaque signature of the text. None: there is none."""

    encrypted: str | None = None
    """The reasoning itself in encrypted form. None: there is none."""

    origin: str | None = None
    """The "provider/model" of the answer that the reasoning was part of. None: it is sent to every provider."""


@attrs.frozen
class ToolCall:
    """A tool call that the model requests."""

    id: str
    """The id that the result refers to. Unique within an answer."""

    name: str
    """The name of the tool."""

    arguments: str
    """JSON text as the model wrote it, never serialised again; free text for a tool of kind "custom"."""

    signature: str | None = None
    """Gemini's opaque thought signature. It is sent back only to `origin`. None: there is none."""

    origin: str | None = None
    """The "provider/model" of the model that made the call. None if the call has no signature."""

    kind: ToolKind = "function"
    """Whether `arguments` is a JSON object or free text."""

    complete: bool = attrs.field(default=True, eq=False)
    """False if the answer ended inside the arguments, as in `StreamInterrupted.partial`. Ignored by `==`."""

    def parsed(self) -> dict[str, Any]:
        """Return the arguments as a dict.

        `""`, `"null"` and blanks mean `{}`: Groq and Cohere send them for tools without arguments.

        Raises:
            ValueError: The arguments are not JSON, or not an object.
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
    """The result of a tool call, for a message with the role "tool"."""

    tool_call_id: str
    """The `ToolCall.id` of the call."""

    content: str | Sequence[Text | Image]
    """What the tool returned."""

    name: str | None = None
    """The name of the tool. None: it is taken from the call where a provider needs it."""

    is_error: bool = False
    """True if the tool failed and `content` says why."""


@attrs.frozen
class Opaque:
    """A block that only its provider understands, such as a web search that it ran. It is sent back unchanged.

    A conversation without its opaque blocks is still valid, but the model then lacks what they hold.
    """

    type: str
    """The provider's name for this type of block."""

    data: str = attrs.field(repr=lambda data: _size(data, "characters"))
    """The whole block, as JSON text."""

    origin: str | None = None
    """The "provider/model" of the model that made the block; only its provider gets it. None: every provider does."""

    def parsed(self) -> dict[str, Any]:
        """Return the block as a dict.

        Raises:
            ValueError: The block is not JSON, or not an object.
        """
        value = json.loads(self.data)
        if not isinstance(value, dict):
            raise ValueError(f"a block of type {self.type!r} is a JSON {type(value).__name__}, not an object")
        return value


Part = Text | Image | Document | Reasoning | ToolCall | ToolResult | Opaque
"""One part of a message."""


@attrs.frozen
class Message:
    """One message of a conversation."""

    role: Role
    """The author: "system", "user", "assistant" or "tool"."""

    content: str | Sequence[Part]
    """A text, or parts in order. A message with the role "tool" holds `ToolResult` parts."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """The content as parts: a string is one Text, an empty string is no part."""
        if isinstance(self.content, str):
            return (Text(self.content),) if self.content else ()
        return tuple(self.content)

    @property
    def text(self) -> str:
        """The text of all Text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


def system(text: str) -> Message:
    """Return a system message: instructions to the model, before the first message of the user.

    Args:
        text: The instructions.
    """
    return Message("system", text)


def user(*content: str | Part) -> Message:
    """Return a message of the user.

    Args:
        content: One text, or texts and parts in order.
    """
    return Message("user", _content(content))


def assistant(*content: str | Part) -> Message:
    """Return a message of the model, for the history of a conversation. `Reply.message` is one already.

    Args:
        content: One text, or texts and parts in order.
    """
    return Message("assistant", _content(content))


def _content(content: Sequence[str | Part]) -> str | tuple[Part, ...]:
    if len(content) == 1 and isinstance(content[0], str):
        return content[0]
    return tuple(Text(part) if isinstance(part, str) else part for part in content)


@attrs.frozen
class Tool:
    """A function that the model may call."""

    name: str
    """The name, unique among the tools of a request."""

    description: str
    """What the tool does and when to use it, for the model."""

    parameters: Mapping[str, Any]
    """The JSON Schema of the arguments: an object."""

    strict: bool | None = None
    """Whether the provider must keep the arguments to the schema. None: the provider's default."""


Messages = str | Message | Mapping[str, Any] | Sequence[Message | Mapping[str, Any]]
"""What callers may pass: a string is one user message; mappings have OpenAI's form, {"role": …, "content": …}."""


@attrs.frozen(kw_only=True)
class ChatRequest:
    """One chat request, independent of any provider. None in a field means that it is not sent."""

    messages: tuple[Message, ...]
    """The conversation, oldest message first."""

    max_tokens: int | None = None
    """The most tokens that the answer may have."""

    temperature: float | None = None
    """The sampling temperature; its range is the provider's."""

    top_p: float | None = None
    """The nucleus sampling limit, 0 to 1."""

    stop: tuple[str, ...] | None = None
    """Texts at which the answer ends."""

    tools: tuple[Tool, ...] | None = None
    """The tools that the model may call."""

    tool_choice: str | None = None
    """One of "auto", "none" and "required", or the name of the tool that must be called."""

    response_schema: Mapping[str, Any] | None = None
    """The JSON Schema that the answer must follow."""

    reasoning: str | int | None = None
    """The effort of the reasoning as the provider names it, or the most tokens for it."""

    documents: tuple[Document, ...] | None = None
    """Texts that the answer is to be based on."""

    extra_body: Mapping[str, Any] | None = None
    """Fields that are added to the body of the request as they are."""

    stream: bool = True
    """Whether the provider is to stream the answer."""
