"""Read a file and find its media type. Knows no message and no provider."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from ..failures import InvalidRequest

IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""The types of images that every provider with images takes."""

SIGNATURES = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"%PDF-", "application/pdf"),
    (8, b"WAVE", "audio/wav"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"OggS", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
)
"""Where a type has its signature, the bytes of it, and the media type. Source: the formats' specifications."""

SUFFIXES = {
    ".md": "text/markdown",
    ".wav": "audio/wav",  # Python says audio/x-wav, which no provider knows
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".webp": "image/webp",
}
"""Types by suffix that Python's own table lacks, has in another form, or takes from the operating system."""


def image_type(media_type: str | None) -> str | None:
    """Return the registered name of a type of images: many write `image/jpg`, which some providers refuse.

    Args:
        media_type: The type as it was given; None: it is unknown.
    """
    return "image/jpeg" if media_type == "image/jpg" else media_type


def read_file(path: str | Path, what: str) -> bytes:
    """Return the bytes of a file.

    Args:
        path: The file.
        what: The value it is for, for the error text: "Image" or "File".

    Raises:
        OSError: The file cannot be read.
        InvalidRequest: The file is empty.
    """
    data = Path(path).read_bytes()
    if not data:
        raise InvalidRequest(f"{what}: {Path(path).name} is empty")
    return data


def media_type_of(data: bytes, name: str = "") -> str | None:
    """Return the media type of a file; None if it is not known.

    Args:
        data: The bytes of the file.
        name: The name of the file; its suffix decides before the bytes do. Empty: the bytes decide.
    """
    suffix = Path(name).suffix.lower()
    by_suffix = SUFFIXES.get(suffix) or mimetypes.guess_type(f"file{suffix}")[0]
    if by_suffix:
        return by_suffix
    for offset, signature, media_type in SIGNATURES:
        if data.startswith(signature, offset):
            return media_type
    return None
