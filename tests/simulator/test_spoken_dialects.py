"""Every dialect, there and back: what the gateway's dialect encodes is legal, what it decodes is what was scripted."""

import attrs
import pytest

from cortex_trio.events import (
    CitationDelta,
    Finished,
    FinishReason,
    LogprobsDelta,
    ReplyBuilder,
    Usage,
    WireEvent,
)
from cortex_trio.failures import Failure, FailureKind, classify
from cortex_trio.messages import (
    ChatRequest,
    Image,
    Message,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    assistant,
    system,
    user,
)
from cortex_trio.providers import PROVIDERS
from cortex_trio.simulator import Behaviour
from cortex_trio.simulator.answer import token_logprob

KINDS = sorted(PROVIDERS)
WEATHER = Tool("weather", "Tells it", {"type": "object", "properties": {"city": {"type": "string"}}})
CALLS = (ToolCall("call_a", "weather", '{"city":"Rome, the old one"}'), ToolCall("call_b", "now", "{}"))
RESPONSES = ("openai_responses", "xai_responses")
CAN_FILTER = ("openai", "groq", "xai", "gemini", "cohere", *RESPONSES)
CITING = tuple(kind for kind in KINDS if kind != "ollama")
PLAIN = ChatRequest(messages=(user("How are you?"),))


async def ask(client, provider, request=PLAIN, key="k-1"):
    """Send `request` as the gateway's dialect would and decode the answer with it."""
    kind = PROVIDERS[provider.provider]
    wire = kind.dialect.encode(request, kind.name, provider.models[0])
    headers = {**kind.headers, **wire.headers, kind.auth.header: kind.auth.prefix + key}
    address = provider.url + wire.path
    async with client.pool.stream(
        wire.method, address, headers=list(headers.items()), content=wire.body
    ) as response:
        answer = await response.aread()
    if response.status != 200:
        names = {name.decode().lower(): value.decode() for name, value in response.headers}
        return [classify(response.status, names, answer)]
    if not request.stream:
        return kind.dialect.decode_reply(answer)
    decoder = kind.dialect.decoder()
    return [*decoder.feed(answer), *decoder.finish()]


def folded(events: list[WireEvent]) -> ReplyBuilder:
    builder = ReplyBuilder()
    builder.add_all(events)
    return builder


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("kind", KINDS)
async def test_text_arrives_as_scripted(sim, client, kind, stream):
    provider = sim.add(kind, Behaviour(text="Grüße, <b>Welt</b> & mehr.\nZweite\u2028Zeile "))
    reply = folded(await ask(client, provider, attrs.evolve(PLAIN, stream=stream)))
    assert reply.text == "Grüße, <b>Welt</b> & mehr.\nZweite\u2028Zeile "
    assert reply.finish is not None
    assert reply.finish.reason is FinishReason.STOP


@pytest.mark.parametrize("kind", KINDS)
async def test_every_token_is_one_delta(sim, client, kind):
    provider = sim.add(kind, Behaviour(tokens=["a", " bc", "def"]))
    events = await ask(client, provider)
    assert [event.text for event in events if hasattr(event, "text")] == ["a", " bc", "def"]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("kind", KINDS)
async def test_parallel_tool_calls_arrive_whole(sim, client, kind, stream):
    provider = sim.add(kind, Behaviour(text="", tool_calls=CALLS))
    reply = folded(await ask(client, provider, attrs.evolve(PLAIN, stream=stream, tools=(WEATHER,))))
    assert [(call.name, call.parsed()) for call in reply.tool_calls] == [
        ("weather", {"city": "Rome, the old one"}),
        ("now", {}),
    ]
    assert [call.id for call in reply.tool_calls] == ["call_a", "call_b"]
    assert reply.finish is not None
    assert reply.finish.reason is FinishReason.TOOL_CALLS


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("kind", sorted({*KINDS} - {"openai", "openai_responses"}))
async def test_reasoning_comes_before_the_text(sim, client, kind, stream):
    provider = sim.add(kind, Behaviour(text="Four.", reasoning="Two and two."))
    reply = folded(await ask(client, provider, attrs.evolve(PLAIN, stream=stream)))
    assert (reply.reasoning, reply.text) == ("Two and two.", "Four.")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("kind", KINDS)
