"""Content parts of a message of the Responses API: images and files, written and read. Both sides of the dialect."""

from __future__ import annotations

from typing import Any

from ...messages import File, Image
from ..codec import Unsupported, data_url
from ..reading import Value

Json = dict[str, Any]


def image_part(image: Image) -> Json:
    """Return an image as the API takes it."""
    url = image.url if image.data is None else data_url(image.media_type, image.data)
    detail = {"detail": image.detail} if image.detail else {}
    return {"type": "input_image", "image_url": url, **detail}


def file_part(file: File, provider: str) -> Json:
    """Return a file as the API takes it. Raises Unsupported for speech and video."""
    kind = (file.media_type or "").lower()
    if kind.startswith(("audio/", "video/")):
        raise Unsupported(f"a File of type {kind:.60}", provider)
    if file.id is not None:
        return {"type": "input_file", "file_id": file.id}
    if file.data is not None and kind.startswith("image/"):
        return image_part(Image(data=file.data, media_type=kind))
    if file.data is None:
        return {"type": "input_file", "file_url": file.url}
    return {"type": "input_file", "filename": file.name or "file", "file_data": data_url(kind, file.data)}


def read_image(part: Value) -> Image:
    """Return the image of an `input_image` with an address; "auto" is the default. Raises Illegal."""
    detail = part.optional("detail", Value.text)
    return part.at("image_url").image(detail=None if detail == "auto" else detail)


def read_file(part: Value) -> File:
    """Return the file of an `input_file`. Raises Illegal."""
    if (file_id := part.optional("file_id", Value.text)) is not None:
        return File(id=file_id)
    if (url := part.optional("file_url", Value.text)) is not None:
        return File(url=url)
    name = part.optional("filename", Value.text)
    return part.at("file_data").data_url_file(None if name == "file" else name)
