"""One connection of a client: one loop that reads a request, has it answered, and goes on with the next.

Every wait has an end: for a head, for a body, for the next request, for a client that does not read, for a drain.
While a route works, the socket is read all the same: what comes is the next request, and an end means that the client
has left, which cancels the route at once. Knows no route: a `Front` decides.
"""

from __future__ import annotations

import math
import secrets
from typing import final

import trio

from ..otp.nursery import open_flat_nursery
from .access_log import Access, Outcome, is_logged, log_access
from .body import BadBody, BodyReader, BodyTooLarge, body_deadline, unpacked
from .client_stream import ClientStream
from .drain import Drain
from .exchange import KEY_HEADERS, CancelReason, ServedRequest
from .head import BadHead, HeadFinder, RequestHead, parse_head
from .limits_protocol import ErrorKind
from .outgoing import HttpExchange
from .settings import Limits
from .verdict import Accepted, Front, Refused

MOST_AHEAD = 64 * 1024
"""Bytes of the next requests that are kept while one is answered. Then the client waits."""
LINGER_SECONDS = 1.0
"""After a response to a request that was not read whole, its bytes are dropped for so long: a client that is still
sending when the socket is closed gets a reset and loses the response."""
UNPACK_IN_THREAD_BYTES = 64 * 1024
SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", *KEY_HEADERS})
DONE_HEADERS = frozenset({"content-encoding", "content-length", "transfer-encoding", "expect"})
"""They are not true of the body that a route gets."""


class RouteFailed(Exception):
    """A route has a bug: it raised, which is the cause, or has sent no response. Ends the connection only."""


class _BadRequestBody(Exception):
    """The body cannot be served: the error for the client."""

    def __init__(self, kind: ErrorKind, message: str, *, was_read: bool) -> None:
        super().__init__(message)
        self.refused = Refused(kind=kind, message=message)
        self.was_read = was_read


