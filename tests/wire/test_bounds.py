"""What an answer can make us keep is bounded: words of the server, and things it opens without ever closing."""

import json
import time
from collections.abc import Callable, Iterator

import pytest

from cortex_trio.events import Finished, ToolCallDelta, WireEvent
from cortex_trio.failures import Failure, FailureKind
from cortex_trio.wire.anthropic_messages.dialect import AnthropicMessages
from cortex_trio.wire.chat_completions.dialect import ChatCompletions
from cortex_trio.wire.codec import Decoder, Dialect
from cortex_trio.wire.cohere_chat.dialect import CohereChat
from cortex_trio.wire.gemini.dialect import Gemini
from cortex_trio.wire.ollama_chat.dialect import OllamaChat
from cortex_trio.wire.payload import OPEN_LIMIT, WORD_LIMIT

LONG = "x" * 100_000


def sse(*payloads: object) -> bytes:
    return b"".join(b"data: " + json.dumps(payload).encode() + b"\n\n" for payload in payloads)


ENDS: dict[Dialect, bytes] = {
    AnthropicMessages(): sse({"type": "message_delta", "delta": {"stop_reason": LONG}}),
    ChatCompletions(): sse({"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": LONG}]}),
    CohereChat(): sse({"type": "message-end", "delta": {"finish_reason": LONG}}),
    Gemini(): sse({"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": LONG}]}),
    OllamaChat(): json.dumps({"message": {"content": "a"}, "done": True, "done_reason": LONG}).encode()
    + b"\n",
}


def decoded(decoder: Decoder, body: bytes) -> list[WireEvent]:
    return [*decoder.feed(body), *decoder.finish()]


@pytest.mark.parametrize("dialect", ENDS, ids=lambda dialect: dialect.name)
def test_a_finish_reason_is_cut_to_a_short_text(dialect: Dialect) -> None:
    last = decoded(dialect.decoder(), ENDS[dialect])[-1]
    assert isinstance(last, Finished)
    assert last.raw_reason == LONG[:WORD_LIMIT]


CITED = {"citationMetadata": {"citationSources": [{"startIndex": 1, "endIndex": 400}]}}
GROWING: dict[str, tuple[Dialect, bytes, Callable[[int], bytes]]] = {
    "a stray object that seems to end with every line": (
        ChatCompletions(),
        b'{"a": [\n',
        lambda number: b"}\n" * 10,
    ),
    "a block that gets field after field": (
        AnthropicMessages(),
        sse({"type": "content_block_start", "index": 0, "content_block": {"type": "compaction"}}),
        lambda number: sse(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "compaction_delta", **{f"{number} {at}": "" for at in range(10)}},
            }
        ),
    ),
    "places in a text that grows": (
        Gemini(),
        b"",
        lambda number: sse({"candidates": [{"content": {"parts": [{"text": LONG[:400]}]}, **CITED}]}),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", GROWING)
def test_what_grows_is_not_read_again_with_every_piece(name: str) -> None:
    """Eight times as much takes about eight times as long; read again and again it would take 64 times."""
    dialect, beginning, piece = GROWING[name]

    def seconds(pieces: int) -> float:
        bodies = [beginning, *map(piece, range(pieces))]
        decoder = dialect.decoder()
        begun = time.process_time()
        for body in bodies:
            decoder.feed(body)
        return time.process_time() - begun

    assert min(seconds(8_000) for _ in range(2)) < 24 * max(min(seconds(1_000) for _ in range(3)), 0.001)


def anthropic_blocks(kind: str) -> Iterator[bytes]:
    for index in range(OPEN_LIMIT + 1):
        block = {"type": kind, "id": f"toolu_{index}", "name": "f", "input": {}}
        yield sse({"type": "content_block_start", "index": index, "content_block": block})


def cohere_calls() -> Iterator[bytes]:
    for index in range(OPEN_LIMIT + 1):
        call = {"id": f"c{index}", "function": {"name": "f", "arguments": ""}}
        yield sse({"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": call}}})


def openai_calls() -> Iterator[bytes]:
    for index in range(OPEN_LIMIT + 1):
        call = {"index": index, "id": f"c{index}", "function": {"name": "f", "arguments": ""}}
        yield sse({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})


@pytest.mark.parametrize(
    ("dialect", "bodies"),
    [
        (AnthropicMessages(), anthropic_blocks("tool_use")),
        (AnthropicMessages(), anthropic_blocks("unheard_of")),
        (CohereChat(), cohere_calls()),
        (ChatCompletions(), openai_calls()),
    ],
    ids=["anthropic calls", "anthropic unknown", "cohere", "chat completions"],
)
def test_more_open_at_once_than_any_model_opens_is_refused(dialect: Dialect, bodies: Iterator[bytes]) -> None:
    decoder = dialect.decoder()
    events: list[WireEvent] = []
    for body in bodies:
        assert not decoder.done, "refused too early"
        events += decoder.feed(body)
    assert decoder.done
    assert isinstance(events[-1], Failure)
    assert events[-1].kind is FailureKind.PROTOCOL
    assert sum(isinstance(event, ToolCallDelta) for event in events) <= OPEN_LIMIT


def test_blocks_that_close_may_be_any_number() -> None:
    decoder = AnthropicMessages().decoder()
    for index in range(3 * OPEN_LIMIT):
        block = {"type": "text", "text": ""}
        decoder.feed(
            sse(
                {"type": "content_block_start", "index": index, "content_block": block},
                {"type": "content_block_stop", "index": index},
            )
        )
    assert not decoder.done
