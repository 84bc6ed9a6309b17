"""The last line of an error says what happened, and its `__cause__` holds it."""

import socket
import traceback
from collections.abc import Iterator

import pytest
import trio
from raw_bytes import TEXT, http, said
from raw_server import Do, World, open_world, play

from cortex_trio import AllWorkersFailed, Config, ConfigError, Cortex, CortexError, WorkerConfig, open_cortex


def last_line(error: BaseException) -> str:
    """What a log shows of it: the error itself, without those inside it."""
    return traceback.format_exception_only(error)[0].strip()


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what is inside it, and what caused them."""
    if error is None:
        return
    yield error
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from causes(one)
    yield from causes(error.__cause__)


async def error_of(cortex: Cortex, **options: object) -> CortexError:
    with pytest.raises(CortexError) as caught:
        await cortex.complete("Hi", **options)  # type: ignore[arg-type]
    return caught.value


def unused_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        port: int = made.getsockname()[1]
        return port


def one_worker(url: str, **settings: object) -> Config:
    worker = WorkerConfig(provider="openai_compatible", models=["m-1"], base_url=url, **settings)  # type: ignore[arg-type]
    return Config(workers={"raw": worker}, health_check_interval=0, connect_timeout=1)


@pytest.mark.slow
@pytest.mark.parametrize("attempts", [1, 4])
async def test_the_error_of_a_refused_port_says_so(attempts: int) -> None:
    async with open_cortex(one_worker(f"http://127.0.0.1:{unused_port()}/v1")) as cortex:
        error = await error_of(cortex, max_attempts=attempts)
    assert "refused" in last_line(error).lower()
    assert "all attempts to connect" not in last_line(error)
    assert any(isinstance(cause, ConnectionRefusedError) for cause in causes(error))


async def test_the_error_says_that_a_name_does_not_exist() -> None:
    async with open_cortex(one_worker("http://no-such-host.invalid:9/v1")) as cortex:
        error = await error_of(cortex, max_attempts=1)
    assert "no-such-host.invalid" in last_line(error)
    assert any(isinstance(cause, OSError) for cause in causes(error))


async def test_the_error_says_that_a_certificate_is_not_trusted() -> None:
    async with open_world("tls") as world:
        server = world.server()
        async with open_cortex(world.config(server)) as cortex:
            error = await error_of(cortex, max_attempts=1)
    assert "certificate" in last_line(error).lower()


async def test_plain_http_to_a_tls_port_is_explained() -> None:
    async with open_world("tls") as world:
        server = world.server()
        async with open_cortex(one_worker(server.url.replace("https", "http"))) as cortex:
            assert "connect" in last_line(await error_of(cortex, max_attempts=1)).lower()


async def test_the_error_of_tls_to_a_plain_port_says_so(sockets: World) -> None:
    server = sockets.server()
    async with open_cortex(one_worker(server.url.replace("http", "https"))) as cortex:
        line = last_line(await error_of(cortex, max_attempts=1)).lower()
    assert "ssl" in line or "tls" in line


@pytest.mark.parametrize("step", [Do.RESET, Do.CLOSE])
async def test_a_connection_that_ends_has_its_cause(sockets: World, step: Do) -> None:
    sockets.server(then_chat=play(step))
    async with sockets.gateway() as cortex:
        error = await error_of(cortex, max_attempts=1)
    if step is Do.RESET:
        assert "reset" in last_line(error).lower()
        assert any(isinstance(cause, OSError | trio.BrokenResourceError) for cause in causes(error))


async def test_a_missing_ca_file_is_named(tmp_path: object) -> None:
    missing = f"{tmp_path}/corporate-ca.pem"
    with pytest.raises(CortexError) as caught:
        async with open_cortex(one_worker("https://127.0.0.1:9/v1", verify=missing)) as cortex:
            await cortex.complete("Hi", max_attempts=1)
    assert "corporate-ca.pem" in last_line(caught.value)


async def test_a_missing_ca_file_of_the_environment_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f"{tmp_path}/corporate-ca.pem")
    with pytest.raises(CortexError) as caught:
        async with open_cortex(one_worker("https://127.0.0.1:9/v1", headers={"x-fresh": "1"})) as cortex:
            await cortex.complete("Hi", max_attempts=1)
    assert "corporate-ca.pem" in last_line(caught.value)


async def test_a_query_is_sent_with_every_request(memory: World, autojump_clock: object) -> None:
    server = memory.server("openai_compatible")
    async with memory.gateway(worker={"query": {"api-version": "2026-06-01"}}) as cortex:
        assert (await cortex.complete("Hi")).text == TEXT
        await cortex.models(worker=server.name)
        await cortex.embed(["a"], model="m-1")
        await cortex.check_health()
    assert [request.path.partition("?")[2] for request in server.requests] == ["api-version=2026-06-01"] * 4


def test_a_query_in_the_address_names_the_setting_for_it() -> None:
    with pytest.raises(ConfigError, match="query="):
        WorkerConfig(provider="openai_compatible", models=["m"], base_url="https://a.test/v1?api-version=1")


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("absolute", [False, True])
async def test_a_redirect_on_the_same_origin_is_followed(
    memory: World, status: int, absolute: bool, autojump_clock: object
) -> None:
    server = memory.server("openai_compatible")
    there = "/v2/chat/completions"
    target = server.url.removesuffix("/v1") + there if absolute else there
    server.chat.extend([play(http(status, b"", {"location": target})), play(said())])
    async with memory.gateway(max_attempts=1) as cortex:
        assert (await cortex.complete("Hi")).text == TEXT
    assert [request.path for request in server.asked] == ["/v1/chat/completions", there]
    assert server.asked[0].body == server.asked[1].body


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_another_origin_is_named_and_not_followed(
    memory: World, status: int, autojump_clock: object
) -> None:
    second = memory.server()
    memory.server(then_chat=play(http(status, b"", {"location": "https://login.example.test/sso"})))
    first = memory.servers[1]
    async with memory.gateway(first) as cortex:
        error = await error_of(cortex, max_attempts=1)
    assert "login.example.test" in last_line(error)
    assert second.requests == []


async def test_redirects_in_a_circle_end(memory: World, autojump_clock: object) -> None:
    circle = play(http(307, b"", {"location": "/v1/chat/completions"}))
    server = memory.server(then_chat=circle)
    async with memory.gateway() as cortex:
        with pytest.raises(CortexError):
            await cortex.complete("Hi")
    assert len(server.asked) <= 100


@pytest.mark.parametrize("error_type", [AllWorkersFailed])
async def test_several_errors_name_the_main_one_in_the_last_line(
    memory: World, error_type: type[CortexError], autojump_clock: object
) -> None:
    first, second = memory.server(), memory.server(then_chat=play(Do.RESET))
    first.refuse(1e9)
    async with memory.gateway() as cortex:
        error = await error_of(cortex)
    assert isinstance(error, error_type)
    assert first.name in last_line(error)
    assert second.name in last_line(error)
    assert "refused" in last_line(error) or "reset" in last_line(error)
