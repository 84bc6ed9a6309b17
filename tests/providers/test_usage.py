"""Usage means the same for every provider: input holds what was cached and written to the cache, output the reasoning.

One answer as each provider bills it: 100 tokens read, 40 of them from the cache and 10 written to it; 30 tokens
written, 12 of them thinking.
"""

import json
import random
from typing import Any

import pytest
from at_rest import gateway
from conversation import MODELS_OF

from cortex_trio.events import FinishReason, ReplyBuilder, Usage
from cortex_trio.messages import ChatRequest, user
from cortex_trio.providers import PROVIDERS
from cortex_trio.simulator import Behaviour, open_simulator

ALL = Usage(100, 30, 130, cached_input_tokens=40, cache_write_tokens=10, reasoning_tokens=12)
UNWRITTEN = Usage(100, 30, 130, cached_input_tokens=40, reasoning_tokens=12)

OPENAI_USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 30,
    "total_tokens": 130,
    "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 12},
}
RESPONSES = {
    "status": "completed",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}],
    "usage": {
        "input_tokens": 100,
        "output_tokens": 30,
        "total_tokens": 130,
        "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 10},
        "output_tokens_details": {"reasoning_tokens": 12},
    },
}
CHOICE = {"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}

WHOLE: dict[str, tuple[Any, Usage]] = {
    "openai": ({"choices": [CHOICE], "usage": OPENAI_USAGE}, ALL),
    "openai_compatible": ({"choices": [CHOICE], "usage": OPENAI_USAGE}, ALL),
    "openai_responses": (RESPONSES, ALL),
    "xai_responses": (RESPONSES, ALL),
    "groq": ({"choices": [CHOICE], "usage": OPENAI_USAGE}, ALL),
    "xai": ({"choices": [CHOICE], "usage": {**OPENAI_USAGE, "completion_tokens": 18}}, ALL),
    "anthropic": (
        {
            "content": [{"type": "text", "text": "Hi"}],
            "stop_reason": "end_turn",
            "usage": {
                "input_tokens": 50,
                "cache_creation_input_tokens": 10,
                "cache_read_input_tokens": 40,
                "output_tokens": 30,
                "output_tokens_details": {"thinking_tokens": 12},
            },
        },
        ALL,
    ),
    "gemini": (
        {
            "candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
            "usageMetadata": {
                "promptTokenCount": 90,
                "toolUsePromptTokenCount": 10,
                "cachedContentTokenCount": 40,
                "candidatesTokenCount": 18,
                "thoughtsTokenCount": 12,
                "totalTokenCount": 130,
            },
        },
        UNWRITTEN,
    ),
    "cohere": (
        {
            "message": {"content": [{"type": "text", "text": "Hi"}]},
            "finish_reason": "COMPLETE",
            "usage": {
                "billed_units": {"input_tokens": 7, "output_tokens": 3},
                "tokens": {"input_tokens": 100, "output_tokens": 30, "reasoning_tokens": 12},
                "cached_tokens": 40,
            },
        },
        UNWRITTEN,
    ),
    "ollama": (
        {"message": {"content": "Hi"}, "done": True, "prompt_eval_count": 100, "eval_count": 30},
        Usage(100, 30, 130),
    ),
}
"""A whole answer with that usage in each provider's words, and what its wire can say of it."""


def usage_of(events: Any) -> Usage:
    builder = ReplyBuilder()
    builder.add_all(events)
    assert builder.finish is not None
    assert builder.finish.reason is FinishReason.STOP
    return builder.usage


def test_every_provider_is_in_the_table() -> None:
    assert WHOLE.keys() == PROVIDERS.keys()


@pytest.mark.parametrize("name", WHOLE)
def test_the_same_bill_is_read_the_same_from_every_wire(name: str) -> None:
    body, expected = WHOLE[name]
    assert usage_of(PROVIDERS[name].dialect.decode_reply(json.dumps(body).encode())) == expected


@pytest.mark.parametrize("name", WHOLE)
async def test_the_bill_reaches_the_user_streamed_or_whole(autojump_clock: object, name: str) -> None:
    async with open_simulator() as sim:
        sim.add(name, Behaviour(usage=ALL), Behaviour(body=json.dumps(WHOLE[name][0]).encode()))
        async with gateway(sim) as cortex:
            async with cortex.chat("Hi") as streamed:
                reply = await streamed.collect()
            whole = await cortex.complete("Hi")
    for usage in (reply.usage, reply.attempts[-1].usage, streamed.usage, whole.usage):
        assert usage is not None
        assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (100, 30, 130)


@pytest.mark.parametrize("name", WHOLE)
def test_input_output_and_total_survive_every_wire(name: str) -> None:
    """Random bills, spoken by the simulated provider and read by the dialect, streamed."""
    chance = random.Random(name)
    model = MODELS_OF[name][0]
    asked = model.accept(model.encode(ChatRequest(messages=(user("Hi"),))))
    for _ in range(200):
        read, written = chance.randrange(1, 10_000), chance.randrange(1, 10_000)
        cached, thought = chance.randrange(0, read), chance.randrange(0, written)
        usage = Usage(read, written, cached_input_tokens=cached, reasoning_tokens=thought)
        answer = asked.answer(Behaviour(usage=usage, reasoning="Hm."))
        decoder = PROVIDERS[name].dialect.decoder()
        frames = b"".join(frame.data for frame in asked.stream(answer).frames())
        got = usage_of([*decoder.feed(frames), *decoder.finish()])
        assert (got.input_tokens, got.output_tokens, got.total_tokens) == (read, written, read + written)
        assert got.cached_input_tokens in (cached, None)
        assert got.reasoning_tokens in (thought, None)
