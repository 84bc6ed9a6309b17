"""Encodes a ChatRequest as the body of a Messages request. Which model takes which option is left to the server.

Options, tools and the system text are here; the conversation is in `turns`. Breakpoints of the prompt cache may stand
at a tool, at a system message and at a message, in the order of the prompt, and the API takes four of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...messages import ChatRequest, Document, Message, Part, Text, Tool
from ..codec import Unsupported
from ..history import asked_by_user, sendable, titled, with_documents
from ..options import functions_only, require_small_files, stops, tool_choice, within
from .turns import BREAKPOINT, Block, Turns

DEFAULT_MAX_TOKENS = 4096
"""The API requires a number; every model since 2024 allows this one."""

LEAST_BUDGET = 1024
"""Tokens of thinking; fewer are a 400."""

MOST_BYTES = 32_000_000
"""The limit of a request. Larger files are uploaded first."""

MOST_BREAKPOINTS = 4
"""Of the prompt cache. The last ones are kept: each of them covers all that is before it."""

EFFORTS = ("low", "medium", "high", "xhigh", "max")

TOOL_CHOICES = {"auto": "auto", "none": "none", "required": "any"}  # anything else is the name of a tool


def messages_body(request: ChatRequest, provider: str, model: str, *, display: bool = True) -> dict[str, Any]:
    """Return the body; raises Unsupported or InvalidRequest for what this API has no field for."""
    require_small_files(request, MOST_BYTES, provider)
    leading, conversation = _split_system(asked_by_user(request.messages))
    conversation = sendable(with_documents(conversation, request.documents))
    turns = Turns(request, provider, model)
    body = {
        "model": model,
        "max_tokens": _max_tokens(request),
        "messages": turns.of(conversation),
        "stream": request.stream,
    }
    options = {
        "container": turns.container,
        "system": _system(leading, provider),
        "temperature": within("temperature", request.temperature, 0, 1, provider),
        "top_p": request.top_p,
        "stop_sequences": stops(request, None, provider),
        "tools": [_tool(tool) for tool in functions_only(request, provider)] or None,
        "tool_choice": _tool_choice(tool_choice(request)),
        "thinking": _thinking(request, provider, display=display),
        "output_config": _output_config(request, provider),
    }
    body |= {name: value for name, value in options.items() if value is not None}
    for block in [*_with_breakpoint(body)][:-MOST_BREAKPOINTS]:
        del block["cache_control"]
    system = body.get("system")
    if isinstance(system, list) and not any("cache_control" in block for block in system):
        body["system"] = "\n\n".join(block["text"] for block in system)
    return body


def _with_breakpoint(body: Block) -> Iterator[Block]:
    """What has a breakpoint, in the order of the prompt."""
    system = body.get("system")
    said = (block for turn in body["messages"] for block in turn["content"])
    for block in (*body.get("tools", ()), *(system if isinstance(system, list) else ()), *said):
        if block.get("cache_control") is BREAKPOINT:
            yield block


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
    strict = {} if tool.strict is None else {"strict": tool.strict}
    return {**block, **strict, **({"cache_control": BREAKPOINT} if tool.cache else {})}


def _tool_choice(choice: str | None) -> Block | None:
    if choice is None:
        return None
    return {"type": TOOL_CHOICES[choice]} if choice in TOOL_CHOICES else {"type": "tool", "name": choice}


def _thinking(request: ChatRequest, provider: str, *, display: bool) -> Block | None:
    match request.reasoning:
        case None:
            return None
        case "none":
            return {"type": "disabled"}
        case str():
            # By default, newer models show nothing.
            return {"type": "adaptive", **({"display": "summarized"} if display else {})}
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


# ------------------------------------------------------------------ the system text


def _split_system(messages: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message]]:
    """Return the leading system messages and all others; the API has one place for system text, at the top."""
    count = next((n for n, message in enumerate(messages) if message.role != "system"), len(messages))
    return messages[:count], messages[count:]


def _system(messages: Sequence[Message], provider: str) -> str | list[Block] | None:
    """Return one text; or a block for all messages up to each breakpoint, if there are any."""
    blocks: list[Block] = []
    texts: list[str] = []
    for message in messages:
        texts += [text for part in message.parts if (text := _plain(part, provider))]
        if message.cache and texts:
            blocks.append({"type": "text", "text": "\n\n".join(texts), "cache_control": BREAKPOINT})
            texts = []
    text = "\n\n".join(texts)
    if not blocks:
        return text or None
    return [*blocks, {"type": "text", "text": text}] if text else blocks


def _plain(part: Part, provider: str) -> str:
    match part:
        case Text(text):
            return text
        case Document():
            return titled(part)
        case _:
            raise Unsupported(f"a part of type {type(part).__name__} in a system message", provider)
