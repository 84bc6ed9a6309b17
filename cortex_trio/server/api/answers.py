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
from ...otp.nursery import open_flat_nursery
from ..exchange import CancelReason, Exchange, Headers
from .frames import AnswerFrames
from .inbound import Inbound
from .ingress import Ingress

KEEPALIVE_SECONDS = 15.0
"""Without content, after which bytes that mean nothing are sent: clients and proxies give up after 30 to 60."""
LEAST_SLEEP_SECONDS = 1.0
"""Between two looks at a write that the client does not read."""
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
        await _Streamed(asked).send()
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


@final
class _Streamed:
    """One streamed answer."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._answer = asked.answer
        self._exchange = asked.exchange
        self._frames: AnswerFrames  # made when the model is known
        self._written = trio.current_time()  # when the last write ended
        self._is_writing = False
        # Set when the keepalive that is being written has been sent. None: none is being written.
        self._keepalive_sent: trio.Event | None = None

    async def send(self) -> None:
        asked, answer = self._asked, self._answer
        async with answer:
            asked.limit.deadline = float("inf")  # from here on the client sees that something comes
            inbound = asked.inbound
            parsed = attrs.evolve(inbound.parsed, model=answer.model)
            self._frames = AnswerFrames(inbound.ingress, parsed, may_continue=asked.how == "continue")
            attempts = len(answer.attempts) + 1
            await self._exchange.begin(200, _headers(inbound.ingress, inbound, answer, attempts))
            await self._send_events()

    async def _send_events(self) -> None:
        async with open_flat_nursery() as nursery:
            nursery.start_soon(self._keep_alive)
            try:
                await self._send_until_the_end()
            except trio.Cancelled:
                if self._exchange.cancel_reason is CancelReason.DRAINING:
                    with trio.move_on_after(LAST_WORDS_SECONDS, shield=True):
                        await self._end_early()
                raise
            nursery.cancel_scope.cancel()

    async def _send_until_the_end(self) -> None:
        try:
            while events := await self._answer.receive():
                if unwanted := self._unwanted_restart(events):
                    await self._break_off(unwanted.failure.kind, str(unwanted.failure))
                    return
                await self._write(self._frames.of(events))
        except StreamInterrupted as error:
            await self._break_off(error.failure.kind, str(error))
            return
        await self._end()

    async def _write(self, data: bytes) -> None:
        await self._take_turn()
        await self._exchange.write(data)
        self._is_writing = False
        self._written = trio.current_time()

    async def _end(self) -> None:
        await self._take_turn()
        await self._exchange.end()

    async def _take_turn(self) -> None:
        """Wait until no keepalive is being written; none is until `_is_writing` is reset."""
        if self._keepalive_sent is not None:
            await self._keepalive_sent.wait()
        self._is_writing = True

    async def _keep_alive(self) -> None:
        """Write bytes that mean nothing while nothing else is written.

        A task for each stream is cheaper than a deadline for each event.
        """
        while True:
            due = self._written + KEEPALIVE_SECONDS
            if self._is_writing or trio.current_time() < due:
                await trio.sleep_until(max(due, trio.current_time() + LEAST_SLEEP_SECONDS))
                continue
            sent = self._keepalive_sent = trio.Event()
            await self._exchange.write(self._frames.keepalive())
            self._written, self._keepalive_sent = trio.current_time(), None
            sent.set()

    def _unwanted_restart(self, events: Sequence[StreamEvent | Forwarded]) -> Restarted | None:
        """Return a restart that the client has not asked for, or whose API has no place for it."""
        if self._asked.how == "restart" and self._frames.can_restart:
            return None
        return next((event for event in events if isinstance(event, Restarted)), None)

    async def _break_off(self, kind: FailureKind, message: str) -> None:
        await self._write(self._frames.fail(kind, message))
        await self._end()

    async def _end_early(self) -> None:
        self._keepalive_sent = None  # its task is gone
        await self._break_off(FailureKind.OVERLOADED, "the server is being stopped")


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
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text).strip()


def tokens_of(attempts: Sequence[Attempt]) -> int:
    """Return the tokens that attempts have used, as far as the providers have said."""
    total = 0
    for attempt in attempts:
        if (usage := attempt.usage) is not None:
            known = (usage.input_tokens or 0) + (usage.output_tokens or 0)
            total += usage.total_tokens if usage.total_tokens is not None else known
    return total
