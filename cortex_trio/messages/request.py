"""What is asked of a model: tools and `ChatRequest`, the value that every dialect encodes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from ..failures import InvalidRequest
from .message import Message
from .parts import Document, ToolKind

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""The names of tools that every provider allows. Source: OpenAI's and Anthropic's references."""


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

    function: Callable[..., object] | None = attrs.field(default=None, kw_only=True, eq=False, repr=False)
    """What `run_tools` and `Conversation` call; nothing else does. None: the caller answers the calls. It is not sent,
    and is ignored by `==`."""

    @classmethod
    def from_function(
        cls, fn: Callable[..., object], *, name: str | None = None, description: str | None = None
    ) -> Tool:
        """Return a tool that is a function: its parameters from the annotations, its description from the docstring.

        The descriptions of the parameters are those of the docstring's section "Args:", or the text in
        `Annotated[str, "…"]`. Parameters that a `functools.partial` has given by name are not shown to the model.

        Args:
            fn: A function, a method, a partial or an object with `__call__`; sync or async. Every parameter needs an
                annotation: attrs classes, dataclasses, TypedDict, NamedTuple, Enum, Literal, unions, list, tuple, set,
                dict, str, int, float, bool, None, datetime, date, time, UUID, Decimal and Path.
            name: The name of the tool. None: that of the function.
            description: What the tool does, for the model. None: the docstring.

        Raises:
            InvalidRequest: A parameter has no annotation or a type without a form in JSON, or the name is not allowed.
        """
        from ..structure import (
            FunctionParameters,
        )  # here, because a program without such tools needs no cattrs

        found = FunctionParameters.of(fn, name)
        tool_name = found.name if name is None else name
        if not NAME.fullmatch(tool_name):
            raise InvalidRequest(
                f"tool {tool_name!r:.70}: name= is needed: 1 to 64 letters, digits, underscores and hyphens"
            )
        text = found.description if description is None else description
        return cls(tool_name, text, found.schema(f"tool {tool_name}"), function=fn)

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
