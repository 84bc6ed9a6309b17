"""Encodes a ChatRequest as a chat completions body, with only what the caller set.

Roles stay what they are. What the API has no place for moves to the nearest place (an image or file in a
tool result follows in a user message, a document becomes a titled text) or is refused with Unsupported; reasoning
of other models is left out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
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
from ..history import CallIds, as_functions, may_replay, sendable, shown_by_user, titled, with_documents
from ..openai_tools import custom_format, parameters, response_schema, strict_parameters
from ..options import require_small_files, stops, tool_choice
from ..own_fields import unpacked
from .content import file_part, image_part
from .message_fields import FIELDS, extra_content

Json = dict[str, Any]

LEGAL_CALL_ID = re.compile(r".{1,40}", re.DOTALL)
"""OpenAI refuses longer ids of tool calls in a history; other providers make such ids."""

TOOL_CHOICES = ("auto", "none", "required")

MOST_STOPS = 4

NO_REASONING = " "
"""In the reasoning field of a message that has none. DeepSeek and Kimi refuse a tool call without the field, and newer
models of DeepSeek an empty one. https://github.com/NousResearch/hermes-agent/pull/17341"""


def chat_body(
    request: ChatRequest,
    provider: str,
    model: str,
    *,
    max_tokens_field: str,
    reasoning_field: str | None,
    efforts: Collection[str] | None,
    custom_tools: bool,
    most_file_bytes: int | None,
    files: bool,
    own_fields: bool,
    stream_usage: bool,
) -> Json:
    """Return the body, without `extra_body`. Raises Unsupported for what this API has no field for."""
    messages = sendable(with_documents(request.messages, request.documents))
    messages = messages if custom_tools else as_functions(messages)
    encoder = _Messages(messages, provider, model, reasoning_field, own_fields)
    if most_file_bytes is not None:
        require_small_files(request, most_file_bytes, provider)
    tools = request.tools or ()
    if not custom_tools and any(tool.kind == "custom" for tool in tools):
        raise Unsupported("custom tools", provider)
    if not files and (kind := next(_files_of(messages), None)) is not None:
        raise Unsupported(f"a File of type {kind:.60}", provider)
    body: Json = {"model": model, "messages": encoder.encode(messages)}
    options: Json = {
        max_tokens_field: request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": stops(request, MOST_STOPS, provider),
        "tools": [_tool(tool) for tool in tools] or None,
        "tool_choice": _tool_choice(tool_choice(request), tools),
        "response_format": _response_format(request),
        "reasoning_effort": _effort(request.reasoning, efforts, provider),
        "stream": True if request.stream else None,
        "stream_options": {"include_usage": True} if request.stream and stream_usage else None,
    }
    body.update((name, value) for name, value in options.items() if value is not None)
    return body


def _files_of(messages: Sequence[Message]) -> Iterator[str]:
    """Yield the media type of each file to be sent; images are none, and speech of the model goes back as text."""
    for message in messages:
        for part in () if message.role == "assistant" else message.parts:
            listed = (
                part.content
                if isinstance(part, ToolResult) and not isinstance(part.content, str)
                else (part,)
            )
            for each in listed:
                if isinstance(each, File) and (
                    each.data is None or not str(each.media_type).startswith("image/")
                ):
                    yield each.media_type or "unknown"


def _tool(tool: Tool) -> Json:
    named: Json = {"name": tool.name}
    if tool.description:
        named["description"] = tool.description
    if tool.kind == "custom":
        form = {"format": custom_format(tool, nested=True)} if tool.format else {}
        return {"type": "custom", "custom": {**named, **form}}
    function = {**named, "parameters": strict_parameters(tool) if tool.strict else parameters(tool)}
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _tool_choice(choice: str | None, tools: Sequence[Tool]) -> str | Json | None:
    if choice is None or choice in TOOL_CHOICES:
        return choice
    kind = next((tool.kind for tool in tools if tool.name == choice), "function")
    return {"type": kind, kind: {"name": choice}}


def _effort(reasoning: str | int | None, efforts: Collection[str] | None, provider: str) -> str | None:
    if isinstance(reasoning, int):
        raise Unsupported("reasoning as a token budget", provider)
    if reasoning is not None and efforts is not None and reasoning not in efforts:
        raise Unsupported(f"reasoning={reasoning!r:.40} (only {', '.join(efforts)})", provider)
    return reasoning


def _response_format(request: ChatRequest) -> Json | None:
    if request.response_schema is None:
        return None
    return {"type": "json_schema", "json_schema": response_schema(request.response_schema)}


