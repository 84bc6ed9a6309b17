"""Default limits of a connection pool. A module of its own, so that reading a configuration loads no HTTP code."""

MAX_IDLE_CONNECTIONS = 64
"""Idle connections that one pool keeps. httpx keeps 20 for all origins; a worker is one origin and can have bursts."""
KEEPALIVE_SECONDS = 30.0
"""Seconds an idle connection is kept. Shorter than any provider's own time, so that the client closes first."""
