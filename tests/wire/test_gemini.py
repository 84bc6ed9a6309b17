"""The Gemini dialect: recorded answers read right at every slicing, requests as the API asks for them."""

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
from hearing import Heard, Recording, bytewise, folded, heard
from hypothesis import given
from hypothesis import strategies as st

from cortex_trio.events import (
    CitationDelta,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSeal,
    ReplyBuilder,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    WholePart,
    WireEvent,
)
from cortex_trio.failures import Failure, FailureKind, InvalidRequest
from cortex_trio.messages import (
    ChatRequest,
    Document,
    Image,
    Message,
    Opaque,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    assistant,
    system,
    user,
)
from cortex_trio.wire.codec import EVENT_LIMIT, Unsupported, compact
from cortex_trio.wire.gemini.dialect import Gemini
from cortex_trio.wire.payload import WORD_LIMIT

DIALECT = Gemini()
MODEL = "gemini-3.8-flash"
FLASH = "gemini-2.5-flash"
STOP = Finished(FinishReason.STOP, "STOP")
TOOL_CALLS = Finished(FinishReason.TOOL_CALLS, "STOP")
LENGTH = Finished(FinishReason.LENGTH, "MAX_TOKENS")


def decode(chunks: Iterable[bytes]) -> list[WireEvent]:
    return heard(DIALECT, chunks)


def sse(*responses: object) -> bytes:
    return b"".join(
        f"data: {json.dumps(response, ensure_ascii=False)}\r\n\r\n".encode() for response in responses
    )


def array(*responses: object) -> bytes:
    return b"[" + b"\n,\r\n".join(json.dumps(response, indent=2).encode() for response in responses) + b"\n]"


def said(*parts: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0, **more}
    return {"candidates": [candidate | ({"finishReason": finish} if finish else {})]}


def called(finish: str | None = None, signature: str | None = None, **call: Any) -> dict[str, Any]:
    return said(
        {"functionCall": call} | ({"thoughtSignature": signature} if signature else {}), finish=finish
    )


OVERLOADED = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


# ------------------------------------------------------------------ what was recorded


@attrs.frozen
class HeardHere(Heard):
    """And the parts that only this dialect tells apart."""

    calls: tuple[tuple[str, str, str, int], ...] = ()  # id, name, arguments, length of the signature
    seals: tuple[tuple[str, int], ...] = ()
    images: tuple[tuple[str, int], ...] = ()  # media type, bytes
    sources: tuple[str, ...] = ()


def tokens(input: int, output: int, reasoning: int | None = None) -> Usage:
    return Usage(input, output, input + output, reasoning_tokens=reasoning)


STREAMS = {
    "recordings/gemini/stream_sse_thoughts_and_parallel_calls_35flash.sse": HeardHere(
        TOOL_CALLS,
        tokens(71, 126, 93),
        calls=(
            ("dv8szvqe", "get_weather", '{"location":"Boston"}', 680),
            ("j80tal12", "get_weather", '{"location":"New Delhi"}', 0),
        ),
    ),
    "recordings/gemini/stream_sse_long_reasoning_35flash.sse": HeardHere(
        STOP,
        tokens(11, 1416, 713),
        pieces=31,
        text=("Here is a cozy, calming ", "er. Sleep tight.", 2680),
        reasoning=("**Defining the Narrative", "ready in bed.\n\n\n", 630),
        seals=(("EqIZCp8ZAQw5", 4316),),
    ),
    "recordings/gemini/stream_sse_thoughts_terminal.sse": HeardHere(
        STOP,
        tokens(14, 312, 310),
        pieces=4,
        text=("2880", "2880", 4),
        reasoning=("**Calculating Time Conve", "em is solved!\n\n\n", 623),
    ),
    "recordings/gemini/stream_json_array_structured_output.json": HeardHere(
        STOP,
        tokens(5, 503, 453),
        pieces=4,
        text=('{"name":"Zephyr The Rock', 'ay in mid-air."}', 189),
        reasoning=("**Defining the Core Dog*", "ute validity.\n\n\n", 320),
        seals=(("EsIPCr8PARFN", 2652),),
    ),
    "recordings/gemini/stream_json_array_function_call_thought_signature.json": HeardHere(
        TOOL_CALLS, tokens(60, 48, 32), calls=(("call_0", "multiply", '{"y":3,"x":5}', 300),)
    ),
    "recordings/gemini/stream_sse_parallel_function_calls_20flash.sse": HeardHere(
        TOOL_CALLS,
        tokens(64, 11),
        calls=(
            ("call_0", "get_weather", '{"location":"Boston"}', 0),
            ("call_1", "get_weather", '{"location":"New Delhi"}', 0),
        ),
    ),
    "recordings/gemini/stream_sse_function_call_25flash.sse": HeardHere(
        TOOL_CALLS,
        tokens(103, 73, 43),
        calls=(("call_0", "weather", '{"latitude":"52.5200","longitude":"13.4050"}', 432),),
    ),
    "recordings/gemini/stream_sse_max_tokens_25flashlite_netchunks.sse": HeardHere(
        LENGTH,
        tokens(18, 199, 199),
        pieces=2,
        reasoning=("**Composing a greeting**", " and brevity.\n\n\n", 650),
    ),
    "recordings/gemini/stream_sse_prompt_blocked_safety.sse": HeardHere(FailureKind.CONTENT_POLICY),
    "recordings/gemini/stream_sse_empty_parts.sse": HeardHere(
        STOP,
        tokens(16, 1307),
        pieces=5,
        text=("Here's a cute cartoon ki", "f yarn for you! ", 66),
        images=(("image/png", 69),),
    ),
    "recordings/gemini/stream_sse_thought_summary_function_call_signature.sse": HeardHere(
        TOOL_CALLS,
        tokens(38, 174, 168),
        pieces=2,
        reasoning=("**Calculating the Days**", "today's date.\n\n\n", 765),
        calls=(("call_0", "now", "{}", 1140),),
    ),
    "constructed/gemini/stream_json_array_error_mid_stream.json": HeardHere(
        FailureKind.OVERLOADED, pieces=1, text=("Hel", "Hel", 3)
    ),
    "constructed/gemini/stream_sse_error_as_data.sse": HeardHere(
        FailureKind.OVERLOADED, pieces=1, text=("Hel", "Hel", 3)
    ),
    "constructed/gemini/stream_sse_error_mid_stream_unframed.sse": HeardHere(
        FailureKind.SERVER, pieces=2, text=("First ", "Second ", 13)
    ),
    "constructed/gemini/stream_sse_finish_recitation.sse": HeardHere(
        Finished(FinishReason.CONTENT_FILTER, "RECITATION"),
        tokens(9, 261),
        pieces=8,
        text=("text1text2", "text7text8", 40),
        sources=("https://www.google.com/", "https://uc-r.github.io/tidy_text"),
    ),
    "constructed/gemini/stream_sse_unknown_finish_reason.sse": HeardHere(
        Finished(FinishReason.OTHER, "FAKE_ENUM"),
        pieces=6,
        text=("**Cats:**\n\n- **Physical ", "issues early on.", 3285),
    ),
    "constructed/gemini/stream_sse_utf8.sse": HeardHere(
        STOP, pieces=4, text=("秋风瑟瑟，叶落纷纷，", "领悟秋天的哲理。", 225)
    ),
    "constructed/gemini/stream_sse_partial_function_args.sse": HeardHere(
        TOOL_CALLS, calls=(("f1", "get_weather", '{"city":"Paris"}', 0),)
    ),
}

