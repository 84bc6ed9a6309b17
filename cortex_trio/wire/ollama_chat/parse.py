"""Reads a chat request. What a legal one looks like is in `rules`.

Images come without their media type, so it is read off their first bytes. Calls and results without an id are paired
by the name of their tool. `think: true` names no effort and stays an option of this API.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ...messages import (
    ChatRequest,
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
from ..reading import Value, extra, given
from ..server import Operation, ParsedRequest, ReceivedRequest

ROLES: Mapping[str, Role] = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}

OWN = ("model", "messages", "stream", "tools", "format", "think", "options")
"""Fields that are read here; all others go into the `extra_body` of a ChatRequest."""
OWN_OPTIONS = ("num_predict", "temperature", "top_p", "stop")

SIGNATURES: Mapping[bytes, str] = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
}
"""How files of the kinds of image that models read begin."""


@attrs.frozen
class HealthForm:
    """Which of the two health checks was asked: the root says that the server runs, the other its version."""

    root: bool = False


def parsed_chat(request: ReceivedRequest, body: Value) -> ParsedRequest:
    return ParsedRequest(
        operation=Operation.CHAT,
        identity=request.identity,
        model=body.at("model").text(),
        stream=body.optional("stream", Value.boolean) is not False,  # left out, it is true
        logprobs=asked_for(body.object().get("logprobs"), body.object().get("top_logprobs")),
    )


def parsed_embed(request: ReceivedRequest, body: Value) -> ParsedRequest:
    return ParsedRequest(
        operation=Operation.EMBED,
        identity=request.identity,
        model=body.at("model").text(),
        texts=body.at("input").texts(),
        dimensions=body.optional("dimensions", Value.integer),
    )


def chat_request(body: Value, origin: str | None) -> ChatRequest:
    """Return the request. Raises Illegal."""
    options = body.get("options") or Value({}, ("options",))
    fields = body.without(*OWN)
    if own_options := options.without(*OWN_OPTIONS):
        fields["options"] = own_options
    wanted = body.get("format")
    schema = wanted.raw if wanted and isinstance(wanted.raw, dict) else None
    if wanted and schema is None:
        fields["format"] = wanted.raw
    think = body.get("think")
    if think and think.raw is True:
        fields["think"] = True
    tools = body.get("tools")
    messages = body.get("messages")
    reader = _Messages(origin)
    return ChatRequest(
        messages=tuple(map(reader.message, messages.items() if messages else ())),
        stream=body.optional("stream", Value.boolean) is not False,
        **given(
            max_tokens=options.optional("num_predict", Value.integer),
            temperature=options.optional("temperature", Value.number),
            top_p=options.optional("top_p", Value.number),
            stop=options.optional("stop", Value.texts) or None,
            tools=tuple(map(_tool, tools.items())) or None if tools else None,
            response_schema=schema,
            reasoning=None if think is None or think.raw is True else _effort(think),
            extra_body=extra(fields),
        ),
    )


def _effort(think: Value) -> str:
    return "none" if think.raw is False else think.text()


def _tool(item: Value) -> Tool:
    function = item.at("function")
    return Tool(
        function.at("name").text(),
        function.optional("description", Value.text) or "",
        function.optional("parameters", Value.object) or {},
        function.optional("strict", Value.boolean),
    )


class _Messages:
    """Reads messages in order; remembers which calls have no result yet, for calls without ids."""

    def __init__(self, origin: str | None) -> None:
        self._origin = origin
        self._calls = 0
        self._waiting: list[tuple[str, str]] = []  # name and id

    def message(self, item: Value) -> Message:
        named = item.at("role")
        role = ROLES.get(named.text())
        if role is None:
            raise named.invalid(" or ".join(f"'{name}'" for name in ROLES))
        content = item.optional("content", Value.text) or ""
        images = item.get("images")
        shown = tuple(map(_image, images.items() if images else ()))
        if role == "tool":
            return Message("tool", (self._result(item, content, shown),))
        calls = item.get("tool_calls")
        thinking = item.optional("thinking", Value.text)
        if not (shown or calls or thinking):
            return Message(role, content)
        parts: list[Part] = [Reasoning(thinking, origin=self._origin)] if thinking else []
        text = (Text(content),) if content else ()
        return Message(role, (*parts, *text, *shown, *map(self._call, calls.items() if calls else ())))

    def _call(self, call: Value) -> ToolCall:
        function = call.at("function")
        name = function.at("name").text()
        call_id = call.optional("id", Value.text) or f"call_{self._calls}"
        self._calls += 1
        self._waiting.append((name, call_id))
        arguments = function.at("arguments")
        arguments.object()
        return ToolCall(call_id, name, arguments.json_text())

    def _result(self, item: Value, content: str, images: tuple[Image, ...]) -> ToolResult:
        name = item.optional("tool_name", Value.text)
        call_id = item.optional("tool_call_id", Value.text) or self._waiting_id(name)
        if not images:
            return ToolResult(call_id, content, name)
        return ToolResult(call_id, (*((Text(content),) if content else ()), *images), name)

    def _waiting_id(self, name: str | None) -> str:
        """The id of the first call of this tool that has no result."""
        for place, (waiting, call_id) in enumerate(self._waiting):
            if name in (None, waiting):
                del self._waiting[place]
                return call_id
        return name or ""


def _image(encoded: Value) -> Image:
    data = encoded.base64()
    kinds = (kind for start, kind in SIGNATURES.items() if data.startswith(start))
    return Image(data=data, media_type=next(kinds, "image/png"))
