"""Encodes a ChatRequest as the body of POST /v2/chat. Knows no answer.

    system, user   as they stand             tool        one message for each result
    assistant      content, tool_calls, and reasoning as `tool_plan` beside calls, as thinking without
    documents      their own field, whether they came with the request or inside a message

Facts: Cohere API v2 reference.
"""

from __future__ import annotations

import base64
import re
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
    Role,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from ..codec import Unsupported, compact
from ..history import (
    CallIds,
    arguments_object,
    asked_by_user,
    image_of_file,
    may_replay,
    sendable,
    shown_by_user,
    titled,
)
from ..options import functions_only, refused, stops, tool_choice, within

Json = dict[str, Any]

MOST_STOPS = 5

LEGAL_CALL_ID = re.compile(r".+", re.DOTALL)


def chat_body(request: ChatRequest, provider: str, model: str) -> Json:
    """Return the body, holding only what the caller set.

    Raises Unsupported for what has no name here, InvalidRequest for a tool_choice that is no tool.
    """
    messages = _asking(asked_by_user(sendable(request.messages)))
    tools = _tools(request, provider)
    documents = _documents(request.documents, messages)
    optional = {
        "tools": [_function(tool) for tool in tools] or None,
        "strict_tools": True if any(tool.strict for tool in tools) else None,  # for all of them or none
        "tool_choice": _tool_choice(request),
        "documents": [_document(document) for document in documents] or None,
        "response_format": _response_format(request, provider, tools=bool(tools), documents=bool(documents)),
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "p": within("top_p", request.top_p, 0.01, 0.99, provider),
        "stop_sequences": stops(request, MOST_STOPS, provider),
        "thinking": _thinking(request.reasoning, provider),
    }
    return {
        "model": model,
        "messages": _Messages(messages, provider, model).encode(messages),
        "stream": request.stream,
        **{name: value for name, value in optional.items() if value is not None},
    }


# ------------------------------------------------------------------ messages


class _Messages:
    """Translates one history.

    Tool messages hold no images: those follow in a user message, but never between the results of one step.
    """

    def __init__(self, messages: Sequence[Message], provider: str, model: str) -> None:
        self._provider = provider
        self._model = model
        self._ids = CallIds(messages, LEGAL_CALL_ID)
        self._encoded: list[Json] = []
        self._images: list[Part] = []  # out of the results of the step so far

    def encode(self, messages: Sequence[Message]) -> list[Json]:
        for message in shown_by_user(messages):
            results = [part for part in message.parts if isinstance(part, ToolResult)]
            others = [part for part in message.parts if not isinstance(part, ToolResult)]
            for result in results:
                self._add_result(result)
            if others:
                self._flush_images()
                self._add(message.role, others)
        self._flush_images()
        return self._encoded

    def _add(self, role: Role, parts: Sequence[Part]) -> None:
        """Documents have gone to their own field; a message that is empty without them is left out."""
        thoughts = [part for part in parts if isinstance(part, Reasoning) and self._may_replay(part)]
        calls = [self._call(part) for part in parts if isinstance(part, ToolCall)]
        said = [shown for part in parts if (shown := self._shown(part)) is not None]
        if role == "tool" or (role != "user" and any(isinstance(part, Image) for part in said)):
            raise Unsupported(f"a message of role {role} with other parts than its own", self._provider)
        encoded: Json = {}
        if calls and thoughts:
            encoded["tool_plan"] = "".join(thought.text for thought in thoughts)
            thoughts = []
        if calls:
            encoded["tool_calls"] = calls
        if content := _content([*thoughts, *said], self._provider):
            encoded["content"] = content
        if encoded:
            self._encoded.append({"role": role, **encoded})

    def _shown(self, part: Part) -> Text | Image | None:
        """Return what goes into the content. Documents and blocks of another provider do not."""
        match part:
            case Text(text):
                return part if text else None
            case Image():
                return part
            case File():
                return self._image_file(part)
            case _:
                return None

    def _image_file(self, file: File) -> Image:
        """Return the image that a file holds; the API takes no other files."""
        if (image := image_of_file(file)) is None:
            raise refused(file, self._provider)
        return image

    def _may_replay(self, part: Reasoning) -> bool:
        return bool(part.text) and may_replay(part, self._provider, self._model)

    def _call(self, call: ToolCall) -> Json:
        # "" and "null" mean no arguments, also to Cohere itself, but only an object is taken back.
        arguments = "{}" if call.arguments.strip() in ("", "null") else call.arguments
        if call.kind == "custom":
            arguments = compact(arguments_object(call, self._provider))
        function = {"name": call.name, "arguments": arguments}
        return {"id": self._ids.of_call(call), "type": "function", "function": function}

    def _add_result(self, result: ToolResult) -> None:
        call_id = self._ids.of_result(result)
        parts = (Text(result.content),) if isinstance(result.content, str) else result.content
        text = "".join(part.text for part in parts if isinstance(part, Text))
        images = [
            self._image_file(part) if isinstance(part, File) else part
            for part in parts
            if isinstance(part, Image | File)
        ]
        if images:
            text = text or "The image follows."
            self._images += [Text(f"Returned by tool call {call_id}:"), *images]
        if result.is_error:
            text = f"Error: {text}"  # the API has no flag for it
        self._encoded.append({"role": "tool", "tool_call_id": call_id, "content": text})

    def _flush_images(self) -> None:
        if self._images:
            self._encoded.append({"role": "user", "content": _content(self._images, self._provider)})
            self._images = []


