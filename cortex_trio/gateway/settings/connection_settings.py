"""How the requests of one worker are connected: proxy, TLS context, HTTP version.

The settings come from the worker's configuration and from the environment.
`gateway.transport.default_transport` makes a transport of it.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from ...http.certificates import HTTP1, HTTP2, CertificateFileError, context_from, context_of_environment
from .fields import certificate_error
from .process_environ import value_of
from .proxies import DIRECT, proxy_for
from .secrets import ProxyUrl
from .worker_config import WorkerConfig


@attrs.frozen
class ConnectionSettings:
    """Proxy, TLS context and HTTP version. Workers with equal settings may use the same transport."""

    proxy: ProxyUrl = DIRECT
    """DIRECT (an empty address): no proxy."""
    context: ssl.SSLContext | None = None
    """None: the default CAs, or a connection without TLS. Contexts are equal only if they are the same object."""
    http2: bool = False
    """Whether HTTP/2 is offered."""


def connection_settings_for(config: WorkerConfig, environ: Mapping[str, str]) -> ConnectionSettings:
    """Return the connection settings of a worker.

    Args:
        config: of the worker; what it does not set is read from `environ`.
        environ: environment variables.

    Raises:
        ConfigError: a proxy or a CA file cannot be used.
    """
    url = config.address
    if config.proxy is None:
        proxy = proxy_for(url, environ, is_local=config.kind.name == "ollama")
    else:
        proxy = ProxyUrl(config.proxy)
    secure = "https" in (urlsplit(url).scheme, urlsplit(proxy.reveal()).scheme)
    alpn = HTTP2 if config.http2 else HTTP1
    if isinstance(config.verify, ssl.SSLContext):
        context: ssl.SSLContext | None = config.verify
    elif config.verify is not True:
        context = trusted_by_worker(config.verify, alpn)
    else:
        context = trusted_by_environment(environ, alpn) if secure else None
    return ConnectionSettings(proxy, context, config.http2)


def trusted_by_worker(verify: str | Path | bool, alpn: tuple[str, ...]) -> ssl.SSLContext:
    """Return the TLS context for `WorkerConfig.verify`, whose file may have changed since it was checked.

    Raises:
        ConfigError: the file cannot be used.
    """
    try:
        return context_from(verify, alpn=alpn)
    except CertificateFileError as error:
        failed = certificate_error("verify", error)
        raise failed from failed.__cause__


def trusted_by_environment(environ: Mapping[str, str], alpn: tuple[str, ...]) -> ssl.SSLContext | None:
    """Return a TLS context with the CAs of SSL_CERT_FILE and SSL_CERT_DIR; None if neither is set.

    Raises:
        ConfigError: the file or folder cannot be used.
    """
    variables = {name: value_of(environ, name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
    try:
        return context_of_environment(variables, alpn=alpn)
    except CertificateFileError as error:
        failed = certificate_error(error.variable or "verify", error)
        raise failed from failed.__cause__
