"""Proxies, CAs, client certificates, HTTP/2 and unix sockets, over real sockets and from end to end."""

import copy
import importlib.util
import pickle
import shutil
import ssl
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import httpx
import pytest
import trio
from at_rest import settle
from certificates import CERTIFICATE, server_context
from fronts import open_proxy, serving, serving_unix, to_port

from cortex_trio import Config, ConfigError, FailureKind, ProviderError, WorkerConfig, open_cortex
from cortex_trio.gateway.settings.connection_settings import connection_settings_for
from cortex_trio.gateway.transport.default_transport import transport_for
from cortex_trio.http import PooledTransport
from cortex_trio.simulator import Behaviour, SimulatedProvider, open_simulator

VARIABLES = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUEST_METHOD",
)
HTTPX_PLACES = 100  # httpx._config.DEFAULT_LIMITS
PASSWORD = "pass-word-of-the-proxy"
Variables = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> Variables:
    """An environment without proxies and CAs, whatever this machine's says."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


def port_of(provider: SimulatedProvider) -> int:
    return urlsplit(provider.url).port or 80


def worker(url: str, **fields: Any) -> WorkerConfig:
    settings = {"provider": "openai_compatible", "models": ["m"], "base_url": url, **fields}
    return WorkerConfig(**settings)


async def answer_of(config: WorkerConfig) -> str:
    """What a gateway with this worker alone says to one request."""
    async with open_cortex(Config(workers={"w": config}, health_check_interval=0)) as cortex:
        return (await cortex.complete("Hi", max_attempts=1)).text


async def failure_of(config: WorkerConfig) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await answer_of(config)
    return caught.value


# ------------------------------------------------------------------ proxies


async def test_plain_http_goes_through_a_proxy_in_absolute_form() -> None:
    async with open_simulator(sockets=True) as sim:
        provider = sim.add("w", Behaviour(text="By proxy."), provider="openai_compatible")
        async with open_proxy({"api.example": port_of(provider)}) as proxy:
            assert await answer_of(worker("http://api.example/v1", proxy=proxy.url)) == "By proxy."
    assert proxy.seen == ["POST http://api.example/v1/chat/completions"]


async def test_https_goes_through_a_proxy_by_connect_and_the_certificate_is_checked() -> None:
    async with open_simulator(sockets=True) as sim:
        provider = sim.add("w", Behaviour(text="By tunnel."), provider="openai_compatible")
        async with (
            serving(to_port(port_of(provider)), server_context()) as secure,
            open_proxy({"localhost": secure}) as proxy,
        ):
            trusting = worker("https://localhost/v1", proxy=proxy.url, verify=CERTIFICATE)
            assert await answer_of(trusting) == "By tunnel."
            failure = (await failure_of(attrs.evolve(trusting, verify=True))).failure
    assert proxy.seen == ["CONNECT localhost:443"] * 2
    assert failure.kind is FailureKind.CONNECTION
    assert "self-signed certificate" in failure.message


async def test_a_proxy_gets_its_user_and_password() -> None:
    async with open_simulator(sockets=True) as sim:
        provider = sim.add("w", Behaviour(text="Let in."), provider="openai_compatible")
        async with (
            serving(to_port(port_of(provider)), server_context()) as secure,
            open_proxy(
                {"api.example": port_of(provider), "localhost": secure}, user=f"me:{PASSWORD}"
            ) as proxy,
        ):
            address = f"http://me:{PASSWORD}@127.0.0.1:{proxy.port}"
            assert await answer_of(worker("http://api.example/v1", proxy=address)) == "Let in."
            secure_one = worker("https://localhost/v1", proxy=address, verify=str(CERTIFICATE))
            assert await answer_of(secure_one) == "Let in."


async def test_a_proxy_that_refuses_is_named_and_its_password_is_not() -> None:
    async with open_proxy({}, user="another:one") as proxy:
        address = f"http://me:{PASSWORD}@127.0.0.1:{proxy.port}"
        error = await failure_of(worker("https://api.example/v1", proxy=address))
    assert "the proxy refused: 407 Proxy Authentication Required" in str(error)
    assert error.failure.phase == "connect"
    assert PASSWORD not in f"{error!r} {error}"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
async def test_a_proxy_of_the_environment_is_used(variables: Variables, name: str) -> None:
    async with open_simulator(sockets=True) as sim:
        provider = sim.add("w", Behaviour(text="By proxy."), provider="openai_compatible")
        async with open_proxy({"api.example": port_of(provider)}) as proxy:
            variables.setenv(name, proxy.url)
            assert await answer_of(worker("http://api.example/v1")) == "By proxy."
    assert len(proxy.seen) == 1


async def test_no_proxy_and_an_empty_proxy_of_the_worker_bypass_it(variables: Variables) -> None:
    async with open_simulator(sockets=True) as sim:
        provider = sim.add("w", Behaviour(text="Directly."), provider="openai_compatible")
        async with open_proxy({"127.0.0.1": port_of(provider)}) as proxy:
            variables.setenv("HTTP_PROXY", proxy.url)
            direct = worker(provider.url)
            assert await answer_of(direct) == "Directly."
            assert len(proxy.seen) == 1  # on the same machine, and so it is meant
            assert await answer_of(attrs.evolve(direct, proxy="")) == "Directly."
            variables.setenv("NO_PROXY", "internal.example,127.0.0.0/8")
            assert await answer_of(direct) == "Directly."
    assert len(proxy.seen) == 1


async def test_an_address_of_this_machine_is_reached_beside_a_proxy_elsewhere(variables: Variables) -> None:
    async with open_simulator(sockets=True) as sim:
        provider = sim.add("w", Behaviour(text="Directly."), provider="openai_compatible")
        variables.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
        assert await answer_of(worker(provider.url)) == "Directly."


async def test_a_reload_follows_the_environment_to_another_proxy(variables: Variables) -> None:
    async with open_simulator(sockets=True) as sim:
        provider = sim.add("w", Behaviour(text="Here."), provider="openai_compatible")
        names = {"api.example": port_of(provider)}
        async with open_proxy(names) as old, open_proxy(names) as new:
            variables.setenv("HTTP_PROXY", old.url)
            config = Config(workers={"w": worker("http://api.example/v1")}, health_check_interval=0)
            async with open_cortex(config) as cortex:
                await cortex.complete("Hi")
                variables.setenv("HTTP_PROXY", new.url)
                await cortex.reload(config)
                await cortex.complete("Hi")
    assert (len(old.seen), len(new.seen)) == (1, 1)


async def test_a_reload_with_an_invalid_proxy_changes_nothing(variables: Variables) -> None:
    old = worker("http://api.example/v1")
    async with open_cortex(Config(workers={"w": old}, health_check_interval=0)) as cortex:
        variables.setenv("HTTP_PROXY", "ftp://proxy:1")
        with pytest.raises(ConfigError, match=r"^HTTP_PROXY: "):
            await cortex.reload(Config(workers={"new": worker("https://api.example/v1"), "w": old}))
        assert [info.name for info in await cortex.list_workers()] == ["w"]


async def test_a_refused_proxy_is_a_connection_failure_with_that_reason() -> None:
    async with open_proxy({}) as proxy:
        closed = proxy.url
    error = await failure_of(worker("http://api.example/v1", proxy=closed))
    assert error.failure.kind is FailureKind.CONNECTION
    assert str(error).endswith(f"could not connect to {closed.removeprefix('http://')}: connection refused")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (f"ftp://me:{PASSWORD}@proxy:1", "an address like http://user:password@host:port is allowed"),
        (f"http://me:{PASSWORD}@proxy:port", "an address like http"),
        (f"http://me:{PASSWORD}/x@proxy", "an address like http"),
        (f"me:{PASSWORD}@proxy:1", "an address like http"),
        ("http://", "an address like http"),
        (5, "the address of a proxy is needed, not int"),
    ],
)
def test_an_invalid_proxy_is_refused_without_its_password(address: Any, expected: str) -> None:
    with pytest.raises(ConfigError, match=r"^proxy: ") as caught:
        worker("http://api.example", proxy=address)
    assert expected in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_the_password_of_a_proxy_does_not_show() -> None:
    config = worker("http://api.example", proxy=f"http://me:{PASSWORD}@proxy:3128")
    looked = [repr(config), str(attrs.asdict(config)), f"{config.proxy}", repr(pickle.dumps(config))]
    looked += [repr(pickle.loads(pickle.dumps(config))), repr(connection_settings_for(config, {}))]
    assert not [seen for seen in looked if PASSWORD in seen]
    assert "***@proxy:3128" in repr(config)
    assert copy.deepcopy(config) == attrs.evolve(config) == config
    assert config != worker("http://api.example", proxy="http://me:another@proxy:3128")
    with pytest.raises(ConfigError, match="pickled"):
        connection_settings_for(pickle.loads(pickle.dumps(config)), {})


@pytest.mark.skipif(importlib.util.find_spec("socksio") is not None, reason="socksio is installed")
def test_a_socks_proxy_without_its_package_says_what_to_install(variables: Variables) -> None:
    with pytest.raises(ConfigError, match=r"proxy: .*pip install 'httpx\[socks\]'"):
        worker("http://api.example", proxy="socks5://proxy:1080")
    with pytest.raises(ConfigError, match=r"ALL_PROXY: .*pip install 'httpx\[socks\]'"):
        connection_settings_for(worker("http://api.example"), {"ALL_PROXY": "socks5://proxy:1080"})


# ------------------------------------------------------------------ certificates


async def test_a_custom_ca_is_trusted_by_path_by_folder_and_by_context(tmp_path: Path) -> None:
    folder = tmp_path / "authorities"
    folder.mkdir()
    linked = ssl.create_default_context(cafile=CERTIFICATE).get_ca_certs()
    assert linked
    async with open_simulator(sockets=True) as sim:
        provider = sim.add("w", Behaviour(text="Trusted."), provider="openai_compatible")
        async with serving(to_port(port_of(provider)), server_context()) as port:
            url = f"https://localhost:{port}/v1"
            context = ssl.create_default_context(cafile=CERTIFICATE)
            for verify in (str(CERTIFICATE), CERTIFICATE, context, False):
                assert await answer_of(worker(url, verify=verify)) == "Trusted."
            for verify in (True, folder):
                error = await failure_of(worker(url, verify=verify))
                assert error.failure.kind is FailureKind.CONNECTION
                assert "certificate" in str(error)


async def test_the_ca_of_the_environment_is_trusted(variables: Variables) -> None:
    async with open_simulator(sockets=True) as sim:
        provider = sim.add("w", Behaviour(text="Trusted."), provider="openai_compatible")
        async with serving(to_port(port_of(provider)), server_context()) as port:
            variables.setenv("SSL_CERT_FILE", str(CERTIFICATE))
            assert await answer_of(worker(f"https://localhost:{port}/v1")) == "Trusted."


@pytest.mark.parametrize("which", ["verify", "SSL_CERT_FILE"])
@pytest.mark.parametrize("fault", ["missing", "no certificate", "a folder"])
async def test_a_ca_file_that_cannot_be_used_is_named(
    variables: Variables, tmp_path: Path, which: str, fault: str
) -> None:
    path = tmp_path / "company-ca-2026-with-a-long-name.pem"
    if fault == "no certificate":
        path.write_text("hello")
    elif fault == "a folder" and which == "verify":
        pytest.skip("verify may be a folder")
    elif fault == "a folder":
        path.mkdir()

    async def use() -> None:
        if which == "verify":
            worker("https://api.example", verify=path)
        variables.setenv("SSL_CERT_FILE", str(path))
        async with open_cortex(Config(workers={"w": worker("https://api.example")})):
            pytest.fail("it was opened")

    with pytest.raises(ConfigError) as caught:
        await use()
    assert str(caught.value).startswith(f"{which}: ")
    assert str(path) in str(caught.value)


async def test_a_ca_file_that_was_deleted_later_is_a_config_error(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    shutil.copy(CERTIFICATE, path)
    config = Config(workers={"w": worker("https://api.example", verify=path)}, health_check_interval=0)
    async with open_cortex(config) as cortex:
        path.unlink()
        with pytest.raises(ConfigError, match=r"verify: there is no CA file .*ca\.pem"):
            await cortex.reload(config)
    with pytest.raises(ConfigError, match=r"verify: there is no CA file .*ca\.pem"):
        async with open_cortex(config):
            pytest.fail("it was opened")


async def test_a_transport_of_the_user_trusts_the_ca_of_the_environment_without_its_quotes(
    variables: Variables,
) -> None:
    async with open_simulator(sockets=True) as sim:
        provider = sim.add("w", Behaviour(text="Trusted."), provider="openai_compatible")
        async with serving(to_port(port_of(provider)), server_context()) as port:
            variables.setenv("SSL_CERT_FILE", f'"{CERTIFICATE}"')
            config = Config(workers={"w": worker(f"https://localhost:{port}/v1")}, health_check_interval=0)
            async with open_cortex(config, http_transport=lambda _: PooledTransport()) as cortex:
                assert (await cortex.complete("Hi", max_attempts=1)).text == "Trusted."


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_key_in_the_place_of_a_ca_file_shows_in_no_traceback(variable: str) -> None:
    key = "sk-proj-in-the-wrong-variable-0123456789"
    with pytest.raises(ConfigError, match=variable) as caught:
        connection_settings_for(worker("https://api.example"), {variable: key})
    assert key not in "".join(traceback.format_exception(caught.value))


def test_a_missing_ca_file_matters_only_to_workers_that_need_one() -> None:
    environ = {"SSL_CERT_FILE": "/no/such/file.pem"}
    assert connection_settings_for(worker("http://api.example"), environ).context is None
    assert connection_settings_for(worker("https://api.example", verify=False), environ)
    with pytest.raises(ConfigError, match=r"SSL_CERT_FILE: there is no CA file /no/such/file\.pem"):
        connection_settings_for(worker("https://api.example"), environ)
    with pytest.raises(ConfigError, match=r"SSL_CERT_DIR: there is no folder /no/such"):
        connection_settings_for(worker("https://api.example"), {"SSL_CERT_DIR": "/no/such"})


@pytest.mark.parametrize("verify", [5, None, ["a.pem"], {}])
def test_the_error_says_which_values_of_verify_are_allowed(verify: Any) -> None:
    with pytest.raises(ConfigError, match=r"verify: true, false, the path of a CA file"):
        worker("https://api.example", verify=verify)


async def test_a_client_certificate_is_shown_where_it_is_demanded() -> None:
    mine = ssl.create_default_context(cafile=CERTIFICATE)
    mine.load_cert_chain(CERTIFICATE)
    async with open_simulator(sockets=True) as sim:
        provider = sim.add("w", Behaviour(text="Known."), provider="openai_compatible")
        demanding = server_context(client=CERTIFICATE)
        async with (
            serving(to_port(port_of(provider)), demanding) as port,
            open_proxy({"localhost": port}) as proxy,
        ):
            url = f"https://localhost:{port}/v1"
            assert await answer_of(worker(url, verify=mine)) == "Known."
            assert await answer_of(worker(url, verify=mine, proxy=proxy.url)) == "Known."
            error = await failure_of(worker(url, verify=CERTIFICATE))
    assert error.failure.kind is FailureKind.CONNECTION


# ------------------------------------------------------------------ HTTP/2, unix sockets, the choice


@pytest.mark.skipif(importlib.util.find_spec("h2") is not None, reason="h2 is installed")
def test_http2_without_its_package_says_what_to_install() -> None:
    with pytest.raises(ConfigError, match=r"http2: .*pip install 'httpx\[http2\]'"):
        worker("https://api.example", http2=True)


async def test_http2_is_offered_and_spoken() -> None:
    pytest.importorskip("h2", reason="h2 is not installed")
    import h2.config  # type: ignore[import-not-found, unused-ignore]
    import h2.connection  # type: ignore[import-not-found, unused-ignore]
    import h2.events  # type: ignore[import-not-found, unused-ignore]
    import h2.exceptions  # type: ignore[import-not-found, unused-ignore]

    body = b'data: {"choices":[{"delta":{"content":"Two."},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'

    async def speak(stream: trio.abc.Stream) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        await stream.send_all(connection.data_to_send())
        with suppress(h2.exceptions.ProtocolError):  # a client of HTTP/1.1
            while data := await stream.receive_some(65_536):
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.StreamEnded):
                        headers = [(":status", "200"), ("content-type", "text/event-stream")]
                        connection.send_headers(event.stream_id, headers)
                        connection.send_data(event.stream_id, body, end_stream=True)
                await stream.send_all(connection.data_to_send())

    async with serving(speak, server_context(alpn=("h2",))) as port:
        url = f"https://localhost:{port}/v1"
        assert await answer_of(worker(url, http2=True, verify=CERTIFICATE)) == "Two."
        error = await failure_of(worker(url, verify=CERTIFICATE))  # offers HTTP/1.1 only
    assert error.failure.kind in (FailureKind.CONNECTION, FailureKind.PROTOCOL)


async def test_a_unix_socket_is_reached_by_httpx(tmp_path: Path) -> None:
    async with open_simulator(sockets=True) as sim:
        provider = sim.add("w", Behaviour(text="Next door."), provider="openai_compatible")
        path = tmp_path / "model.sock"
        async with serving_unix(path, to_port(port_of(provider))):
            config = Config(workers={"w": worker("http://model/v1")}, health_check_interval=0)
            async with open_cortex(
                config, http_transport=lambda worker: httpx.AsyncHTTPTransport(uds=str(path))
            ) as cortex:
                assert (await cortex.complete("Hi")).text == "Next door."


def test_our_own_transport_serves_unless_a_proxy_or_http2_is_wanted() -> None:
    plain = worker("https://api.example")
    for config in (plain, attrs.evolve(plain, verify=False), attrs.evolve(plain, verify=CERTIFICATE)):
        assert isinstance(transport_for(connection_settings_for(config, {})), PooledTransport)
    proxied = transport_for(connection_settings_for(plain, {"HTTPS_PROXY": "proxy.example:3128"}))
    assert isinstance(proxied, httpx.AsyncHTTPTransport)


def test_httpx_has_no_limit_that_would_look_like_a_silent_provider() -> None:
    """httpcore's pool makes further requests wait for a connection, for any time, so its limit must be off."""
    transport = transport_for(
        connection_settings_for(worker("https://api.example", proxy="http://proxy:1"), {}), max_idle=7
    )
    pool = transport._pool  # type: ignore[union-attr]
    assert pool._max_connections > 10**9
    assert pool._max_keepalive_connections == 7


