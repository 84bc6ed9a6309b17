"""HTTP/1.1 client connections for Trio: parser, connection pool, TLS, deadlines. Knows no models and no providers.

transport          `PooledTransport`: the pool behind httpx's transport interface
pool               `ConnectionPool`: which connection a request uses
exchange           one request and its response on one connection
http1              the parser
content_encoding   decompression of bodies
deadlines          one timer for many reads
network            what the pool needs of a network: protocols
trio_backend       this machine's network, httpcore_backend one of httpcore
tcp                byte streams; tls adds encryption
certificates       TLS contexts
causes             the reason why a connection failed
errors             what all of these raise

The public names are importable from here: `from cortex_trio.http import PooledTransport`. They are loaded when they are
first used, so importing this package costs nothing; only `PooledTransport` loads httpx.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .deadlines import Deadlines
    from .errors import ConnectError, ConnectionBroken, ReadTimeout, RemoteProtocolError, ServerDisconnected
    from .exchange import Exchange, RequestProgress
    from .network import NetworkBackend, NetworkStream, Origin
    from .pool import ConnectionPool
    from .transport import PooledTransport

__all__ = [
    "ConnectError",
    "ConnectionBroken",
    "ConnectionPool",
    "Deadlines",
    "Exchange",
    "NetworkBackend",
    "NetworkStream",
    "Origin",
    "PooledTransport",
    "ReadTimeout",
    "RemoteProtocolError",
    "RequestProgress",
    "ServerDisconnected",
]

_MODULES = {
    "deadlines": ("Deadlines",),
    "errors": (
        "ConnectError",
        "ConnectionBroken",
        "ReadTimeout",
        "RemoteProtocolError",
        "ServerDisconnected",
    ),
    "exchange": ("Exchange", "RequestProgress"),
    "network": ("NetworkBackend", "NetworkStream", "Origin"),
    "pool": ("ConnectionPool",),
    "transport": ("PooledTransport",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
