"""Content parts of a chat completions message: texts, images, files and speech, written and read.

A file is `input_audio` where its type is WAV or MP3, and `file` otherwise; the API takes no file by URL. Both sides of
the dialect are here, so that what one writes the other reads.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from ...messages import File, Image
from ..codec import Unsupported, data_url
from ..reading import Value

Json = dict[str, Any]

AUDIO: Mapping[str, str] = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}
"""The formats of speech in a message, by media type."""

AUDIO_TYPES: Mapping[str, str] = {"wav": "audio/wav", "mp3": "audio/mpeg"}
"""The media types by format."""


def image_part(image: Image) -> Json:
    """Return an image as the API takes it."""
    url = image.url
    if image.data is not None:
        url = data_url(image.media_type, image.data)
    detail = {"detail": image.detail} if image.detail else {}
    return {"type": "image_url", "image_url": {"url": url, **detail}}


def file_part(file: File, provider: str) -> Json:
    """Return a file as the API takes it. Raises Unsupported for a URL, and for speech and video it does not take."""
    if file.id is not None:
        return {"type": "file", "file": {"file_id": file.id}}
    if file.data is None:
        raise Unsupported("a File by URL", provider)
    kind = str(file.media_type).lower()
    if kind.startswith("image/"):
        return image_part(Image(data=file.data, media_type=kind))
    if kind in AUDIO:
        sound = base64.b64encode(file.data).decode()
        return {"type": "input_audio", "input_audio": {"data": sound, "format": AUDIO[kind]}}
    if kind.startswith(("audio/", "video/")):
        raise Unsupported(f"a File of type {kind:.60} (speech is WAV or MP3)", provider)
    own = {"filename": file.name or "file", "file_data": data_url(kind, file.data)}
    return {"type": "file", "file": own}


# ------------------------------------------------------------------ the other side


def read_image(part: Value) -> Image:
    """Return the image of an `image_url`, which some clients send as the address alone. Raises Illegal."""
    image = part.at("image_url")
    if isinstance(image.raw, str):
        return image.image()
    return image.at("url").image(detail=image.optional("detail", Value.text))


def read_audio(part: Value) -> File:
    """Return the speech of an `input_audio`. Raises Illegal."""
    audio = part.at("input_audio")
    named = audio.at("format")
    if named.text() not in AUDIO_TYPES:
        raise named.invalid("'wav' or 'mp3'")
    return audio.at("data").file(AUDIO_TYPES[named.text()])


def read_file(part: Value) -> File:
    """Return the file of a `file`. Raises Illegal."""
    file = part.at("file")
    if (file_id := file.optional("file_id", Value.text)) is not None:
        return File(id=file_id)
    name = file.optional("filename", Value.text)
    return file.at("file_data").data_url_file(None if name == "file" else name)
