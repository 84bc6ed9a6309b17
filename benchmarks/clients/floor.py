"""The floor: one trio socket, HTTP parsed by hand as far as the mock needs it, JSON decoded for each piece.

What everything else is measured in. It checks nothing, closes nothing in time and gives up at the first surprise:
no client can be cheaper and useful.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from ..workload import Workload
from . import KEY, MODEL, OnPiece

BACKEND = "trio"


class Floor:
    def __init__(self, address: str) -> None:
        host, _, port = address.removeprefix("http://").partition(":")
        self._place = host, int(port)
        self._idle: list[trio.SocketStream] = []

    async def _send(self, prompt: str, *, stream: bool) -> trio.SocketStream:
        body: dict[str, object] = {"model": MODEL, "messages": [{"role": "user", "content": prompt}]}
        if stream:
            body["stream"] = True
        data = json.dumps(body, separators=(",", ":")).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {self._place[0]}\r\nauthorization: Bearer {KEY}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        )
        socket = self._idle.pop() if self._idle else await trio.open_tcp_stream(*self._place)
        await socket.send_all(head.encode() + data)
        return socket

    async def stream(self, prompt: str, on_piece: OnPiece) -> None:
        socket = await self._send(prompt, stream=True)
        try:
            buffer, in_head = b"", True
            while True:
                data = await socket.receive_some(65536)
                if not data:
                    raise EOFError
                buffer += data
                if in_head:
                    _, separator, rest = buffer.partition(b"\r\n\r\n")
                    if not separator:
                        continue
                    buffer, in_head = rest, False
                while b"\r\n" in buffer:
                    size, _, rest = buffer.partition(b"\r\n")
                    length = int(size, 16)
                    if len(rest) < length + 2:
                        break
                    chunk, buffer = rest[:length], rest[length + 2 :]
                    if not length:
                        self._idle.append(socket)
                        return
                    for line in chunk.split(b"\n\n"):
                        if not line.startswith(b"data: {"):
                            continue
                        choices = json.loads(line[6:])["choices"]
                        if choices and choices[0]["delta"].get("content") and on_piece():
                            await socket.aclose()
                            return
        except BaseException:
            await trio.aclose_forcefully(socket)
            raise

    async def whole(self, prompt: str) -> None:
        socket = await self._send(prompt, stream=False)
        buffer = b""
        while b"\r\n\r\n" not in buffer:
            buffer += await socket.receive_some(65536)
        head, _, body = buffer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += await socket.receive_some(65536)
        assert json.loads(body)["choices"][0]["message"]["content"]
        self._idle.append(socket)


@asynccontextmanager
async def open_client(address: str, workload: Workload) -> AsyncIterator[Floor]:
    yield Floor(address)
