"""Conversations that move from provider to provider: every request legal, nothing lost, nothing that leaks."""

import itertools
import json
import random

import pytest
from at_rest import gateway
from conversation import (
    MODELS_OF,
    TOOLS,
    Model,
    Talk,
    marks_expected,
    marks_of,
    paired_ids,
)

from cortex_trio import Cortex
from cortex_trio.messages import (
    ChatRequest,
    Image,
    Message,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    assistant,
    system,
    user,
)
from cortex_trio.providers import PROVIDERS
from cortex_trio.simulator import Behaviour, Simulator, open_simulator
from cortex_trio.simulator.servers import Exchange
from cortex_trio.wire.codec import HttpRequest
from cortex_trio.wire.server import Rejected

NAMES = sorted(PROVIDERS)
PAIRS = list(itertools.combinations_with_replacement(NAMES, 2))
"""Who speaks next is decided at every step, so each of them takes over from the other, again and again."""
STEPS = 80
LONGEST = 14
"""Messages after which a new conversation begins: each request holds all of them, and long ones show nothing new."""


@pytest.mark.slow
@pytest.mark.parametrize(("one", "other"), PAIRS, ids=[f"{one}-{other}" for one, other in PAIRS])
def test_a_conversation_between_two_providers_is_legal_and_loses_nothing(one: str, other: str) -> None:
    chance = random.Random(f"{one} {other}")
    models = (*MODELS_OF[one], *MODELS_OF[other])
    talk = Talk(chance, url_images="ollama" not in (one, other))
    for _ in range(STEPS):
        if len(talk.messages) > LONGEST and not talk.waits_for_the_model:
            talk = Talk(chance, url_images="ollama" not in (one, other))
        step(talk, chance.choice(models))


def step(talk: Talk, model: Model) -> None:
    """One request and its answer."""
    if not talk.waits_for_the_model:
        talk.ask()
    http = model.encode(ChatRequest(messages=tuple(talk.messages), tools=TOOLS))
    asked = accepted(model, http)
    assert sorted(marks_of(http.body or b"")) == sorted(marks_expected(talk.messages, model))
    assert_paired(http, model)
    behaviour = talk.script(model.name)
    message = model.answer(asked, behaviour)
    assert message.text == behaviour.text
    calls = [part for part in message.parts if isinstance(part, ToolCall)]
    assert [(call.name, call.parsed()) for call in calls] == [
        (call.name, call.parsed()) for call in behaviour.tool_calls
    ]
    talk.hear(message)


def accepted(model: Model, http: HttpRequest) -> Exchange:
    try:
        return model.accept(http)
    except Rejected as declined:
        pytest.fail(f"{model.origin} says {declined.response.body!r:.500} to {http.body!r}")


def assert_paired(http: HttpRequest, model: Model) -> None:
    """Every result follows the call of its id; no two calls share one; none is longer than OpenAI takes."""
    open_calls: list[str] = []
    seen: set[str] = set()
    for what, call_id in paired_ids(http):
        if what == "call":
            assert call_id not in seen or model.name == "ollama", f"two calls {call_id!r}"
            assert len(call_id) <= 40 or model.kind.dialect.name != "chat_completions"
            seen.add(call_id)
            open_calls.append(call_id)
        else:
            open_calls.remove(call_id)
    assert not open_calls


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_a_conversation_through_the_gateway_wanders_from_worker_to_worker(
    autojump_clock: object, seed: int
) -> None:
    chance = random.Random(seed)
    async with open_simulator() as sim:
        for name in NAMES:
            sim.add(name)
        async with gateway(sim) as cortex:
            talk = Talk(chance, url_images=False)
            for _ in range(40):
                await ask_worker(cortex, sim, talk, chance.choice(NAMES))


async def ask_worker(cortex: Cortex, sim: Simulator, talk: Talk, worker: str) -> None:
    """One step as a user takes it: the history is whatever `Reply.message` was, and nothing is adapted by hand."""
    if not talk.waits_for_the_model:
        talk.ask()
    behaviour = talk.script(worker)
    sim[worker].behave(behaviour)
    reply = await cortex.complete(talk.messages, worker=worker, tools=TOOLS)
    assert reply.text == behaviour.text
    assert [call.parsed() for call in reply.tool_calls] == [call.parsed() for call in behaviour.tool_calls]
    sent = json.dumps(sim[worker].requests[-1].body).encode()
    model = Model(reply.provider, reply.model)
    assert sorted(marks_of(sent)) == sorted(marks_expected(talk.messages, model))
    talk.hear(reply.message)


