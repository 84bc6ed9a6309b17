"""Each API before workers of each provider: whole answers, streams, tool calls, options that cannot be translated."""

import json
from typing import Any

import pytest
from api_clients import CHAT, CLIENTS, GEMINI, MESSAGES, MODEL, NAMES, RESPONSES, Client, ask

from cortex_trio.events import FinishReason, Reply
from cortex_trio.messages import ToolCall
from cortex_trio.simulator import Behaviour, open_gateway, open_simulator

PROVIDERS = ["openai", "openai_responses", "anthropic", "gemini", "groq", "cohere", "ollama"]
CALL = ToolCall("call_weather_1", "weather", '{"city":"São Paulo"}')
every_client = pytest.mark.parametrize("client", CLIENTS, ids=NAMES)
every_provider = pytest.mark.parametrize("provider", PROVIDERS)
streamed_and_not = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS: dict[str, dict[str, Any]] = {
    "chat_completions": {
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
    },
    "responses": {"tools": [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}]},
    "anthropic_messages": {"tools": [{"name": "weather", "description": "", "input_schema": SCHEMA}]},
    "gemini": {"tools": [{"functionDeclarations": [{"name": "weather", "parameters": SCHEMA}]}]},
}


SOUND = {"data": "AAAA", "format": "wav"}


@every_client
@every_provider
@streamed_and_not
async def test_text_comes_through(client: Client, provider: str, stream: bool) -> None:
    async with open_simulator() as sim:
        sim.add(provider, Behaviour(text="Grüße, Welt"), models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request(stream=stream))
    assert got.status == 200
    reply = client.read(got.body, stream=stream)
    assert isinstance(reply, Reply)
    assert (reply.text, reply.finish_reason) == ("Grüße, Welt", FinishReason.STOP)
    assert (got.headers["x-cortex-worker"], got.headers["x-cortex-model"]) == (provider, MODEL)
    assert got.headers["x-cortex-attempts"] == "1"
    assert float(got.headers["x-cortex-overhead-ms"]) >= 0


@every_client
@pytest.mark.parametrize("provider", ["openai", "openai_responses", "anthropic", "gemini"])
@streamed_and_not
async def test_a_tool_call_comes_through(client: Client, provider: str, stream: bool) -> None:
    async with open_simulator() as sim:
        sim.add(provider, Behaviour(text="", tool_calls=(CALL,)), models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request(stream=stream, **TOOLS[client.name]))
    reply = client.read(got.body, stream=stream)
    assert isinstance(reply, Reply)
    [call] = reply.tool_calls
    assert (call.name, call.parsed()) == ("weather", {"city": "São Paulo"})
    assert reply.finish_reason is FinishReason.TOOL_CALLS


@every_client
@streamed_and_not
async def test_failover_is_invisible(client: Client, stream: bool) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(status=503), models=[MODEL])
        sim.add("gemini", Behaviour(cut_after=0), models=[MODEL])
        sim.add("anthropic", Behaviour(text="here"), models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request(stream=stream))
    reply = client.read(got.body, stream=stream)
    assert isinstance(reply, Reply)
    assert reply.text == "here"
    sent = sum(len(provider.requests) for provider in sim.providers.values())
    assert (got.headers["x-cortex-worker"], got.headers["x-cortex-attempts"]) == ("anthropic", str(sent))


# ------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("client", "fields"),
    [
        (CHAT, {"user": "u", "metadata": {}, "store": False, "service_tier": "auto", "seed": 3, "n": 1}),
        (CHAT, {"logprobs": False, "frequency_penalty": 0, "response_format": {"type": "text"}}),
        (CHAT, {"stop": ""}),
        (CHAT, {"stop": ["", ""]}),
        (RESPONSES, {"store": True, "prompt_cache_key": "k", "truncation": "auto", "background": False}),
        (RESPONSES, {"include": ["reasoning.encrypted_content"], "reasoning": {"summary": "auto"}}),
        (RESPONSES, {"text": {"verbosity": "low", "format": {"type": "text"}}}),
        (
            MESSAGES,
            {"metadata": {"user_id": "u"}, "service_tier": "auto", "context_management": {"edits": []}},
        ),
        (GEMINI, {"safetySettings": [], "labels": {}, "generationConfig": {"candidateCount": 1, "seed": 1}}),
    ],
)
async def test_a_hint_stops_no_other_provider(client: Client, fields: dict[str, Any]) -> None:
    async with open_simulator() as sim:
        sim.add("cohere", Behaviour(text="here"), models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request(**fields))
        assert got.status == 200, got.body
        assert not fields.keys() & sim["cohere"].requests[0].body.keys() - {"seed"}


