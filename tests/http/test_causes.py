"""Why there is no connection: the last line of the error says it, `__cause__` holds it, and the address is named.

`expired.pem` is a certificate of its own making that was valid in 2020, and its key, for these tests and no secret.
"""

import errno
import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from certificates import CERTIFICATE, EXPIRED, client_context, server_context
from raw import (
    Peer,
    Script,
    answer_all,
    ask,
    connections_to,
    open_pool,
    open_secure_server,
    open_server,
    read,
)

from cortex_trio import Failure, FailureKind
from cortex_trio.gateway.transport.connections import Connections
from cortex_trio.gateway.transport.errors import TransportFailed
from cortex_trio.http import ConnectError, ConnectionBroken, PooledTransport, ServerDisconnected
from cortex_trio.http.causes import causes, explain, is_our_shortage
from cortex_trio.http.certificates import CertificateFileError
from cortex_trio.simulator import Behaviour, open_simulator

K = FailureKind


async def cause_of(url: str, pool: PooledTransport | None = None, patience: float = 5) -> ConnectError:
    """Ask `url` in vain; the failure must be one to connect."""
    pool = pool or PooledTransport(ssl_context=client_context())
    with pytest.raises(TransportFailed) as caught:
        await ask(connections_to(url, pool), patience=patience)
    failure = caught.value.failure
    assert (failure.kind, failure.phase) == (K.CONNECTION, "connect")
    error = caught.value.__cause__
    assert isinstance(error, ConnectError)
    assert failure.message == Failure(K.CONNECTION, str(error)).message  # long paths are cut
    assert pool.in_use == 0
    return error


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


# ------------------------------------------------------------------ the network


async def test_a_port_on_which_no_server_listens() -> None:
    port = free_port()
    error = await cause_of(f"http://127.0.0.1:{port}")
    assert str(error) == f"could not connect to 127.0.0.1:{port}: connection refused"
    assert isinstance(error.__cause__, ConnectionRefusedError)
    assert not error.ours


class Names(trio.abc.HostnameResolver):
    """Resolves every name to these addresses, or fails with this error."""

    def __init__(self, found: Sequence[str] | OSError) -> None:
        self._found = found

    async def getaddrinfo(
        self, host: bytes | None, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        if isinstance(self._found, OSError):
            raise self._found
        return [
            (socket.AF_INET6 if ":" in name else socket.AF_INET, socket.SOCK_STREAM, 6, "", (name, port))
            for name in self._found
        ]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


@contextmanager
def resolving_to(found: Sequence[str] | OSError) -> Iterator[None]:
    before = trio.socket.set_custom_hostname_resolver(Names(found))
    try:
        yield
    finally:
        trio.socket.set_custom_hostname_resolver(before)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "no such host"),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), "temporary failure in name resolution"),
        (socket.gaierror(socket.EAI_FAIL, "a fatal one"), "name resolution failed: a fatal one"),
    ],
)
async def test_a_name_that_cannot_be_resolved(error: OSError, text: str) -> None:
    with resolving_to(error):
        raised = await cause_of("http://no-such-host.example:8080")
    assert str(raised) == f"could not connect to no-such-host.example:8080: {text}"
    assert raised.__cause__ is error
    assert not raised.ours


async def test_a_name_that_is_too_long_to_be_one() -> None:
    error = await cause_of(f"http://{'a' * 70}.example")
    assert str(error).endswith("no such host: the name is not valid")


async def test_a_long_address_leaves_space_for_the_cause() -> None:
    name = ".".join(["a" * 60] * 4)
    with resolving_to(socket.gaierror(socket.EAI_NONAME, "")):
        error = await cause_of(f"http://{name}")
    assert str(error).endswith("…: no such host")


async def test_several_addresses_that_fail_alike_are_one_cause() -> None:
    port = free_port()
    with resolving_to(["127.0.0.1", "127.0.0.2", "127.0.0.3"]):
        error = await cause_of(f"http://three.example:{port}")
    assert str(error) == f"could not connect to three.example:{port}: connection refused"
    assert isinstance(error.__cause__, ConnectionRefusedError)


