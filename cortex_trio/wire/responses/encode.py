"""Encodes a ChatRequest as the body of a Responses request: items in the order of the conversation.

Nothing is kept on the server (`store` is false, where it is true by default), for the gateway sends the whole
conversation anyway, to the next worker. Reasoning is asked for encrypted instead, and goes back to the model it
came from, before what it led to. Items are sent without ids of their own but for reasoning: an id makes the server
look for the neighbours it stored with it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import attrs

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
from ..codec import Unsupported, compact
from ..history import (
    CallIds,
    as_functions,
    may_replay,
    replayed,
    sendable,
    shown_by_user,
    titled,
    with_documents,
)
from ..openai_tools import custom_format, parameters, response_schema, strict_parameters
from ..options import require_small_files, tool_choice
from ..own_fields import unpacked
from .actions import NAMES, answer, caller
from .calls import OWN_FIELDS
from .content import file_part, image_part
from .items import BETWEEN_PARTS

Json = dict[str, Any]

LEGAL_CALL_ID = re.compile(r".{1,64}", re.DOTALL)

TOOL_CHOICES = ("auto", "none", "required")


def responses_body(
    request: ChatRequest,
    provider: str,
    model: str,
    *,
    efforts: Collection[str] | None,
    summary: str | None,
    encrypted: bool,
    least_max_tokens: int,
    custom_tools: bool,
    most_file_bytes: int | None,
    own_fields: bool,
) -> Json:
    """Return the body, without `extra_body`. Raises Unsupported for what this API has no field for."""
    if request.stop:
        raise Unsupported("stop sequences", provider)
    if most_file_bytes is not None:
        require_small_files(request, most_file_bytes, provider)
    tools = request.tools or ()
    if not custom_tools and any(tool.kind == "custom" for tool in tools):
        raise Unsupported("custom tools", provider)
    leading, conversation = _split_system(request.messages)
    messages = sendable(with_documents(conversation, request.documents))
    messages = messages if custom_tools else as_functions(messages)
    items = _Input(messages, provider, model, own_fields).items(messages)
    body: Json = {"model": model, "input": items, "store": False}
    options: Json = {
        "instructions": _instructions(leading, provider),
        "max_output_tokens": _max_tokens(request, least_max_tokens, provider),
        "temperature": request.temperature,
        "top_p": request.top_p,
        "tools": [_tool(tool) for tool in tools] or None,
        "tool_choice": _tool_choice(tool_choice(request), tools),
        "text": _text_format(request),
        "reasoning": _reasoning(request.reasoning, efforts, summary, provider),
        "include": ["reasoning.encrypted_content"] if encrypted else None,
        "stream": True if request.stream else None,
    }
    return body | {name: value for name, value in options.items() if value is not None}


# ------------------------------------------------------------------ options


def _max_tokens(request: ChatRequest, least: int, provider: str) -> int | None:
    if request.max_tokens is not None and request.max_tokens < least:
        raise Unsupported(f"max_tokens={request.max_tokens} (at least {least})", provider)
    return request.max_tokens


def _tool(tool: Tool) -> Json:
    named: Json = {"type": tool.kind, "name": tool.name}
    if tool.description:
        named["description"] = tool.description
    if tool.kind == "custom":
        return {**named, "format": custom_format(tool, nested=False)} if tool.format else named
    # Left out, `strict` would mean true here and make every property required; elsewhere it means false.
    given = strict_parameters(tool) if tool.strict else parameters(tool)
    return {**named, "parameters": given, "strict": bool(tool.strict)}


def _tool_choice(choice: str | None, tools: Sequence[Tool]) -> str | Json | None:
    if choice is None or choice in TOOL_CHOICES:
        return choice
    kind = next((tool.kind for tool in tools if tool.name == choice), "function")
    return {"type": kind, "name": choice}


def _text_format(request: ChatRequest) -> Json | None:
    if request.response_schema is None:
        return None
    return {"format": {"type": "json_schema", **response_schema(request.response_schema)}}


def _reasoning(
    reasoning: str | int | None, efforts: Collection[str] | None, summary: str | None, provider: str
) -> Json | None:
    if isinstance(reasoning, int):
        raise Unsupported("reasoning as a token budget", provider)
    if reasoning is not None and efforts is not None and reasoning not in efforts:
        raise Unsupported(f"reasoning={reasoning!r:.40} (only {', '.join(efforts)})", provider)
    wanted = {"effort": reasoning, "summary": summary}
    return {name: value for name, value in wanted.items() if value is not None} or None


# ------------------------------------------------------------------ the conversation


def _split_system(messages: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message]]:
    """Return what goes into `instructions`, and the input; if there are only system messages, they are the input."""
    count = next((n for n, message in enumerate(messages) if message.role != "system"), 0)
    return messages[:count], messages[count:]


def _instructions(messages: Sequence[Message], provider: str) -> str | None:
    texts = [_text(part, "system", provider) for message in messages for part in message.parts]
    return "\n\n".join(text for text in texts if text) or None


class _Input:
    """Translates one history, part by part."""

    def __init__(self, messages: Sequence[Message], provider: str, model: str, own_fields: bool) -> None:
        self._provider = provider
        self._model = model
        self._own_fields = own_fields
        self._ids = CallIds(messages, LEGAL_CALL_ID)
        self._called: dict[
            str, Json
        ] = {}  # the items of the calls, by id: they decide about those of the results

    def items(self, messages: Sequence[Message]) -> list[Json]:
        with_own_images = [self._with_own_images(message) for message in messages]
        return [item for message in shown_by_user(with_own_images) for item in self._of(message)]

    def _with_own_images(self, message: Message) -> Message:
        """Images this model made become the items they came in; `shown_by_user` takes care of all others."""
        if message.role != "assistant" or not any(isinstance(part, Image) for part in message.parts):
            return message
        return Message("assistant", tuple(self._own_image(part) for part in message.parts))

    def _own_image(self, part: Part) -> Part:
        if not isinstance(part, Image) or part.data is None or part.signature is None:
            return part
        if not may_replay(part, self._provider, self._model):
            return part
        item = Opaque("image_generation_call", part.signature)
        try:
            whole = {**item.parsed(), "result": base64.b64encode(part.data).decode()}
        except (ValueError, RecursionError):  # the signature of another API
            return part
        return attrs.evolve(item, data=compact(whole))

    def _of(self, message: Message) -> Iterator[Json]:
        match message.role:
            case "assistant":
                yield from self._assistant(message.parts)
            case "tool" if not _holds_results(message.parts):
                raise Unsupported("a tool message without a ToolResult", self._provider)
            case "system":
                texts = (_text(part, "system", self._provider) for part in message.parts)
                yield {"role": "system", "content": "\n\n".join(texts)}
            case "user" | "tool":
                yield from self._user(message.parts)

    def _assistant(self, parts: Sequence[Part]) -> Iterator[Json]:
        """Encode an assistant message. Reasoning waits for the item that follows it, without which it is refused."""
        thoughts: list[Json] = []
        for part in parts:
            if isinstance(part, Reasoning):
                self._add_reasoning(part, thoughts)
            elif (item := self._assistant_item(part)) is not None:
                yield from (thought for thought in thoughts if "encrypted_content" in thought)
                thoughts.clear()
                yield item

    def _add_reasoning(self, part: Reasoning, thoughts: list[Json]) -> None:
        """Add a part to its reasoning item. Items that are not encrypted are dropped: the server cannot read them."""
        if not may_replay(part, self._provider, self._model) or not (part.signature or part.encrypted):
            return
        last = thoughts[-1] if thoughts else {}
        item = last if part.signature and last.get("id") == part.signature else None
        if item is None or "encrypted_content" in item:
            item = {"type": "reasoning", **({"id": part.signature} if part.signature else {}), "summary": []}
            thoughts.append(item)
        text = part.text.removeprefix(BETWEEN_PARTS) if item["summary"] else part.text
        if text:
            item["summary"].append({"type": "summary_text", "text": text})
        if part.encrypted:
            item["encrypted_content"] = part.encrypted

    def _assistant_item(self, part: Part) -> Json | None:
        match part:
            case ToolCall():
                return self._call(part)
            case Opaque():
                return self._opaque(part)
            case _:
                text = _text(part, "assistant", self._provider)
                message = {"role": "assistant", "content": text}
                if isinstance(part, Text) and part.phase and self._own_fields:
                    message["phase"] = part.phase
                return message if text else None

    def _call(self, call: ToolCall) -> Json:
        call_id = self._ids.of_call(call)
        own = unpacked(call.signature) if self._goes_back(call) else {}
        if own.get("type") in NAMES:
            self._called[call_id] = own
            return own
        own = {name: value for name, value in own.items() if name in OWN_FIELDS}
        named = {"call_id": call_id, "name": call.name}
        if call.kind == "custom":
            item = {"type": "custom_tool_call", **named, "input": call.arguments, **own}
        else:
            arguments = "{}" if call.arguments.strip() in ("", "null") else call.arguments
            item = {"type": "function_call", **named, "arguments": arguments, **own}
        self._called[call_id] = item
        return item

    def _goes_back(self, call: ToolCall) -> bool:
        """To any model of its provider, for nothing here belongs to one model. Without an origin, to OpenAI's API."""
        if call.origin is None:
            return self._own_fields
        return call.origin.partition("/")[0] == self._provider

    def _user(self, parts: Sequence[Part]) -> Iterator[Json]:
        """Encode a user or tool message: each result is an item, and what is between results is a message."""
        content: list[Json] = []
        only_text = len(parts) == 1 and isinstance(parts[0], Text)
        for part in parts:
            item = self._result(part) if isinstance(part, ToolResult) else None
            if isinstance(part, Opaque):
                item = self._opaque(part)
            elif item is None:
                # A message must say how closely the model looks; a result need not.
                shown = self._content(part)
                content.append({"detail": "auto", **shown} if shown["type"] == "input_image" else shown)
            if item is not None:
                yield from [{"role": "user", "content": content}] if content else []
                content = []
                yield item
        if content:
            yield {"role": "user", "content": content[0]["text"] if only_text else content}
        elif not parts:
            yield {"role": "user", "content": ""}

    def _content(self, part: Part) -> Json:
        match part:
            case Image():
                return image_part(part)
            case File():
                return file_part(part, self._provider)
            case _:
                return {"type": "input_text", "text": _text(part, "user", self._provider)}

    def _result(self, result: ToolResult) -> Json:
        output: str | list[Json]
        prefix = "Error: " if result.is_error else ""  # the API has no flag for it
        if isinstance(result.content, str):
            output = prefix + result.content
        else:
            output = [{"type": "input_text", "text": prefix}] if prefix else []
            output += [self._content(part) for part in result.content]
        call_id = self._ids.of_result(result)
        called = self._called.get(call_id, {})
        if called.get("type") in NAMES:
            return answer(called, result, output if isinstance(output, list) else ())
        kind = (
            "custom_tool_call_output" if called.get("type") == "custom_tool_call" else "function_call_output"
        )
        return {"type": kind, "call_id": call_id, "output": output or "", **caller(called)}

    def _opaque(self, part: Opaque) -> Json | None:
        """Return an item as it came, for its own model only: it needs the reasoning that came before it."""
        if part.origin not in (None, f"{self._provider}/{self._model}"):
            return None
        item = replayed(part, self._provider)
        return None if item is None else {"type": part.type, **item}


def _holds_results(parts: Sequence[Part]) -> bool:
    """Whether all parts are results; opaque parts are results of the provider's own tools."""
    return bool(parts) and all(isinstance(part, ToolResult | Opaque) for part in parts)


def _text(part: Part, role: str, provider: str) -> str:
    match part:
        case Text(text):
            return text
        case Document():
            return titled(part)
        case Opaque():
            return ""  # no server reads one in a system message
        case _:
            raise Unsupported(f"{type(part).__name__} in a message of role {role}", provider)
