"""What a legal Responses request looks like. Source: OpenAI API reference, Responses; xAI REST reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..rules import (
    Illegal,
    Problem,
    Rule,
    Where,
    array,
    boolean,
    either,
    fields,
    filled,
    image_url,
    integer,
    json_object,
    json_text,
    matching,
    nullable,
    number,
    one_of,
    string,
    tagged,
)

STATUS = one_of("in_progress", "completed", "incomplete")
INPUT_PARTS = tagged(
    "type",
    {
        "input_text": fields({"type": string, "text": string}),
        "input_image": fields(
            {"type": string},
            {
                "image_url": nullable(image_url),
                "file_id": nullable(string),
                "detail": one_of("auto", "low", "high", "original"),
            },
        ),
        "input_file": fields(
            {"type": string},
            {"file_id": nullable(string), "file_url": string, "file_data": string, "filename": string},
        ),
    },
)
OUTPUT_PARTS = tagged(
    "type",
    {
        "output_text": fields(
            {"type": string, "text": string},
            {"annotations": array(json_object), "logprobs": nullable(array(json_object))},
        ),
        "refusal": fields({"type": string, "refusal": string}),
    },
)
ASKED = fields(
    {"role": string, "content": either(string, array(INPUT_PARTS))},
    {"type": string, "id": string, "status": STATUS},
)
SAID = fields(
    {"role": string, "content": either(string, array(OUTPUT_PARTS))},
    {"type": string, "id": matching(r"msg_.+"), "status": STATUS, "phase": nullable(string)},
)
MESSAGE = tagged("role", {"user": ASKED, "system": ASKED, "developer": ASKED, "assistant": SAID})
CALL_ID = matching(r"(?s).{1,64}")
SUMMARY = fields({"type": one_of("summary_text"), "text": string})
THOUGHT = fields({"type": one_of("reasoning_text"), "text": string})
SERVER_ITEMS = (
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "mcp_list_tools",
    "mcp_call",
    "mcp_approval_request",
    "mcp_approval_response",
    "computer_call",
    "computer_call_output",
    "local_shell_call",
    "local_shell_call_output",
    "shell_call",
    "shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
    "tool_search_call",
    "tool_search_output",
    "compaction",
)
"""Calls and results of the server's own tools; it takes them back as it sent them."""
ITEMS = tagged(
    "type",
    {
        "message": MESSAGE,
        "function_call": fields(
            {"type": string, "call_id": CALL_ID, "name": filled, "arguments": json_text},
            {"id": matching(r"fc_.+"), "status": STATUS, "namespace": string, "caller": json_object},
        ),
        "function_call_output": fields(
            {"type": string, "call_id": CALL_ID, "output": either(string, array(INPUT_PARTS, at_least=1))},
            {"id": nullable(string), "status": nullable(STATUS), "caller": json_object},
        ),
        "reasoning": fields(
            {"type": string, "id": matching(r"rs_.+"), "summary": array(SUMMARY)},
            {
                "encrypted_content": nullable(string),
                "content": nullable(array(THOUGHT)),
                "status": nullable(STATUS),
            },
        ),
        **dict.fromkeys(SERVER_ITEMS, json_object),
    },
)


def _item(value: object, where: Where) -> None:
    """A message may leave its type out."""
    untyped = isinstance(value, dict) and "role" in value and "type" not in value
    (MESSAGE if untyped else ITEMS)(value, where)


FUNCTION = fields(
    {"type": string, "name": matching(r"[a-zA-Z0-9_-]{1,64}"), "parameters": nullable(json_object)},
    {"description": nullable(string), "strict": nullable(boolean)},
)
SERVER_TOOLS = (
    "namespace",  # the caller's functions under one name, as the Codex CLI sends them
    "web_search",
    "x_search",
    "file_search",
    "code_interpreter",
    "image_generation",
    "mcp",
    "custom",
)
FORMAT = tagged(
    "type",
    {
        "text": fields({"type": string}),
        "json_object": fields({"type": string}),
        "json_schema": fields(
            {"type": string, "name": matching(r"[a-zA-Z0-9_-]{1,64}"), "schema": json_object},
            {"strict": nullable(boolean), "description": string},
        ),
    },
)
INCLUDED = one_of(
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "code_interpreter_call.outputs",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
)
COMMON: Mapping[str, Rule] = {
    "instructions": nullable(string),
    "temperature": nullable(number(0, 2)),
    "top_p": nullable(number(0, 1)),
    "stream": nullable(boolean),
    "stream_options": nullable(fields({}, {"include_obfuscation": boolean})),
    "store": nullable(boolean),
    "include": nullable(array(INCLUDED)),
    "tools": array(tagged("type", {"function": FUNCTION, **dict.fromkeys(SERVER_TOOLS, json_object)})),
    "tool_choice": either(
        one_of("auto", "none", "required"),
        tagged(
            "type",
            {
                "function": fields({"type": string, "name": filled}),
                **dict.fromkeys(SERVER_TOOLS, json_object),
            },
        ),
    ),
    "parallel_tool_calls": nullable(boolean),
    "max_tool_calls": nullable(integer(1)),
    "text": fields({}, {"format": FORMAT, "verbosity": nullable(one_of("low", "medium", "high"))}),
    "previous_response_id": nullable(string),
    "truncation": nullable(one_of("auto", "disabled")),
    "top_logprobs": nullable(integer(0, 20)),
    "service_tier": nullable(string),
    "prompt_cache_key": string,
    "safety_identifier": string,
    "background": nullable(boolean),
    "user": string,
    "metadata": nullable(json_object),
    "client_metadata": nullable(json_object),  # of the Codex CLI
}


