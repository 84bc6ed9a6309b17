# pyright: strict
"""A program that uses tools, typed answers and conversations as a user of strict type checkers writes it.

Never run: test_typed_usage.py has mypy and pyright check it. `assert_type` fails if a type is lost.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, TypedDict, assert_type

import attrs

from cortex_trio import (
    ChatStream,
    Conversation,
    Cortex,
    InvalidAnswer,
    Message,
    Reply,
    Round,
    Text,
    Tool,
    ToolAbort,
    ToolEnded,
    ToolResult,
    TooManyRounds,
    TypedReply,
    Usage,
    run_tools,
)


@attrs.frozen
class City:
    name: str
    size: int | None = None


@dataclass
class Route:
    stops: list[City]


class Movie(TypedDict):
    title: str


class Color(Enum):
    RED = "red"


async def get_weather(city: City, unit: Literal["C", "F"] = "C") -> str:
    return f"{city.name}: 20 {unit}"


def add(numbers: list[int]) -> int:
    if not numbers:
        raise ToolAbort("nothing to add")
    return sum(numbers)


def show(event: object) -> None:
    if isinstance(event, ToolEnded):
        assert_type(event.result, ToolResult)


async def show_later(event: object) -> None:
    show(event)


async def typed_answers(cortex: Cortex) -> None:
    assert_type(await cortex.complete("Hi", temperature=0.5), Reply)
    city = await cortex.complete("Which city?", response_type=City, max_tokens=100)
    assert_type(city, TypedReply[City])
    assert_type(city.value.size, int | None)
    assert_type((await cortex.complete("Route?", response_type=Route)).value.stops, list[City])
    assert_type((await cortex.complete("Movie?", response_type=Movie)).value, Movie)
    assert_type((await cortex.complete("Color?", response_type=Color)).value, Color)
    assert_type((await cortex.complete("Cities?", response_type=list[City])).value, list[City])
    assert_type((await cortex.complete("How many?", response_type=int)).value, int)
    try:
        choice: Literal["a", "b"] = (await cortex.complete("Which?", response_type=Literal["a", "b"])).value
        either: City | Route = (await cortex.complete("Which?", response_type=City | Route)).value
    except InvalidAnswer as error:
        print(error.text, error.problems, error.reply.usage)
    else:
        print(choice, either)


async def tools(cortex: Cortex) -> None:
    tool = Tool.from_function(add, name="sum", description="Add numbers.")
    try:
        reply = await run_tools(
            cortex, "Add", [get_weather, tool], max_rounds=3, on_event=show, model="gpt-6.1-terra"
        )
    except TooManyRounds as error:
        assert_type(error.rounds[0].results[0], ToolResult)
    else:
        assert_type(reply, Reply)
        assert_type(reply.rounds[0], Round)
        history: list[Message] = [message for each in reply.rounds for message in each.messages]
        await run_tools(cortex, history, [add], on_event=show_later)


async def conversations(cortex: Cortex) -> None:
    conversation = Conversation(
        cortex, system="Be brief.", tools=[get_weather, add], window=8_000, temperature=0.5
    )
    assert_type(await conversation.ask("Hi", Text("there")), Reply)
    async with conversation.stream("Go on") as answer:
        assert_type(answer, ChatStream)
        async for piece in answer.text():
            assert_type(piece, str)
    assert_type(conversation.messages, list[Message])
    assert_type(conversation.usage, Usage)
    assert_type(conversation.cost, float | None)
    again = Conversation.from_json(cortex, conversation.to_json(), tools=[add])
    assert_type(again, Conversation)


async def with_options(cortex: Cortex, options: dict[str, Any]) -> Reply:
    return await run_tools(cortex, "Hi", [], **options)
