"""Read parts of messages from mappings in OpenAI's form. Every field is read, or refused with its place.

Fields that are None are never refused: OpenAI's and other SDKs write them for what is not there. Fields that only
repeat others, or that no API takes back, are skipped: `HARMLESS` lists them. Knows no provider.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping
from typing import Any, get_args

from ..failures import InvalidRequest
from .files import media_type_of
from .parts import Detail, File, Image, Part, Reasoning, Text, ToolCall

HARMLESS = frozenset({"annotations", "logprobs", "parsed", "parsed_arguments", "index"})
"""Fields of an answer that SDKs keep in its message and no API takes back."""

REASONING_FIELDS = ("reasoning_content", "reasoning")
"""Where an assistant message may hold reasoning as text; the first that is not empty counts."""

OWN_FIELDS = (
    "reasoning_details",
    "thinking_blocks",
    "extra_content",
    "thought_signature",
    "reasoning_opaque",
)
"""Fields of an assistant message that go back as they came, to servers of chat completions that may have them."""

AUDIO = {"wav": "audio/wav", "mp3": "audio/mpeg"}
"""Media types by the format of an `input_audio`."""


def require_known(item: Mapping[Any, Any], where: str, *allowed: str) -> None:
    """Check that a mapping has no other fields.

    Args:
        item: The mapping.
        where: Its place in the request, for the error text.
        allowed: The names of the fields that are read.

    Raises:
        InvalidRequest: A field is not known, and is not None.
    """
    for name, value in item.items():
        if value is not None and name not in allowed and name not in HARMLESS:
            raise InvalidRequest(f"{where}.{name!s:.40}: not supported; allowed are {', '.join(allowed)}")


def cache_from(item: Mapping[str, Any], where: str) -> bool:
    """Return whether a mapping has a prompt-cache breakpoint (`cache_control`).

    Args:
        item: A message, a part or a tool.
        where: Its place in the request, for the error text.

    Raises:
        InvalidRequest: It is another one than {"type": "ephemeral"} with the lifetime of five minutes.
    """
    control = item.get("cache_control")
    if control is None:
        return False
    if not isinstance(control, Mapping) or control.get("type") != "ephemeral":
        raise InvalidRequest(f'{where}.cache_control: {{"type": "ephemeral"}} is allowed')
    require_known(control, f"{where}.cache_control", "type", "ttl")
    if control.get("ttl") not in (None, "5m"):
        raise InvalidRequest(f'{where}.cache_control.ttl: "5m" is allowed, not {control["ttl"]!r:.40}')
    return True


def part_from(item: Mapping[str, Any], where: str) -> Part:
    """Return the part that a mapping describes.

    Args:
        item: A content part in OpenAI's form.
        where: Its place in the request, for the error text.

    Raises:
        InvalidRequest: Its type or one of its fields is not supported.
    """
    match item:
        case {"type": "text" | "input_text" | "output_text" | "refusal", "text": str(text)}:
            require_known(item, where, "type", "text", "cache_control")
            return Text(text)
        case {"type": "refusal", "refusal": str(text)}:
            require_known(item, where, "type", "refusal", "cache_control")
            return Text(text)
        case {"type": "image_url", "image_url": {"url": str(url)} as image}:
            require_known(item, where, "type", "image_url", "cache_control")
            require_known(image, f"{where}.image_url", "url", "detail")
            return image_from(url, f"{where}.image_url", image.get("detail"))
        case {"type": "image_url" | "input_image", "image_url": str(url)}:
            require_known(item, where, "type", "image_url", "detail", "cache_control")
            return image_from(url, f"{where}.image_url", item.get("detail"))
        case {"type": "input_audio", "input_audio": {"data": str(data), "format": str(kind)} as audio}:
            require_known(item, where, "type", "input_audio", "cache_control")
            require_known(audio, f"{where}.input_audio", "data", "format")
            return _audio(data, kind, f"{where}.input_audio")
        case {"type": "file", "file": Mapping() as file}:
            require_known(item, where, "type", "file", "cache_control")
            return _file(file, f"{where}.file")
        case {"type": "input_file"}:
            fields = {name: value for name, value in item.items() if name not in ("type", "cache_control")}
            return _file(fields, where)
        case {"type": "thinking", "thinking": str(text)}:
            require_known(item, where, "type", "thinking", "signature", "cache_control")
            return Reasoning(text, signature=item.get("signature"))
        case _:
            raise InvalidRequest(
                f'{where}.type: "text", "image_url", "input_audio", "file" or "thinking" with its field,'
                f" not {item.get('type')!r:.40}"
            )


def image_from(url: str, where: str, detail: object = None) -> Image:
    """Return an image by URL, or with bytes if `url` is a data URL.

    Args:
        url: An address, or "data:<media type>;base64,<bytes>".
        where: The place of the URL in the request, for the error text.
        detail: How closely the model is to look. None: the provider's default.

    Raises:
        InvalidRequest: The data URL is not base64, or names no media type, or the detail is not known.
    """
    if detail is not None and detail not in get_args(Detail):
        raise InvalidRequest(f"{where}.detail: one of {', '.join(get_args(Detail))}, not {detail!r:.40}")
    looked_at: Any = detail  # checked above
    if not url.startswith("data:"):
        return Image(url=url, detail=looked_at)
    media_type, data = _from_data_url(url, where, "data:image/png;base64,…")
    return Image(data=data, media_type=media_type, detail=looked_at)


def _from_data_url(url: str, where: str, example: str) -> tuple[str, bytes]:
    head, _, payload = url[len("data:") :].partition(",")
    media_type, _, encoding = head.partition(";")
    if encoding != "base64" or not media_type:
        raise InvalidRequest(f"{where}: a data URL must look like {example}")
    return media_type, _bytes(payload, where, "the data URL is not valid base64")


def _bytes(text: str, where: str, complaint: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error, or a ValueError for characters that are not ASCII
        raise InvalidRequest(f"{where}: {complaint}") from None


def _audio(data: str, kind: str, where: str) -> File:
    if kind not in AUDIO:
        raise InvalidRequest(f"{where}.format: one of {', '.join(AUDIO)}, not {kind!r:.40}")
    return _file_of(_bytes(data, f"{where}.data", "not valid base64"), AUDIO[kind], None, f"{where}.data")


def _file(file: Mapping[str, Any], where: str) -> File:
    require_known(file, where, "file_id", "file_data", "file_url", "filename")
    match file:
        case {"file_id": str(file_id)}:
            return File(id=file_id)
        case {"file_url": str(url)}:
            return File(url=url)
        case {"file_data": str(data)}:
            return _file_from(data, file.get("filename"), f"{where}.file_data")
        case _:
            raise InvalidRequest(f"{where}: file_data, file_url or file_id is needed, a str")


def _file_from(data: str, name: object, where: str) -> File:
    """A data URL, or base64 alone: then the name or the bytes say which type the file has."""
    named = name if isinstance(name, str) else None
    if data.startswith("data:"):
        media_type, content = _from_data_url(data, where, "data:application/pdf;base64,…")
        return _file_of(content, media_type, named, where)
    content = _bytes(data, where, "not valid base64")
    found = media_type_of(content, named or "")
    if found is None:
        raise InvalidRequest(f"{where}: a data URL is needed, which names the type of the file")
    return _file_of(content, found, named, where)


def _file_of(content: bytes, media_type: str, name: str | None, where: str) -> File:
    if not content:
        raise InvalidRequest(f"{where}: the file is empty")
    return File(data=content, media_type=media_type, name=name)


# ------------------------------------------------------------------ an assistant message


def call_from(item: object, where: str) -> ToolCall:
    """Return the tool call that a mapping describes.

    Args:
        item: An entry of `tool_calls` in OpenAI's form.
        where: Its place in the request, for the error text.

    Raises:
        InvalidRequest: A field is missing, or not supported.
    """
    if not isinstance(item, Mapping):
        raise InvalidRequest(f"{where}: a mapping is needed, not {type(item).__name__}")
    match item:
        case {"id": str(id), "function": {"name": str(name), "arguments": str(arguments)} as function}:
            require_known(item, where, "id", "type", "function", "extra_content")
            require_known(function, f"{where}.function", "name", "arguments")
            return ToolCall(id, name, arguments, _signature(item.get("extra_content"), where))
        case {"id": str(id), "custom": {"name": str(name), "input": str(text)} as custom}:
            require_known(item, where, "id", "type", "custom")
            require_known(custom, f"{where}.custom", "name", "input")
            return ToolCall(id, name, text, kind="custom")
        case _:
            raise InvalidRequest(f"{where}: needs id and function {{name, arguments}}, all strings")


def reasoning_from(item: Mapping[str, Any], where: str) -> tuple[Reasoning, ...]:
    """Return the reasoning of an assistant message in OpenAI's form, with the fields that go back as they came.

    Args:
        item: The message.
        where: Its place in the request, for the error text.

    Raises:
        InvalidRequest: The reasoning is not text, or a field has no JSON form.
    """
    thoughts = next((found for name in REASONING_FIELDS if (found := item.get(name))), "")
    if not isinstance(thoughts, str):
        raise InvalidRequest(f"{where}.reasoning_content: a str, not {type(thoughts).__name__}")
    own = {name: item[name] for name in OWN_FIELDS if item.get(name)}
    if not thoughts.strip() and not own:
        return ()
    return (Reasoning(thoughts, _json(own, where) if own else None),)


def _signature(extra: object, where: str) -> str | None:
    """Gemini's thought signature, or all of `extra_content` as JSON text where it holds more."""
    if not extra:
        return None
    if not isinstance(extra, Mapping):
        raise InvalidRequest(f"{where}.extra_content: a mapping, not {type(extra).__name__}")
    match extra:
        case {"google": {"thought_signature": str(signature), **google}, **others} if (
            not google and not others
        ):
            return signature
    return _json(extra, f"{where}.extra_content")


def _json(value: Collection[Any], where: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        raise InvalidRequest(f"{where}: there is no JSON for what it holds") from None
