"""How one worker's requests travel: proxy, TLS context, HTTP version; and a transport that does so.

`connection_settings_for` reads the worker's configuration and the environment. Without a proxy and with HTTP/1.1 the
transport is our own, otherwise httpx's. httpx's gets no limit on connections and no time-out for a place in its pool,
because waiting there would look like a provider that is silent.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import attrs
import httpx

from ...failures import ConfigError
from ...http.certificates import HTTP1, HTTP2, CertificateFileError, context_from, context_of_environment
from ...http.pool import KEEPALIVE_SECONDS, MAX_IDLE
from ...http.transport import PooledTransport
from .fields import certificate_problem
from .process_environ import value_of
from .proxies import DIRECT, proxy_for
from .secrets import ProxyUrl
from .worker_config import WorkerConfig


@attrs.frozen
class ConnectionSettings:
    """How a worker's requests travel. Equal ways may use the same transport."""

    proxy: ProxyUrl = DIRECT
    context: ssl.SSLContext | None = None
    """None: the default CAs, or a plain connection. Equal if it is the same one."""
    http2: bool = False


def connection_settings_for(config: WorkerConfig, environ: Mapping[str, str]) -> ConnectionSettings:
    """Return the way of a worker's requests. Raises ConfigError for a proxy or a CA file that cannot be used."""
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
        context = context_from(config.verify, alpn=alpn)
    else:
        context = trusted_by_environment(environ, alpn) if secure else None
    return ConnectionSettings(proxy, context, config.http2)


def trusted_by_environment(environ: Mapping[str, str], alpn: tuple[str, ...]) -> ssl.SSLContext | None:
    variables = {name: value_of(environ, name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
    try:
        return context_of_environment(variables, alpn=alpn)
    except CertificateFileError as error:
        raise ConfigError(error.variable or "verify", certificate_problem(error)) from error


def transport_for(
    way: ConnectionSettings, max_idle: int = MAX_IDLE
) -> PooledTransport | httpx.AsyncHTTPTransport:
    """Return a new transport for this way, which keeps at most `max_idle` connections for the next request."""
    if not way.proxy and not way.http2:
        return PooledTransport(max_idle=max_idle, ssl_context=way.context)
    context = way.context or context_from(True, alpn=HTTP2 if way.http2 else HTTP1)
    proxy = None
    if way.proxy:
        secure = urlsplit(way.proxy.reveal()).scheme == "https"
        proxy = httpx.Proxy(way.proxy.reveal(), ssl_context=context if secure else None)
    return httpx.AsyncHTTPTransport(
        verify=context,
        http2=way.http2,
        proxy=proxy,
        trust_env=False,
        limits=httpx.Limits(
            max_connections=None, max_keepalive_connections=max_idle, keepalive_expiry=KEEPALIVE_SECONDS
        ),
    )
