"""What a provider would not accept is declined as it would decline it, and nothing else is."""

import json
from typing import Any

import pytest
from sim_client import headers

from cortex_trio.simulator import Behaviour
from cortex_trio.simulator.servers import SERVERS

CHAT = "/chat/completions"
SYSTEM = {"role": "system", "content": "x"}
USER = {"role": "user", "content": "Hi"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
CALLS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "12:00"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}}
FOUND = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "12:00"}
SEARCHES = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
SEARCHED = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
SAY = {"role": "user", "parts": [{"text": "Hi"}]}
FUNCTION_CALL = {"role": "model", "parts": [{"functionCall": {"name": "now", "args": {}}}]}
FUNCTION_RESPONSE = {"functionResponse": {"name": "now", "response": {"result": "12:00"}}}

BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": (CHAT, {"model": "m", "messages": [USER]}),
    "groq": (CHAT, {"model": "m", "messages": [USER]}),
    "xai": (CHAT, {"model": "m", "messages": [USER]}),
    "openai_compatible": (CHAT, {"model": "m", "messages": [USER]}),
    "anthropic": ("/v1/messages", {"model": "m", "max_tokens": 10, "messages": [USER]}),
    "gemini": ("/models/m:generateContent", {"contents": [SAY]}),
    "cohere": ("/v2/chat", {"model": "m", "messages": [USER]}),
    "ollama": ("/api/chat", {"model": "m", "messages": [USER], "stream": False}),
}
"""A legal request for each provider."""

