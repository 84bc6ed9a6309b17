"""The Failure for a response whose status is not 2xx: of a request, a health check or a list of models.

Status and headers have arrived and are always used. The body only explains them; it is read within limits, because it
may be a web page, compressed, cut, or never arrive.
"""

from __future__ import annotations

from datetime import UTC, datetime

import trio

from ...failures import Failure, classify
from ...http.content_encoding import DecodingError, decompressor_for
from ...http.errors import ReadTimeout
from ..settings.secrets import ApiKey
from .errors import TransportFailed
from .response import Response

ERROR_BODY_SECONDS = 5.0
"""Seconds for which an error body is read."""
ERROR_BODY_LIMIT = 64 * 1024
"""Bytes of an error body that are read, and bytes that are kept when it is decompressed."""


async def read_failure(response: Response, key: ApiKey | None, *, until: float) -> Failure:
    """Read the error body for at most five seconds; return what it proves. The caller closes the response.

    Args:
        response: with an error status.
        key: is removed from the texts of the failure.
        until: Trio time at which reading ends in any case.
    """
    body = await _read(response, min(trio.current_time() + ERROR_BODY_SECONDS, until))
    return _failure_of(response, key, body)


def failure_of_head(response: Response, key: ApiKey | None) -> Failure:
    """Return what status and headers alone prove. Args are those of `read_failure`."""
    return _failure_of(response, key, b"")


def _failure_of(response: Response, key: ApiKey | None, body: bytes) -> Failure:
    secrets = (key.reveal(),) if key else ()
    return classify(response.status, response.headers, body, now=datetime.now(UTC), secrets=secrets)


async def _read(response: Response, until: float) -> bytes:
    """Return the decompressed body, or the part of it that arrived and could be decompressed."""
    body, received = bytearray(), 0
    try:
        decompressor = decompressor_for(response.headers.get("content-encoding"))
        while received < ERROR_BODY_LIMIT and (data := await response.receive(until)):
            received += len(data)
            for piece in decompressor.feed(data) if decompressor else (data,):
                body += piece[: ERROR_BODY_LIMIT - len(body)]
                if len(body) >= ERROR_BODY_LIMIT:
                    return bytes(body)
    except (TransportFailed, ReadTimeout, DecodingError):
        pass  # a part of the explanation is better than none
    return bytes(body)
