"""Reads a chat completions request. What a legal one looks like to each provider is in `rules`.

What our messages have no value for is refused: audio and files in a message. The `name` of an author, the `detail` of
an image and fields unknown to us inside a message are not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ...messages import (
    ChatRequest,
    Message,
    Part,
    Reasoning,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from ..reading import Value, extra, given
from ..server import Operation, ParsedRequest, ReceivedRequest

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",  # OpenAI's newer name
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
REASONING_FIELDS = ("reasoning_content", "reasoning")
"""Where an assistant message may hold what the model thought; the first that is there counts."""

OWN = (
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "tools",
    "tool_choice",
    "reasoning_effort",
)
"""Fields that a ChatRequest has a name for; all others go into its `extra_body`."""


@attrs.frozen
class StreamForm:
    """How the client wants its stream."""

    include_usage: bool = False
    """A last chunk with the usage."""
    obfuscated: bool = True
    """Padding that hides the length of each token."""


@attrs.frozen
class EmbedForm:
    """How the client wants its embeddings."""

    base64: bool = False
    """As base64 of little-endian 32-bit floats, not as numbers."""


def parsed_chat(request: ReceivedRequest, body: Value) -> ParsedRequest:
    options = body.get("stream_options") or Value({})
    return ParsedRequest(
        operation=Operation.CHAT,
        identity=request.identity,
        model=body.at("model").text(),
        stream=bool(body.optional("stream", Value.boolean)),
        form=StreamForm(
            include_usage=bool(options.optional("include_usage", Value.boolean)),
            obfuscated=options.optional("include_obfuscation", Value.boolean) is not False,
        ),
    )


def parsed_embed(request: ReceivedRequest, body: Value) -> ParsedRequest:
    return ParsedRequest(
        operation=Operation.EMBED,
        identity=request.identity,
        model=body.at("model").text(),
        texts=body.at("input").texts(),
        dimensions=body.optional("dimensions", Value.integer),
        form=EmbedForm(base64=body.optional("encoding_format", Value.text) == "base64"),
    )


def chat_request(body: Value, origin: str | None) -> ChatRequest:
    """Return the request. Raises Illegal."""
    fields = body.without(*OWN)
    schema = _response_schema(body)
    if schema is not None:
        del fields["response_format"]
    return ChatRequest(
        messages=tuple(_message(item, origin) for item in body.at("messages").items()),
        stream=bool(body.optional("stream", Value.boolean)),
        **given(
            max_tokens=body.optional("max_completion_tokens", Value.integer)
            or body.optional("max_tokens", Value.integer),
            temperature=body.optional("temperature", Value.number),
            top_p=body.optional("top_p", Value.number),
            stop=body.optional("stop", Value.texts),
            tools=body.optional("tools", _tools),
            tool_choice=body.optional("tool_choice", _tool_choice),
            response_schema=schema,
            reasoning=body.optional("reasoning_effort", Value.text),
            extra_body=extra(fields),
        ),
    )


# ------------------------------------------------------------------ options


def _response_schema(body: Value) -> dict[str, Any] | None:
    """The schema; other formats stay options of this API."""
    if (wanted := body.get("response_format")) is None or wanted.kind() != "json_schema":
        return None
    return wanted.at("json_schema").optional("schema", Value.object)


def _tools(tools: Value) -> tuple[Tool, ...]:
    return tuple(_tool(item) for item in tools.items())


def _tool(item: Value) -> Tool:
    if item.kind() != "function":
        raise item.at("type").invalid("'function'")
    function = item.at("function")
    return Tool(
        function.at("name").text(),
        function.optional("description", Value.text) or "",
        function.optional("parameters", Value.object) or {},
        function.optional("strict", Value.boolean),
    )


def _tool_choice(choice: Value) -> str:
    return choice.raw if isinstance(choice.raw, str) else choice.at("function").at("name").text()


# ------------------------------------------------------------------ messages


def _message(item: Value, origin: str | None) -> Message:
    role = ROLES.get(item.at("role").text())
    match role:
        case None:
            raise item.at("role").invalid(" or ".join(f"'{name}'" for name in ROLES))
        case "tool":
            return Message("tool", (_result(item),))
        case "assistant":
            return Message("assistant", tuple(_assistant_parts(item, origin)))
        case _:
            return Message(role, _content(item.at("content")))


def _content(content: Value) -> str | tuple[Part, ...]:
    if isinstance(content.raw, str):
        return content.raw
    return tuple(_part(part) for part in content.items())


def _part(part: Value) -> Part:
    match part.kind():
        case "text":
            return Text(part.at("text").text())
        case "refusal":
            return Text(part.at("refusal").text())
        case "image_url":
            return part.at("image_url").at("url").image()
        case _:
            raise part.at("type").invalid("'text' or 'image_url'")


def _assistant_parts(item: Value, origin: str | None) -> Sequence[Part]:
    """An assistant message: reasoning, text or a refusal, calls."""
    parts: list[Part] = []
    thoughts = next((found for name in REASONING_FIELDS if (found := item.get(name))), None)
    if thoughts is not None and isinstance(thoughts.raw, str):
        parts.append(Reasoning(thoughts.raw, origin=origin))
    content = item.optional("content", _content) or item.optional("refusal", Value.text) or ()
    parts += (Text(content),) if isinstance(content, str) else content
    calls = item.get("tool_calls")
    return [*parts, *map(_call, calls.items() if calls else ())]


def _call(call: Value) -> ToolCall:
    call_id = call.at("id").text()
    if call.optional("type", Value.text) == "custom":
        custom = call.at("custom")
        return ToolCall(call_id, custom.at("name").text(), custom.at("input").text(), kind="custom")
    function = call.at("function")
    return ToolCall(call_id, function.at("name").text(), function.at("arguments").text())


def _result(item: Value) -> ToolResult:
    content = _content(item.at("content"))
    name = item.optional("name", Value.text)
    texts = content if isinstance(content, str) else "".join(p.text for p in content if isinstance(p, Text))
    return ToolResult(item.at("tool_call_id").text(), texts, name=name)
