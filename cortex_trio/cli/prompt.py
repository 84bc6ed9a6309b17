"""What a user gives to a command: texts, standard input, files and a JSON Schema. Knows no gateway."""

from __future__ import annotations

import json
import select
import sys
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from ..failures import InvalidRequest
from ..messages import Document, File, Image, Message, user
from ..messages.files import IMAGE_TYPES, media_type_of, read_file

PATIENCE_SECONDS = 2.0
"""How long standard input may be silent before a note says that it is being read."""

TEXT_TYPES = (
    "application/json",
    "application/xml",
    "application/javascript",
    "application/x-sh",
    "image/svg+xml",
)
"""Media types of text, beside text/*. A file of an unknown type that is UTF-8 is text as well."""


def has_terminal_input() -> bool:
    """Return whether a user types: standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def prompt_from(argument: str | None) -> str:
    """Return the prompt: standard input, if it is not a terminal, in front of the argument.

    Args:
        argument: The text of the command line. None: there is none; "-": standard input is read from a terminal, too.

    Raises:
        InvalidRequest: Both are empty.
    """
    given = argument if argument not in (None, "-") else ""
    read = "" if has_terminal_input() and argument != "-" else read_input()
    prompt = "\n\n".join(text for text in (read.rstrip("\n"), given or "") if text.strip())
    if not prompt:
        raise InvalidRequest("the prompt is empty")
    return prompt


def read_input() -> str:
    """Return all of standard input; "" if it is closed. A note says so if it is silent.

    Raises:
        InvalidRequest: It is not text in UTF-8.
    """
    if sys.stdin is None:
        return ""
    _note_if_silent()
    try:
        return sys.stdin.read()
    except UnicodeDecodeError:
        raise InvalidRequest("standard input is not text; -a FILE attaches a file") from None


def _note_if_silent() -> None:
    try:
        ready, _, _ = select.select([sys.stdin], [], [], PATIENCE_SECONDS)
    except (OSError, ValueError):
        return  # an input that cannot be waited for
    if not ready:
        print("cortex-trio: reading standard input; end it with Ctrl-D or < /dev/null", file=sys.stderr)


def message_from(prompt: str, attachments: list[str]) -> Message:
    """Return the message of the user, attachments in front of the text. Raises InvalidRequest, OSError."""
    if not attachments:
        return user(prompt)
    return user(*(attachment_from(name) for name in attachments), prompt)


def attachment_from(name: str) -> Image | File | Document:
    """Return the attachment at a path or a URL: an image, a text, or another file such as a PDF.

    Every provider gets the text of a text file. A worker that cannot take another file is skipped.

    Raises:
        InvalidRequest: The file is empty, or its type is not known.
        OSError: The file cannot be read.
    """
    if name.startswith(("http://", "https://")):
        return _linked(name)
    data = read_file(name, f"-a {name}")
    by_bytes, by_name = media_type_of(data), media_type_of(data, name)
    if by_bytes in IMAGE_TYPES:
        return Image(data=data, media_type=by_bytes)
    is_text = by_name is None or by_name.startswith("text/") or by_name in TEXT_TYPES
    if is_text and (text := _text(data)) is not None:
        return Document(text, title=Path(name).name)
    if by_name is not None and by_name.startswith("image/") and by_name not in IMAGE_TYPES:
        return Image(data=data, media_type=by_name)  # HEIC and the like, which some providers take
    if by_name is None or by_name.startswith("image/"):
        raise InvalidRequest(f"-a {name}: neither an image, nor text, nor a file of a known type")
    return File(data=data, media_type=by_name, name=Path(name).name)


def _linked(url: str) -> Image | File:
    """Return the attachment that the provider loads itself: an image, unless the suffix says something else."""
    path = PurePosixPath(urlsplit(url).path)
    media_type = media_type_of(b"", path.name)
    if media_type is None or media_type.startswith("image/") or media_type == "text/html":
        return Image(url=url)
    return File(url=url, media_type=media_type, name=path.name)


def _text(data: bytes) -> str | None:
    """Return the text in UTF-8; None if it is something else."""
    try:
        return None if b"\0" in data else data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def schema_from(text: str) -> dict[str, Any]:
    """Return the JSON Schema in a file, or in the text itself if it begins with a brace.

    Raises:
        InvalidRequest: It is not a JSON object.
        OSError: The file cannot be read.
    """
    inline = text.lstrip().startswith("{")
    try:
        schema = json.loads(text if inline else Path(text).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"--schema {'' if inline else text}: not JSON ({error})") from None
    if not isinstance(schema, dict):
        raise InvalidRequest("--schema: a JSON object is needed")
    return schema
