"""Makes a history with broken tool calls one that every API takes.

A call whose arguments are not a whole JSON object (the answer was cut inside it, or the model wrote something else)
cannot go back as a call: several servers parse the arguments, and refuse the whole request. It goes back as a text of
the model, and its result as a text of the user that says it was not run. Knows messages only.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..messages import Message, Part, Text, ToolCall, ToolResult


def is_broken(call: ToolCall) -> bool:
    """Whether a call cannot go back as one: it was cut, or its arguments are not a JSON object."""
    if not call.complete:
        return True
    if call.kind == "custom":
        return False
    try:
        call.parsed()
    except (ValueError, RecursionError):
        return True
    return False


def with_whole_calls(messages: Sequence[Message]) -> Sequence[Message]:
    """Return the messages with each broken call, and its result, as text.

    The results of the whole calls beside it come first: no message may come between a call and its result.
    """
    if not any(isinstance(part, ToolCall) and is_broken(part) for each in messages for part in each.parts):
        return messages
    written: list[Message] = []
    broken: list[ToolCall] = []  # of the last message with calls, without a result so far
    held: list[Part] = []  # texts of the user that wait until the results are over
    for message in messages:
        if broken and not any(isinstance(part, ToolResult) for part in message.parts):
            held += [_unanswered(call) for call in broken]
            broken = []
        if held and not any(isinstance(part, ToolResult) for part in message.parts):
            written.append(Message("user", tuple(held)))
            held = []
        if message.role == "assistant":
            calls = [part for part in message.parts if isinstance(part, ToolCall) and is_broken(part)]
            broken += calls
            message = _as_text(message) if calls else message
        elif broken:
            message = _without_results(message, broken, held)
        if message.parts or message.role != "tool":
            written.append(message)
    held += [_unanswered(call) for call in broken]
    return [*written, Message("user", tuple(held))] if held else written


def _as_text(message: Message) -> Message:
    parts = (
        _call_text(part) if isinstance(part, ToolCall) and is_broken(part) else part for part in message.parts
    )
    return attrs.evolve(message, content=tuple(parts))


def _call_text(call: ToolCall) -> Text:
    return Text(f"Call of the tool {call.name} with arguments that are not whole: {call.arguments}")


def _without_results(message: Message, broken: list[ToolCall], held: list[Part]) -> Message:
    """Move the results of broken calls out of a message into `held`, as texts."""
    others: list[Part] = []
    for part in message.parts:
        call = next(
            (each for each in broken if isinstance(part, ToolResult) and each.id == part.tool_call_id), None
        )
        if call is None or not isinstance(part, ToolResult):
            others.append(part)
            continue
        broken.remove(call)
        content = (Text(part.content),) if isinstance(part.content, str) else part.content
        held += [Text(f"Error: the tool {call.name} was not called, its arguments are not whole. "), *content]
    return attrs.evolve(message, content=tuple(others))


def _unanswered(call: ToolCall) -> Text:
    return Text(f"Error: the tool {call.name} was not called, its arguments are not whole. Call it again.")
