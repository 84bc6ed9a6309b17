"""What an encoder does to a conversation before it translates it: documents placed, tool calls made legal.

Histories travel: a call made by one provider is told to another, whose wire has its own rules for ids and
arguments. Knows messages only; each dialect says what is legal on its wire.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

import attrs

from ..failures import InvalidRequest
from ..messages import Document, Image, Message, Opaque, Reasoning, Text, ToolCall, ToolResult


def with_documents(messages: Sequence[Message], documents: Sequence[Document] | None) -> tuple[Message, ...]:
    """The messages, `documents` put before the parts of the last user message (a new first one if there is none)."""
    if not documents:
        return tuple(messages)
    for index in reversed(range(len(messages))):
        if messages[index].role == "user":
            asking = attrs.evolve(messages[index], content=(*documents, *messages[index].parts))
            return (*messages[:index], asking, *messages[index + 1 :])
    return (Message("user", tuple(documents)), *messages)


def asked_by_user(messages: Sequence[Message]) -> Sequence[Message]:
    """The messages; a last one of role system is said by the user, for wires on which someone must ask."""
    if not messages or messages[-1].role != "system":
        return messages
    return (*messages[:-1], Message("user", messages[-1].content))


def shown_by_user(messages: Sequence[Message]) -> Sequence[Message]:
    """The messages; an image the model made is shown by the user, for wires on which no other role may.

    It comes after the results of the calls that were made with it: between those no message may come.
    """
    shown: list[Message] = []
    held: list[Image] = []
    for message in messages:
        if held and not any(isinstance(part, ToolResult) for part in message.parts):
            shown.append(_shown(held))
            held = []
        if message.role == "assistant" and any(isinstance(part, Image) for part in message.parts):
            held += [part for part in message.parts if isinstance(part, Image)]
            message = attrs.evolve(
                message, content=tuple(part for part in message.parts if not isinstance(part, Image))
            )
        shown.append(message)
    return [*shown, _shown(held)] if held else shown


def _shown(images: Sequence[Image]) -> Message:
    return Message("user", (Text("Of your answer:"), *images))


def titled(document: Document) -> str:
    """A document as plain text, for wires that have no documents."""
    return f"{document.title}\n\n{document.text}" if document.title else document.text


def may_replay(part: Reasoning | ToolCall | Image, provider: str, model: str) -> bool:
    """Whether what a model signed goes to that very model, or the caller vouches for it."""
    return part.origin in (None, f"{provider}/{model}")


def replayed(part: Opaque, provider: str) -> dict[str, Any] | None:
    """The block as it goes back to its own provider, whichever model is asked there; None for any other.

    Raises InvalidRequest where it is no object (a caller made it).
    """
    if part.origin is not None and part.origin.partition("/")[0] != provider:
        return None
    try:
        return part.parsed()
    except (ValueError, RecursionError):
        raise InvalidRequest(f"the data of Opaque({part.type!r:.40}) is no JSON object") from None


def arguments_object(call: ToolCall, provider: str) -> dict[str, Any]:
    """The arguments as an object; raises InvalidRequest where they are none (an answer cut inside a call).

    The free text of a custom tool is the one field of an object, for the wire knows functions only.
    """
    if call.kind == "custom":
        return {"input": call.arguments}
    try:
        return call.parsed()
    except (ValueError, RecursionError):
        raise InvalidRequest(
            f"{provider} takes the arguments of a tool call as a JSON object;"
            f" those of {call.name!r} (id {call.id!r:.40}) are none"
        ) from None


class CallIds:
    """Ids of a history's tool calls as one wire accepts them: legal, and each of them used once.

    Legal ids stay. Others are renamed, and so are repeated ones: `call_0` is what every answer from a wire
    without ids begins with, and Anthropic refuses a request in which two calls share an id. Ask in the order
    of the conversation: a result answers the first call of its id that has none yet.
    """

    def __init__(self, messages: Sequence[Message], legal: re.Pattern[str]) -> None:
        self._legal = legal
        self._waiting: dict[str, list[str]] = {}  # a call's own id → ids on the wire that have no result yet
        self._answered: dict[str, str] = {}
        self._used: set[str] = set()
        taken = {
            part.id if isinstance(part, ToolCall) else part.tool_call_id
            for message in messages
            for part in message.parts
            if isinstance(part, ToolCall | ToolResult)
        }
        self._fresh = filter(lambda new: new not in taken, map("call_{}".format, itertools.count()))

    def of_call(self, call: ToolCall) -> str:
        keeps = self._legal.fullmatch(call.id) and call.id not in self._used
        wire_id = call.id if keeps else next(self._fresh)
        self._used.add(wire_id)
        self._waiting.setdefault(call.id, []).append(wire_id)
        return wire_id

    def of_result(self, result: ToolResult) -> str:
        """The id of the call it answers; of a result whose call is not in the history, a legal one."""
        own = result.tool_call_id
        if waiting := self._waiting.get(own):
            self._answered[own] = waiting.pop(0)
        elif own not in self._answered:
            self._answered[own] = own if self._legal.fullmatch(own) else next(self._fresh)
        return self._answered[own]
