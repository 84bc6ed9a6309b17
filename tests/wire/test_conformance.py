"""Every dialect a provider has keeps every promise of `wire.conformance`; and the check itself finds broken ones.

The bodies are small answers written for this test, each with thoughts, text and a tool call where the wire can
say them, and each as the server would send it streamed and whole.
"""

import json
import time
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cortex_trio.events import Finished, FinishReason, TextDelta, WireEvent
from cortex_trio.failures import Failure
from cortex_trio.messages import ChatRequest
from cortex_trio.providers import PROVIDERS
from cortex_trio.wire.anthropic_messages.dialect import AnthropicMessages
from cortex_trio.wire.chat_completions.dialect import ChatCompletions
from cortex_trio.wire.codec import Dialect, HttpRequest, malformed
from cortex_trio.wire.conformance import check_dialect, check_grammar, check_linear_time, check_replay, decode


def dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def sse(*values: Any, end: bytes = b"") -> bytes:
    return b"".join(b"data: " + dump(value) + b"\n\n" for value in values) + end


def named_sse(*values: dict[str, Any]) -> bytes:
    return b"".join(
        b"event: " + value["type"].encode() + b"\ndata: " + dump(value) + b"\n\n" for value in values
    )


def lines(*values: Any) -> bytes:
    return b"".join(dump(value) + b"\n" for value in values)


@attrs.frozen
class Answers:
    streamed: Sequence[bytes]
    whole: Sequence[bytes]  # the first ones are twins of the first streamed ones


# ------------------------------------------------------------------ chat completions

DONE = b"data: [DONE]\n\n"
OPENAI_USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 7,
    "total_tokens": 16,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def chunk(delta: dict[str, Any], finish: str | None = None, **beside: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **beside}


def call(index: int, id: str | None, name: str | None, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    return {"index": index, "id": id, "function": function} if id else {"index": index, "function": function}


CHAT_COMPLETIONS = Answers(
    streamed=[
        sse(
            chunk({"role": "assistant", "content": "", "refusal": None}),
            chunk({"reasoning_content": "Hm."}),
            chunk({"content": "Köln 🌤"}),
            chunk({"content": ""}),
            chunk({"content": "?"}),
            chunk({"tool_calls": [call(0, "a1", "weather", "")]}),
            chunk({"tool_calls": [call(0, None, None, '{"city":'), call(1, "b2", "clock", "")]}),
            chunk({"tool_calls": [call(1, None, None, "{}"), call(0, None, None, '"Köln"}')]}),
            chunk({}, "tool_calls"),
            {"id": "c", "choices": [], "usage": OPENAI_USAGE},
            end=DONE,
        ),
        sse(chunk({"refusal": "No."}), chunk({}, "stop"), end=DONE),
        sse(chunk({"content": "cut of"}), chunk({"content": "f"}, "length", usage=OPENAI_USAGE)),
        sse(chunk({"content": "Hel"}), {"error": {"message": "overloaded", "type": "server_error"}}),
        b'event: error\ndata: {"error":{"message":"bad call","code":"tool_use_failed"}}\n\n',
    ],
    whole=[
        dump(
            {
                "choices": [
                    {
                        "index": 0,
                        "message": {
                            "role": "assistant",
                            "content": "Köln 🌤?",
                            "reasoning_content": "Hm.",
                            "refusal": None,
                            "tool_calls": [
                                {"id": "a1", "function": {"name": "weather", "arguments": '{"city":"Köln"}'}},
                                {"id": "b2", "function": {"name": "clock", "arguments": "{}"}},
                            ],
                        },
                        "finish_reason": "tool_calls",
                    }
                ],
                "usage": OPENAI_USAGE,
            }
        ),
        dump({"choices": [{"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}]}),
    ],
)

# ------------------------------------------------------------------ anthropic

ANTHROPIC_CALL = {"type": "tool_use", "id": "toolu_1", "name": "weather"}
ANTHROPIC_SEARCH = {
    "type": "server_tool_use",
    "id": "srvtoolu_1",
    "name": "web_search",
    "input": {"query": "Köln"},
}
ANTHROPIC_FOUND = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": [{"type": "web_search_result", "url": "https://example.org/", "encrypted_content": "E="}],
}


def in_pieces(index: int, block: dict[str, Any], *input: str) -> list[dict[str, Any]]:
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in input]
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


ANTHROPIC = Answers(
    streamed=[
        named_sse(
            {
                "type": "message_start",
                "message": {"role": "assistant", "usage": {"input_tokens": 9, "output_tokens": 1}},
            },
            {"type": "ping"},
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "thinking", "thinking": ""},
            },
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "thinking_delta", "thinking": "Hm."},
            },
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "signature_delta", "signature": "S="},
            },
            {"type": "content_block_stop", "index": 0},
            *in_pieces(1, {**ANTHROPIC_SEARCH, "input": {}}, '{"query":', '"Köln"}'),
            *in_pieces(2, ANTHROPIC_FOUND),
            {"type": "content_block_start", "index": 3, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 3, "delta": {"type": "text_delta", "text": "Köln 🌤"}},
            {"type": "content_block_stop", "index": 3},
            *in_pieces(4, {**ANTHROPIC_CALL, "input": {}}, '{"city":', '"Köln"}'),
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
            {"type": "message_stop"},
        ),
        named_sse(
            {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}},
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        ),
    ],
    whole=[
        dump(
            {
                "type": "message",
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "S="},
                    ANTHROPIC_SEARCH,
                    ANTHROPIC_FOUND,
                    {"type": "text", "text": "Köln 🌤"},
                    {**ANTHROPIC_CALL, "input": {"city": "Köln"}},
                ],
                "stop_reason": "tool_use",
                "usage": {"input_tokens": 9, "output_tokens": 7},
            }
        )
    ],
)