async def test_several_addresses_that_fail_in_different_ways_are_all_named() -> None:
    port = free_port()
    with resolving_to(["127.0.0.1", "255.255.255.255"]):  # TCP has no broadcast
        error = await cause_of(f"http://two.example:{port}")
    first, _, second = str(error).removeprefix(f"could not connect to two.example:{port}: ").partition(", ")
    assert first == "connection refused"
    assert second in {"network is unreachable", "permission denied"}
    group = error.__cause__
    assert group is not None
    assert len(list(causes(group))) == 2


async def test_a_connect_that_takes_too_long(autojump_clock: trio.testing.MockClock) -> None:
    async with open_simulator() as sim:
        provider = sim.add("openai_compatible", Behaviour(connect_after=10))
        pool = PooledTransport(network_backend=sim.network)
        error = await cause_of(provider.url, pool, patience=3)
    assert str(error).endswith(": timed out after 3 s")
    assert not error.ours


# ------------------------------------------------------------------ TLS


async def test_a_certificate_that_has_expired() -> None:
    trusts_it = ssl.create_default_context(cafile=EXPIRED)
    async with open_secure_server(answer_all, server_context(EXPIRED)) as server:
        error = await cause_of(server.url, PooledTransport(ssl_context=trusts_it))
    assert "certificate has expired" in str(error)
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


async def test_a_certificate_of_another_host() -> None:
    async with open_secure_server(answer_all) as server:
        with resolving_to(["127.0.0.1"]):
            error = await cause_of(server.url.replace("localhost", "other.example"))
    assert "Hostname mismatch, certificate is not valid for 'other.example'" in str(error)
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


async def test_a_certificate_that_is_not_trusted() -> None:
    async with open_secure_server(answer_all) as server:
        error = await cause_of(server.url, PooledTransport())
    assert "certificate verify failed: self-signed certificate" in str(error)


async def test_a_renewed_ca_file_is_used_for_the_next_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "authorities.pem"
    path.write_bytes(EXPIRED.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    pool = PooledTransport()
    async with open_secure_server(answer_all) as server:
        await cause_of(server.url, pool)
        path.write_bytes(CERTIFICATE.read_bytes())
        assert await read(await ask(connections_to(server.url, pool))) == b"ok"
        await pool.aclose()


async def test_a_server_without_tls_on_the_port() -> None:
    async def script(peer: Peer) -> None:
        await peer.stream.receive_some()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with open_server(script) as server:
        error = await cause_of(server.url.replace("http:", "https:"))
    assert "the server may not speak TLS on this port" in str(error)


async def hangs_up(peer: Peer) -> None:
    await peer.stream.receive_some()


async def resets(peer: Peer) -> None:
    await peer.stream.receive_some()
    await peer.reset()


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (hangs_up, "the server closed the connection in the TLS handshake"),
        (resets, "connection reset by the server in the TLS handshake"),
    ],
)
async def test_a_server_that_closes_in_the_handshake(script: Script, text: str) -> None:
    async with open_server(script) as server:
        error = await cause_of(server.url.replace("http:", "https:"))
    assert str(error).endswith(text)
    assert isinstance(error.__cause__, OSError)


async def test_a_server_that_speaks_another_version_of_tls() -> None:
    new = server_context()
    new.minimum_version = ssl.TLSVersion.TLSv1_3
    old = client_context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with open_secure_server(answer_all, new) as server:
        error = await cause_of(server.url, PooledTransport(ssl_context=old))
    assert "alert protocol version" in str(error)


async def test_a_certificate_of_ours_that_the_server_wants_and_does_not_get() -> None:
    """With TLS 1.3 the client learns it only after its handshake, when it reads the answer."""
    strict = server_context()
    strict.verify_mode = ssl.CERT_REQUIRED
    strict.load_verify_locations(CERTIFICATE)

    async with open_secure_server(answer_all, strict) as server:
        pool = PooledTransport(ssl_context=client_context())
        with pytest.raises(TransportFailed, match="certificate required"):
            await ask(connections_to(server.url, pool))
        assert pool.in_use == 0


