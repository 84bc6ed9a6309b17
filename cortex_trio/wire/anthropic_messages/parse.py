"""Reads a Messages request. What a legal one looks like is in `rules`.

Not read: how long a breakpoint of the cache lasts, whether a document may be cited, the id of a document (its title
is), that thinking is adaptive (its effort is read). What our messages have no value for is refused: documents made of
blocks, uploads to a container. Blocks of the server's own tools become opaque parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...messages import (
    ChatRequest,
    Document,
    File,
    Image,
    Message,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from ..history import titled
from ..reading import Value, extra, given
from ..server import Operation, ParsedRequest, ReceivedRequest
from .values import CITATIONS, ROLES

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
        messages=(
            *_system(body.get("system")),
            *(one for item in body.at("messages").items() for one in _messages(item, origin)),
        ),
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
            cache=_is_cached(item),
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
    is_default = thinking.raw == {"type": "adaptive", "display": "summarized"}  # as we send it
    more = thinking.raw if thinking.without("type", "budget_tokens") and not is_default else None
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


def _is_cached(block: Value) -> bool:
    return block.get("cache_control") is not None


def _system(found: Value | None) -> Iterator[Message]:
    """A message for all text up to each breakpoint of the cache, and one for the text that follows."""
    if found is None or not found.raw:
        return
    if isinstance(found.raw, str):
        yield Message("system", found.raw)
        return
    for blocks, cache in _up_to_breakpoints(found.items()):
        yield Message("system", "\n\n".join(block.at("text").text() for block in blocks), cache=cache)


def _messages(item: Value, origin: str | None) -> Iterator[Message]:
    """One message; of the user and the system, one for all blocks up to each breakpoint of the cache.

    Newer models take system messages between the others; Claude Code sends them.
    """
    role, content = item.at("role"), item.at("content")
    if role.text() not in ROLES:
        raise role.invalid("'user', 'assistant' or 'system'")
    if role.raw == "system":
        yield from _system(content)
        return
    if isinstance(content.raw, str):
        yield Message(role.raw, content.raw)
        return
    blocks = content.items()
    if role.raw == "assistant" or any(block.kind() == "tool_result" for block in blocks):
        # These stay together, for other APIs.
        pieces: list[tuple[Sequence[Value], bool]] = [(blocks, any(map(_is_cached, blocks)))]
    else:
        pieces = [*_up_to_breakpoints(blocks)] or [(blocks, False)]
    for piece, cache in pieces:
        yield Message(role.raw, tuple(part for block in piece for part in _parts(block, origin)), cache=cache)


def _up_to_breakpoints(blocks: Sequence[Value]) -> Iterator[tuple[Sequence[Value], bool]]:
    start = 0
    for end, block in enumerate(blocks, 1):
        if _is_cached(block):
            yield blocks[start:end], True
            start = end
    if start < len(blocks):
        yield blocks[start:], False


def _parts(block: Value, origin: str | None) -> Iterator[Part]:
    match block.kind():
        case "text":
            yield Text(block.at("text").text())
            yield from _citations(block, origin)
        case "image":
            yield _image(block.at("source"))
        case "document":
            yield _document(block)
        case "thinking":
            signature = block.optional("signature", Value.text) or None
            yield Reasoning(block.at("thinking").text(), signature, origin=origin)
        case "redacted_thinking":
            yield Reasoning("", encrypted=block.at("data").text(), origin=origin)
        case "tool_use":
            yield _tool_use(block, origin)
        case "tool_result":
            yield _tool_result(block)
        case "container_upload":
            # Left out of a request for another provider it would be lost without an error.
            raise block.at("type").invalid("a block that every provider can be sent")
        case kind:
            yield block.opaque(kind, origin)


def _citations(block: Value, origin: str | None) -> Iterator[Part]:
    """Citations that must go back as they are: see `values.CITATIONS`."""
    found = block.get("citations")
    kept = [one.raw for one in found.items() if one.get("encrypted_index")] if found else []
    if kept:
        cited = {"characters": len(block.at("text").text()), "citations": kept}
        yield Value(cited, block.where).opaque(CITATIONS, origin)


def _tool_use(block: Value, origin: str | None) -> ToolCall:
    arguments = block.at("input")
    arguments.object()
    caller = block.get("caller")
    called_by = caller.json_text() if caller and caller.kind() != "direct" else None
    return ToolCall(
        block.at("id").text(),
        block.at("name").text(),
        arguments.json_text(),
        called_by,
        origin if called_by else None,
    )


def _image(source: Value) -> Image | File:
    match source.kind():
        case "base64":
            return Image(data=source.at("data").base64(), media_type=source.at("media_type").text())
        case "url":
            return Image(url=source.at("url").text())
        case "file":
            return File(id=source.at("file_id").text(), media_type="image/*")
        case _:
            raise source.at("type").invalid("'base64', 'url' or 'file'")


def _document(block: Value) -> Document | File:
    source, title = block.at("source"), block.optional("title", Value.text)
    match source.kind():
        case "text":
            return Document(source.at("data").text(), title)
        case "base64":
            data = source.at("data")
            if not data.base64():
                raise data.invalid("the bytes of a file")
            return File(data=data.base64(), media_type=source.at("media_type").text(), name=title)
        case "url":
            return File(url=source.at("url").text(), name=title)
        case "file":
            return File(id=source.at("file_id").text(), name=title)
        case _:
            raise source.at("type").invalid("'text', 'base64', 'url' or 'file'")


def _tool_result(block: Value) -> ToolResult:
    call_id = block.at("tool_use_id").text()
    is_error = bool(block.optional("is_error", Value.boolean))
    content = block.get("content")
    if content is None or isinstance(content.raw, str):
        return ToolResult(call_id, content.raw if content else "", is_error=is_error)
    return ToolResult(call_id, tuple(map(_result_part, content.items())), is_error=is_error)


def _result_part(block: Value) -> Text | Image | File:
    match block.kind():
        case "text":
            return Text(block.at("text").text())
        case "image":
            return _image(block.at("source"))
        case "document":
            found = _document(block)
            return Text(titled(found)) if isinstance(found, Document) else found
        case _:
            raise block.at("type").invalid("'text', 'image' or 'document'")
