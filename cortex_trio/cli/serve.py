"""`cortex-trio serve`: a gateway behind HTTP, for programs that speak the API of OpenAI, Anthropic or Google.

SIGTERM and SIGINT drain and end it, SIGHUP reads the configuration again. With several workers this process only
supervises them, see `server.processes`.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import trio

from ..cluster import SocketStore, ValkeyStore
from ..costs import load_prices
from ..failures import ConfigError, CortexError
from ..gateway.cortex import Cortex, open_cortex
from ..gateway.settings.config import config_from_env
from ..gateway.settings.process_environ import environment
from ..otp.nursery import open_flat_nursery
from ..server.config_file import ServerConfig, read_config, read_keys
from ..server.metrics import prometheus
from ..server.serving import Server, open_server
from ..server.virtual_keys import AnyKey, VirtualKey, virtual_keys_from
from ..telemetry import Observer

log = logging.getLogger("cortex_trio.server")

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
MOST_SECONDS_AFTER_GRACE = 1.4
"""For everything that follows the grace; the promise is two seconds."""
YOUNG_OBJECTS = 10_000
"""New objects after which the garbage among them is collected; Python's number is 700. About 2 MB."""
STOPS = (signal.SIGTERM, signal.SIGINT)
HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""None on Windows."""


def serve(arguments: argparse.Namespace) -> int:
    """Serve until a signal. Returns 0.

    Raises:
        ConfigError: the configuration, a key or a certificate cannot be used, or a key is needed and there is none.
        OSError: the address cannot be used, or the port is taken.
    """
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    _raise_descriptor_limit()
    if arguments.workers > 1:
        if HANGUP is None or not hasattr(socket, "SO_REUSEPORT"):
            raise ConfigError("--workers", "needs a system with SO_REUSEPORT and SIGHUP, such as Linux")
        return trio.run(_supervise, arguments)
    try:
        return trio.run(_serve, arguments)
    finally:
        gc.freeze()  # the interpreter collects garbage as it ends: 0.18 s of CPU, and nothing is gained


async def _supervise(arguments: argparse.Namespace) -> int:
    """Start the processes, after everything that would stop each of them was checked once."""
    from ..server.processes import supervise

    tls_context(arguments.tls_cert, arguments.tls_key)
    read = await _read(arguments)
    _all_keys(arguments, read)
    if read.gateway.store is not None:
        ValkeyStore(read.gateway.store)
    return await supervise(
        worker_arguments(arguments),
        host=arguments.host,
        port=arguments.port,
        number=arguments.workers,
        grace=arguments.grace,
        signals=STOPS,
        has_store=read.gateway.store is not None,
    )


def worker_arguments(arguments: argparse.Namespace) -> list[str]:
    """Return the arguments of one process of several, without the sockets."""
    # With "=": a value may begin with "-".
    names = ("host", "grace", "max_body", "body_timeout", "config", "keys_file", "tls_cert", "tls_key")
    options = ((name.replace("_", "-"), getattr(arguments, name)) for name in names)
    given = [f"--{name}={value}" for name, value in options if value is not None]
    return ["serve", *given, *(f"--key={key}" for key in arguments.key)]


async def _serve(arguments: argparse.Namespace) -> int:
    tls = tls_context(arguments.tls_cert, arguments.tls_key)
    read = await _read(arguments)
    keys = _all_keys(arguments, read)
    signals = [*STOPS, *([] if HANGUP is None else [HANGUP])]
    inherited, spare = (
        [socket.socket(fileno=number) for number in given]
        for given in (arguments.listen_fd, arguments.spare_fd)
    )
    metrics = prometheus()
    observers: list[Observer] = [] if metrics is None else [metrics]
    async with AsyncExitStack() as stack:
        received = stack.enter_context(trio.open_signal_receiver(*signals))
        receiving = await stack.enter_async_context(open_flat_nursery())
        stack.callback(receiving.cancel_scope.cancel)
        until_stopped = trio.CancelScope()
        # That of the supervising process is passed only if the configuration has none.
        store = None if arguments.store_socket is None else SocketStore(arguments.store_socket)
        cortex = await stack.enter_async_context(open_cortex(read.gateway, on_event=observers, store=store))
        if metrics is not None:
            metrics.bind(cortex)
        # Before the first request: its answer would wait for the import, and every other task with it.
        await trio.to_thread.run_sync(load_prices)
        server = await stack.enter_async_context(
            open_server(
                cortex,
                arguments.host,
                arguments.port,
                keys=keys,
                tls=tls,
                grace=arguments.grace,
                max_body=arguments.max_body,
                body_timeout=arguments.body_timeout,
                metrics=metrics,
                sockets=inherited or None,
                spare_sockets=spare,
            )
        )
        _collect_less()
        print(f"listening on {server.url}", flush=True)
        receiving.start_soon(_receive_signals, received, arguments, cortex, server, until_stopped)
        if inherited:
            receiving.start_soon(_stop_with_parent, server, until_stopped)
        with until_stopped:
            await trio.sleep_forever()
        log.info("draining for up to %g s", arguments.grace)
        _end_in(arguments.grace + MOST_SECONDS_AFTER_GRACE)
    return 0


def _collect_less() -> None:
    """Spare garbage collections, which took 8 % of the processor time.

    They looked again and again at the 95,000 objects of the modules and the tree, which live as long as the process,
    and a request leaves no garbage that only they would find.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


