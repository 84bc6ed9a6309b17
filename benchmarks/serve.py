"""The endpoint beside other proxies: `python -m benchmarks.serve [--quick] [--rounds 5]`.

All of them have the same upstream, a process that sends prepared bytes, and take turns in one run; a figure is the
median of the ratios of the rounds, because absolute times of two rounds on a busy machine cannot be compared.

BENCH_LITELLM   the program `litellm` of an environment with `litellm[proxy]`
BENCH_PORTKEY   the file `build/start-server.js` of the npm package @portkey-ai/gateway
A server that is not given is left out, with a line on stderr. uvicorn with Starlette sends the same events from memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .report import machine
from .rounds import mock_upstream

CONNECTIONS = 16
EVENTS = 50
WHOLE, STREAMED, HELD = "mock:whole-1", f"mock:chunks-{EVENTS}", "mock:hold-1"
START_SECONDS = 120.0
MODEL = "mock-model"
KEY = "sk-" + secrets.token_hex(32)
BEARER = {"authorization": f"Bearer {KEY}"}
PAGE = os.sysconf("SC_PAGE_SIZE")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Peer:
    """A server that runs."""

    name: str
    port: int
    pid: int
    headers: Mapping[str, str] = field(default_factory=dict)

    def request(self, settings: str) -> bytes:
        body = {"model": MODEL, "messages": [{"role": "user", "content": settings}]}
        if settings != WHOLE:
            body["stream"] = True
        data = json.dumps(body).encode()
        lines = ["POST /v1/chat/completions HTTP/1.1", "host: localhost", "content-type: application/json"]
        lines += [
            f"content-length: {len(data)}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + data

    def cpu(self) -> float:
        """Return the seconds of processor time that the process and its children have used."""
        return sum(_nanoseconds(pid) for pid in _tree(self.pid)) / 1e9

    def resident(self) -> int:
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE for pid in _tree(self.pid))


def _tree(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").glob("*/children")  # a process may be started by any thread
    children = [int(child) for thread in threads for child in thread.read_text().split()]
    return [pid, *(one for child in children for one in _tree(child))]


def _nanoseconds(pid: int) -> int:
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads)


# ------------------------------------------------------------------ the load


@dataclass(frozen=True)
class Cost:
    """One round of one server."""

    rate: float  # requests in a second
    cpu: float  # seconds of the server for each request
    latencies: Sequence[float]  # seconds


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


async def _load(peer: Peer, settings: str, requests: int, connections: int, gap: float) -> Cost:
    """Send requests; `gap` seconds between two of a connection, which is 0 for as many as the server can answer."""
    raw, latencies = peer.request(settings), list[float]()
    left = iter(range(requests))

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", peer.port, limit=2**20)
        due = time.perf_counter()
        for _ in left:
            start = time.perf_counter()
            await _ask(reader, writer, raw)
            latencies.append(time.perf_counter() - start)
            due = max(due + gap, time.perf_counter())
            if gap:
                await asyncio.sleep(due - time.perf_counter())
        writer.close()

    cpu, wall = peer.cpu(), time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(connections)))
    wall, cpu = time.perf_counter() - wall, peer.cpu() - cpu
    return Cost(requests / wall, cpu / requests, latencies)


def load(peer: Peer, settings: str, requests: int, connections: int = CONNECTIONS, gap: float = 0.0) -> Cost:
    return asyncio.run(_load(peer, settings, requests, connections, gap))


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


# ------------------------------------------------------------------ the servers


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def _process(command: Sequence[str], port: int, folder: Path) -> Iterator[int]:
    """Run a server until the block ends; its port is open then. Yields its process."""
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > until or process.poll() is not None:
                    raise RuntimeError((folder / "log").read_text()[-1000:]) from None
                time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def ours(upstream: str, folder: Path, *, workers: int = 1) -> Iterator[Peer]:
    port, config = _free_port(), folder / "gateway.json"
    worker = {"provider": "openai", "models": [MODEL], "base_url": f"{upstream}/v1", "api_keys": ["sk-1"]}
    config.write_text(json.dumps({"upstream": worker}))
    command = [sys.executable, "-m", "cortex_trio", "serve", "--port", str(port), "--config", str(config)]
    command += ["--key", KEY, "--workers", str(workers)]
    with _process(command, port, folder) as pid:
        yield Peer(f"cortex-trio, {workers} processes" if workers > 1 else "cortex-trio", port, pid, BEARER)


@contextmanager
def litellm(upstream: str, folder: Path) -> Iterator[Peer]:
    port, config = _free_port(), folder / "litellm.yaml"
    params = {"model": f"openai/{MODEL}", "api_base": f"{upstream}/v1", "api_key": "sk-1"}
    models = [{"model_name": MODEL, "litellm_params": params}]
    config.write_text(json.dumps({"model_list": models, "general_settings": {"master_key": KEY}}))
    program = os.environ["BENCH_LITELLM"]
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it waits for a file from the network
    with _process(
        [program, "--config", str(config), "--port", str(port), "--host", "127.0.0.1"], port, folder
    ) as pid:
        yield Peer("LiteLLM proxy", port, pid, BEARER)


@contextmanager
def portkey(upstream: str, folder: Path) -> Iterator[Peer]:
    port = _free_port()
    headers = {
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"{upstream}/v1",
        "authorization": "Bearer sk-1",
    }
    command = ["node", os.environ["BENCH_PORTKEY"], f"--port={port}", "--headless"]
    with _process(command, port, folder) as pid:
        yield Peer("Portkey gateway", port, pid, headers)


@contextmanager
def starlette(upstream: str, folder: Path) -> Iterator[Peer]:
    port = _free_port()
    with _process([sys.executable, "-m", "benchmarks.serve", "--starlette", str(port)], port, folder) as pid:
        yield Peer("uvicorn + Starlette, from memory", port, pid)


SERVERS = {"ours": ours, "litellm": litellm, "portkey": portkey, "starlette": starlette}


def run_starlette(port: int) -> None:
    """Serve the events of the upstream from memory, one write each."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    from .upstream import CHAT, DIALECTS

    pieces, end, whole = DIALECTS[CHAT][0](EVENTS)

    async def events() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
        yield end

    async def chat(request: Request) -> Response:
        if (await request.json()).get("stream"):
            return StreamingResponse(events(), media_type="text/event-stream")
        return Response(whole, media_type="application/json")

    app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
    uvicorn.run(app, port=port, log_level="warning")


