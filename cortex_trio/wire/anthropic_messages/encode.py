"""Encodes a ChatRequest as the body of a Messages request. Which model takes which option is left to the server.

The rules of the conversation, each of them a 400 if broken: text blocks are not blank; a user message is first; roles
alternate, so neighbours of one role are merged; tool results stand first in the user turn after their calls; only the
user shows images; a call of the server's own tool and its result stand in one turn, unless the turn is the last (a
pause that goes on); an assistant turn at the end (a prefill) has no trailing white space; ids of calls are unique;
`max_tokens` is there.
"""

from __future__ import annotations

import base64
import itertools
import operator
import re
from collections.abc import Sequence
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
from ..history import (
    CallIds,
    arguments_object,
    asked_by_user,
    may_replay,
    replayed,
    shown_by_user,
    titled,
    with_documents,
)
from ..options import stops, tool_choice, within

DEFAULT_MAX_TOKENS = 4096
"""The API requires a number; every model since 2024 allows this one."""

GREETED = "."
"""The user message that is put before an assistant message at the start: the shortest that is legal."""

LEAST_BUDGET = 1024
"""Tokens of thinking; fewer are a 400."""

LEGAL_CALL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")

EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})

TOOL_CHOICES = {"auto": "auto", "none": "none", "required": "any"}  # anything else is the name of a tool

Block = dict[str, Any]


def messages_body(request: ChatRequest, provider: str, model: str) -> dict[str, Any]:
    """Return the body; raises Unsupported or InvalidRequest for what this API has no field for."""
    leading, conversation = _split_system(asked_by_user(request.messages))
    turns = _Turns(request, provider, model).of(with_documents(conversation, request.documents))
    body = {
        "model": model,
        "max_tokens": _max_tokens(request),
        "messages": turns,
        "stream": request.stream,
    }
    options = {
        "system": _system_text(leading, provider),
        "temperature": within("temperature", request.temperature, 0, 1, provider),
        "top_p": request.top_p,
        "stop_sequences": stops(request, None, provider),
        "tools": [_tool(tool) for tool in request.tools] if request.tools else None,
        "tool_choice": _tool_choice(tool_choice(request)),
        "thinking": _thinking(request, provider),
        "output_config": _output_config(request, provider),
    }
    return body | {name: value for name, value in options.items() if value is not None}


# ------------------------------------------------------------------ options


def _max_tokens(request: ChatRequest) -> int:
    if request.max_tokens is not None:
        return request.max_tokens
    # A thinking budget counts against max_tokens and must be smaller.
    budget = request.reasoning if isinstance(request.reasoning, int) else 0
    return budget + DEFAULT_MAX_TOKENS


def _tool(tool: Tool) -> Block:
    schema = {"type": "object", **(tool.parameters or {})}  # the type is required, even for {}
    block = {"name": tool.name, "description": tool.description, "input_schema": schema}
    return block if tool.strict is None else {**block, "strict": tool.strict}


def _tool_choice(choice: str | None) -> Block | None:
    if choice is None:
        return None
    return {"type": TOOL_CHOICES[choice]} if choice in TOOL_CHOICES else {"type": "tool", "name": choice}


def _thinking(request: ChatRequest, provider: str) -> Block | None:
    match request.reasoning:
        case None:
            return None
        case "none":
            return {"type": "disabled"}
        case str():
            return {"type": "adaptive"}
        case budget if LEAST_BUDGET <= budget < _max_tokens(request):
            return {"type": "enabled", "budget_tokens": budget}
        case budget:
            least = f"at least {LEAST_BUDGET}, and less than max_tokens"
            raise Unsupported(f"a reasoning budget of {budget} ({least})", provider)


def _output_config(request: ChatRequest, provider: str) -> Block | None:
    config: Block = {}
    if isinstance(request.reasoning, str) and request.reasoning != "none":
        if request.reasoning not in EFFORTS:
            raise Unsupported(f"reasoning={request.reasoning!r:.40}", provider)
        config["effort"] = request.reasoning
    if request.response_schema is not None:
        config["format"] = {"type": "json_schema", "schema": dict(request.response_schema)}
    return config or None


# ------------------------------------------------------------------ the conversation


def _split_system(messages: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message]]:
    """Return the leading system messages and all others; the API has one place for system text, at the top."""
    count = next((n for n, message in enumerate(messages) if message.role != "system"), len(messages))
    return messages[:count], messages[count:]


def _system_text(messages: Sequence[Message], provider: str) -> str | None:
    texts = [_plain(part, provider) for message in messages for part in message.parts]
    return "\n\n".join(text for text in texts if text) or None


