"""The routes that are about the server itself: what it is, health, metrics, the live page.

    GET HEAD  /                name and version
    GET HEAD  /health/live     200 as long as the process answers
    GET HEAD  /health/ready    503 while draining, or while no worker may be asked
    GET HEAD  /metrics         Prometheus text; needs the extra `prometheus`
    GET HEAD  /observe         the page of `telemetry.page`
    GET       /observe/events  its snapshots as server-sent events

Knows no key: `front` decides which of them need one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final, Protocol, final

import attrs
import trio

from ..telemetry.page import EVENTS, HTML, INTERVAL_SECONDS, MOST_STREAMS, PAGE, RECONNECT_MILLISECONDS, event
from ..telemetry.snapshot import Snapshot
from ..version import __version__
from .exchange import Exchange, Headers, ServedRequest
from .verdict import Answer

GUARD: Headers = (
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
)
JSON: Headers = (("content-type", "application/json"), *GUARD)
TEXT: Headers = (("content-type", "text/plain; charset=utf-8"), *GUARD)
METRICS: Headers = (("content-type", "text/plain; version=0.0.4; charset=utf-8"), *GUARD)
NO_METRICS = b"Metrics need prometheus_client: pip install 'cortex-trio[prometheus]'\n"


class Gateway(Protocol):
    """What the routes show: a `Cortex`."""

    def snapshot(self) -> Snapshot:
        """Return the gateway as it is now."""
        ...


class Metrics(Protocol):
    """A `telemetry.prometheus.Prometheus`."""

    def render(self) -> bytes:
        """Return the metrics as text."""
        ...


@attrs.frozen
class OwnRoute:
    """One route."""

    answer: Answer
    is_public: bool
    """It needs no key anywhere, and any Host header will do."""
    methods: tuple[str, ...] = ("GET", "HEAD")


@final
class OwnRoutes:
    """The routes by path.

    Args:
        gateway: what they show.
        metrics: None: prometheus_client is not installed.
        is_draining: whether the server is being stopped.
    """

    def __init__(self, gateway: Gateway, metrics: Metrics | None, is_draining: Callable[[], bool]) -> None:
        self._gateway = gateway
        self._metrics = metrics
        self._is_draining = is_draining
        self._streams = 0
        self.by_path: Final[Mapping[str, OwnRoute]] = {
            "/": OwnRoute(_who, is_public=True),
            "/health/live": OwnRoute(_live, is_public=True),
            "/health/ready": OwnRoute(self._ready, is_public=True),
            "/metrics": OwnRoute(self._show_metrics, is_public=False),
            "/observe": OwnRoute(_page, is_public=False),
            "/observe/": OwnRoute(_page, is_public=False),
            "/observe/events": OwnRoute(self._events, is_public=False, methods=("GET",)),
        }

    async def _ready(self, request: ServedRequest, exchange: Exchange) -> None:
        workers = self._gateway.snapshot().workers
        available = sum(worker.status == "available" and not worker.draining for worker in workers)
        status = "draining" if self._is_draining() else "ready" if available else "no worker is available"
        body = {"status": status, "workers": len(workers), "available": available}
        await exchange.respond(200 if status == "ready" else 503, JSON, json.dumps(body).encode())

    async def _show_metrics(self, request: ServedRequest, exchange: Exchange) -> None:
        if self._metrics is None:
            await exchange.respond(501, TEXT, NO_METRICS)
        else:
            await exchange.respond(200, METRICS, self._metrics.render())

    async def _events(self, request: ServedRequest, exchange: Exchange) -> None:
        if self._streams >= MOST_STREAMS:
            await exchange.respond(503, TEXT, b"Too many pages are open.\n")
            return
        self._streams += 1
        try:
            await exchange.begin(200, (*EVENTS, *GUARD))
            await exchange.write(f"retry: {RECONNECT_MILLISECONDS}\n\n".encode())
            while not self._is_draining():
                await exchange.write(event(self._gateway.snapshot()))
                await trio.sleep(INTERVAL_SECONDS)
            await exchange.end()
        finally:
            self._streams -= 1


async def _who(request: ServedRequest, exchange: Exchange) -> None:
    await exchange.respond(200, JSON, json.dumps({"name": "cortex-trio", "version": __version__}).encode())


async def _live(request: ServedRequest, exchange: Exchange) -> None:
    await exchange.respond(200, JSON, b'{"status": "live"}')


async def _page(request: ServedRequest, exchange: Exchange) -> None:
    if request.path == "/observe":
        # The page asks for "events" relative to itself. Relative as well: a proxy may serve this under another path.
        await exchange.respond(307, (*TEXT, ("location", "observe/")), b"")
    else:
        await exchange.respond(200, (*HTML, *GUARD), PAGE)
