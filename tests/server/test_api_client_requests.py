"""Requests as clients send them, and what a worker of another API is asked. Each was once refused or lost a part."""

from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from api_clients import CHAT, GEMINI, HI, MESSAGES, MODEL, RESPONSES, Client, ask

from cortex_trio.messages import ToolCall
from cortex_trio.simulator import Behaviour, open_gateway, open_simulator

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CALLED = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
CITY = {"type": "OBJECT", "properties": {"city": {"type": "STRING", "nullable": True}}}
CITY_SCHEMA = {"type": "object", "properties": {"city": {"type": ["string", "null"]}}}


@attrs.frozen
class Case:
    """A request, the provider that gets its translation, and what stands at a path in that."""

    client: Client
    fields: Mapping[str, Any]
    provider: str
    path: tuple[str | int, ...]
    sent: Any


CASES: Mapping[str, Case] = {
    "an image in the result of a tool": Case(
        CHAT,
        {
            "messages": [
                *HI,
                {"role": "assistant", "content": None, "tool_calls": [CALLED]},
                {
                    "role": "tool",
                    "tool_call_id": "c1",
                    "content": [
                        {"type": "text", "text": "seen"},
                        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
                    ],
                },
            ]
        },
        "anthropic",
        ("messages", 2, "content", 0, "content"),
        [
            {"type": "text", "text": "seen"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
        ],
    ),
    "a tool that returned nothing": Case(
        CHAT,
        {
            "messages": [
                *HI,
                {"role": "assistant", "content": None, "tool_calls": [CALLED]},
                {"role": "tool", "tool_call_id": "c1", "content": None},
            ]
        },
        "anthropic",
        ("messages", 2, "content", 0),
        {"type": "tool_result", "tool_use_id": "c1"},
    ),
    "a schema of OpenAPI for a tool": Case(
        GEMINI,
        {"tools": [{"functionDeclarations": [{"name": "look", "parameters": CITY}]}]},
        "anthropic",
        ("tools", 0, "input_schema"),
        CITY_SCHEMA,
    ),
    "a schema of OpenAPI for the answer": Case(
        GEMINI,
        {"generationConfig": {"responseMimeType": "application/json", "responseSchema": CITY}},
        "openai",
        ("response_format", "json_schema", "schema", "properties"),
        CITY_SCHEMA["properties"],
    ),
    "single objects in place of lists": Case(
        GEMINI,
        {"system_instruction": {"parts": {"text": "Be brief."}}, "contents": {"parts": {"text": "Hi"}}},
        "openai",
        ("messages",),
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    ),
    "the budget of thinking is the model's": Case(
        GEMINI,
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": -1, "includeThoughts": True}}},
        "openai",
        ("reasoning_effort",),
        None,
    ),
    "a tool without parameters": Case(
        MESSAGES,
        {"tools": [{"name": "look", "input_schema": {"type": "object"}}]},
        "openai",
        ("tools", 0, "function", "parameters"),
        {"type": "object", "properties": {}},
    ),
    "a small budget of thinking": Case(
        MESSAGES,
        {"max_tokens": 8000, "thinking": {"type": "enabled", "budget_tokens": 2000}},
        "openai",
        ("reasoning_effort",),
        "low",
    ),
    "a middle budget of thinking": Case(
        MESSAGES,
        {"max_tokens": 8000, "thinking": {"type": "enabled", "budget_tokens": 5000}},
        "openai_responses",
        ("reasoning", "effort"),
        "medium",
    ),
    "a large budget of thinking": Case(
        MESSAGES,
        {"max_tokens": 32000, "thinking": {"type": "enabled", "budget_tokens": 31999}},
        "openai",
        ("reasoning_effort",),
        "high",
    ),
    "a budget where there are budgets": Case(
        MESSAGES,
        {"max_tokens": 8000, "thinking": {"type": "enabled", "budget_tokens": 2000}},
        "gemini",
        ("generationConfig", "thinkingConfig", "thinkingBudget"),
        2000,
    ),
    "a system message in the middle": Case(
        MESSAGES,
        {"messages": [*HI, {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}]},
        "openai",
        ("messages", 1),
        {"role": "system", "content": "Be brief."},
    ),
    "a system message without text": Case(
        MESSAGES,
        {"messages": [*HI, {"role": "system", "content": []}]},
        "openai",
        ("messages",),
        [{"role": "user", "content": "Hi"}],
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_a_request_of_a_client_is_translated(name: str) -> None:
    case = CASES[name]
    async with open_simulator() as sim:
        sim.add(case.provider, Behaviour(text="here"), models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, case.client.request(**case.fields))
        assert got.status == 200, got.body
        found: Any = sim[case.provider].requests[0].body
    for step in case.path[:-1]:
        found = found[step]
    last = case.path[-1]
    assert (found.get(last) if isinstance(last, str) else found[last]) == case.sent


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("client", [CHAT, RESPONSES, MESSAGES, GEMINI], ids=lambda client: client.name)
async def test_a_call_without_arguments_can_be_read_as_json(client: Client, stream: bool) -> None:
    """Some servers send an empty text for a function without parameters."""
    provider = "openai_responses" if client is CHAT else "openai"
    async with open_simulator() as sim:
        sim.add(provider, Behaviour(text="", tool_calls=(ToolCall("c1", "look", ""),)), models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request(stream=stream))
    assert got.status == 200, got.body
    assert (b'"arguments":""' in got.body.replace(b" ", b"")) == (stream and client in (CHAT, RESPONSES))
    assert [call.arguments for call in client.read(got.body, stream=stream).tool_calls] == ["{}"]  # type: ignore[union-attr]


async def test_an_option_that_no_worker_has_is_named_without_advice_for_python() -> None:
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}
    async with open_simulator() as sim:
        sim.add("anthropic", models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, CHAT.request(tool_choice=allowed))
    assert (got.status, got.json["error"]["message"]) == (
        400,
        "anthropic does not support the option 'tool_choice'",
    )