@pytest.mark.parametrize(
    ("client", "fields", "name"),
    [
        (CHAT, {"n": 2}, "'n'"),
        (CHAT, {"logprobs": True}, "log probabilities"),
        (RESPONSES, {"include": ["message.output_text.logprobs"]}, "log probabilities"),
        (GEMINI, {"generationConfig": {"responseLogprobs": True, "logprobs": 2}}, "log probabilities"),
        (CHAT, {"modalities": ["text", "audio"]}, "'modalities'"),
        (CHAT, {"next_month": 1}, "'next_month'"),
        (
            CHAT,
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": SOUND}]}]},
            "wav",
        ),
        (RESPONSES, {"background": True}, "'background'"),
        (RESPONSES, {"previous_response_id": "resp_1"}, "previous_response_id"),
        (RESPONSES, {"tools": [{"type": "web_search"}]}, "the tool 'web_search'"),
        (MESSAGES, {"tools": [{"type": "bash_20250124", "name": "bash"}]}, "the tool 'bash_20250124'"),
        (GEMINI, {"tools": [{"functionDeclarations": []}, {"googleSearch": {}}]}, "the tool 'googleSearch'"),
        (MESSAGES, {"mcp_servers": [{"url": "x"}]}, "'mcp_servers'"),
        (CHAT, {"frequency_penalty": 1.5}, "'frequency_penalty' of 1.5 (only 0 to 1)"),
        (CHAT, {"seed": "x"}, "'seed'"),
        (GEMINI, {"cachedContent": "c"}, "'cachedContent'"),
        (GEMINI, {"generationConfig": {"candidateCount": 2}}, "'generationConfig.candidateCount'"),
    ],
)
async def test_an_option_with_a_meaning_is_never_dropped(
    client: Client, fields: dict[str, Any], name: str
) -> None:
    """Without a worker of the client's API it is an error that names the field; with one, that worker answers."""
    async with open_simulator() as sim:
        sim.add("cohere", models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request(**fields))
        assert got.status == 400
        assert name in client.error_message(got.json)
        assert sim["cohere"].requests == []
        own = sim.add(client.provider, Behaviour(text="here"), models=[MODEL])
        async with open_gateway(sim) as cortex:
            await ask(cortex, client.request(**fields))
        assert sim["cohere"].requests == []
        assert own.requests[0].body.items() >= fields.items()


PENALTIES = {"frequencyPenalty": 0.5, "presencePenalty": 0.25}
JSON_ONLY = {"responseMimeType": "application/json"}


@pytest.mark.parametrize(
    ("client", "fields", "provider", "sent"),
    [
        (MESSAGES, {"top_k": 4}, "cohere", {"k": 4}),
        (MESSAGES, {"top_k": 4}, "gemini", {"generationConfig": {"maxOutputTokens": 100, "topK": 4}}),
        (MESSAGES, {"top_k": 4}, "ollama", {"options": {"num_predict": 100, "top_k": 4}}),
        (MESSAGES, {"top_k": 4}, "openai", {}),
        (MESSAGES, {"top_k": 4}, "openai_responses", {}),
        (MESSAGES, {"top_k": 600}, "cohere", {}),
        (GEMINI, {"generationConfig": {"topK": 64.0}}, "anthropic", {"top_k": 64}),
        (GEMINI, {"generationConfig": {"topK": 64, "temperature": 1}}, "openai", {"temperature": 1}),
        (GEMINI, {"generation_config": {"top_k": 64}}, "cohere", {"k": 64}),
        (
            GEMINI,
            {"generationConfig": {"seed": 3, **PENALTIES}},
            "openai",
            {"seed": 3, "frequency_penalty": 0.5, "presence_penalty": 0.25},
        ),
        (GEMINI, {"generationConfig": {"seed": 3}}, "openai_responses", {}),
        (CHAT, {"top_k": 40}, "anthropic", {"top_k": 40}),
        (CHAT, {"top_k": 40}, "openai_responses", {}),
        (CHAT, {"top_k": -1}, "gemini", {}),
        (MESSAGES, {"top_k": float("inf")}, "gemini", {"generationConfig": {"maxOutputTokens": 100}}),
        (CHAT, {"top_k": float("inf"), "seed": float("-inf")}, "ollama", {}),
        (GEMINI, {"generationConfig": {"topK": float("nan")}}, "anthropic", {}),
        (CHAT, {"seed": 3}, "anthropic", {}),
        (CHAT, {"seed": -1}, "cohere", {}),
        (CHAT, {"frequency_penalty": 0, "presence_penalty": 0.0}, "anthropic", {}),
        (CHAT, {"seed": 3, "frequency_penalty": 0.5}, "cohere", {"seed": 3, "frequency_penalty": 0.5}),
        (
            CHAT,
            {"presence_penalty": -1, "seed": 3, "response_format": {"type": "json_object"}},
            "gemini",
            {"generationConfig": {**JSON_ONLY, "presencePenalty": -1, "seed": 3}},
        ),
        (
            CHAT,
            {"presence_penalty": -1, "seed": 3},
            "ollama",
            {"options": {"presence_penalty": -1, "seed": 3}},
        ),
    ],
)
async def test_an_option_of_sampling_has_the_name_of_each_api(
    client: Client, fields: dict[str, Any], provider: str, sent: dict[str, Any]
) -> None:
    """`top_k` and `seed` are left out where an API has none, or takes no such value."""
    options = {"k", "top_k", "seed", "frequency_penalty", "presence_penalty", "generationConfig", "options"}
    async with open_simulator() as sim:
        sim.add(provider, models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request(**fields))
        assert got.status == 200, got.body
        body = sim[provider].requests[0].body
    assert {name: value for name, value in body.items() if name in options | sent.keys()} == sent


