"""Prepares a conversation for encoding: documents get a place, tool calls become legal.

A conversation may move between providers, and each API has its own rules for ids and arguments of calls. Knows
messages only; each dialect passes what is legal in its API.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from ..failures import InvalidRequest
from ..messages import Document, File, Image, Message, Opaque, Part, Reasoning, Text, ToolCall, ToolResult
from .own_fields import is_packed

CUSTOM_INPUT = "input"
"""The field that holds the free text of a custom tool's call where an API has functions only."""


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
    """Return the messages; a last system message becomes the user's, for APIs that need a user message there."""
    if not messages or messages[-1].role != "system":
        return messages
    return (*messages[:-1], attrs.evolve(messages[-1], role="user"))


def shown_by_user(messages: Sequence[Message]) -> Sequence[Message]:
    """Return the messages; images the model made move to a user message, for APIs that take images there only.

    That message follows the results of the calls beside them: no message may come between those.
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
    """Return a document as plain text, for APIs without documents."""
    return f"{document.title}\n\n{document.text}" if document.title else document.text


def may_replay(part: Reasoning | Text | ToolCall | Image, provider: str, model: str) -> bool:
    """Whether a signed part goes back: to the model it came from, or to any where it has no origin.

    Fields of OpenAI's APIs are no signature elsewhere; their dialects read them by `own_fields` themselves.
    """
    if part.origin is None:
        return isinstance(part, Image) or not is_packed(part.signature)
    return part.origin == f"{provider}/{model}"


def replayed(part: Opaque, provider: str) -> dict[str, Any] | None:
    """Return the block for its own provider, whichever of its models is asked; None for any other provider.

    Raises InvalidRequest where it is not a JSON object.
    """
    if part.origin is not None and part.origin.partition("/")[0] != provider:
        return None
    try:
        return part.parsed()
    except (ValueError, RecursionError):
        raise InvalidRequest(f"the data of Opaque({part.type!r:.40}) is no JSON object") from None


def sendable(messages: Sequence[Message]) -> Sequence[Message]:
    """Return the messages without what a cut answer, or another API, may leave in them and no other API takes."""
    return without_broken_calls(without_speech(messages))


def without_speech(messages: Sequence[Message]) -> Sequence[Message]:
    """Return the messages; speech of the model is left out where its transcript stands beside it, as a text."""
    return [
        attrs.evolve(message, content=tuple(part for part in message.parts if not _is_speech(part)))
        if message.role == "assistant"
        and any(map(_is_speech, message.parts))
        and any(isinstance(part, Text) for part in message.parts)
        else message
        for message in messages
    ]


def _is_speech(part: Part) -> bool:
    return isinstance(part, File) and (part.media_type or "").startswith("audio/")


def without_broken_calls(messages: Sequence[Message]) -> Sequence[Message]:
    """Return the messages; a call that was cut, or has no JSON object, becomes a text, and so does its result.

    An answer that was cut inside a call holds one. An API that takes arguments as an object has no place for it, and
    without this the conversation could not go on there. The text of the result, an error, follows the results of the
    intact calls beside it, in a user message: no message may come between those.
    """
    if not any(_is_broken(part) for message in messages for part in message.parts):
        return messages
    mended: list[Message] = []
    waiting: dict[str, list[ToolCall]] = {}  # calls without a result, by id
    failed: list[Part] = []  # what is said of the results of broken calls
    for message in messages:
        if any(isinstance(part, ToolCall) for part in message.parts):
            waiting = {}  # results follow their calls, so those that come now are for this answer's
        parts: list[Part] = []
        for part in message.parts:
            match part:
                case ToolCall():
                    waiting.setdefault(part.id, []).append(part)
                    parts.append(Text(_broken_call(part)) if _is_broken(part) else part)
                case ToolResult() if (calls := waiting.get(part.tool_call_id)) and _is_broken(
                    call := calls.pop(0)
                ):
                    failed += _broken_result(call, part)
                case _:
                    parts.append(part)
        if failed and not any(isinstance(part, ToolResult) for part in parts) and parts:
            mended.append(Message("user", tuple(failed)))
            failed = []
        if parts == [*message.parts]:
            mended.append(message)
        elif parts:
            mended.append(attrs.evolve(message, content=tuple(parts)))
    return [*mended, Message("user", tuple(failed))] if failed else mended


def _is_broken(part: Part) -> bool:
    if not isinstance(part, ToolCall):
        return False
    if part.kind == "custom":
        return not part.complete
    try:
        part.parsed()
    except (ValueError, RecursionError):
        return True
    return not part.complete


def _broken_call(call: ToolCall) -> str:
    return f"[A call of the tool {call.name} that was cut off and not run: {call.arguments}]"


def _broken_result(call: ToolCall, result: ToolResult) -> Iterator[Part]:
    content = (Text(result.content),) if isinstance(result.content, str) else result.content
    yield Text(f"Error: the arguments of the call of the tool {call.name} were not a JSON object.")
    yield from (part for part in content if part != Text(""))


def image_of_file(file: File) -> Image | None:
    """Return a file as an image where its media type is one; None for other files, and for an id of an upload."""
    if not (file.media_type or "").startswith("image/") or file.id is not None:
        return None
    return Image(url=file.url, data=file.data, media_type=file.media_type)


def as_functions(messages: Sequence[Message]) -> Sequence[Message]:
    """Return the messages; calls of custom tools become function calls, for APIs that have functions only."""
    if not any(_is_custom(part) for message in messages for part in message.parts):
        return messages
    return [
        attrs.evolve(message, content=tuple(_as_function(part) for part in message.parts))
        for message in messages
    ]


def _is_custom(part: Part) -> bool:
    return isinstance(part, ToolCall) and part.kind == "custom"


def _as_function(part: Part) -> Part:
    if not isinstance(part, ToolCall) or part.kind != "custom":
        return part
    text = json.dumps({CUSTOM_INPUT: part.arguments}, ensure_ascii=False)
    return attrs.evolve(part, kind="function", arguments=text)


def arguments_object(call: ToolCall, provider: str) -> dict[str, Any]:
    """Return the arguments as an object; raises InvalidRequest where they are not (an answer cut inside a call).

    The free text of a custom tool becomes the one field of an object, for APIs that have functions only.
    """
    if call.kind == "custom":
        return {CUSTOM_INPUT: call.arguments}
    try:
        return call.parsed()
    except (ValueError, RecursionError):
        raise InvalidRequest(
            f"{provider} takes the arguments of a tool call as a JSON object;"
            f" those of {call.name!r} (id {call.id!r:.40}) are none"
        ) from None


class CallIds:
    """Makes the ids of the tool calls of a history legal for one API, and unique.

    Legal ids stay. Others are renamed, and so are repeated ones: every answer from an API without ids begins with
    `call_0`, and Anthropic refuses a request in which two calls share an id. Call the methods in the order of the
    conversation: a result belongs to the first call of its id that has no result yet.
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
        """Return the id of the call that a result belongs to; where the call is missing, a legal id."""
        own = result.tool_call_id
        if waiting := self._waiting.get(own):
            self._answered[own] = waiting.pop(0)
        elif own not in self._answered:
            self._answered[own] = own if self._legal.fullmatch(own) else next(self._fresh)
        return self._answered[own]