REPLIES = {
    "recordings/gemini/parallel_function_calls_25flash.json": HeardHere(
        TOOL_CALLS,
        tokens(143, 153, 109),
        calls=(
            ("call_0", "weather", '{"latitude":"52.5200","longitude":"13.4050"}', 540),
            ("call_1", "best_language_to_learn", "{}", 0),
        ),
    ),
    "recordings/gemini/function_response_with_image_25flash.json": HeardHere(
        STOP, tokens(340, 226), pieces=2, text=("thought\nThe user asked m", "a polished ruby.", 1101)
    ),
    "recordings/gemini/max_tokens_no_parts_25pro.json": HeardHere(LENGTH, tokens(4, 499, 499)),
    "recordings/gemini/finish_safety_no_content_15flash.json": HeardHere(
        Finished(FinishReason.CONTENT_FILTER, "SAFETY"), Usage(input_tokens=14, total_tokens=14)
    ),
    "recordings/gemini/prompt_blocked_model_armor_vertex.json": HeardHere(FailureKind.CONTENT_POLICY),
    "recordings/gemini/error_400_api_key_invalid.json": HeardHere(FailureKind.CREDENTIAL),
    "constructed/gemini/finish_other_with_message.json": HeardHere(FailureKind.PROTOCOL),
    "constructed/gemini/error_429_array_wrapped.json": HeardHere(FailureKind.RATE_LIMIT),
}


def check(expected: HeardHere, events: list[WireEvent]) -> None:
    reply = expected.check(events)
    calls = tuple((c.id, c.name, c.arguments, len(c.signature or "")) for c in reply.tool_calls)
    assert calls == expected.calls
    seals = [event.signature or "" for event in events if isinstance(event, ReasoningSeal)]
    assert tuple((seal[:12], len(seal)) for seal in seals) == expected.seals
    images = [part for part in reply.message().parts if isinstance(part, Image)]
    assert tuple((image.media_type, len(image.data or b"")) for image in images) == expected.images
    cited = [source for event in events if isinstance(event, CitationDelta) for source in event.sources]
    assert tuple(cited) == expected.sources


@pytest.mark.parametrize("path", STREAMS)
def test_recorded_streams_are_decoded_as_a_reader_reads_them_at_every_slicing(
    path: str, recording: Callable[[str], Recording]
) -> None:
    for chunks in recording(path).slicings():
        check(STREAMS[path], decode(chunks))


@pytest.mark.parametrize("path", REPLIES)
def test_recorded_whole_replies_are_decoded_as_a_reader_reads_them(path: str, shared_dir: Path) -> None:
    check(REPLIES[path], DIALECT.decode_reply((shared_dir / "wire" / path).read_bytes()))


def test_every_recording_of_a_chat_has_an_expectation(shared_dir: Path) -> None:
    found = {
        f"{kind}/gemini/{file.name}"
        for kind in ("recordings", "constructed")
        for file in (shared_dir / "wire" / kind / "gemini").iterdir()
        if not file.name.endswith(".meta.json") and not file.name.startswith(("error_", "batch_", "models_"))
    }
    assert found <= STREAMS.keys() | REPLIES.keys()


# ------------------------------------------------------------------ the framing


TWO_PIECES = (said({"text": "Grüß "}), said({"text": "Gott 🎈"}, finish="STOP"))
HEARD_TWO = [TextDelta("Grüß "), TextDelta("Gott 🎈"), STOP]


@given(cuts=st.lists(st.integers(0, 400)))
def test_sse_and_the_array_are_decoded_alike_however_they_are_sliced(cuts: list[int]) -> None:
    for body in (sse(*TWO_PIECES), array(*TWO_PIECES)):
        edges = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
        slices = [body[a:b] for a, b in pairwise(edges)]
        assert decode(slices) == HEARD_TWO


@pytest.mark.parametrize("blank", [b"", b"\r\n", b" \n\t\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n "])
def test_the_first_byte_that_is_not_blank_distinguishes_the_array_from_sse(blank: bytes) -> None:
    for body in (sse(*TWO_PIECES), array(*TWO_PIECES)):
        assert decode(bytewise(blank + body)) == HEARD_TWO


