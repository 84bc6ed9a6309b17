"""Which calls of the server's own tools, and which of their results, may stand in a request. Knows blocks only.

A call and its result mostly stand in one turn. Without a result, a call is legal while it is in flight: in the last
turn (a pause that goes on), beside calls of the caller's tools in the last turn of the model (the server runs it when
their results come), and while code that it runs waits for a result of the caller (`caller.tool_id`). Then the result
comes in a later turn. Any other call without a result, as a broken answer may hold it, is a 400.
Source: "Server tools" and "Programmatic tool calling" in the documentation of the API.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

Block = dict[str, Any]


def with_server_tools_paired(turns: list[Block]) -> list[Block]:
    """Return the turns without calls that can have no result any more, and without results that lack their call.

    A tool of the caller that such code called is then an ordinary call: its `caller` is left out.
    """
    answered = {block["tool_use_id"] for block in _all(turns) if is_server_result(block)}
    legal = answered | in_flight([(turn["role"], turn["content"]) for turn in turns])
    called: set[str] = set()
    for turn in turns:
        kept: list[Block] = []
        for block in turn["content"]:
            if is_server_call(block) and block["id"] in legal:
                called.add(block["id"])
            elif is_server_call(block) or (is_server_result(block) and block["tool_use_id"] not in called):
                continue
            if caller_of(block) is not None and caller_of(block) not in called:
                block = {name: value for name, value in block.items() if name != "caller"}
            kept.append(block)
        turn["content"] = kept
    return [turn for turn in turns if turn["content"]]


def in_flight(turns: Sequence[tuple[str, Sequence[Block]]]) -> set[str]:
    """Return the ids of the calls whose results are still to come; `turns` are roles and blocks."""
    place = next((n for n in reversed(range(len(turns))) if turns[n][0] == "assistant"), None)
    if place is None:
        return set()
    last = turns[place][1]
    found = {caller for block in last if (caller := caller_of(block)) is not None}
    if place == len(turns) - 1 or any(block["type"] == "tool_use" for block in last):
        found |= {block["id"] for block in last if is_server_call(block)}
    return found


def _all(turns: Sequence[Block]) -> Iterator[Block]:
    return (block for turn in turns for block in turn["content"])


def caller_of(block: Block) -> str | None:
    """Return the id of the server's call whose code called this tool of the caller; None for any other block."""
    caller = block.get("caller") if block["type"] == "tool_use" else None
    called_by = caller.get("tool_id") if isinstance(caller, dict) else None
    return called_by if isinstance(called_by, str) else None


def is_server_call(block: Block) -> bool:
    """Whether the block is a call of one of the server's own tools."""
    kind = str(block["type"])
    return kind != "tool_use" and kind.endswith("tool_use") and isinstance(block.get("id"), str)


def is_server_result(block: Block) -> bool:
    """Whether the block is the result of one of the server's own tools."""
    kind = str(block["type"])
    return (
        kind != "tool_result" and kind.endswith("tool_result") and isinstance(block.get("tool_use_id"), str)
    )
