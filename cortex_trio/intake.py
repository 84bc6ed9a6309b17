"""Convert what callers pass to the values of `messages`. Knows no provider.

Callers may pass a string, `Message` values, or mappings in OpenAI's form (`messages.mappings` reads their parts).
Anything else, and every field of a mapping that is not known, raises `InvalidRequest`, which names the place
(`messages[2].content[0].type`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args

import attrs

from .failures import InvalidRequest
from .messages import (
    Document,
    File,
    Image,
    Message,
    Messages,
    Opaque,
    Part,
    Reasoning,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from .messages.mappings import (
    OWN_FIELDS,
    REASONING_FIELDS,
    cache_from,
    call_from,
    image_from,
    part_from,
    reasoning_from,
    require_known,
)

__all__ = ["checked", "image_from", "messages_from", "tools_from"]

P = TypeVar("P", bound=Part)


def messages_from(messages: Messages) -> tuple[Message, ...]:
    """Return `messages` as `Message` values.

    Args:
        messages: A string, a message or a mapping, or a sequence of messages and mappings.

    Raises:
        InvalidRequest: A message or part has a wrong type, a role or a field is missing, or there is no message.
    """
    if isinstance(messages, str):
        return (Message("user", messages),)
    if isinstance(messages, Message | Mapping):
        return (_message(messages, "messages"),)
    if not isinstance(messages, Sequence):
        raise InvalidRequest(
            f"messages: a str, a Message, a mapping or a sequence of them, not {_kind(messages)}"
        )
    if not messages:
        raise InvalidRequest("messages: at least one message is needed")
    items: Sequence[Any] = messages
    return tuple(_message(item, f"messages[{index}]") for index, item in enumerate(items))


def tools_from(tools: Sequence[Tool | Mapping[str, Any]] | None) -> tuple[Tool, ...] | None:
    """Return tools as `Tool` values; None stays None.

    Args:
        tools: `Tool` values, or mappings with the fields of one, as they are or under "function" (OpenAI's form).

    Raises:
        InvalidRequest: A tool has no name, or its parameters are not a JSON Schema object.
    """
    if tools is None:
        return None
    if not isinstance(tools, Sequence) or isinstance(tools, str):
        raise InvalidRequest(f"tools: a sequence of Tool values or mappings, not {_kind(tools)}")
    return tuple(_tool(item, f"tools[{index}]") for index, item in enumerate(tools))


def require_paired_calls(messages: Sequence[Message], *, is_continued: bool = False) -> None:
    """Check that each tool call has its result before the next turn, and each result its call: providers refuse others.

    A call that was cut needs no result: it is sent as a text.

    Args:
        messages: The messages of one request.
        is_continued: True: the provider keeps an earlier part of the conversation, which may have the calls.

    Raises:
        InvalidRequest: A call has no result, a result has no call, or the last message calls tools.
    """
    last = messages[-1]
    if last.role == "assistant" and (calls := _calls_of(last)):
        raise InvalidRequest(_result_needed(len(messages) - 1, calls))
    open_calls: list[ToolCall] = []
    place = 0
    for index, message in enumerate(messages):
        for part in message.parts:
            if not isinstance(part, ToolResult) or message.role == "assistant":
                continue
            answered = next((call for call in open_calls if call.id == part.tool_call_id), None)
            if answered is not None:
                open_calls.remove(answered)
            elif not is_continued:
                raise InvalidRequest(
                    f"messages[{index}]: there is no open tool call {part.tool_call_id!r:.60} before this result"
                )
        is_turn = message.role == "user" and any(not isinstance(part, ToolResult) for part in message.parts)
        if is_turn or index == len(messages) - 1:
            if needed := [call for call in open_calls if _is_whole(call)]:
                raise InvalidRequest(_result_needed(place, needed))
            open_calls = []
        if message.role == "assistant" and (calls := _calls_of(message)):
            open_calls, place = [*open_calls, *calls], index


def _result_needed(index: int, calls: Sequence[ToolCall]) -> str:
    named = ", ".join(f"{call.name} ({call.id})" for call in calls)
    return f"messages[{index}]: the results of its tool calls are needed after it: {named:.200}"


def _calls_of(message: Message) -> list[ToolCall]:
    return [part for part in message.parts if isinstance(part, ToolCall)]


def _is_whole(call: ToolCall) -> bool:
    if not call.complete or call.kind == "custom":
        return call.complete
    try:
        call.parsed()
    except (ValueError, RecursionError):
        return False
    return True


def require_different_names(tools: Sequence[Tool]) -> None:
    """Check that no two tools have one name, because a call could not say which of them it is for.

    Args:
        tools: The tools of one request.

    Raises:
        InvalidRequest: Two tools have the same name.
    """
    places: dict[str, int] = {}
    for index, tool in enumerate(tools):
        first = places.setdefault(tool.name, index)
        if first != index:
            raise InvalidRequest(
                f"tools[{index}].name: {tool.name!r:.40} is the name of tools[{first}] already"
            )


def _tool(item: Tool | Mapping[str, Any], where: str) -> Tool:
    if isinstance(item, Tool):
        item = {
            field.name: getattr(item, field.name) for field in attrs.fields(Tool) if field.name != "function"
        }
    if not isinstance(item, Mapping):
        raise InvalidRequest(f"{where}: a Tool or a mapping, not {_kind(item)}")
    is_custom = "custom" in (item.get("type"), item.get("kind"))
    inner = "custom" if is_custom else "function"
    fields = item.get(inner, item)
    if fields is not item:
        require_known(item, where, "type", inner, "cache_control")
    name = fields.get("name") if isinstance(fields, Mapping) else None
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f"{where}.name: a non-empty str is needed")
    description = fields.get("description") or ""
    cache = bool(fields.get("cache", False)) or cache_from(item, where)
    own = ("format",) if is_custom else ("parameters", "strict")
    require_known(fields, where, "type", "kind", "name", "description", *own, "cache", "cache_control")
    if is_custom:
        grammar = _mapping(fields.get("format"), f"{where}.format", "a mapping")
        return Tool(name, description, kind="custom", format=grammar, cache=cache)
    empty = {"type": "object", "properties": {}}
    parameters = _mapping(fields.get("parameters"), f"{where}.parameters", "a JSON Schema object")
    return Tool(name, description, parameters or empty, fields.get("strict"), cache=cache)


def _mapping(value: object, where: str, what: str) -> Mapping[str, Any] | None:
    if value is None or isinstance(value, Mapping):
        return value
    raise InvalidRequest(f"{where}: {what}, not {_kind(value)}")


def _message(item: Message | Mapping[str, Any], where: str) -> Message:
    if isinstance(item, Message):
        _require_role(item.role, where)
        if item.role == "tool" and isinstance(item.content, str):
            raise InvalidRequest(
                f"{where}.content: a tool message holds ToolResult parts, which name their call"
            )
        return item if isinstance(item.content, str) else _with_parts(item, where)
    if not isinstance(item, Mapping):
        raise InvalidRequest(f"{where}: a Message or a mapping, not {_kind(item)}")
    role = item.get("role")
    if role == "developer":  # OpenAI's newer name for system
        role = "system"
    _require_role(role, where)
    content = item.get("content")
    cache = cache_from(item, where) or _caches_last(content, f"{where}.content")
    if role == "tool":
        require_known(item, where, "role", "content", "tool_call_id", "name", "cache_control")
        return Message("tool", (_tool_result(item, where),), cache=cache)
    if role == "assistant":
        return Message("assistant", _assistant_content(item, where), cache=cache)
    require_known(item, where, "role", "content", "tool_calls", "cache_control")
    if item.get("tool_calls"):
        raise InvalidRequest(f"{where}.tool_calls: only messages of role assistant have calls")
    written = content if isinstance(content, str) else _parts(content, f"{where}.content")
    return Message(role, written, cache=cache)  # type: ignore[arg-type]  # _require_role checked it


def _assistant_content(item: Mapping[str, Any], where: str) -> str | Sequence[Part]:
    """Return reasoning, text and calls of a message, in the order in which a model writes them."""
    own = ("refusal", "tool_calls", "audio", *REASONING_FIELDS, *OWN_FIELDS)
    require_known(item, where, "role", "content", *own, "cache_control")
    content, calls = item.get("content"), item.get("tool_calls") or ()
    if not isinstance(calls, Sequence) or isinstance(calls, str):
        raise InvalidRequest(f"{where}.tool_calls: a sequence of calls, not {_kind(calls)}")
    reasoning = [checked(part, where) for part in reasoning_from(item, where)]
    said = _said(item, where) if not content or item.get("refusal") else ()
    if isinstance(content, str) and not (calls or reasoning or said):
        return content
    parts = [*reasoning, *_parts(content, f"{where}.content"), *said]
    return (*parts, *(_tool_call(call, f"{where}.tool_calls[{index}]") for index, call in enumerate(calls)))


def _said(item: Mapping[str, Any], where: str) -> tuple[Text, ...]:
    """Return what a message without content says: a refusal, or the transcript of speech."""
    match item.get("refusal"), item.get("audio"):
        case ((None | ""), None):
            return ()
        case str(text), None:
            return (Text(text),)
        case ((None | ""), {"transcript": str(text)}):
            return (Text(text),)
        case _, None:
            raise InvalidRequest(f"{where}.refusal: a str is allowed")
        case _:
            raise InvalidRequest(f"{where}.audio: speech goes back as its transcript, which is needed")


def _caches_last(content: object, where: str) -> bool:
    """Whether the last part has a cache breakpoint, which is one at the end of the message; no other part may."""
    parts = content if isinstance(content, list | tuple) else ()
    marks = [
        isinstance(part, Mapping) and cache_from(part, f"{where}[{at}]") for at, part in enumerate(parts)
    ]
    if any(marks[:-1]):
        place = marks.index(True)
        raise InvalidRequest(f"{where}[{place}].cache_control: only the last part of a message may have it")
    return bool(marks) and marks[-1]


def _with_parts(message: Message, where: str) -> Message:
    """Return the message with its parts converted; the same message if all of them were values already."""
    parts = _parts(message.content, f"{where}.content")
    return message if parts == message.content else attrs.evolve(message, content=parts)


def _require_role(role: object, where: str) -> None:
    if role not in get_args(Role):
        raise InvalidRequest(f"{where}.role: one of {', '.join(get_args(Role))}, not {role!r:.40}")


def _parts(content: object, where: str) -> Sequence[Part]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(content),) if content else ()
    if not isinstance(content, Sequence):
        raise InvalidRequest(f"{where}: a str or a sequence of parts, not {_kind(content)}")
    return tuple(_part(item, f"{where}[{index}]") for index, item in enumerate(content))


def _part(item: object, where: str) -> Part:
    if isinstance(item, Part):
        return checked(item, where)
    if isinstance(item, str):
        return Text(item)
    if not isinstance(item, Mapping):
        raise InvalidRequest(f"{where}: a part or a mapping, not {_kind(item)}")
    return checked(part_from(item, where), where)


_TEXT, _MAYBE_TEXT = (str,), (str, type(None))
_FIELDS: Mapping[type, Mapping[str, tuple[type, ...]]] = {
    Text: {"text": _TEXT},
    Image: {
        "url": _MAYBE_TEXT,
        "data": (bytes, type(None)),
        "media_type": _MAYBE_TEXT,
        "signature": _MAYBE_TEXT,
        "detail": _MAYBE_TEXT,
    },
    File: {
        "data": (bytes, type(None)),
        "media_type": _MAYBE_TEXT,
        "url": _MAYBE_TEXT,
        "id": _MAYBE_TEXT,
        "name": _MAYBE_TEXT,
    },
    Document: {"text": _TEXT, "title": _MAYBE_TEXT, "id": _MAYBE_TEXT},
    Reasoning: {"text": _TEXT, "signature": _MAYBE_TEXT, "encrypted": _MAYBE_TEXT},
    ToolCall: {"id": _TEXT, "name": _TEXT, "arguments": _TEXT, "signature": _MAYBE_TEXT},
    ToolResult: {"tool_call_id": _TEXT, "name": _MAYBE_TEXT, "is_error": (bool,)},
    Opaque: {"type": _TEXT, "data": _TEXT},
}
"""The types of each field, for callers that use no type checker."""


def checked(part: P, where: str) -> P:
    """Return `part` unchanged after checking the types of its fields.

    Args:
        part: Any message part.
        where: The place of the part in the request, for the error text.

    Raises:
        InvalidRequest: A field has a wrong type.
    """
    if isinstance(part, Text) and isinstance(part.text, str):
        return part  # the common case
    for field, types in (*_FIELDS[type(part)].items(), ("origin", _MAYBE_TEXT)):
        value = getattr(part, field, None)
        if not isinstance(value, types):
            allowed = " or ".join("None" if each is type(None) else each.__name__ for each in types)
            raise InvalidRequest(f"{where}.{field}: {allowed} is allowed, not {_kind(value)}")
    if isinstance(part, ToolResult) and not isinstance(part.content, str):
        _require_texts_and_images(part.content, where)
        for index, each in enumerate(part.content):
            checked(each, f"{where}.content[{index}]")
    return part


def _tool_call(item: object, where: str) -> ToolCall:
    return checked(item if isinstance(item, ToolCall) else call_from(item, where), where)


def _tool_result(item: Mapping[str, Any], where: str) -> ToolResult:
    match item.get("content"):
        case [ToolResult() as result]:
            return checked(result, where)
        case content:
            call_id = item.get("tool_call_id")
            if not isinstance(call_id, str) or not call_id:
                raise InvalidRequest(f"{where}.tool_call_id: the id of the call this answers is needed")
            parts = _parts(content, f"{where}.content")
            _require_texts_and_images(parts, where)
            result = ToolResult(
                call_id,
                content if isinstance(content, str) else parts,  # type: ignore[arg-type]
                name=item.get("name"),
            )
            return checked(result, where)


def _require_texts_and_images(content: object, where: str) -> None:
    listed = content if isinstance(content, Sequence) else (content,)
    if not isinstance(content, str) and not all(isinstance(part, Text | Image | File) for part in listed):
        raise InvalidRequest(f"{where}.content: a tool result holds text, images and files only")


def _kind(value: object) -> str:
    return type(value).__name__
