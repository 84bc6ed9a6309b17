"""Fields that a server wants back as they came, packed as JSON text into the signature of a part.

OpenAI's APIs are extended by many servers: OpenRouter's `reasoning_details`, Gemini's `extra_content`, the `namespace`
of a call. Our parts have no field for each of them, but every signed part has a signature with an origin. Signatures of
other APIs are base64 or ids, never a JSON object. Knows no dialect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .codec import compact
from .payload import Malformed, load_object


def packed(fields: Mapping[str, Any]) -> str:
    """Return the fields as the text of a signature. Raises Malformed for fields nested too deeply."""
    try:
        return compact(fields)
    except RecursionError:
        raise Malformed("fields nested too deeply") from None


def is_packed(signature: str | None) -> bool:
    """Whether a signature holds fields, and is not one of another API."""
    return signature is not None and signature.startswith("{")


def unpacked(signature: str | None) -> dict[str, Any]:
    """Return the fields of a signature; none where it is one of another API."""
    if signature is None or not is_packed(signature):
        return {}
    try:
        return load_object(signature)
    except Malformed:
        return {}