@pytest.mark.parametrize(
    ("with_proxy", "bounds"),
    [(False, [3, 1]), (True, [3]), (True, [1])],  # httpx's keep theirs after a reload, until they are closed
)
async def test_as_many_connections_are_kept_as_configured_and_a_reload_changes_it(
    with_proxy: bool, bounds: list[int]
) -> None:
    async with open_simulator(sockets=True) as sim:
        provider = sim.add("w", Behaviour(text="Kept."), provider="openai_compatible")
        async with (
            serving(to_port(port_of(provider)), server_context()) as secure,
            open_proxy({"localhost": secure}) as proxy,
        ):
            direct = worker(f"https://localhost:{secure}/v1", verify=CERTIFICATE)
            config = Config(
                workers={"w": attrs.evolve(direct, proxy=proxy.url) if with_proxy else direct},
                health_check_interval=0,
                max_idle_connections=bounds[0],
            )
            async with open_cortex(config) as cortex:
                for kept in bounds:
                    await cortex.reload(attrs.evolve(config, max_idle_connections=kept))
                    async with trio.open_nursery() as nursery:
                        for _ in range(10):
                            nursery.start_soon(cortex.complete, "Hi")
                    assert await settle(lambda kept=kept: provider.open_connections == kept)  # type: ignore[misc]


