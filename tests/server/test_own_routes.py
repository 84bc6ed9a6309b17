"""The server's own routes: health, metrics, the live page; and which of them need a key or a host name."""

import json
from collections.abc import Sequence

import pytest
import trio
from certificates import client_context, server_context
from served import Client, StandIn, open_served, request, until

from cortex_trio import open_cortex
from cortex_trio.server.serving import open_server

KEYS = ["sk-cortex-test"]
BEARER = [("Authorization", "Bearer sk-cortex-test")]


@pytest.mark.parametrize("path", ["/", "/health/live", "/health/ready"])
async def test_public_routes_answer_get_and_head_without_a_key(path: str) -> None:
    async with open_served(keys=KEYS) as (server, _, _):
        client = await Client.to(server)
        got = await client.get(path)
        assert got.status == 200
        assert json.loads(got.body)
        await client.send(request("HEAD", path))
        head = await client.answer(to="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(len(got.body))
        assert (await client.get(path)).status == 200
        assert (await client.post(path)).status == 405


async def test_it_says_what_it_is() -> None:
    async with open_served() as (server, _, _):
        assert json.loads((await (await Client.to(server)).get("/")).body)["name"] == "cortex-trio"
        assert server.url == f"http://127.0.0.1:{server.port}"


async def test_a_gateway_without_a_worker_is_not_ready() -> None:
    async with open_served() as (server, _, cortex):
        client = await Client.to(server)
        assert (await client.get("/health/ready")).status == 200
        await cortex.remove_worker("demo")
        answer = await client.get("/health/ready")
        assert (answer.status, json.loads(answer.body)["status"]) == (503, "no worker is available")
        assert (await client.get("/health/live")).status == 200


async def test_metrics_are_served_as_text() -> None:
    pytest.importorskip("prometheus_client", reason="needs prometheus_client (the extra `test` has it)")
    async with open_served(keys=KEYS) as (server, _, _):
        answer = await (await Client.to(server)).get("/metrics")
        assert answer.status == 200
        assert b"cortex_worker" in answer.body


@pytest.mark.slow
async def test_the_page_is_served_with_its_events() -> None:
    async with open_served() as (server, _, _):
        client = await Client.to(server)
        moved = await client.get("/observe")
        assert (moved.status, moved.headers["location"]) == (307, "observe/")
        page = await client.get("/observe/")
        assert b"<html" in page.body
        assert "content-security-policy" in page.headers
        await client.send(request("GET", "/observe/events"))
        received = b""
        with trio.fail_after(5):
            while received.count(b"data: {") < 2:
                received += await client.stream.receive_some()


@pytest.mark.parametrize("path", ["/metrics", "/observe/", "/observe/events", "/v1/models"])
async def test_other_machines_need_a_key(path: str) -> None:
    async with open_served(host="0.0.0.0", keys=KEYS) as (server, _, _):
        client = await Client.to(server)
        assert (await client.get(path)).status == 401
        if path != "/observe/events":
            assert (await client.get(path, BEARER)).status == 200


async def test_a_browser_is_asked_for_a_password() -> None:
    async with open_served(host="0.0.0.0", keys=KEYS) as (server, _, _):
        answer = await (await Client.to(server)).get("/observe/")
        assert answer.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_an_unknown_path_is_404(method: str) -> None:
    async with open_served(keys=KEYS) as (server, _, _):
        answer = await (await Client.to(server)).ask(request(method, "/v2/nothing"))
        assert (answer.status, answer.error) == (404, "NOT_FOUND")


async def test_a_wrong_method_is_405() -> None:
    async with open_served() as (server, _, _):
        answer = await (await Client.to(server)).get("/echo")
        assert (answer.status, answer.headers["allow"]) == (405, "POST")


FOREIGN: Sequence[tuple[str, list[tuple[str, str]]]] = [
    ("evil.example", []),
    ("evil.example:8080", []),
    ("localhost", [("Origin", "https://evil.example")]),
    ("localhost", [("Origin", "null")]),
]


@pytest.mark.parametrize(("host", "headers"), FOREIGN)
@pytest.mark.parametrize("path", ["/v1/models", "/observe/", "/metrics"])
async def test_another_site_in_a_browser_is_refused(
    path: str, host: str, headers: list[tuple[str, str]]
) -> None:
    async with open_served() as (server, _, _):
        client = await Client.to(server)
        answer = await client.ask(request("GET", path, None, headers, host=host))
        assert (answer.status, answer.error) == (421, "MISDIRECTED")


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:80", "LOCALHOST"])
async def test_this_machine_has_several_names(host: str) -> None:
    async with open_served() as (server, _, _):
        client = await Client.to(server)
        local = [("Origin", "http://localhost:3000")]
        assert (await client.ask(request("GET", "/v1/models", None, local, host=host))).status == 200
        app = [("Origin", "vscode-file://vscode-app")]
        assert (await client.ask(request("GET", "/v1/models", None, app, host=host))).status == 200


async def test_a_key_makes_any_host_name_good() -> None:
    async with open_served(keys=KEYS) as (server, _, _):
        client = await Client.to(server)
        assert (
            await client.ask(request("GET", "/v1/models", None, BEARER, host="proxy.example"))
        ).status == 200
        assert (
            await client.ask(request("GET", "/observe/", None, BEARER, host="proxy.example"))
        ).status == 421


async def test_tls_is_served() -> None:
    async with (
        open_cortex({"ollama": {"models": ["m"], "base_url": "http://127.0.0.1:9"}}) as cortex,
        open_server(cortex, api=StandIn(), tls=server_context(), head_timeout=0.5) as server,
    ):
        assert server.url.startswith("https://127.0.0.1:")
        tcp = await trio.open_tcp_stream("127.0.0.1", server.port)
        stream = trio.SSLStream(tcp, client_context(), server_hostname="localhost")
        received = b""
        with trio.fail_after(5):
            await stream.send_all(request("POST", "/echo", b"x" * 200_000))
            while len(received) < 200_000:
                received += await stream.receive_some()
        assert received.startswith(b"HTTP/1.1 200")
        plain = await trio.open_tcp_stream("127.0.0.1", server.port)
        with trio.fail_after(5):
            assert await plain.receive_some() == b""  # no handshake
        await plain.aclose()
        await trio.aclose_forcefully(stream)


async def test_a_client_that_leaves_is_noticed_through_tls() -> None:
    api = StandIn()
    async with (
        open_cortex({"ollama": {"models": ["m"], "base_url": "http://127.0.0.1:9"}}) as cortex,
        open_server(cortex, api=api, tls=server_context(), write_timeout=0.3) as server,
    ):
        for path in ("/wait", "/flood"):  # leaves; does not read
            tcp = await trio.open_tcp_stream("127.0.0.1", server.port)
            stream = trio.SSLStream(tcp, client_context(), server_hostname="localhost")
            await stream.send_all(request("POST", path))
            await until(lambda: api.running == 1)
            if path == "/wait":
                await trio.aclose_forcefully(stream)
            await until(lambda: api.running == 0)
            await trio.aclose_forcefully(stream)