def _plain(part: Part, provider: str) -> str:
    match part:
        case Text(text):
            return text
        case Document():
            return titled(part)
        case _:
            raise Unsupported(f"a part of type {type(part).__name__} in a system message", provider)


class _Turns:
    """Turns messages into alternating turns of blocks."""

    def __init__(self, request: ChatRequest, provider: str, model: str) -> None:
        self._provider = provider
        self._model = model
        self._ids = CallIds(request.messages, LEGAL_CALL_ID)
        # Citations come as extra blocks, so the server refuses them beside a schema for the whole answer.
        self._cites = request.response_schema is None

    def of(self, messages: Sequence[Message]) -> list[Block]:
        encoded = [
            # System messages after the first user message become the user's.
            ("assistant" if message.role == "assistant" else "user", block)
            for message in shown_by_user(messages)
            for part in message.parts
            if (block := self._block(part)) is not None
        ]
        runs = itertools.groupby(encoded, operator.itemgetter(0))
        turns = [{"role": role, "content": [block for _, block in run]} for role, run in runs]
        turns = _with_server_tools_paired(turns)
        for turn in turns:
            if turn["role"] == "user":
                turn["content"].sort(key=lambda block: block["type"] != "tool_result")  # stable
        _strip_prefill(turns)
        if turns and turns[0]["role"] == "assistant":
            turns.insert(0, {"role": "user", "content": [{"type": "text", "text": GREETED}]})
        return turns

    def _block(self, part: Part) -> Block | None:
        match part:
            case Text(text):
                return _text(text)
            case Image():
                return _image(part)
            case File():
                raise Unsupported("files", self._provider)
            case Document():
                return self._document(part)
            case Reasoning():
                return self._thinking(part)
            case ToolCall():
                return {
                    "type": "tool_use",
                    "id": self._ids.of_call(part),
                    "name": part.name,
                    "input": arguments_object(part, self._provider),
                }
            case ToolResult():
                return self._tool_result(part)
            case Opaque():
                block = replayed(part, self._provider)
                return None if block is None else {"type": part.type, **block}

    def _document(self, document: Document) -> Block:
        block: Block = {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": document.text},
        }
        if title := document.title or document.id:
            block["title"] = title
        return {**block, "citations": {"enabled": True}} if self._cites else block

    def _thinking(self, part: Reasoning) -> Block | None:
        """Thinking goes back only as it came: to its model, with its signature or encrypted."""
        if not may_replay(part, self._provider, self._model):
            return None
        if part.encrypted:
            return {"type": "redacted_thinking", "data": part.encrypted}
        if part.signature:
            return {"type": "thinking", "thinking": part.text, "signature": part.signature}
        return None

    def _tool_result(self, result: ToolResult) -> Block:
        block: Block = {"type": "tool_result", "tool_use_id": self._ids.of_result(result)}
        content: str | list[Block]
        if isinstance(result.content, str):
            content = result.content
        else:
            blocks = (self._block(part) for part in result.content)
            content = [block for block in blocks if block is not None]
        if result.is_error:
            block["is_error"] = True
            content = content or "failed"  # an error without text is refused
        return {**block, "content": content} if content else block


def _text(text: str) -> Block | None:
    return {"type": "text", "text": text} if text.strip() else None


def _image(image: Image) -> Block:
    if image.data is None:
        return {"type": "image", "source": {"type": "url", "url": image.url}}
    data = base64.b64encode(image.data).decode("ascii")
    return {"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": data}}


def _with_server_tools_paired(turns: list[Block]) -> list[Block]:
    """Drop calls of the server's own tools without a result, as a broken answer may hold: they are a 400."""
    for turn in turns:
        calls = {block["id"] for block in turn["content"] if _is_server_call(block)}
        results = {block["tool_use_id"] for block in turn["content"] if _is_server_result(block)}
        if turn is turns[-1]:
            results |= calls  # their results are still to come
        turn["content"] = [
            block
            for block in turn["content"]
            if not (_is_server_call(block) and block["id"] not in results)
            and not (_is_server_result(block) and block["tool_use_id"] not in calls)
        ]
    return [turn for turn in turns if turn["content"]]


def _is_server_call(block: Block) -> bool:
    kind = str(block["type"])
    return kind != "tool_use" and kind.endswith("tool_use") and isinstance(block.get("id"), str)


def _is_server_result(block: Block) -> bool:
    kind = str(block["type"])
    return (
        kind != "tool_result" and kind.endswith("tool_result") and isinstance(block.get("tool_use_id"), str)
    )


def _strip_prefill(turns: list[Block]) -> None:
    if turns and turns[-1]["role"] == "assistant":
        last = turns[-1]["content"][-1]
        if last["type"] == "text":
            last["text"] = last["text"].rstrip()
