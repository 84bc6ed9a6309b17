"""Characters that a provider has cut in two are whole again, and what cannot be written never passes."""

import pytest

from cortex_trio.events import (
    Finished,
    FinishReason,
    Forwarded,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    WireEvent,
)
from cortex_trio.gateway.request.surrogates import SurrogatePairs

FIRST, SECOND = "\ud83d", "\ude00"
STOP = Finished(FinishReason.STOP, "stop")
USAGE = UsageUpdate(Usage(input_tokens=1))
CALL = ToolCallDelta(0, "{}", "c1", "look")
LOST = "\ufffd"

CASES: dict[str, tuple[list[WireEvent], list[WireEvent]]] = {
    "whole text": ([TextDelta("hé 😀")], [TextDelta("hé 😀")]),
    "between two events": (
        [TextDelta("a" + FIRST), TextDelta(SECOND + "b")],
        [TextDelta("a"), TextDelta("😀b")],
    ),
    "nothing but halves": ([TextDelta(FIRST), TextDelta(SECOND)], [TextDelta("😀")]),
    "in one event": ([TextDelta(FIRST + SECOND)], [TextDelta("😀")]),
    "two in a row": (
        [TextDelta(FIRST), TextDelta(SECOND + FIRST), TextDelta(SECOND)],
        [TextDelta("😀"), TextDelta("😀")],
    ),
    "of reasoning": ([ReasoningDelta(FIRST), ReasoningDelta(SECOND)], [ReasoningDelta("😀")]),
    "with counts and bytes between": (
        [TextDelta("a" + FIRST), USAGE, Forwarded(b"x"), TextDelta(SECOND)],
        [TextDelta("a"), USAGE, Forwarded(b"x"), TextDelta("😀")],
    ),
    "one that never ends": ([TextDelta("a" + FIRST), STOP], [TextDelta("a"), TextDelta(LOST), STOP]),
    "one that a call follows": ([TextDelta(FIRST), CALL], [TextDelta(LOST), CALL]),
    "one of another kind of text": (
        [ReasoningDelta(FIRST), TextDelta(SECOND)],
        [ReasoningDelta(LOST), TextDelta(LOST)],
    ),
    "one that never began": ([TextDelta(SECOND + "b")], [TextDelta(LOST + "b")]),
    "the wrong way round": (
        [TextDelta(SECOND), TextDelta(FIRST), STOP],
        [TextDelta(LOST), TextDelta(LOST), STOP],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_character_that_was_cut_in_two_is_whole_again(name: str) -> None:
    came, expected = CASES[name]
    assert SurrogatePairs().joined(came) == expected
    pairs = SurrogatePairs()
    assert [whole for event in came for whole in pairs.joined([event])] == expected
