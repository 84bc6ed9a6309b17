"""One connection of a simulated provider: HTTP/1.1 by h11 over any trio stream, socket or memory alike.

A client that leaves ends its connection and nothing else.
"""

from __future__ import annotations

import enum
import itertools
import json
import math
import socket
import struct
from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import h11
import trio

from .perform import Ending, perform
from .pipe import PipeEnd
from .request import SimRequest
from .scene import Scene
from .servers import SimServer

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
_RECEIVE = 64 * 1024
_BODILESS = (204, 304)
"""Statuses that never have a body (RFC 9110, 6.4.1)."""


class _Framing(enum.Enum):
    """How the client finds the end of an answer's body."""

    LENGTH = "length"
    CHUNKED = "chunked"
    HEAD = "head"  # the answer to HEAD has the headers of a body, and none
    NONE = "none"


def _framing_of(request: SimRequest, scene: Scene) -> _Framing:
    if scene.status in _BODILESS:
        return _Framing.NONE
    if request.method == "HEAD":
        return _Framing.HEAD
    return _Framing.CHUNKED if scene.length is None else _Framing.LENGTH


class Served(Protocol):
    """The provider behind a connection: decides what each request gets, and counts."""

    server: SimServer
    requests: list[SimRequest]
    bytes_sent: int

    def scene(self, request: SimRequest) -> Scene:
        """Record the request and decide what it gets."""
        ...

    def answering(self) -> AbstractContextManager[None]:
        """Around an answer that is being sent."""
        ...

    def turn(self) -> AbstractAsyncContextManager[object]:
        """What an answer is sent in: its turn, where it has to wait for one."""
        ...


class Connection:
    """Serves requests one after the other until either side has enough."""

    def __init__(self, provider: Served, stream: trio.abc.HalfCloseableStream, number: int) -> None:
        self._provider = provider
        self._stream = stream
        self._number = number
        self._http = h11.Connection(h11.SERVER)
        self._begun = False
        self._framing = _Framing.LENGTH  # of the answer that is being sent

    @property
    def is_open(self) -> bool:
        """Whether the client still holds it, as far as this end can see."""
        return not (isinstance(self._stream, PipeEnd) and self._stream.is_peer_gone)

    async def serve(self) -> None:
        try:
            async with self._stream:
                while await self._exchange():
                    self._http.start_next_cycle()
        except (*_GONE, h11.RemoteProtocolError):
            pass  # the client left, or does not send HTTP

    async def reset(self) -> None:
        """Close at once with an RST: what is not yet sent never will be."""
        if isinstance(self._stream, PipeEnd):
            self._stream.reset()
        elif isinstance(self._stream, trio.SocketStream):
            self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self._stream.aclose()

    # ---- one request and its answer

    async def _exchange(self) -> bool:
        """Answer one request; True if the connection stays open."""
        self._begun = False
        request = await self._receive_request()
        if request is None:
            return False
        scene = self._provider.scene(request)
        self._framing = _framing_of(request, scene)
        with self._provider.answering():
            ending = await self._play(scene)
        match ending:
            case Ending.RESET:
                await self.reset()
                return False
            case Ending.CLOSE:
                return False
            case Ending.COMPLETE:
                await self._send(h11.EndOfMessage())
        if scene.behaviour.close_on_reuse:
            self._http.start_next_cycle()
            await self._receive_request()  # and drop it
            return False
        return not scene.behaviour.close_idle and self._http.our_state is h11.DONE is self._http.their_state

    async def _play(self, scene: Scene) -> Ending:
        """Perform until the client leaves: a stall must not last longer than its connection."""
        ending = Ending.CLOSE
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            with suppress(*_GONE):
                async with self._provider.turn():
                    ending = await perform(scene, self)
            nursery.cancel_scope.cancel()
        return ending

    async def _watch(self, scope: trio.CancelScope) -> None:
        with suppress(*_GONE):
            while data := await self._stream.receive_some(_RECEIVE):
                self._http.receive_data(bytes(data))
            if isinstance(self._stream, PipeEnd):  # only half closed? then it still wants its answer
                await self._stream.wait_peer_gone()
        scope.cancel()

    # ---- reading

    async def _receive_request(self) -> SimRequest | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            match self._http.next_event():
                case h11.NEED_DATA:
                    self._http.receive_data(bytes(await self._stream.receive_some(_RECEIVE)))
                case h11.Request() as head:
                    pass
                case h11.Data(data=data):
                    body += data
                case h11.EndOfMessage() if head is not None:
                    return self._request(head, bytes(body))
                case _:
                    return None

    def _request(self, head: h11.Request, body: bytes) -> SimRequest:
        target = urlsplit(head.target.decode("ascii", "replace"))
        headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        return SimRequest(
            when=trio.current_time(),
            method=head.method.decode(),
            path=unquote(target.path),
            query=query,
            body=_parsed(body),
            key=self._provider.server.key_of(headers, query),
            headers=headers,
            connection=self._number,
            number=len(self._provider.requests) + 1,
        )

    # ---- writing: the Wire of a performance

    async def begin(self, scene: Scene) -> None:
        if self._begun:
            return
        self._begun = True
        headers = list(scene.headers.items())
        match self._framing:
            case _Framing.CHUNKED:
                headers.append(("transfer-encoding", "chunked"))
            case _Framing.LENGTH | _Framing.HEAD if scene.length is not None:
                headers.append(("content-length", str(scene.length)))
            case _:
                pass  # 204 and 304 say nothing of a body, nor HEAD of one that would have been chunked
        await self._send(
            h11.Response(status_code=scene.status, headers=headers, reason=_reason(scene.status))
        )

    async def write(self, data: bytes) -> None:
        match self._framing:
            case _Framing.CHUNKED:  # as h11 frames them, which keeps no count of chunks
                await self._send_bytes(b"%x\r\n%b\r\n" % (len(data), data) if data else b"")
            case _Framing.LENGTH:
                await self._send(h11.Data(data=data))
            case _Framing.HEAD | _Framing.NONE:
                pass

    async def write_half(self, data: bytes) -> None:
        if self._framing in (_Framing.LENGTH, _Framing.CHUNKED):
            framed = self._http.send(h11.Data(data=data)) or b""
            await self._send_bytes(framed[: len(framed) - math.ceil(len(data) / 2) - len(b"\r\n")])

    async def write_endless_headers(self, scene: Scene) -> None:
        await self._send_bytes(f"HTTP/1.1 {scene.status} OK\r\n".encode())
        for number in itertools.count():
            await self._send_bytes(b"x-padding-%d: %s\r\n" % (number, b"x" * 1000))

    async def _send(self, event: Any) -> None:
        await self._send_bytes(self._http.send(event) or b"")

    async def _send_bytes(self, data: bytes) -> None:
        if data:
            self._provider.bytes_sent += len(data)
            await self._stream.send_all(data)


def _parsed(body: bytes) -> Any:
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body


def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""
