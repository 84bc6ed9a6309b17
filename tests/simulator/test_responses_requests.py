"""The Responses API of a simulated server: what it declines in whose words, and that it speaks both its APIs."""

import json
from typing import Any

import pytest
from sim_client import headers

from cortex_trio.failures import FailureKind
from cortex_trio.simulator import Behaviour

USER = {"role": "user", "content": "Hi"}
CALL = {"type": "function_call", "call_id": "call_1", "name": "now", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "12:00"}
SAID = {"role": "assistant", "content": [{"type": "output_text", "text": "So."}]}
OPENAI_THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAAB00"}
XAI_THOUGHT = {**OPENAI_THOUGHT, "encrypted_content": "xCAI00"}
TOOL = {"type": "function", "name": "now", "parameters": {"type": "object"}, "strict": False}

LEGAL: list[dict[str, Any]] = [
    {"input": "Hi"},
    {"input": [USER, OPENAI_THOUGHT, CALL, RESULT, SAID, USER], "store": False, "tools": [TOOL]},
    {"input": [{"type": "message", **USER}, {"type": "web_search_call", "id": "ws_1"}, USER]},
    {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]},
    {"tools": [TOOL, {"type": "web_search"}], "tool_choice": {"type": "function", "name": "now"}},
]

ILLEGAL: list[tuple[str, dict[str, Any], int, str]] = [
    # provider, what is laid over the legal body, status, what the complaint says
    ("openai_responses", {"model": None}, 400, "Missing required parameter: 'model'."),
    ("openai_responses", {"stop": ["END"]}, 400, "Unknown parameter: 'stop'."),
    ("openai_responses", {"messages": [USER]}, 400, "Unknown parameter: 'messages'."),
    ("openai_responses", {"input": []}, 400, "an array of at least 1 items"),
    ("openai_responses", {"max_output_tokens": 15}, 400, "at least 16"),
    ("openai_responses", {"input": [{"role": "tool", "content": "x"}]}, 400, "'user' or 'system'"),
    (
        "openai_responses",
        {"input": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
        400,
        "'input[0].content[0].type' are: 'input_text' or",
    ),
    (
        "openai_responses",
        {"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "Hi"}]}]},
        400,
        "'input[0].content[0].type' are: 'output_text' or",
    ),
    (
        "openai_responses",
        {"input": [USER, {**CALL, "arguments": {}}, RESULT]},
        400,
        "Invalid type for 'input[1].arguments': expected string, but got object",
    ),
    (
        "openai_responses",
        {"tools": [{"type": "function", "function": {"name": "now"}}]},
        400,
        "Missing required parameter: 'tools[0].name'.",
    ),
    ("openai_responses", {"input": [USER, RESULT]}, 400, "No tool call found for function call output"),
    ("openai_responses", {"input": [USER, RESULT, CALL]}, 400, "No tool call found for function call output"),
    ("openai_responses", {"input": [USER, CALL]}, 400, "No tool output found for function call call_1."),
    ("openai_responses", {"input": [USER, OPENAI_THOUGHT]}, 400, "without its required following item"),
    ("openai_responses", {"input": [OPENAI_THOUGHT, USER]}, 400, "without its required following item"),
    ("openai_responses", {"input": [XAI_THOUGHT, SAID, USER]}, 400, "could not be verified"),
    ("openai_responses", {"input": [OPENAI_THOUGHT, SAID] * 2}, 400, "Duplicate item found with id rs_1"),
    (
        "openai_responses",
        {"input": [{**OPENAI_THOUGHT, "encrypted_content": None}, SAID], "store": False},
        400,
        "Items are not persisted when `store` is set to false",
    ),
    (
        "openai_responses",
        {"model": "gpt-4.1", "include": ["reasoning.encrypted_content"]},
        400,
        "Encrypted content is not supported with this model.",
    ),
    ("xai_responses", {"input": None}, 422, "missing field `input`"),
    ("xai_responses", {"reasoning": {"effort": "xhigh"}}, 422, "'none' or 'low' or 'medium' or 'high'"),
    ("xai_responses", {"input": [USER, CALL]}, 400, "No tool output found"),
]


async def send(client: Any, provider: Any, path: str = "/responses", **changes: Any) -> Any:
    body = {"model": "m", "input": [USER], **changes}
    content = json.dumps({name: value for name, value in body.items() if value is not None}).encode()
    return await client.pool.request("POST", provider.url + path, headers=headers(), content=content)


@pytest.mark.parametrize(("kind", "changes", "status", "complaint"), ILLEGAL)
async def test_what_is_not_legal_is_rejected_as_that_provider_does(
    sim, client, kind, changes, status, complaint
):
    response = await send(client, sim.add(kind), **changes)
    assert response.status == status
    text = response.content.decode()
    said = json.loads(text)["error"] if text.startswith("{") else text
    assert complaint in (said["message"] if isinstance(said, dict) else said)


@pytest.mark.parametrize("changes", LEGAL)
async def test_what_is_legal_is_not(sim, client, changes):
    assert (await send(client, sim.add("openai_responses"), **changes)).status == 200


async def test_an_unknown_model_is_a_400_where_chat_completions_have_a_404(sim, client):
    for kind in ("openai_responses", "xai_responses"):
        provider = sim.add(kind, Behaviour(error=FailureKind.MODEL_NOT_FOUND))
        assert (await send(client, provider)).status == 400
        chat = {"messages": [USER], "input": None}
        assert (await send(client, provider, "/chat/completions", **chat)).status == 404


@pytest.mark.parametrize("kind", ["openai", "openai_responses", "xai", "xai_responses"])
async def test_one_server_has_both_its_apis(sim, client, kind):
    provider = sim.add(kind, Behaviour(text="The same."))
    new = json.loads((await send(client, provider)).content)
    assert new["output"][0]["content"][0]["text"] == "The same."
    old = json.loads((await send(client, provider, "/chat/completions", messages=[USER], input=None)).content)
    assert old["choices"][0]["message"]["content"] == "The same."


async def test_a_summary_of_reasoning_is_sent_by_openai_on_request_and_by_xai_always(sim, client):
    behaviour = Behaviour(text="Four.", reasoning="First.\n\nSecond.")
    both = ["First.", "Second."]
    for kind, reasoning, told in (
        ("openai_responses", None, []),
        ("openai_responses", {"summary": "auto"}, both),
        ("xai_responses", None, both),
    ):
        provider = sim.add(f"{kind} {reasoning}", behaviour, provider=kind)
        answer = json.loads((await send(client, provider, reasoning=reasoning)).content)
        thought = answer["output"][0]
        assert [part["text"] for part in thought["summary"]] == told
        assert "encrypted_content" not in thought


async def test_events_are_numbered_and_named_and_the_last_repeats_everything(sim, client):
    provider = sim.add("openai_responses", Behaviour(text="Hi there", reasoning="Hm."))
    include = ["reasoning.encrypted_content"]
    text = (await send(client, provider, stream=True, include=include)).content.decode()
    frames = [frame.split("\n") for frame in text.strip().split("\n\n")]
    events = [json.loads(data.removeprefix("data: ")) for _, data in frames]
    assert [head for head, _ in frames] == [f"event: {event['type']}" for event in events]
    assert [event["sequence_number"] for event in events] == [*range(len(events))]
    items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert events[-1]["response"]["output"] == items
    assert [item["type"] for item in items] == ["reasoning", "message"]
    assert "[DONE]" not in text
