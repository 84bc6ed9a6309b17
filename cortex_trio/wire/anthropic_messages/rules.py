"""What a legal Messages request looks like. Source: Anthropic API reference; the complaints are the API's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..rules import (
    Illegal,
    Problem,
    Rule,
    Where,
    anything,
    array,
    base64_text,
    boolean,
    either,
    fields,
    filled,
    image_url,
    integer,
    json_object,
    matching,
    nullable,
    number,
    one_of,
    string,
    tagged,
)
from .server_tools import in_flight, is_server_result
from .values import ROLES

CALL_ID = matching(r"[a-zA-Z0-9_-]+")
CACHE = nullable(fields({"type": one_of("ephemeral")}, {"ttl": one_of("5m", "1h")}))
TEXT = fields(
    {"type": string, "text": string}, {"cache_control": CACHE, "citations": nullable(array(anything))}
)
MEDIA = one_of("image/jpeg", "image/png", "image/gif", "image/webp")
IMAGE = fields(
    {
        "type": string,
        "source": tagged(
            "type",
            {
                "base64": fields({"type": string, "media_type": MEDIA, "data": base64_text}),
                "url": fields({"type": string, "url": image_url}),
                "file": fields({"type": string, "file_id": filled}),
            },
        ),
    },
    {"cache_control": CACHE},
)
DOCUMENT = fields(
    {
        "type": string,
        "source": tagged(
            "type",
            {
                "text": fields({"type": string, "media_type": one_of("text/plain"), "data": string}),
                "base64": fields(
                    {"type": string, "media_type": one_of("application/pdf"), "data": base64_text}
                ),
                "url": fields({"type": string, "url": filled}),
                "content": json_object,
                "file": fields({"type": string, "file_id": filled}),
            },
        ),
    },
    {
        "title": nullable(string),
        "context": nullable(string),
        "citations": fields({"enabled": boolean}),
        "cache_control": CACHE,
    },
)
RESULT_BLOCKS = array(tagged("type", {"text": TEXT, "image": IMAGE, "document": DOCUMENT}))
SERVER_CALLS = ("server_tool_use", "mcp_tool_use")
SERVER_ID = matching(r"(srvtoolu|mcptoolu)_[a-zA-Z0-9_]+")
SERVER_CALL = fields({"type": string, "id": SERVER_ID, "name": filled, "input": json_object}, open=True)
SERVER_RESULT = fields({"type": string, "tool_use_id": SERVER_ID, "content": anything}, open=True)
BLOCKS: Mapping[str, Rule] = {
    "text": TEXT,
    "image": IMAGE,
    "document": DOCUMENT,
    "tool_use": fields(
        {"type": string, "id": CALL_ID, "name": matching(r"[a-zA-Z0-9_-]{1,128}"), "input": json_object},
        {"cache_control": CACHE, "caller": json_object},
    ),
    "tool_result": fields(
        {"type": string, "tool_use_id": CALL_ID},
        {"content": either(string, RESULT_BLOCKS), "is_error": boolean, "cache_control": CACHE},
    ),
    "thinking": fields({"type": string, "thinking": string, "signature": filled}),
    "redacted_thinking": fields({"type": string, "data": filled}),
    "server_tool_use": SERVER_CALL,
    "mcp_tool_use": SERVER_CALL,
    **dict.fromkeys(
        (
            "web_search_tool_result",
            "web_fetch_tool_result",
            "code_execution_tool_result",
            "bash_code_execution_tool_result",
            "text_editor_code_execution_tool_result",
            "tool_search_tool_result",
            "mcp_tool_result",
        ),
        SERVER_RESULT,
    ),
    "compaction": fields({"type": string, "content": nullable(string)}, open=True),
    "container_upload": fields({"type": string, "file_id": filled}),
}
OWN_TOOL = fields({"type": matching(r"[a-z_]+_\d{8}"), "name": filled}, open=True)
"""One the server runs itself, such as web_search_20250305."""
CALLERS_TOOL = fields(
    {
        "name": matching(r"[a-zA-Z0-9_-]{1,128}"),
        "input_schema": fields({"type": one_of("object")}, open=True),
    },
    {
        "type": nullable(one_of("custom")),
        "description": string,
        "strict": boolean,
        "cache_control": CACHE,
    },
)


def tool(value: object, where: Where) -> None:
    own = isinstance(value, dict) and value.get("type") not in (None, "custom")
    (OWN_TOOL if own else CALLERS_TOOL)(value, where)


PARALLEL: Mapping[str, Rule] = {"disable_parallel_tool_use": boolean}
_NEEDED: Mapping[str, Rule] = {
    "model": filled,
    "messages": array(
        fields(
            {
                "role": one_of(*ROLES),
                "content": either(string, array(tagged("type", BLOCKS))),
            }
        ),
        at_least=1,
    ),
}
_ALLOWED: Mapping[str, Rule] = {
    "system": either(string, array(TEXT)),
    "stop_sequences": array(string),
    "stream": boolean,
    "temperature": number(0, 1),
    "top_p": number(0, 1),
    "top_k": integer(0),
    "tools": array(tool),
    "tool_choice": tagged(
        "type",
        {
            "auto": fields({"type": string}, PARALLEL),
            "any": fields({"type": string}, PARALLEL),
            "tool": fields({"type": string, "name": filled}, PARALLEL),
            "none": fields({"type": string}),
        },
    ),
    "thinking": tagged(
        "type",
        {
            "enabled": fields({"type": string, "budget_tokens": integer(1024)}, {"display": string}),
            "adaptive": fields({"type": string}, {"display": string}),
            "disabled": fields({"type": string}),
        },
    ),
    "output_config": fields(
        {},
        {
            "effort": one_of("low", "medium", "high", "xhigh", "max"),
            "format": fields({"type": one_of("json_schema"), "schema": json_object}),
        },
    ),
    "metadata": fields({}, {"user_id": nullable(string)}),
    "service_tier": one_of("auto", "standard_only"),
    "cache_control": CACHE,
    "container": nullable(either(filled, json_object)),
    "context_management": nullable(json_object),
}
MESSAGES = fields({**_NEEDED, "max_tokens": integer(1)}, _ALLOWED)
COUNT = fields(_NEEDED, _ALLOWED)

_PREFILLED = re.compile(r"claude-(instant|2|3)|claude-(opus|sonnet|haiku)-4($|-[015]\b|-20)")
"""Models that go on from an assistant's last message; those since Opus 4.6 refuse one."""