# ------------------------------------------------------------------ gemini


def candidate(*parts: dict[str, Any], finish: str | None = None, **beside: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    return {"candidates": [found | ({"finishReason": finish} if finish else {})], **beside}


GEMINI_PARTS: list[dict[str, Any]] = [
    {"text": "Hm.", "thought": True},
    {"executableCode": {"language": "PYTHON", "code": "print(1)"}, "thoughtSignature": "S="},
    {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}},
    {"text": "Köln 🌤"},
    {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}},
    {"functionCall": {"id": "f1", "name": "weather", "args": {"city": "Köln"}}, "thoughtSignature": "S="},
]
GEMINI_USAGE = {
    "promptTokenCount": 9,
    "candidatesTokenCount": 5,
    "thoughtsTokenCount": 2,
    "totalTokenCount": 16,
}
GEMINI_STREAM = [
    *(candidate(part) for part in GEMINI_PARTS),
    candidate({"text": ""}, finish="STOP", usageMetadata=GEMINI_USAGE),
]
GEMINI = Answers(
    streamed=[
        sse(*GEMINI_STREAM).replace(b"\n", b"\r\n"),
        dump(GEMINI_STREAM),
        sse({"promptFeedback": {"blockReason": "SAFETY"}}),
        sse(
            candidate({"text": "Köln"}),
            {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}},
        ),
    ],
    whole=[dump(candidate(*GEMINI_PARTS, finish="STOP", usageMetadata=GEMINI_USAGE))] * 2,
)

# ------------------------------------------------------------------ cohere


def cohere(type: str, index: int | None = None, **message: Any) -> dict[str, Any]:
    place = {} if index is None else {"index": index}
    return {"type": type, **place, "delta": {"message": message}}


