"""What a legal chat completions request looks like. Source: OpenAI API reference; Groq and xAI references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..rules import (
    Illegal,
    Problem,
    Rule,
    Where,
    anything,
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
from .message_fields import FIELDS

TEXT = fields({"type": one_of("text"), "text": string})
PARTS = tagged(
    "type",
    {
        "text": TEXT,
        "image_url": fields(
            {
                "type": string,
                "image_url": fields(
                    {"url": image_url}, {"detail": one_of("auto", "low", "high", "original")}
                ),
            }
        ),
        "input_audio": fields({"type": string, "input_audio": fields({"data": string, "format": string})}),
        "file": fields({"type": string, "file": json_object}),
    },
)
ASSISTANT_PARTS = tagged("type", {"text": TEXT, "refusal": fields({"type": string, "refusal": string})})
FUNCTION_CALL = fields({"name": filled, "arguments": json_text})
CUSTOM_CALL = fields({"name": filled, "input": string})


def _call(custom: bool, more: Mapping[str, Rule]) -> Rule:
    shapes = {"function": fields({"id": filled, "type": string, "function": FUNCTION_CALL}, more)}
    if custom:
        shapes["custom"] = fields({"id": filled, "type": string, "custom": CUSTOM_CALL}, more)
    return tagged("type", shapes)


TEXT_CONTENT = either(string, array(TEXT, at_least=1))


def _messages(assistant: Mapping[str, Rule], call: Rule) -> Rule:
    plain = fields({"role": string, "content": TEXT_CONTENT}, {"name": string})
    return array(
        tagged(
            "role",
            {
                "system": plain,
                "developer": plain,
                "user": fields(
                    {"role": string, "content": either(string, array(PARTS, at_least=1))}, {"name": string}
                ),
                "assistant": fields(
                    {"role": string},
                    {
                        "content": nullable(either(string, array(ASSISTANT_PARTS))),
                        "tool_calls": array(call, at_least=1),
                        "refusal": nullable(string),
                        "name": string,
                        **assistant,
                    },
                ),
                "tool": fields(
                    {"role": string, "content": TEXT_CONTENT, "tool_call_id": filled}, {"name": string}
                ),
            },
        ),
        at_least=1,
    )


FUNCTION = fields(
    {"name": matching(r"[a-zA-Z0-9_.-]{1,64}")},
    {"description": string, "parameters": json_object, "strict": nullable(boolean)},
)
NAMED = fields({"type": one_of("function"), "function": fields({"name": filled})})
CUSTOM = fields({"name": matching(r"[a-zA-Z0-9_-]{1,64}")}, {"description": string, "format": json_object})
CUSTOM_TOOLS: Mapping[str, Rule] = {
    "tools": array(
        tagged(
            "type",
            {
                "function": fields({"type": string, "function": FUNCTION}),
                "custom": fields({"type": string, "custom": CUSTOM}),
            },
        ),
        at_least=1,
    ),
    "tool_choice": either(
        one_of("auto", "none", "required"),
        tagged(
            "type",
            {
                "function": fields({"type": string, "function": fields({"name": filled})}),
                "custom": fields({"type": string, "custom": fields({"name": filled})}),
            },
        ),
    ),
}
"""Where tools may take free text."""
JSON_SCHEMA = fields(
    {"name": matching(r"[a-zA-Z0-9_-]{1,64}")},
    {"schema": json_object, "strict": nullable(boolean), "description": string},
)
COMMON: Mapping[str, Rule] = {
    "max_tokens": nullable(integer(1)),
    "max_completion_tokens": nullable(integer(1)),
    "temperature": nullable(number(0, 2)),
    "top_p": nullable(number(0, 1)),
    "stop": nullable(either(string, array(string, at_most=4))),
    "seed": nullable(integer()),
    "n": nullable(integer(1, 128)),
    "stream": nullable(boolean),
    "stream_options": nullable(fields({}, {"include_usage": boolean, "include_obfuscation": boolean})),
    "tools": array(fields({"type": one_of("function"), "function": FUNCTION}), at_least=1),
    "tool_choice": either(one_of("auto", "none", "required"), NAMED),
    "parallel_tool_calls": boolean,
    "response_format": tagged(
        "type",
        {
            "text": fields({"type": string}),
            "json_object": fields({"type": string}),
            "json_schema": fields({"type": string, "json_schema": JSON_SCHEMA}),
        },
    ),
    "presence_penalty": nullable(number(-2, 2)),
    "frequency_penalty": nullable(number(-2, 2)),
    "logit_bias": nullable(json_object),
    "logprobs": nullable(boolean),
    "top_logprobs": nullable(integer(0, 20)),
    "user": string,
    "metadata": nullable(json_object),
}
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def _request(
    extra: Mapping[str, Rule], assistant: Mapping[str, Rule], call: Rule, *, open: bool = False
) -> Rule:
    return fields({"model": filled, "messages": _messages(assistant, call)}, {**COMMON, **extra}, open=open)


OPENAI = _request(
    {
        "reasoning_effort": nullable(one_of(*EFFORTS)),
        "verbosity": nullable(one_of("low", "medium", "high")),
        "service_tier": nullable(one_of("auto", "default", "flex", "scale", "priority", "fast")),
        "prompt_cache_key": string,
        "prompt_cache_options": json_object,
        "safety_identifier": string,
        "store": nullable(boolean),
        "modalities": nullable(array(string)),
        "audio": nullable(json_object),
        "prediction": nullable(json_object),
        "web_search_options": json_object,
        **CUSTOM_TOOLS,
    },
    {"audio": nullable(json_object)},
    _call(True, {}),
)
GROQ = _request(
    {
        "reasoning_effort": nullable(one_of("none", "default", "low", "medium", "high")),
        "reasoning_format": nullable(one_of("hidden", "raw", "parsed")),
        "include_reasoning": nullable(boolean),
        "service_tier": nullable(one_of("auto", "on_demand", "flex", "performance")),
        "citation_options": nullable(string),
        "documents": nullable(array(json_object)),
        "search_settings": nullable(json_object),
        "compound_custom": nullable(json_object),
        "disable_tool_validation": boolean,
        "store": nullable(boolean),
    },
    {"reasoning": nullable(string)},
    _call(False, {}),
)
XAI = _request(
    {
        "reasoning_effort": nullable(one_of("none", "low", "medium", "high")),
        "search_parameters": nullable(json_object),
        "deferred": nullable(boolean),
        "store": nullable(boolean),
    },
    {"reasoning_content": nullable(string)},
    _call(False, {}),
)
COMPATIBLE = _request(
    CUSTOM_TOOLS,
    {"reasoning_content": nullable(string), "reasoning": anything, **dict.fromkeys(FIELDS, anything)},
    _call(True, {"extra_content": json_object}),
    open=True,
)
_token = integer(0)
_embedded = either(_token, array(_token, at_least=1), filled)
EMBEDDINGS = fields(
    {"model": filled, "input": either(filled, array(_embedded, at_least=1))},
    {"dimensions": integer(1), "encoding_format": one_of("float", "base64"), "user": string},
)


def in_order(*, prefill: bool | None) -> Rule:
    """A rule for a body whose shape is right: what may follow what among its messages."""

    def rule(body: object, where: Where) -> None:
        assert isinstance(body, dict), "its shape was checked before"
        _require_order(body["messages"], prefill=prefill)

    return rule


def _require_order(messages: list[dict[str, Any]], *, prefill: bool | None) -> None:
    """Tool calls are answered at once, each of them, and nothing else is: the texts are OpenAI's own."""
    waiting: list[str] = []
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                raise _order(
                    ("messages", index, "role"),
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with"
                    " 'tool_calls'.",
                )
            waiting.remove(message["tool_call_id"])
            continue
        _require_answered(waiting, index)
        waiting = [call["id"] for call in message.get("tool_calls") or ()]
        if message["role"] == "assistant" and not waiting and message.get("content") is None:
            raise Illegal(Problem.TYPE, ("messages", index, "content"), "string", None)
    _require_answered(waiting, len(messages))
    if prefill is False and messages[-1]["role"] == "assistant":
        raise _order(("messages",), "The last message must have role 'user' or 'tool'.")


def _require_answered(waiting: list[str], index: int) -> None:
    if waiting:
        raise _order(
            ("messages", index, "role"),
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each"
            f" 'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(waiting)}",
        )


def _order(where: tuple[str | int, ...], complaint: str) -> Illegal:
    return Illegal(Problem.ORDER, where, complaint)
