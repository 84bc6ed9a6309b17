"""What every dialect promises, as a check that any test can call: `check_dialect(dialect, streamed_bodies)`.

The gateway trusts a decoder blindly: whether an answer was whole, whether a failover is invisible and what is
billed all follow from its events. So a dialect, ours or a user's own, is one that passes this. Needs no pytest; a
broken promise is an AssertionError that says what is required and shows the bytes that break it.
"""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterable, Sequence

from ..events import (
    Finished,
    ReasoningDelta,
    ReplyBuilder,
    ResponseStarted,
    TextDelta,
    ToolCallDelta,
    UsageUpdate,
    WholePart,
    WireEvent,
)
from ..failures import Failure, FailureKind
from ..messages import ChatRequest, Message, Opaque
from . import conformance_bodies as bodies
from .codec import EVENT_LIMIT, Decoder, Dialect, compact

CUT_KINDS = (FailureKind.TRUNCATED, FailureKind.PROTOCOL)

KEPT_LIMIT = 1024 * 1024
"""Bytes a decoder may hold on to after it gave up."""


def check_dialect(
    dialect: Dialect, streamed_bodies: Sequence[bytes], whole_bodies: Sequence[bytes] = ()
) -> None:
    """Check all promises on the given answers. Keep the bodies small: each is decoded thousands of times.

    `whole_bodies[i]`, where given, is the answer of `streamed_bodies[i]` as the server sends it without
    streaming. Raises AssertionError at the first promise that does not hold.
    """
    check_encoding(dialect)
    for body in streamed_bodies:
        check_stream(dialect, body)
        check_replay(dialect, body)
    for body in whole_bodies:
        check_whole(dialect, body)
    for streamed, whole in zip(streamed_bodies, whole_bodies, strict=False):
        check_twins(dialect, streamed, whole)
    check_garbage(dialect)
    check_memory(dialect)


def check_encoding(dialect: Dialect) -> None:
    """A plain request becomes a POST of JSON, with the caller's extra_body on top."""
    _require(bool(dialect.name), "a dialect has a name", b"")
    for stream in (True, False):
        request = ChatRequest(
            messages=(Message("user", "Hi"),), extra_body={"unheard_of": [stream]}, stream=stream
        )
        http = dialect.encode(request, "a-provider", "some-model")
        _require(http.method == "POST" and http.path.startswith("/"), "a request is a POST to a path", b"")
        body = json.loads(http.body or b"null")
        _require(
            isinstance(body, dict) and body.get("unheard_of") == [stream],
            "extra_body is laid over the body",
            http.body or b"",
        )


def check_stream(dialect: Dialect, body: bytes) -> None:
    """One streamed answer: any slicing, any cut, anything unknown in between."""
    expected = decode(dialect.decoder(), [body])
    check_grammar(expected, body)
    for slices in bodies.slicings(body):
        _require(decode(dialect.decoder(), slices) == expected, "any slicing gives the same events", slices)
    for changed in (bodies.with_unknown_fields(body), bodies.with_unknown_events(body)):
        survived = [_without_unknown(event) for event in decode(dialect.decoder(), [changed])]
        _require(survived == expected, "unknown events and fields are survived", changed)
    check_cuts(dialect, body, expected)
    for changed in bodies.with_wrong_shapes(body):
        check_grammar(decode(dialect.decoder(), [changed]), changed)


def check_grammar(events: Sequence[WireEvent], body: bytes) -> None:
    """Content, then exactly one Finished or Failure; tool calls numbered as they appear; nothing empty."""
    ends = [event for event in events if isinstance(event, Finished | Failure)]
    _require(len(ends) == 1, f"there is exactly one Finished or Failure, not {len(ends)}", body)
    _require(events[-1] is ends[0], "Finished or Failure is the last event", body)
    calls = 0
    usage: UsageUpdate | None = None
    for event in events:
        match event:
            case TextDelta(text) | ReasoningDelta(text):
                _require(text != "", "an empty delta is no event", body)
            case ToolCallDelta(index=index, id=call_id, name=name):
                _require(index <= calls, "tool calls are numbered 0, 1, 2 … as they appear", body)
                if index == calls:
                    _require(bool(call_id) and name is not None, "a call begins with id and name", body)
                    calls += 1
            case ResponseStarted(response_id, model):
                _require(bool(response_id or model), "a ResponseStarted has an id or a model", body)
            case UsageUpdate():
                _require(event != usage, "a UsageUpdate has something new", body)
                usage = event
            case WholePart(Opaque(kind) as part):
                _require(
                    bool(kind) and part.origin is None, "an opaque block has a type, and no origin", body
                )
                _require(isinstance(json.loads(part.data), dict), "an opaque block is a JSON object", body)
            case _:
                pass


def check_replay(dialect: Dialect, body: bytes) -> None:
    """Blocks only the provider understands go back to it as they came, in their order, and to no other provider."""
    builder = ReplyBuilder("a-provider/some-model")
    builder.add_all(decode(dialect.decoder(), [body]))
    message = builder.message()
    blocks = [part.parsed() for part in message.parts if isinstance(part, Opaque)]
    request = ChatRequest(messages=(Message("user", "Hi"), message))
    for provider, expected in (("a-provider", blocks), ("another-provider", [])) if blocks else ():
        sent = json.loads(dialect.encode(request, provider, "some-model").body or b"null")
        found = [block for block in bodies.objects(sent) if block in blocks]
        _require(found == expected, f"{provider} is sent {expected}, not {found}", body)