@pytest.mark.parametrize("is_empty", [False, True], ids=["missing", "without a certificate"])
async def test_a_ca_file_that_cannot_be_read(
    is_empty: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "authorities.pem"
    if is_empty:
        path.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    async with open_secure_server(answer_all) as server:
        error = await cause_of(server.url, PooledTransport())
    problem = "no certificate could be read from" if is_empty else "there is no CA file"
    assert f": SSL_CERT_FILE: {problem} {path}" in str(error)
    assert isinstance(error.__cause__, CertificateFileError)


# ------------------------------------------------------------------ the text


@pytest.mark.parametrize(
    ("number", "text", "ours"),
    [
        (errno.ECONNREFUSED, "connection refused", False),
        (errno.ENETUNREACH, "network is unreachable", False),
        (errno.EHOSTUNREACH, "no route to host", False),
        (errno.ETIMEDOUT, "timed out", False),
        (errno.EMFILE, "too many open files in this process", True),
        (errno.ENFILE, "too many open files in this system", True),
        (errno.ENOBUFS, os.strerror(errno.ENOBUFS).lower(), True),
        (errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL).lower(), True),
        (errno.EACCES, os.strerror(errno.EACCES).lower(), False),
    ],
)
def test_an_error_of_the_system_has_its_text(number: int, text: str, ours: bool) -> None:
    error = OSError(number, "Error connecting to ('127.0.0.1', 80): whatever")
    assert (explain(error), is_our_shortage(error)) == (text, ours)


def test_a_missing_ipv6_is_no_shortage() -> None:
    group = ExceptionGroup("", [OSError(errno.EADDRNOTAVAIL, ""), OSError(errno.ECONNREFUSED, "")])
    assert not is_our_shortage(group)
    assert explain(group).endswith(", connection refused")


def test_a_shortage_at_one_address_is_ours_whatever_the_others_say() -> None:
    assert is_our_shortage(ExceptionGroup("", [OSError(errno.ECONNREFUSED, ""), OSError(errno.EMFILE, "")]))


def test_the_resolver_and_tls_have_numbers_of_their_own() -> None:
    assert not is_our_shortage(socket.gaierror(errno.ENOMEM, "the name is not known"))
    assert not is_our_shortage(ssl.SSLError(errno.ENOMEM, "bad certificate"))


# ------------------------------------------------------------------ connections that break


CUT_BODY = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"
CUT_CHUNK = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf"
CUT_HEAD = b"HTTP/1.1 200 OK\r\ncontent-"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"


async def ask_and_read(connections: Connections, has_head: trio.Event) -> None:
    answer = await ask(connections)
    has_head.set()
    await read(answer)


@pytest.mark.parametrize(
    ("sent", "is_reset", "kind", "phase", "text"),
    [
        (b"", False, ServerDisconnected, "headers", "the server closed the connection before it responded"),
        (b"", True, ServerDisconnected, "headers", "connection reset by the server before it responded"),
        (CUT_HEAD, False, ConnectionBroken, "headers", "closed the connection in the middle of the headers"),
        (CUT_HEAD, True, ConnectionBroken, "headers", "reset by the server in the middle of the headers"),
        (HEAD, False, ConnectionBroken, "stream", "in the middle of the response"),
        (HEAD, True, ConnectionBroken, "stream", "connection reset by the server"),
        (CUT_BODY, False, ConnectionBroken, "stream", "in the middle of the response"),
        (CUT_BODY, True, ConnectionBroken, "stream", "connection reset by the server"),
        (CUT_CHUNK, False, ConnectionBroken, "stream", "in the middle of the response"),
        (CUT_CHUNK, True, ConnectionBroken, "stream", "connection reset by the server"),
    ],
)
async def test_the_error_of_a_broken_connection_says_when_and_how(
    sent: bytes, is_reset: bool, kind: type[Exception], phase: str, text: str
) -> None:
    is_read = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(sent)
        if is_reset:
            if phase == "stream":
                await is_read.wait()
            await peer.reset()

    async with open_server(script) as server, open_pool() as pool:
        with pytest.raises(TransportFailed) as caught:
            await ask_and_read(connections_to(server.url, pool), is_read)
        assert type(caught.value.__cause__) is kind
        assert (caught.value.failure.kind, caught.value.failure.phase) == (K.CONNECTION, phase)
        assert text in caught.value.failure.message
        assert (pool.in_use, pool.idle) == (0, 0)
