"""A small HTTP server around `ApiRoutes`, for clients that need a socket. The real one is tested by itself."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qsl, unquote, urlsplit

import h11
import trio

from cortex_trio import Cortex
from cortex_trio.server.api.routes import ApiRoutes
from cortex_trio.server.exchange import CancelReason, Headers, ServedRequest

KEY_HEADERS = {"authorization", "x-api-key", "x-goog-api-key"}


@asynccontextmanager
async def open_front(
    cortex: Cortex, aliases: Mapping[str, Sequence[str]] | None = None
) -> AsyncIterator[str]:
    """Serve the APIs on a port of this machine; yields the address without a path."""
    routes = ApiRoutes(cortex, aliases=aliases)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await _Front(routes, stream).serve()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


class _Front:
    """One request and the exchange of its response."""

    def __init__(self, routes: ApiRoutes, stream: trio.SocketStream) -> None:
        self._routes = routes
        self._stream = stream
        self._http = h11.Connection(h11.SERVER)
        self.has_begun = False
        self.cancel_reason: CancelReason | None = None

    async def serve(self) -> None:
        request = await self._request()
        if request is None or not self._routes.serves(request.method, request.path):
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            await self._routes.answer(request, self, None)
            nursery.cancel_scope.cancel()

    async def _watch(self, scope: trio.CancelScope) -> None:
        """Cancel the route when the client has left."""
        with suppress(trio.BrokenResourceError):
            await self._stream.receive_some()
        self.cancel_reason = CancelReason.CLIENT_LEFT
        scope.cancel()

    async def _request(self) -> ServedRequest | None:
        head: h11.Request | None = None
        body = b""
        while True:
            event = self._http.next_event()
            match event:
                case h11.NEED_DATA:
                    self._http.receive_data(await self._stream.receive_some())
                case h11.Request():
                    head = event
                case h11.Data():
                    body += bytes(event.data)
                case h11.EndOfMessage() if head is not None:
                    url = urlsplit(head.target.decode())
                    headers = [(name.decode(), value.decode()) for name, value in head.headers]
                    return ServedRequest(
                        id="0b9f0d1e2c3a",
                        method=head.method.decode(),
                        path=unquote(url.path),
                        query=dict(parse_qsl(url.query)),
                        headers=[header for header in headers if header[0] not in KEY_HEADERS],
                        body=body,
                    )
                case _:
                    return None

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        await self.begin(status, headers)
        await self.write(body)
        await self.end()

    async def begin(self, status: int, headers: Headers) -> None:
        self.has_begun = True
        framing = [
            ("transfer-encoding", "chunked"),
            ("connection", "close"),
            ("x-request-id", "0b9f0d1e2c3a"),
        ]
        await self._send(h11.Response(status_code=status, headers=[*headers, *framing]))

    async def write(self, data: bytes) -> None:
        await self._send(h11.Data(data=data))

    async def end(self) -> None:
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> None:
        await self._stream.send_all(self._http.send(event) or b"")
