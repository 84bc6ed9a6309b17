"""What a legal Ollama request looks like: the server is as lenient as Go's decoder. Source: docs/api.md of Ollama."""

from __future__ import annotations

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
    json_object,
    nullable,
    one_of,
    string,
)

_CALL = fields(
    {"function": fields({"name": filled, "arguments": json_object}, {"index": anything})}, open=True
)
_MESSAGE = fields(
    {"role": one_of("system", "user", "assistant", "tool")},
    {
        "content": string,
        "thinking": string,
        "images": array(base64_text),
        "tool_calls": array(_CALL),
        "tool_name": string,
        "tool_call_id": string,
    },
    open=True,
)
CHAT: Rule = fields(
    {"model": filled},
    {
        "messages": array(_MESSAGE),
        "stream": nullable(boolean),
        "think": nullable(either(boolean, one_of("low", "medium", "high", "max"))),
        "format": nullable(either(json_object, one_of("", "json"))),
        "tools": nullable(array(fields({"type": string, "function": json_object}, open=True))),
        "options": nullable(json_object),
    },
    open=True,
)
EMBED: Rule = fields({"model": filled, "input": either(string, array(string))}, open=True)
SHOW: Rule = fields({"model": filled}, open=True)


def in_order(*, prefill: bool | None) -> Rule:
    """A rule for the last message. Ollama itself continues an assistant's message; some templates cannot."""

    def rule(body: object, where: Where) -> None:
        messages = body.get("messages") if isinstance(body, dict) else None
        if prefill is False and messages and messages[-1]["role"] == "assistant":
            raise Illegal(Problem.ORDER, ("messages",), "a user's message at the end")

    return rule