def test_the_finish_is_held_back_until_the_body_ends_because_an_error_may_still_follow() -> None:
    decoder = DIALECT.decoder()
    assert decoder.feed(sse(*TWO_PIECES)) == HEARD_TWO[:2]
    assert not decoder.done
    assert decoder.finish() == [STOP]


def test_the_closing_bracket_ends_an_array_at_once() -> None:
    decoder = DIALECT.decoder()
    assert decoder.feed(array(*TWO_PIECES)) == HEARD_TWO
    assert decoder.done


def test_an_array_without_its_bracket_is_whole_after_a_finish_reason_and_cut_before() -> None:
    body = array(*TWO_PIECES)[:-2]
    assert decode([body]) == HEARD_TWO
    cut = decode([array(TWO_PIECES[0])[:-2]])
    assert cut[:-1] == HEARD_TWO[:1]
    assert isinstance(cut[-1], Failure)
    assert cut[-1].kind is FailureKind.TRUNCATED


def test_a_stream_cut_anywhere_before_its_last_brace_is_truncated_and_whole_from_there_on() -> None:
    body = sse(*TWO_PIECES)
    last_brace = body.rindex(b"}") + 1
    for cut in range(len(body) + 1):
        events = decode([body[:cut]])
        if cut >= last_brace:
            assert events == HEARD_TWO
        else:
            assert isinstance(events[-1], Failure)
            assert events[-1].kind is FailureKind.TRUNCATED


def test_empty_reads_change_nothing() -> None:
    for body in (sse(*TWO_PIECES), array(*TWO_PIECES)):
        assert decode([b"", body[:50], b"", body[50:], b""]) == HEARD_TWO


def test_a_finish_reason_does_not_hide_that_more_was_coming() -> None:
    body = sse(said({"text": "a"}, finish="STOP"), said({"text": "b"}, finish="STOP"))
    events = decode([body[:-20]])
    assert events[0] == TextDelta("a")
    assert isinstance(events[-1], Failure)
    assert events[-1].kind is FailureKind.TRUNCATED


@pytest.mark.parametrize("body", [b"", b"\r\n", b"[]", b"[\n]", b": only a comment\n\n", sse({})])
def test_an_answer_without_any_finish_reason_is_truncated(body: bytes) -> None:
    assert [event.kind for event in decode([body]) if isinstance(event, Failure)] == [FailureKind.TRUNCATED]


@pytest.mark.parametrize(
    "tail",
    [
        json.dumps(OVERLOADED, indent=2).encode(),
        json.dumps(OVERLOADED, indent=2).encode().replace(b"\n", b"\r\n") + b"\r\n",
        json.dumps([OVERLOADED], indent=2).encode() + b"\n",
        json.dumps(OVERLOADED).encode(),
        sse(OVERLOADED),
        sse([OVERLOADED]),
    ],
)
def test_an_error_is_heard_framed_or_not_wrapped_or_not(tail: bytes) -> None:
    for body in (sse(said({"text": "Hel"}, finish="STOP")) + tail, tail):
        for chunks in ([body], bytewise(body)):
            failure = decode(chunks)[-1]
            assert isinstance(failure, Failure)
            assert (failure.kind, failure.status) == (FailureKind.OVERLOADED, 503)


@pytest.mark.parametrize("ending", [b"data: [DONE]\n\n", b"data: [DONE]\n"])
def test_a_stream_closed_in_the_manner_of_chat_completions_is_whole_all_the_same(ending: bytes) -> None:
    assert decode([sse(said({"text": "a"}, finish="STOP")) + ending]) == [TextDelta("a"), STOP]


def test_an_unframed_error_that_breaks_off_is_a_cut_stream() -> None:
    body = sse(said({"text": "Hel"}, finish="STOP")) + b'{\n  "error": {\n    "code": 5'
    failure = decode(bytewise(body))[-1]
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.TRUNCATED


def test_lines_that_are_neither_sse_nor_json_are_passed_over() -> None:
    assert decode([b"hello\r\nretry: 5\r\n\r\n" + sse(*TWO_PIECES)]) == HEARD_TWO


@pytest.mark.parametrize(
    "beginning", [b"data: ", b'data: {"a": "', b'[{"a": "', b'{"a": "'], ids=["sse", "json", "array", "bare"]
)
@pytest.mark.slow
def test_an_event_past_the_limit_is_a_protocol_failure(beginning: bytes) -> None:
    decoder = DIALECT.decoder()
    events = decoder.feed(beginning)
    piece = b"x" * (EVENT_LIMIT // 4)
    for _ in range(6):
        events += decoder.feed(piece)
    events += decoder.feed(b"\n")
    assert decoder.done
    assert [event.kind for event in events if isinstance(event, Failure)] == [FailureKind.PROTOCOL]


# ------------------------------------------------------------------ what is said


def test_a_prompt_that_is_blocked_is_a_content_policy_failure_that_keeps_the_reason_and_the_usage() -> None:
    blocked = {
        "candidates": [],
        "promptFeedback": {"blockReason": "JAILBREAK", "blockReasonMessage": "No."},
        "usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 7},
    }
    usage, failure = decode([sse(blocked)])
    assert usage == UsageUpdate(Usage(input_tokens=7, total_tokens=7))
    assert failure == Failure(FailureKind.CONTENT_POLICY, "No.", code="JAILBREAK", phase="stream")


def test_a_reason_for_blocking_is_cut_to_a_short_text() -> None:
    last = decode([sse({"promptFeedback": {"blockReason": "x" * 100_000}})])[-1]
    assert isinstance(last, Failure)
    assert last.code == "x" * WORD_LIMIT


def test_harmless_prompt_feedback_is_no_failure() -> None:
    feedback = {"promptFeedback": {"safetyRatings": [{"probability": "NEGLIGIBLE"}]}}
    assert decode([sse(TWO_PIECES[0] | feedback, TWO_PIECES[1])]) == HEARD_TWO


@pytest.mark.parametrize("raw", ["MALFORMED_FUNCTION_CALL", "NO_IMAGE", "OTHER", "INVENTED_TOMORROW"])
def test_an_odd_finish_is_other_after_content_and_a_protocol_failure_without(raw: str) -> None:
    assert decode([sse(said({"text": "a"}, finish=raw))])[-1] == Finished(FinishReason.OTHER, raw)
    failure = decode([sse(said(finish=raw, finishMessage="It went wrong: " + "x" * 100))])[-1]
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.code) == (FailureKind.PROTOCOL, raw)
    assert failure.message == "It went wrong: " + "x" * 45  # the rest may be the answer
    unexplained = decode([sse(said(finish=raw))])[-1]
    assert isinstance(unexplained, Failure)
    assert raw in unexplained.message


