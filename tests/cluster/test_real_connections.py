"""How a real server is reached: TLS, certificates, the nodes of a cluster, and what the link reports when it cannot be.

`store.pem` contains a certificate for localhost, signed by `store_ca.pem`, and its key, made for these tests. They are
no secrets.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from gateways import open_gateways, served_by
from real_server import cluster_of, free_port, needs_server, running
from test_real_server import cools_down, limit, link_of, until

from cortex_trio import ConfigError
from cortex_trio.cluster import StoreUnavailable, ValkeyStore
from cortex_trio.simulator import open_simulator

pytest.importorskip("glide")
pytestmark = [needs_server]

CA = Path(__file__).with_name("store_ca.pem")
CERTIFICATE = Path(__file__).with_name("store.pem")


@pytest.fixture(scope="module")
def secure() -> Iterator[dict[str, int]]:
    """The ports of a server: `tls`, `plain`, and `mutual`, that of one which asks for a client certificate."""
    files = ["--tls-cert-file", str(CERTIFICATE), "--tls-key-file", str(CERTIFICATE)]
    files += ["--tls-ca-cert-file", str(CA)]
    tls, mutual = free_port(), free_port()
    with (
        running("--tls-port", str(tls), "--tls-auth-clients", "no", *files) as server,
        running("--tls-port", str(mutual), "--tls-auth-clients", "yes", *files),
    ):
        yield {"tls": tls, "plain": server.port, "mutual": mutual}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


def url_of(scheme: str, host: str, port: int, query: str) -> str:
    return f"{scheme}://{host}:{port}/0?{query.format(ca=CA, cert=CERTIFICATE)}"


@pytest.mark.parametrize(
    ("scheme", "host", "port", "query"),
    [
        ("valkeys", "127.0.0.1", "tls", "ca={ca}"),
        ("rediss", "localhost", "tls", "ca={ca}"),
        ("valkeys", "localhost", "mutual", "ca={ca}&cert={cert}"),
        ("valkeys", "localhost", "mutual", "ca={ca}&cert={cert}&key={cert}"),
    ],
)
async def test_a_server_with_tls_is_reached(
    scheme: str, host: str, port: str, query: str, secure: dict[str, int]
) -> None:
    async with ValkeyStore(url_of(scheme, host, secure[port], query)).open_link("one") as link:
        assert await link.beat("one", 1) == 1


@pytest.mark.slow
async def test_the_ca_of_the_environment_is_trusted(secure: dict[str, int]) -> None:
    """In a process of its own, because the client reads the variable once."""
    program = f"""
import trio
from cortex_trio.cluster import ValkeyStore

async def main():
    async with ValkeyStore("valkeys://localhost:{secure["tls"]}").open_link("one") as link:
        print(await link.beat("one", 1))

trio.run(main)
"""
    variables = {**os.environ, "SSL_CERT_FILE": str(CA)}
    done = await trio.run_process([sys.executable, "-c", program], env=variables, capture_stdout=True)
    assert done.stdout == b"1\n"


@pytest.mark.parametrize(
    ("scheme", "port", "query", "reasons"),
    [
        ("valkeys", "tls", "", ["UnknownIssuer", "(with TLS)"]),
        ("valkeys", "tls", "cluster=true", ["UnknownIssuer", "(with TLS)"]),
        ("valkeys", "plain", "ca={ca}", ["timed out", "(with TLS)"]),
        ("valkey", "tls", "", ["(without TLS)"]),
        ("valkeys", "mutual", "ca={ca}", ["(with TLS)"]),
        ("valkey", "plain", "cluster=true", ["no cluster answers"]),
    ],
)
async def test_a_server_that_cannot_be_reached_says_why(
    scheme: str, port: str, query: str, reasons: list[str], secure: dict[str, int]
) -> None:
    store = ValkeyStore(url_of(scheme, "localhost", secure[port], query))
    with pytest.raises(StoreUnavailable) as caught:
        async with store.open_link("one"):
            pass
    assert [reason for reason in reasons if reason not in str(caught.value)] == []


async def test_a_certificate_for_another_host_is_refused(secure: dict[str, int]) -> None:
    """127.0.0.2 is this machine too, and not in the certificate."""
    proxied = url_of("valkeys", "127.0.0.2", secure["tls"], "ca={ca}")
    with pytest.raises(StoreUnavailable, match=r"[Nn]ot[ _]?[Vv]alid[ _]?[Ff]or"):
        async with ValkeyStore(proxied).open_link("one"):
            pass


async def test_a_certificate_that_is_not_trusted_harms_no_call(secure: dict[str, int]) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        store = ValkeyStore(url_of("valkeys", "localhost", secure["tls"], ""))
        async with open_gateways(sim, store) as (cortex,):
            assert await served_by(cortex) == "openai"
            await until(lambda: link_of(cortex).reason is not None, 5)
            assert not link_of(cortex).connected
            assert "UnknownIssuer" in (link_of(cortex).reason or "")
            assert await served_by(cortex) == "openai"


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("ca=/no/such/file.pem", "the file of ca cannot be used: No such file or directory"),
        (f"ca={__file__}", "the file of ca cannot be used"),
        (f"cert={CA}", "the file of cert cannot be used"),
        (
            f"cert={CERTIFICATE}&key=/no/such/file",
            "the file of cert cannot be used: No such file or directory",
        ),
        (f"key={CERTIFICATE}", "key needs cert"),
    ],
    ids=["no CA file", "not PEM", "no key", "no key file", "no certificate"],
)
def test_a_file_that_cannot_be_used_is_an_error_of_the_configuration(query: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ValkeyStore(f"valkeys://:hidden@host?{query}")
    assert caught.value.path == "store"
    assert problem in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.slow
async def test_a_cluster_of_three_whose_node_dies_loses_nothing() -> None:
    with cluster_of(3) as nodes:
        addresses = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        async with open_simulator() as sim:
            sim.add("openai")
            sim.add("anthropic")
            stores = [ValkeyStore(f"valkey://{addresses}/0?cluster=true") for _ in range(2)]
            async with open_gateways(sim, *stores) as (first, second):
                await until(lambda: link_of(first).connected and link_of(second).connected, 5)
                (node,) = [
                    node for node in nodes if node.command("DBSIZE") != b":0\r\n"
                ]  # all names are on one
                node.kill()
                await limit(sim, first)
                await until(lambda: not link_of(first).connected, 3)
                assert await served_by(second) == "openai"
                node.start()
                await until(lambda: cools_down(second), 10)
                assert await served_by(second) == "anthropic"
