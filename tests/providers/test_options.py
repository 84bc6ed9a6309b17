"""Options at random: what a wire can say reaches it, what it cannot is refused before anything is sent."""

import json
import random
from collections import Counter
from typing import Any

import pytest
from conversation import MODELS_OF, TOOLS, Model

from cortex_trio.failures import InvalidRequest
from cortex_trio.messages import ChatRequest, Document, user
from cortex_trio.providers import PROVIDERS
from cortex_trio.wire.codec import HttpRequest, Unsupported
from cortex_trio.wire.server import Rejected

NAMES = sorted(PROVIDERS)
SCHEMA = {
    "type": "object",
    "properties": {"mark": {"type": "string"}},
    "required": ["mark"],
    "additionalProperties": False,
}

CHOICES: dict[str, tuple[Any, ...]] = {
    "max_tokens": (1, 4321),
    "temperature": (0, 0.37, 1, 1.5, 2),
    "top_p": (0.83, 1.0),
    "stop": ((), ("END",), ("a", "b", "c", "d"), ("a", "b", "c", "d", "e"), ("1", "2", "3", "4", "5", "6")),
    "tools": ((), TOOLS),
    "tool_choice": ("auto", "none", "required", "weather"),
    "response_schema": (SCHEMA,),
    "reasoning": ("none", "minimal", "low", "medium", "high", "xhigh", "max", 100, 2048),
    "documents": ((), (Document("Read me.", "A title"),)),
}
ROUNDS = 600


def random_request(chance: random.Random) -> ChatRequest:
    chosen = {
        name: chance.choice(values)
        for name, values in CHOICES.items()
        if chance.random() < 0.25 or (name == "tools" and chance.random() < 0.3)
    }
    return ChatRequest(messages=(user("Hi"),), **chosen)


@pytest.mark.parametrize("name", NAMES)
def test_options_are_accepted_or_refused_before_anything_is_sent(name: str) -> None:
    chance = random.Random(name)
    outcomes: Counter[str] = Counter()
    for _ in range(ROUNDS):
        model, request = chance.choice(MODELS_OF[name]), random_request(chance)
        try:
            http = model.encode(request)
        except InvalidRequest:  # Unsupported is one
            outcomes["refused"] += 1
            continue
        outcomes["accepted"] += 1
        assert_legal(model, http, request)
        assert_said(http, request)
    assert min(outcomes["accepted"], outcomes["refused"]) > ROUNDS / 20, outcomes


def assert_legal(model: Model, http: HttpRequest, request: ChatRequest) -> None:
    try:
        model.accept(http)
    except Rejected as declined:
        pytest.fail(f"{model.origin} says {declined.response.body!r:.400} to {request!r}")


def assert_said(http: HttpRequest, request: ChatRequest) -> None:
    """Whatever was set and not refused is somewhere in the body."""
    body = json.loads(http.body or b"")
    text = json.dumps(body)
    for value in (request.max_tokens, request.temperature, request.top_p):
        assert value is None or f": {value}" in text
    for stop in request.stop or ():
        assert json.dumps(stop) in text
    for document in request.documents or ():
        assert document.text in text
    if request.response_schema is not None:
        assert json.dumps(request.response_schema) in text
    if request.tools and request.tool_choice in (None, "auto", "required"):
        assert all(f'"{tool.name}"' in text for tool in request.tools)
    if request.tool_choice == "weather":
        assert '"weather"' in text
    if isinstance(request.reasoning, int):
        assert f": {request.reasoning}" in text


def refused(name: str, **options: Any) -> str:
    """What the refusal says cannot be said."""
    with pytest.raises(Unsupported) as caught:
        MODELS_OF[name][0].encode(ChatRequest(messages=(user("Hi"),), **options))
    return caught.value.what


@pytest.mark.parametrize(
    ("name", "options", "what"),
    [
        ("anthropic", {"temperature": 1.5}, "temperature=1.5"),
        ("openai", {"stop": ("a", "b", "c", "d", "e")}, "more than 4 stop"),
        ("groq", {"stop": ("a", "b", "c", "d", "e")}, "more than 4 stop"),
        ("gemini", {"stop": ("a", "b", "c", "d", "e", "f")}, "more than 5 stop"),
        ("cohere", {"stop": ("a", "b", "c", "d", "e", "f")}, "more than 5 stop"),
        ("groq", {"reasoning": "minimal"}, "reasoning='minimal'"),
        ("xai", {"reasoning": "max"}, "reasoning='max'"),
        ("openai", {"reasoning": 2048}, "budget"),
        ("openai_responses", {"reasoning": 2048}, "budget"),
        ("openai_responses", {"stop": ("END",)}, "stop sequences"),
        ("xai_responses", {"stop": ("END",)}, "stop sequences"),
        ("xai_responses", {"reasoning": "max"}, "reasoning='max'"),
        ("openai_responses", {"max_tokens": 15}, "max_tokens=15 (at least 16)"),
        ("ollama", {"reasoning": 2048}, "budget"),
        ("anthropic", {"reasoning": 100}, "budget"),
        ("cohere", {"reasoning": "low"}, "reasoning='low'"),
        ("ollama", {"tools": TOOLS, "tool_choice": "required"}, "tool_choice"),
        ("cohere", {"tools": TOOLS, "response_schema": SCHEMA}, "response_schema"),
    ],
)
def test_what_an_api_does_not_support_is_named(name: str, options: dict[str, Any], what: str) -> None:
    assert what in refused(name, **options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("choice", ["auto", "none"])
def test_without_tools_there_is_nothing_to_choose_and_nothing_is_sent(name: str, choice: str) -> None:
    model = MODELS_OF[name][0]
    plain = ChatRequest(messages=(user("Hi"),))
    choosing = ChatRequest(messages=(user("Hi"),), tools=(), tool_choice=choice)
    assert model.encode(choosing) == model.encode(plain)


@pytest.mark.parametrize("name", sorted({*NAMES} - {"ollama"}))
def test_a_tool_cannot_be_demanded_where_there_is_none(name: str) -> None:
    request = ChatRequest(messages=(user("Hi"),), tool_choice="required")
    with pytest.raises(InvalidRequest, match="tool"):
        MODELS_OF[name][0].encode(request)
