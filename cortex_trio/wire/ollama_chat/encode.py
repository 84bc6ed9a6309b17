"""Encodes a ChatRequest as the body of an Ollama chat request.

The API is small and made for local models: content is one string, images are bytes beside it, tool
arguments are objects, sampling sits in `options`, and nothing can force a tool to be used.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
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
from ..codec import Unsupported
from ..history import (
    arguments_object,
    image_of_file,
    may_replay,
    sendable,
    titled,
    with_documents,
)
from ..options import functions_only, refused, stops

THINK: Mapping[str, bool | str] = {"none": False, "low": "low", "medium": "medium", "high": "high"}


def chat_body(request: ChatRequest, provider: str, model: str) -> dict[str, Any]:
    """The body, `extra_body` included; raises Unsupported or InvalidRequest for what this API has no field for."""
    messages = _Messages(provider, model)
    body = {
        "model": model,
        "messages": messages.of(sendable(with_documents(request.messages, request.documents))),
        "stream": request.stream,  # left out, it would be true
    }
    fields = {
        "tools": _tools(request, provider),
        "format": request.response_schema,
        "think": _think(request.reasoning, provider),
        "options": _options(request, provider),
    }
    body |= {name: value for name, value in fields.items() if value is not None}
    return _with_extra(body, request.extra_body)


# ------------------------------------------------------------------ options


def _tools(request: ChatRequest, provider: str) -> list[dict[str, Any]] | None:
    tools = functions_only(request, provider)
    match request.tool_choice:
        case None | "auto":
            return [_tool(tool) for tool in tools] or None
        case "none":
            return None  # no other field excludes them
        case _:
            raise Unsupported("tool_choice", provider)


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters or {}),
    }
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _think(reasoning: str | int | None, provider: str) -> bool | str | None:
    if reasoning is None:
        return None
    if not isinstance(reasoning, str):
        raise Unsupported("a token budget for reasoning", provider)
    if reasoning not in THINK:
        raise Unsupported(f"reasoning={reasoning!r:.40}", provider)
    return THINK[reasoning]


def _options(request: ChatRequest, provider: str) -> dict[str, Any] | None:
    options: dict[str, Any] = {
        "num_predict": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": stops(request, None, provider),
    }
    return {name: value for name, value in options.items() if value is not None} or None


def _with_extra(body: dict[str, Any], extra: Mapping[str, Any] | None) -> dict[str, Any]:
    """Lay `extra` over the body; its `options` over ours one by one, so that no other option is lost."""
    if not extra:
        return body
    merged = {**body, **extra}
    if isinstance(extra.get("options"), Mapping):
        merged["options"] = {**body.get("options", {}), **extra["options"]}
    return merged


# ------------------------------------------------------------------ the conversation


class _Messages:
    """Turns messages into the flat ones of this API. Older servers match results by name, so names are remembered."""

    def __init__(self, provider: str, model: str) -> None:
        self._provider = provider
        self._model = model
        self._names: dict[str, str] = {}

    def of(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        return [wire for message in messages for wire in self._message(message)]

    def _message(self, message: Message) -> list[dict[str, Any]]:
        """A message of its own for each tool result, then one for all other parts."""
        results = [self._result(part) for part in message.parts if isinstance(part, ToolResult)]
        others = [part for part in message.parts if not isinstance(part, ToolResult)]
        return results if results and not others else [*results, self._plain(message.role, others)]

    def _result(self, result: ToolResult) -> dict[str, Any]:
        content = (Text(result.content),) if isinstance(result.content, str) else result.content
        wire = {**self._plain("tool", content), "tool_call_id": result.tool_call_id}
        name = result.name or self._names.get(result.tool_call_id)
        return {**wire, "tool_name": name} if name else wire

    def _plain(self, role: str, parts: Sequence[Part]) -> dict[str, Any]:
        # What the model wrote is put together as it was; what others wrote in parts are paragraphs.
        between = "" if role == "assistant" else "\n\n"
        wire: dict[str, Any] = {"role": role, "content": between.join(_texts(parts))}
        fields = {
            "thinking": "".join(self._thinking(parts)),
            "images": [self._image(part) for part in parts if isinstance(part, Image | File)],
            "tool_calls": [self._call(part) for part in parts if isinstance(part, ToolCall)],
        }
        return wire | {name: value for name, value in fields.items() if value}

    def _thinking(self, parts: Sequence[Part]) -> list[str]:
        thoughts = [part for part in parts if isinstance(part, Reasoning)]
        return [part.text for part in thoughts if may_replay(part, self._provider, self._model)]

    def _image(self, part: Image | File) -> str:
        if isinstance(part, File):
            if (image := image_of_file(part)) is None:
                raise refused(part, self._provider)
            part = image
        if part.data is None:
            raise Unsupported("an image by URL", self._provider)
        return base64.b64encode(part.data).decode("ascii")

    def _call(self, call: ToolCall) -> dict[str, Any]:
        self._names[call.id] = call.name
        arguments = arguments_object(call, self._provider)
        return {"id": call.id, "function": {"name": call.name, "arguments": arguments}}


def _texts(parts: Sequence[Part]) -> list[str]:
    texts = [
        part.text if isinstance(part, Text) else titled(part)
        for part in parts
        if isinstance(part, Text | Document)
    ]
    return [text for text in texts if text]
