"""Turns an answer that is not a 2xx into a Failure: for requests, health checks and model lists alike.

The status and its headers are here already and are never forgotten: the body, which may be a web page, packed, cut or
never come, is read within limits and only explains them.
"""

from __future__ import annotations

from datetime import UTC, datetime

import trio

from ...failures import Failure, classify
from ...http.content_encoding import BadEncoding, unpacker_for
from ...http.exchange import ReadTimeout
from ..settings.secrets import ApiKey
from .connections import Answer, TransportFailed

ERROR_BODY_SECONDS = 5.0
ERROR_BODY_LIMIT = 64 * 1024
"""Bytes of an error body that are read, and that are kept of it when it is unpacked."""


async def read_failure(answer: Answer, key: ApiKey | None, *, until: float) -> Failure:
    """Read the error body for at most five seconds, and not beyond `until` (Trio time); return what it proves.

    `key` is scrubbed from it. The answer stays open.
    """
    body = await _read(answer, min(trio.current_time() + ERROR_BODY_SECONDS, until))
    secrets = (key.reveal(),) if key else ()
    return classify(answer.status, answer.headers, body, now=datetime.now(UTC), secrets=secrets)


async def _read(answer: Answer, until: float) -> bytes:
    """The unpacked body, or as much of it as came and could be unpacked."""
    body, packed = bytearray(), 0
    try:
        unpacker = unpacker_for(answer.headers.get("content-encoding"))
        while packed < ERROR_BODY_LIMIT and (data := await answer.receive(until)):
            packed += len(data)
            for piece in unpacker.feed(data) if unpacker else (data,):
                body += piece[: ERROR_BODY_LIMIT - len(body)]
                if len(body) >= ERROR_BODY_LIMIT:
                    return bytes(body)
    except (TransportFailed, ReadTimeout, BadEncoding):
        pass  # half an explanation is better than none
    return bytes(body)
