"""Encodes a ChatRequest as a chat completions body, with only what the caller set.

Roles stay what they are. What the API has no place for moves to the nearest place (an image in a tool
result follows in a user message, a document becomes a titled text) or is refused with Unsupported; reasoning
of other models is left out.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ...messages import (
    ChatRequest,
    Document,
    File,
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from ..codec import Unsupported
from ..history import CallIds, may_replay, shown_by_user, titled, with_documents
from ..options import stops, tool_choice

Json = dict[str, Any]

LEGAL_CALL_ID = re.compile(r".{1,40}", re.DOTALL)
"""OpenAI refuses longer ids of tool calls in a history; other providers make such ids."""

TOOL_CHOICES = ("auto", "none", "required")

MOST_STOPS = 4


def chat_body(
    request: ChatRequest,
    provider: str,
    model: str,
    *,
    max_tokens_field: str,
    reasoning_field: str | None,
    efforts: Collection[str] | None,
) -> Json:
    """Return the body, without `extra_body`. Raises Unsupported for what this API has no field for."""
    messages = with_documents(request.messages, request.documents)
    encoder = _Messages(messages, provider, model, reasoning_field)
    body: Json = {"model": model, "messages": encoder.encode(messages)}
    options: Json = {
        max_tokens_field: request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": stops(request, MOST_STOPS, provider),
        "tools": [_tool(tool) for tool in request.tools] if request.tools else None,
        "tool_choice": _tool_choice(tool_choice(request)),
        "response_format": _response_format(request.response_schema),
        "reasoning_effort": _effort(request.reasoning, efforts, provider),
        "stream": True if request.stream else None,
        "stream_options": {"include_usage": True} if request.stream else None,
    }
    body.update((name, value) for name, value in options.items() if value is not None)
    return body


def _tool(tool: Tool) -> Json:
    function: Json = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    if not tool.description:
        del function["description"]
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _tool_choice(choice: str | None) -> str | Json | None:
    if choice is None or choice in TOOL_CHOICES:
        return choice
    return {"type": "function", "function": {"name": choice}}


def _effort(reasoning: str | int | None, efforts: Collection[str] | None, provider: str) -> str | None:
    if isinstance(reasoning, int):
        raise Unsupported("reasoning as a token budget", provider)
    if reasoning is not None and efforts is not None and reasoning not in efforts:
        raise Unsupported(f"reasoning={reasoning!r:.40} (only {', '.join(efforts)})", provider)
    return reasoning


def _response_format(schema: Mapping[str, Any] | None) -> Json | None:
    if schema is None:
        return None
    return {"type": "json_schema", "json_schema": {"name": "response", "schema": schema, "strict": True}}


class _Messages:
    """Translates one history.

    The results of all tool calls must come before a message of another role, so images in results wait until the
    results are complete.
    """

    def __init__(
        self, messages: Sequence[Message], provider: str, model: str, reasoning_field: str | None
    ) -> None:
        self._provider = provider
        self._model = model
        self._reasoning_field = reasoning_field
        self._ids = CallIds(messages, LEGAL_CALL_ID)
        self._encoded: list[Json] = []
        self._images: list[Json] = []

    def encode(self, messages: Sequence[Message]) -> list[Json]:
        for message in shown_by_user(messages):
            results = [part for part in message.parts if isinstance(part, ToolResult)]
            others = [part for part in message.parts if not isinstance(part, ToolResult | Opaque)]
            for result in results:
                self._add_result(result)
            if others or not results:
                self._flush_images()
                self._add(message, others)
        self._flush_images()
        return self._encoded

    def _add(self, message: Message, parts: Sequence[Part]) -> None:
        match message.role:
            case "assistant":
                self._add_assistant(parts)
            case "user":
                self._encoded.append({"role": "user", "content": self._user_content(parts)})
            case "system":
                text = "\n\n".join(self._text(part, "system") for part in parts)
                self._encoded.append({"role": "system", "content": text})
            case "tool":
                raise Unsupported("a tool message without a ToolResult", self._provider)

    def _add_assistant(self, parts: Sequence[Part]) -> None:
        thoughts: list[str] = []
        calls: list[Json] = []
        text: list[str] = []
        for part in parts:
            match part:
                case Reasoning():
                    if may_replay(part, self._provider, self._model):
                        thoughts.append(part.text)
                case ToolCall():
                    calls.append(self._call(part))
                case _:
                    text.append(self._text(part, "assistant"))
        if not text and not calls:
            return  # nothing but reasoning: some servers refuse a message without content
        message: Json = {"role": "assistant", "content": "".join(text) or None}
        if thoughts and self._reasoning_field:
            message[self._reasoning_field] = "".join(thoughts)
        if calls:
            message["tool_calls"] = calls
        self._encoded.append(message)

    def _call(self, call: ToolCall) -> Json:
        # Some servers parse the arguments of a history: "" and "null" mean no arguments, but are no object.
        arguments = "{}" if call.arguments.strip() in ("", "null") else call.arguments
        named = {"id": self._ids.of_call(call), "type": call.kind}
        if call.kind == "custom":
            return {**named, "custom": {"name": call.name, "input": call.arguments}}
        return {**named, "function": {"name": call.name, "arguments": arguments}}

    def _add_result(self, result: ToolResult) -> None:
        parts = [Text(result.content)] if isinstance(result.content, str) else result.content
        text = "".join(part.text for part in parts if isinstance(part, Text))
        images = [_image(part) for part in parts if isinstance(part, Image)]
        call_id = self._ids.of_result(result)
        if images:
            text = text or "The image follows."
            self._images += [{"type": "text", "text": f"Returned by tool call {call_id}:"}, *images]
        if result.is_error:
            text = f"Error: {text}"  # the API has no flag for it
        self._encoded.append({"role": "tool", "tool_call_id": call_id, "content": text})

    def _flush_images(self) -> None:
        if self._images:
            self._encoded.append({"role": "user", "content": self._images})
            self._images = []

    def _user_content(self, parts: Sequence[Part]) -> str | list[Json]:
        match parts:
            case [Text(text)]:
                return text  # a plain string is what every server understands
            case []:
                return ""
        return [
            _image(part) if isinstance(part, Image) else {"type": "text", "text": self._text(part, "user")}
            for part in parts
        ]

    def _text(self, part: Part, role: str) -> str:
        match part:
            case Text(text):
                return text
            case Document():
                return titled(part)
            case Image() | File() | Reasoning() | ToolCall() | ToolResult() | Opaque():
                raise Unsupported(f"{type(part).__name__} in a message of role {role}", self._provider)


def _image(image: Image) -> Json:
    url = image.url
    if image.data is not None:
        url = f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}