def test_usage_counts_what_tools_brought_in_as_input_and_is_emitted_only_when_it_changes() -> None:
    counts = {
        "promptTokenCount": 10,
        "toolUsePromptTokenCount": 5,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 4,
        "cachedContentTokenCount": 8,
        "totalTokenCount": 22,
    }
    first = said({"text": "a"}) | {"usageMetadata": counts}
    last = said(finish="STOP") | {"usageMetadata": counts}
    assert decode([sse(first, said({"text": "b"}), last)]) == [
        TextDelta("a"),
        UsageUpdate(Usage(15, 7, 22, cached_input_tokens=8, reasoning_tokens=4)),
        TextDelta("b"),
        STOP,
    ]


def test_unreadable_usage_is_not_reported_and_fails_nothing() -> None:
    odd = {"promptTokenCount": "many", "candidatesTokenCount": True, "totalTokenCount": -1}
    for counts in (odd, [], "none", None):
        body = sse(said({"text": "a"}, finish="STOP") | {"usageMetadata": counts})
        assert decode([body]) == [TextDelta("a"), STOP]


def test_only_the_first_candidate_is_read() -> None:
    second = {"index": 1, "content": {"parts": [{"text": "no"}]}, "finishReason": "SAFETY"}
    both = {"candidates": [second, *said({"text": "yes"}, finish="STOP")["candidates"]]}
    assert decode([sse(both)]) == [TextDelta("yes"), STOP]


def test_signatures_seal_thoughts_and_texts_and_ride_on_calls() -> None:
    body = sse(
        said({"text": "Hm.", "thought": True, "thoughtSignature": "T"}, {"text": "Yes"}),
        said({"text": "", "thoughtSignature": "E"}),
        called(name="f", args={"a": "ü"}, signature="C", finish="STOP"),
    )
    assert decode([body]) == [
        ReasoningDelta("Hm."),
        ReasoningSeal("T"),
        TextDelta("Yes"),
        ReasoningSeal("E"),
        ToolCallDelta(0, '{"a":"ü"}', "call_0", "f", "C"),
        TOOL_CALLS,
    ]


def test_code_the_provider_ran_and_parts_of_unknown_kinds_stay_as_they_are() -> None:
    parts: list[dict[str, Any]] = [
        {"executableCode": {"language": "PYTHON", "code": "print(6 * 7)"}, "thoughtSignature": "S1="},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "42\n"}},
        {"inlineData": {"mimeType": "video/mp4", "data": "UklGRg=="}},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}, "thought": True},
        {"inlineData": {"mimeType": "image/png", "data": ""}},
        {"hologram": {"depth": 3}},
    ]
    nothing: list[dict[str, Any]] = [{}, {"hologram": None}, {"text": None}]
    kinds = ("executableCode", "codeExecutionResult", "inlineData", "inlineData", "inlineData", "hologram")
    assert decode([sse(said(*parts, *nothing, {"text": "a"}, finish="STOP"))]) == [
        *(WholePart(Opaque(kind, compact(part))) for kind, part in zip(kinds, parts, strict=True)),
        TextDelta("a"),
        STOP,
    ]


def test_what_the_provider_ran_goes_back_as_it_came_and_its_signature_only_to_its_model() -> None:
    signed = {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "S1="}
    result = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}
    history = answered(said(signed, result, {"text": "One."}, finish="STOP"))
    assert sent_back(history, MODEL) == [signed, result, {"text": "One."}]
    unsigned = {"executableCode": {"language": "PYTHON", "code": "1"}}
    assert sent_back(history, "gemini-another") == [unsigned, result, {"text": "One."}]
    assert sent_back(history, MODEL, provider="vertex") == [{"text": "One."}]


def answered(*responses: dict[str, Any]) -> Message:
    return folded(decode([sse(*responses)]), f"gemini/{MODEL}").message()


def sent_back(message: Message, model: str, provider: str = "gemini") -> object:
    http = DIALECT.encode(ChatRequest(messages=(user("Hi"), message, user("Go on"))), provider, model)
    return json.loads(http.body or b"")["contents"][1]["parts"]


def test_an_image_is_a_part_of_the_answer_and_goes_back_with_its_signature_to_its_model_alone() -> None:
    wired = {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}, "thoughtSignature": "S1="}
    message = answered(said({"text": "Here:"}), said(wired, finish="STOP"))
    image = Image(data=b"\x89PNG", media_type="image/png", signature="S1=", origin=f"gemini/{MODEL}")
    assert message.parts == (Text("Here:"), image)
    assert sent_back(message, MODEL) == [{"text": "Here:"}, wired]
    assert sent_back(message, "gemini-another") == [{"text": "Here:"}, {"inlineData": wired["inlineData"]}]


def test_an_image_that_is_no_image_is_malformed() -> None:
    last = decode([sse(said({"inlineData": {"mimeType": "image/png", "data": "a"}}))])[-1]
    assert isinstance(last, Failure)
    assert (last.kind, last.message) == (FailureKind.PROTOCOL, "an image that is not base64")


