"""What a legal Cohere v2 request looks like. Source: Cohere API v2 reference."""

from __future__ import annotations

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

NAME = matching(r"[a-zA-Z_][a-zA-Z0-9_]*")
TEXT = fields({"type": string, "text": string})
IMAGE = fields({"type": string, "image_url": fields({"url": image_url}, {"detail": string})})
DOCUMENT = fields({"data": either(string, json_object)}, {"id": string})
CALL = fields(
    {"id": filled, "type": one_of("function"), "function": fields({"name": NAME, "arguments": json_text})}
)
RESULT = tagged("type", {"text": TEXT, "document": fields({"type": string, "document": DOCUMENT})})
MESSAGES = array(
    tagged(
        "role",
        {
            "system": fields({"role": string, "content": either(string, array(TEXT))}),
            "user": fields(
                {
                    "role": string,
                    "content": either(filled, array(tagged("type", {"text": TEXT, "image_url": IMAGE}), 1)),
                }
            ),
            "assistant": fields(
                {"role": string},
                {
                    "content": nullable(
                        either(
                            string,
                            array(
                                tagged(
                                    "type",
                                    {"text": TEXT, "thinking": fields({"type": string, "thinking": string})},
                                )
                            ),
                        )
                    ),
                    "tool_calls": array(CALL),
                    "tool_plan": string,
                    "citations": array(json_object),
                },
            ),
            "tool": fields(
                {"role": string, "tool_call_id": filled, "content": either(string, array(RESULT, 1))}
            ),
        },
    ),
    at_least=1,
)
FUNCTION = fields({"name": NAME, "parameters": json_object}, {"description": string})
CHAT = fields(
    {"model": filled, "messages": MESSAGES},
    {
        "stream": boolean,
        "tools": array(fields({"type": one_of("function"), "function": FUNCTION})),
        "strict_tools": boolean,
        "tool_choice": one_of("REQUIRED", "NONE"),
        "documents": array(either(string, DOCUMENT)),
        "citation_options": fields({}, {"mode": one_of("FAST", "ACCURATE", "OFF", "ENABLED", "DISABLED")}),
        "response_format": tagged(
            "type",
            {
                "text": fields({"type": string}),
                "json_object": fields({"type": string}, {"json_schema": json_object}),
            },
        ),
        "safety_mode": one_of("CONTEXTUAL", "STRICT", "OFF"),
        "max_tokens": integer(1),
        "stop_sequences": array(string, at_most=5),
        "temperature": number(0, 2),
        "k": integer(0, 500),
        "p": number(0.01, 0.99),
        "frequency_penalty": number(0, 1),
        "presence_penalty": number(0, 1),
        "seed": integer(0),
        "logprobs": boolean,
        "thinking": fields({"type": one_of("enabled", "disabled")}, {"token_budget": integer(1)}),
        "priority": integer(0, 999),
    },
)
EMBED = fields(
    {
        "model": filled,
        "input_type": one_of("search_document", "search_query", "classification", "clustering", "image"),
        "texts": array(filled, 1, 96),
    },
    {
        "embedding_types": array(one_of("float", "int8", "uint8", "binary", "ubinary", "base64")),
        "output_dimension": integer(1),
        "truncate": one_of("NONE", "START", "END"),
        "max_tokens": integer(1),
    },
)


def in_order(*, prefill: bool | None) -> Rule:
    """A rule for a body whose shape is right: results follow their calls, and structure excludes tools."""

    def rule(body: object, where: Where) -> None:
        assert isinstance(body, dict), "its shape was checked before"
        _require_order(body["messages"], prefill)
        structured = (body.get("response_format") or {}).get("type") == "json_object"
        if structured and (body.get("tools") or body.get("documents")):
            raise _complaint(
                "invalid request: cannot specify response_format together with tools or documents"
            )

    return rule


def _require_order(messages: list[dict[str, Any]], prefill: bool | None) -> None:
    called: list[str] = []
    for message in messages:
        if message["role"] == "tool" and message["tool_call_id"] not in called:
            raise _complaint(
                f"invalid request: tool call id {message['tool_call_id']} not found in previous tool calls"
            )
        if message["role"] == "tool":
            called.remove(message["tool_call_id"])
            continue
        if called:
            raise _complaint(f"invalid request: tool call id {called[0]} has no tool result")
        called = [call["id"] for call in message.get("tool_calls") or ()]
        if message["role"] == "assistant" and not called and not message.get("content"):
            raise _complaint("invalid request: an assistant message needs content or tool_calls")
    if called:
        raise _complaint(f"invalid request: tool call id {called[0]} has no tool result")
    if messages[-1]["role"] == "system" or (prefill is False and messages[-1]["role"] == "assistant"):
        raise _complaint("invalid request: the last message must be a user or tool message")


def _complaint(text: str) -> Illegal:
    return Illegal(Problem.ORDER, ("messages",), text)
