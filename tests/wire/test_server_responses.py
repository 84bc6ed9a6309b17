"""What the server side renders, the decoder reads: the same events again, streamed and whole, and the same failures."""

import itertools
import json
import random
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import pytest
from test_server_requests import PLAIN, encode, received, server_of

from cortex_trio.events import (
    CitationDelta,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSeal,
    ReplyBuilder,
    ResponseStarted,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    WholePart,
    WireEvent,
)
from cortex_trio.failures import Failure, FailureKind, classify
from cortex_trio.messages import Image, Opaque
from cortex_trio.providers import PROVIDERS
from cortex_trio.wire.server import FrameKind, ParsedRequest, Preview

NAMES = sorted(PROVIDERS)
USAGE = Usage(100, 30, 130, cached_input_tokens=40, reasoning_tokens=10)
ENDS = (UsageUpdate(USAGE), Finished(FinishReason.STOP))
CALL_ENDS = (UsageUpdate(USAGE), Finished(FinishReason.TOOL_CALLS))
PNG = WholePart(Image(data=b"\x89PNG", media_type="image/png"))


def request_of(name: str, *, stream: bool = True, array: bool = False) -> ParsedRequest:
    options: dict[str, Any] = {}
    if name == "openai_responses":  # it hides reasoning from clients that do not ask for it
        options["extra_body"] = {"reasoning": {"summary": "auto"}}
    http = encode(name, attrs.evolve(PLAIN, stream=stream, **options))
    if array:
        http = attrs.evolve(http, path=http.path.replace("?alt=sse", ""))
    return server_of(name).parse(received(name, http))


def rendered(name: str, events: Iterable[StreamEvent], *, array: bool = False) -> bytes:
    renderer = server_of(name).renderer(request_of(name, array=array))
    frames = [*renderer.begin(), *(frame for event in events for frame in renderer.render(event))]
    return b"".join(frame.data for frame in frames)


def decoded(name: str, body: bytes) -> list[WireEvent]:
    decoder = PROVIDERS[name].dialect.decoder()
    return [*decoder.feed(body), *decoder.finish()]


def folded(events: Iterable[Any]) -> list[object]:
    """The content in order, neighbours of one kind joined, calls whole; and how it finished."""
    found: list[object] = []
    calls: dict[int, list[Any]] = {}
    for event in events:
        match event:
            case TextDelta(text) | ReasoningDelta(text):
                last = found[-1] if found else None
                if isinstance(last, tuple) and last[0] is type(event):
                    found[-1] = (type(event), last[1] + text)
                else:
                    found.append((type(event), text))
            case ToolCallDelta(index, arguments):
                if index not in calls:
                    calls[index] = [event.id, event.name, ""]
                    found.append(calls[index])
                calls[index][2] += arguments
            case UsageUpdate() | CitationDelta() | ResponseStarted():
                pass
            case Finished(reason):
                found.append(reason)
            case _:
                found.append(event)
    for call in calls.values():
        call[2] = json.dumps(json.loads(call[2] or "{}"))
    return found


def usage_of(events: Iterable[Any]) -> Usage:
    return [event.usage for event in events if isinstance(event, UsageUpdate)][-1]


# ------------------------------------------------------------------ streams

SHOWS_REASONING = sorted({*NAMES} - {"openai"})