@pytest.mark.parametrize(
    ("client", "fields"),
    [
        (CHAT, {"logprobs": True, "top_logprobs": 2, "top_p": 1, "response_format": {"type": "json_object"}}),
        (RESPONSES, {"include": ["message.output_text.logprobs"], "top_logprobs": 2}),
        (GEMINI, {"generationConfig": {"responseLogprobs": True, "logprobs": 2}}),
    ],
)
@pytest.mark.parametrize("provider", ["openai", "openai_responses", "gemini", "ollama"])
@streamed_and_not
async def test_log_probabilities_come_through(
    client: Client, fields: dict[str, Any], provider: str, stream: bool
) -> None:
    async with open_simulator() as sim:
        sim.add(provider, Behaviour(text="Hi you"), models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request(stream=stream, **fields))
    assert got.status == 200, got.body
    reply = client.read(got.body, stream=stream)
    assert isinstance(reply, Reply)
    assert "".join(token.token for token in reply.logprobs) == "Hi you"
    assert {len(token.top) for token in reply.logprobs} == {2}


@pytest.mark.parametrize("provider", ["anthropic", "openai_responses"])
async def test_a_penalty_is_never_dropped(provider: str) -> None:
    async with open_simulator() as sim:
        sim.add(provider, models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, CHAT.request(presence_penalty=0.5))
        assert (got.status, sim[provider].requests) == (400, [])
        assert "'presence_penalty'" in CHAT.error_message(got.json)


@pytest.mark.parametrize(
    ("client", "fields", "provider", "sent"),
    [
        (CHAT, {"reasoning_effort": "minimal"}, "anthropic", "'effort': 'low'"),
        (CHAT, {"reasoning_effort": "none"}, "anthropic", "'type': 'disabled'"),
        (CHAT, {"reasoning_effort": "max"}, "gemini", "'thinkingLevel': 'XHIGH'"),
        (CHAT, {"reasoning_effort": "xhigh"}, "ollama", "'think': 'high'"),
        (RESPONSES, {"reasoning": {"effort": "max"}}, "groq", "'reasoning_effort': 'high'"),
        (RESPONSES, {"reasoning": {"effort": "minimal"}}, "xai", "'reasoning_effort': 'low'"),
        (MESSAGES, {"output_config": {"effort": "max"}}, "xai_responses", "'effort': 'high'"),
        (MESSAGES, {"output_config": {"effort": "max"}}, "openai", "'reasoning_effort': 'max'"),
    ],
)
async def test_an_effort_that_an_api_has_not_becomes_the_nearest(
    client: Client, fields: dict[str, Any], provider: str, sent: str
) -> None:
    async with open_simulator() as sim:
        sim.add(provider, models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request(**fields))
        assert got.status == 200, got.body
        assert sent in str(sim[provider].requests[0].body)


@pytest.mark.parametrize(
    "provider", ["anthropic", "openai", "openai_responses", "gemini", "cohere", "ollama"]
)
async def test_a_system_message_may_stand_after_a_message_of_the_user(provider: str) -> None:
    """Claude Code sends one with each request."""
    later = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    history = [
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": later},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "And?"},
        {"role": "system", "content": "Be polite."},
    ]
    async with open_simulator() as sim:
        sim.add(provider, models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, MESSAGES.request(messages=history))
        assert got.status == 200, got.json
        sent = str(sim[provider].requests[0].body)
        places = [sent.index(text) for text in ("Hi", "Be brief.", "Hello", "And?", "Be polite.")]
        assert places == sorted(places)


