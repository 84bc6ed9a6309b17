"""Reads a Messages request. What a legal one looks like is in `rules`.

Not read: `cache_control`, whether a document may be cited, the id of a document (its title is), that thinking is
adaptive (its effort is read). What our messages have no value for is refused: documents that are not text, files.
Blocks of the server's own tools become opaque parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...messages import (
    ChatRequest,
    Document,
    Image,
    Message,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from ..reading import Value, extra, given
from ..server import Operation, ParsedRequest, ReceivedRequest

OWN = (
    "model",
    "messages",
    "system",
    "stream",
    "max_tokens",
    "temperature",
    "top_p",
    "stop_sequences",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
)
"""Fields that a ChatRequest has a name for; all others go into its `extra_body`."""

TOOL_CHOICES: Mapping[str, str] = {"auto": "auto", "none": "none", "any": "required"}

USERS_OWN = ("document", "container_upload")
"""Blocks the user sends. Left out of a request for another provider they would be lost without an error."""


def parsed_chat(request: ReceivedRequest, body: Value, operation: Operation) -> ParsedRequest:
    streams = bool(body.optional("stream", Value.boolean)) and operation is Operation.CHAT
    return ParsedRequest(
        operation=operation,
        identity=request.identity,
        model=body.at("model").text(),
        stream=streams,
    )


def chat_request(body: Value, origin: str | None) -> ChatRequest:
    """Return the request. Raises Illegal."""
    fields = body.without(*OWN)
    tools, own_tools = _tools(body)
    if own_tools:
        fields["tools"] = own_tools
    choice = body.get("tool_choice")
    if choice is not None and choice.get("disable_parallel_tool_use"):
        fields["tool_choice"] = choice.raw
    reasoning, thinking = _reasoning(body)
    if thinking:
        fields["thinking"] = thinking
    output = body.get("output_config")
    return ChatRequest(
        messages=(*_system(body), *(_message(item, origin) for item in body.at("messages").items())),
        stream=bool(body.optional("stream", Value.boolean)),
        **given(
            max_tokens=body.optional("max_tokens", Value.integer),
            temperature=body.optional("temperature", Value.number),
            top_p=body.optional("top_p", Value.number),
            stop=body.optional("stop_sequences", Value.texts) or None,
            tools=tools or None,
            tool_choice=None if choice is None else _tool_choice(choice),
            response_schema=output.optional("format", _schema) if output else None,
            reasoning=reasoning,
            extra_body=extra(fields),
        ),
    )


# ------------------------------------------------------------------ options


def _tools(body: Value) -> tuple[tuple[Tool, ...], list[Any]]:
    """The caller's tools; and, where the server is to run tools of its own, all of them as they came."""
    if (listed := body.get("tools")) is None:
        return (), []
    items = listed.items()
    callers = [item for item in items if item.optional("type", Value.text) in (None, "custom")]
    tools = tuple(
        Tool(
            item.at("name").text(),
            item.optional("description", Value.text) or "",
            item.at("input_schema").object(),
            item.optional("strict", Value.boolean),
        )
        for item in callers
    )
    return tools, [] if len(callers) == len(items) else listed.raw


def _tool_choice(choice: Value) -> str:
    kind = choice.kind()
    if kind == "tool":
        return choice.at("name").text()
    if kind not in TOOL_CHOICES:
        raise choice.at("type").invalid("'auto', 'any', 'tool' or 'none'")
    return TOOL_CHOICES[kind]


def _reasoning(body: Value) -> tuple[str | int | None, dict[str, Any] | None]:
    """The effort or the budget; and the field as it came where it holds more than that."""
    output = body.get("output_config")
    effort = output.optional("effort", Value.text) if output else None
    thinking = body.get("thinking")
    if thinking is None:
        return effort, None
    more = thinking.raw if thinking.without("type", "budget_tokens") else None
    match thinking.kind():
        case "disabled":
            return "none", None
        case "enabled":
            return thinking.at("budget_tokens").integer(), more
        case _:
            return effort, more if effort else thinking.raw


def _schema(wanted: Value) -> dict[str, Any]:
    return wanted.at("schema").object()


# ------------------------------------------------------------------ messages


def _system(body: Value) -> Iterator[Message]:
    if (found := body.get("system")) is None or not found.raw:
        return
    if isinstance(found.raw, str):
        yield Message("system", found.raw)
    else:
        yield Message("system", "\n\n".join(block.at("text").text() for block in found.items()))


def _message(item: Value, origin: str | None) -> Message:
    role = item.at("role")
    if role.text() not in ("user", "assistant"):
        raise role.invalid("'user' or 'assistant'")
    content = item.at("content")
    if isinstance(content.raw, str):
        return Message(role.raw, content.raw)
    return Message(role.raw, tuple(_part(block, origin) for block in content.items()))


def _part(block: Value, origin: str | None) -> Part:
    match block.kind():
        case "text":
            return Text(block.at("text").text())
        case "image":
            return _image(block.at("source"))
        case "document" if block.at("source").kind() == "text":
            title = block.optional("title", Value.text)
            return Document(block.at("source").at("data").text(), title)
        case "thinking":
            signature = block.optional("signature", Value.text) or None
            return Reasoning(block.at("thinking").text(), signature, origin=origin)
        case "redacted_thinking":
            return Reasoning("", encrypted=block.at("data").text(), origin=origin)
        case "tool_use":
            return ToolCall(block.at("id").text(), block.at("name").text(), _object_text(block.at("input")))
        case "tool_result":
            return _tool_result(block)
        case kind if kind in USERS_OWN:
            raise block.at("type").invalid("a block that every provider can be sent")
        case kind:
            return block.opaque(kind, origin)


def _image(source: Value) -> Image:
    match source.kind():
        case "base64":
            return Image(data=source.at("data").base64(), media_type=source.at("media_type").text())
        case "url":
            return Image(url=source.at("url").text())
        case _:
            raise source.at("type").invalid("'base64' or 'url'")


def _tool_result(block: Value) -> ToolResult:
    call_id = block.at("tool_use_id").text()
    is_error = bool(block.optional("is_error", Value.boolean))
    content = block.get("content")
    if content is None or isinstance(content.raw, str):
        return ToolResult(call_id, content.raw if content else "", is_error=is_error)
    return ToolResult(call_id, tuple(map(_result_part, content.items())), is_error=is_error)


def _result_part(block: Value) -> Text | Image:
    match block.kind():
        case "text":
            return Text(block.at("text").text())
        case "image":
            return _image(block.at("source"))
        case _:
            raise block.at("type").invalid("'text' or 'image'")


def _object_text(value: Value) -> str:
    value.object()
    return value.json_text()
