"""The Anthropic dialect: recorded answers read right at every slicing, and taken back as they came."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
import pytest
from hearing import JSON, Heard, Recording, assert_bounded, assert_broken, bytewise, heard
from hypothesis import given
from hypothesis import strategies as st

from cortex_trio.events import (
    CitationDelta,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSeal,
    ReplyBuilder,
    ResponseStarted,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    WholePart,
    WireEvent,
)
from cortex_trio.failures import Failure, FailureKind
from cortex_trio.messages import ChatRequest, Opaque, Reasoning, Text, ToolCall, user
from cortex_trio.wire.anthropic_messages.dialect import AnthropicMessages
from cortex_trio.wire.codec import EVENT_LIMIT, compact

DIALECT = AnthropicMessages()
HAIKU = "claude-haiku-4-5-20251001"
STOP = Finished(FinishReason.STOP, "end_turn")
TOOL_CALLS = Finished(FinishReason.TOOL_CALLS, "tool_use")


def decode(chunks: Iterable[bytes]) -> list[WireEvent]:
    return heard(DIALECT, chunks)


def sse(*payloads: dict[str, Any]) -> bytes:
    """A stream of these payloads, framed as the API frames them."""
    return b"".join(
        f"event: {payload['type']}\ndata: {json.dumps(payload, ensure_ascii=False)}\n\n".encode()
        for payload in payloads
    )


def start(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def close(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def end(stop_reason: str | None = "end_turn", **more: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": stop_reason, **more}}


def said(text: str) -> bytes:
    """The beginning of a stream that says `text`."""
    return sse(start(0, type="text", text=""), delta(0, type="text_delta", text=text))


MESSAGE_STOP = {"type": "message_stop"}


# ------------------------------------------------------------------ what was recorded


@attrs.frozen
class HeardHere(Heard):
    """And the parts that only this dialect tells apart."""

    calls: tuple[ToolCall, ...] = ()
    signatures: tuple[tuple[str, int], ...] = ()
    encrypted: tuple[str, ...] = ()
    citations: int = 0
    opaque: tuple[str, ...] = ()


def tokens(input: int, output: int, cached: int | None = 0, reasoning: int | None = None) -> Usage:
    return Usage(input, output, input + output, cached, cached if cached is None else 0, reasoning)


HEARD = {
    "recordings/anthropic/stream_text_haiku45.sse": HeardHere(
        STOP, tokens(15, 9), pieces=1, text=("1\n2\n3", "3", 5)
    ),
    "recordings/anthropic/stream_image_input_haiku45.sse": HeardHere(
        STOP, tokens(26, 40), pieces=19, text=("This image shows a simple **red", "design element.", 180)
    ),
    "recordings/anthropic/stream_citations_haiku45.sse": HeardHere(
        STOP, tokens(672, 39), pieces=1, text=("The Ruby programming", "Matsumoto in 1993.", 72), citations=1
    ),
    "recordings/anthropic/stream_text_haiku45_netchunks.sse": HeardHere(
        STOP,
        tokens(55, 151),
        pieces=48,
        text=("Hello, fellow traveler—I'm here", "take flight!", 66),
        reasoning=("The user wants me to say ", "overly complicated.", 497),
        signatures=(("EpgFCkYICxgC", 892),),
    ),
    "recordings/anthropic/stream_adaptive_thinking_opus46.sse": HeardHere(
        STOP,
        tokens(34, 44),
        pieces=17,
        text=("\n\n1. **Captain Scoop**", "**Gullet**", 36),
        reasoning=("Brief answer with two pet", "pelican names.", 40),
        signatures=(("EtABCkYICxgC", 284),),
    ),
    "recordings/anthropic/stream_thinking_multi_block_sonnet46.sse": HeardHere(
        STOP,
        tokens(69, 353, reasoning=158),
        pieces=14,
        text=("## Setting Up the Problem\n\n**Divisible by 8 b", "37 − 12 = **25**", 431),
        reasoning=("I need to find positive integers n < 300", "37 - 12 = 25.", 382),
        signatures=(("signature_REDACTED_2", 20),),
    ),
    "recordings/anthropic/stream_redacted_thinking_sonnet46.sse": HeardHere(
        STOP,
        tokens(100, 13, reasoning=7),
        pieces=1,
        text=("OK", "OK", 2),
        encrypted=("redacted_thinking_REDACTED_1", "redacted_thinking_REDACTED_2"),
    ),
    "recordings/anthropic/stream_thinking_then_tools_haiku45.sse": HeardHere(
        TOOL_CALLS,
        tokens(598, 92, reasoning=53),
        pieces=2,
        reasoning=("The user wants me to:\n1. Use the fixed_version", "version it returns.", 180),
        calls=(ToolCall("toolu_01825dXWLSoJwCst1qTsiWdb", "fixed_version", "{}"),),
        signatures=(("EoQDCm0IDhgC", 524),),
    ),
    "recordings/anthropic/stream_tool_use_no_arguments_haiku45.sse": HeardHere(
        TOOL_CALLS,
        tokens(579, 41),
        calls=(ToolCall("toolu_01EcJNDtgucTvxugUxuGcJmF", "best_language_to_learn", "{}"),),
    ),
    "recordings/anthropic/stream_parallel_tool_use_haiku45.sse": HeardHere(
        TOOL_CALLS,
        tokens(542, 62),
        calls=(
            ToolCall("toolu_01LtHJmixrs9NcWQkK8hu8hj", "pelican_name_generator", "{}"),
            ToolCall("toolu_01N8a4jWyf116qKTMqKKmjyt", "pelican_name_generator", "{}"),
        ),
    ),
    "recordings/anthropic/stream_object_tool_haiku45_netchunks.sse": HeardHere(
        TOOL_CALLS,
        tokens(725, 69),
        calls=(
            ToolCall(
                "toolu_01KUGVjCcSsLgVkmvQeDZdWE",
                "structured_output",
                '{"name": "Alex Johnson", "age": 28, "occupation": "Software Engineer"}',
            ),
        ),
    ),
    "recordings/anthropic/stream_tool_use_unicode_arguments_sonnet46.sse": HeardHere(
        TOOL_CALLS,
        tokens(618, 68),
        calls=(
            ToolCall("toolu_REDACTED_1", "echo", '{"message": "Grüße aus 東京, from the \\"naïve café\\"!"}'),
        ),
    ),
    # Input grew from 2037 while the server's own search ran.
    "recordings/anthropic/stream_server_tool_web_search.sse": HeardHere(
        STOP,
        tokens(15665, 795),
        pieces=56,
        text=("Based on my search results, here are the key", "international retail expansion.", 2402),
        citations=14,
        opaque=("server_tool_use", "web_search_tool_result", *("citations",) * 9),
    ),
    "constructed/anthropic/stream_unknown_event_and_delta.sse": HeardHere(
        Finished(FinishReason.OTHER, "future_reason"),
        tokens(25, 2, None),
        pieces=1,
        text=("Hello", "Hello", 5),
    ),
    "constructed/anthropic/stream_error_overloaded_mid_stream.sse": HeardHere(
        FailureKind.OVERLOADED, tokens(25, 1, None), pieces=1, text=("Hello", "Hello", 5)
    ),
    "constructed/anthropic/stream_refusal.sse": HeardHere(
        Finished(FinishReason.REFUSAL, "refusal"),
        tokens(18, 5),
        pieces=1,
        text=("This request triggered restrictions on violative cyber", "Anthropic's Usage Policy.", 110),
    ),
}


def test_every_recorded_stream_is_expected_here(shared_dir: Path) -> None:
    found = {str(path.relative_to(shared_dir / "wire")) for path in shared_dir.glob("wire/*/anthropic/*.sse")}
    assert found == set(HEARD)


@pytest.mark.parametrize("name", HEARD)
def test_a_recorded_stream_is_decoded_as_a_reader_reads_it(shared_dir: Path, name: str) -> None:
    expected = HEARD[name]
    events = decode([(shared_dir / "wire" / name).read_bytes()])
    built = expected.check(events)
    assert built.tool_calls == expected.calls
    seals = [event for event in events if isinstance(event, ReasoningSeal)]
    signatures = [seal.signature for seal in seals if seal.signature]
    assert [(s[: len(b)], len(s)) for s, (b, _) in zip(signatures, expected.signatures, strict=True)] == list(
        expected.signatures
    )
    assert tuple(seal.encrypted for seal in seals if seal.encrypted) == expected.encrypted
    assert sum(isinstance(event, CitationDelta) for event in events) == expected.citations
    whole = [event.part for event in events if isinstance(event, WholePart)]
    assert tuple(part.type for part in whole if isinstance(part, Opaque)) == expected.opaque


@pytest.mark.parametrize("name", HEARD)
def test_a_recorded_stream_is_decoded_the_same_at_every_slicing(
    recording: Callable[[str], Recording], name: str
) -> None:
    first, *others = [decode(chunks) for chunks in recording(name).slicings()]
    assert all(events == first for events in others)


@pytest.mark.parametrize(
    "name", [name for name, heard in HEARD.items() if isinstance(heard.finish, Finished)]
)
def test_a_recorded_stream_that_is_cut_anywhere_never_ends_well_without_its_stop_reason(
    shared_dir: Path, name: str
) -> None:
    body = (shared_dir / "wire" / name).read_bytes()
    decided = body.index(b"message_delta")
    for cut in range(0, decided, max(1, decided // 50)):
        last = decode([body[:cut]])[-1]
        assert isinstance(last, Failure)
        assert last.kind is FailureKind.TRUNCATED


def test_recorded_citations_carry_where_they_come_from(shared_dir: Path) -> None:
    wire = shared_dir / "wire/recordings/anthropic"
    in_document = decode([(wire / "stream_citations_haiku45.sse").read_bytes()])[2]
    assert in_document == CitationDelta(
        0,
        73,
        "The Ruby programming language was created by Yukihiro Matsumoto in 1993. ",
        ("facts.txt",),
    )
    on_the_web = decode([(wire / "stream_server_tool_web_search.sse").read_bytes()])
    last = [event for event in on_the_web if isinstance(event, CitationDelta)][-1]
    assert last == CitationDelta(
        None,
        None,
        "Apple released iOS 26 on September 15, bringing the Liquid Glass redesign to the iPhone. ",
        ("https://9to5mac.com/2025/09/22/ios-26-1-beta-1/",),
    )


WHOLE = {
    "recordings/anthropic/finish_max_tokens_sonnet4.json": (
        "# The Last Song of Vaelthys",
        tokens(16, 10),
        Finished(FinishReason.LENGTH, "max_tokens"),
    ),
    "recordings/anthropic/prompt_cache_read_haiku45.json": ("OK", tokens(10 + 7351, 4, cached=7351), STOP),
    "recordings/anthropic/stop_sequence_sonnet5.json": (
        "Dogs are ",
        tokens(23, 7, reasoning=0),
        Finished(FinishReason.STOP, "stop_sequence"),
    ),
    "constructed/anthropic/refusal.json": (
        "This request triggered restrictions on violative cyber content and was blocked under Anthropic's"
        " Usage Policy.",
        tokens(18, 5),
        Finished(FinishReason.REFUSAL, "refusal"),
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_recorded_whole_message_gives_the_events_of_its_stream(shared_dir: Path, name: str) -> None:
    text, usage, finished = WHOLE[name]
    events = DIALECT.decode_reply((shared_dir / "wire" / name).read_bytes())
    assert isinstance(events[0], ResponseStarted)
    assert events[1:] == [TextDelta(text), UsageUpdate(usage), finished]


def test_recorded_models_are_listed_in_order(shared_dir: Path) -> None:
    body = (shared_dir / "wire/recordings/anthropic/models_list_2026_08.json").read_bytes()
    models = DIALECT.decode_models(body)
    assert len(models) == 11
    assert models[0] == "claude-opus-5"
    assert models[-1] == "claude-opus-4-1-20250805"


# ------------------------------------------------------------------ streams, line by line


def test_a_stream_is_handed_on_piece_by_piece_and_ends_with_finished() -> None:
    body = sse(
        {"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}},
        start(0, type="text", text=""),
        {"type": "ping"},
        delta(0, type="text_delta", text="Hel"),
        delta(0, type="text_delta", text=""),
        delta(0, type="text_delta", text="lo"),
        close(0),
        {**end(), "usage": {"output_tokens": 2}},
        MESSAGE_STOP,
    )
    assert decode([body]) == [
        UsageUpdate(Usage(3, 1)),
        TextDelta("Hel"),
        TextDelta("lo"),
        UsageUpdate(Usage(3, 2)),
        STOP,
    ]


def test_a_streams_finish_is_held_back_until_the_message_stops() -> None:
    decoder = DIALECT.decoder()
    assert decoder.feed(said("x") + sse(close(0), end())) == [TextDelta("x")]
    assert not decoder.done
    assert decoder.feed(sse(MESSAGE_STOP)) == [STOP]
    assert decoder.done


def test_nothing_comes_after_the_end() -> None:
    decoder = DIALECT.decoder()
    decoder.feed(sse(end(), MESSAGE_STOP))
    assert decoder.feed(said("more")) == []
    assert decoder.finish() == []


def test_a_stop_reason_without_message_stop_is_a_whole_answer() -> None:
    assert decode([said("x") + sse(end()) + b"event: message_st"])[-1] == STOP


def test_message_stop_without_a_stop_reason_is_truncated() -> None:
    last = decode([said("x") + sse(MESSAGE_STOP)])[-1]
    assert isinstance(last, Failure)
    assert last.kind is FailureKind.TRUNCATED


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("end_turn", FinishReason.STOP),
        ("stop_sequence", FinishReason.STOP),
        ("max_tokens", FinishReason.LENGTH),
        ("model_context_window_exceeded", FinishReason.LENGTH),
        ("tool_use", FinishReason.STOP),  # no call came, so none is waited for
        ("pause_turn", FinishReason.PAUSE),
        ("refusal", FinishReason.REFUSAL),
        ("something_new", FinishReason.OTHER),
    ],
)
def test_stop_reasons_have_names_of_ours(raw: str, reason: FinishReason) -> None:
    assert decode([sse(end(raw), MESSAGE_STOP)]) == [Finished(reason, raw)]


def test_the_reason_of_a_refusal_is_the_text_only_where_the_model_sent_none() -> None:
    refused = end("refusal", stop_details={"type": "refusal", "category": "bio", "explanation": "No."})
    finished = Finished(FinishReason.REFUSAL, "refusal")
    assert decode([sse(refused, MESSAGE_STOP)]) == [TextDelta("No."), finished]
    assert decode([said("I will not.") + sse(refused, MESSAGE_STOP)]) == [TextDelta("I will not."), finished]


def test_usage_is_laid_over_and_counts_the_cache_as_input() -> None:
    first = {"input_tokens": 5, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 100}
    events = decode(
        [
            sse(
                {"type": "message_start", "message": {"usage": {**first, "output_tokens": 1}}},
                {**end(), "usage": {"output_tokens": 9, "cache_read_input_tokens": None}},
                {**end(), "usage": {"output_tokens": 9}},
                {**end(), "usage": {"output_tokens_details": {"thinking_tokens": 4}}},
                MESSAGE_STOP,
            )
        ]
    )
    snapshots = [event.usage for event in events if isinstance(event, UsageUpdate)]
    assert snapshots == [
        Usage(125, 1, 126, 100, 20),
        Usage(125, 9, 134, 100, 20),
        Usage(125, 9, 134, 100, 20, 4),
    ]


def test_usage_that_cannot_be_read_is_no_reason_to_fail_an_answer() -> None:
    body = sse({**end(), "usage": {"input_tokens": "many", "output_tokens": -1}}, MESSAGE_STOP)
    assert decode([body]) == [STOP]
    assert decode([sse({**end(), "usage": "?"}, MESSAGE_STOP)]) == [STOP]


def test_thinking_is_sealed_by_its_signature_when_the_block_closes() -> None:
    body = sse(
        start(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="hm"),
        delta(0, type="signature_delta", signature="sig"),
        close(0),
        start(1, type="thinking", thinking="", signature=""),  # thinking left out, signature kept
        delta(1, type="signature_delta", signature="sig2"),
        close(1),
        start(2, type="redacted_thinking", data="opaque"),
        close(2),
        start(3, type="text", text="so"),
        end(),
        MESSAGE_STOP,
    )
    events = decode([body])
    assert events == [
        ReasoningDelta("hm"),
        ReasoningSeal(signature="sig"),
        ReasoningSeal(signature="sig2"),
        ReasoningSeal(encrypted="opaque"),
        TextDelta("so"),
        STOP,
    ]
    built = ReplyBuilder("anthropic/m")
    built.add_all(events)
    assert built.message().parts == (
        Reasoning("hm", signature="sig", origin="anthropic/m"),
        Reasoning("", signature="sig2", origin="anthropic/m"),
        Reasoning("", encrypted="opaque", origin="anthropic/m"),
        Text("so"),
    )


def test_calls_are_numbered_as_they_appear_and_blocks_may_interleave() -> None:
    body = sse(
        start(4, type="tool_use", id="a", name="one", input={}),
        start(7, type="tool_use", id="b", name="two", input={}),
        delta(7, type="input_json_delta", partial_json='{"y":'),
        delta(4, type="input_json_delta", partial_json='{"x":1}'),
        delta(7, type="input_json_delta", partial_json="2}"),
        close(4),
        close(7),
        end("tool_use"),
        MESSAGE_STOP,
    )
    assert decode([body]) == [
        ToolCallDelta(0, "", "a", "one"),
        ToolCallDelta(1, "", "b", "two"),
        ToolCallDelta(1, '{"y":'),
        ToolCallDelta(0, '{"x":1}'),
        ToolCallDelta(1, "2}"),
        TOOL_CALLS,
    ]


@pytest.mark.parametrize(
    ("block", "id", "arguments"),
    [
        ({"id": "a", "name": "f", "input": {}}, "a", "{}"),
        ({"id": "a", "name": "f", "input": None}, "a", "{}"),
        ({"id": "a", "name": "f", "input": {"ü": [1, 2]}}, "a", '{"ü":[1,2]}'),
        ({"name": "f"}, "call_0", "{}"),
    ],
)
def test_a_call_without_pieces_has_the_arguments_it_began_with(
    block: dict[str, Any], id: str, arguments: str
) -> None:
    pieces = [delta(0, type="input_json_delta", partial_json="")]
    for closed in ([close(0)], []):  # the end of the message closes what is open
        body = sse(start(0, type="tool_use", **block), *pieces, *closed, end("tool_use"), MESSAGE_STOP)
        assert decode([body]) == [ToolCallDelta(0, "", id, "f"), ToolCallDelta(0, arguments), TOOL_CALLS]


def test_what_is_unknown_is_skipped() -> None:
    body = (
        b"event: heartbeat\ndata: not even json\n\n"
        b"event: ping\ndata:\n\n"
        b'data: {"type":"from_the_future"}\n\n'
        + sse(
            start(0),
            delta(0, type="text_delta", text="what is it"),
            close(0),
            start(2, type="hologram"),
            delta(2, type="text_delta", text="not for us"),
            close(2),
            start(3, type="text", text=""),
            delta(3, type="shimmer_delta", shimmer=1),
            delta(3, type="text_delta", text="hi"),
            close(3),
            close(99),
            end(),
            MESSAGE_STOP,
        )
    )
    assert decode([body]) == [TextDelta("hi"), STOP]


def test_blocks_only_the_provider_understands_are_kept_whole_in_their_place() -> None:
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "Köln"}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"url": "u"}]}
    listed = {"type": "mcp_tool_use", "id": "m", "name": "list", "input": {}}
    hologram = {"type": "hologram", "depth": 3}
    body = sse(
        start(0, **{**search, "input": {}}),
        *(delta(0, type="input_json_delta", partial_json=piece) for piece in ("", '{"query":', '"Köln"}')),
        close(0),
        start(1, **found),
        close(1),
        start(2, type="text", text=""),
        delta(2, type="text_delta", text="hi"),
        close(2),
        start(3, **listed),
        close(3),
        start(4, **hologram),
        close(4),
        start(5, type="compaction", content=None),
        delta(5, type="compaction_delta", content="so far", encrypted_content="E"),
        close(5),
        end("pause_turn"),
        MESSAGE_STOP,
    )
    compaction = {"type": "compaction", "content": "so far", "encrypted_content": "E"}
    assert decode([body]) == [
        WholePart(Opaque("server_tool_use", compact(search))),
        WholePart(Opaque("web_search_tool_result", compact(found))),
        TextDelta("hi"),
        WholePart(Opaque("mcp_tool_use", compact(listed))),
        WholePart(Opaque("hologram", compact(hologram))),
        WholePart(Opaque("compaction", compact(compaction))),
        Finished(FinishReason.PAUSE, "pause_turn"),
    ]


def test_the_call_of_a_servers_tool_whose_input_was_cut_is_passed_over() -> None:
    body = sse(
        start(0, type="server_tool_use", id="s", name="web_search", input={}),
        delta(0, type="input_json_delta", partial_json='{"query":"Kö'),
        close(0),
        end("max_tokens"),
        MESSAGE_STOP,
    )
    assert decode([body]) == [Finished(FinishReason.LENGTH, "max_tokens")]


@pytest.mark.slow
def test_the_input_of_a_servers_tool_does_not_grow_for_ever() -> None:
    decoder = DIALECT.decoder()
    events = decoder.feed(sse(start(0, type="server_tool_use", id="s", name="f", input={})))
    piece = sse(delta(0, type="input_json_delta", partial_json="x" * (EVENT_LIMIT // 4)))
    for _ in range(5):
        events += decoder.feed(piece)
    assert decoder.done
    [failure] = events
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.PROTOCOL


def test_recorded_blocks_of_a_servers_tool_go_back_as_they_came(shared_dir: Path) -> None:
    body = (shared_dir / "wire/recordings/anthropic/stream_server_tool_web_search.sse").read_bytes()
    payloads = [json.loads(line[5:]) for line in body.splitlines() if line.startswith(b"data:")]
    search, found = [p["content_block"] for p in payloads if p["type"] == "content_block_start"][:2]
    query = "".join(p["delta"]["partial_json"] for p in payloads if "partial_json" in p.get("delta", {}))
    built = ReplyBuilder("anthropic/claude")
    built.add_all(decode([body]))
    kinds = [part.type if isinstance(part, Opaque) else type(part) for part in built.message().parts]
    assert kinds == ["server_tool_use", "web_search_tool_result", *[Text, "citations"] * 9, Text]
    request = ChatRequest(messages=(user("What is new?"), built.message(), user("And else?")))
    sent = json.loads(DIALECT.encode(request, "anthropic", "claude").body or b"")
    called, result, *texts = sent["messages"][1]["content"]
    assert (called, result) == ({**search, "input": json.loads(query)}, found)
    assert "".join(block["text"] for block in texts) == built.text
    cited = [delta["citation"] for p in payloads if "citation" in (delta := p.get("delta", {}))]
    assert [one for block in texts for one in block.get("citations", ())] == cited


def test_event_names_may_be_missing() -> None:
    body = said("hi") + sse(close(0), end(), MESSAGE_STOP)
    nameless = b"\n".join(line for line in body.split(b"\n") if not line.startswith(b"event:"))
    assert decode([nameless]) == [TextDelta("hi"), STOP]


@pytest.mark.parametrize(
    "error",
    [
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
        b'event: error\ndata: {"error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
        b'data: {"error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
    ],
)
@pytest.mark.parametrize("before", [b"", said("x"), said("x") + sse(close(0), end())])
def test_an_error_ends_the_stream_wherever_it_comes(before: bytes, error: bytes) -> None:
    *content, last = decode([before + error + sse(MESSAGE_STOP)])
    assert content == ([TextDelta("x")] if before else [])
    assert isinstance(last, Failure)
    assert (last.kind, last.message, last.phase) == (FailureKind.OVERLOADED, "Overloaded", "stream")


@pytest.mark.parametrize(
    "broken",
    [
        b"event: message_delta\ndata: {nope\n\n",
        b"event: message_delta\ndata: [1]\n\n",
        b'event: message_delta\ndata: {"type":["message_delta"]}\n\n',
        b"event: message_delta\ndata: " + b"[" * 100_000 + b"\n\n",
        sse({"type": "message_start"}),
        sse({"type": "message_delta", "delta": None}),
        sse(end(7)),  # type: ignore[arg-type]
        sse({"type": "content_block_start", "index": 0}),
        sse({"type": "content_block_start", "content_block": {"type": "text"}}),
        sse(start(0, type="text", text=["a"])),
        sse(start(0, type="text", citations={})),
        sse(start(0, type="tool_use", id="a")),
        sse(start(0, type="tool_use", id=1, name="f")),
        sse(delta(0, type="text_delta", text=["from nowhere"])),
        sse(delta(0, type="input_json_delta", partial_json="{}")),
        said("") + sse(delta(0, type="text_delta", text={"a": 1})),
        said("") + sse(delta(0, type="citations_delta")),
        said("") + sse({"type": "content_block_delta", "index": 0, "delta": "x"}),
    ],
)
def test_a_wrong_shape_is_a_protocol_failure_that_quotes_nothing_long(broken: bytes) -> None:
    assert_broken(decode([said("before") + sse(close(0)) + broken + sse(MESSAGE_STOP)]), TextDelta("before"))


def test_an_endless_event_fails_without_being_kept() -> None:
    assert_bounded(DIALECT, said("a") + b"event: content_block_delta\ndata: ", TextDelta("a"))


FIELDS = ("index", "content_block", "delta", "message", "usage", "error", "text", "input", "citations")
KINDS = ("text", "thinking", "redacted_thinking", "tool_use", "text_delta", "input_json_delta")
BLOCKS = st.fixed_dictionaries({"type": st.sampled_from(KINDS) | JSON}, optional=dict.fromkeys(FIELDS, JSON))
PAYLOADS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            (
                "message_start",
                "content_block_start",
                "content_block_delta",
                "content_block_stop",
                "message_delta",
                "message_stop",
            )
        )
    },
    optional={name: st.integers(0, 1) | BLOCKS | JSON for name in FIELDS},
)


@pytest.mark.slow
@given(st.lists(PAYLOADS, max_size=6))
def test_no_shape_of_json_is_a_surprise(payloads: list[dict[str, Any]]) -> None:
    body = "".join(f"event: {p['type']}\ndata: {json.dumps(p)}\n\n" for p in payloads).encode()
    assert decode([body]) == decode(bytewise(body))


@given(st.binary(max_size=300))
def test_no_bytes_are_a_surprise(body: bytes) -> None:
    assert isinstance(decode([body])[-1], Failure)
    assert isinstance(DIALECT.decode_reply(body)[-1], Failure)


# ------------------------------------------------------------------ whole messages


SEARCHES = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}}


def test_a_whole_message_folds_into_what_its_stream_folds_into() -> None:
    whole = {
        "type": "message",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "redacted_thinking", "data": "opaque"},
            {
                "type": "text",
                "text": "see",
                "citations": [{"type": "page_location", "cited_text": "p", "document_index": 2}],
            },
            SEARCHES,
            {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
            {"type": "tool_use", "id": "b", "name": "g", "input": {}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }
    events = DIALECT.decode_reply(json.dumps(whole).encode())
    built = ReplyBuilder()
    built.add_all(events)
    assert built.message().parts == (
        Reasoning("hm", signature="sig"),
        Reasoning("", encrypted="opaque"),
        Text("see"),
        Opaque("server_tool_use", compact(SEARCHES)),
        ToolCall("a", "f", '{"x":1}'),
        ToolCall("b", "g", "{}"),
    )
    assert CitationDelta(None, None, "p", ("document 2",)) in events
    assert events[-2:] == [UsageUpdate(Usage(1, 2)), TOOL_CALLS]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", FailureKind.PROTOCOL),
        (b"<html>", FailureKind.PROTOCOL),
        (b"\xff\xfe", FailureKind.PROTOCOL),
        (b"[]", FailureKind.PROTOCOL),
        (b"{}", FailureKind.PROTOCOL),
        (b'{"content":"x"}', FailureKind.PROTOCOL),
        (b'{"content":[5],"stop_reason":"end_turn"}', FailureKind.PROTOCOL),
        (b'{"content":[]}', FailureKind.TRUNCATED),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}', FailureKind.OVERLOADED),
    ],
)
def test_a_body_that_is_no_message_is_a_failure(body: bytes, kind: FailureKind) -> None:
    last = DIALECT.decode_reply(body)[-1]
    assert isinstance(last, Failure)
    assert last.kind is kind


@pytest.mark.parametrize("body", [b"no", b"{}", b'{"data":5}', b'{"data":[5]}', b'{"data":[{"id":5}]}'])
def test_a_body_that_lists_no_models_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"no list at data|without 'id'|is no string"):
        DIALECT.decode_models(body)


# ------------------------------------------------------------------ and back


@pytest.mark.parametrize("name", [name for name in HEARD if name.startswith("recordings")])
def test_a_recorded_answer_goes_back_block_by_block_as_it_came(shared_dir: Path, name: str) -> None:
    body = (shared_dir / "wire" / name).read_bytes()
    built = ReplyBuilder(f"anthropic/{HAIKU}")
    built.add_all(decode([body]))
    request = ChatRequest(messages=(user("q"), built.message(), user("next")))
    sent_body = json.loads(DIALECT.encode(request, "anthropic", HAIKU).body or b"")
    content = sent_body["messages"][1]["content"]

    assert "".join(b["text"] for b in content if b["type"] == "text") == built.text.removeprefix("\n\n")
    assert "".join(b["thinking"] for b in content if b["type"] == "thinking") == built.reasoning
    expected = HEARD[name]
    assert tuple(len(b["signature"]) for b in content if b["type"] == "thinking") == tuple(
        length for _, length in expected.signatures
    )
    assert tuple(b["data"] for b in content if b["type"] == "redacted_thinking") == expected.encrypted
    sent = [(b["id"], b["name"], b["input"]) for b in content if b["type"] == "tool_use"]
    assert sent == [(call.id, call.name, call.parsed()) for call in expected.calls]
