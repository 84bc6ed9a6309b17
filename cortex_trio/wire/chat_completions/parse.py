"""Reads a chat completions request. What a legal one looks like to each provider is in `rules`.

The `name` of an author and fields unknown to us inside a message are not read. Fields that other servers add to an
assistant message (`message_fields`) become the signature of its reasoning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ...messages import (
    ChatRequest,
    File,
    Image,
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
from ..openai_tools import flat_format
from ..own_fields import packed
from ..reading import Value, extra, given
from ..server import Operation, ParsedRequest, ReceivedRequest
from .content import read_audio, read_file, read_image
from .message_fields import FIELDS, signature_of

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
        logprobs=asked_for(body.object().get("logprobs"), body.object().get("top_logprobs")),
        form=StreamForm(
            include_usage=bool(options.optional("include_usage", Value.boolean)),
            obfuscated=options.optional("include_obfuscation", Value.boolean) is not False,
        ),
    )


def parsed_embed(request: ReceivedRequest, body: Value) -> ParsedRequest:
    given = body.at("input")
    tokens = _tokens(given)
    return ParsedRequest(
        operation=Operation.EMBED,
        identity=request.identity,
        model=body.at("model").text(),
        texts=() if tokens else given.texts(),
        tokens=tokens,
        dimensions=body.optional("dimensions", Value.integer),
        form=EmbedForm(base64=body.optional("encoding_format", Value.text) == "base64"),
    )


def _tokens(given: Value) -> Sequence[Sequence[int]]:
    """The token arrays of a request for embeddings; none if it has texts."""
    first = given.raw[0] if isinstance(given.raw, list) and given.raw else None
    match first:
        case list():
            return [[token.integer() for token in item.items()] for item in given.items()]
        case int():
            return [[token.integer() for token in given.items()]]
        case _:
            return ()


def chat_request(body: Value, origin: str | None) -> ChatRequest:
    """Return the request. Raises Illegal."""
    choice, own_choice = _tool_choice(body)
    fields = {**body.without(*OWN), **own_choice}
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
            stop=tuple(filter(None, body.optional("stop", Value.texts) or ())) or None,  # "" stops nothing
            tools=body.optional("tools", _tools),
            tool_choice=choice,
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
    if item.kind() == "custom":
        custom = item.at("custom")
        described = custom.optional("description", Value.text) or ""
        form = flat_format(custom.optional("format", Value.object))
        return Tool(custom.at("name").text(), described, kind="custom", format=form)
    if item.kind() != "function":
        raise item.at("type").invalid("'function' or 'custom'")
    function = item.at("function")
    return Tool(
        function.at("name").text(),
        function.optional("description", Value.text) or "",
        function.optional("parameters", Value.object) or {},
        function.optional("strict", Value.boolean),
    )


def _tool_choice(body: Value) -> tuple[str | None, dict[str, Any]]:
    """The choice; and the field as it came where it holds more than that."""
    if (choice := body.get("tool_choice")) is None:
        return None, {}
    if isinstance(choice.raw, str):
        return choice.raw, {}
    if choice.kind() == "allowed_tools":
        return None, {"tool_choice": choice.raw}
    return choice.at("custom" if choice.get("custom") else "function").at("name").text(), {}


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
            return read_image(part)
        case "input_audio":
            return read_audio(part)
        case "file":
            return read_file(part)
        case _:
            raise part.at("type").invalid("'text', 'image_url', 'input_audio' or 'file'")


def _assistant_parts(item: Value, origin: str | None) -> Sequence[Part]:
    """An assistant message: reasoning, text or a refusal, calls."""
    parts: list[Part] = []
    thoughts = next((found for name in REASONING_FIELDS if (found := item.get(name))), None)
    own = {name: found.raw for name in FIELDS if (found := item.get(name))}
    said = thoughts.raw if thoughts is not None and isinstance(thoughts.raw, str) else ""
    if said.strip() or own:  # a blank stands for no reasoning
        parts.append(Reasoning(said.strip() and said, packed(own) if own else None, origin=origin))
    content = item.optional("content", _content) or item.optional("refusal", Value.text) or ()
    parts += (Text(content),) if isinstance(content, str) else content
    calls = item.get("tool_calls")
    return [*parts, *(_call(call, origin) for call in (calls.items() if calls else ()))]


def _call(call: Value, origin: str | None) -> ToolCall:
    call_id = call.at("id").text()
    if call.optional("type", Value.text) == "custom":
        custom = call.at("custom")
        return ToolCall(call_id, custom.at("name").text(), custom.at("input").text(), kind="custom")
    function = call.at("function")
    signature = signature_of(call.object())
    arguments = function.at("arguments").text()
    return ToolCall(call_id, function.at("name").text(), arguments, signature, origin if signature else None)


def _result(item: Value) -> ToolResult:
    """A result of texts only is one text. OpenAI takes nothing else; other servers, and their clients, send images."""
    parts = item.optional("content", _content) or ""
    texts = [part.text for part in parts if isinstance(part, Text)]
    shown = tuple(part for part in parts if isinstance(part, Text | Image | File))
    content = parts if isinstance(parts, str) else shown if len(shown) > len(texts) else "".join(texts)
    return ToolResult(item.at("tool_call_id").text(), content, name=item.optional("name", Value.text))
