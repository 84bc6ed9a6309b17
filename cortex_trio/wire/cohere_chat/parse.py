"""Reads a chat v2 request. What a legal one looks like is in `rules`.

A document inside a tool result is read as its text. `citations` of earlier answers are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...messages import (
    ChatRequest,
    Document,
    Message,
    Part,
    Reasoning,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from ..logprobs import asked_for
from ..reading import Value, extra, given
from ..server import Operation, ParsedRequest, ReceivedRequest

ROLES: Mapping[str, Role] = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
TOOL_CHOICES: Mapping[str, str] = {"REQUIRED": "required", "NONE": "none"}

OWN = (
    "model",
    "messages",
    "stream",
    "tools",
    "strict_tools",
    "tool_choice",
    "documents",
    "max_tokens",
    "temperature",
    "p",
    "stop_sequences",
    "thinking",
)
"""Fields that a ChatRequest has a name for; all others go into its `extra_body`."""


def parsed_chat(request: ReceivedRequest, body: Value) -> ParsedRequest:
    return ParsedRequest(
        operation=Operation.CHAT,
        identity=request.identity,
        model=body.at("model").text(),
        stream=bool(body.optional("stream", Value.boolean)),
        logprobs=asked_for(body.object().get("logprobs"), None),
    )


def parsed_embed(request: ReceivedRequest, body: Value) -> ParsedRequest:
    return ParsedRequest(
        operation=Operation.EMBED,
        identity=request.identity,
        model=body.at("model").text(),
        texts=body.at("texts").texts(),
        dimensions=body.optional("output_dimension", Value.integer),
    )


def chat_request(body: Value, origin: str | None) -> ChatRequest:
    """Return the request. Raises Illegal."""
    fields = body.without(*OWN)
    schema = _response_schema(body)
    if schema is not None:
        del fields["response_format"]
    reasoning = body.optional("thinking", _reasoning)
    if body.get("thinking") is not None and reasoning is None:
        fields["thinking"] = body.at("thinking").raw
    strict = body.optional("strict_tools", Value.boolean)
    tools = body.get("tools")
    documents = body.get("documents")
    return ChatRequest(
        messages=tuple(_message(item, origin) for item in body.at("messages").items()),
        stream=bool(body.optional("stream", Value.boolean)),
        **given(
            max_tokens=body.optional("max_tokens", Value.integer),
            temperature=body.optional("temperature", Value.number),
            top_p=body.optional("p", Value.number),
            stop=body.optional("stop_sequences", Value.texts) or None,
            tools=tuple(_tool(item, strict) for item in tools.items()) or None if tools else None,
            tool_choice=body.optional("tool_choice", _tool_choice),
            response_schema=schema,
            reasoning=reasoning,
            documents=tuple(map(_document, documents.items())) or None if documents else None,
            extra_body=extra(fields),
        ),
    )


# ------------------------------------------------------------------ options


def _response_schema(body: Value) -> dict[str, Any] | None:
    if (wanted := body.get("response_format")) is None or wanted.kind() != "json_object":
        return None
    return wanted.optional("json_schema", Value.object)


def _reasoning(thinking: Value) -> str | int | None:
    if thinking.kind() == "disabled":
        return "none"
    return thinking.optional("token_budget", Value.integer)


def _tool(item: Value, strict: bool | None) -> Tool:
    function = item.at("function")
    return Tool(
        function.at("name").text(),
        function.optional("description", Value.text) or "",
        function.optional("parameters", Value.object) or {},
        strict,
    )


def _tool_choice(choice: Value) -> str:
    if choice.text() not in TOOL_CHOICES:
        raise choice.invalid("'REQUIRED' or 'NONE'")
    return TOOL_CHOICES[choice.raw]


def _document(document: Value) -> Document:
    if isinstance(document.raw, str):
        return Document(document.raw)
    own_id = document.optional("id", Value.text)
    data = document.at("data")
    if isinstance(data.raw, str):
        return Document(data.raw, None, own_id)
    text, title = data.get("text"), data.optional("title", Value.text)
    if text is None or data.without("text", "title"):  # fields of the caller's own: kept as they are
        return Document(data.json_text(), None, own_id)
    return Document(text.text(), title, own_id)


# ------------------------------------------------------------------ messages


def _message(item: Value, origin: str | None) -> Message:
    named = item.at("role")
    role = ROLES.get(named.text())
    if role is None:
        raise named.invalid(" or ".join(f"'{name}'" for name in ROLES))
    content = item.get("content")
    if role == "tool":
        text = "".join(_result_texts(item.at("content")))
        return Message("tool", (ToolResult(item.at("tool_call_id").text(), text),))
    if role != "assistant":
        return Message(role, item.at("content").raw if _is_text(content) else tuple(_parts(content, origin)))
    plan = item.optional("tool_plan", Value.text)
    calls = item.get("tool_calls")
    parts: list[Part] = [Reasoning(plan, origin=origin)] if plan else []
    return Message(
        "assistant", (*parts, *_parts(content, origin), *map(_call, calls.items() if calls else ()))
    )


def _is_text(content: Value | None) -> bool:
    return content is not None and isinstance(content.raw, str)


def _parts(content: Value | None, origin: str | None) -> Iterator[Part]:
    if content is None:
        return
    if isinstance(content.raw, str):
        yield from [Text(content.raw)] if content.raw else []
        return
    for part in content.items():
        match part.kind():
            case "text":
                yield Text(part.at("text").text())
            case "thinking":
                yield Reasoning(part.at("thinking").text(), origin=origin)
            case "image_url":
                yield part.at("image_url").at("url").image()
            case _:
                raise part.at("type").invalid("'text', 'thinking' or 'image_url'")


def _call(call: Value) -> ToolCall:
    function = call.at("function")
    return ToolCall(call.at("id").text(), function.at("name").text(), function.at("arguments").text())


def _result_texts(content: Value) -> Iterator[str]:
    if isinstance(content.raw, str):
        yield content.raw
        return
    for part in content.items():
        match part.kind():
            case "text":
                yield part.at("text").text()
            case "document":
                data = part.at("document").at("data")
                yield data.raw if isinstance(data.raw, str) else data.json_text()
            case _:
                raise part.at("type").invalid("'text' or 'document'")
