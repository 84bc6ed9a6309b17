"""Tool calls of chat completions as servers really number, name and cut them: each is one call, said once."""

import json
from typing import Any

import pytest
from hearing import bytewise, folded, heard

from cortex_trio.events import Finished, FinishReason, ToolCallDelta, WireEvent
from cortex_trio.failures import Failure, FailureKind
from cortex_trio.providers import PROVIDERS
from cortex_trio.wire.chat_completions.calls import PLACEHOLDER
from cortex_trio.wire.chat_completions.pieces import MOST_TRIES

SERVER = PROVIDERS["openai_compatible"].dialect


def entry(
    index: int | None = None, id: str | None = None, name: str | None = None, arguments: Any = None
) -> dict[str, Any]:
    """One entry of `tool_calls`; what is None is left out."""
    function = {"name": name, "arguments": arguments}
    fields = {"index": index, "id": id, "function": {k: v for k, v in function.items() if v is not None}}
    return {key: value for key, value in fields.items() if value is not None}


def stream(*deltas: list[dict[str, Any]], finish: str = "tool_calls") -> bytes:
    """A stream of one chunk for each of `deltas`, a list of entries."""
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {"tool_calls": d}}]} for d in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    return b"".join(b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks) + b"data: [DONE]\n\n"


def decoded(body: bytes) -> list[WireEvent]:
    """The same at every slicing in two, and byte by byte."""
    events = heard(SERVER, [body])
    assert heard(SERVER, bytewise(body)) == events
    for cut in range(0, len(body), 7):
        assert heard(SERVER, [body[:cut], body[cut:]]) == events
    return events