def test_a_signature_that_comes_alone_is_kept() -> None:
    assert decode([sse(said({"thoughtSignature": "S1="}, {"text": "a"}, finish="STOP"))]) == [
        ReasoningSeal("S1="),
        TextDelta("a"),
        STOP,
    ]


def ends_with(**metadata: Any) -> list[CitationDelta]:
    """The citations of "Köln 🌤 it is.", said in two pieces, when `metadata` stands beside the last."""
    last = said({"text": "🌤 it is."}, finish="STOP")
    last["candidates"][0] |= metadata
    events = decode([sse(said({"text": "Köln "}), last)])
    assert events[-1] == STOP
    return [event for event in events if isinstance(event, CitationDelta)]


def test_grounding_names_the_pages_behind_each_part_of_the_text() -> None:
    pages = [{"web": {"uri": f"https://example.org/{n}", "title": "t"}} for n in range(3)]
    grounding = {
        "groundingChunks": [*pages, {"retrievedContext": {"title": "my file"}}],
        "groundingSupports": [
            {"segment": {"endIndex": 5, "text": "Köln"}, "groundingChunkIndices": [0, 2, 99]},
            {"segment": {"startIndex": 6, "endIndex": 10, "text": "🌤"}, "groundingChunkIndices": [3]},
            {"segment": {"startIndex": 6, "endIndex": 10, "text": "elsewhere"}, "groundingChunkIndices": [1]},
        ],
    }
    assert ends_with(groundingMetadata=grounding) == [
        CitationDelta(0, 4, "Köln", ("https://example.org/0", "https://example.org/2")),
        CitationDelta(5, 6, "🌤", ("my file",)),
        CitationDelta(None, None, "elsewhere", ("https://example.org/1",)),
    ]


def test_pages_that_were_found_or_shown_are_emitted_without_a_place() -> None:
    found = [{"web": {"uri": "https://example.org/1"}}, {"web": {"uri": "https://example.org/2"}}]
    assert ends_with(groundingMetadata={"groundingChunks": found}) == [
        CitationDelta(None, None, "", ("https://example.org/1", "https://example.org/2"))
    ]
    shown = [{"retrievedUrl": "https://example.org/1", "urlRetrievalStatus": "OK"}]
    assert ends_with(urlContextMetadata={"urlMetadata": shown}) == [
        CitationDelta(None, None, "", ("https://example.org/1",))
    ]


@pytest.mark.parametrize("name", ["citationSources", "citations"])
def test_what_was_recited_is_emitted_with_its_source_and_place_in_characters(name: str) -> None:
    sources = [{"startIndex": 0, "endIndex": 5, "uri": "https://example.org/1", "license": "mit"}]
    assert ends_with(citationMetadata={name: sources}) == [
        CitationDelta(0, 4, "", ("https://example.org/1",))
    ]


def test_a_place_is_found_in_a_long_text_and_a_source_holds_no_more_of_it_than_it_came_with() -> None:
    text = "Köln 🌤 " * 5_000
    sources = [{"startIndex": 11 * n, "endIndex": 11 * 5_000, "uri": "u"} for n in range(2_000)]
    cited = said({"text": text}, finish="STOP")
    cited["candidates"][0]["citationMetadata"] = {"citationSources": sources}
    citations = [event for event in decode([sse(cited)]) if isinstance(event, CitationDelta)]
    assert citations == [CitationDelta(7 * n, len(text), "", ("u",)) for n in range(2_000)]


def test_a_source_that_is_repeated_with_every_response_is_emitted_once() -> None:
    cited = said({"text": "a"})
    cited["candidates"][0]["citationMetadata"] = {"citationSources": [{"endIndex": 1, "uri": "u"}]}
    events = decode([sse(cited, {**cited, "x": 1}, said(finish="STOP"))])
    assert [event for event in events if isinstance(event, CitationDelta)] == [
        CitationDelta(0, 1, "", ("u",))
    ]


def test_a_call_cut_by_max_tokens_finishes_by_length_not_tool_calls() -> None:
    assert decode([sse(called(name="f", args=None, finish="MAX_TOKENS"))]) == [
        ToolCallDelta(0, "{}", "call_0", "f"),
        LENGTH,
    ]


def test_streamed_arguments_add_up_to_one_object_whatever_their_types_and_paths() -> None:
    def piece(path: str, more: bool = True, **value: Any) -> dict[str, Any]:
        return called(willContinue=more, partialArgs=[{"jsonPath": path, **value}])

    body = sse(
        called(name="f", id="f1", signature="S", willContinue=True),
        piece("$.stops[0].name", stringValue="Par", willContinue=True),
        piece("$.stops[0].name", stringValue="is"),
        piece("$.stops[1]['no. of days']", numberValue=2),
        piece("$.fast", boolValue=False),
        piece("$.hotel", nullValue=None),
        piece("$.later", willContinue=True),
        piece('$["quoted"]', stringValue="", more=False),
        called(name="g", args={"x": 1}, finish="STOP"),
    )
    stops = '"stops":[{"name":"Paris"},{"no. of days":2}]'
    assert decode(bytewise(body)) == [
        ToolCallDelta(0, f'{{{stops},"fast":false,"hotel":null,"quoted":""}}', "f1", "f", "S"),
        ToolCallDelta(1, '{"x":1}', "call_1", "g"),
        TOOL_CALLS,
    ]


def test_a_streamed_call_that_is_never_closed_ends_with_the_answer_or_the_next_call() -> None:
    opened = called(name="f", willContinue=True)
    assert decode([sse(opened, called(name="g", args={}, finish="STOP"))])[:2] == [
        ToolCallDelta(0, "{}", "call_0", "f"),
        ToolCallDelta(1, "{}", "call_1", "g"),
    ]
    assert decode([sse(opened, said(finish="STOP"))]) == [ToolCallDelta(0, "{}", "call_0", "f"), TOOL_CALLS]