@final
class Connection:
    """Serves one client.

    Args:
        stream: the client's; it is closed at the end.
        peer: the client's address, for the log.
        front: decides about requests.
        limits: for every wait.
        drain: ends connections when the server is stopped.
        is_surplus: there are too many connections: the first request is answered with 503.
    """

    def __init__(
        self,
        stream: ClientStream,
        peer: str,
        front: Front,
        limits: Limits,
        drain: Drain,
        *,
        is_surplus: bool = False,
    ) -> None:
        self._stream = stream
        self._peer = peer
        self._front = front
        self._limits = limits
        self._drain = drain
        self._is_surplus = is_surplus
        self._data = bytearray()  # has arrived and belongs to no request yet
        self._finder = HeadFinder()
        self._exchange: HttpExchange | None = None  # of the current request, from the end of its head
        self._resets = False  # the last response was cut, and only a reset can show that
        self._is_started = False
        self._is_new = True  # no request has come

    # ------------------------------------------------------------------ for the server

    async def run(self) -> None:
        """Serve requests until the client leaves, a limit is reached or the server drains.

        Does nothing when it is called again: a listener that was killed cannot know whether its call has arrived.
        """
        if self._is_started:
            return
        self._is_started = True
        try:
            with trio.move_on_after(self._limits.head_timeout) as limit:
                await self._stream.handshake()
            while not limit.cancelled_caught and await self._serve_next():
                self._is_new = False
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has left, or the server has closed the connection
        finally:
            self._drain.remove(self)
            self.close_now()

    def keep_alive(self, now: float) -> float:
        """Send what keeps the current response alive, if it is due. Returns when it may be due next (Trio time)."""
        return math.inf if self._exchange is None else self._exchange.keep_alive(now)

    def close_after_request(self) -> None:
        """Serve no request after the current one."""
        if self._exchange is not None:
            self._exchange.closes = True

    def cut(self) -> None:
        """End the current request soon; its client is there and may get an error."""
        if self._exchange is None:
            self.close_now()
        else:
            self._exchange.cancel(CancelReason.DRAINING)

    def close_now(self) -> None:
        """Close the socket. A body that is cut must not look whole."""
        cut = self._resets or (self._exchange is not None and self._exchange.is_cut_without_a_trace)
        self._stream.close_now(reset=cut)

    # ------------------------------------------------------------------ one request

    async def _serve_next(self) -> bool:
        """Serve one request. Returns whether another one may follow."""
        if self._data:
            await trio.lowlevel.checkpoint()  # a client that sends many at once keeps no other waiting
        elif not await self._wait_idle():
            return False
        self._drain.begin_request(self)
        try:
            raw = await self._read_head()
            return raw is not None and await self._serve(parse_head(raw))
        except BadHead as error:
            await self._refuse_head(error.status, str(error))
            return False
        finally:
            self._exchange = None
            self._drain.end_request(self)

    async def _wait_idle(self) -> bool:
        """Wait for the first byte of a request. Returns whether there is one."""
        seconds = self._limits.head_timeout if self._is_new else self._limits.idle_timeout
        with self._drain.idle(is_new=self._is_new) as scope:
            scope.deadline = trio.current_time() + seconds
            self._data += await self._stream.receive_some()
        if scope.cancelled_caught and self._drain.is_draining:
            self._data += self._stream.receive_nowait()  # a request that came with the drain gets its 503
        return bool(self._data)

    async def _read_head(self) -> bytes | None:
        """Return the head. None: the client has left."""
        if (head := self._finder.take(self._data)) is not None:
            return head  # nearly always: a scope would cost more than the head
        with trio.move_on_after(self._limits.head_timeout):
            while data := await self._stream.receive_some():
                self._data += data
                if (head := self._finder.take(self._data)) is not None:
                    return head
            return None
        raise BadHead(f"the head did not arrive within {self._limits.head_timeout:g} s", 408)

    async def _refuse_head(self, status: int, message: str) -> None:
        exchange = self._new_exchange(None)
        exchange.closes = True
        _, headers, body = self._front.error("/", ErrorKind.BAD_REQUEST, message)
        await exchange.respond(status, headers, body)
        await self._linger()

    async def _serve(self, head: RequestHead) -> bool:
        """Answer a request. Returns whether another one may follow."""
        self._exchange = exchange = self._new_exchange(head)
        exchange.closes = exchange.closes or self._drain.is_draining or self._is_surplus
        started = trio.current_time()
        verdict: Accepted | Refused | None = None
        outcome = Outcome.CUT
        try:
            verdict = self._decide(head)
            try:
                async with open_flat_nursery() as nursery:
                    exchange.nursery = nursery
                    await self._answer(head, exchange, verdict, nursery)
                    nursery.cancel_scope.cancel()
            except Exception as error:
                if not (exchange.is_broken and _is_only_broken(error)):
                    outcome = Outcome.CRASHED
                    await self._fail(head, exchange, ErrorKind.INTERNAL, "the server has failed")
                    raise RouteFailed(f"the route of {head.path!r} has failed") from error
            if exchange.cancel_reason is CancelReason.DRAINING:
                await self._fail(head, exchange, ErrorKind.DRAINING, "the server is being stopped")
            elif not exchange.has_begun and not exchange.is_broken:
                outcome = Outcome.CRASHED
                await self._fail(head, exchange, ErrorKind.INTERNAL, "the server has failed")
                raise RouteFailed(f"the route of {head.path!r} has sent no response")
            outcome = _outcome(exchange)
        finally:
            if isinstance(verdict, Accepted):
                verdict.release()
            self._resets = exchange.is_cut_without_a_trace
            self._log(head, exchange, verdict, trio.current_time() - started, outcome)
        if exchange.ends_with_connection and exchange.has_ended:
            await self._stream.notify_close()
        return exchange.keeps_alive and not self._drain.is_draining

    def _decide(self, head: RequestHead) -> Accepted | Refused:
        if self._is_surplus:
            return Refused(kind=ErrorKind.OVERLOADED, message="too many connections", retry_after=1.0)
        return self._front.decide(head, is_draining=self._drain.is_draining)

    async def _answer(
        self, head: RequestHead, exchange: HttpExchange, verdict: Accepted | Refused, nursery: trio.Nursery
    ) -> None:
        """Read the body and have the request answered.

        The watcher of the client, which is started in `nursery`, has no end of its own.
        """
        if isinstance(verdict, Refused):
            was_read = head.length is not None and head.length <= len(self._data)
            if was_read:  # the body is here; other bodies are not waited for
                del self._data[: head.length]
                exchange.received = head.length or 0
            await self._refuse(head, exchange, verdict, was_read=was_read)
            return
        exchange.extra_headers, exchange.release = verdict.headers, verdict.release
        try:
            body = await self._read_body(head, exchange)
        except _BadRequestBody as error:
            await self._refuse(head, exchange, error.refused, was_read=error.was_read)
            return
        request = ServedRequest(
            id=exchange.request_id,
            method=head.method,
            path=head.path,
            query={name: value for name, value in head.query.items() if name != "key"},
            headers=[
                (name, value)
                for name, value in head.headers
                if name not in SECRET_HEADERS and name not in DONE_HEADERS
            ],
            body=body,
        )
        nursery.start_soon(self._watch_client, exchange)
        await verdict.answer(request, exchange)

    async def _refuse(
        self, head: RequestHead, exchange: HttpExchange, refused: Refused, *, was_read: bool
    ) -> None:
        status, headers, body = self._front.error(
            head.path, refused.kind, refused.message, sent=head.headers, retry_after=refused.retry_after
        )
        exchange.closes = exchange.closes or not was_read
        await exchange.respond(status, (*headers, *refused.headers), body)
        if not was_read:
            await self._linger()

    async def _fail(self, head: RequestHead, exchange: HttpExchange, kind: ErrorKind, message: str) -> None:
        """Send an error if nothing was sent and the client is there. The connection ends after it."""
        exchange.closes = True
        if exchange.has_begun or exchange.is_broken:
            return
        try:
            await exchange.respond(*self._front.error(head.path, kind, message, sent=head.headers))
        except trio.BrokenResourceError:
            return  # it has left now

    # ------------------------------------------------------------------ the body, and the client meanwhile

    async def _read_body(self, head: RequestHead, exchange: HttpExchange) -> bytes:
        """Return the body, unpacked. Raises _BadRequestBody."""
        limits = self._limits
        was_read = False
        try:
            reader = BodyReader(head.length, limits.max_body)
            if head.expects_continue and not self._data and not reader.is_done:
                await exchange.send_continue()
            await self._feed(reader, exchange)
            was_read = True
            raw = reader.body()
            encoding = ", ".join([value for name, value in head.headers if name == "content-encoding"])
            if encoding and len(raw) > UNPACK_IN_THREAD_BYTES:
                return await trio.to_thread.run_sync(unpacked, raw, encoding, limits.max_body)
            return unpacked(raw, encoding, limits.max_body)
        except BodyTooLarge:
            message = f"the body is longer than {limits.max_body} bytes"
            raise _BadRequestBody(ErrorKind.TOO_LARGE, message, was_read=was_read) from None
        except BadBody as error:
            raise _BadRequestBody(ErrorKind.BAD_REQUEST, str(error), was_read=was_read) from None

    async def _feed(self, reader: BodyReader, exchange: HttpExchange) -> None:
        reader.feed(self._data)
        exchange.received = reader.received
        if reader.is_done:
            return
        seconds, started = self._limits.body_timeout, trio.current_time()
        with trio.CancelScope(deadline=started + seconds) as limit:
            while not reader.is_done:
                if not (data := await self._stream.receive_some()):
                    exchange.cancel(CancelReason.CLIENT_LEFT)
                    await trio.lowlevel.checkpoint()
                self._data += data
                reader.feed(self._data)
                exchange.received = reader.received
                limit.deadline = body_deadline(started, trio.current_time(), reader.received, seconds)
        if limit.cancelled_caught:
            message = "the body did not arrive in time"
            raise _BadRequestBody(ErrorKind.TIMEOUT, message, was_read=False)

    async def _watch_client(self, exchange: HttpExchange) -> None:
        """Keep what arrives for the next request, and cancel the route when the client leaves."""
        try:
            while len(self._data) < MOST_AHEAD:
                data = await self._stream.receive_some()
                if not data:
                    break
                self._data += data
            else:
                await self._stream.wait_hung_up()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        exchange.cancel(CancelReason.CLIENT_LEFT)

    async def _linger(self) -> None:
        """Drop what still arrives, so that the client can read the response."""
        with trio.move_on_after(LINGER_SECONDS):
            await self._stream.send_eof()
            while await self._stream.receive_some():
                self._data.clear()

    # ------------------------------------------------------------------ small things

    def _new_exchange(self, head: RequestHead | None) -> HttpExchange:
        return HttpExchange(
            self._stream,
            head,
            request_id=f"req_{secrets.token_hex(12)}",
            write_seconds=self._limits.write_timeout,
        )

    def _log(
        self,
        head: RequestHead,
        exchange: HttpExchange,
        verdict: Accepted | Refused | None,
        duration: float,
        outcome: Outcome,
    ) -> None:
        if not is_logged():
            return
        access = Access(
            request=exchange.request_id,
            method=head.method,
            path=head.path,
            status=exchange.status,
            outcome=outcome,
            duration=duration,
            received=exchange.received,
            sent=exchange.sent,
            client=self._peer,
            key=None if verdict is None else verdict.key,
            headers=exchange.headers,
        )
        log_access(access)


def _is_only_broken(error: Exception) -> bool:
    """Return whether an error says no more than that the client has left.

    It comes in a group if the route was cancelled as well: the watcher of the client was cancelled with it.
    """
    if isinstance(error, ExceptionGroup):
        return error.split(trio.BrokenResourceError)[1] is None
    return isinstance(error, trio.BrokenResourceError)


def _outcome(exchange: HttpExchange) -> Outcome:
    if exchange.has_ended:
        return Outcome.COMPLETED
    return Outcome.CLIENT_LEFT if exchange.is_broken else Outcome.CUT
