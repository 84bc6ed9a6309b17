"""The load of `benchmarks.serve`: what a server costs for a request, for an open stream, and in latency."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from .serve_servers import HELD, Peer

CONNECTIONS = 16
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Cost:
    """One round of one server."""

    rate: float  # requests in a second
    cpu: float  # seconds of the server for each request
    latencies: Sequence[float]  # seconds, sorted


def load(peer: Peer, settings: str, seconds: float, *, rate: float = 0.0) -> Cost:
    """Send requests for some seconds.

    Args:
        peer: the server.
        settings: of the upstream, as in `benchmarks.upstream`.
        seconds: how long new requests are begun.
        rate: of requests per second, at random times; 0: as many as the server can answer.

    Raises:
        RuntimeError: the server has refused a request.
    """
    return asyncio.run(_load(peer, settings, seconds, rate))


async def _load(peer: Peer, settings: str, seconds: float, rate: float) -> Cost:
    raw, latencies, chance = peer.request(settings), list[float](), random.Random(16)
    cpu, start = peer.cpu(), time.perf_counter()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", peer.port, limit=2**20)
        due = time.perf_counter()
        while True:
            if rate:
                due = max(due + chance.expovariate(rate / CONNECTIONS), time.perf_counter())
                await asyncio.sleep(due - time.perf_counter())
            begun = time.perf_counter()
            if begun - start > seconds:
                break
            await _ask(reader, writer, raw)
            latencies.append(time.perf_counter() - begun)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    passed, cpu = time.perf_counter() - start, peer.cpu() - cpu
    return Cost(len(latencies) / passed, cpu / len(latencies), sorted(latencies))


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, raw: bytes) -> None:
    """Send one request and read its response."""
    writer.write(raw)
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head[:16]:
        raise RuntimeError(f"refused: {head!r} {await reader.read(1000)!r}")
    if found := _LENGTH.search(head):
        await reader.readexactly(int(found[1]))
    else:
        await reader.readuntil(b"\r\n0\r\n\r\n")


def added_latency(
    peer: Peer, upstream: Peer, settings: str, rate: float, seconds: float
) -> tuple[float, float]:
    """Return the seconds that a server adds to the median and to the 99th percentile of a request's time."""
    through, bare = (load(one, settings, seconds, rate=rate).latencies for one in (peer, upstream))
    p50, p99 = (through[int(len(through) * share)] - bare[int(len(bare) * share)] for share in (0.5, 0.99))
    return p50, p99


def memory_of_a_stream(peer: Peer, streams: int) -> float:
    """Return the bytes that the server needs for one open stream."""
    raw, opened = peer.request(HELD), list[socket.socket]()

    def open_streams(number: int) -> None:
        for _ in range(number):
            opened.append(one := socket.create_connection(("127.0.0.1", peer.port)))
            one.sendall(raw)
        for one in opened[-number:]:
            one.recv(65536)

    try:
        open_streams(streams)  # pools and caches grow once
        before = peer.resident()
        open_streams(streams)
        return (peer.resident() - before) / streams
    finally:
        for one in opened:
            one.close()
