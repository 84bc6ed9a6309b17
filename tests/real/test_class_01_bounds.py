"""Limits count what they mean: what is still arriving is no lifecycle, and what never becomes content is bounded."""

import base64
import tracemalloc
from collections.abc import Mapping

import pytest
import trio
from raw_bytes import (
    JSON,
    MODEL,
    NDJSON,
    TEXT,
    as_json,
    chunk,
    chunked,
    completion,
    delta,
    embedding_list,
    gemini_event,
    http,
    open_head,
    response_object,
    responses_events,
    sse,
)
from raw_server import Play, RawServer, Step, World, open_world, play

from cortex_trio import AllWorkersFailed, Cortex, CortexError, FailureKind, Image, Reply

KB, MB = 1_000, 1_000_000


def in_pieces(answer: bytes, size: int = 16 * KB) -> Play:
    """The same bytes in as many sends as a socket would see."""
    return play(*(answer[at : at + size] for at in range(0, len(answer), size)))


# ------------------------------------------------------------------ vectors


@pytest.mark.parametrize(
    ("count", "dimensions"),
    [
        (8, 1536),
        (20, 1536),
        (8, 3072),
        (20, 3072),
        (300, 1536),
        pytest.param(2048, 1536, marks=pytest.mark.slow),
        pytest.param(1000, 3072, marks=pytest.mark.slow),
    ],
)
async def test_many_vectors_are_read(
    memory: World, count: int, dimensions: int, autojump_clock: object
) -> None:
    body = embedding_list(count, dimensions)
    assert len(body) > count * dimensions * 20
    memory.server(embeds=[in_pieces(http(200, body), 64 * KB)])
    async with memory.gateway() as cortex:
        vectors = await cortex.embed(["text"] * count, model=MODEL)
        assert (len(vectors), {len(vector) for vector in vectors}) == (count, {dimensions})


# ------------------------------------------------------------------ images


def _gemini_image(data: str) -> bytes:
    image = {"inlineData": {"mimeType": "image/png", "data": data}}
    return chunked(
        sse(gemini_event(image), gemini_event({"text": TEXT}), gemini_event({"text": ""}, finish="STOP"))
    )


def _responses_image(data: str) -> bytes:
    item = {"id": "g-1", "type": "image_generation_call", "status": "completed", "result": data}
    started, *_ = responses_events()
    done = response_object([item], status="completed", usage={"input_tokens": 1, "output_tokens": 1})
    events = [
        started,
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "result": None}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": done},
    ]
    return chunked(sse(*events, named=True))


def _chat_image(data: str) -> bytes:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    return chunked(sse(delta(""), delta("", images=[image]), delta(finish="stop"), "[DONE]"))


IMAGES = {"gemini": _gemini_image, "openai_responses": _responses_image, "openai_compatible": _chat_image}


