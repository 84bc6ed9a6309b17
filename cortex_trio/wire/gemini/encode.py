"""Encodes a ChatRequest as the body of generateContent. Knows no answer.

    system (leading)   systemInstruction            assistant   contents[].role "model"
    system (later)     contents[].role "user"       user, tool  contents[].role "user"

A part goes where it stood: Gemini binds its thought signatures to exact parts, and rejects a history
that lost one. Facts: Generative Language API reference; "Thought signatures" guide.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...failures import InvalidRequest
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
from ..history import (
    CallIds,
    arguments_object,
    asked_by_user,
    may_replay,
    replayed,
    sendable,
    titled,
    with_documents,
)
from ..options import functions_only, refused, require_small_files, stops, tool_choice
from .values import CONTINUATION, UPLOADS

Json = dict[str, Any]

ROLES: Mapping[str, str] = {"system": "user", "user": "user", "assistant": "model", "tool": "user"}

TOOL_CHOICES: Mapping[str, str] = {"auto": "AUTO", "none": "NONE", "required": "ANY"}

THINKING: Mapping[str, Mapping[str, object]] = {
    "none": {"thinkingBudget": 0},
    "minimal": {"thinkingLevel": "MINIMAL", "includeThoughts": True},
    "low": {"thinkingLevel": "LOW", "includeThoughts": True},
    "medium": {"thinkingLevel": "MEDIUM", "includeThoughts": True},
    "high": {"thinkingLevel": "HIGH", "includeThoughts": True},
    "xhigh": {"thinkingLevel": "XHIGH", "includeThoughts": True},
}
"""Summaries of the thoughts are asked for: without that the API sends none."""

FOREIGN_CALL = "skip_thought_signature_validator"
"""Stands in for the signature of a call another model made. From Gemini 3 on, a step whose first call has none
is a 400; the thought signatures guide names this value for histories that come from elsewhere."""

UNSIGNED_MODELS = ("gemini-1", "gemini-2")

MOST_STOPS = 5

MOST_INLINE = 20_000_000
"""Bytes of base64: the limit of a request. Larger files are uploaded first."""

FILE_TYPES = re.compile(
    r"(image|audio|video|text)/.+"
    r"|application/(pdf|json|xml|rtf|javascript|x-javascript|x-python|x-python-code|x-typescript|x-ipynb\+json)"
)
"""Media types that some model of this API reads."""

LEGAL_CALL_ID = re.compile(r".+", re.DOTALL)

_DATA_URL = re.compile(r"data:(?P<media_type>[^;,]+);base64,(?P<data>.*)", re.DOTALL)


def chat_body(request: ChatRequest, provider: str, model: str) -> Json:
    """Return the body, holding only what the caller set. Raises InvalidRequest; Unsupported for a reasoning effort."""
    require_small_files(request, MOST_INLINE, provider)
    token, history = _paused(request.messages, f"{provider}/{model}")
    system, messages = _split_system(asked_by_user(history), provider)
    messages = sendable(with_documents(messages, request.documents))
    tools = [_declaration(tool) for tool in functions_only(request, provider)]
    body = {
        "continuationToken": token,
        "systemInstruction": {"parts": [{"text": system}]} if system else None,
        "contents": _Contents(messages, provider, model).encode(messages),
        "tools": [{"functionDeclarations": tools}] if tools else None,
        "toolConfig": _tool_config(request),
        "generationConfig": _generation_config(request, provider),
    }
    return {name: value for name, value in body.items() if value is not None}


def _paused(messages: Sequence[Message], asked: str) -> tuple[str | None, Sequence[Message]]:
    """Return the token of the answer that paused at the end of the messages, and the messages before that answer.

    Such an answer goes on when the same request comes again with its token, which stands for the answer so far. When
    other messages follow, or another model is asked, the token is worth nothing and the answer is part of the history.
    """
    token = None
    while messages and (found := _token(messages[-1], asked)):
        token = token or found  # the last one: it stands for the answers before as well
        messages = messages[:-1]
    return token, messages


def _token(message: Message, asked: str) -> str | None:
    for part in message.parts:
        if isinstance(part, Opaque) and part.type == CONTINUATION and part.origin in (None, asked):
            token = replayed(part, asked.partition("/")[0]) or {}
            return str(token.get("continuationToken") or "") or None
    return None


def _split_system(messages: Sequence[Message], provider: str) -> tuple[str, Sequence[Message]]:
    leading = next((i for i, message in enumerate(messages) if message.role != "system"), len(messages))
    texts = ("".join(_plain(part, provider) for part in message.parts) for message in messages[:leading])
    return "\n\n".join(texts), messages[leading:]


def _plain(part: Part, provider: str) -> str:
    match part:
        case Text(text):
            return text
        case Document():
            return titled(part)
        case _:
            raise Unsupported(f"a part of type {type(part).__name__} in a system message", provider)


class _Contents:
    """Translates one history; remembers its calls, because Gemini matches results by name as well as by id."""

    def __init__(self, messages: Sequence[Message], provider: str, model: str) -> None:
        self._provider = provider
        self._model = model
        self._needs_signatures = model.startswith("gemini-") and not model.startswith(UNSIGNED_MODELS)
        self._ids = CallIds(messages, LEGAL_CALL_ID)
        self._names: dict[str, str] = {}  # id of a call on the wire → name of its tool

    def encode(self, messages: Sequence[Message]) -> list[Json]:
        contents: list[Json] = []
        after_results = False
        for message in messages:
            parts = [wired for part in message.parts for wired in self._part(part)]
            if not parts:  # only an empty text, or another model's reasoning: an empty content is a 400
                continue
            if self._needs_signatures:
                _sign_first_call(parts)
            only_results = all(isinstance(part, ToolResult) for part in message.parts)
            if only_results and after_results:  # the results of one step belong into one content
                contents[-1]["parts"] += parts
            else:
                contents.append({"role": ROLES[message.role], "parts": parts})
            after_results = only_results
        return contents

    def _part(self, part: Part) -> Iterator[Json]:
        match part:
            case Text():
                if part.text:
                    yield self._text(part)
            case Image():
                yield self._image(part)
            case File():
                yield self._file(part)
            case Document():
                yield {"text": titled(part)}
            case Reasoning():
                if may_replay(part, self._provider, self._model):
                    yield from _thought(part)
            case ToolCall():
                yield self._call(part)
            case ToolResult():
                yield from self._result(part)
            case Opaque():
                yield from self._opaque(part)

    def _text(self, part: Text) -> Json:
        signed = part.signature and may_replay(part, self._provider, self._model)
        return {"text": part.text, "thoughtSignature": part.signature} if signed else {"text": part.text}

    def _file(self, file: File) -> Json:
        """The name is left out: this API has no field for it."""
        if file.media_type is not None and not FILE_TYPES.fullmatch(file.media_type):
            raise refused(file, self._provider, "images, audio, video, text and PDF")
        if file.data is not None:
            return _inline(file.media_type, file.data)
        address = f"{UPLOADS}{file.id}" if file.id and file.id.startswith("files/") else file.id or file.url
        media_type = {"mimeType": file.media_type} if file.media_type else {}
        return {"fileData": {**media_type, "fileUri": address}}

    def _image(self, image: Image) -> Json:
        signed = image.signature and may_replay(image, self._provider, self._model)
        return {**_image(image), "thoughtSignature": image.signature} if signed else _image(image)

    def _opaque(self, part: Opaque) -> Iterator[Json]:
        """As it came, but that what one model signed is nothing to another. A token that is out of date is left out."""
        if part.type == CONTINUATION:
            return
        block = replayed(part, self._provider)
        if block is not None:
            if part.origin not in (None, f"{self._provider}/{self._model}"):
                block.pop("thoughtSignature", None)
            yield block

    def _call(self, call: ToolCall) -> Json:
        call_id = self._ids.of_call(call)
        self._names[call_id] = call.name
        arguments = arguments_object(call, self._provider)
        wired: Json = {"functionCall": {"id": call_id, "name": call.name, "args": arguments}}
        if call.signature and may_replay(call, self._provider, self._model):
            wired["thoughtSignature"] = call.signature
        return wired

    def _result(self, result: ToolResult) -> Iterator[Json]:
        call_id = self._ids.of_result(result)
        name = result.name or self._names.get(call_id)
        if not name:
            raise InvalidRequest(
                f"{self._provider} needs the tool's name with its result, and {result.tool_call_id!r:.40} answers"
                " no earlier call: give ToolResult(name=…), or leave the call in the messages"
            )
        parts = (Text(result.content),) if isinstance(result.content, str) else result.content
        text = "".join(part.text for part in parts if isinstance(part, Text))
        response = {"error" if result.is_error else "result": text}  # must be an object
        yield {"functionResponse": {"id": call_id, "name": name, "response": response}}
        # Beside the response, not inside it: only Gemini 3 looks there, all look here.
        for part in parts:
            if isinstance(part, Image):
                yield _image(part)
            elif isinstance(part, File):
                yield self._file(part)


def _sign_first_call(parts: Sequence[Json]) -> None:
    """Only the first call of a step is looked at: Gemini itself signs no other of parallel calls."""
    first = next((part for part in parts if "functionCall" in part), None)
    if first is not None:
        first.setdefault("thoughtSignature", FOREIGN_CALL)


def _thought(part: Reasoning) -> Iterator[Json]:
    """A signature without a thought came on an empty text part after the answer, and goes back as one."""
    wired: Json = {"text": part.text, "thought": True} if part.text else {"text": ""}
    if part.signature:
        wired["thoughtSignature"] = part.signature
    if part.text or part.signature:
        yield wired


def _image(image: Image) -> Json:
    if image.data is not None:
        return _inline(image.media_type, image.data)
    url = image.url or ""
    if inline := _DATA_URL.fullmatch(url):
        return {"inlineData": {"mimeType": inline["media_type"], "data": inline["data"]}}
    media_type = {"mimeType": image.media_type} if image.media_type else {}
    return {"fileData": {**media_type, "fileUri": url}}


def _inline(media_type: str | None, data: bytes) -> Json:
    return {"inlineData": {"mimeType": media_type, "data": base64.b64encode(data).decode("ascii")}}


def _declaration(tool: Tool) -> Json:
    description = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **description, "parametersJsonSchema": tool.parameters}


def _tool_config(request: ChatRequest) -> Json | None:
    match tool_choice(request):
        case None | "auto" if any(tool.strict for tool in request.tools or ()):
            config: Json = {"mode": "VALIDATED"}  # AUTO, with calls held to their schema
        case None:
            return None
        case "auto" | "none" | "required" as choice:
            config = {"mode": TOOL_CHOICES[choice]}
        case name:
            config = {"mode": "ANY", "allowedFunctionNames": [name]}
    return {"functionCallingConfig": config}


def _generation_config(request: ChatRequest, provider: str) -> Json | None:
    json_only = request.response_schema is not None
    config = {
        "maxOutputTokens": request.max_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "stopSequences": stops(request, MOST_STOPS, provider),
        "responseMimeType": "application/json" if json_only else None,
        "responseJsonSchema": request.response_schema,
        "thinkingConfig": _thinking(request.reasoning, provider),
    }
    return {name: value for name, value in config.items() if value is not None} or None


def _thinking(reasoning: str | int | None, provider: str) -> Mapping[str, object] | None:
    match reasoning:
        case None:
            return None
        case int():
            shown = {"includeThoughts": True} if reasoning else {}  # with a budget of 0 it is a 400
            return {"thinkingBudget": reasoning, **shown}
        case effort if effort in THINKING:
            return THINKING[effort]
        case effort:
            raise Unsupported(f"reasoning={effort!r} (only {', '.join(THINKING)}, or a budget)", provider)