def _request(efforts: tuple[str, ...], least_tokens: int) -> Rule:
    reasoning = fields(
        {},
        {
            "effort": nullable(one_of(*efforts)),
            "summary": nullable(one_of("auto", "concise", "detailed")),
        },
    )
    own = {"reasoning": nullable(reasoning), "max_output_tokens": nullable(integer(least_tokens))}
    items = either(filled, array(_item, at_least=1))
    return fields({"model": filled, "input": items}, {**COMMON, **own})


OPENAI = _request(("none", "minimal", "low", "medium", "high", "xhigh", "max"), 16)
XAI = _request(("none", "low", "medium", "high"), 1)


def in_order(*, prefill: bool | None, cipher: str) -> Rule:
    """A rule for a body whose shape is right: what may follow what among its items.

    `cipher` is what the server's own encrypted reasoning begins with.
    """

    def rule(body: object, where: Where) -> None:
        assert isinstance(body, dict), "its shape was checked before"
        if isinstance(body["input"], list):
            _require_answered(body["input"])
            _require_reasoning(body["input"], cipher, stored=body.get("store") is not False)
            if prefill is False and body["input"][-1].get("role") == "assistant":
                raise _order(("input",), "The last message must have role 'user' or 'tool'.")
        included = body.get("include") or ()
        if "reasoning.encrypted_content" in included and body["model"].startswith(("gpt-3", "gpt-4")):
            raise _order(("include",), "Encrypted content is not supported with this model.")

    return rule


def _require_answered(items: list[dict[str, Any]]) -> None:
    """Every call has an output somewhere after it, and every output a call before it."""
    waiting: list[str] = []
    for index, item in enumerate(items):
        match item:
            case {"type": "function_call", "call_id": call_id}:
                waiting.append(call_id)
            case {"type": "function_call_output", "call_id": call_id}:
                if call_id not in waiting:
                    complaint = f"No tool call found for function call output with call_id {call_id}."
                    raise _order(("input", index), complaint)
                waiting.remove(call_id)
    if waiting:
        raise _order(("input",), f"No tool output found for function call {waiting[0]}.")


def _require_reasoning(items: list[dict[str, Any]], cipher: str, *, stored: bool) -> None:
    """Reasoning comes as it was given, once, and before what it led to."""
    seen: set[str] = set()
    for index, item in enumerate(items):
        if item.get("type") != "reasoning":
            continue
        own_id, encrypted = item["id"], item.get("encrypted_content")
        where = ("input", index)
        if own_id in seen:
            raise _order(
                where, f"Duplicate item found with id {own_id}. Remove duplicate items from your input."
            )
        seen.add(own_id)
        if not encrypted and not stored:
            raise _order(
                where,
                f"Item with id '{own_id}' not found. Items are not persisted when `store` is set to false. Try again"
                " with `store` set to true, or remove this item from your input.",
            )
        if encrypted and not encrypted.startswith(cipher):
            raise _order(where, "The encrypted content could not be verified.")
        following = items[index + 1] if index + 1 < len(items) else {"role": "user"}
        if (
            following.get("role", "assistant") != "assistant"
            or following.get("type") == "function_call_output"
        ):
            complaint = (
                f"Item '{own_id}' of type 'reasoning' was provided without its required following item."
            )
            raise _order(where, complaint)


def _order(where: Where, complaint: str) -> Illegal:
    return Illegal(Problem.ORDER, where, complaint)
