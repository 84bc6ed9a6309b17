"""The server's own routes: health, metrics, the live page; and which of them need a key or a host name."""

import json
from collections.abc import Sequence

import pytest
import trio
from served import Client, open_served, request

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


ORIGIN = ("Origin", "https://chat.example")
PREFLIGHT = [
    ORIGIN,
    ("Access-Control-Request-Method", "POST"),
    ("Access-Control-Request-Headers", "authorization,content-type"),
]


async def test_a_page_of_another_site_that_has_a_key_may_read_the_response() -> None:
    """Chats in a browser ask from there. The preflight of a browser never has the key."""
    async with open_served(keys=KEYS) as (server, _, _):
        client = await Client.to(server)
        asked = await client.ask(request("OPTIONS", "/echo", None, PREFLIGHT))
        assert (asked.status, asked.body, asked.headers["access-control-allow-methods"]) == (200, b"", "POST")
        assert asked.headers["access-control-allow-headers"] == "authorization,content-type"
        for headers, status in (([ORIGIN], 401), ([ORIGIN, *BEARER], 200)):
            got = await client.post("/echo", b"x", headers)
            assert (got.status, got.headers["access-control-allow-origin"]) == (status, "*")
            assert "access-control-allow-credentials" not in got.headers


@pytest.mark.parametrize(
    ("path", "keys", "headers", "status"),
    [
        ("/echo", [], PREFLIGHT, 421),
        ("/echo", KEYS, [], 405),
        ("/nothing", KEYS, PREFLIGHT, 404),
        ("/metrics", KEYS, PREFLIGHT, 421),
        ("/", KEYS, PREFLIGHT, 405),
    ],
)
async def test_another_preflight_is_refused(
    path: str, keys: list[str], headers: list[tuple[str, str]], status: int
) -> None:
    async with open_served(keys=keys) as (server, _, _):
        client = await Client.to(server)
        got = await client.ask(request("OPTIONS", path, None, headers))
        assert got.status == status
        assert "access-control-allow-methods" not in got.headers
        assert ("access-control-allow-origin" in got.headers) == (path == "/nothing")


async def test_other_routes_are_not_for_pages_of_other_sites() -> None:
    async with open_served(host="0.0.0.0", keys=KEYS) as (server, _, _):
        got = await (await Client.to(server)).get("/observe/", [ORIGIN, *BEARER])
        assert (got.status, "access-control-allow-origin" in got.headers) == (200, False)


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