COHERE_CALL = {
    "id": "w1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Köln"}'},
}
COHERE_USAGE = {"tokens": {"input_tokens": 9.0, "output_tokens": 7.0}}
COHERE = Answers(
    streamed=[
        named_sse(
            cohere("message-start", role="assistant", content=[], tool_plan="", tool_calls=[]),
            cohere("tool-plan-delta", tool_plan="Hm."),
            cohere(
                "tool-call-start",
                0,
                tool_calls=COHERE_CALL | {"function": {"name": "weather", "arguments": ""}},
            ),
            cohere("tool-call-delta", 0, tool_calls={"function": {"arguments": '{"city":'}}),
            cohere("tool-call-delta", 0, tool_calls={"function": {"arguments": '"Köln"}'}}),
            {"type": "tool-call-end", "index": 0},
            {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": COHERE_USAGE}},
        )
        + DONE,
        named_sse(
            cohere("message-start", role="assistant"),
            cohere("content-start", 0, content={"type": "text", "text": ""}),
            cohere("content-delta", 0, content={"text": "Köln"}),
            cohere("citation-start", 0, citations={"start": 0, "end": 4, "text": "Köln", "sources": []}),
            {"type": "content-end", "index": 0},
            {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": COHERE_USAGE}},
        )
        + DONE,
        named_sse({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "it broke"}}),
    ],
    whole=[
        dump(
            {
                "finish_reason": "TOOL_CALL",
                "message": {"role": "assistant", "tool_plan": "Hm.", "tool_calls": [COHERE_CALL]},
                "usage": COHERE_USAGE,
            }
        ),
        dump(
            {
                "finish_reason": "COMPLETE",
                "message": {"role": "assistant", "content": [{"type": "text", "text": "Köln"}]},
                "usage": COHERE_USAGE,
            }
        ),
    ],
)

# ------------------------------------------------------------------ ollama


def line(done: bool = False, **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "", **fields}
    end = {"done_reason": "stop", "prompt_eval_count": 9, "eval_count": 7} if done else {}
    return {"model": "m", "message": message, "done": done, **end}


OLLAMA_CALLS = [
    {"id": "c1", "function": {"index": 0, "name": "weather", "arguments": {"city": "Köln"}}},
    {"function": {"name": "clock", "arguments": {}}},
]
OLLAMA = Answers(
    streamed=[
        lines(
            line(thinking="Hm."),
            line(content="Köln 🌤"),
            line(tool_calls=OLLAMA_CALLS[:1]),
            line(tool_calls=OLLAMA_CALLS[1:]),
            line(done=True),
        ),
        lines(line(content="Kö"), {"error": "the runner died"}),
    ],
    whole=[dump(line(done=True, thinking="Hm.", content="Köln 🌤", tool_calls=OLLAMA_CALLS))],
)

# ------------------------------------------------------------------ responses


def growing(kind: str, index: int, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "output_index": index, **fields}


def ended(status: str, *output: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"status": status, "output": list(output), "usage": RESPONSES_USAGE, **fields}


RESPONSES_USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 16,
}
THOUGHT = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "Hm."}, {"type": "summary_text", "text": "So."}],
    "encrypted_content": "E=",
}
SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"query": "Köln"}}
CITED = {"type": "url_citation", "url": "https://example.org/a", "start_index": 0, "end_index": 4}
SAID = {
    "id": "msg_1",
    "type": "message",
    "content": [{"type": "output_text", "text": "Köln 🌤", "annotations": [CITED]}],
}
CALLED = {
    "id": "fc_1",
    "type": "function_call",
    "call_id": "c1",
    "name": "weather",
    "arguments": '{"city":"Köln"}',
}
REFUSED = {"id": "msg_2", "type": "message", "content": [{"type": "refusal", "refusal": "No."}]}
RESPONSES = Answers(
    streamed=[
        named_sse(
            {"type": "response.created", "response": {"status": "in_progress", "output": []}},
            growing("output_item.added", 0, item={**THOUGHT, "summary": []}),
            growing("reasoning_summary_text.delta", 0, summary_index=0, delta="Hm."),
            growing("reasoning_summary_text.delta", 0, summary_index=1, delta="So."),
            growing("output_item.done", 0, item=THOUGHT),
            growing("output_item.added", 1, item={**SEARCH, "status": "in_progress"}),
            growing("web_search_call.searching", 1, item_id="ws_1"),
            growing("output_item.done", 1, item=SEARCH),
            growing("output_item.added", 2, item={**SAID, "content": []}),
            growing("output_text.delta", 2, content_index=0, delta="Köln 🌤"),
            growing("output_text.annotation.added", 2, content_index=0, annotation=CITED),
            growing("output_item.done", 2, item=SAID),
            growing("output_item.added", 3, item={**CALLED, "arguments": ""}),
            growing("function_call_arguments.delta", 3, delta='{"city":'),
            growing("function_call_arguments.delta", 3, delta='"Köln"}'),
            growing("output_item.done", 3, item=CALLED),
            {"type": "response.completed", "response": ended("completed", THOUGHT, SEARCH, SAID, CALLED)},
        ),
        named_sse(
            growing("output_item.added", 0, item={**REFUSED, "content": []}),
            growing("refusal.delta", 0, content_index=0, delta="No."),
            {"type": "response.completed", "response": ended("completed", REFUSED)},
        ),
        named_sse(
            growing("output_item.added", 0, item={**SAID, "content": []}),
            growing("output_text.delta", 0, content_index=0, delta="Köln"),
            {"type": "error", "code": "server_error", "message": "it broke", "param": None},
        ),
        named_sse(
            {"type": "response.created", "response": {"status": "in_progress", "output": []}},
            {"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded"}}},
        ),
    ],
    whole=[
        dump(ended("completed", THOUGHT, SEARCH, SAID, CALLED)),
        dump(ended("completed", REFUSED)),
    ],
)