def in_order(*, prefill: bool | None) -> Rule:
    """A rule for a body whose shape is right: the order of roles, and that every call has its result at once."""

    def rule(body: object, where: Where) -> None:
        assert isinstance(body, dict), "its shape was checked before"
        turns = _turns(body["messages"])
        _require_roles(turns)
        _require_content(turns)
        _require_answers(turns)
        _require_server_results(turns)
        _require_few_breakpoints(body)
        _require_budget(body)
        _require_ending(turns, body["model"], prefill)

    return rule


def _turns(messages: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Roles and blocks; neighbours of one role are one turn, as the server merges them."""
    turns: list[tuple[str, list[dict[str, Any]]]] = []
    for message in messages:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if turns and turns[-1][0] == message["role"]:
            turns[-1] = (message["role"], [*turns[-1][1], *blocks])
        else:
            turns.append((message["role"], blocks))
    return turns


def _require_roles(turns: list[tuple[str, list[dict[str, Any]]]]) -> None:
    if turns[0][0] != "user":
        raise _complaint('messages: first message must use the "user" role')
    for place, (role, blocks) in enumerate(turns):
        if role == "system" and any(block["type"] != "text" for block in blocks):
            raise _complaint(f"messages.{place}: a system message may only have text")
        if role == "user" and place and turns[place - 1][0] == "system":
            raise _complaint(
                f"messages.{place}: a system message must be last or before an assistant message"
            )


def _require_content(turns: list[tuple[str, list[dict[str, Any]]]]) -> None:
    for index, (_, blocks) in enumerate(turns):
        if not blocks:
            raise _complaint(
                f"messages.{index}: all messages must have non-empty content except for the optional final assistant"
                " message"
            )
        for block in blocks:
            if block["type"] == "text" and not block["text"]:
                raise _complaint("messages: text content blocks must be non-empty")
            if block["type"] == "text" and not block["text"].strip():
                raise _complaint("messages: text content blocks must contain non-whitespace text")


def _require_answers(turns: list[tuple[str, list[dict[str, Any]]]]) -> None:
    called: list[str] = []
    for index, (_, blocks) in enumerate(turns):
        leading = 0
        while leading < len(blocks) and blocks[leading]["type"] == "tool_result":
            leading += 1
        answered = [block["tool_use_id"] for block in blocks[:leading]]
        if missing := [call for call in called if call not in answered]:
            raise _complaint(
                f"messages.{index - 1}: `tool_use` ids were found without `tool_result` blocks immediately after:"
                f" {', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the"
                " next message."
            )
        for at, block in enumerate(blocks):
            if block["type"] == "tool_result" and block["tool_use_id"] not in called:
                raise _complaint(
                    f"messages.{index}.content.{at}: unexpected `tool_use_id` found in `tool_result` blocks:"
                    f" {block['tool_use_id']}. Each `tool_result` block must have a corresponding `tool_use` block in"
                    " the previous message."
                )
        called = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if len(set(called)) < len(called):
            raise _complaint("messages: `tool_use` ids must be unique")
    if called:
        raise _complaint(
            f"messages.{len(turns) - 1}: `tool_use` ids were found without `tool_result` blocks immediately after:"
            f" {', '.join(called)}. Each `tool_use` block must have a corresponding `tool_result` block in the next"
            " message."
        )


def _require_server_results(turns: list[tuple[str, list[dict[str, Any]]]]) -> None:
    """A call of the server's own tool has a result, unless it is in flight; a result has its call before it."""
    answered = {block["tool_use_id"] for _, blocks in turns for block in blocks if is_server_result(block)}
    legal = answered | in_flight(turns)
    called: set[str] = set()
    for index, (_, blocks) in enumerate(turns):
        for block in blocks:
            kind = block["type"]
            if kind in SERVER_CALLS:
                called.add(block["id"])
            if kind in SERVER_CALLS and block["id"] not in legal:
                raise _complaint(
                    f"messages.{index}: `{block['name']}` tool use with id `{block['id']}` was found without a"
                    f" corresponding `{block['name']}_tool_result` block"
                )
            if is_server_result(block) and block["tool_use_id"] not in called:
                raise _complaint(
                    f"messages.{index}: unexpected `tool_use_id` found in `{kind}` blocks: {block['tool_use_id']}."
                    f" Each `{kind}` block must have a corresponding `server_tool_use` block before it."
                )


def _require_few_breakpoints(body: dict[str, Any]) -> None:
    contents = [body.get("system"), *(message["content"] for message in body["messages"])]
    blocks = [block for content in contents if isinstance(content, list) for block in content]
    count = sum(bool(block.get("cache_control")) for block in (*body.get("tools", ()), *blocks))
    if count > 4:
        raise _complaint(f"A maximum of 4 blocks with cache_control may be provided. Found {count}.")


def _require_budget(body: dict[str, Any]) -> None:
    budget = (body.get("thinking") or {}).get("budget_tokens", 0)
    if budget >= body["max_tokens"]:
        raise _complaint("`max_tokens` must be greater than `thinking.budget_tokens`.")


def _require_ending(turns: list[tuple[str, list[dict[str, Any]]]], model: str, prefill: bool | None) -> None:
    role, blocks = turns[-1]
    if role != "assistant":
        return
    if any(block["type"] in (*SERVER_CALLS, "compaction") for block in blocks):
        return  # a pause that goes on, which every model does
    if prefill is None:
        prefill = not model.startswith("claude-") or bool(_PREFILLED.match(model))
    if not prefill:
        raise _complaint(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    if blocks[-1]["type"] == "text" and blocks[-1]["text"] != blocks[-1]["text"].rstrip():
        raise _complaint("messages: final assistant content cannot end with trailing whitespace")


def _complaint(text: str) -> Illegal:
    return Illegal(Problem.ORDER, ("messages",), text)
