"""The gateway before what real providers really sent: recorded answers, served again over a loopback socket.

The table was written by reading the recordings, not by running the gateway: the length and the digest of the text,
the length of the reasoning, why it ended, and the tokens. Reasoning counts as output, cached input as input,
whatever the wire says.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from cortex_trio import Config, Cortex, FinishReason, Reply, WorkerConfig, open_cortex

STOP, LENGTH, REFUSAL = FinishReason.STOP, FinishReason.LENGTH, FinishReason.REFUSAL


@attrs.frozen
class Expected:
    """What a recording says: `text` and `reasoning` are lengths, `digest` is of the text."""

    text: int
    digest: str
    reasoning: int
    finish: FinishReason
    input: int
    output: int


RECORDED = {
    "openai/chat_stream_image_input_gpt54.sse": Expected(93, "2dd9c483", 0, STOP, 15, 23),
    "openai/chat_stream_length_reasoning_only_gpt5nano.sse": Expected(0, "e3b0c442", 0, LENGTH, 12, 100),
    "openai/chat_stream_refusal_json_schema.sse": Expected(55, "8b667923", 0, REFUSAL, 49, 13),
    "openai/chat_stream_text_emoji_gpt4o_netchunks.sse": Expected(74, "0c0b9b48", 0, STOP, 28, 21),
    "openai/chat_stream_text_gpt5.sse": Expected(4, "c6c5876c", 0, STOP, 19, 75),
    "openai/chat_stream_text_include_usage_gpt4omini.sse": Expected(15, "988fb759", 0, STOP, 22, 3),
    "openai/responses_stream_reasoning_summary_gpt56.sse": Expected(3, "9f1f9dce", 377, STOP, 38, 40),
    "openai/responses_stream_refusal.sse": Expected(36, "3d2f3d83", 0, REFUSAL, 43, 11),
    "openai/responses_stream_text_gpt54.sse": Expected(42, "0872f929", 0, STOP, 35, 19),
    "groq/stream_reasoning_gptoss120b_netchunks.sse": Expected(82, "8617047a", 173, STOP, 91, 63),
    "groq/stream_reasoning_qwen3_netchunks.sse": Expected(654, "d1262582", 0, STOP, 42, 235),
    "groq/stream_text_llama33_netchunks.sse": Expected(90, "3b9651a2", 0, STOP, 52, 20),
    "xai/chat_stream_reasoning_content_grok3mini_netchunks.sse": Expected(
        62, "d3ab146b", 981, STOP, 28, 14 + 226
    ),
    "xai/chat_stream_text_grok4fast_netchunks.sse": Expected(59, "f05ea57f", 0, STOP, 173, 13 + 78),
    "xai/responses_stream_text_grok43.sse": Expected(8, "8586afc3", 35, STOP, 199, 160),
    "anthropic/stream_adaptive_thinking_opus46.sse": Expected(36, "9d159429", 40, STOP, 34, 44),
    "anthropic/stream_citations_haiku45.sse": Expected(72, "dd27211b", 0, STOP, 672, 39),
    "anthropic/stream_image_input_haiku45.sse": Expected(180, "5e3868b5", 0, STOP, 26, 40),
    "anthropic/stream_redacted_thinking_sonnet46.sse": Expected(2, "565339bc", 0, STOP, 100, 13),
    "anthropic/stream_server_tool_web_search.sse": Expected(2402, "2c86b5f3", 0, STOP, 15665, 795),
    "anthropic/stream_text_haiku45.sse": Expected(5, "ad53e880", 0, STOP, 15, 9),
    "anthropic/stream_text_haiku45_netchunks.sse": Expected(66, "1d36cf7a", 497, STOP, 55, 151),
    "anthropic/stream_thinking_multi_block_sonnet46.sse": Expected(431, "72e36d2e", 382, STOP, 69, 353),
    "gemini/stream_json_array_structured_output.json": Expected(189, "dc5abc10", 320, STOP, 5, 50 + 453),
    "gemini/stream_sse_empty_parts.sse": Expected(66, "5f67f547", 0, STOP, 16, 1307),
    "gemini/stream_sse_long_reasoning_35flash.sse": Expected(2680, "30358b75", 630, STOP, 11, 703 + 713),
    "gemini/stream_sse_max_tokens_25flashlite_netchunks.sse": Expected(0, "e3b0c442", 650, LENGTH, 18, 199),
    "gemini/stream_sse_thoughts_terminal.sse": Expected(4, "bffb5fb9", 623, STOP, 14, 2 + 310),
    "cohere/v2_stream_after_tool_results_citations.sse": Expected(60, "af4666ce", 0, STOP, 1645, 33),
    "cohere/v2_stream_max_tokens.sse": Expected(65, "86523b27", 0, LENGTH, 553, 64),
    "cohere/v2_stream_text_command_a.sse": Expected(44, "c45a1e2d", 0, STOP, 502, 24),
    "cohere/v2_stream_text_done_terminator.sse": Expected(7, "49000df6", 0, STOP, 500, 4),
    "ollama/chat_stream_cloud_gptoss20b.ndjson": Expected(6, "df2ff3bb", 243, STOP, 67, 65),
    "ollama/chat_stream_text_llama3.ndjson": Expected(212, "f5641fb3", 0, STOP, 17, 50),
}

TYPES = {".sse": "text/event-stream", ".ndjson": "application/x-ndjson", ".json": "application/json"}


@attrs.frozen
class Recording:
    body: bytes
    status: int
    content_type: str
    network_chunks: tuple[int, ...]

    @classmethod
    def load(cls, file: Path) -> "Recording":
        meta: dict[str, Any] = json.loads(file.with_suffix(".meta.json").read_text())
        said = meta["response_headers"].get("content-type", TYPES[file.suffix])
        return cls(file.read_bytes(), meta["status"], said, tuple(meta.get("network_chunk_lengths", ())))

    def cut(self, how: str) -> Iterator[bytes]:
        """The body in pieces: one, small ones, or as the network delivered it then."""
        size = len(self.body)
        lengths = {"whole": [size], "small": [97] * (size // 97 + 1)}.get(how, self.network_chunks)
        ends = [min(end, size) for end in accumulate(lengths, initial=0)]
        return (self.body[start:end] for start, end in pairwise(ends) if start < end)


@asynccontextmanager
async def serving(recording: Recording, how: str) -> AsyncIterator[str]:
    """A server that answers any request with the recording, one HTTP chunk and one write for each piece."""

    async def answer(stream: trio.SocketStream) -> None:
        asked = b""
        while not asked.endswith(b"}"):  # the end of every body we send
            asked += await stream.receive_some()
        head = f"HTTP/1.1 {recording.status} OK\r\ncontent-type: {recording.content_type}\r\n"
        await stream.send_all(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
        for piece in recording.cut(how):
            await stream.send_all(b"%x\r\n%s\r\n" % (len(piece), piece))
        await stream.send_all(b"0\r\n\r\n")
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def read(cortex: Cortex) -> tuple[list[str], Reply]:
    """The pieces as a user sees them, and the whole."""
    async with cortex.chat("Hi") as answer:
        reply = await answer.collect()
    async with cortex.chat("Hi") as answer:
        pieces = [piece async for piece in answer.text()]
    return pieces, reply


WAYS = [
    (name, how) for name in RECORDED for how in ("whole", "small", "as recorded")[: 2 + ("netchunks" in name)]
]


@pytest.mark.parametrize(("name", "how"), WAYS)
async def test_what_a_provider_really_sent_comes_out_whole(shared_dir: Path, name: str, how: str) -> None:
    recording = Recording.load(shared_dir / "wire" / "recordings" / name)
    assert recording.network_chunks or how != "as recorded"
    expected, (provider, _, file) = RECORDED[name], name.partition("/")
    provider += "_responses" * file.startswith("responses_")
    keys = [] if provider == "ollama" else ["sk-test-0123456789"]
    async with serving(recording, how) as address:
        worker = WorkerConfig(provider=provider, api_keys=keys, models=["recorded"], base_url=address)
        async with open_cortex(Config(workers={"it": worker}, health_check_interval=0)) as cortex:
            pieces, reply = await read(cortex)
    assert "".join(pieces) == reply.text
    assert (len(reply.text), sha256(reply.text.encode()).hexdigest()[:8]) == (expected.text, expected.digest)
    assert len(reply.reasoning) == expected.reasoning
    assert reply.finish_reason is expected.finish
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (expected.input, expected.output)
    assert [attempt.failure for attempt in reply.attempts] == [None]


def test_every_streamed_text_that_was_recorded_is_in_the_table(shared_dir: Path) -> None:
    """Other recordings are of tool calls or of errors."""
    others = ("tool", "function_call", "parallel", "error", "prompt_blocked")
    recorded = {
        f"{file.parent.name}/{file.name}"
        for file in (shared_dir / "wire" / "recordings").glob("*/*stream*")
        if not file.name.endswith(".meta.json") and file.parent.name != "extras"
        if not any(word in file.name for word in others)
    }
    known = {name for name in RECORDED if not any(word in name for word in others)}
    assert recorded == known