@pytest.mark.parametrize("size", [250 * KB, 8 * MB, pytest.param(20 * MB, marks=pytest.mark.slow)])
@pytest.mark.parametrize("provider", IMAGES)
async def test_an_image_in_one_event_is_read(
    memory: World, provider: str, size: int, autojump_clock: object
) -> None:
    raw = bytes(range(256)) * (size // 256)
    server = memory.server(provider)
    server.chat.extend([in_pieces(IMAGES[provider](base64.b64encode(raw).decode()), 64 * KB)] * 2)
    async with memory.gateway(max_attempts=1) as cortex:
        assert _image_of(await cortex.complete("Draw")) == raw
        async with cortex.chat("Draw") as stream:
            assert _image_of(await stream.collect()) == raw


def _image_of(reply: Reply) -> bytes | None:
    assert not isinstance(reply.message.content, str)
    return next((part.data for part in reply.message.content if isinstance(part, Image)), None)


# ------------------------------------------------------------------ whole answers


def _whole(provider: str, text: str) -> bytes:
    usage = {"input_tokens": 1, "output_tokens": 1}
    match provider:
        case "anthropic":
            message = {"id": "a-1", "type": "message", "role": "assistant", "model": MODEL, "usage": usage}
            content = [{"type": "text", "text": text}]
            return http(200, as_json({**message, "content": content, "stop_reason": "end_turn"}))
        case "gemini":
            return http(200, as_json(gemini_event({"text": text}, finish="STOP")))
        case "openai_responses":
            *_, last = responses_events(text)
            return http(200, as_json(last["response"]))
        case "cohere":
            message = {"role": "assistant", "content": [{"type": "text", "text": text}]}
            return http(200, as_json({"id": "c", "finish_reason": "COMPLETE", "message": message}))
        case "ollama":
            said = {"model": MODEL, "message": {"role": "assistant", "content": text}, "done": True}
            return http(200, as_json({**said, "done_reason": "stop"}) + b"\n", kind=NDJSON)
    return http(200, completion(text), kind=JSON)


@pytest.mark.parametrize("size", [270 * KB, pytest.param(20 * MB, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "provider", ["openai", "anthropic", "gemini", "openai_responses", "cohere", "ollama", "openai_compatible"]
)
async def test_a_whole_answer_is_read_whatever_its_size(
    memory: World, provider: str, size: int, autojump_clock: object
) -> None:
    text = "word " * (size // 5)
    memory.server(provider, chat=[in_pieces(_whole(provider, text), 64 * KB)])
    async with memory.gateway(max_attempts=1) as cortex:
        reply = await cortex.complete("Hi")
        assert len(reply.text) == len(text)
        assert reply.text == text


@pytest.mark.parametrize("size", [140 * KB, 2 * MB])
async def test_instructions_that_every_lifecycle_event_repeats_are_no_bound(
    memory: World, size: int, autojump_clock: object
) -> None:
    events = responses_events(instructions="be kind " * (size // 8))
    memory.server("openai_responses", chat=[in_pieces(chunked(sse(*events, named=True)))])
    async with memory.gateway(max_attempts=1) as cortex:
        assert (await cortex.complete("Hi")).text == TEXT


async def test_large_answers_are_read_over_tls() -> None:
    async with open_world("tls") as world:
        text = "word " * 200_000
        world.server(
            chat=[play(http(200, completion(text)))], embeds=[play(http(200, embedding_list(20, 1536)))]
        )
        async with world.gateway(max_attempts=1) as cortex:
            assert (await cortex.complete("Hi")).text == text
            assert len(await cortex.embed(["text"] * 20, model=MODEL)) == 20


# ------------------------------------------------------------------ what never becomes content


ENDLESS: Mapping[str, tuple[str, bytes]] = {
    "empty deltas": ("openai", sse(delta(""))),
    "deltas without anything": ("openai", sse(delta())),
    "choices without end": ("openai", sse({"id": "c", "object": "chat.completion.chunk", "choices": []})),
    "comments": ("openai", b": ping\n\n"),
    "Anthropic's pings": ("anthropic", sse({"type": "ping"}, named=True)),
    "lifecycle of responses": (
        "openai_responses",
        sse({"type": "response.in_progress", "response": response_object()}, named=True),
    ),
    "empty lines of Ollama": (
        "ollama",
        as_json({"model": MODEL, "message": {"role": "assistant", "content": ""}, "done": False}) + b"\n",
    ),
    "empty parts of Gemini": ("gemini", sse(gemini_event({"text": ""}))),
}


ENDLESS_EVENTS = 20_000
"""The memory allowed for each is less than the shortest object that could be kept of it."""


def _endless(memory: World, name: str, *pause: Step) -> RawServer:
    provider, event = ENDLESS[name]
    kind = NDJSON if provider == "ollama" else "text/event-stream"
    steps = (chunk(event), *pause) * 1_000 if pause else (chunk(event * 100),) * (ENDLESS_EVENTS // 100)
    return memory.server(provider, then_chat=play(open_head(kind=kind), *steps))


async def _failure(cortex: Cortex) -> FailureKind:
    with pytest.raises(CortexError) as caught:
        await cortex.complete("Hi", max_attempts=1)
    primary = caught.value.primary if isinstance(caught.value, AllWorkersFailed) else caught.value
    kind: FailureKind = getattr(primary, "failure").kind  # noqa: B009
    return kind


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDLESS)
async def test_events_without_content_end_in_bounded_memory(
    memory: World, name: str, autojump_clock: object
) -> None:
    _endless(memory, name)
    async with memory.gateway() as cortex:
        tracemalloc.start()
        try:
            assert await _failure(cortex) in (
                FailureKind.PROTOCOL,
                FailureKind.STALLED,
                FailureKind.TRUNCATED,
            )
            assert tracemalloc.get_traced_memory()[1] < ENDLESS_EVENTS * 26
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("name", ENDLESS)
async def test_events_without_content_do_not_keep_a_call_waiting_for_ever(
    memory: World, name: str, autojump_clock: object
) -> None:
    _endless(memory, name, 0.9)
    async with memory.gateway() as cortex:
        begin = trio.current_time()
        assert await _failure(cortex) in (FailureKind.PROTOCOL, FailureKind.STALLED)
        assert trio.current_time() - begin <= 130


async def test_one_event_without_end_is_bounded_by_the_size_of_an_answer(
    memory: World, autojump_clock: object
) -> None:
    start = b'data: {"choices":[{"index":0,"delta":{"content":"'
    memory.server(then_chat=play(open_head(), chunk(start), *[chunk(b"x" * 64 * KB)] * 1_000))
    async with memory.gateway(max_answer_bytes=4 * MB) as cortex:
        tracemalloc.start()
        try:
            assert await _failure(cortex) is FailureKind.PROTOCOL
            assert tracemalloc.get_traced_memory()[1] < 32 * MB
        finally:
            tracemalloc.stop()
