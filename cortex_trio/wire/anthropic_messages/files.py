"""Encodes files as blocks: documents and images. Knows no conversation around them."""

from __future__ import annotations

import base64
from typing import Any

from ...failures import InvalidRequest
from ...messages import File
from ..options import refused

Block = dict[str, Any]

PDF = "application/pdf"

ALLOWED = "images and PDF, and text as bytes or by the id of an upload"


def file_block(file: File, provider: str) -> Block:
    """Return the block of a file.

    Raises:
        Unsupported: The API has no block for such a file.
        InvalidRequest: A text is not UTF-8.
    """
    kind = file.media_type or ""
    source = _source(file, kind, provider)
    if kind.startswith("image/"):
        return {"type": "image", "source": source}
    block = {"type": "document", "source": source}
    return {**block, "title": file.name} if file.name else block


def names_an_upload(body: Block) -> bool:
    """Whether a block of the messages, or of a tool result in them, is the file of an id."""
    blocks = [block for turn in body["messages"] for block in turn["content"]]
    inner = [one for block in blocks if isinstance(block.get("content"), list) for one in block["content"]]
    return any(
        block["type"] in ("document", "image") and block["source"]["type"] == "file"
        for block in (*blocks, *inner)
        if "source" in block
    )


def _source(file: File, kind: str, provider: str) -> Block:
    is_text, is_whole = kind.startswith("text/"), kind == PDF or kind.startswith("image/")
    if file.id is not None and (is_text or is_whole or not kind):
        return {"type": "file", "file_id": file.id}
    if file.url is not None and (is_whole or not kind):
        return {"type": "url", "url": file.url}
    if file.data is not None and is_whole:
        data = base64.b64encode(file.data).decode("ascii")
        return {"type": "base64", "media_type": kind, "data": data}
    if file.data is not None and is_text:
        return {"type": "text", "media_type": "text/plain", "data": _text(file)}
    raise refused(file, provider, ALLOWED)


def _text(file: File) -> str:
    try:
        return (file.data or b"").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRequest(f"File {file.name or ''}: {file.media_type} must be UTF-8") from None