@pytest.mark.parametrize(
    ("client", "fields"),
    [
        (CHAT, {"response_format": {"type": "json_object"}}),
        (RESPONSES, {"text": {"format": {"type": "json_object"}, "verbosity": "low"}}),
        (GEMINI, {"generationConfig": {"responseMimeType": "application/json", "temperature": 1}}),
    ],
)
async def test_an_answer_in_json_is_asked_for_in_the_words_of_each_api(
    client: Client, fields: dict[str, Any]
) -> None:
    for provider in ("openai", "openai_responses", "gemini", "cohere", "ollama"):
        async with open_simulator() as sim:
            sim.add(provider, models=[MODEL])
            async with open_gateway(sim) as cortex:
                got = await ask(cortex, client.request(**fields))
            assert got.status == 200, got.body
            [request] = sim[provider].requests
        sent = json.dumps(request.body)
        assert any(word in sent for word in ('"json_object"', '"application/json"', '"format": "json"')), sent
    async with open_simulator() as sim:
        sim.add("anthropic", models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request(**fields))
    assert (got.status, "without a schema" in client.error_message(got.json)) == (400, True)


async def test_what_was_signed_elsewhere_is_not_sent_to_another_provider() -> None:
    history = [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "SIGNED"},
                {"type": "text", "text": "Hello"},
            ],
        },
        {"role": "user", "content": "And?"},
    ]
    async with open_simulator() as sim:
        sim.add("gemini", models=[MODEL])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, MESSAGES.request(messages=history))
        assert got.status == 200
        assert "SIGNED" not in str(sim["gemini"].requests[0].body)


def thought(text: str, signature: str) -> list[dict[str, str]]:
    return [
        {"type": "thinking", "thinking": text, "signature": signature},
        {"type": "text", "text": "Hello"},
    ]


@pytest.mark.parametrize(
    ("client", "said", "how", "sent"),
    [
        (CHAT, {"content": "Hello", "reasoning_content": "hm"}, "raise", "hm"),
        (CHAT, {"content": "Hello", "reasoning_content": "hm"}, "continue", "hm"),
        (MESSAGES, {"content": thought("hm", "")}, "raise", "hm"),
        (MESSAGES, {"content": thought("hm", "SIGNED")}, "raise", " "),
    ],
    ids=["native", "continued", "unsigned", "signed"],
)
async def test_reasoning_without_a_signature_goes_to_a_worker_that_wants_it_back(
    client: Client, said: dict[str, Any], how: str, sent: str
) -> None:
    """DeepSeek and Kimi want what was reasoned before a tool call."""
    history = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", **said},
        {"role": "user", "content": "And?"},
    ]
    async with open_simulator() as sim:
        script = Behaviour(text="one two", cut_after=1), Behaviour(text=" two")
        provider = sim.add("openai_compatible", *script, models=[MODEL])
        workers = {"deepseek": provider.worker(reasoning_field="reasoning_content")}
        async with open_gateway(sim, workers) as cortex:
            headers = (("x-cortex-on-interrupt", how),)
            await ask(cortex, client.request(stream=True, messages=history, headers=headers))
    assert provider.requests[-1].body["messages"][1]["reasoning_content"] == sent
    assert len(provider.requests) == (2 if how == "continue" else 1)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("client", [CHAT, MESSAGES], ids=["chat", "messages"])
async def test_a_worker_that_keeps_a_small_limit_is_asked_first(client: Client, stream: bool) -> None:
    async with open_simulator() as sim:
        responses = sim.add("openai_responses", models=["m"])
        sim.add("gemini", models=["m"])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request(model="auto", stream=stream, max_tokens=1))
    assert (got.headers["x-cortex-worker"], responses.requests) == ("gemini", [])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("client", [CHAT, MESSAGES], ids=["chat", "messages"])
async def test_a_limit_that_no_worker_can_keep_is_raised(client: Client, stream: bool) -> None:
    async with open_simulator() as sim:
        responses = sim.add("openai_responses", models=["m"])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, client.request(model="auto", stream=stream, max_tokens=1))
    assert got.status == 200
    assert [request.body["max_output_tokens"] for request in responses.requests] == [16]


async def test_a_small_limit_hides_no_other_reason() -> None:
    async with open_simulator() as sim:
        responses = sim.add("openai_responses", models=["m"])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, CHAT.request(model="auto", max_tokens=1, n=3))
    assert (got.status, responses.requests) == (400, [])
    assert "'n'" in got.json["error"]["message"]


async def test_a_client_of_the_same_api_gets_the_error_of_the_provider() -> None:
    async with open_simulator() as sim:
        responses = sim.add("openai_responses", models=["m"])
        async with open_gateway(sim) as cortex:
            got = await ask(cortex, RESPONSES.request(model="auto", max_output_tokens=1))
    assert responses.requests[0].body["max_output_tokens"] == 1
    assert got.status == 400