ANSWERS = {
    "responses": RESPONSES,
    "chat_completions": CHAT_COMPLETIONS,
    "anthropic_messages": ANTHROPIC,
    "gemini": GEMINI,
    "cohere_chat": COHERE,
    "ollama_chat": OLLAMA,
}

DIALECTS = {provider.dialect: name for name, provider in PROVIDERS.items()}
one_of_a_kind = pytest.mark.parametrize(
    "dialect",
    [
        pytest.param(dialect, id=name)
        for name, dialect in {dialect.name: dialect for dialect in DIALECTS}.items()
    ],
)

# ------------------------------------------------------------------ the promises


@pytest.mark.slow
@one_of_a_kind
def test_a_provider_has_a_dialect_that_keeps_its_promises(dialect: Dialect) -> None:
    answers = ANSWERS[dialect.name]
    check_dialect(dialect, answers.streamed, answers.whole)


@pytest.mark.slow
@one_of_a_kind
def test_a_dialect_takes_linear_time(dialect: Dialect) -> None:
    check_linear_time(dialect, time.process_time)


@one_of_a_kind
def test_the_first_answer_is_whole_and_decodes_to_what_was_written(dialect: Dialect) -> None:
    events = decode(dialect.decoder(), [ANSWERS[dialect.name].streamed[0]])
    assert isinstance(events[-1], Finished)
    assert events[-1].reason is FinishReason.TOOL_CALLS


fuzzed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

GRAINS = [
    b"data: ",
    b"event: error\n",
    b"\n\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b":",
    b",",
    b"null",
    b"\xff",
    b"[DONE]",
]


@one_of_a_kind
@fuzzed
@given(data=st.lists(st.one_of(st.binary(max_size=20), st.sampled_from(GRAINS)), max_size=20))
def test_no_garbage_raises(dialect: Dialect, data: list[bytes]) -> None:
    events = decode(dialect.decoder(), data)
    assert [type(event) for event in events] == [Failure]
    assert decode(dialect.decoder(), [b"".join(data)]) == events
    check_grammar(dialect.decode_reply(b"".join(data)), b"".join(data))