def partial(*paths: str) -> dict[str, Any]:
    return called(name="f", partialArgs=[{"jsonPath": path, "stringValue": "x"} for path in paths])


@pytest.mark.parametrize(
    "response",
    [
        "not an object",
        {"candidates": {}},
        {"candidates": ["x"]},
        {"candidates": [{"content": "x"}]},
        said({"text": 5}),
        said({"text": "a", "thoughtSignature": 5}),
        called(args={"a": 1}),
        called(name="f", args="{}"),
        {"candidates": [{"finishReason": 3}]},
        partial("city"),
        partial("$"),
        partial("$.a["),
        partial("$.a[7]"),
        partial("$.a[999999999]"),
        partial("$[0]"),
        partial("$.a", "$.a.b"),
        called(name="f", partialArgs=["x"]),
    ],
)
def test_a_wrong_shape_is_one_protocol_failure_in_a_stream_and_in_a_reply(response: object) -> None:
    for events in (
        decode([sse(response)]),
        decode([array(response)]),
        DIALECT.decode_reply(json.dumps(response).encode()),
    ):
        assert [event.kind for event in events if isinstance(event, Failure)] == [FailureKind.PROTOCOL]
        assert isinstance(events[-1], Failure)


@pytest.mark.parametrize(
    "body",
    [
        b"data: {oops}\r\n\r\n",
        b"data: [DONE]\r\n\r\n",
        b"[{oops}]",
        b"[" * 9,
        b"data: " + b"[" * 99_999 + b"\n\n",
    ],
)
def test_what_is_no_json_is_a_failure_and_never_an_exception(body: bytes) -> None:
    failure = decode([body])[-1]
    assert isinstance(failure, Failure)
    assert failure.kind in (FailureKind.PROTOCOL, FailureKind.TRUNCATED)
    assert isinstance(DIALECT.decode_reply(body)[-1], Failure)


@given(body=st.binary(max_size=200))
def test_no_bytes_whatever_raise_anything(body: bytes) -> None:
    for prefix in (b"", b"data: ", b"[", b'{"error":'):
        decode(bytewise(prefix + body))
        DIALECT.decode_reply(prefix + body)


# ------------------------------------------------------------------ requests


def encoded(*messages: Message, model: str = FLASH, **options: Any) -> dict[str, Any]:
    request = DIALECT.encode(ChatRequest(messages=messages, **options), "gemini", model)
    assert request.body is not None
    body = json.loads(request.body)
    assert isinstance(body, dict)
    return body


WEATHER = Tool("weather", "The weather", {"type": "object", "properties": {"city": {"type": "string"}}})


def test_the_path_holds_the_model_and_whether_to_stream() -> None:
    def path(model: str, stream: bool) -> tuple[str, str]:
        request = DIALECT.encode(ChatRequest(messages=(user("Hi"),), stream=stream), "gemini", model)
        return request.path, request.headers["accept"]

    sse_path = "/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    assert path(FLASH, True) == (sse_path, "text/event-stream")
    assert path(FLASH, False) == ("/models/gemini-2.5-flash:generateContent", "application/json")
    assert path("models/" + FLASH, True)[0] == sse_path
    assert path("tunedModels/mine", False)[0] == "/tunedModels/mine:generateContent"
    assert path("a?key=b#c", False)[0] == "/models/a%3Fkey%3Db%23c:generateContent"
    assert path("../../v1/x", False)[0] == "/models/..%2F..%2Fv1%2Fx:generateContent"
    assert path("//evil.example/x", False)[0] == "/models/%2F%2Fevil.example%2Fx:generateContent"


def test_a_request_without_options_holds_the_contents_and_nothing_else() -> None:
    assert encoded(user("Hello")) == {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}


def test_every_option_has_its_name_on_the_wire() -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    body = encoded(
        user("Hi"),
        max_tokens=5,
        temperature=0.5,
        top_p=0.9,
        stop=("END",),
        tools=(WEATHER,),
        tool_choice="required",
        response_schema=schema,
        reasoning="low",
    )
    assert body["generationConfig"] == {
        "maxOutputTokens": 5,
        "temperature": 0.5,
        "topP": 0.9,
        "stopSequences": ["END"],
        "responseMimeType": "application/json",
        "responseJsonSchema": schema,
        "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": True},
    }
    declaration = {
        "name": "weather",
        "description": "The weather",
        "parametersJsonSchema": WEATHER.parameters,
    }
    assert body["tools"] == [{"functionDeclarations": [declaration]}]
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}


@pytest.mark.parametrize(
    ("choice", "strict", "config"),
    [
        (None, None, None),
        ("auto", None, {"mode": "AUTO"}),
        ("none", True, {"mode": "NONE"}),
        ("required", True, {"mode": "ANY"}),
        ("weather", None, {"mode": "ANY", "allowedFunctionNames": ["weather"]}),
        (None, True, {"mode": "VALIDATED"}),
        ("auto", True, {"mode": "VALIDATED"}),
    ],
)
def test_tool_choices_become_modes_and_strict_tools_are_validated(
    choice: str | None, strict: bool | None, config: dict[str, Any] | None
) -> None:
    tool = attrs.evolve(WEATHER, strict=strict)
    body = encoded(user("Hi"), tools=(tool,), tool_choice=choice)
    assert body.get("toolConfig") == (config and {"functionCallingConfig": config})