def _content(parts: Sequence[Part], provider: str) -> str | list[Json]:
    match parts:
        case [Text(text)]:
            return text
        case _:
            return [_content_part(part, provider) for part in parts]


def _content_part(part: Part, provider: str) -> Json:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Reasoning(text):
            return {"type": "thinking", "thinking": text}
        case Image():
            return {"type": "image_url", "image_url": {"url": _image_url(part)}}
        case _:
            raise Unsupported(f"{type(part).__name__} as content", provider)


def _image_url(image: Image) -> str:
    if image.data is None:
        return image.url or ""
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode('ascii')}"


# ------------------------------------------------------------------ options


def _asking(messages: Sequence[Message]) -> Sequence[Message]:
    """The messages; a last one with documents only becomes text, because the user message must not be empty."""
    last = messages[-1] if messages else None
    if last is None or not last.parts or not all(isinstance(part, Document) for part in last.parts):
        return messages
    said = tuple(Text(titled(part)) for part in last.parts if isinstance(part, Document))
    return (*messages[:-1], Message(last.role, said))


def _documents(given: Sequence[Document] | None, messages: Sequence[Message]) -> Sequence[Document]:
    in_messages = [part for message in messages for part in message.parts if isinstance(part, Document)]
    return [*(given or ()), *in_messages]


def _document(document: Document) -> Json:
    """Citations name the `id`; without one Cohere counts: doc:0, doc:1 …"""
    own_id = {"id": document.id} if document.id else {}
    title = {"title": document.title} if document.title else {}
    return {**own_id, "data": {**title, "text": document.text}}


def _tools(request: ChatRequest, provider: str) -> Sequence[Tool]:
    """One tool cannot be demanded by name. Offering no other comes to the same."""
    tools, choice = functions_only(request, provider), tool_choice(request)
    return [tool for tool in tools if choice in (None, "auto", "none", "required", tool.name)]


def _tool_choice(request: ChatRequest) -> str | None:
    match tool_choice(request):
        case None | "auto":
            return None  # left out, it is "auto"
        case "none":
            return "NONE"
        case _:
            return "REQUIRED"


def _function(tool: Tool) -> Json:
    description = {"description": tool.description} if tool.description else {}
    return {"type": "function", "function": {"name": tool.name, **description, "parameters": tool.parameters}}


def _response_format(
    request: ChatRequest, provider: str, *, tools: bool, documents: bool
) -> Mapping[str, object] | None:
    if request.response_schema is None:
        return None
    if tools:
        raise Unsupported("response_schema together with tools", provider)
    if documents:
        raise Unsupported("response_schema together with documents", provider)
    return {"type": "json_object", "json_schema": request.response_schema}


def _thinking(reasoning: str | int | None, provider: str) -> Mapping[str, object] | None:
    match reasoning:
        case None:
            return None
        case "none":
            return {"type": "disabled"}
        case int():
            return {"type": "enabled", "token_budget": reasoning}
        case effort:
            raise Unsupported(f"reasoning={effort!r} (only 'none', or a budget)", provider)
