"""Values of this API that stand by themselves: paths, token counts and images. Knows no order of events."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ...events import Usage
from ...messages import File, Image
from ..payload import Malformed, as_count, as_text

CONTINUATION = "continuation"
"""Type of the opaque part that holds the token of an answer that paused (finishReason CONTINUATION): the request that
goes on with it needs the token."""

UPLOADS = "https://generativelanguage.googleapis.com/v1beta/"
"""Stands before the name of an upload, "files/…", in a fileUri."""


def resource_path(model: str) -> str:
    """Return `models/x` for a bare id; ids that name their collection (models/x, tunedModels/x) stay as they are.

    A name may come from a client, and must not lead to another path of the provider.
    """
    if "/" in model and not {"", ".", ".."} & {*model.split("/")}:
        return quote(model, safe="/@")
    return "models/" + quote(model, safe="@")


def media_of(part: Mapping[str, Any], signature: str | None) -> Image | File | None:
    """The image or the speech that a part holds. One that is still a thought is not part of the answer.

    None also for one without a byte, and for speech with a signature, which a File has no field for.
    """
    data = part.get("inlineData")
    if not isinstance(data, dict) or part.get("thought"):
        return None
    media_type = as_text(data.get("mimeType"), "mimeType")
    is_speech = media_type.startswith("audio/") and signature is None
    if not (media_type.startswith("image/") or is_speech):
        return None
    try:
        content = base64.b64decode(as_text(data.get("data"), "data"))
    except ValueError:
        raise Malformed(f"{'speech' if is_speech else 'an image'} that is not base64") from None
    if not content:
        return None
    if is_speech:
        return File(data=content, media_type=media_type)
    return Image(data=content, media_type=media_type, signature=signature)


def usage_of(counts: object) -> Usage:
    """Input includes what tools brought in, output includes thoughts. Counts of 0 are left out on the wire."""
    if not isinstance(counts, Mapping):  # no reason to fail an answer
        return Usage()
    return Usage(
        input_tokens=_sum(counts, "promptTokenCount", "toolUsePromptTokenCount"),
        output_tokens=_sum(counts, "candidatesTokenCount", "thoughtsTokenCount"),
        total_tokens=as_count(counts.get("totalTokenCount")),
        cached_input_tokens=as_count(counts.get("cachedContentTokenCount")),
        reasoning_tokens=as_count(counts.get("thoughtsTokenCount")),
    )


def _sum(counts: Mapping[str, Any], *names: str) -> int | None:
    found = [n for name in names if (n := as_count(counts.get(name))) is not None]
    return sum(found) if found else None
