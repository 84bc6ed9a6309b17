"""Asks the gateway for one answer and sends it, streamed or whole. Knows no connection and no list of models.

The head of a stream is sent when the first content is here: an error before it is an HTTP error, and failover before
it stays invisible. Behind it a stream ends whole or with the error event of its API, never in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, final

import attrs
import trio

from ...errors import StreamInterrupted
from ...events import Attempt, Forwarded, Restarted, StreamEvent
from ...failures import FailureKind
from ...gateway.request.stream import ChatStream
from ..exchange import CancelReason, Exchange, Headers
from .frames import AnswerFrames
from .inbound import Inbound
from .ingress import Ingress

LAST_WORDS_SECONDS = 1.0
"""For the error event of a stream that ends because the server is being stopped."""

Interruption = Literal["raise", "restart", "continue"]
"""What a client wants if its stream breaks off after some content."""


@final
@attrs.frozen
class Asked:
    """One answer that is about to be sent."""

    inbound: Inbound
    exchange: Exchange
    answer: ChatStream
    how: Interruption
    limit: trio.CancelScope
    """Ends the call when the client would not wait any longer."""


async def send_answer(asked: Asked) -> None:
    """Send one answer.

    Raises:
        CortexError: There is none, and nothing was sent.
        trio.BrokenResourceError: The client has left.
    """
    if asked.inbound.streams:
        await _send_streamed(asked)
    else:
        await _send_whole(asked)


async def _send_whole(asked: Asked) -> None:
    inbound, answer = asked.inbound, asked.answer
    async with answer:
        body = await forwarded_body(answer)
        if body is None:
            parsed = attrs.evolve(inbound.parsed, model=answer.model)
            body = inbound.ingress.server.render_reply(parsed, await answer.collect())
    asked.limit.deadline = float("inf")  # the answer is here
    headers = _headers(inbound.ingress, inbound, answer, len(answer.attempts))
    await asked.exchange.respond(200, headers, body)


async def forwarded_body(answer: ChatStream) -> bytes | None:
    """Read a whole answer and return its body as the provider sent it; None if it was translated."""
    body: bytes | None = None
    while events := await answer.receive():
        for event in events:
            if isinstance(event, Forwarded):
                body = event.data
    return body


async def _send_streamed(asked: Asked) -> None:
    inbound, answer, exchange = asked.inbound, asked.answer, asked.exchange
    async with answer:
        asked.limit.deadline = float("inf")  # from here on the client sees that something comes
        parsed = attrs.evolve(inbound.parsed, model=answer.model)
        frames = AnswerFrames(inbound.ingress, parsed, may_continue=asked.how == "continue")
        headers = _headers(inbound.ingress, inbound, answer, len(answer.attempts) + 1)
        await exchange.begin(200, headers, keepalive=frames.keepalive())
        try:
            await _send_events(asked, frames)
        except trio.Cancelled:
            if exchange.cancel_reason is CancelReason.DRAINING:
                with trio.move_on_after(LAST_WORDS_SECONDS, shield=True):
                    await _break_off(exchange, frames, FailureKind.OVERLOADED, "the server is being stopped")
            raise


async def _send_events(asked: Asked, frames: AnswerFrames) -> None:
    exchange = asked.exchange
    try:
        while events := await asked.answer.receive():
            if unwanted := _unwanted_restart(asked, frames, events):
                await _break_off(exchange, frames, unwanted.failure.kind, str(unwanted.failure))
                return
            await exchange.write(frames.of(events))
    except StreamInterrupted as error:
        await _break_off(exchange, frames, error.failure.kind, str(error))
        return
    await exchange.end()


def _unwanted_restart(
    asked: Asked, frames: AnswerFrames, events: Sequence[StreamEvent | Forwarded]
) -> Restarted | None:
    """Return a restart that the client has not asked for, or whose API has no place for it."""
    if asked.how == "restart" and frames.can_restart:
        return None
    return next((event for event in events if isinstance(event, Restarted)), None)


async def _break_off(exchange: Exchange, frames: AnswerFrames, kind: FailureKind, message: str) -> None:
    await exchange.write(frames.fail(kind, message))
    await exchange.end()


def _headers(ingress: Ingress, inbound: Inbound, answer: ChatStream, attempts: int) -> Headers:
    headers = [("content-type", ingress.server.content_type(inbound.parsed))]
    if inbound.streams:
        headers += [("cache-control", "no-cache"), ("x-accel-buffering", "no")]
    return (*headers, *worker_headers(answer.worker, answer.model, attempts, answer.overhead))


def worker_headers(worker: str, model: str, attempts: int, overhead: float | None) -> Headers:
    """Return the headers that say which worker has answered, and what it took; `overhead` is None if unknown."""
    headers = [
        ("x-cortex-worker", header_value(worker)),
        ("x-cortex-model", header_value(model)),
        ("x-cortex-attempts", str(attempts)),
    ]
    if overhead is not None:
        headers.append(("x-cortex-overhead-ms", f"{overhead * 1000:.1f}"))
    return tuple(headers)


def header_value(text: str) -> str:
    """Return `text` as it may stand in a header: what is no visible ASCII character becomes a question mark."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return text.strip()


def tokens_of(attempts: Sequence[Attempt]) -> int:
    """Return the tokens that attempts have used, as far as the providers have said."""
    total = 0
    for attempt in attempts:
        if (usage := attempt.usage) is not None:
            known = (usage.input_tokens or 0) + (usage.output_tokens or 0)
            total += usage.total_tokens if usage.total_tokens is not None else known
    return total
