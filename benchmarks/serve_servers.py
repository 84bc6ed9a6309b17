"""The servers of `benchmarks.serve`, each in its own process: ours, other gateways, and two that answer from memory.

`python -m benchmarks.serve_servers starlette|memory PORT` runs one of the last two: the same bytes, sent by uvicorn
with Starlette, and by our HTTP server without its gateway. They compare the servers, the gateway's own share apart.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .upstream import CHAT, DIALECTS

EVENTS = 50
WHOLE, STREAMED, HELD = "mock:whole-1", f"mock:chunks-{EVENTS}", "mock:hold-1"
START_SECONDS = 120.0
MODEL = "mock-model"
KEY = "sk-" + secrets.token_hex(32)
BEARER = {"authorization": f"Bearer {KEY}"}
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Peer:
    """A server that runs."""

    name: str
    port: int
    pid: int
    headers: Mapping[str, str] = field(default_factory=dict)

    def request(self, settings: str) -> bytes:
        body: dict[str, object] = {"model": MODEL, "messages": [{"role": "user", "content": settings}]}
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
        return sum(map(_seconds, _tree(self.pid)))

    def resident(self) -> int:
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE for pid in _tree(self.pid))


def _tree(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").glob("*/children")  # a process may be started by any thread
    children = [int(child) for thread in threads for child in thread.read_text().split()]
    return [pid, *(one for child in children for one in _tree(child))]


def _seconds(pid: int) -> float:
    """Return the processor time of a process, of threads that have ended as well: clock_getcpuclockid(3)."""
    return time.clock_gettime(~pid << 3 | 2)


# ------------------------------------------------------------------ processes


def free_port() -> int:
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
    port, config = free_port(), folder / "gateway.json"
    worker = {"provider": "openai", "models": [MODEL], "base_url": f"{upstream}/v1", "api_keys": ["sk-1"]}
    config.write_text(json.dumps({"upstream": worker}))
    command = [sys.executable, "-m", "cortex_trio", "serve", "--port", str(port), "--config", str(config)]
    command += ["--key", KEY, "--workers", str(workers)]
    with _process(command, port, folder) as pid:
        yield Peer(f"cortex-trio, {workers} processes" if workers > 1 else "cortex-trio", port, pid, BEARER)


@contextmanager
def litellm(upstream: str, folder: Path) -> Iterator[Peer]:
    port, config = free_port(), folder / "litellm.yaml"
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
    port = free_port()
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
    port = free_port()
    with _process(_from_memory("starlette", port), port, folder) as pid:
        yield Peer("uvicorn + Starlette, from memory", port, pid)


@contextmanager
def ours_from_memory(upstream: str, folder: Path) -> Iterator[Peer]:
    port = free_port()
    with _process(_from_memory("memory", port), port, folder) as pid:
        yield Peer("cortex-trio's server, from memory", port, pid)


def _from_memory(which: str, port: int) -> Sequence[str]:
    return [sys.executable, "-m", "benchmarks.serve_servers", which, str(port)]


Server = Callable[[str, Path], AbstractContextManager[Peer]]
SERVERS: Mapping[str, Server] = {
    "ours": ours,
    "litellm": litellm,
    "portkey": portkey,
    "starlette": starlette,
    "memory": ours_from_memory,
}


# ------------------------------------------------------------------ from memory


def run_starlette(port: int) -> None:
    """Send the events of the upstream from memory, one write each."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

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


def run_ours_from_memory(port: int) -> None:
    """Do the same with our server."""
    import trio

    from cortex_trio import open_cortex
    from cortex_trio.server import open_server
    from cortex_trio.server.exchange import Exchange, Headers, ServedRequest
    from cortex_trio.server.limits_protocol import ClientLimits, ErrorKind

    pieces, end, whole = DIALECTS[CHAT][0](EVENTS)

    class FromMemory:
        def serves(self, method: str, path: str) -> bool:
            return (method, path) == ("POST", "/v1/chat/completions")

        async def answer(
            self, request: ServedRequest, exchange: Exchange, client: ClientLimits | None
        ) -> None:
            if not json.loads(request.body).get("stream"):
                await exchange.respond(200, (("content-type", "application/json"),), whole)
                return
            await exchange.begin(200, (("content-type", "text/event-stream; charset=utf-8"),))
            for piece in (*pieces, end):
                await exchange.write(piece)
            await exchange.end()

        def error(
            self, path: str, kind: ErrorKind, message: str, *, retry_after: float | None = None
        ) -> tuple[int, Headers, bytes]:
            return 500, (), message.encode()

    async def main() -> None:
        worker = {"provider": "ollama", "models": [MODEL], "base_url": "http://127.0.0.1:9"}
        async with (
            open_cortex({"unused": worker}) as cortex,
            open_server(cortex, port=port, api=FromMemory()),
        ):
            await trio.sleep_forever()

    trio.run(main)


if __name__ == "__main__":
    {"starlette": run_starlette, "memory": run_ours_from_memory}[sys.argv[1]](int(sys.argv[2]))
