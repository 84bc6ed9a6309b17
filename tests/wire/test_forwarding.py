"""Bytes that are passed on: whole frames only, in order, and nothing of a frame that holds an error or was cut."""

import json
from collections.abc import Sequence

import pytest

from cortex_trio.events import Finished, Forwarded, TextDelta, UsageUpdate, WireEvent
from cortex_trio.failures import Failure, FailureKind
from cortex_trio.wire.anthropic_messages.dialect import AnthropicMessages
from cortex_trio.wire.chat_completions.dialect import ChatCompletions
from cortex_trio.wire.codec import Dialect
from cortex_trio.wire.forwarding import ForwardingDecoder, WholeForwardingDecoder, is_usage_chunk
from cortex_trio.wire.gemini.dialect import Gemini


def chunk(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice], "usage": None}).encode() + b"\n\n"


USAGE = b'data: {"choices": [ ], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}\n\n'
DONE = b"data: [DONE]\n\n"
FRAMES = [b": ping\n\n", chunk("Grüße \u2028"), chunk('"choices":[] [DONE]'), chunk("", "stop"), USAGE, DONE]
ERROR = b'data: {"error": {"message": "overloaded", "code": "overloaded"}}\n\n'
CHAT = ChatCompletions()


def run(dialect: Dialect, pieces: Sequence[bytes], *, drops_usage: bool = False) -> list[WireEvent]:
    decoder = ForwardingDecoder(dialect, is_usage_chunk) if drops_usage else ForwardingDecoder(dialect)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return [*events, *decoder.finish()]


def forwarded(events: Sequence[WireEvent]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, Forwarded))


def sliced(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 10_000])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"], ids=["lf", "crlf", "cr"])
def test_all_bytes_pass_at_every_slicing(size: int, end: bytes) -> None:
    body = b"".join(frame.removesuffix(b"\n\n") + end for frame in FRAMES)
    events = run(CHAT, sliced(body, size))
    assert forwarded(events) == body
    assert isinstance(events[-1], Finished)
    assert [event for event in events if not isinstance(event, Forwarded)] == CHAT_EVENTS


def _decoded() -> list[WireEvent]:
    decoder = CHAT.decoder()
    return [*decoder.feed(b"".join(FRAMES)), *decoder.finish()]


CHAT_EVENTS = _decoded()


def test_the_bytes_come_before_the_events_that_they_mean() -> None:
    events = run(CHAT, FRAMES)
    text = next(place for place, event in enumerate(events) if isinstance(event, TextDelta))
    assert forwarded(events[:text]) == FRAMES[0] + FRAMES[1]


@pytest.mark.parametrize("cut", range(1, len(b"".join(FRAMES)), 3))
def test_of_a_stream_that_is_cut_only_whole_frames_pass(cut: int) -> None:
    body = b"".join(FRAMES)
    events = run(CHAT, [body[:cut]])
    passed = forwarded(events)
    if isinstance(events[-1], Failure):
        assert events[-1].kind is FailureKind.TRUNCATED
        assert body.startswith(passed)
        assert passed.endswith(b"\n\n") or not passed
    else:  # the reason for the end was there
        assert passed.endswith(DONE)
        assert passed.count(DONE) == 1


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_an_error_does_not_pass(size: int) -> None:
    events = run(CHAT, sliced(FRAMES[0] + FRAMES[1] + ERROR + DONE, size))
    assert forwarded(events) == FRAMES[0] + FRAMES[1]
    assert isinstance(events[-1], Failure)


def test_nothing_behind_the_end_passes() -> None:
    assert forwarded(run(CHAT, [b"".join(FRAMES) + chunk("more")])) == b"".join(FRAMES)


def test_the_usage_chunk_is_taken_out_and_its_usage_is_known() -> None:
    events = run(CHAT, [b"".join(FRAMES)], drops_usage=True)
    assert forwarded(events) == b"".join(frame for frame in FRAMES if frame is not USAGE)
    assert [event.usage.input_tokens for event in events if isinstance(event, UsageUpdate)] == [3]


@pytest.mark.parametrize(
    "choices", [b'"choices": [], ', b'"choices":null,', b""], ids=["empty", "null", "none"]
)
def test_a_usage_chunk_has_no_choice_however_that_is_written(choices: bytes) -> None:
    assert is_usage_chunk(b'data: {"id":"c",' + choices + b'"usage":{"prompt_tokens":3}}\n\n')
    assert not is_usage_chunk(b'data: {"id":"c",' + choices + b'"usage":null}\n\n')


@pytest.mark.parametrize(
    ("dialect", "body", "end"),
    [
        (CHAT, b"".join(FRAMES[:4]), DONE),
        (
            AnthropicMessages(),
            b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","usage":{"input_tokens":1}}}\n\n'
            b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
            b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"message_stop"}}\n\n'
            b'data: {"type":"content_block_stop","index":0}\n\n'
            b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}\n\n',
            b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
        ),
        (
            Gemini(),
            b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}\r\n\r\n',
            b"",
        ),
    ],
    ids=["chat", "messages", "gemini"],
)
def test_a_whole_answer_without_its_last_frame_gets_one(dialect: Dialect, body: bytes, end: bytes) -> None:
    events = run(dialect, [body])
    if isinstance(events[-1], Finished):
        assert forwarded(events) == body + end
    else:
        assert forwarded(events) == body


def test_a_last_frame_without_its_blank_line_passes_with_one() -> None:
    body = b"".join(FRAMES)
    assert forwarded(run(CHAT, [body.removesuffix(b"\n\n")])) == body
    assert forwarded(run(CHAT, [body.removesuffix(b"\n")])) == body


def test_a_whole_body_passes_before_its_events() -> None:
    body = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}'
    decoder = WholeForwardingDecoder(CHAT.decode_reply)
    assert [event for piece in sliced(body, 7) for event in decoder.feed(piece)] == []
    first, *events = decoder.finish()
    assert first == Forwarded(body)
    assert isinstance(events[-1], Finished)


def test_a_stream_in_place_of_a_whole_body_is_read_and_does_not_pass() -> None:
    """unslothai/unsloth#6570: a client that asked for JSON cannot read it."""
    decoder = WholeForwardingDecoder(CHAT.decode_reply, CHAT.decoder)
    stream = CHAT.decoder()
    assert [event for piece in sliced(b"".join(FRAMES), 7) for event in decoder.feed(piece)] == []
    assert decoder.finish() == [*stream.feed(b"".join(FRAMES)), *stream.finish()]


def test_a_whole_body_that_is_an_error_does_not_pass() -> None:
    decoder = WholeForwardingDecoder(CHAT.decode_reply)
    decoder.feed(b'{"error":{"message":"no"}}')
    events = decoder.finish()
    assert forwarded(events) == b""
    assert isinstance(events[-1], Failure)