@pytest.mark.parametrize(
    ("reasoning", "config"),
    [
        ("high", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("xhigh", {"thinkingLevel": "XHIGH", "includeThoughts": True}),
        ("none", {"thinkingBudget": 0}),
        (512, {"thinkingBudget": 512, "includeThoughts": True}),
        (-1, {"thinkingBudget": -1, "includeThoughts": True}),
    ],
)
def test_reasoning_is_a_level_or_a_budget(reasoning: str | int, config: dict[str, Any]) -> None:
    assert encoded(user("Hi"), reasoning=reasoning)["generationConfig"]["thinkingConfig"] == config


def test_an_effort_gemini_has_no_level_for_is_refused_with_the_ones_it_has() -> None:
    with pytest.raises(Unsupported, match=r"'max'.*minimal, low, medium, high, xhigh"):
        encoded(user("Hi"), reasoning="max")


def test_extra_body_is_laid_over_the_body_and_over_the_objects_in_it() -> None:
    extra = {"generationConfig": {"topK": 3, "temperature": 0}, "safetySettings": []}
    body = encoded(user("Hi"), max_tokens=5, temperature=1.0, extra_body=extra)
    assert body["generationConfig"] == {"maxOutputTokens": 5, "temperature": 0, "topK": 3}
    assert body["safetySettings"] == []
    assert encoded(user("Hi"), extra_body=extra)["generationConfig"] == {"topK": 3, "temperature": 0}


def test_leading_system_messages_are_the_instruction_and_later_ones_become_the_users() -> None:
    body = encoded(system("Be kind."), system("Be brief."), user("Hi"), assistant("Yes?"), system("Be bold."))
    assert body["systemInstruction"] == {"parts": [{"text": "Be kind.\n\nBe brief."}]}
    assert [(content["role"], content["parts"]) for content in body["contents"]] == [
        ("user", [{"text": "Hi"}]),
        ("model", [{"text": "Yes?"}]),
        ("user", [{"text": "Be bold."}]),
    ]


def test_images_go_inline_as_bytes_and_by_reference_as_urls() -> None:
    body = encoded(
        user(
            "Look",
            Image(data=b"\x89PNG", media_type="image/png"),
            Image(url="https://example.com/a.jpg", media_type="image/jpeg"),
            Image(url="https://example.com/b"),
            Image(url="data:image/gif;base64,R0lG"),
        )
    )
    assert body["contents"][0]["parts"][1:] == [
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}},
        {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.com/a.jpg"}},
        {"fileData": {"fileUri": "https://example.com/b"}},
        {"inlineData": {"mimeType": "image/gif", "data": "R0lG"}},
    ]


def test_documents_are_titled_texts_before_the_last_text_of_the_user() -> None:
    body = encoded(
        user("One", Document("inside")),
        assistant("Ok"),
        user("Two"),
        documents=(Document("Text", title="Title"),),
    )
    assert body["contents"][0]["parts"] == [{"text": "One"}, {"text": "inside"}]
    assert body["contents"][2]["parts"] == [{"text": "Title\n\nText"}, {"text": "Two"}]


def test_results_of_one_step_share_a_message_and_find_their_names_by_the_ids_of_the_calls() -> None:
    contents = encoded(
        user("Weather?"),
        assistant(ToolCall("a", "weather", '{"city":"Paris"}'), ToolCall("b", "time", "")),
        Message("tool", (ToolResult("a", "Sunny"),)),
        Message("tool", (ToolResult("b", "No clock", is_error=True),)),
        user("And?"),
    )["contents"]
    assert contents[1:] == [
        {
            "role": "model",
            "parts": [
                {"functionCall": {"id": "a", "name": "weather", "args": {"city": "Paris"}}},
                {"functionCall": {"id": "b", "name": "time", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "a", "name": "weather", "response": {"result": "Sunny"}}},
                {"functionResponse": {"id": "b", "name": "time", "response": {"error": "No clock"}}},
            ],
        },
        {"role": "user", "parts": [{"text": "And?"}]},
    ]


def test_ids_repeated_from_step_to_step_are_distinguished_and_results_follow_their_own_call() -> None:
    contents = encoded(
        user("Go"),
        assistant(ToolCall("call_0", "first", "{}")),
        Message("tool", (ToolResult("call_0", "1"),)),
        assistant(ToolCall("call_0", "second", "{}")),
        Message("tool", (ToolResult("call_0", "2"),)),
    )["contents"]
    wired = [part for content in contents[1:] for part in content["parts"]]
    calls = [part["functionCall"] for part in wired if "functionCall" in part]
    results = [part["functionResponse"] for part in wired if "functionResponse" in part]
    assert [call["name"] for call in calls] == [result["name"] for result in results] == ["first", "second"]
    assert [call["id"] for call in calls] == [result["id"] for result in results]
    assert len({call["id"] for call in calls}) == 2


def test_a_result_without_name_or_call_is_refused_because_gemini_matches_by_name() -> None:
    with pytest.raises(InvalidRequest, match=r"'lost'.*name="):
        encoded(user("Go"), Message("tool", (ToolResult("lost", "1"),)))
    named = encoded(user("Go"), Message("tool", (ToolResult("lost", "1", name="f"),)))
    assert named["contents"][1]["parts"][0]["functionResponse"]["name"] == "f"


def test_arguments_that_are_no_object_go_back_as_a_text() -> None:
    _, said = encoded(user("Go"), assistant(ToolCall("a", "f", '{"city":"Par')))["contents"]
    assert [*said["parts"][0]] == ["text"]
    assert '{"city":"Par' in said["parts"][0]["text"]


def test_images_of_a_result_stand_beside_it() -> None:
    content = (Text("Here: "), Image(data=b"x", media_type="image/png"), Text("done"))
    parts = encoded(assistant(ToolCall("a", "f", "{}")), Message("tool", (ToolResult("a", content),)))[
        "contents"
    ][1]["parts"]
    assert parts[0]["functionResponse"]["response"] == {"result": "Here: done"}
    assert parts[1] == {"inlineData": {"mimeType": "image/png", "data": "eA=="}}