@pytest.mark.parametrize(("of_its_own", "kept"), [(None, 2), (4, 4)])
async def test_a_users_pooled_transport_keeps_as_many_connections_unless_it_has_a_limit_of_its_own(
    of_its_own: int | None, kept: int
) -> None:
    async with open_simulator() as sim:
        sim.add("w", Behaviour(text="Kept."), provider="openai_compatible")
        transport = PooledTransport(network_backend=sim.network, max_idle=of_its_own)
        config = attrs.evolve(Config.from_mapping(sim.config()), max_idle_connections=2)
        async with open_cortex(config, http_transport=lambda worker: transport) as cortex:
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(cortex.complete, "Hi")
            assert transport.idle == kept


@pytest.mark.parametrize("wrong", [-1, 1.5, "many", None, True])
def test_the_error_says_which_limits_are_allowed(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"^max_idle_connections: "):
        Config(workers={"w": worker("http://api.example")}, max_idle_connections=wrong)


@pytest.mark.slow
async def test_more_streams_than_httpx_allows_by_default_pass_through_a_proxy() -> None:
    async with open_simulator(sockets=True) as sim:
        provider = sim.add("w", Behaviour(text="Many.", first_token_after=0.5), provider="openai_compatible")
        async with open_proxy({"api.example": port_of(provider)}) as proxy:
            config = Config(
                workers={"w": worker("http://api.example/v1", proxy=proxy.url, timeout=30.0)},
                health_check_interval=0,
            )
            async with open_cortex(config) as cortex:
                texts: list[str] = []

                async def ask() -> None:
                    texts.append((await cortex.complete("Hi")).text)

                async with trio.open_nursery() as nursery:
                    for _ in range(HTTPX_PLACES + 10):
                        nursery.start_soon(ask)
    assert texts == ["Many."] * (HTTPX_PLACES + 10)


# ------------------------------------------------------------------ query


async def test_the_query_of_a_worker_is_part_of_every_request() -> None:
    async with open_simulator(sockets=True) as sim:
        provider = sim.add("w", Behaviour(text="Versioned."), provider="openai_compatible")
        async with open_proxy({"api.example": port_of(provider)}) as proxy:
            azure = worker(
                "http://api.example/v1", proxy=proxy.url, query={"api-version": "2026-10-21", "a b": "ü&="}
            )
            assert await answer_of(azure) == "Versioned."
    assert proxy.seen == [
        "POST http://api.example/v1/chat/completions?api-version=2026-10-21&a%20b=%C3%BC%26%3D"
    ]
