"""The transport of a worker for which the program passes none: our own pool, or httpx's for a proxy or HTTP/2."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from ...http.certificates import HTTP1, HTTP2, context_from
from ...http.defaults import KEEPALIVE_SECONDS, MAX_IDLE_CONNECTIONS
from ...http.transport import PooledTransport
from ..settings.connection_settings import ConnectionSettings


def transport_for(
    settings: ConnectionSettings, max_idle: int = MAX_IDLE_CONNECTIONS
) -> PooledTransport | httpx.AsyncHTTPTransport:
    """Return a new transport with these settings.

    httpx's transport gets no limit on connections and no time-out for its pool: a request that waits there would look
    like a provider that does not respond.

    Args:
        settings: proxy, TLS context and HTTP version.
        max_idle: idle connections that the transport keeps.
    """
    if not settings.proxy and not settings.http2:
        return PooledTransport(max_idle=max_idle, ssl_context=settings.context)
    context = settings.context or context_from(True, alpn=HTTP2 if settings.http2 else HTTP1)
    proxy = None
    if settings.proxy:
        secure = urlsplit(settings.proxy.reveal()).scheme == "https"
        proxy = httpx.Proxy(settings.proxy.reveal(), ssl_context=context if secure else None)
    return httpx.AsyncHTTPTransport(
        verify=context,
        http2=settings.http2,
        proxy=proxy,
        trust_env=False,
        limits=httpx.Limits(
            max_connections=None, max_keepalive_connections=max_idle, keepalive_expiry=KEEPALIVE_SECONDS
        ),
    )