async def test_usage_is_what_was_scripted(sim, client, kind, stream):
    usage = Usage(input_tokens=100, output_tokens=30, cached_input_tokens=40, reasoning_tokens=10)
    provider = sim.add(kind, Behaviour(usage=usage, reasoning="Hm."))
    got = folded(await ask(client, provider, attrs.evolve(PLAIN, stream=stream))).usage
    assert (got.input_tokens, got.output_tokens, got.total_tokens) == (100, 30, 130)
    if kind != "ollama":  # which counts neither apart
        assert (got.cached_input_tokens, got.reasoning_tokens) == (40, 10)


@pytest.mark.parametrize("kind", KINDS)
async def test_usage_is_counted_where_none_is_scripted(sim, client, kind):
    provider = sim.add(kind, Behaviour(text="one two three"))
    usage = folded(await ask(client, provider)).usage
    assert (usage.input_tokens, usage.output_tokens) == (3, 3)


@pytest.mark.parametrize(
    ("kind", "finish"),
    [(kind, FinishReason.LENGTH) for kind in KINDS]
    + [(kind, FinishReason.CONTENT_FILTER) for kind in CAN_FILTER]
    + [("anthropic", FinishReason.PAUSE)]
    + [(kind, FinishReason.OTHER) for kind in KINDS],
)
async def test_a_finish_reason_arrives(sim, client, kind, finish):
    provider = sim.add(kind, Behaviour(finish=finish))
    reply = folded(await ask(client, provider))
    assert reply.finish is not None
    assert reply.finish.reason is finish


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refusal_is_one_where_the_api_has_a_field_for_it(sim, client, kind):
    provider = sim.add(kind, Behaviour(text="I cannot help with that.", refusal=True))
    reply = folded(await ask(client, provider))
    spoken = kind not in ("groq", "gemini", "cohere", "ollama")
    assert reply.text == "I cannot help with that."
    assert reply.finish is not None
    assert reply.finish.reason is (FinishReason.REFUSAL if spoken else FinishReason.STOP)


@pytest.mark.parametrize("kind", CITING)
async def test_citations_name_their_source(sim, client, kind):
    citation = CitationDelta(0, 5, "Hello", ("https://example.org/a",))
    provider = sim.add(kind, Behaviour(citations=(citation,)))
    events = await ask(client, provider)
    cited = [event for event in events if isinstance(event, CitationDelta)]
    assert [one.sources for one in cited] == [("https://example.org/a",)]


IN_CHAT_COMPLETIONS = {"logprobs": True, "top_logprobs": 2}
IN_RESPONSES = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
LOGPROBS = {
    "openai": IN_CHAT_COMPLETIONS,
    "openai_compatible": IN_CHAT_COMPLETIONS,
    "groq": IN_CHAT_COMPLETIONS,
    "xai": IN_CHAT_COMPLETIONS,
    "openai_responses": IN_RESPONSES,
    "xai_responses": IN_RESPONSES,
    "gemini": {"generationConfig": {"responseLogprobs": True, "logprobs": 2}},
    "cohere": {"logprobs": True},
    "ollama": {"logprobs": True, "top_logprobs": 2},
}
"""What each API calls them, as docs/providers.md says. Anthropic has none."""
HAVE_BYTES = ("openai", "openai_compatible", "groq", "xai", *RESPONSES, "ollama")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("kind", sorted(LOGPROBS))
async def test_log_probabilities_arrive_where_they_are_requested(sim, client, kind, stream):
    provider = sim.add(kind, Behaviour(text="Grüße, 世界!"), Behaviour(text="Grüße, 世界!"))
    plain = attrs.evolve(PLAIN, stream=stream)
    assert not any(isinstance(event, LogprobsDelta) for event in await ask(client, provider, plain))
    asked = attrs.evolve(plain, extra_body=LOGPROBS[kind])
    reply = folded(await ask(client, provider, asked)).reply(worker="", provider="", model="", attempts=())
    assert "".join(token.token for token in reply.logprobs) == reply.text == "Grüße, 世界!"
    scripted = [token_logprob(token.token, 2) for token in reply.logprobs]
    assert [token.logprob for token in reply.logprobs] == [token.logprob for token in scripted]
    if kind != "cohere":
        assert [[one.token for one in token.top] for token in reply.logprobs] == [
            [one.token for one in token.top] for token in scripted
        ]
    if kind in HAVE_BYTES:
        assert list(reply.logprobs) == scripted


ANSWERED = [
    FailureKind.CONTEXT_LENGTH,
    FailureKind.CONTENT_POLICY,
    FailureKind.BAD_REQUEST,
    FailureKind.CREDENTIAL,
    FailureKind.PERMISSION,
    FailureKind.QUOTA,
    FailureKind.RATE_LIMIT,
    FailureKind.OVERLOADED,
    FailureKind.SERVER,
    FailureKind.MODEL_NOT_FOUND,
    FailureKind.REGION,
    FailureKind.EDGE,
    FailureKind.UNKNOWN,
]


