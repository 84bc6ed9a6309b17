"""Whatever a program hands over by mistake, it gets an answer or one of our errors, and the gateway is as before."""

import random
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from at_rest import gateway

from cortex_trio import (
    ChatOptions,
    Cortex,
    CortexError,
    Document,
    Image,
    Message,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from cortex_trio.simulator import Behaviour, open_simulator

PROVIDERS = ("openai", "anthropic", "gemini", "groq", "cohere", "xai", "ollama")
VALUES = (Text, Image, Document, Reasoning, ToolCall, ToolResult, Message, Tool)
ATOMS = (
    None,
    True,
    0,
    1,
    -1,
    3.5,
    float("nan"),
    float("inf"),
    10**30,
    "",
    "x",
    "\ud800",
    "\x00",
    b"abc",
    object,
)
TEXTS = (
    "user",
    "assistant",
    "tool",
    "system",
    "text",
    "image_url",
    "thinking",
    "auto",
    "restart",
    *PROVIDERS,
)
KEYS = (
    "role",
    "content",
    "type",
    "text",
    "tool_calls",
    "id",
    "function",
    "name",
    "arguments",
    "image_url",
    "url",
    1,
)


class Nonsense:
    """Values of every wrong and some right kinds, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, depth: int = 0) -> Any:
        kinds: list[Callable[[int], Any]] = [self._atom, self._atom, self._atom]
        if depth < 4:
            kinds += [self._list, self._mapping, self._part]
        return self.random.choice(kinds)(depth + 1)

    def options(self) -> dict[str, Any]:
        names = self.random.sample(sorted(ChatOptions.__annotations__), self.random.randrange(4))
        options = {name: self.value() for name in names}
        if self.random.random() < 0.7:  # or most would fail because they name no worker
            options["worker"] = self.random.choice(PROVIDERS)
        return options

    def _atom(self, depth: int) -> Any:
        return self.random.choice([*ATOMS, *TEXTS])

    def _list(self, depth: int) -> list[Any]:
        return [self.value(depth) for _ in range(self.random.randrange(4))]

    def _mapping(self, depth: int) -> dict[Any, Any]:
        return {self.random.choice(KEYS): self.value(depth) for _ in range(self.random.randrange(5))}

    def _part(self, depth: int) -> Any:
        cls = self.random.choice(VALUES)
        fields = attrs.fields(cls)
        try:
            return cls(*[self.value(depth) for _ in range(self.random.randrange(1, len(fields) + 1))])
        except (TypeError, CortexError):
            return None


@pytest.mark.parametrize("seed", range(12))
async def test_nonsense_gets_an_answer_or_one_of_our_errors(seed: int, autojump_clock: object) -> None:
    nonsense, texts = Nonsense(seed), list[str]()
    async with open_simulator() as sim:
        for name in PROVIDERS:
            sim.add(name, Behaviour(text="All is well."))
        async with gateway(sim) as cortex:
            for _ in range(100):
                try:
                    await _ask(cortex, nonsense)
                except CortexError as error:  # a group of them is one, too
                    texts += [str(error), repr(error)]
            assert texts
            assert all(texts)
            assert (await cortex.complete("Are you well?", worker="ollama")).text == "All is well."


async def _ask(cortex: Cortex, nonsense: Nonsense) -> None:
    messages: Any = nonsense.value() if nonsense.random.random() < 0.6 else "Hi"
    match nonsense.random.randrange(10):
        case 0:
            cortex.explain(messages, **nonsense.options())
        case 1:
            await cortex.embed(nonsense.value(), model=nonsense.value(), dimensions=nonsense.value())
        case 2:
            await cortex.add_worker(nonsense.value(), nonsense.value())
        case 3:
            await cortex.models(worker=nonsense.value())
        case _:
            await cortex.complete(messages, **nonsense.options())
