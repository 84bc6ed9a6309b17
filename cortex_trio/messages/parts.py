"""The parts of a message: text, images, files, reasoning, tool calls and their results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import attrs

from ..failures import InvalidRequest
from .files import IMAGE_TYPES, image_type, media_type_of, read_file

ToolKind = Literal["function", "custom"]
"""A function takes a JSON object; a custom tool (OpenAI) takes free text."""

Phase = Literal["commentary", "final_answer"]
"""What a text of an answer is for: a remark while the model works, or the answer itself (OpenAI's Responses API)."""

Detail = Literal["auto", "low", "high", "original"]
"""How closely a model looks at an image. OpenAI's APIs take it."""

OTHER_KINDS = ("application", "audio", "text", "video")
"""What a media type of no image begins with."""


def _size(data: object, unit: str) -> str:
    return f"<{len(data)} {unit}>" if isinstance(data, str | bytes) else repr(data)


@attrs.frozen
class Text:
    """A piece of text."""

    text: str
    """The text, as it is sent."""

    signature: str | None = None
    """Gemini's opaque thought signature of a text that a model wrote. It is sent back only to `origin`."""

    origin: str | None = None
    """The "provider/model" of the model that wrote the text. None if the text has no signature."""

    phase: Phase | None = attrs.field(default=None, kw_only=True, eq=False)
    """What the text is for, for APIs that know it. None: the answer, or a text of the caller. Ignored by `==`."""


@attrs.frozen
class Image:
    """An image, by URL or as bytes. Exactly one of `url` and `data` is set.

    Raises:
        InvalidRequest: Both or neither of `url` and `data` are given, it is empty, or `data` has no `media_type`, or
            that of no image.
    """

    url: str | None = None
    """An address that the provider can load. None if `data` is set."""

    data: bytes | None = attrs.field(default=None, repr=lambda data: _size(data, "bytes"))
    """The bytes of the image. None if `url` is set."""

    media_type: str | None = attrs.field(default=None, converter=image_type)
    """The MIME type, such as "image/png". Needed with `data`; None means unknown."""

    signature: str | None = None
    """The provider's signature of an image that a model made, sent back only to `origin`. None: there is none."""

    origin: str | None = None
    """The "provider/model" of the model that made the image. None for an image of the caller."""

    detail: Detail | None = attrs.field(default=None, kw_only=True)
    """How closely the model is to look. None: the provider's default. Ignored where the API has no field for it."""

    def __attrs_post_init__(self) -> None:
        if (self.url is None) == (self.data is None):
            raise InvalidRequest("Image: exactly one of url= and data= is needed")
        if self.data is not None and not self.media_type:
            raise InvalidRequest('Image: data= needs media_type=, for example "image/png"')
        for name, value in (("url", self.url), ("data", self.data)):
            if value is not None and not value:
                raise InvalidRequest(f"Image: {name}= is empty")
        if self.data is not None and str(self.media_type).partition("/")[0] in OTHER_KINDS:
            raise InvalidRequest(f"Image: {self.media_type!r:.60} is no image; a File is for it")

    @classmethod
    def from_path(cls, path: str | Path) -> Image:
        """Return the image that a file holds. Reads the file, so it blocks for as long as the disk does.

        Args:
            path: The file. Its first bytes say which type it has, not its name.

        Raises:
            OSError: The file cannot be read.
            InvalidRequest: The file is empty, or is no PNG, JPEG, GIF or WebP image.
        """
        data = read_file(path, "Image")
        found = media_type_of(data)
        if found not in IMAGE_TYPES:
            raise InvalidRequest(
                f"Image: {Path(path).name} is not an image: {', '.join(IMAGE_TYPES)} are allowed"
                + (f", not {found}" if found else "")
            )
        return cls(data=data, media_type=found)


@attrs.frozen
class File:
    """A PDF, audio, video or other file: bytes, a URL, or the id of an upload. Exactly one of them is set.

    A worker whose dialect or model cannot take the file is skipped, as for every option.

    Raises:
        InvalidRequest: None or more than one of `data`, `url` and `id` is given, it is empty, or `data` has no
            `media_type`.
    """

    data: bytes | None = attrs.field(default=None, repr=lambda data: _size(data, "bytes"))
    """The bytes of the file. None if `url` or `id` is set."""

    media_type: str | None = None
    """The MIME type, such as "application/pdf" or "audio/wav". Needed with `data`; None means unknown."""

    url: str | None = None
    """An address that the provider can load. None if `data` or `id` is set."""

    id: str | None = None
    """The provider's id of a file that was uploaded to it before. None if `data` or `url` is set."""

    name: str | None = None
    """The name of the file, for the model. None: it has none."""

    def __attrs_post_init__(self) -> None:
        if sum(value is not None for value in (self.data, self.url, self.id)) != 1:
            raise InvalidRequest("File: exactly one of data=, url= and id= is needed")
        for name, value in (("data", self.data), ("url", self.url), ("id", self.id)):
            if value is not None and not value:
                raise InvalidRequest(f"File: {name}= is empty")
        if self.data is not None and not self.media_type:
            raise InvalidRequest('File: data= needs media_type=, for example "application/pdf"')

    @classmethod
    def from_path(cls, path: str | Path) -> File:
        """Return the file at `path`. Reads it, so it blocks for as long as the disk does.

        Args:
            path: The file. Its suffix says which type it has; without a known suffix, its first bytes do.

        Raises:
            OSError: The file cannot be read.
            InvalidRequest: The file is empty, or its type is not known.
        """
        data = read_file(path, "File")
        media_type = media_type_of(data, Path(path).name)
        if media_type is None:
            raise InvalidRequest(
                f"File: the type of {Path(path).name} is not known; use File(data=…, media_type=…)"
            )
        return cls(data=data, media_type=media_type, name=Path(path).name)


@attrs.frozen
class Document:
    """A text that the answer is to be based on.

    Cohere gets it in `documents`; other providers get a text part with the title in front.
    """

    text: str
    """The text of the document."""

    title: str | None = None
    """The title. None: it has none."""

    id: str | None = None
    """The name by which citations refer to the document. None: the provider numbers the documents."""


@attrs.frozen
class Reasoning:
    """Reasoning of a model. `signature` and `encrypted` are sent back only to the model they came from."""

    text: str
    """The reasoning, or the provider's summary of it. May be empty."""

    signature: str | None = None
    """The provider's opaque signature of the text. None: there is none."""

    encrypted: str | None = None
    """The reasoning itself in encrypted form. None: there is none."""

    origin: str | None = None
    """The "provider/model" of the answer that the reasoning was part of. None: it is sent to every provider."""


@attrs.frozen
class ToolCall:
    """A tool call that the model requests."""

    id: str
    """The id that the result refers to. Unique within an answer."""

    name: str
    """The name of the tool."""

    arguments: str
    """JSON text as the model wrote it, never serialised again; free text for a tool of kind "custom"."""

    signature: str | None = None
    """What the provider needs back with the call: Gemini's thought signature, Anthropic's `caller`. It is sent back
    only to `origin`. None: there is nothing."""

    origin: str | None = None
    """The "provider/model" of the model that made the call, which gets the signature back. None if there is none."""

    kind: ToolKind = "function"
    """Whether `arguments` is a JSON object or free text."""

    complete: bool = attrs.field(default=True, eq=False)
    """False if the answer ended inside the arguments, as in `StreamInterrupted.partial`. Ignored by `==`."""

    def parsed(self) -> dict[str, Any]:
        """Return the arguments as a dict.

        `""`, `"null"` and blanks mean `{}`: Groq and Cohere send them for tools without arguments.

        Raises:
            ValueError: The arguments are not JSON, or not an object.
        """
        if self.arguments.strip() in ("", "null"):
            return {}
        value = json.loads(self.arguments)
        if not isinstance(value, dict):
            raise ValueError(
                f"arguments of tool call {self.name!r} are a JSON {type(value).__name__}, not an object"
            )
        return value


@attrs.frozen
class ToolResult:
    """The result of a tool call, for a message with the role "tool"."""

    tool_call_id: str
    """The `ToolCall.id` of the call."""

    content: str | Sequence[Text | Image | File]
    """What the tool returned."""

    name: str | None = None
    """The name of the tool. None: it is taken from the call where a provider needs it."""

    is_error: bool = False
    """True if the tool failed and `content` says why."""


@attrs.frozen
class Opaque:
    """A block that only its provider understands, such as a web search that it ran. It is sent back unchanged.

    A conversation without its opaque blocks is still valid, but the model then lacks what they hold.
    """

    type: str
    """The provider's name for this type of block."""

    data: str = attrs.field(repr=lambda data: _size(data, "characters"))
    """The whole block, as JSON text."""

    origin: str | None = None
    """The "provider/model" of the model that made the block; only its provider gets it. None: every provider does."""

    def parsed(self) -> dict[str, Any]:
        """Return the block as a dict.

        Raises:
            ValueError: The block is not JSON, or not an object.
        """
        value = json.loads(self.data)
        if not isinstance(value, dict):
            raise ValueError(f"a block of type {self.type!r} is a JSON {type(value).__name__}, not an object")
        return value


Part = Text | Image | File | Document | Reasoning | ToolCall | ToolResult | Opaque
"""One part of a message."""
