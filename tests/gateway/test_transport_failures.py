"""One table says what an exception of a transport proves; the reason is at the end of its text."""

import errno
import inspect
import socket
from typing import Any

import httpcore
import httpx
import pytest
import trio
from certificates import CERTIFICATE, server_context
from fronts import open_proxy, serving

from cortex_trio import Config, FailureKind, ProviderError, WorkerConfig, http, open_cortex
from cortex_trio.gateway.transport.errors import TABLE, failure_of
from cortex_trio.http.causes import explain

K = FailureKind


def exceptions_of(module: Any) -> list[type[Exception]]:
    found = [getattr(module, name) for name in dir(module) if not name.startswith("_")]
    return [kind for kind in found if inspect.isclass(kind) and issubclass(kind, module.HTTPError)]


def test_every_exception_of_httpx_is_in_the_table() -> None:
    names = {kind.__name__ for kind in exceptions_of(httpx)} - {"RequestError", "HTTPStatusError"}
    assert names <= TABLE.keys()


@pytest.mark.parametrize("kind", exceptions_of(httpx), ids=lambda kind: kind.__name__)
def test_httpx2_has_the_same_tree_and_the_same_failures(kind: type[Exception]) -> None:
    httpx2 = pytest.importorskip("httpx2", reason="httpx2 is not installed")
    if kind.__name__ == "HTTPStatusError":
        return  # raised by raise_for_status, no transport's matter
    ours, theirs = kind("text"), getattr(httpx2, kind.__name__)("text")
    assert failure_of(ours, "stream") == failure_of(theirs, "stream")
    assert failure_of(ours, "stream").kind is not K.CRASHED


@pytest.mark.parametrize(
    ("error", "kind", "phase", "text"),
    [
        (http.ConnectError("timed out"), K.CONNECTION, "connect", "could not connect: timed out"),
        (
            http.ConnectError("could not connect to a.example:1: timed out"),
            K.CONNECTION,
            "connect",
            "could not connect to a.example:1: timed out",
        ),
        (http.ConnectionBroken("reset"), K.CONNECTION, "stream", "the connection broke: reset"),
        (http.RemoteProtocolError("no HTTP"), K.PROTOCOL, "stream", "no HTTP"),
        (httpx.ConnectTimeout(""), K.CONNECTION, "connect", "could not connect: timed out"),
        (httpx.UnsupportedProtocol("no 'foo://'"), K.CONNECTION, "connect", "could not connect: no 'foo://'"),
        (httpx.ProxyError("407"), K.CONNECTION, "connect", "could not connect: the proxy refused: 407"),
        (httpx.InvalidURL("a..b"), K.CONNECTION, "connect", "could not connect: a..b"),
        (
            httpx.RemoteProtocolError("Server disconnected without sending a response."),
            K.CONNECTION,
            "stream",
            "the connection broke: Server disconnected without sending a response.",
        ),
        (
            httpx.RemoteProtocolError("peer closed connection without sending complete message body"),
            K.CONNECTION,
            "stream",
            "the connection broke: peer closed connection without sending complete message body",
        ),
        (
            httpx.RemoteProtocolError("<StreamReset stream_id:1, error_code:2, remote_reset:True>"),
            K.CONNECTION,
            "stream",
            "the connection broke: <StreamReset stream_id:1, error_code:2, remote_reset:True>",
        ),
        (httpx.RemoteProtocolError("illegal header line"), K.PROTOCOL, "stream", "illegal header line"),
        (httpcore.ReadError("reset"), K.CONNECTION, "stream", "the connection broke: reset"),
    ],
)
def test_what_an_exception_proves(error: Exception, kind: FailureKind, phase: str, text: str) -> None:
    failure = failure_of(error, "stream")
    assert (failure.kind, failure.phase, failure.message, failure.ours) == (kind, phase, text, False)


def test_a_pool_timeout_is_ours() -> None:
    failure = failure_of(httpx.PoolTimeout(""), "headers")
    assert failure.ours
    assert failure.message == "no connection of the transport's pool was free: timed out"


