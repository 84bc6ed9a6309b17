"""What a user gives to a command: texts, standard input, images and a JSON Schema. Knows no gateway."""

from __future__ import annotations

import json
import mimetypes
import select
import sys
from pathlib import Path
from typing import Any

from ..failures import InvalidRequest
from ..messages import Image, Message, user

PATIENCE_SECONDS = 2.0
"""How long standard input may be silent before a note says that it is being read."""
SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
"""The first bytes of the image formats that the providers read. WebP has its name at byte 8."""


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
        raise InvalidRequest("standard input is not text; -a FILE attaches an image") from None


def _note_if_silent() -> None:
    try:
        ready, _, _ = select.select([sys.stdin], [], [], PATIENCE_SECONDS)
    except (OSError, ValueError):
        return  # an input that cannot be waited for
    if not ready:
        print("cortex-trio: reading standard input; end it with Ctrl-D or < /dev/null", file=sys.stderr)


def message_from(prompt: str, attachments: list[str]) -> Message:
    """Return the message of the user, images in front of the text. Raises InvalidRequest, OSError."""
    if not attachments:
        return user(prompt)
    return user(*(image_from(name) for name in attachments), prompt)


def image_from(name: str) -> Image:
    """Return the image of a file or a URL.

    Raises:
        InvalidRequest: The file is no image that providers read.
        OSError: The file cannot be read.
    """
    if name.startswith(("http://", "https://")):
        return Image(url=name)
    data = Path(name).read_bytes()
    media_type = _media_type(name, data)
    if media_type is None:
        raise InvalidRequest(f"-a {name}: not an image (PNG, JPEG, GIF and WebP can be attached)")
    return Image(data=data, media_type=media_type)


def _media_type(name: str, data: bytes) -> str | None:
    """Return the type by the first bytes, which are right where a suffix is not."""
    for signature, media_type in SIGNATURES.items():
        if data.startswith(signature):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    by_suffix = mimetypes.guess_type(name)[0]
    is_other_image = by_suffix in ("image/heic", "image/heif", "image/avif", "image/bmp", "image/tiff")
    return by_suffix if is_other_image else None


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