@one_of_a_kind
@fuzzed
@given(data=st.data())
def test_any_byte_may_break_in_any_slicing(dialect: Dialect, data: st.DataObject) -> None:
    body = bytearray(data.draw(st.sampled_from(ANSWERS[dialect.name].streamed)))
    for _ in range(data.draw(st.integers(0, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    places = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    slices = [bytes(body[start:end]) for start, end in zip([0, *places], [*places, len(body)], strict=True)]
    events = decode(dialect.decoder(), slices)
    check_grammar(events, bytes(body))
    assert decode(dialect.decoder(), [bytes(body)]) == events


# ------------------------------------------------------------------ the check finds what is broken


class Careless:
    """A decoder with one fault, around a right one."""

    def __init__(self, fault: str) -> None:
        self._fault = fault
        self._decoder = ChatCompletions().decoder()
        self._seen = b""

    @property
    def done(self) -> bool:
        return self._decoder.done

    def feed(self, data: bytes) -> list[WireEvent]:
        self._seen += data
        events = self._decoder.feed(data)
        match self._fault:
            case "drops what is cut inside a letter":
                return events if data[-1:].isascii() else []
            case "says the end twice":
                return events + [event for event in events if isinstance(event, Finished)]
            case "says empty deltas":
                return [TextDelta(""), *events] if events else events
            case "keeps what it has seen":
                return events
            case _:
                raise AssertionError(self._fault)

    def finish(self) -> list[WireEvent]:
        return self._decoder.finish()


class Gullible(Careless):
    """Takes every end of a stream for a good one: what most clients do."""

    def __init__(self) -> None:
        super().__init__("keeps what it has seen")

    def finish(self) -> list[WireEvent]:
        return [
            Finished(FinishReason.STOP) if isinstance(event, Failure) else event for event in super().finish()
        ]


@attrs.frozen
class Broken(ChatCompletions):
    fault: str = ""

    def decoder(self) -> Any:
        return Gullible() if self.fault == "is gullible" else Careless(self.fault)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "promise"),
    [
        ("drops what is cut inside a letter", "any slicing gives the same events"),
        ("says the end twice", "exactly one Finished or Failure"),
        ("says empty deltas", "an empty delta is no event"),
        ("is gullible", "Finished comes after all content"),
        ("keeps what it has seen", "memory is released"),
    ],
)
def test_the_check_names_the_broken_promise(fault: str, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_dialect(Broken(fault=fault), CHAT_COMPLETIONS.streamed, CHAT_COMPLETIONS.whole)


@attrs.frozen
class Forgetful(ChatCompletions):
    def decode_reply(self, body: bytes) -> list[WireEvent]:
        return [event for event in super().decode_reply(body) if not isinstance(event, TextDelta)]


@attrs.frozen
class Misdirected(AnthropicMessages):
    """Takes all providers for one: its own blocks go to others as well, or nowhere."""

    believes: str = ""

    def encode(self, request: ChatRequest, provider: str, model: str) -> HttpRequest:
        return super().encode(request, self.believes, model)


@pytest.mark.parametrize("believes", ["a-provider", "none"])
def test_the_check_follows_blocks_only_their_provider_understands(believes: str) -> None:
    with pytest.raises(AssertionError, match="is sent"):
        check_replay(Misdirected(believes=believes), ANTHROPIC.streamed[0])


@pytest.mark.slow
def test_the_check_compares_streamed_and_whole_answers() -> None:
    with pytest.raises(AssertionError, match="streamed and whole fold alike"):
        check_dialect(Forgetful(), CHAT_COMPLETIONS.streamed, CHAT_COMPLETIONS.whole)


def test_the_check_of_time_finds_a_decoder_that_starts_over_with_every_byte() -> None:
    copied = 0

    class StartsOver(Careless):
        def feed(self, data: bytes) -> list[WireEvent]:
            nonlocal copied
            self._seen += data
            copied += len(self._seen)
            return []

    @attrs.frozen
    class Slow(ChatCompletions):
        def decoder(self) -> Any:
            return StartsOver("")

    with pytest.raises(AssertionError, match="time is linear"):
        check_linear_time(Slow(), lambda: copied / 1e9)


def test_a_failure_of_the_check_shows_the_bytes() -> None:
    with pytest.raises(AssertionError, match=r"broken by: b'the bytes'"):
        check_grammar([malformed("once"), malformed("twice")], b"the bytes")
