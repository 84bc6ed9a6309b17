"""Conversations that move from provider to provider: every request legal, nothing lost, nothing that leaks."""

import itertools
import random

import pytest
from conversation import (
    SPEAKERS_OF,
    TOOLS,
    Speaker,
    Talk,
    marks_expected,
    marks_of,
    paired_ids,
)

from cortex_trio.messages import ChatRequest, ToolCall
from cortex_trio.providers import PROVIDERS
from cortex_trio.simulator.speak.speaker import Declined
from cortex_trio.wire.codec import HttpRequest

NAMES = sorted(PROVIDERS)
PAIRS = list(itertools.combinations_with_replacement(NAMES, 2))
"""Who speaks next is decided at every step, so each of them takes over from the other, again and again."""
STEPS = 1_000
LONGEST = 14
"""Messages after which a new conversation begins: each request holds all of them, and long ones show nothing new."""


@pytest.mark.slow
@pytest.mark.parametrize(("one", "other"), PAIRS, ids=[f"{one}-{other}" for one, other in PAIRS])
def test_a_conversation_between_two_providers_is_legal_and_loses_nothing(one: str, other: str) -> None:
    chance = random.Random(f"{one} {other}")
    speakers = (*SPEAKERS_OF[one], *SPEAKERS_OF[other])
    talk = Talk(chance, url_images="ollama" not in (one, other))
    for _ in range(STEPS):
        if len(talk.messages) > LONGEST and not talk.waits_for_the_model:
            talk = Talk(chance, url_images="ollama" not in (one, other))
        step(talk, chance.choice(speakers))


def step(talk: Talk, speaker: Speaker) -> None:
    """One request and its answer."""
    if not talk.waits_for_the_model:
        talk.ask()
    http = speaker.encode(ChatRequest(messages=tuple(talk.messages), tools=TOOLS))
    asked = accepted(speaker, http)
    assert sorted(marks_of(http)) == sorted(marks_expected(talk.messages, speaker))
    assert_paired(http, speaker)
    behaviour = talk.script()
    message = speaker.answer(asked, behaviour)
    assert message.text == behaviour.text
    calls = [part for part in message.parts if isinstance(part, ToolCall)]
    assert [(call.name, call.parsed()) for call in calls] == [
        (call.name, call.parsed()) for call in behaviour.tool_calls
    ]
    talk.hear(message)


def accepted(speaker: Speaker, http: HttpRequest):  # type: ignore[no-untyped-def]
    try:
        return speaker.accept(http)
    except Declined as declined:
        pytest.fail(f"{speaker.origin} says {declined.answer.body!r:.500} to {http.body!r}")


def assert_paired(http: HttpRequest, speaker: Speaker) -> None:
    """Every result follows the call of its id; no two calls share one; none is longer than OpenAI takes."""
    open_calls: list[str] = []
    seen: set[str] = set()
    for what, call_id in paired_ids(http):
        if what == "call":
            assert call_id not in seen or speaker.name == "ollama", f"two calls {call_id!r}"
            assert len(call_id) <= 40 or speaker.kind.dialect.name != "chat_completions"
            seen.add(call_id)
            open_calls.append(call_id)
        else:
            open_calls.remove(call_id)
    assert not open_calls
