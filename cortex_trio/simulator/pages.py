"""Bodies that do not come from a provider: the pages of a proxy, and events that were damaged on the way."""

from __future__ import annotations

from collections.abc import Mapping

from ..failures import FailureKind
from ..wire.server import HttpResponse

EDGE_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    b"<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n"
)
PORTAL_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body>Log in to go on</body></html>\n"
)

GARBLED: Mapping[str, bytes] = {
    "chat_completions": b'data: {"id":"chatcmpl-sim","object":"chat.completion.chunk","choices":[{"index":0,"del\n\n',
    "responses": b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","del\n\n',
    "anthropic_messages": b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"te\n\n',
    "gemini": b'data: {"candidates": [{"content": {"parts": [{"te\r\n\r\n',
    "cohere_chat": b'event: content-delta\ndata: {"type":"content-delta","index":0,"delta":{"mess\n\n',
    "ollama_chat": b'{"model":"sim","created_at":"2026-01-01T00:00:00Z","message":{"role":"assis\n',
}
"""A malformed event, by dialect."""
GARBLED_ELEMENT = b',\n{"candidates": [}\n'
"""The same in a stream that is one JSON array."""


def garbled(dialect: str, content_type: str) -> bytes:
    """Return a malformed event in the framing of a stream."""
    if dialect == "gemini" and content_type.startswith("application/json"):
        return GARBLED_ELEMENT
    return GARBLED.get(dialect, b"data: {\n\n")


def foreign_failure(kind: FailureKind, status: int | None) -> HttpResponse | None:
    """Return the response of a failure that is not the provider's own; None for all other kinds."""
    match kind:
        case FailureKind.EDGE:  # a proxy cannot reach the provider
            headers = {"content-type": "text/html; charset=UTF-8", "server": "cloudflare"}
            return HttpResponse(status=status or 502, headers=headers, body=EDGE_PAGE)
        case FailureKind.UNKNOWN:  # a server on the way redirects
            headers = {"content-type": "text/html", "location": "https://login.invalid/"}
            return HttpResponse(status=status or 302, headers=headers, body=PORTAL_PAGE)
        case _:
            return None