async def test_who_cannot_be_shown_an_image_is_passed_over_for_who_can(autojump_clock: object) -> None:
    look = user("Look", Image(url="https://example.org/cat.png"))
    async with open_simulator() as sim:
        sim.add("ollama")
        sim.add("openai")
        async with gateway(sim) as cortex:
            assert (await cortex.complete([look])).worker == "openai"
            assert "does not support an image by URL" in cortex.explain([look])
        assert sim["ollama"].requests == []


THOUGHT = Behaviour(
    text="", reasoning="Look it up.", tool_calls=(ToolCall("call_1", "now", "{}", "c2lnbmVk"),)
)


@pytest.mark.parametrize(
    ("name", "replayed"),
    [
        ("anthropic", '{"type": "thinking", "thinking": "Look it up.", "signature": "'),
        ("gemini", '"thoughtSignature": "c2lnbmVk"'),
        ("gemini", '{"text": "Look it up.", "thought": true}'),
        ("cohere", '"tool_plan": "Look it up."'),
        ("ollama", '"thinking": "Look it up."'),
    ],
)
def test_what_a_model_thought_goes_back_to_it_as_it_came_and_to_no_other(name: str, replayed: str) -> None:
    own, other = MODELS_OF[name]
    asked = accepted(own, own.encode(ChatRequest(messages=(user("Hi"),), tools=TOOLS)))
    history = (user("Hi"), own.answer(asked, THOUGHT), Message("tool", (ToolResult("call_1", "12:00"),)))
    request = ChatRequest(messages=history, tools=TOOLS)
    assert replayed in json.dumps(json.loads(own.encode(request).body or b""))
    for stranger in (other, *(model for others in MODELS_OF.values() for model in others)):
        if stranger != own:
            http = stranger.encode(request)
            accepted(stranger, http)
            assert b"Look it up." not in (http.body or b"")
            assert b"c2lnbmVk" not in (http.body or b"")


ODD = {
    "only a system message": (system("⟦text 1⟧"),),
    "a system message last": (user("⟦text 1⟧"), assistant("⟦text 2⟧"), system("⟦text 3⟧")),
    "a greeting first": (assistant("⟦text 1⟧"), user("⟦text 2⟧")),
    "a greeting after the system": (system("⟦text 1⟧"), assistant("⟦text 2⟧"), user("⟦text 3⟧")),
    "two questions": (user("⟦text 1⟧"), user("⟦text 2⟧")),
    "two answers": (user("⟦text 1⟧"), assistant("⟦text 2⟧"), assistant("⟦text 3⟧"), user("⟦text 4⟧")),
    "an empty answer": (user("⟦text 1⟧"), assistant(""), user("⟦text 2⟧")),
    "blanks": (system(" "), user("\n", Text("⟦text 1⟧"), " "), assistant(" "), user("⟦text 2⟧")),
    "only another's thoughts": (
        user("⟦text 1⟧"),
        assistant(Reasoning("⟦thought 2⟧", "c2ln", origin="another/model")),
        user("⟦text 3⟧"),
    ),
    "an image alone": (user(Image(data="⟦image 1⟧".encode(), media_type="image/png")),),
    "a call without a word": (
        user("⟦text 1⟧"),
        assistant(ToolCall("", "now", "")),
        Message("tool", (ToolResult("", "⟦result 2⟧"),)),
    ),
    "a result without a word": (
        user("⟦text 1⟧"),
        assistant(ToolCall("c", "now", "null")),
        Message("tool", (ToolResult("c", ""),)),
    ),
    "a question beside the result": (
        user("⟦text 1⟧"),
        assistant(ToolCall("c", "now", "{}")),
        user(ToolResult("c", "⟦result 2⟧"), "⟦text 3⟧"),
    ),
}
"""Conversations as real programs hold them, each legal with some provider or other."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", ODD)
def test_an_odd_conversation_is_made_legal_and_loses_nothing(name: str, what: str) -> None:
    for model in MODELS_OF[name]:
        http = model.encode(ChatRequest(messages=ODD[what], tools=TOOLS))
        accepted(model, http)
        assert sorted(marks_of(http.body or b"")) == sorted(marks_expected(ODD[what], model))
