"""The metrics that the server shows, if prometheus_client is installed. The only place that loads this extra."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..telemetry.prometheus import HasSnapshot, Prometheus


def prometheus(gateway: HasSnapshot | None = None) -> Prometheus | None:
    """Return new metrics. None: prometheus_client is not installed.

    Args:
        gateway: whose state the gauges show. None: `bind` is called later.
    """
    try:
        from ..telemetry.prometheus import Prometheus
    except ModuleNotFoundError:
        return None
    return Prometheus(gateway)
