"""`cortex-trio serve --workers` without a store: the processes share through the memory of the one that supervises."""

import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from subprocess import PIPE

import httpx
import pytest
import trio
from cli_process import CORTEX, environment, run
from serve_process import PROVIDERS, Serving, serving, until
from served import request

from cortex_trio.server.virtual_keys import sha256_of
from cortex_trio.simulator import Behaviour, open_simulator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ps") is None, reason="needs ps to find the processes"),
]

PER_MINUTE = 40
KEY = {"name": "team", "key_sha256": sha256_of("sk-team"), "requests_per_minute": PER_MINUTE}
CONFIGURED = {
    "ollama": {"models": ["m"], "base_url": "http://127.0.0.1:9"},
    "$settings": {"max_wait": 0, "max_attempts": 1, "health_check_interval": 0},
    "$keys": [KEY],
}


async def statuses(server: Serving, requests: int, pause: float = 0.01) -> Counter[int]:
    """Send requests, each on a connection of its own, so that the system distributes them."""
    found: Counter[int] = Counter()
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    for _ in range(requests):
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:
            headers = {"authorization": "Bearer sk-team"}
            reply = await client.post(f"{server.url}/v1/chat/completions", json=body, headers=headers)
        found[reply.status_code] += 1
        await trio.sleep(pause)
    return found


async def processes(server: Serving) -> int:
    """Return how many processes share, as the one that answers knows it."""
    text = (await server.get("/metrics", authorization="Bearer sk-team")).text
    lines = [line for line in text.splitlines() if line.startswith("cortex_store_processes ")]
    return int(float(lines[0].split()[1])) if lines else 0


async def children_of(process: trio.Process) -> list[int]:
    listed = ["ps", "-o", "pid=", "--ppid", str(process.pid)]
    found = await trio.run_process(listed, capture_stdout=True, check=False)  # 1: there are none
    return [int(pid) for pid in found.stdout.split()]


def remote_ports(pid: int) -> set[int]:
    """Return the remote ports of the connections of a process: those of the clients, and of its providers."""
    links = (link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir())
    inodes = {name.removeprefix("socket:[").rstrip("]") for name in links if name.startswith("socket:[")}
    rows = (line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:])
    return {int(row[2].rpartition(":")[2], 16) for row in rows if row[9] in inodes}


@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="needs Linux to see who has a connection")
async def test_a_killed_process_costs_its_own_requests_only(tmp_path: Path) -> None:
    slow = Behaviour(tokens=["word "] * 60, tokens_per_second=40)
    async with open_simulator(sockets=True) as sim:
        sim.add("openai", slow, models=["m"])
        env = environment(sim.config())
        async with serving(tmp_path, "--workers", "2", "--grace", "1", env=env) as server:
            port, whole = int(server.url.rpartition(":")[2]), set[int]()
            body = b'{"model": "m", "stream": true, "messages": [{"role": "user", "content": "Hi"}]}'

            async def ask(begun: trio.TaskStatus[int]) -> None:
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    await stream.send_all(request("POST", "/v1/chat/completions", body))
                    received = await stream.receive_some()
                    mine = stream.socket.getsockname()[1]
                    begun.started(mine)
                    with suppress(trio.BrokenResourceError):
                        while not received.endswith(b"0\r\n\r\n") and (data := await stream.receive_some()):
                            received += data
                    if b"data: [DONE]" in received:
                        whole.add(mine)

            async with trio.open_nursery() as nursery:
                clients = {await nursery.start(lambda task_status: ask(task_status)) for _ in range(12)}
                killed, other = await children_of(server.process)
                lost, kept = remote_ports(killed) & clients, remote_ports(other) & clients
                os.kill(killed, signal.SIGKILL)
                for _ in range(4):
                    assert (await server.get("/health/live")).status_code == 200
            assert (lost | kept, lost & kept) == (clients, set())
            assert whole == kept
            assert await server.stop() == 0


async def test_clients_that_wait_to_be_accepted_are_not_those_of_a_process_that_is_killed(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, "--workers", "2", "--grace", "1") as server:
        port = int(server.url.rpartition(":")[2])
        children = await children_of(server.process)
        for child in children:
            os.kill(child, signal.SIGSTOP)
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
                for _ in range(12)
            ]
            for client in clients:
                await client.send_all(request("GET", "/health/live"))
            os.kill(children[0], signal.SIGKILL)
            await until(partial(server.has_logged, "has ended with status -9"))
            os.kill(children[1], signal.SIGCONT)
            for client in clients:
                assert (await client.receive_some()).startswith(b"HTTP/1.1 200 ")
        assert await server.stop() == 0


async def test_clients_of_a_process_that_hangs_are_accepted_by_another(tmp_path: Path) -> None:
    async with serving(tmp_path, "--workers", "2", "--grace", "1") as server:
        hanging = (await children_of(server.process))[0]
        os.kill(hanging, signal.SIGSTOP)
        for _ in range(12):
            assert (await server.get("/health/live")).status_code == 200
        os.kill(hanging, signal.SIGCONT)
        assert await server.stop() == 0