ILLEGAL: list[tuple[str, dict[str, Any], int, str]] = [
    # provider, what is laid over the legal body, status, what the complaint says
    ("openai", {"model": None}, 400, "Missing required parameter: 'model'."),
    ("openai", {"surprise": 1}, 400, "Unknown parameter: 'surprise'."),
    ("openai", {"messages": []}, 400, "an array of at least 1 items"),
    (
        "openai",
        {"messages": "Hi"},
        400,
        "Invalid type for 'messages': expected array, but got string instead.",
    ),
    ("openai", {"messages": [{"role": "bot", "content": "Hi"}]}, 400, "'messages[0].role' are: 'system' or"),
    ("openai", {"messages": [{"role": "user"}]}, 400, "Missing required parameter: 'messages[0].content'."),
    ("openai", {"temperature": 2.5}, 400, "at most 2"),
    ("openai", {"stop": ["a", "b", "c", "d", "e"]}, 400, "at most 4"),
    (
        "openai",
        {"messages": [USER, RESULT]},
        400,
        "must be a response to a preceeding message with 'tool_calls'",
    ),
    ("openai", {"messages": [USER, CALLS, USER]}, 400, "did not have response messages: call_1"),
    ("openai", {"messages": [USER, CALLS]}, 400, "did not have response messages: call_1"),
    (
        "openai",
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///x"}}]}
            ]
        },
        400,
        "a valid image URL",
    ),
    (
        "openai",
        {
            "messages": [
                USER,
                {**CALLS, "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}]},
                RESULT,
            ]
        },
        400,
        "Invalid type for 'messages[1].tool_calls[0].function.arguments': expected string, but got object",
    ),
    ("groq", {"surprise": 1}, 400, "property 'surprise' is unsupported"),
    ("groq", {"messages": [{"role": "user"}]}, 400, "'messages.0' : property 'content' is missing"),
    ("xai", {"messages": [{"content": "Hi"}]}, 422, "messages[0].role: missing field `role` at line 1"),
    ("xai", {"messages": [USER, RESULT]}, 400, "preceeding message"),
    ("openai_compatible", {"messages": 3}, 400, "expected array"),
    ("anthropic", {"max_tokens": None}, 400, "max_tokens: Field required"),
    ("anthropic", {"temperature": 1.5}, 400, "temperature: Input should be at most 1"),
    ("anthropic", {"seed": 7}, 400, "seed: Extra inputs are not permitted"),
    ("anthropic", {"messages": [{"role": "tool", "content": "x"}]}, 400, "'user' or 'assistant' or 'system'"),
    ("anthropic", {"messages": [SYSTEM]}, 400, 'first message must use the "user" role'),
    ("anthropic", {"messages": [USER, SYSTEM, USER]}, 400, "last or before an assistant message"),
    (
        "anthropic",
        {"messages": [USER, {**SYSTEM, "content": [USE]}]},
        400,
        "a system message may only have text",
    ),
    (
        "anthropic",
        {"messages": [{"role": "assistant", "content": "x"}]},
        400,
        'first message must use the "user" role',
    ),
    (
        "anthropic",
        {"messages": [{"role": "user", "content": ""}]},
        400,
        "text content blocks must be non-empty",
    ),
    (
        "anthropic",
        {"messages": [{"role": "user", "content": []}]},
        400,
        "all messages must have non-empty content",
    ),
    (
        "anthropic",
        {"messages": [USER, {"role": "assistant", "content": [USE]}, USER]},
        400,
        "`tool_use` ids were found without `tool_result` blocks immediately after: toolu_1",
    ),
    (
        "anthropic",
        {"messages": [USER, {"role": "assistant", "content": [USE]}]},
        400,
        "`tool_use` ids were found without `tool_result` blocks immediately after: toolu_1",
    ),
    (
        "anthropic",
        {
            "messages": [
                USER,
                {"role": "assistant", "content": [USE]},
                {"role": "user", "content": [{"type": "text", "text": "Here:"}, FOUND]},
            ]
        },
        400,
        "`tool_result` blocks immediately after",
    ),
    (
        "anthropic",
        {"messages": [{"role": "user", "content": [FOUND]}]},
        400,
        "unexpected `tool_use_id` found",
    ),
    (
        "anthropic",
        {"messages": [USER, {"role": "assistant", "content": [{**USE, "id": "call:1"}]}]},
        400,
        "messages.1.content.0.id: Input should be pattern '^[a-zA-Z0-9_-]+$'",
    ),
    (
        "anthropic",
        {"messages": [USER, {"role": "assistant", "content": [SEARCHES]}, USER]},
        400,
        "`web_search` tool use with id `srvtoolu_1` was found without a corresponding `web_search_tool_result`",
    ),
    (
        "anthropic",
        {"messages": [USER, {"role": "assistant", "content": [SEARCHED]}]},
        400,
        "unexpected `tool_use_id` found in `web_search_tool_result` blocks: srvtoolu_1",
    ),
    (
        "anthropic",
        {"messages": [USER, {"role": "assistant", "content": [{**SEARCHES, "id": "toolu_1"}]}]},
        400,
        "messages.1.content.0.id: Input should be pattern '^(srvtoolu|mcptoolu)_",
    ),
    (
        "anthropic",
        {"tools": [{"type": "web_search", "name": "web_search"}]},
        400,
        "tools.0.type: Input should",
    ),
    ("anthropic", {"messages": [USER, {"role": "assistant", "content": "So "}]}, 400, "trailing whitespace"),
    (
        "anthropic",
        {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        400,
        "must be greater than `thinking",
    ),
    (
        "anthropic",
        {"model": "claude-sonnet-5-5", "messages": [USER, {"role": "assistant", "content": "So"}]},
        400,
        "does not support assistant message prefill",
    ),
    ("gemini", {"contents": None}, 400, "GenerateContentRequest.contents: contents is not specified"),
    ("gemini", {"surprise": 1}, 400, 'Unknown name "surprise": Cannot find field.'),
    (
        "gemini",
        {"generationConfig": {"maxTokens": 1}},
        400,
        "Unknown name \"maxTokens\" at 'generationConfig'",
    ),
    (
        "gemini",
        {"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]},
        400,
        "contents[0].role: must be",
    ),
    ("gemini", {"contents": [{"role": "user", "parts": []}]}, 400, "contents[0].parts: must be"),
    ("gemini", {"contents": [{"role": "user", "parts": [{}]}]}, 400, "required oneof field 'data'"),
    ("gemini", {"contents": [SAY, FUNCTION_CALL, SAY]}, 400, "number of function response parts is equal"),
    ("gemini", {"contents": [SAY, FUNCTION_CALL]}, 400, "function response turn comes immediately after"),
    ("gemini", {"contents": [FUNCTION_CALL]}, 400, "function call turn comes immediately after a user turn"),
    ("cohere", {"surprise": 1}, 422, "unknown field: parameter 'surprise' is not a valid field"),
    ("cohere", {"messages": None}, 400, "messages is required"),
    ("cohere", {"messages": [USER, RESULT]}, 400, "tool call id call_1 not found in previous tool calls"),
    ("cohere", {"messages": [USER, {**CALLS, "tool_calls": [CALL]}, USER]}, 400, "call_1 has no tool result"),
    (
        "cohere",
        {"messages": [{"role": "system", "content": "x"}]},
        400,
        "last message must be a user or tool",
    ),
    (
        "cohere",
        {"response_format": {"type": "json_object"}, "documents": ["x"]},
        400,
        "cannot specify response_format together",
    ),
    ("cohere", {"tool_choice": "auto"}, 400, "'REQUIRED' or 'NONE'"),
    ("ollama", {"model": None}, 400, "model is required"),
    (
        "ollama",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        400,
        "json: cannot unmarshal array into Go struct field ChatRequest.messages.content of type string",
    ),
    (
        "ollama",
        {"messages": [{**USER, "images": ["data:image/png;base64,AA=="]}]},
        400,
        "illegal base64 data",
    ),
    ("ollama", {"messages": [{**USER, "images": ["ä"]}]}, 400, "illegal base64 data"),
    (
        "ollama",
        {"messages": [{"role": "assistant", "tool_calls": [CALL]}]},
        400,
        "json: cannot unmarshal string into Go struct field ChatRequest.messages.tool_calls.function.arguments",
    ),
]


async def send(client, provider, key: str | None = "k-1", content: bytes | None = None, **changes: Any):
    path, legal = BODIES[provider.provider]
    merged = {name: value for name, value in {**legal, **changes}.items() if value is not None}
    return await client.pool.request(
        "POST",
        provider.url + path,
        headers=headers(key),
        content=json.dumps(merged).encode() if content is None else content,
    )


@pytest.mark.parametrize(
    ("kind", "changes", "status", "complaint"), ILLEGAL, ids=[f"{case[0]}: {case[3]:.40}" for case in ILLEGAL]
)
async def test_an_illegal_request_is_rejected_as_that_provider_does(
    sim, client, kind, changes, status, complaint
):
    provider = sim.add(kind)
    response = await send(client, provider, **changes)
    assert response.status == status
    text = response.content.decode()
    said = text if text.startswith("Failed") else " ".join(strings(json.loads(text)))
    assert complaint in said


@pytest.mark.parametrize("kind", sorted(BODIES))
async def test_a_legal_request_is_not(sim, client, kind):
    assert (await send(client, sim.add(kind))).status == 200


@pytest.mark.parametrize("kind", sorted(BODIES))
async def test_what_is_declined_uses_up_no_step(sim, client, kind):
    provider = sim.add(kind, Behaviour(text="first"), Behaviour(text="second"))
    assert (await send(client, provider, content=b"{")).status == 400
    assert b"first" in (await send(client, provider)).content


@pytest.mark.parametrize("kind", sorted(BODIES))
async def test_a_route_that_does_not_exist_is_a_404(sim, client, kind):
    provider = sim.add(kind)
    response = await client.pool.request("POST", provider.url + "/nowhere", headers=headers())
    assert response.status == 404


MISSING_KEY = {"openai": 401, "groq": 401, "xai": 401, "anthropic": 401, "gemini": 403, "cohere": 401}
WRONG_KEY = {"openai": 401, "groq": 401, "xai": 400, "anthropic": 401, "gemini": 400, "cohere": 401}


@pytest.mark.parametrize("kind", sorted(MISSING_KEY))
async def test_a_missing_key_and_a_wrong_one_are_distinguished(sim, client, kind):
    provider = sim.add(kind)
    provider.valid_keys = {"k-1"}
    assert (await send(client, provider, key=None)).status == MISSING_KEY[kind]
    assert (await send(client, provider, key="k-2")).status == WRONG_KEY[kind]
    assert (await send(client, provider, key="k-1")).status == 200


@pytest.mark.parametrize("kind", sorted(kind for kind in SERVERS if not SERVERS[kind].needs_key))
async def test_without_a_list_of_keys_some_servers_need_none(sim, client, kind):
    provider = sim.add(kind)
    assert (await send(client, provider, key=None)).status == 200
    provider.valid_keys = {"k-1"}
    assert (await send(client, provider, key=None)).status == 401


PREFILLED = {
    "openai": {"messages": [USER, {"role": "assistant", "content": "So"}]},
    "anthropic": {"messages": [USER, {"role": "assistant", "content": "So"}]},
    "gemini": {"contents": [SAY, {"role": "model", "parts": [{"text": "So"}]}]},
    "cohere": {"messages": [USER, {"role": "assistant", "content": "So"}]},
    "ollama": {"messages": [USER, {"role": "assistant", "content": "So"}]},
}


@pytest.mark.parametrize("kind", sorted(PREFILLED))
async def test_prefill_can_be_forbidden(sim, client, kind):
    provider = sim.add(kind)
    assert (await send(client, provider, **PREFILLED[kind])).status == 200
    provider.prefill = False
    assert (await send(client, provider, **PREFILLED[kind])).status == 400


async def test_gemini_three_wants_its_signatures_back(sim, client):
    gemini = sim.add("gemini")
    path = "/models/gemini-3.8-flash:generateContent"

    async def ask(call: dict[str, Any]) -> int:
        contents = [SAY, {"role": "model", "parts": [call]}, {"role": "user", "parts": [FUNCTION_RESPONSE]}]
        content = json.dumps({"contents": contents}).encode()
        return (
            await client.pool.request("POST", gemini.url + path, headers=headers(), content=content)
        ).status

    [call] = FUNCTION_CALL["parts"]
    assert await ask(call) == 400
    assert await ask({**call, "thoughtSignature": "c2ln"}) == 200


async def test_gemini_takes_snake_case_as_well(sim, client):
    gemini = sim.add("gemini")
    config = {"max_output_tokens": 5, "thinking_config": {"include_thoughts": True}}
    assert (await send(client, gemini, generation_config=config)).status == 200


async def test_anthropic_needs_its_version(sim, client):
    anthropic = sim.add("anthropic")
    bare = [header for header in headers() if header[0] != "anthropic-version"]
    response = await client.pool.request("GET", anthropic.url + "/v1/models", headers=bare)
    assert response.status == 400
    assert b"anthropic-version: header is required" in response.content


def strings(value: object) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [text for item in value.values() for text in strings(item)]
        case list():
            return [text for item in value for text in strings(item)]
        case _:
            return []
