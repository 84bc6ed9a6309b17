"""The limits of a server. Every wait for a client has one. Knows nothing of how they are kept."""

from __future__ import annotations

import attrs
from attrs.validators import ge, gt

MEBIBYTE = 1024 * 1024


@attrs.frozen(kw_only=True)
class Limits:
    """Seconds and bytes that clients may use."""

    max_body: int = attrs.field(default=32 * MEBIBYTE, validator=gt(0))
    """Bytes of the body of a request, as sent and unpacked."""
    body_timeout: float = attrs.field(default=60.0, validator=gt(0))
    """Seconds without a byte of the body; it also needs 1 KiB a second on average."""
    head_timeout: float = attrs.field(default=10.0, validator=gt(0))
    """Seconds for a handshake and for a head, and on a new connection until the head begins."""
    idle_timeout: float = attrs.field(default=75.0, validator=gt(0))
    """Seconds until the next request of a connection begins."""
    write_timeout: float = attrs.field(default=30.0, validator=gt(0))
    """Seconds in which a client reads nothing while a response waits to be sent."""
    max_connections: int = attrs.field(default=10_000, validator=ge(1))
    """Connections that are served; more are answered with 503."""
    grace: float = attrs.field(default=30.0, validator=ge(0))
    """Seconds that requests have to end when the server is stopped."""
