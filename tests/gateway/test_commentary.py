"""Commentary is apart from the answer, and is the answer where there is nothing else."""

from collections.abc import Sequence

import pytest

from cortex_trio.events import ReplyBuilder, Restarted, StreamEvent, TextDelta
from cortex_trio.failures import Failure, FailureKind
from cortex_trio.gateway.request.text import TextPieces

REMARK, ANSWER = TextDelta("I look it up. ", phase="commentary"), TextDelta("It rains.", phase="final_answer")
AGAIN = Restarted(Failure(FailureKind.TRUNCATED, "cut"), "second")

CASES: dict[str, tuple[Sequence[StreamEvent], list[str]]] = {
    "both": ((REMARK, ANSWER), ["It rains."]),
    "a remark between": ((ANSWER, REMARK), ["It rains."]),
    "a remark only, in two pieces": ((REMARK, REMARK), ["I look it up. I look it up. "]),
    "nothing": ((), []),
    "a new answer of a remark only": ((ANSWER, AGAIN, REMARK), ["It rains.", "I look it up. "]),
    "a remark before a new answer": ((REMARK, AGAIN, ANSWER), ["It rains."]),
}


class Events:
    """An answer of these events."""

    def __init__(self, events: Sequence[StreamEvent]) -> None:
        self._events = iter(events)

    def __aiter__(self) -> "Events":
        return self

    async def __anext__(self) -> StreamEvent:
        for event in self._events:
            return event
        raise StopAsyncIteration


@pytest.mark.parametrize(("events", "pieces"), CASES.values(), ids=CASES)
async def test_text_is_the_answer_or_else_the_commentary(
    events: Sequence[StreamEvent], pieces: list[str]
) -> None:
    assert [piece async for piece in TextPieces(Events(events))] == pieces
    builder = ReplyBuilder()
    builder.add_all(events)
    text = pieces[-1] if pieces else ""
    assert builder.text == text
    assert builder.message().text == text
