"""`cortex-trio serve` in real processes: its first line, signals, its configuration, several processes."""

import json
import os
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
import trio
from certificates import CERTIFICATE
from cli_process import CORTEX, environment, run
from serve_process import PROVIDERS, Serving, serving, until

pytestmark = pytest.mark.slow


async def test_it_serves_until_a_signal(tmp_path: Path) -> None:
    async with serving(tmp_path, "--grace", "5") as server:
        assert (await server.get("/health/ready")).status_code == 200
        assert (await server.get("/v1/models")).json()["data"][0]["id"] == "m"
        assert (await server.get("/metrics")).status_code == 200
        assert await server.stop() == 0
        assert "Traceback" not in server.err.read_text()


async def test_it_ends_within_the_grace_while_a_client_never_reads(tmp_path: Path) -> None:
    async with serving(tmp_path, "--grace", "0.5", "--body-timeout", "60") as server:
        port = int(server.url.rpartition(":")[2])
        half_head = await trio.open_tcp_stream("127.0.0.1", port)
        await half_head.send_all(b"POST /v1/chat/completions HT")
        half_body = await trio.open_tcp_stream("127.0.0.1", port)
        await half_body.send_all(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{"
        )
        await server.get("/health/live")
        start = trio.current_time()
        assert await server.stop(signal.SIGINT) == 0
        assert trio.current_time() - start < 10  # the machine may be busy: the limit is 2.5
        await half_head.aclose()
        await half_body.aclose()


async def test_it_ends_in_time_again_and_again_while_clients_do_not_read(tmp_path: Path) -> None:
    for _ in range(5):
        async with serving(tmp_path, "--grace", "0.5") as server:
            port = int(server.url.rpartition(":")[2])
            streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(10)]
            for stream in streams:  # more requests than are read ahead, and no response is read
                await stream.send_all(b"GET /observe/events HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
            await server.get("/health/live")
            start = trio.current_time()
            assert await server.stop() == 0
            assert trio.current_time() - start < 10  # the machine may be busy: the limit is 2.5
            for stream in streams:
                await stream.aclose()


async def test_sighup_reads_the_configuration_again(tmp_path: Path) -> None:
    path = tmp_path / "gateway.json"
    path.write_text(json.dumps({**PROVIDERS, "$keys": ["sk-one"]}))
    async with serving(tmp_path, "--config", str(path)) as server:
        one, two = {"x_api_key": "sk-one"}, {"x_api_key": "sk-two"}
        headers = [{name.replace("_", "-"): value for name, value in key.items()} for key in (one, two)]
        assert (await server.get("/v1/models", **headers[0])).status_code == 200
        assert (await server.get("/v1/models", **headers[1])).status_code == 401
        path.write_text("{")
        server.process.send_signal(signal.SIGHUP)
        await until(partial(server.has_logged, "was not changed"))
        path.write_text(json.dumps({"w": {"provider": "ollama", "models": ["n"]}, "$keys": ["sk-two"]}))
        server.process.send_signal(signal.SIGHUP)
        await until(partial(server.has_logged, "was read again"))
        assert (await server.get("/v1/models", **headers[1])).status_code == 200
        assert (await server.get("/v1/models", **headers[0])).status_code == 401
        assert await server.stop() == 0
        assert "sk-one" not in server.err.read_text()


async def test_sighup_changes_the_aliases(tmp_path: Path) -> None:
    path = tmp_path / "gateway.json"
    path.write_text(json.dumps({**PROVIDERS, "$settings": {"aliases": {"fast": ["ollama/m"]}}}))

    async def names(server: Serving) -> list[str]:
        return [entry["id"] for entry in (await server.get("/v1/models")).json()["data"]]

    async with serving(tmp_path, "--config", str(path)) as server:
        assert await names(server) == ["fast", "m"]
        path.write_text(json.dumps({**PROVIDERS, "$settings": {"aliases": {"good": ["ollama/m"]}}}))
        server.process.send_signal(signal.SIGHUP)
        await until(partial(server.has_logged, "was read again"))
        assert await names(server) == ["good", "m"]


async def test_a_new_key_is_accepted_through_tls(tmp_path: Path) -> None:
    """`cortex-trio keys new`, --keys-file, --tls-cert, --tls-key."""
    made = await run(*CORTEX, "keys", "new", "team-a", env=environment(PROVIDERS))
    key, described = made.out.splitlines()
    assert key not in described
    keys = tmp_path / "keys.json"
    keys.write_text(f"[{described}]")
    tls = ("--tls-cert", str(CERTIFICATE), "--tls-key", str(CERTIFICATE))
    async with serving(tmp_path, "--keys-file", str(keys), *tls) as server:
        assert server.url.startswith("https://")
        assert (await server.get("/v1/models", authorization=f"Bearer {key}")).status_code == 200
        assert (await server.get("/v1/models", authorization="Bearer another")).status_code == 401
        assert await server.stop() == 0
        assert key not in server.err.read_text()


async def test_it_needs_a_key_for_other_machines() -> None:
    ended = await run(*CORTEX, "serve", "--host", "0.0.0.0", "--port", "0", env=environment(PROVIDERS))
    assert (ended.status, ended.out) == (2, "")
    assert "needs an API key" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.skipif(shutil.which("ps") is None, reason="needs ps to find the processes")
async def test_several_processes_serve_one_port_and_are_restarted(tmp_path: Path) -> None:
    async with serving(tmp_path, "--workers", "2", "--grace", "1") as server:
        listed = ["ps", "-o", "pid=", "--ppid", str(server.process.pid)]
        children = [int(pid) for pid in (await trio.run_process(listed, capture_stdout=True)).stdout.split()]
        assert len(children) == 2
        for _ in range(4):
            assert (await server.get("/health/live")).status_code == 200
        os.kill(children[0], signal.SIGKILL)
        await until(partial(server.has_logged, "has ended with status -9"))
        for _ in range(4):
            assert (await server.get("/health/live")).status_code == 200
        assert await server.stop() == 0
        with pytest.raises(ProcessLookupError):
            os.kill(children[1], 0)
