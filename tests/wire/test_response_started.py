"""Every dialect names the answer: the provider's id and the model that answers, streamed and whole, at most once."""

import pytest

from cortex_trio.events import CONTENT, ResponseStarted, WireEvent
from cortex_trio.providers import PROVIDERS
from cortex_trio.wire.payload import WORD_LIMIT, response_started

STREAMS = {
    "openai": (
        b'data: {"id":"","model":"","choices":[],"prompt_filter_results":[]}\n\n'
        b'data: {"id":"chatcmpl-1","model":"gpt-5-mini-2026","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
        b'data: {"id":"chatcmpl-1","model":"gpt-5-mini-2026","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
        b"\n\ndata: [DONE]\n\n",
        ResponseStarted("chatcmpl-1", "gpt-5-mini-2026"),
    ),
    "openai_responses": (
        b'data: {"type":"response.created","response":{"id":"resp_1","model":"gpt-5-mini-2026","output":[]}}\n\n'
        b'data: {"type":"response.output_text.delta","output_index":0,"delta":"a"}\n\n'
        b'data: {"type":"response.completed","response":{"id":"resp_1","model":"gpt-5-mini-2026",'
        b'"status":"completed","output":[]}}\n\n',
        ResponseStarted("resp_1", "gpt-5-mini-2026"),
    ),
    "anthropic": (
        b'data: {"type":"message_start","message":{"id":"msg_1","model":"claude-haiku-5-2026"}}\n\n'
        b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}\n\n'
        b'data: {"type":"message_start","message":{"id":"msg_1","model":"claude-haiku-5-2026"}}\n\n'
        b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}\n\n'
        b'data: {"type":"message_stop"}\n\n',
        ResponseStarted("msg_1", "claude-haiku-5-2026"),
    ),
    "gemini": (
        b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}],"modelVersion":"gemini-3","responseId":"r1"}\n\n'
        b'data: {"candidates":[{"finishReason":"STOP"}],"modelVersion":"gemini-3","responseId":"r1"}\n\n',
        ResponseStarted("r1", "gemini-3"),
    ),
    "cohere": (
        b'data: {"type":"message-start","id":"c1"}\n\n'
        b'data: {"type":"content-delta","delta":{"message":{"content":{"text":"a"}}}}\n\n'
        b'data: {"type":"message-end","delta":{"finish_reason":"COMPLETE"}}\n\n',
        ResponseStarted("c1", None),
    ),
    "ollama": (
        b'{"model":"llama3.2:1b","message":{"content":"a"},"done":false}\n'
        b'{"model":"llama3.2:1b","message":{"content":""},"done":true,"done_reason":"stop"}\n',
        ResponseStarted(None, "llama3.2:1b"),
    ),
}

WHOLE = {
    "openai": b'{"id":"chatcmpl-1","model":"gpt-5-mini-2026","choices":[{"message":{"content":"a"},'
    b'"finish_reason":"stop"}]}',
    "openai_responses": b'{"id":"resp_1","model":"gpt-5-mini-2026","status":"completed","output":[{"type":"message",'
    b'"content":[{"type":"output_text","text":"a"}]}]}',
    "anthropic": b'{"id":"msg_1","model":"claude-haiku-5-2026","content":[{"type":"text","text":"a"}],'
    b'"stop_reason":"end_turn"}',
    "gemini": b'{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}],'
    b'"modelVersion":"gemini-3","responseId":"r1"}',
    "cohere": b'{"id":"c1","message":{"content":[{"type":"text","text":"a"}]},"finish_reason":"COMPLETE"}',
    "ollama": b'{"model":"llama3.2:1b","message":{"content":"a"},"done":true,"done_reason":"stop"}',
}


def decoded(provider: str, body: bytes) -> list[WireEvent]:
    decoder = PROVIDERS[provider].dialect.decoder()
    return [*decoder.feed(body), *decoder.finish()]


def names_in(events: list[WireEvent]) -> list[WireEvent]:
    """The events that name the answer. They come before its content."""
    first_content = next(place for place, event in enumerate(events) if isinstance(event, CONTENT))
    assert not any(isinstance(event, ResponseStarted) for event in events[first_content:])
    return [event for event in events if isinstance(event, ResponseStarted)]


@pytest.mark.parametrize("provider", STREAMS)
def test_a_stream_names_the_answer_once(provider: str) -> None:
    body, expected = STREAMS[provider]
    assert names_in(decoded(provider, body)) == [expected]


@pytest.mark.parametrize("provider", WHOLE)
def test_a_whole_answer_has_the_same_names(provider: str) -> None:
    events = PROVIDERS[provider].dialect.decode_reply(WHOLE[provider])
    assert names_in(events) == [STREAMS[provider][1]]


@pytest.mark.parametrize("value", [None, "", 7, [], {"a": 1}, True])
def test_names_of_another_type_are_no_names(value: object) -> None:
    assert response_started(value, value) == []
    assert response_started("a", value) == [ResponseStarted("a", None)]
    assert response_started(value, "m") == [ResponseStarted(None, "m")]


def test_long_names_are_cut() -> None:
    assert response_started("a" * 1000, None) == [ResponseStarted("a" * WORD_LIMIT, None)]
