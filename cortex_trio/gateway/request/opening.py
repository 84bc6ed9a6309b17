"""The first half of an attempt: connect, send, read the status and the headers. Knows no event of the answer."""

from __future__ import annotations

from datetime import UTC, datetime

import trio

from ...failures import empty_bucket_reset
from ...http.content_encoding import DecodingError, decompressor_for
from ..transport.error_response import failure_of_head, read_failure
from ..transport.errors import TransportFailed
from ..transport.response import Response
from .decoding import ResponseDecoder
from .non_streaming import NonStreamingFallback
from .prepared import PreparedAttempt


async def send_request(attempt: PreparedAttempt) -> Response:
    """Connect, send the request and read the headers.

    Returns:
        The response, with any status. The caller closes it.

    Raises:
        AttemptFailed: the connection failed, or no headers came in time.
    """
    with trio.move_on_at(attempt.first_token_deadline):
        try:
            return await attempt.candidate.endpoint.connections.send(
                attempt.request,
                attempt.key,
                connect_timeout=attempt.timeouts.until_connected,
                deadlines=attempt.runtime.deadlines,
                fresh=attempt.fresh,
                progress=attempt.progress,
            )
        except TransportFailed as error:
            raise attempt.failed(error.failure, error.__cause__) from error
    raise attempt.failed(attempt.timed_out("headers"))


async def check_status(attempt: PreparedAttempt, response: Response) -> None:
    """Raise AttemptFailed for an error status, classified with its body."""
    if 200 <= response.status < 300:
        return
    try:
        failure = await read_failure(response, attempt.key, until=attempt.timeouts.until)
    except trio.Cancelled:
        attempt.admission.left_before_body(attempt.runtime, failure_of_head(response, attempt.key))
        raise
    raise attempt.failed(failure)


def decoder_for(attempt: PreparedAttempt, response: Response) -> ResponseDecoder:
    """Return the decoder for the body that the headers announce.

    Raises:
        AttemptFailed: the body is a web page, or packed in an unknown way.
    """
    try:
        decompressor = decompressor_for(response.headers.get("content-encoding"))
    except DecodingError as error:
        raise attempt.protocol_error(str(error)) from error
    content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "text/html":
        raise attempt.protocol_error("the answer is a web page")
    decoder = attempt.decoder
    # Ollama's cloud calls its lines application/json, and one object is a line, too.
    accepted = attempt.request.headers.get("accept")
    sends_lines = accepted == "application/x-ndjson"
    is_whole = attempt.job.whole_hook is not None or attempt.job.is_whole(attempt.candidate)
    if content_type == "application/json" and not sends_lines and not is_whole:
        # Streaming was asked for and a whole answer came: it is read all the same.
        decoder = NonStreamingFallback(attempt.candidate.dialect, decoder)
    return ResponseDecoder(attempt, decoder, decompressor, content_type if content_type != accepted else None)


def record_rate_limit(attempt: PreparedAttempt, response: Response) -> None:
    """Begin a cooldown if the headers of a response say that no further request is allowed now."""
    if seconds := empty_bucket_reset(response.headers, datetime.now(UTC)):
        candidate = attempt.candidate
        attempt.runtime.cooldowns.bucket_is_empty(
            candidate.state.name, candidate.model, attempt.key, seconds, trio.current_time()
        )
