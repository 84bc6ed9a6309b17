"""complete(response_type=…): the schema that is sent, the value, the one repair, and the answers that cannot be one."""

import enum
import json
import pickle
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import attrs
import pytest

from cortex_trio import (
    FinishReason,
    InvalidAnswer,
    InvalidRequest,
    Reply,
    ToolCall,
    TypedReply,
)
from cortex_trio.simulator import Behaviour, open_gateway, open_simulator

PROVIDERS = ["openai", "openai_responses", "anthropic", "gemini", "groq", "xai", "cohere", "ollama"]


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class City:
    """A city."""

    name: str
    size: int = 3
    color: Color | None = None


@dataclass
class Route:
    stops: list[City]
    length: float


class Movie(TypedDict):
    title: str


@attrs.frozen
class Node:
    value: int
    children: "list[Node]" = attrs.field(factory=list)


PARIS = json.dumps({"name": "Paris", "size": 2})

ANSWERS: list[tuple[Any, Any, Any]] = [
    (City, {"name": "Paris", "color": "red"}, City("Paris", 3, Color.RED)),
    (Route, {"stops": [{"name": "Paris"}], "length": 2}, Route([City("Paris")], 2.0)),
    (Movie, {"title": "M"}, {"title": "M"}),
    (Color, {"value": "blue"}, Color.BLUE),
    (Literal["a", "b"], {"value": "b"}, "b"),
    (City | Node, {"value": {"value": 1}}, Node(1)),
    (Node, {"value": 1, "children": [{"value": 2}]}, Node(1, [Node(2)])),
    (list[City], {"value": [{"name": "Paris"}]}, [City("Paris")]),
    (int | None, {"value": None}, None),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (str, {"value": "text"}, "text"),
]


async def complete(
    *script: Behaviour, response_type: Any = City, provider: str = "openai", **options: Any
) -> tuple[TypedReply[Any], list[Any]]:
    """Return the answer, and the bodies that the provider received."""
    async with open_simulator() as sim:
        sim.add(provider, *script)
        async with open_gateway(sim) as cortex:
            reply = await cortex.complete("Which city?", response_type=response_type, **options)
        return reply, [request.body for request in sim[provider].requests]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_an_answer_becomes_a_value_in_every_dialect(provider: str, autojump_clock: object) -> None:
    """In one gateway, one after the other: attrs, dataclass, TypedDict, Enum, Literal, unions, recursion and others."""
    async with open_simulator() as sim:
        sim.add(provider, *(Behaviour(text=json.dumps(answer)) for _, answer, _ in ANSWERS))
        async with open_gateway(sim) as cortex:
            for hint, _, value in ANSWERS:
                typed = await cortex.complete("Which city?", response_type=hint)
                assert typed.value == value
                assert typed.reply.rounds == ()
        bodies = [json.dumps(request.body) for request in sim[provider].requests]
    assert ['"additionalProperties"' in body for body in bodies] == [True] * len(ANSWERS)  # of the schema


async def test_without_a_type_the_answer_is_a_reply(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text=PARIS))
        async with open_gateway(sim) as cortex:
            reply = await cortex.complete("Which city?")
    assert isinstance(reply, Reply)


async def test_a_fence_around_the_answer_is_ignored(autojump_clock: object) -> None:
    typed, bodies = await complete(Behaviour(text=f"Sure!\n```json\n{PARIS}\n```"))
    assert (typed.value, len(bodies)) == (City("Paris", 2), 1)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_an_answer_that_does_not_fit_is_asked_for_once_more(
    provider: str, autojump_clock: object
) -> None:
    wrong = Behaviour(text='{"name": "Paris", "size": "big"}')
    typed, bodies = await complete(wrong, Behaviour(text=PARIS), provider=provider)
    assert typed.value == City("Paris", 2)
    assert len(bodies) == 2
    assert "size: an integer is needed, not a string ('big')" in json.dumps(bodies[1])
    assert '\\"big\\"' in json.dumps(bodies[1])  # the wrong answer itself
    assert [each.text for each in typed.reply.rounds] == [wrong.text, PARIS]
    assert len(typed.reply.attempts) == 2
    totals = [each.usage.total_tokens or 0 for each in typed.reply.rounds]
    assert typed.reply.usage.total_tokens == sum(totals)


async def test_a_second_wrong_answer_is_an_error_with_its_text(autojump_clock: object) -> None:
    with pytest.raises(
        InvalidAnswer, match=r"the answer is not JSON: .*; the answer was: 'Still no.'"
    ) as caught:
        await complete(Behaviour(text="No."), Behaviour(text="Still no."))
    error = caught.value
    assert error.text == "Still no."
    assert len(error.problems) == 1
    assert [each.text for each in error.reply.rounds] == ["No.", "Still no."]
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.text) == (str(error), error.text)


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        (
            Behaviour(text='{"name": "Par', finish=FinishReason.LENGTH),
            "the answer was cut at its token limit",
        ),
        (Behaviour(text="I cannot do that.", refusal=True), "the model refused to answer"),
        (
            Behaviour(text='{"na', finish=FinishReason.CONTENT_FILTER),
            "a filter of the provider stopped the answer",
        ),
        (
            Behaviour(text="", tool_calls=[ToolCall("c", "f", "{}")]),
            "the model calls tools instead of answering",
        ),
    ],
)
async def test_an_answer_that_is_not_complete_is_not_asked_for_again(
    behaviour: Behaviour, text: str, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        sim.add("openai", behaviour)
        async with open_gateway(sim) as cortex:
            with pytest.raises(InvalidAnswer, match=text):
                await cortex.complete("Which city?", response_type=City)
        assert len(sim["openai"].requests) == 1


async def test_failover_happens_between_the_answer_and_its_repair(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="No."), Behaviour(status=503))
        sim.add("anthropic", Behaviour(text=PARIS))
        async with open_gateway(sim) as cortex:
            typed = await cortex.complete("Which city?", response_type=City)
    assert (typed.value, typed.reply.worker) == (City("Paris", 2), "anthropic")


@pytest.mark.parametrize(
    ("hint", "options", "text"),
    [
        (bytes, {}, "response_type: the type bytes has no form in JSON"),
        ("City", {}, "response_type: a type is needed, not the str 'City'"),
        (
            City,
            {"response_schema": {}},
            "response_type: it sets response_schema; only one of the two is allowed",
        ),
        (City("Paris"), {}, "response_type: the type City"),
    ],
)
async def test_a_type_that_cannot_be_an_answer_is_an_error_before_anything_is_sent(
    hint: Any, options: dict[str, Any], text: str, autojump_clock: object
) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        async with open_gateway(sim) as cortex:
            with pytest.raises(InvalidRequest, match=text):
                await cortex.complete("Which city?", response_type=hint, **options)
        assert sim["openai"].requests == []