class _Messages:
    """Translates one history.

    The results of all tool calls must come before a message of another role, so images and files in results wait until
    the results are complete.
    """

    def __init__(
        self,
        messages: Sequence[Message],
        provider: str,
        model: str,
        reasoning_field: str | None,
        own_fields: bool,
    ) -> None:
        self._provider = provider
        self._model = model
        self._reasoning_field = reasoning_field
        self._own_fields = own_fields
        self._ids = CallIds(messages, LEGAL_CALL_ID)
        self._encoded: list[Json] = []
        self._shown: list[Json] = []

    def encode(self, messages: Sequence[Message]) -> list[Json]:
        for message in shown_by_user(messages):
            results = [part for part in message.parts if isinstance(part, ToolResult)]
            others = [part for part in message.parts if not isinstance(part, ToolResult | Opaque)]
            for result in results:
                self._add_result(result)
            if others or not results:
                self._flush_shown()
                self._add(message, others)
        self._flush_shown()
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
        own: Json = {}
        for part in parts:
            match part:
                case Reasoning():
                    if may_replay(part, self._provider, self._model):
                        thoughts.append(part.text)
                    own |= self._own_of(part)
                case ToolCall():
                    calls.append(self._call(part))
                case _:
                    text.append(self._text(part, "assistant"))
        if not text and not calls:
            return  # nothing but reasoning: some servers refuse a message without content
        message: Json = {"role": "assistant", "content": "".join(text) or None}
        if self._reasoning_field == "reasoning_content":
            own["reasoning_content"] = "".join(thoughts) or NO_REASONING
        elif thoughts and self._reasoning_field:
            own[self._reasoning_field] = "".join(thoughts)
        if calls:
            message["tool_calls"] = _with_signature_of_message(calls, own)
        self._encoded.append(message | own)

    def _own_of(self, part: Reasoning) -> Json:
        """Return the fields of the message that its server wants back as they came."""
        if not self._goes_back(part):
            return {}
        return {name: value for name, value in unpacked(part.signature).items() if name in FIELDS}

    def _goes_back(self, part: Reasoning | ToolCall) -> bool:
        """To the model it came from. Without an origin, to servers that may have fields of their own."""
        if part.origin is None:
            return self._own_fields
        return part.origin == f"{self._provider}/{self._model}"

    def _call(self, call: ToolCall) -> Json:
        # Some servers parse the arguments of a history: "" and "null" mean no arguments, but are no object.
        arguments = "{}" if call.arguments.strip() in ("", "null") else call.arguments
        named = {"id": self._ids.of_call(call), "type": call.kind}
        if call.kind == "custom":
            return {**named, "custom": {"name": call.name, "input": call.arguments}}
        signed = call.signature and self._goes_back(call)
        extra = {"extra_content": extra_content(str(call.signature))} if signed else {}
        return {**named, "function": {"name": call.name, "arguments": arguments}, **extra}

    def _add_result(self, result: ToolResult) -> None:
        parts = [Text(result.content)] if isinstance(result.content, str) else result.content
        text = "".join(part.text for part in parts if isinstance(part, Text))
        shown = [self._content(part) for part in parts if not isinstance(part, Text)]
        call_id = self._ids.of_result(result)
        if shown:
            what = "file" if any(isinstance(part, File) for part in parts) else "image"
            text = text or f"The {what} follows."
            self._shown += [{"type": "text", "text": f"Returned by tool call {call_id}:"}, *shown]
        if result.is_error:
            text = f"Error: {text}"  # the API has no flag for it
        self._encoded.append({"role": "tool", "tool_call_id": call_id, "content": text})

    def _flush_shown(self) -> None:
        if self._shown:
            self._encoded.append({"role": "user", "content": self._shown})
            self._shown = []

    def _user_content(self, parts: Sequence[Part]) -> str | list[Json]:
        match parts:
            case [Text(text)]:
                return text  # a plain string is what every server understands
            case []:
                return ""
        return [self._content(part) for part in parts]

    def _content(self, part: Part) -> Json:
        match part:
            case Image():
                return image_part(part)
            case File():
                return file_part(part, self._provider)
            case _:
                return {"type": "text", "text": self._text(part, "user")}

    def _text(self, part: Part, role: str) -> str:
        match part:
            case Text(text):
                return text
            case Document():
                return titled(part)
            case Image() | File() | Reasoning() | ToolCall() | ToolResult() | Opaque():
                raise Unsupported(f"{type(part).__name__} in a message of role {role}", self._provider)


def _with_signature_of_message(calls: list[Json], own: Json) -> list[Json]:
    """Return the calls; where none is signed but their message is, the first has its signature as well.

    Gemini 2.5 signed the message, and Gemini 3 looks for the signature at the first call.
    https://ai.google.dev/gemini-api/docs/thought-signatures
    """
    if "extra_content" not in own or any("extra_content" in call for call in calls):
        return calls
    return [{**calls[0], "extra_content": own["extra_content"]}, *calls[1:]]