def check_cuts(dialect: Dialect, body: bytes, expected: Sequence[WireEvent]) -> None:
    """Cut anywhere, an answer gives the beginning of its events, and Finished comes only at its end."""
    kinds = {*CUT_KINDS, *(event.kind for event in expected if isinstance(event, Failure))}
    finished = False
    for cut in bodies.cuts(body):
        events = decode(dialect.decoder(), [body[:cut]])
        check_grammar(events, body[:cut])
        came, last = events[:-1], events[-1]
        _require(
            came == list(expected[: len(came)]), "a cut stream gives a beginning of the events", body[:cut]
        )
        if isinstance(last, Failure):
            _require(not finished, "a stream that was whole stays whole when more arrives", body[:cut])
            _require(last.kind in kinds, f"a cut stream is truncated, not {last.kind.value}", body[:cut])
        else:
            finished = True
            missing = [
                event for event in expected[len(came) :] if not isinstance(event, UsageUpdate | Finished)
            ]
            _require(
                not missing or isinstance(expected[-1], Failure),
                "Finished comes after all content",
                body[:cut],
            )


def check_whole(dialect: Dialect, body: bytes) -> None:
    """An answer that is not streamed: whole or a Failure, whatever is wrong with it."""
    check_grammar(dialect.decode_reply(body), body)
    for cut in bodies.cuts(body.rstrip()):
        events = dialect.decode_reply(body[:cut])
        _require(
            len(events) == 1 and isinstance(events[0], Failure), "half a reply is one Failure", body[:cut]
        )
    for changed in bodies.with_wrong_shapes(body):
        check_grammar(dialect.decode_reply(changed), changed)


def check_twins(dialect: Dialect, streamed: bytes, whole: bytes) -> None:
    """The same answer streamed and whole folds into the same reply."""
    folds = []
    for events in (decode(dialect.decoder(), [streamed]), dialect.decode_reply(whole)):
        builder = ReplyBuilder("a-provider/some-model")
        builder.add_all(events)
        folds.append((builder.message(), builder.usage, builder.finish))
    _require(folds[0] == folds[1], f"streamed and whole fold alike: {folds[0]} is not {folds[1]}", streamed)


def check_garbage(dialect: Dialect) -> None:
    """Nothing a server sends raises from a decoder, and nothing but an answer becomes one."""
    for body in (b"", *bodies.GARBAGE):
        for slices in ([body], [body[:7], body[7:]]):
            events = decode(dialect.decoder(), slices)
            _require(len(events) == 1 and isinstance(events[0], Failure), "garbage is one Failure", body)
        events = dialect.decode_reply(body)
        _require(len(events) == 1 and isinstance(events[0], Failure), "garbage is one Failure", body)
        for read in (dialect.decode_embed, dialect.decode_models):
            _require_value_error(read, body)


def check_memory(dialect: Dialect) -> None:
    """What has no end is refused on the way, and released."""
    chunk = b"x" * (EVENT_LIMIT // 32)
    for beginning in bodies.ENDLESS:
        tracemalloc.start()
        try:
            decoder = dialect.decoder()
            events = decoder.feed(beginning)
            for _ in range(EVENT_LIMIT // len(chunk) + 1):
                events += decoder.feed(chunk)
            kept, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        _require(
            decoder.done and len(events) == 1 and isinstance(events[0], Failure),
            f"an event over {EVENT_LIMIT:,} bytes is a Failure",
            beginning,
        )
        _require(kept <= KEPT_LIMIT, f"memory is released: {kept:,} bytes are kept", beginning)
        _require(peak <= 3 * EVENT_LIMIT, f"memory is bounded: {peak:,} bytes at the peak", beginning)


def check_linear_time(dialect: Dialect, cpu_seconds: Callable[[], float]) -> None:
    """Each byte is touched once: eight times as many, one by one, take about eight times as long.

    Apart from `check_dialect` because it needs a clock, such as `time.process_time`; a decoder that joins all it
    holds on every feed takes 64 times as long.
    """
    for beginning in bodies.ENDLESS:

        def spent(size: int, beginning: bytes = beginning) -> float:
            decoder, start = dialect.decoder(), cpu_seconds()
            decoder.feed(beginning)
            for _ in range(size):
                decoder.feed(b"x")
            return cpu_seconds() - start

        short = min(spent(10_000) for _ in range(3))
        long = min(spent(80_000) for _ in range(2))
        took = f"8 times the bytes took {long:.3f} s, one time {short:.3f} s"
        _require(long <= 24 * short, f"time is linear: {took}", beginning)


def decode(decoder: Decoder, slices: Iterable[bytes]) -> list[WireEvent]:
    """All events of an answer that arrives in these slices; checks what a decoder says about itself on the way."""
    events: list[WireEvent] = []
    for data in slices:
        events += decoder.feed(data)
        ended = bool(events) and isinstance(events[-1], Finished | Failure)
        _require(decoder.done == ended, "done is True from Finished or Failure on, and not before", data)
    events += decoder.finish()
    _require(decoder.done, "done is True after finish()", b"")
    after = [*decoder.feed(b"data: {}\n\n{}\n"), *decoder.finish()]
    _require(not after, "nothing comes after the end", b"")
    return events


def _without_unknown(event: WireEvent) -> WireEvent:
    """Remove fields that a test has added: an opaque block keeps unknown fields, by design."""
    if not (isinstance(event, WholePart) and isinstance(event.part, Opaque)):
        return event
    return WholePart(Opaque(event.part.type, compact(bodies.without_unknown(event.part.parsed()))))


def _require(holds: bool, promise: str, material: object) -> None:
    if not holds:
        raise AssertionError(f"required of a dialect: {promise}\nbroken by: {material!r:.2000}")


def _require_value_error(read: Callable[[bytes], object], body: bytes) -> None:
    try:
        read(body)
    except ValueError:
        return
    raise AssertionError(
        f"required of a dialect: a body that is no list raises ValueError\nbroken by: {body[:200]!r}"
    )
