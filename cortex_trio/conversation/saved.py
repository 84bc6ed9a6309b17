"""Messages as JSON, and back: every field of every part, with bytes as base64. Knows no gateway.

The fields are read from the classes, so a new field of a part is saved without a change here.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ..events import Usage
from ..failures import InvalidRequest
from ..intake import messages_from
from ..messages import (
    Document,
    File,
    Image,
    Message,
    Opaque,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)

VERSION = 1

_PARTS: dict[str, type] = {
    "text": Text,
    "image": Image,
    "file": File,
    "document": Document,
    "reasoning": Reasoning,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
    "opaque": Opaque,
}
_NAMES = {cls: name for name, cls in _PARTS.items()}
_BYTES = (Image, File)
"""The parts whose `data` is bytes."""


@attrs.frozen
class Saved:
    """What is saved of a conversation."""

    messages: list[Message]
    usage: Usage
    cost: float | None


def to_json(saved: Saved) -> str:
    """Return a conversation as JSON text."""
    return json.dumps(
        {
            "version": VERSION,
            "messages": [_fields(message) for message in saved.messages],
            "usage": _fields(saved.usage),
            "cost": saved.cost,
        },
        ensure_ascii=False,
    )


def from_json(text: str) -> Saved:
    """Return a conversation from JSON text.

    Raises:
        InvalidRequest: The text is not what `to_json` returns; says where.
    """
    try:
        whole = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidRequest(f"the conversation is not JSON: {error}") from None
    if not isinstance(whole, dict) or whole.get("version") != VERSION:
        raise InvalidRequest(f'the conversation: an object with "version": {VERSION} is needed')
    found = _list(whole.get("messages"), "messages")
    messages = [_message(item, f"messages[{index}]") for index, item in enumerate(found)]
    usage = _made(Usage, whole.get("usage") or {}, "usage")
    cost = whole.get("cost")
    for name in attrs.fields_dict(Usage):
        if (count := getattr(usage, name)) is not None and not _is_number(count, int):
            raise InvalidRequest(f"usage.{name}: a whole number from 0 or null is needed")
    if cost is not None and not _is_number(cost, int | float):
        raise InvalidRequest("cost: a number from 0 or null is needed")
    return Saved(list(messages_from(messages)) if messages else [], usage, cost)


def _is_number(value: object, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and 0 <= value < math.inf  # NaN is not


def _fields(value: Any) -> dict[str, Any]:
    """Return the fields that differ from their defaults, which keeps the text short."""
    return {
        field.name: _jsonable(own)
        for field in attrs.fields(type(value))
        if (own := getattr(value, field.name)) != field.default
    }


def _jsonable(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if type(value) in _NAMES:
        return {"type": _NAMES[type(value)], **_renamed(_fields(value))}
    if isinstance(value, list | tuple):
        return [_jsonable(each) for each in value]
    return value


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    """An Opaque has a field `type` of its own."""
    return {("block_type" if name == "type" else name): value for name, value in fields.items()}


def _message(item: Any, where: str) -> Message:
    fields = dict(_mapping(item, where))
    content = fields.get("content", "")
    if not isinstance(content, str):
        parts = _list(content, f"{where}.content")
        fields["content"] = tuple(
            _part(part, f"{where}.content[{index}]") for index, part in enumerate(parts)
        )
    for name in ("partial", "cache"):
        if not isinstance(fields.get(name, False), bool):
            raise InvalidRequest(f"{where}.{name}: true or false is needed")
    message: Message = _made(Message, {"content": content, **fields}, where)
    return message


def _part(item: Any, where: str) -> Any:
    fields = dict(_mapping(item, where))
    cls = _PARTS.get(str(fields.pop("type", "")))
    if cls is None:
        raise InvalidRequest(f"{where}.type: one of {', '.join(_PARTS)} is needed")
    if "block_type" in fields:
        fields["type"] = fields.pop("block_type")
    if cls in _BYTES and isinstance(fields.get("data"), str):
        try:
            fields["data"] = base64.b64decode(fields["data"], validate=True)
        except ValueError:
            raise InvalidRequest(f"{where}.data: base64 is needed") from None
    if isinstance(fields.get("content"), list):
        fields["content"] = tuple(
            _part(part, f"{where}.content[{index}]") for index, part in enumerate(fields["content"])
        )
    return _made(cls, fields, where)


def _made(cls: type, fields: Mapping[str, Any], where: str) -> Any:
    try:
        return cls(**_mapping(fields, where))
    except TypeError as error:  # a field is missing or unknown
        raise InvalidRequest(f"{where}: {str(error).partition('() ')[2] or error}") from None
    except InvalidRequest as error:
        raise InvalidRequest(f"{where}: {error}") from None


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequest(f"{where}: an object is needed, not {type(value).__name__}")
    return value


def _list(value: Any, where: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise InvalidRequest(f"{where}: an array is needed, not {type(value).__name__}")
    return value
