"""How the tests of a dialect read an answer: in any slices, and what a reader finds in a recorded one."""

from collections.abc import Iterable, Iterator
from typing import Any

import attrs
from hypothesis import strategies as st

from cortex_trio.events import Finished, ReasoningDelta, ReplyBuilder, TextDelta, Usage, WireEvent
from cortex_trio.failures import Failure, FailureKind
from cortex_trio.wire import conformance
from cortex_trio.wire.codec import EVENT_LIMIT, Dialect


def heard(dialect: Dialect, chunks: Iterable[bytes]) -> list[WireEvent]:
    """The events of an answer that comes in these chunks; the end is the last of them, and said once."""
    events = conformance.decode(dialect.decoder(), chunks)
    assert [event for event in events if isinstance(event, Finished | Failure)] == events[-1:]
    return events


def bytewise(body: bytes) -> Iterator[bytes]:
    return (body[at : at + 1] for at in range(len(body)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def assert_broken(events: list[WireEvent], *before: WireEvent) -> None:
    """What came before still counts; the failure behind it says what is wrong and quotes nothing long."""
    *content, last = events
    assert content == [*before]
    assert isinstance(last, Failure)
    assert last.kind is FailureKind.PROTOCOL
    assert len(last.message) < 120


def assert_bounded(dialect: Dialect, beginning: bytes, said: WireEvent) -> None:
    """`beginning` says one thing and then opens what never ends: it is refused on the way."""
    decoder = dialect.decoder()
    chunk = b"x" * 65536
    events, fed = decoder.feed(beginning), 0
    while not decoder.done:
        events += decoder.feed(chunk)
        fed += len(chunk)
    assert_broken(events, said)
    assert fed <= EVENT_LIMIT + 2 * len(chunk)


def folded(events: Iterable[WireEvent], origin: str | None = None) -> ReplyBuilder:
    builder = ReplyBuilder(origin)
    builder.add_all(events)
    return builder


@attrs.frozen
class Heard:
    """What a reader finds in a recorded answer. Texts by their beginning, end and length; the dialects add the rest."""

    finish: Finished | FailureKind
    usage: Usage = attrs.field(factory=Usage)
    pieces: int = 0  # deltas with text or thinking in them
    text: tuple[str, str, int] = ("", "", 0)
    reasoning: tuple[str, str, int] = ("", "", 0)

    def check(self, events: list[WireEvent]) -> ReplyBuilder:
        """Compare, and return what the events fold into."""
        reply = folded(events)
        last = events[-1]
        assert (last.kind if isinstance(last, Failure) else last) == self.finish
        assert reply.usage == self.usage
        assert sum(isinstance(event, TextDelta | ReasoningDelta) for event in events) == self.pieces
        for whole, (begin, end, length) in ((reply.text, self.text), (reply.reasoning, self.reasoning)):
            assert (whole[: len(begin)], whole[len(whole) - len(end) :], len(whole)) == (begin, end, length)
        return reply


@attrs.frozen
class Recording:
    """A recorded (or constructed) body and what is known of the exchange it came from."""

    body: bytes
    meta: dict[str, Any]

    @property
    def request(self) -> dict[str, Any]:
        found: dict[str, Any] = self.meta["request_body"]
        return found

    def slicings(self) -> Iterator[list[bytes]]:
        """Whole, byte by byte, and as it came from the network where that was recorded."""
        yield [self.body]
        yield [*bytewise(self.body)]
        lengths = self.meta.get("network_chunk_lengths", [])
        ends = [sum(lengths[: place + 1]) for place in range(len(lengths))]
        if ends:
            assert ends[-1] == len(self.body)
            yield [self.body[start:end] for start, end in zip([0, *ends], ends, strict=False)]
