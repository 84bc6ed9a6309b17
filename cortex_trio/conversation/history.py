"""What a new turn adds to a history, and what of a history is sent. Pure: decides, and changes nothing.

A history is valid for every provider if each tool call has its result in the next message, and if a result has its
call before it. These functions keep that, whatever is cut, left out or not answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..failures import InvalidRequest
from ..intake import messages_from
from ..messages import Image, Message, Opaque, Text, ToolCall, ToolResult, tool
from ..messages.size import estimated_tokens

NOT_RUN = "the call was not run"


def new_turn(history: Sequence[Message], content: Sequence[Any]) -> list[Message]:
    """Return the messages that a new turn adds: the results of open tool calls, and the message of the user.

    Open calls without a result get an error result, so that the history stays valid.

    Args:
        history: The messages so far.
        content: Texts and parts of the user, and results of open calls.

    Raises:
        InvalidRequest: There is no content, a part is wrong, or a result has no open call.
    """
    results = [part for part in content if isinstance(part, ToolResult)]
    parts = [part for part in content if not isinstance(part, ToolResult)]
    calls = open_calls(history)
    added = []
    if calls and content:
        added.append(tool(*_results_for(calls, results)))
    elif results:
        _require_open(results, calls)
    if parts:
        added.append(_user(parts))
    if not added and not _goes_on(history):
        needed = f"the results of {', '.join(call.name for call in calls)}" if calls else "a text or a part"
        raise InvalidRequest(f"content: {needed} is needed")
    return added


def _user(parts: list[Any]) -> Message:
    try:
        [message] = messages_from(
            [
                {
                    "role": "user",
                    "content": parts[0] if len(parts) == 1 and isinstance(parts[0], str) else parts,
                }
            ]
        )
    except InvalidRequest as error:
        raise InvalidRequest(str(error).replace("messages[0].", "", 1)) from None
    return message


def open_calls(history: Sequence[Message]) -> tuple[ToolCall, ...]:
    """Return the tool calls of the last message, which have no result yet."""
    if not history or history[-1].role != "assistant":
        return ()
    return tuple(part for part in history[-1].parts if isinstance(part, ToolCall))


def _goes_on(history: Sequence[Message]) -> bool:
    """Return whether the model is to go on without a message of the user: after results, or after a pause."""
    if not history:
        return False
    last = history[-1]
    paused = last.role == "assistant" and bool(last.parts) and isinstance(last.parts[-1], Opaque)
    return last.role == "tool" or paused


def _results_for(calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> list[ToolResult]:
    _require_open(results, calls)
    given = {result.tool_call_id: result for result in results}
    return [given.get(call.id) or ToolResult(call.id, NOT_RUN, call.name, is_error=True) for call in calls]


def _require_open(results: Sequence[ToolResult], calls: Sequence[ToolCall]) -> None:
    ids = [call.id for call in calls]
    for result in results:
        if result.tool_call_id not in ids:
            listed = ", ".join(ids) or "none"
            raise InvalidRequest(
                f"content: there is no open tool call {result.tool_call_id!r:.60}; open are: {listed}"
            )


def partial_answer(message: Message) -> Message | None:
    """Return what is kept of an answer that broke off, marked as partial; None if that is nothing.

    Texts and images are kept. Tool calls have no result, reasoning has perhaps no signature yet, and a block of the
    provider may be half of a pair: each of them could make the history invalid.

    Args:
        message: The answer as far as it was delivered.
    """
    kept = tuple(
        part
        for part in message.parts
        if isinstance(part, Image) or (isinstance(part, Text) and part.text.strip())
    )
    return Message("assistant", kept, partial=True) if kept else None


def trimmed(messages: Sequence[Message], window: int | None) -> list[Message]:
    """Return the messages that are sent: the newest turns that fit, with all system messages.

    A turn begins with a message of the user and ends before the next one, so calls and results stay together, and
    what is sent begins with a message of the user. The last turn is sent even if it does not fit.

    Args:
        messages: The whole history, with the new turn at its end.
        window: How many tokens are sent, estimated. None: no limit.
    """
    if window is None:
        return list(messages)
    sizes = [estimated_tokens(message) for message in messages]
    left = window - sum(
        size for size, message in zip(sizes, messages, strict=True) if message.role == "system"
    )
    kept = len(messages)
    for start, end in reversed(_turns(messages)):
        left -= sum(sizes[at] for at in range(start, end) if messages[at].role != "system")
        if left < 0 and kept < len(messages):
            break
        kept = start
    return [message for at, message in enumerate(messages) if at >= kept or message.role == "system"]


def _turns(messages: Sequence[Message]) -> list[tuple[int, int]]:
    """Return where each turn begins and ends. Messages of the user in a row begin one turn."""
    starts = [
        at
        for at, message in enumerate(messages)
        if message.role == "user" and (at == 0 or messages[at - 1].role != "user")
    ]
    if not starts or starts[0] != 0:
        starts.insert(0, 0)
    return list(zip(starts, [*starts[1:], len(messages)], strict=True))