async def _read(arguments: argparse.Namespace) -> ServerConfig:
    if arguments.config is None:
        return ServerConfig(await config_from_env())
    await trio.lowlevel.checkpoint()
    return read_config(Path(arguments.config), environment())


def _all_keys(arguments: argparse.Namespace, read: ServerConfig) -> tuple[VirtualKey, ...]:
    keys: list[AnyKey] = [*arguments.key, *read.keys]
    if arguments.keys_file is not None:
        keys += read_keys(Path(arguments.keys_file))
    return virtual_keys_from(keys)


async def _receive_signals(
    received: AsyncIterator[int],
    arguments: argparse.Namespace,
    cortex: Cortex,
    server: Server,
    until_stopped: trio.CancelScope,
) -> None:
    """Reload at SIGHUP, stop at the others. Goes on during the drain, which a second signal must not cut short."""
    async with open_flat_nursery() as nursery:
        async for number in received:
            if number in STOPS:
                server.drain(alone=bool(arguments.listen_fd))
                until_stopped.cancel()
            elif not until_stopped.cancel_called:
                nursery.start_soon(_reload, arguments, cortex, server)


async def _reload(arguments: argparse.Namespace, cortex: Cortex, server: Server) -> None:
    """Read the configuration again. A mistake in it is logged, and nothing is changed."""
    try:
        read = await _read(arguments)
        undo = server.reload(keys=_all_keys(arguments, read))
        try:
            await cortex.reload(read.gateway)
        except CortexError:
            undo()
            raise
        log.info("the configuration was read again")
    except CortexError as error:
        log.error("the configuration was not changed: %s", error)


async def _stop_with_parent(server: Server, until_stopped: trio.CancelScope) -> None:
    """Drain when the supervising process stops or is gone: it holds the other end of standard input."""
    stream = trio.lowlevel.FdStream(sys.stdin.fileno())
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some():
            pass
    server.drain()
    until_stopped.cancel()


def _end_in(seconds: float) -> None:
    """End this process after so many seconds, whatever it is doing: on a busy machine the way out of the tree and of
    the interpreter may take longer than a drain is allowed to.
    """

    def end() -> None:
        log.warning("the drain has not ended in time; the process ends now")
        os._exit(0)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def tls_context(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    """Return the TLS context of the server. None: plain HTTP.

    Raises:
        ConfigError: only one file is given, or a file cannot be used.
    """
    if certificate is None and key is None:
        return None
    if certificate is None:
        raise ConfigError("--tls-key", "needs --tls-cert")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # also what OpenSSL says
        files = certificate if key is None else f"{certificate}, {key}"
        raise ConfigError("--tls-cert", f"{files}: {error.strerror or error}") from None
    context.set_alpn_protocols(["http/1.1"])
    return context


def _raise_descriptor_limit() -> None:
    """Allow as many connections as the system does: shells set a low limit for old programs."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