@pytest.mark.parametrize("failure", ANSWERED, ids=lambda kind: kind.value)
@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_of_a_kind_is_understood_as_that_kind(sim, client, kind, failure):
    provider = sim.add(kind, Behaviour(error=failure))
    events = await ask(client, provider)
    assert [event.kind for event in events if isinstance(event, Failure)] == [failure]


@pytest.mark.parametrize(
    "failure", [FailureKind.OVERLOADED, FailureKind.SERVER, FailureKind.QUOTA], ids=lambda kind: kind.value
)
@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_inside_the_stream_is_understood_as_that_kind(sim, client, kind, failure):
    provider = sim.add(kind, Behaviour(text="a b c", error=failure, error_after=2))
    events = await ask(client, provider)
    assert folded(events).text == "a b"
    assert isinstance(events[-1], Failure)
    assert events[-1].kind is failure


@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_can_be_the_first_event(sim, client, kind):
    provider = sim.add(kind, Behaviour(error=FailureKind.OVERLOADED, error_after=0))
    events = await ask(client, provider)
    assert folded(events).text == ""
    assert isinstance(events[-1], Failure)
    assert events[-1].kind is FailureKind.OVERLOADED


@pytest.mark.parametrize(
    ("behaviour", "failure"),
    [
        (Behaviour(text="a b c", cut_after=2), FailureKind.TRUNCATED),
        (Behaviour(text="a b c", garble_after=2), FailureKind.PROTOCOL),
    ],
    ids=["cut", "garbled"],
)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_broken_stream_is_a_failure_after_what_came(sim, client, kind, behaviour, failure):
    events = await ask(client, sim.add(kind, behaviour))
    assert folded(events).text == "a b"
    assert isinstance(events[-1], Failure)
    assert events[-1].kind is failure


@pytest.mark.parametrize("kind", KINDS)
async def test_without_its_terminal_marker_a_finished_answer_is_whole(sim, client, kind):
    events = await ask(client, sim.add(kind, Behaviour(no_terminal=True)))
    assert isinstance(events[-1], Finished)


HISTORY = (
    system("Be brief."),
    user("What is this?", Image(data=b"\x89PNG", media_type="image/png")),
    Message("assistant", (Reasoning("Look it up.", signature="c2ln"), Text("I will look."), *CALLS)),
    Message("tool", (ToolResult("call_a", "Sunny", name="weather"),)),
    Message("tool", (ToolResult("call_b", "12:00", name="now", is_error=True),)),
    assistant("It is sunny."),
    user("And tomorrow?"),
)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_whole_conversation_of_the_gateway_is_legal(sim, client, kind):
    provider = sim.add(kind)
    stop = () if PROVIDERS[kind].dialect.name == "responses" else ("END",)
    request = ChatRequest(messages=HISTORY, tools=(WEATHER,), max_tokens=100, temperature=0.5, stop=stop)
    reply = folded(await ask(client, provider, request))
    assert reply.text == "Hello from the simulator."


@pytest.mark.parametrize(
    "kind", ["cohere", "gemini", "ollama", "openai", "openai_compatible", "openai_responses"]
)
async def test_embeddings_depend_on_the_text_alone(sim, client, kind):
    provider = sim.add(kind)
    seen = PROVIDERS[kind]
    wire = seen.dialect.encode_embed(["cat", "dog", "cat"], kind, "e-1", None)
    headers = {**wire.headers, seen.auth.header: seen.auth.prefix + "k-1"}
    response = await client.pool.request(
        wire.method, provider.url + wire.path, headers=list(headers.items()), content=wire.body
    )
    vectors = seen.dialect.decode_embed(response.content)
    assert len(vectors) == 3
    assert vectors[0] == vectors[2] != vectors[1]


@pytest.mark.parametrize("kind", KINDS)
async def test_models_and_health_are_answered(sim, client, kind):
    provider = sim.add(kind, Behaviour(status=500), models=["m-1", "m-2"])
    seen = PROVIDERS[kind]
    headers = {**seen.headers, seen.auth.header: seen.auth.prefix + "k-1"}
    for wire in (seen.models, seen.health):
        response = await client.pool.request("GET", provider.url + wire.path, headers=list(headers.items()))
        assert response.status == 200
        if wire is seen.models:
            assert list(seen.dialect.decode_models(response.content)) == ["m-1", "m-2"]