def caused(outer: Exception, inner: BaseException, *, hidden: bool = False) -> Exception:
    try:
        try:
            raise inner
        except BaseException as error:
            if hidden:
                raise outer from None
            raise outer from error
    except Exception as made:
        return made


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS])
@pytest.mark.parametrize("kind", [http.ConnectError, httpx.ConnectError, RuntimeError])
def test_missing_descriptors_are_ours_however_deep_the_cause_is(
    kind: type[Exception], number: int, hidden: bool
) -> None:
    group = ExceptionGroup("attempts", [OSError(errno.ECONNREFUSED, "refused"), OSError(number, "x")])
    middle = caused(OSError("all attempts to connect failed"), group)
    failure = failure_of(caused(kind("no connection"), middle, hidden=hidden), "headers")
    assert failure.ours
    if kind is not RuntimeError:
        assert failure.message.endswith(f"connection refused, {explain(OSError(number, ''))}")


@pytest.mark.parametrize(
    ("cause", "end"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "connection refused"),
        (OSError(errno.EHOSTUNREACH, "x"), "no route to host"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "no such host"),
    ],
)
def test_the_reason_is_at_the_end_however_long_the_text_before_it(cause: OSError, end: str) -> None:
    failure = failure_of(caused(httpx.ConnectError("all attempts failed for " + "x" * 500), cause), "headers")
    assert failure.message.endswith(end)
    assert not failure.ours


def test_a_reason_in_the_text_is_not_repeated() -> None:
    error = caused(http.ConnectError("Connection refused"), ConnectionRefusedError(errno.ECONNREFUSED, "x"))
    assert failure_of(error, "headers").message == "could not connect: Connection refused"
    alike = caused(httpx.ConnectError("[Errno 111] x"), ConnectionRefusedError(111, "x"))
    assert failure_of(alike, "headers").message == "could not connect: connection refused"


def test_causes_in_a_cycle_end() -> None:
    one, other = httpx.ConnectError("one"), OSError(errno.ECONNRESET, "x")
    one.__cause__, other.__cause__ = other, one
    assert failure_of(one, "headers").message.endswith("connection reset by the server")


# ------------------------------------------------------------------ from end to end


async def error_of(url: str, *, by_httpx: bool, **fields: Any) -> ProviderError:
    worker = WorkerConfig(provider="openai_compatible", models=["m"], base_url=url, **fields)
    transport = (lambda worker: httpx.AsyncHTTPTransport()) if by_httpx else None
    config = Config(workers={"w": worker}, health_check_interval=0)
    async with open_cortex(config, http_transport=transport) as cortex:
        with pytest.raises(ProviderError) as caught:
            await cortex.models(worker="w")
    return caught.value


@pytest.mark.parametrize("by_httpx", [False, True], ids=["ours", "httpx"])
async def test_a_refused_port_a_bad_certificate_and_an_unknown_name_are_named_at_the_end(
    by_httpx: bool,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    refused = await error_of(f"http://127.0.0.1:{port}", by_httpx=by_httpx)
    assert str(refused).endswith(f"could not connect to 127.0.0.1:{port}: connection refused")
    async with serving(read_once, server_context()) as secure:
        error = await error_of(f"https://localhost:{secure}", by_httpx=by_httpx)
    assert str(error).endswith(": certificate verify failed: self-signed certificate")
    assert error.failure.phase == "connect"
    nowhere = await error_of("http://no-such-host.invalid", by_httpx=by_httpx)
    assert str(nowhere).endswith((": no such host", ": temporary failure in name resolution"))


async def read_once(stream: trio.abc.Stream) -> None:
    await stream.receive_some()


async def test_the_error_says_that_a_certificate_is_for_another_host() -> None:
    async with serving(read_once, server_context()) as port, open_proxy({"other.example": port}) as proxy:
        error = await error_of("https://other.example", by_httpx=False, proxy=proxy.url, verify=CERTIFICATE)
    assert "Hostname mismatch, certificate is not valid for 'other.example'" in str(error)
    assert error.failure.kind is K.CONNECTION