# ------------------------------------------------------------------ the run


def ratio(first: Sequence[float], second: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


def compare(peers: Sequence[Peer], settings: str, requests: int, rounds: int) -> dict[str, list[Cost]]:
    """Measure the servers in turn. One that refuses such requests is left out."""
    costs: dict[str, list[Cost]] = {}
    for peer in peers:
        try:
            load(peer, settings, max(CONNECTIONS, requests // 10))  # warm
            costs[peer.name] = []
        except RuntimeError as error:
            print(f"{peer.name} was left out of {settings}: {error}", file=sys.stderr)
    for _ in range(rounds):
        for peer in (peer for peer in peers if peer.name in costs):
            slow = peer.name.startswith(("LiteLLM", "Portkey"))
            costs[peer.name].append(
                load(peer, settings, max(CONNECTIONS, requests // 5) if slow else requests)
            )
    return costs


def table(title: str, costs: Mapping[str, Sequence[Cost]]) -> str:
    mine = next(iter(costs.values()))
    lines = [f"| {title} | requests/s | ours, to it | CPU for each | ours, to it |", "|---|--:|--:|--:|--:|"]
    for name, found in costs.items():
        rates, cpus = [cost.rate for cost in found], [cost.cpu for cost in found]
        to_rate, to_cpu = ratio([c.rate for c in mine], rates), ratio([c.cpu for c in mine], cpus)
        rate, cpu = statistics.median(rates), statistics.median(cpus) * 1e6
        lines.append(f"| {name} | {rate:,.0f} | {to_rate:.2f} × | {cpu:,.0f} µs | {to_cpu:.2f} × |")
    return "\n".join(lines)


def latency(peer: Peer, upstream: Peer, rate: float, requests: int) -> str:
    """Return what the server adds to the time of a request, at half its highest rate."""
    gap = CONNECTIONS / (rate / 2)
    through, bare = (sorted(load(one, WHOLE, requests, gap=gap).latencies) for one in (peer, upstream))
    p50, p99 = (
        1e3 * (through[int(len(through) * share)] - bare[int(len(bare) * share)]) for share in (0.5, 0.99)
    )
    return f"Added latency at half of the highest rate: p50 {p50:.1f} ms, p99 {p99:.1f} ms."


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, to check that it works")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--starlette", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.starlette:
        run_starlette(options.starlette)
        return
    requests, rounds = (64, 1) if options.quick else (1000, options.rounds)
    print(machine())
    with mock_upstream() as address, ExitStack() as stack:
        peers: list[Peer] = []
        for name, server in SERVERS.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            try:
                peers.append(stack.enter_context(server(address, folder)))
            except (KeyError, OSError, RuntimeError) as error:
                print(f"{name} was left out: {error}", file=sys.stderr)
        upstream = Peer("the upstream itself", int(address.rpartition(":")[2]), os.getpid())
        whole = compare(peers, WHOLE, requests, rounds)
        print("\n" + table("not streamed", whole))
        print("\n" + table(f"streamed, {EVENTS} events", compare(peers, STREAMED, requests // 2, rounds)))
        rate = statistics.median(cost.rate for cost in whole[peers[0].name])
        print("\n" + latency(peers[0], upstream, rate, requests))
        held = memory_of_a_stream(peers[0], 20 if options.quick else 400)
        print(f"Memory of an open stream: {held / 1024:.0f} KiB.")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        two = stack.enter_context(ours(address, folder, workers=2))
        both = compare([two, peers[0]], WHOLE, requests, rounds)
        print("\n" + table("two processes", both))


if __name__ == "__main__":
    main()