@pytest.mark.parametrize("model", [FLASH, "gemini-3.5-flash"])
def test_what_gemini_signed_goes_back_on_the_same_parts_to_the_same_model(model: str) -> None:
    parts = [
        {"text": "Hm.", "thought": True, "thoughtSignature": "T"},
        {"text": "Let me see."},
        {"text": "", "thoughtSignature": "E"},
        {"functionCall": {"id": "a", "name": "f", "args": {"x": 1}}, "thoughtSignature": "C"},
        {"functionCall": {"id": "b", "name": "f", "args": {"x": 2}}},
    ]
    reply = ReplyBuilder(origin=f"gemini/{model}")
    reply.add_all(decode([sse(said(*parts, finish="STOP"))]))
    assert encoded(user("Go"), reply.message(), model=model)["contents"][1] == {
        "role": "model",
        "parts": parts,
    }


def test_thoughts_and_signatures_of_other_models_stay_away() -> None:
    body = encoded(
        user("Go"),
        assistant(Reasoning("secret", "S", origin="anthropic/claude")),
        assistant(Text("Yes"), ToolCall("a", "f", "{}", "C", origin="gemini/gemini-3.5-flash")),
    )
    call = {"functionCall": {"id": "a", "name": "f", "args": {}}}
    assert body["contents"][1:] == [{"role": "model", "parts": [{"text": "Yes"}, call]}]


def test_reasoning_the_caller_vouches_for_is_sent_as_a_thought() -> None:
    body = encoded(assistant(Reasoning("Hm."), Reasoning(""), "Yes"))
    assert body["contents"][0]["parts"] == [{"text": "Hm.", "thought": True}, {"text": "Yes"}]


def test_from_gemini_3_on_the_first_foreign_call_of_each_step_is_marked_as_foreign() -> None:
    history = (
        user("Go"),
        assistant(ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}")),
        Message("tool", (ToolResult("a", "1"), ToolResult("b", "2"))),
        assistant(ToolCall("c", "f", "{}", "C", origin="gemini/gemini-3.8-flash")),
    )

    def signatures(model: str) -> list[str | None]:
        contents = encoded(*history, model=model)["contents"]
        parts = [part for content in contents for part in content["parts"] if "functionCall" in part]
        return [part.get("thoughtSignature") for part in parts]

    assert signatures("gemini-3.8-flash") == ["skip_thought_signature_validator", None, "C"]
    assert signatures("gemini-2.5-flash") == [None, None, None]


RECORDED_REQUESTS: dict[str, dict[str, Any]] = {
    "error_400_api_key_invalid": {"messages": (user("Hello"),)},
    "max_tokens_no_parts_25pro": {"messages": (user("Hi there!"),), "max_tokens": 500, "temperature": 0.0},
    "stream_sse_max_tokens_25flashlite_netchunks": {
        "messages": (
            system("You are a helpful, creative assistant."),
            user("Say hello in one short, imaginative sentence."),
        ),
        "max_tokens": 200,
        "temperature": 0.9,
        "top_p": 0.8,
        "reasoning": 4096,
    },
}
THE_CALLERS_OWN = {"candidateCount"}  # sent through extra_body, if at all


@pytest.mark.parametrize("name", RECORDED_REQUESTS)
def test_equivalent_requests_are_encoded_as_recorded(name: str, shared_dir: Path) -> None:
    meta = json.loads((shared_dir / f"wire/recordings/gemini/{name}.meta.json").read_text())
    recorded = meta["request_body"]
    options = dict(RECORDED_REQUESTS[name])
    body = encoded(*options.pop("messages"), **options)
    for content in (*recorded["contents"], *body["contents"]):
        content.setdefault("role", "user")
    assert body["contents"] == recorded["contents"]
    assert body.get("systemInstruction") == recorded.get("systemInstruction")
    config = recorded["generationConfig"]
    config = {key: value for key, value in config.items() if key not in THE_CALLERS_OWN}
    assert body.get("generationConfig", {}) == config


# ------------------------------------------------------------------ embeddings and models


def test_texts_are_embedded_in_one_batch(shared_dir: Path) -> None:
    path = shared_dir / "wire/recordings/gemini/batch_embed_contents.json"
    recorded = json.loads(path.with_suffix(".meta.json").read_text())["request_body"]
    texts = ["Ruby is a programmer's best friend"]
    request = DIALECT.encode_embed(texts, "gemini", "gemini-embedding-2", 768)
    assert request.path == "/models/gemini-embedding-2:batchEmbedContents"
    assert json.loads(request.body or b"") == recorded
    (vector,) = DIALECT.decode_embed(path.read_bytes())
    assert len(vector) == 768
    assert vector[0] == 0.020942502


def test_dimensions_are_sent_only_if_asked_for() -> None:
    body = json.loads(DIALECT.encode_embed(["a", "b"], "gemini", "e", None).body or b"")
    assert [set(item) for item in body["requests"]] == [{"model", "content"}] * 2


def test_models_are_listed_without_their_prefix(shared_dir: Path) -> None:
    models = DIALECT.decode_models((shared_dir / "wire/recordings/gemini/models_list.json").read_bytes())
    assert models[:3] == ("embedding-gecko-001", "gemini-2.5-flash", "gemini-2.5-pro")
    assert DIALECT.decode_models(b'{"models": []}') == ()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"error": {"code": 400}}',
        b'{"embeddings": 1, "models": 1}',
        b'{"embeddings": [1], "models": [1]}',
        b'{"embeddings": [{"values": ["a"]}], "models": [{"name": 1}]}',
        b'{"embeddings": [{"values": []}], "models": [{}]}',
    ],
)
def test_anything_else_than_a_list_of_the_right_things_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"embedding|item|list"):
        DIALECT.decode_embed(body)
    with pytest.raises(ValueError, match=r"name|item|list"):
        DIALECT.decode_models(body)