@asynccontextmanager
async def busy_processes(tmp_path: Path) -> AsyncIterator[Serving]:
    """Two processes, and streams that last longer than the test: with twelve clients, some of each process."""
    async with open_simulator(sockets=True) as sim:
        sim.add("openai", Behaviour(tokens=["word "] * 2000, tokens_per_second=40), models=["m"])
        env, options = environment(sim.config()), ("--workers", "2", "--grace", "3")
        async with serving(tmp_path, *options, env=env) as server, AsyncExitStack() as stack:
            port = int(server.url.rpartition(":")[2])
            body = b'{"model": "m", "stream": true, "messages": [{"role": "user", "content": "Hi"}]}'
            for _ in range(12):
                client = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
                await client.send_all(request("POST", "/v1/chat/completions", body))
                await client.receive_some()
            yield server


async def test_a_process_that_drains_alone_leaves_its_clients_to_the_others(tmp_path: Path) -> None:
    async with busy_processes(tmp_path) as server:
        os.kill((await children_of(server.process))[0], signal.SIGTERM)
        await until(lambda: server.has_logged("draining for up to"))
        for _ in range(12):
            reply = await server.get("/health/ready")
            assert reply.status_code == 200, (reply.text, server.err.read_text())
        assert not await server.has_logged("has ended with status")


async def test_a_process_that_drains_alone_refuses_clients_when_all_stop(tmp_path: Path) -> None:
    async with busy_processes(tmp_path) as server:
        for child in await children_of(server.process):
            os.kill(child, signal.SIGTERM)
        server.process.send_signal(signal.SIGTERM)
        await until(lambda: server.has_logged("draining for up to"))
        for _ in range(4):
            assert (await server.get("/health/ready")).status_code == 503
        assert await server.stop() == 0


async def test_a_reload_during_the_start_is_made_after_it(tmp_path: Path) -> None:
    command = [*CORTEX, "serve", "--workers", "2", "--port", "0", "--grace", "1"]
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process, command, env=environment(PROVIDERS), capture_stderr=True, stdout=PIPE
        )
        process: trio.Process = await nursery.start(partial(start, check=False, stdin=b""))

        async def has_children() -> bool:
            return len(await children_of(process)) == 2

        await until(has_children)
        for _ in range(10):  # the children import for longer than that
            process.send_signal(signal.SIGHUP)
            await trio.sleep(0.02)
        assert process.stdout is not None
        assert (await process.stdout.receive_some()).startswith(b"listening on ")
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        await process.stdout.aclose()


async def test_processes_that_cannot_start_end_all_of_them_at_once(tmp_path: Path) -> None:
    command = (*CORTEX, "serve", "--workers", "2", "--port", "0", "--host", "0.0.0.0", "--grace", "1")
    ended = await run(*command, env=environment(PROVIDERS))
    assert (ended.status, ended.out) == (2, "")
    assert "needs an API key" in ended.err
    assert "Traceback" not in ended.err


async def test_a_second_signal_does_not_cut_the_drain_short(tmp_path: Path) -> None:
    (tmp_path / "sockets").mkdir()
    env = environment(PROVIDERS, TMPDIR=str(tmp_path / "sockets"))
    for options in (["--workers", "2"], []):
        async with serving(tmp_path, *options, "--grace", "0.5", env=env) as server:
            port = int(server.url.rpartition(":")[2])
            async with await trio.open_tcp_stream("127.0.0.1", port) as client:
                await client.send_all(b"POST /v1/chat/completions HT")
                await server.get("/health/live")
                server.process.send_signal(signal.SIGTERM)
                await until(lambda server=server: server.has_logged("draining for up to"))
                assert await server.stop() == 0
    assert list((tmp_path / "sockets").iterdir()) == []


async def test_a_key_may_begin_with_a_hyphen(tmp_path: Path) -> None:
    async with serving(tmp_path, "--workers", "2", "--grace", "1", "--key=-abc-def-ghi") as server:
        assert (await server.get("/v1/models", authorization="Bearer -abc-def-ghi")).status_code == 200
        assert (await server.get("/v1/models", authorization="Bearer abc-def-ghi")).status_code == 401
        assert await server.stop() == 0


async def test_a_port_that_another_server_has_is_not_shared_with_it(tmp_path: Path) -> None:
    async with serving(tmp_path, "--workers", "2", "--grace", "1") as server:
        port = server.url.rpartition(":")[2]
        ended = await run(*CORTEX, "serve", "--workers", "2", "--port", port, env=environment(PROVIDERS))
        assert (ended.status, ended.out) == (1, "")
        assert f"cannot listen on 127.0.0.1:{port}" in ended.err
        assert "Traceback" not in ended.err


async def test_a_limit_is_that_of_all_processes_and_survives_the_death_of_one(tmp_path: Path) -> None:
    (tmp_path / "sockets").mkdir()
    path = tmp_path / "gateway.json"
    path.write_text(json.dumps(CONFIGURED))
    env = environment(None, TMPDIR=str(tmp_path / "sockets"))
    async with serving(tmp_path, "--workers", "2", "--grace", "1", "--config", str(path), env=env) as server:

        async def both() -> bool:
            return await processes(server) == 2

        await until(both)
        found = await statuses(server, PER_MINUTE // 2)
        assert 429 not in found
        os.kill((await children_of(server.process))[0], signal.SIGKILL)
        await until(lambda: server.has_logged("has ended with status -9"))
        await until(both)
        found += await statuses(server, PER_MINUTE * 2)
        admitted = found.total() - found[429]
        assert PER_MINUTE * 0.85 <= admitted <= PER_MINUTE * 1.15, found
        assert await server.stop() == 0
        assert "Traceback" not in server.err.read_text()
    assert list((tmp_path / "sockets").iterdir()) == []
