"""What is asked of a model: tools and `ChatRequest`, the value that every dialect encodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ..failures import InvalidRequest
from .message import Message
from .parts import Document, ToolKind


@attrs.frozen
class Tool:
    """A tool that the model may call: a function, or a custom tool that takes free text.

    Raises:
        InvalidRequest: A function has no `parameters`, or a custom tool has `parameters` or `strict`.
    """

    name: str
    """The name, unique among the tools of a request."""

    description: str
    """What the tool does and when to use it, for the model."""

    parameters: Mapping[str, Any] | None = None
    """The JSON Schema of the arguments: an object. None for a custom tool, and only for one."""

    strict: bool | None = None
    """Whether the provider must keep the arguments to the schema. None: the provider's default."""

    kind: ToolKind = attrs.field(default="function", kw_only=True)
    """Whether the model calls it with a JSON object or with free text. Only OpenAI's APIs have custom tools."""

    format: Mapping[str, Any] | None = attrs.field(default=None, kw_only=True)
    """What the free text of a custom tool must look like, as OpenAI describes a grammar. None: any text."""

    cache: bool = attrs.field(default=False, kw_only=True)
    """True: the prompt up to the end of this tool is to be cached, where the dialect has such breakpoints."""

    def __attrs_post_init__(self) -> None:
        if self.kind == "function" and self.parameters is None:
            raise InvalidRequest(
                f"Tool {self.name!r:.40}: parameters= is needed, the JSON Schema of its arguments"
            )
        if self.kind == "function" and self.format is not None:
            raise InvalidRequest(f'Tool {self.name!r:.40}: format= is for kind="custom" only')
        if self.kind == "custom" and (self.parameters is not None or self.strict is not None):
            raise InvalidRequest(f"Tool {self.name!r:.40}: a custom tool has no parameters= and no strict=")


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