def calls(*deltas: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Id, name and arguments of the calls in the answer."""
    events = decoded(stream(*deltas))
    assert isinstance(events[-1], Finished)
    return [(call.id, call.name, call.arguments) for call in folded(events).tool_calls]


F, G = ("c1", "f", '{"a":1}'), ("c2", "g", '{"b":2}')

ONE: dict[str, list[list[dict[str, Any]]]] = {
    "the name comes later": [[entry(0, "c1", "", "")], [entry(0, "c1", "f", '{"a":1}')]],
    "the name comes later, without the id": [
        [entry(0, "c1")],
        [entry(0, None, "f")],
        [entry(0, None, None, F[2])],
    ],
    "the name comes behind the arguments": [[entry(0, "c1", None, '{"a"')], [entry(0, "c1", "f", ":1}")]],
    "the name is said with every piece": [[entry(0, "c1", "f", '{"a"')], [entry(0, None, "f", ":1}")]],
    "the id comes later": [[entry(0, None, "f", "")], [entry(0, "c1", None, F[2])]],
    "the id comes later, with the name again": [[entry(0, None, "f", "")], [entry(0, "c1", "f", F[2])]],
    "each piece has an id of its own": [
        [entry(0, "c1", "f", "")],
        [entry(0, "x1", None, '{"a"')],
        [entry(0, "x2", None, ":1}")],
    ],
    "the index counts pieces": [
        [entry(0, "c1", "f", "")],
        [entry(1, None, None, '{"a"')],
        [entry(2, "c1", None, ":1}")],
    ],
    "the index comes later": [[entry(None, "c1", "f", "")], [entry(0, None, None, F[2])]],
    "there is no index": [[entry(None, "c1", "f", '{"a"')], [entry(None, None, None, ":1}")]],
    "the whole call is said again": [[entry(0, "c1", "f", F[2])], [entry(0, "c1", "f", F[2])]],
    "the whole call is said again behind its pieces": [
        [entry(0, "c1", "f", '{"a"')],
        [entry(0, None, None, ":1}")],
        [entry(0, "c1", "f", F[2])],
    ],
    "the arguments are said again": [[entry(0, "c1", "f", F[2])], [entry(0, None, None, F[2])]],
    "the whole call is said again in another place": [
        [entry(0, "c1", "f", F[2])],
        [entry(1, "c1", "f", F[2])],
    ],
    "an empty object stands in for the arguments": [
        [entry(0, "c1", "f", PLACEHOLDER)],
        [entry(0, None, None, '{"a"')],
        [entry(0, None, None, ":1}")],
    ],
    "an empty call comes before it": [[entry(0, "", "", "")], [entry(0, "c1", "f", F[2])]],
    "an empty call comes beside it": [[entry(0, "c1", "f", F[2]), entry(1, "", "", "")], [{}]],
    "an empty call with an id comes behind it": [[entry(0, "c1", "f", F[2])], [entry(1, "c9", "", "")]],
    "name and arguments stand in the entry itself": [[{"id": "c1", "name": "f", "arguments": {"a": 1}}]],
}


@pytest.mark.parametrize("how", ONE)
def test_a_call_is_one_call_however_it_comes(how: str) -> None:
    assert calls(*ONE[how]) == [F]


@pytest.mark.parametrize("pieces", [["get_", "weather"], ["get_weather", ""], ["get_", "get_weather"]])
def test_a_name_may_come_in_pieces_or_grow(pieces: list[str]) -> None:
    deltas = [[entry(0, "c1" if at == 0 else None, piece, "")] for at, piece in enumerate(pieces)]
    assert calls(*deltas, [entry(0, None, None, "{}")]) == [("c1", "get_weather", "{}")]
    assert calls(*deltas) == [("c1", "get_weather", "")]


TWO: dict[str, list[list[dict[str, Any]]]] = {
    "one index, other ids": [[entry(0, "c1", "f", F[2])], [entry(0, "c2", "g", G[2])]],
    "one index, other ids, in pieces that mix": [
        [entry(0, "c1", "f", '{"a"')],
        [entry(0, "c2", "g", '{"b"')],
        [entry(0, "c1", None, ":1}")],
        [entry(0, "c2", None, ":2}")],
    ],
    "one index, other ids, in one delta": [[entry(0, "c1", "f", F[2]), entry(0, "c2", "g", G[2])]],
    "one index, the second name later": [
        [entry(0, "c1", "f", F[2])],
        [entry(0, "c2", "", "")],
        [entry(0, "c2", "g", G[2])],
    ],
    "announced together": [
        [entry(0, "c1", "f", ""), entry(1, "c2", "g", "")],
        [entry(0, None, None, F[2])],
        [entry(1, None, None, G[2])],
    ],
    "no index": [[entry(None, "c1", "f", F[2])], [entry(None, "c2", "g", G[2])]],
    "the first announced with an empty object": [
        [entry(0, "c1", "f", "{}")],
        [entry(0, None, None, F[2])],
        [entry(1, "c2", "g", "{}")],
        [entry(1, None, None, G[2])],
    ],
}


@pytest.mark.parametrize("how", TWO)
def test_two_calls_are_two_calls_however_they_come(how: str) -> None:
    assert calls(*TWO[how]) == [F, G]


WITHOUT_IDS: dict[str, list[list[dict[str, Any]]]] = {
    "one index": [[entry(0, "", "f", F[2])], [entry(0, "", "g", G[2])]],
    "one index, in pieces": [
        [entry(0, None, "f", '{"a"')],
        [entry(0, None, None, ":1}")],
        [entry(0, None, "g", '{"b"')],
        [entry(0, None, None, ":2}")],
    ],
    "no index": [[entry(None, None, "f", F[2])], [entry(None, None, "g", G[2])]],
    "one delta": [[entry(None, None, "f", F[2]), entry(None, None, "g", G[2])]],
    "one delta and one index": [[entry(0, None, "f", F[2]), entry(0, None, "g", G[2])]],
    "numbered": [[entry(0, None, "f", F[2])], [entry(1, None, "g", G[2])]],
    "the word null for an id": [[entry(0, "null", "f", F[2])], [entry(0, "null", "g", G[2])]],
}


@pytest.mark.parametrize("how", WITHOUT_IDS)
def test_calls_without_ids_get_some(how: str) -> None:
    assert calls(*WITHOUT_IDS[how]) == [("call_0", *F[1:]), ("call_1", *G[1:])]


def test_one_function_called_twice_with_one_index_and_without_ids_is_two_calls() -> None:
    assert calls([entry(0, None, "f", '{"a":1}')], [entry(0, None, "f", '{"a":2}')]) == [
        ("call_0", "f", '{"a":1}'),
        ("call_1", "f", '{"a":2}'),
    ]


def test_calls_that_share_an_id_by_mistake_are_distinguished() -> None:
    found = calls([entry(0, "c1", "f", F[2])], [entry(1, "c1", "g", G[2])])
    assert [(name, arguments) for _, name, arguments in found] == [F[1:], G[1:]]
    assert len({call_id for call_id, _, _ in found}) == 2


def test_a_made_up_id_is_none_the_server_uses() -> None:
    ids = [call_id for call_id, _, _ in calls([entry(0, "call_1", "f", "{}")], [entry(1, None, "g", "{}")])]
    assert ids[0] == "call_1"
    assert ids[1] not in ("", "call_1")


def test_arguments_with_no_name_in_the_end_are_a_protocol_failure() -> None:
    last = decoded(stream([entry(0, "c1", None, F[2])]))[-1]
    assert isinstance(last, Failure)
    assert last.kind is FailureKind.PROTOCOL


def test_a_call_is_handed_on_with_its_first_arguments_and_not_at_the_end() -> None:
    decoder = SERVER.decoder()
    first, second, *_ = stream([entry(0, "c1", "f", "")], [entry(0, None, None, '{"a"')]).split(b"\n\n")
    assert decoder.feed(first + b"\n\n") == []
    assert decoder.feed(second + b"\n\n") == [ToolCallDelta(0, '{"a"', "c1", "f")]


@pytest.mark.parametrize(
    "finish", ["stop", "eos", "eos_token", "end_turn", "tool_call", "tool_calls", "tool_use", "function_call"]
)
def test_a_finish_behind_calls_is_about_them(finish: str) -> None:
    last = decoded(stream([entry(0, *F)], finish=finish))[-1]
    assert last == Finished(FinishReason.TOOL_CALLS, finish)


def test_a_free_form_call_keeps_its_text_and_its_kind() -> None:
    custom = {"index": 0, "id": "c1", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}
    [call] = folded(decoded(stream([custom]))).tool_calls
    assert (call.id, call.name, call.arguments, call.kind) == ("c1", "sql", "select 1", "custom")


def test_entries_of_a_whole_message_are_calls_of_their_own() -> None:
    same = {"id": "c1", "function": {"name": "f", "arguments": "{}"}}
    again = {"index": 0, "function": {"name": "f", "arguments": "{}"}}
    message = {"tool_calls": [same, same, again, again, {"function": {"name": "", "arguments": ""}}]}
    body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
    events = SERVER.decode_reply(body)
    assert [call.name for call in folded(events).tool_calls] == ["f", "f", "f"]
    assert events[-1] == Finished(FinishReason.TOOL_CALLS, "stop")


def test_arguments_that_look_whole_with_every_piece_are_not_read_again_with_every_piece() -> None:
    """Each of the pieces ends as an object does and repeats the name; the call is one all the same."""
    pieces = [[entry(0, "c1", "f", '{"a":[')], *[[entry(0, "c1", "f", "{},{}")]] * (3 * MOST_TRIES)]
    [(_, name, arguments)] = calls(*pieces[:9], [entry(0, "c1", "f", "]}")])
    assert (name, arguments) == ("f", '{"a":[' + "{},{}" * 8 + "]}")
    assert isinstance(heard(SERVER, [stream(*pieces)])[-1], Finished)


@pytest.mark.parametrize(
    ("arguments", "finish", "complete"),
    [
        ('{"a":1}', None, True),
        ('{"a":', None, False),
        ('{"a":', "length", False),
        ("", "tool_calls", True),
        ("", "length", False),
        ("{}", "length", True),
    ],
)
def test_a_call_knows_whether_its_arguments_are_complete(
    arguments: str, finish: str | None, complete: bool
) -> None:
    events: list[WireEvent] = [ToolCallDelta(0, arguments, "c1", "f")]
    if finish:
        events.append(decoded(stream(finish=finish))[-1])
    [call] = folded(events).tool_calls
    assert call.complete is complete
    assert call == folded([events[0]]).tool_calls[0]
