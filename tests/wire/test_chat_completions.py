"""The chat completions dialect reads what OpenAI, Groq, xAI, DeepSeek, OpenRouter and llama.cpp sent."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
import pytest
from hearing import folded, heard

from cortex_trio.events import (
    CitationDelta,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSeal,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    WholePart,
    WireEvent,
)
from cortex_trio.failures import Failure, FailureKind
from cortex_trio.messages import File, Image, ToolCall
from cortex_trio.providers import PROVIDERS
from cortex_trio.wire.chat_completions.dialect import ChatCompletions
from cortex_trio.wire.codec import EVENT_LIMIT, compact

OPENAI = PROVIDERS["openai"].dialect
XAI = PROVIDERS["xai"].dialect

STOP = Finished(FinishReason.STOP, "stop")
LENGTH = Finished(FinishReason.LENGTH, "length")
TOOL_CALLS = Finished(FinishReason.TOOL_CALLS, "tool_calls")
CONTENT_FILTER = Finished(FinishReason.CONTENT_FILTER, "content_filter")


def decode(chunks: Iterable[bytes], dialect: ChatCompletions = OPENAI) -> list[WireEvent]:
    return heard(dialect, chunks)


# ------------------------------------------------------------------ recordings


def usage(input: int, output: int, total: int, cached: int | None = 0, reasoning: int | None = 0) -> Usage:
    return Usage(input, output, total, cached_input_tokens=cached, reasoning_tokens=reasoning)


@attrs.frozen
class Said:
    """What a reader finds in a recording. Long texts by length, beginning and end."""

    end: Finished | FailureKind
    usage: Usage = attrs.field(factory=Usage)
    text: str = ""
    text_length: int | None = None
    reasoning: str = ""
    reasoning_length: int = 0
    calls: tuple[ToolCall, ...] = ()
    provider: str = "openai"

    def check(self, events: list[WireEvent]) -> None:
        reply = folded(events)
        last = events[-1]
        assert (last.kind if isinstance(last, Failure) else last) == self.end
        assert reply.usage == self.usage
        assert_abridged(reply.text, self.text, self.text_length)
        assert_abridged(reply.reasoning, self.reasoning, self.reasoning_length)
        assert reply.tool_calls == self.calls


def assert_abridged(text: str, abridged: str, length: int | None) -> None:
    """`abridged` is the text itself, or its beginning and end around " … "."""
    start, _, end = abridged.partition(" … ")
    assert text.startswith(start)
    assert text.endswith(end)
    assert len(text) == (len(abridged) if length is None else length)


WEATHER = ToolCall("", "get_current_weather", '{"location":"San Francisco, CA"}')
HARBOR = (
    ToolCall("call_REDACTED_1", "lookup_harbor_label", "null"),
    ToolCall("call_REDACTED_2", "lookup_orchard_label", "null"),
)
KIMI = '{"age":32,"name":"Alex Thompson","occupation":"software engineer"}'
GPT_OSS = '{"age":29,"name":"Alexandra Rivera","occupation":"Software Engineer"}'
SUM = '{"a":2,"b":3}'

STREAMED: dict[str, Said] = {
    "recordings/openai/chat_stream_image_input_gpt54.sse": Said(
        STOP, usage(15, 23, 38), "The image is a solid red recta … ble objects, text, or details.", 93
    ),
    "recordings/openai/chat_stream_length_reasoning_only_gpt5nano.sse": Said(
        LENGTH, usage(12, 100, 112, reasoning=100)
    ),
    "recordings/openai/chat_stream_multiple_choices_with_tools.sse": Said(
        TOOL_CALLS, usage(85, 43, 128), calls=(attrs.evolve(WEATHER, id="call_ZLW6rwgBZAlsBPJv2F9O3zhz"),)
    ),
    "recordings/openai/chat_stream_parallel_tool_calls_gpt5.sse": Said(
        TOOL_CALLS,
        usage(190, 379, 569, reasoning=320),
        calls=(
            ToolCall("call_8ElDxJj6u7IUDEwQIrwFbveM", "add", '{"a": 2, "b": 3}'),
            ToolCall("call_HEZOX3JzspqFubADMNdWn12E", "multiply", '{"a": 2, "b": 3}'),
        ),
    ),
    "recordings/openai/chat_stream_refusal_json_schema.sse": Said(
        Finished(FinishReason.REFUSAL, "stop"),
        usage(49, 13, 62),
        "I'm really sorry, but I can't assist with this request.",
    ),
    "recordings/openai/chat_stream_text_emoji_gpt4o_netchunks.sse": Said(
        STOP,
        usage(28, 21, 49),
        "Whisking in on the wings of wonder … you with a spark of joy—hello!",
        74,
    ),
    "recordings/openai/chat_stream_text_gpt5.sse": Said(STOP, usage(19, 75, 94, reasoning=64), "Olá!"),
    "recordings/openai/chat_stream_text_include_usage_gpt4omini.sse": Said(
        STOP, usage(22, 3, 25), "Southern Ocean."
    ),
    "recordings/openai/chat_stream_tool_call_gpt54.sse": Said(
        TOOL_CALLS,
        usage(147, 13, 160),
        calls=(ToolCall("call_cbOOTyEMjpo5hs9HK0T0eqgc", "get_date", "{}"),),
    ),
    "constructed/openai/chat_stream_content_filter.sse": Said(CONTENT_FILTER, text="I"),
    "constructed/openai/chat_stream_error_mid_stream.sse": Said(FailureKind.SERVER, text="Hel"),
    "constructed/openai/chat_stream_truncated_no_done.sse": Said(FailureKind.TRUNCATED, text="Hel"),
    "recordings/groq/stream_error_tool_use_failed_first_event.sse": Said(FailureKind.PROTOCOL),
    "recordings/groq/stream_parallel_tool_calls_llama33.sse": Said(
        TOOL_CALLS, usage(359, 35, 394, None, None), calls=HARBOR
    ),
    "recordings/groq/stream_reasoning_gptoss120b_netchunks.sse": Said(
        STOP,
        usage(91, 63, 154, None, 35),
        "Hello, bright dream‑weaver, as … e sky with whispers of wonder!",
        82,
        "We need to comply with policy. … ve greeting. No policy issues.",
        173,
    ),
    "recordings/groq/stream_reasoning_qwen3_netchunks.sse": Said(  # raw format: thoughts are part of the text
        STOP,
        usage(42, 235, 277, None, None),
        "<think>\nOkay, let me figure ou … .  \n\nThus, $15 \\times 3 = 45$.",
        654,
    ),
    "recordings/groq/stream_text_llama33_netchunks.sse": Said(
        STOP,
        usage(52, 20, 72, None, None),
        "As the stars aligned in a spar …  into existence, just for you.",
        90,
    ),
    "recordings/groq/stream_tool_call_kimi_k2_netchunks.sse": Said(
        TOOL_CALLS,
        usage(169, 33, 202, None, None),
        calls=(ToolCall("functions.structured_output:0", "structured_output", KIMI),),
    ),
    "recordings/groq/stream_tool_call_reasoning_gptoss120b_netchunks.sse": Said(
        TOOL_CALLS,
        usage(151, 117, 268, None, 72),
        reasoning='User wants a software engineer … tware Engineer". Use function.',
        reasoning_length=350,
        calls=(ToolCall("fc_b13ad089-41f8-409d-bcc8-bfbe940977b0", "structured_output", GPT_OSS),),
    ),
    "recordings/xai/chat_stream_parallel_tool_calls_grok4fast.sse": Said(
        TOOL_CALLS,
        usage(432, 68 + 136, 636, 153, 136),
        calls=(ToolCall("call_55070233", "add", SUM), ToolCall("call_12016531", "multiply", SUM)),
        provider="xai",
    ),
    "recordings/xai/chat_stream_reasoning_content_grok3mini_netchunks.sse": Said(
        STOP,
        usage(28, 14 + 226, 268, 6, 226),
        "Hello, like a whisper carried  …  the wings of a shooting star!",
        62,
        'First, the user asked to "Say  … reative and fits the criteria.',
        981,
        provider="xai",
    ),
    "recordings/xai/chat_stream_reasoning_tool_calls_grok_code.sse": Said(
        TOOL_CALLS,
        usage(466, 68 + 266, 800, 192, 266),
        reasoning='The user asked to "Add and mul … d multiply at the same time."\n',
        reasoning_length=134,
        calls=(ToolCall("call_47876210", "add", SUM), ToolCall("call_97132951", "multiply", SUM)),
        provider="xai",
    ),
    "recordings/xai/chat_stream_text_grok4fast_netchunks.sse": Said(
        STOP,
        usage(173, 13 + 78, 264, 151, 78),
        "Hello, like a comet streaking  …  through the velvet night sky.",
        59,
        provider="xai",
    ),
    "constructed/xai/chat_stream_keepalive_then_text.sse": Said(STOP, text="Hi", provider="xai"),
    "recordings/extras/deepseek_stream_reasoning_content_tools.sse": Said(
        TOOL_CALLS,
        usage(290, 51, 341, 0, 22),
        reasoning="The user wants the current dat … . Let me get the current date.",
        reasoning_length=82,
        calls=(ToolCall("call_00_Goi29zurEz35bAcAgwDP4901", "get_current_date", "{}"),),
        provider="openai_compatible",
    ),
    "recordings/extras/openrouter_stream_comments_netchunks.sse": Said(
        STOP,
        usage(44, 336, 380),
        "To find 15 multiplied by 3, I  …  + 15 = 45. \n\nSo, 15 * 3 = 45.",
        223,
        provider="openai_compatible",
    ),
    "recordings/extras/openrouter_stream_error_after_comments.sse": Said(
        FailureKind.SERVER, provider="openai_compatible"
    ),
    "recordings/extras/openrouter_stream_error_in_chunk.sse": Said(  # the error comes after the finish reason
        FailureKind.BAD_REQUEST,
        usage(43, 10, 53, 0, 11),
        reasoning="We need to respond to a greeting. The user",
        reasoning_length=42,
        provider="openai_compatible",
    ),
    "recordings/extras/openrouter_stream_netchunks_split_event.sse": Said(
        STOP,
        usage(23, 20, 43),
        "Hello! The sun just smiled at  … thought I'd smile back at you.",
        69,
        provider="openai_compatible",
    ),
}

WHOLE: dict[str, Said] = {
    "recordings/openai/chat_finish_length_gpt4omini.json": Said(
        LENGTH, usage(16, 10, 26), "**Title: The Last Ember of Eldoria**\n\n"
    ),
    "recordings/openai/chat_json_mode_gpt5nano.json": Said(
        STOP, usage(21, 280, 301, reasoning=256), '{"name":"Alex Smith","age":29,"city":"San Francisco"}'
    ),
    "recordings/openai/chat_json_schema_gpt54.json": Said(
        STOP, usage(90, 22, 112), '{"title":"Apples are tasty","author":"Hadley Wickham"}'
    ),
    "recordings/openai/chat_parallel_tool_calls_gpt5nano.json": Said(
        TOOL_CALLS,
        usage(162, 219, 381, reasoning=192),
        calls=(attrs.evolve(WEATHER, id="call_Xc4Aiih37EUJvqjoZlu4Vdoi"),),
    ),
    "recordings/openai/chat_reasoning_effort_gpt5nano.json": Said(
        STOP,
        usage(27, 267, 294, reasoning=192),
        "Ball costs 5 cents.\n\nReason: L … = 1.10 → 2x = 0.10 → x = 0.05.",
        134,
    ),
    "recordings/openai/chat_text_gpt5nano.json": Said(
        STOP,
        usage(8, 377, 385, reasoning=320),
        "Hi there! How can I help you t … Tell me what you’d like to do.",
        206,
    ),
    "recordings/groq/image_input_llama4.json": Said(
        STOP,
        usage(1500, 43, 1543, None, None),
        "The file received is an image  … , characteristic of kiwi skin.",
        201,
    ),
    "recordings/groq/json_schema_gptoss120b.json": Said(
        STOP,
        usage(178, 94, 272, None, None),
        '{"city":"Mexico City","country":"Mexico"}',
        41,
        'The user asks: "What is the la … compact format, no extra text.',
        319,
    ),
    "recordings/groq/parallel_tool_calls_llama33.json": Said(
        TOOL_CALLS, usage(359, 35, 394, None, None), calls=HARBOR
    ),
    "recordings/groq/reasoning_qwen3.json": Said(
        STOP,
        usage(23, 286, 309, None, None),
        "<think>\nOkay, let's solve 12 m … y and standard multiplication.",
        791,
    ),
    "recordings/groq/text_llama33_2026.json": Said(STOP, usage(40, 2, 42, None, None), "OK"),
    "recordings/xai/chat_finish_length_grok4fast.json": Said(
        LENGTH,
        usage(177, 100, 277, 161, 0),
        "### The Emberheart Chronicles: … said, were not the monsters of",
        465,
        provider="xai",
    ),
    "recordings/xai/chat_parallel_tool_calls_grok4fast.json": Said(
        TOOL_CALLS,
        usage(436, 68 + 148, 652, 152, 148),
        calls=(ToolCall("call_17376387", "add", SUM), ToolCall("call_83407729", "multiply", SUM)),
        provider="xai",
    ),
    "recordings/xai/chat_reasoning_content_grok3mini.json": Said(
        TOOL_CALLS,
        usage(288, 27 + 350, 665, 7, 350),
        reasoning='First, the user is asking for  … ence, Italy"}}</function_call>',
        reasoning_length=1715,
        calls=(ToolCall("call_27480597", "weather", '{"location":"Florence, Italy"}'),),
        provider="xai",
    ),
    "recordings/xai/chat_text_grok4fast.json": Said(
        STOP, usage(165, 2 + 125, 292, 156, 125), "Olá!", provider="xai"
    ),
    "recordings/extras/llamacpp_text_reasoning_content.json": Said(
        STOP,
        usage(25, 106, 131, 0, None),
        "ok",
        2,
        'Okay, the user just said "ok". … right, I\'ll just return "ok".\n',
        416,
        provider="openai_compatible",
    ),
    "recordings/extras/openrouter_finish_content_filter.json": Said(
        CONTENT_FILTER,
        attrs.evolve(usage(43, 13, 56), cache_write_tokens=0),
        "I'm sorry, but I can't assist with that request.",
        provider="openai_compatible",
    ),
}


@pytest.mark.parametrize("path", STREAMED)
def test_a_recorded_stream_is_read_right_at_every_slicing(path: str, recording: Callable[[str], Any]) -> None:
    dialect = PROVIDERS[STREAMED[path].provider].dialect
    recorded = recording(path)
    expected = decode([recorded.body], dialect)
    STREAMED[path].check(expected)
    for chunks in recorded.slicings():
        assert decode(chunks, dialect) == expected


@pytest.mark.parametrize("path", WHOLE)
def test_a_recorded_reply_is_read_right(path: str, recording: Callable[[str], Any]) -> None:
    WHOLE[path].check(PROVIDERS[WHOLE[path].provider].dialect.decode_reply(recording(path).body))


def test_no_recording_is_left_out(shared_dir: Path) -> None:
    skipped = ("error_", "responses_", "embeddings_", "openrouter_error_")  # none of them is a chat answer
    found = {
        str(file.relative_to(shared_dir / "wire"))
        for kind in ("recordings", "constructed")
        for provider in ("openai", "groq", "xai", "extras")
        for file in (shared_dir / "wire" / kind / provider).glob("*")
        if file.suffix in (".sse", ".json") and not file.name.endswith(".meta.json")
        if not file.name.startswith(skipped)
    }
    assert found == {*STREAMED, *WHOLE}


# ------------------------------------------------------------------ what recordings do not show


def sse(*chunks: Any, end: bytes = b"data: [DONE]\n\n") -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + end


def chunk(delta: Any, finish: str | None = None, **beside: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **beside}


def read(*chunks: Any, dialect: ChatCompletions = OPENAI) -> list[WireEvent]:
    """The events of a stream of these chunks that then finishes well, without the Finished."""
    *events, last = decode([sse(*chunks, chunk({}, "stop"))], dialect)
    assert isinstance(last, Finished)
    return events


def reason(*chunks: Any) -> FinishReason:
    last = decode([sse(*chunks)])[-1]
    assert isinstance(last, Finished)
    return last.reason


def test_deltas_are_handed_on_as_they_came_and_empty_ones_are_nothing() -> None:
    assert read(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": None, "reasoning": "", "refusal": None, "tool_calls": None}),
        chunk({}),
        chunk(None),
        chunk({"content": "a"}),
        chunk({"content": "b"}),
    ) == [TextDelta("a"), TextDelta("b")]


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning": "Hm"},
        {"reasoning_content": "Hm"},
        {"reasoning": "Hm", "reasoning_content": "Hm"},
        {"reasoning": "Hm", "reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]},
        {
            "reasoning_details": [
                {"type": "reasoning.summary", "summary": "Hm"},
                {"type": "other", "data": "x"},
            ]
        },
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]},
    ],
)
def test_reasoning_has_many_names_and_is_read_once(delta: dict[str, Any]) -> None:
    kept = {name: value for name, value in delta.items() if name == "reasoning_details"}
    seal = [ReasoningSeal(compact(kept))] if kept else []
    assert read(chunk(delta)) == [ReasoningDelta("Hm"), *seal]


def test_content_may_come_as_parts() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": ""}, {"type": "image"}]
    assert read(chunk({"content": parts})) == [TextDelta("a")]


def test_only_the_first_choice_is_read() -> None:
    other = {"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}
    events = decode([sse({"choices": [other]}, chunk({"content": "yes"}, "stop"), {"choices": [other]})])
    assert events == [TextDelta("yes"), STOP]


class TestToolCalls:
    def call(
        self, index: int | None, id: str | None = None, name: str | None = None, arguments: Any = None
    ) -> Any:
        fields = {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}
        return chunk({"tool_calls": [{key: value for key, value in fields.items() if value is not None}]})

    def test_are_numbered_as_they_appear_whatever_the_wire_counts(self) -> None:
        assert read(
            self.call(7, "a", "f", ""), self.call(3, "b", "g", "{}"), self.call(7, None, None, "{}")
        ) == [
            ToolCallDelta(0, "", "a", "f"),
            ToolCallDelta(1, "{}", "b", "g"),
            ToolCallDelta(0, "{}"),
        ]

    def test_without_an_index_begin_with_a_new_id(self) -> None:
        assert read(
            self.call(None, "a", "f", "{"), self.call(None, None, None, "}"), self.call(None, "b", "f", "{}")
        ) == [ToolCallDelta(0, "{", "a", "f"), ToolCallDelta(0, "}"), ToolCallDelta(1, "{}", "b", "f")]

    def test_without_index_and_id_begin_with_a_name_and_get_an_id(self) -> None:
        assert read(self.call(None, None, "f", "{}"), self.call(None, None, "g", "{}")) == [
            ToolCallDelta(0, "{}", "call_0", "f"),
            ToolCallDelta(1, "{}", "call_1", "g"),
        ]

    def test_that_share_an_index_are_distinguished_by_their_ids(self) -> None:
        assert read(
            self.call(0, "a", "f", "{}"), self.call(0, "b", "g", "{"), self.call(0, None, None, "}")
        ) == [
            ToolCallDelta(0, "{}", "a", "f"),
            ToolCallDelta(1, "{", "b", "g"),
            ToolCallDelta(1, "}"),
        ]

    def test_may_repeat_id_and_name_on_every_delta(self) -> None:
        assert read(self.call(0, "a", "f", "{"), self.call(0, "a", "f", "}"), self.call(0, "a", "f", "")) == [
            ToolCallDelta(0, "{", "a", "f"),
            ToolCallDelta(0, "}"),
        ]

    def test_may_have_arguments_as_an_object_or_none_at_all(self) -> None:
        events = read(self.call(0, "a", "f", {"city": "Köln"}), self.call(1, "b", "g"))
        assert events == [ToolCallDelta(0, '{"city":"Köln"}', "a", "f"), ToolCallDelta(1, "", "b", "g")]
        assert [call.parsed() for call in folded(events).tool_calls] == [{"city": "Köln"}, {}]

    def test_make_a_stop_a_tool_calls(self) -> None:
        assert reason(self.call(0, "a", "f", "{}"), chunk({}, "stop")) is FinishReason.TOOL_CALLS
        assert reason(self.call(0, "a", "f", "{}"), chunk({}, "length")) is FinishReason.LENGTH


class TestUsage:
    def test_is_emitted_when_it_changes_wherever_it_is(self) -> None:
        first = {"prompt_tokens": 1, "completion_tokens": 2}
        second = {"prompt_tokens": 1, "completion_tokens": 3}
        assert read(
            chunk({"content": "a"}, usage=first),
            chunk({}, x_groq={"id": "r", "usage": first}),
            chunk({}, x_groq={"id": "r", "usage": second}, usage=None),
            {"choices": [], "usage": second},
        ) == [TextDelta("a"), UsageUpdate(Usage(1, 2, 3)), UsageUpdate(Usage(1, 3, 4))]

    def test_of_xai_has_reasoning_added_unless_it_is_in_already(self) -> None:
        fields = {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "completion_tokens_details": {"reasoning_tokens": 4},
        }
        apart = chunk({}, usage={**fields, "total_tokens": 19})
        within = chunk({}, usage={**fields, "total_tokens": 15})
        assert read(apart, dialect=XAI) == [UsageUpdate(Usage(10, 9, 19, reasoning_tokens=4))]
        assert read(within, dialect=XAI) == [UsageUpdate(Usage(10, 5, 15, reasoning_tokens=4))]
        assert read(apart) == [UsageUpdate(Usage(10, 5, 19, reasoning_tokens=4))]

    def test_that_is_no_number_is_not_reported(self) -> None:
        odd = {"prompt_tokens": -1, "completion_tokens": "many", "total_tokens": True}
        assert read(chunk({"content": "a"}, usage=odd)) == [TextDelta("a")]


def test_citations_are_emitted_with_their_pages() -> None:
    cited = {
        "type": "url_citation",
        "url_citation": {"url": "https://a.example", "start_index": 1, "end_index": 4},
    }
    assert read(
        chunk({"annotations": [cited, {"type": "file"}]}), chunk({}, citations=["https://b.example"])
    ) == [
        CitationDelta(1, 4, "", ("https://a.example",)),
        CitationDelta(None, None, "", ("https://b.example",)),
    ]


def test_documents_that_were_given_are_cited_by_their_id() -> None:
    cited = {"document_id": "doc 1", "start_index": 0, "end_index": 4}
    assert read(chunk({"annotations": [{"type": "document_citation", "document_citation": cited}]})) == [
        CitationDelta(0, 4, "", ("doc 1",))
    ]


def test_pages_that_every_chunk_repeats_are_emitted_once_and_other_shapes_fail_nothing() -> None:
    pages = ["https://a", "https://b"]
    assert read(
        chunk({"content": "It "}, citations=pages),
        chunk({"content": "is."}, citations=[*pages, "https://c"]),
        chunk({}, citations=[{"url": "https://d"}, None]),
        chunk({}, citations={"https://e": 1}),
    ) == [
        TextDelta("It "),
        CitationDelta(None, None, "", ("https://a", "https://b")),
        TextDelta("is."),
        CitationDelta(None, None, "", ("https://c",)),
    ]


def test_an_error_in_place_of_a_chunk_is_read_as_its_kind() -> None:
    said = {"object": "error", "message": "This model's maximum context length is 8192 tokens", "code": 400}
    events = decode([sse(chunk({"content": "It "}), {**said, "type": "BadRequestError", "param": None})])
    assert events[0] == TextDelta("It ")
    assert isinstance(events[1], Failure)
    assert (events[1].kind, events[1].status) == (FailureKind.CONTEXT_LENGTH, 400)


def test_speech_is_read_as_what_it_says() -> None:
    pieces = {"id": "audio_1", "transcript": "Good "}, {"transcript": "day."}, {"data": "UklGRg=="}, None
    assert read(*(chunk({"content": None, "audio": piece}) for piece in pieces)) == [
        TextDelta("Good "),
        TextDelta("day."),
        WholePart(File(data=b"RIFF", media_type="audio/pcm")),
    ]


def test_pages_a_server_found_by_itself_are_emitted_once() -> None:
    def searched(*urls: str | None) -> dict[str, Any]:
        results = [{"title": "t", "url": url, "score": 0.5} for url in urls]
        tool = {"index": 0, "type": "search", "arguments": "{}", "search_results": {"results": results}}
        return chunk({"executed_tools": [tool, {"index": 1, "type": "python", "code_results": []}]})

    assert read(searched("https://a", None), searched("https://a", "https://b", "https://b")) == [
        CitationDelta(None, None, "", ("https://a",)),
        CitationDelta(None, None, "", ("https://b",)),
    ]


def test_images_the_model_made_are_parts_of_the_answer() -> None:
    urls = ("data:image/png;base64,iVBORw==", "https://example.org/a.png")
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    assert read(chunk({"content": "Here:", "images": images})) == [
        TextDelta("Here:"),
        WholePart(Image(data=b"\x89PNG", media_type="image/png")),
        WholePart(Image(url="https://example.org/a.png")),
    ]


@pytest.mark.parametrize("url", ["data:image/png,raw", "data:image/png;base64,a", None])
def test_an_image_that_is_none_is_malformed(url: str | None) -> None:
    [failure] = decode([sse(chunk({"images": [{"image_url": {"url": url}}]}))])
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.PROTOCOL


def test_why_groq_stopped_early_is_a_failure() -> None:
    [failure] = decode([sse(chunk({}, x_groq={"id": "r", "error": "over capacity"}))])
    assert isinstance(failure, Failure)
    assert failure.message == "over capacity"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("function_call", FinishReason.STOP),  # no call came, so none is waited for
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("eos_token", FinishReason.STOP),
        ("end_turn", FinishReason.STOP),
        ("max_tokens", FinishReason.LENGTH),
        ("MAX_TOKENS", FinishReason.LENGTH),
        ("unheard_of", FinishReason.OTHER),
    ],
)
def test_every_finish_reason_has_a_meaning_and_keeps_its_name(raw: str, expected: FinishReason) -> None:
    assert decode([sse(chunk({}, raw))]) == [Finished(expected, raw)]


@pytest.mark.parametrize(
    ("raw", "kind"),
    [("error", FailureKind.SERVER), ("insufficient_system_resource", FailureKind.OVERLOADED)],
)
def test_finish_reasons_that_mean_it_broke_off_are_failures(raw: str, kind: FailureKind) -> None:
    last = decode([sse(chunk({"content": "a"}), chunk({}, raw))])[-1]
    assert isinstance(last, Failure)
    assert last.kind is kind


def test_a_seen_finish_reason_makes_the_stream_whole_without_its_marker() -> None:
    assert decode([sse(chunk({"content": "a"}), chunk({}, "stop"), end=b"")]) == [TextDelta("a"), STOP]


def test_the_marker_alone_does_not_make_a_stream_whole() -> None:
    last = decode([sse(chunk({"content": "a"}))])[-1]
    assert isinstance(last, Failure)
    assert last.kind is FailureKind.TRUNCATED


def test_usage_that_follows_the_finish_comes_before_it() -> None:
    assert decode([sse(chunk({}, "stop"), {"choices": [], "usage": {"prompt_tokens": 1}})]) == [
        UsageUpdate(Usage(1)),
        STOP,
    ]


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"error":{"message":"overloaded"}}\n\n',
        b'event: error\ndata: {"message":"overloaded"}\n\n',
        b'error: {"code":503,"message":"overloaded"}\n\n',
        b'{"error":{"message":"overloaded"}}\n',
        b'{"error":{"message":"overloaded"}}',
    ],
)
def test_an_error_is_found_in_every_place_servers_put_it(body: bytes) -> None:
    *events, last = decode([sse(chunk({"content": "a"}), end=b""), body])
    assert events == [TextDelta("a")]
    assert isinstance(last, Failure)
    assert (last.kind, last.message) == (FailureKind.OVERLOADED, "overloaded")


@pytest.mark.slow
def test_only_the_first_end_counts() -> None:
    body = b'error: {"message":"overloaded"}\n' + b"x" * (EVENT_LIMIT + 1)
    assert len(decode([body])) == 1
    assert len(decode([sse(chunk({}, "stop")) + body])) == 1


@pytest.mark.parametrize(
    "data",
    [
        "{",
        "[]",
        "null",
        '{"choices":{}}',
        '{"choices":[1]}',
        '{"choices":[{"delta":"x"}]}',
        '{"choices":[{"delta":{"content":5}}]}',
        '{"choices":[{"delta":{"content":"secret answer","tool_calls":[1]}}]}',
        '{"choices":[{"delta":{},"finish_reason":{"x":1}}]}',
        '{"choices":[],"usage":[1]}',
        "[" * 100_000,
    ],
)
def test_a_shape_that_cannot_be_read_is_a_protocol_failure_that_quotes_nothing(data: str) -> None:
    last = decode([b"data: " + data.encode() + b"\n\n"])[-1]
    assert isinstance(last, Failure)
    assert last.kind is FailureKind.PROTOCOL
    assert "secret" not in last.message


def test_blank_data_and_unknown_events_are_survived() -> None:
    odd = b"data:\n\ndata: \n\nevent: heartbeat\ndata: still here\n\nnonsense\n\n{nonsense}\n"
    assert decode([odd + sse(chunk({"content": "a"}, "stop"))]) == [TextDelta("a"), STOP]


def test_a_whole_reply_needs_no_finish_reason_but_a_choice() -> None:
    whole = {"choices": [{"message": {"content": "a"}}]}
    assert OPENAI.decode_reply(json.dumps(whole).encode()) == [TextDelta("a"), Finished(FinishReason.OTHER)]
    for body in (b'{"choices":[]}', b"{}"):
        (failure,) = OPENAI.decode_reply(body)
        assert isinstance(failure, Failure)
        assert failure.kind is FailureKind.PROTOCOL


def test_an_error_in_place_of_a_reply_is_classified() -> None:
    (failure,) = OPENAI.decode_reply(b'{"error":{"message":"x","code":"insufficient_quota"}}')
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.QUOTA