STREAMS: dict[str, Sequence[StreamEvent]] = {
    "text": (TextDelta("Grüße, "), TextDelta("<b>&\u2028"), TextDelta("\nWelt "), *ENDS),
    "nothing": ENDS,
    "a call": (ToolCallDelta(0, "", "call_a", "now"), ToolCallDelta(0, "{}"), *CALL_ENDS),
    "text and calls": (
        TextDelta("I look."),
        ToolCallDelta(0, '{"city":', "call_a", "weather"),
        ToolCallDelta(0, '"Rome, the old one"}'),
        ToolCallDelta(1, '{"zone":"x"}', "call_b", "now"),
        *CALL_ENDS,
    ),
    "calls whose pieces are mixed": (
        ToolCallDelta(0, '{"city":', "call_a", "weather"),
        ToolCallDelta(1, '{"zone":', "call_b", "now"),
        ToolCallDelta(0, '"Rome"}'),
        ToolCallDelta(1, '"x"}'),
        *CALL_ENDS,
    ),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", STREAMS)
def test_a_stream_is_read_as_it_was_rendered(name: str, what: str) -> None:
    events = decoded(name, rendered(name, STREAMS[what]))
    assert folded(events) == folded(STREAMS[what])
    found = usage_of(events)
    assert (found.input_tokens, found.output_tokens, found.total_tokens) == (100, 30, 130)


@pytest.mark.parametrize("what", STREAMS)
def test_a_stream_of_gemini_may_be_an_array(what: str) -> None:
    body = rendered("gemini", STREAMS[what], array=True)
    assert isinstance(json.loads(body), list)
    assert folded(decoded("gemini", body)) == folded(STREAMS[what])


@pytest.mark.parametrize("name", SHOWS_REASONING)
@pytest.mark.parametrize(
    "thoughts", [("Hm", "."), ("One.\n\nTwo", ".\n\n", "\n\nThree"), ("\n\nEnd", "\n\n"), ("a\n", "\nb")]
)
def test_reasoning_is_read_as_it_was_rendered(name: str, thoughts: tuple[str, ...]) -> None:
    events = (*map(ReasoningDelta, thoughts), TextDelta("4"), *ENDS)
    found = [event for event in decoded(name, rendered(name, events)) if not isinstance(event, ReasoningSeal)]
    assert folded(found) == folded(events)


SEALED: dict[str, Sequence[StreamEvent]] = {
    "anthropic": (
        ReasoningDelta("Hm."),
        ReasoningSeal(signature="c2ln"),
        ReasoningSeal(encrypted="c2VjcmV0"),
        TextDelta("4"),
        *ENDS,
    ),
    "gemini": (ReasoningDelta("Hm."), ReasoningSeal(signature="c2ln"), TextDelta("4"), *ENDS),
}


@pytest.mark.parametrize("name", SEALED)
def test_a_seal_is_read_as_it_was_rendered(name: str) -> None:
    assert folded(decoded(name, rendered(name, SEALED[name]))) == folded(SEALED[name])


@pytest.mark.parametrize("name", ["openai_responses", "xai_responses"])
def test_encrypted_reasoning_is_read_as_it_was_rendered(name: str) -> None:
    seal = ReasoningSeal("rs_7", "gAAAAAB1")
    events = (ReasoningDelta("Hm."), seal, TextDelta("4"), *ENDS)
    renderer = server_of(name).renderer(request_of(name), Preview(seal=seal))
    frames = [*renderer.begin(), *(frame for event in events for frame in renderer.render(event))]
    assert folded(decoded(name, b"".join(frame.data for frame in frames))) == folded(events)


SEARCH = Opaque("web_search_call", '{"type":"web_search_call","id":"ws_1","action":{}}')
USE = Opaque("server_tool_use", '{"type":"server_tool_use","id":"srvtoolu_1","name":"x","input":{"a":"b c"}}')
PARTS: list[tuple[str, WholePart]] = [
    ("gemini", PNG),
    ("gemini", WholePart(Opaque("executableCode", '{"executableCode":{"code":"1"}}'))),
    ("openai_compatible", PNG),
    ("openai_responses", WholePart(SEARCH)),
    ("xai_responses", WholePart(SEARCH)),
    ("anthropic", WholePart(USE)),
]


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_a_whole_part_is_read_as_it_was_rendered(name: str, part: WholePart) -> None:
    events = (TextDelta("See"), part, *ENDS)
    found = folded(decoded(name, rendered(name, events)))
    kept = [one.part if isinstance(one, WholePart) else one for one in found]
    assert kept[0] == (TextDelta, "See")
    if isinstance(part.part, Opaque):
        assert isinstance(kept[1], Opaque)
        assert (kept[1].type, kept[1].parsed()) == (part.part.type, part.part.parsed())
    else:
        assert isinstance(kept[1], Image)
        assert kept[1].data == b"\x89PNG"


@pytest.mark.parametrize("name", ["openai_responses", "xai_responses"])
def test_an_image_of_a_response_keeps_the_item_it_came_in(name: str) -> None:
    first = next(one for one in decoded(name, rendered(name, (PNG, *ENDS))) if isinstance(one, WholePart))
    again = next(one for one in decoded(name, rendered(name, (first, *ENDS))) if isinstance(one, WholePart))
    assert again == first


FINISHES: dict[FinishReason, Sequence[str]] = {
    FinishReason.LENGTH: NAMES,
    FinishReason.OTHER: NAMES,
    FinishReason.CONTENT_FILTER: sorted({*NAMES} - {"anthropic", "ollama"}),
    FinishReason.PAUSE: ("anthropic",),
}


@pytest.mark.parametrize(
    ("name", "reason"), [(name, reason) for reason, names in FINISHES.items() for name in names]
)
def test_a_finish_reason_is_read_as_it_was_rendered(name: str, reason: FinishReason) -> None:
    events = (TextDelta("So"), UsageUpdate(USAGE), Finished(reason))
    assert folded(decoded(name, rendered(name, events)))[-1] is reason


@pytest.mark.parametrize("name", sorted({*NAMES} - {"ollama"}))
@pytest.mark.parametrize("late", [False, True], ids=["beside the text", "behind a call"])
def test_a_citation_names_its_source(name: str, late: bool) -> None:
    citation = CitationDelta(0, 5, "Hello", ("https://example.org/a",))
    call = (ToolCallDelta(0, '{"a":1}', "call_a", "now"),) if late else ()
    events = (TextDelta("Hello"), *call, citation, *(CALL_ENDS if late else ENDS))
    found = decoded(name, rendered(name, events))
    assert isinstance(found[-1], Finished)
    sources = [event.sources for event in found if isinstance(event, CitationDelta)]
    has_no_place = late and name in ("openai_responses", "xai_responses")  # its message has ended
    assert sources == ([] if has_no_place else [("https://example.org/a",)])


# ------------------------------------------------------------------ at random


def random_events(chance: random.Random, *, reasoning: bool) -> list[StreamEvent]:
    """Reasoning, text and calls, cut into pieces anywhere."""
    events: list[StreamEvent] = []
    if reasoning and chance.random() < 0.5:
        events += map(ReasoningDelta, pieces(chance, "First one, then\n\nthe other.\n"))
    if chance.random() < 0.7:
        events += map(TextDelta, pieces(chance, 'Text with "quotes", <tags> & \u2028 ⟦marks⟧ 😀.'))
    calls = [
        [ToolCallDelta(index, "", f"call_{index}", f"tool_{index}")]
        + [ToolCallDelta(index, piece) for piece in pieces(chance, '{"a":"b c","d":[1,{"e":null}]}')]
        for index in range(chance.choice((0, 0, 1, 2, 3)))
    ]
    if chance.random() < 0.5:
        events += itertools.chain.from_iterable(calls)
    else:
        events += [one for row in itertools.zip_longest(*calls) for one in row if one is not None]
    return [*events, *(CALL_ENDS if calls else ENDS)]


def pieces(chance: random.Random, text: str) -> list[str]:
    cuts = sorted({0, len(text), *(chance.randrange(1, len(text)) for _ in range(chance.randrange(5)))})
    return [text[start:end] for start, end in itertools.pairwise(cuts)]


@pytest.mark.parametrize("name", NAMES)
def test_random_streams_are_read_as_they_were_rendered(name: str) -> None:
    chance = random.Random(name)
    for _ in range(100):
        events = random_events(chance, reasoning=name != "openai")
        found = [one for one in decoded(name, rendered(name, events)) if not isinstance(one, ReasoningSeal)]
        assert folded(found) == folded(events)


@pytest.mark.parametrize("name", NAMES)
def test_random_whole_answers_are_read_as_they_were_rendered(name: str) -> None:
    chance = random.Random(name)
    for _ in range(100):
        events = random_events(chance, reasoning=name != "openai")
        builder = ReplyBuilder()
        builder.add_all(events)
        reply = builder.reply(worker="w", provider="p", model="m", attempts=())
        body = server_of(name).render_reply(request_of(name, stream=False), reply)
        again = ReplyBuilder()
        again.add_all(PROVIDERS[name].dialect.decode_reply(body))
        assert (again.text, again.reasoning) == (reply.text, reply.reasoning)
        assert [(c.id, c.name, c.parsed()) for c in again.tool_calls] == [
            (c.id, c.name, c.parsed()) for c in reply.tool_calls
        ]
        assert again.finish is not None
        assert again.finish.reason is reply.finish_reason
        assert again.usage.total_tokens == 130


# ------------------------------------------------------------------ failures

SAID = [kind for kind in FailureKind if kind.name in ["CONTEXT_LENGTH", "QUOTA", "OVERLOADED", "SERVER"]]


@pytest.mark.parametrize("kind", SAID, ids=lambda kind: kind.value)
@pytest.mark.parametrize("name", NAMES)
def test_a_failure_inside_a_stream_is_read_as_that_kind(name: str, kind: FailureKind) -> None:
    renderer = server_of(name).renderer(request_of(name))
    frames = [*renderer.begin(), *renderer.render(TextDelta("a"))]
    events = decoded(name, b"".join(frame.data for frame in frames) + renderer.fail(kind))
    assert folded(events)[0] == (TextDelta, "a")
    assert isinstance(events[-1], Failure)
    assert events[-1].kind is kind


@pytest.mark.parametrize("kind", FailureKind, ids=lambda kind: kind.value)
@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_failure_has_an_error_and_ends_a_stream(name: str, kind: FailureKind) -> None:
    """Kinds that no provider answers with, such as a stall, are server errors."""
    server, request = server_of(name), request_of(name)
    text = "no worker available: openai: cooling down"
    response = server.failure(kind, request, message=text)
    assert text in response.body.decode() or (name, kind) == ("gemini", FailureKind.CONTENT_POLICY)
    assert isinstance(classify(response.status, response.headers, response.body), Failure)
    renderer = server.renderer(request)
    frames = [*renderer.begin(), *renderer.render(TextDelta("a"))]
    body = b"".join(frame.data for frame in frames) + renderer.fail(kind, message=text)
    events = decoded(name, body)
    assert isinstance(events[-1], Failure)
    assert not any(isinstance(event, Finished) for event in events)


def test_an_array_of_gemini_can_fail_before_its_first_element() -> None:
    renderer = server_of("gemini").renderer(request_of("gemini", array=True))
    events = decoded("gemini", renderer.fail(FailureKind.OVERLOADED))
    assert [event.kind for event in events if isinstance(event, Failure)] == [FailureKind.OVERLOADED]


@pytest.mark.parametrize("name", ["openai_responses", "xai_responses"])
def test_numbers_of_events_go_on_where_a_response_fails(name: str) -> None:
    renderer = server_of(name).renderer(request_of(name))
    frames = [*renderer.begin(), *renderer.render(TextDelta("a"))]
    body = b"".join(frame.data for frame in frames) + renderer.fail(FailureKind.SERVER)
    data = [line.removeprefix(b"data: ") for line in body.split(b"\n") if line.startswith(b"data: ")]
    numbers = [json.loads(event)["sequence_number"] for event in data]
    assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize("name", NAMES)
def test_only_content_is_a_content_frame(name: str) -> None:
    """The first is the point from which a failure is visible to the client."""
    renderer = server_of(name).renderer(request_of(name))
    assert all(frame.kind is FrameKind.OPENING for frame in renderer.begin())
    kinds = [frame.kind for frame in renderer.render(TextDelta("a"))]
    assert kinds[-1] is FrameKind.CONTENT
    kinds = [frame.kind for event in ENDS for frame in renderer.render(event)]
    assert FrameKind.FINISH in kinds
    assert FrameKind.CONTENT not in kinds
