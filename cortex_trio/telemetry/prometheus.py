"""Metrics for Prometheus: an observer, with a registry of its own. Needs the extra `prometheus` (prometheus_client).

    metrics = Prometheus()
    async with open_cortex(on_event=metrics) as cortex:
        metrics.bind(cortex)
        ...
        body = metrics.render()

The names are those into which Prometheus translates the names of OpenTelemetry's conventions. Counters and histograms
come from events. Gauges are read from a snapshot when they are rendered, which must happen in the gateway's Trio run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, final, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..events import Attempt
from .call_events import CallEnded
from .events import Event
from .measures import OVERHEAD_BUCKETS, SECONDS_BUCKETS, failovers, seconds_per_chunk
from .snapshot import ActorSnapshot, Snapshot
from .worker_events import BreakerName, WorkerStatus

WORKER = ("provider", "model", "worker")
"""The labels of what belongs to one worker; a call that sent nothing has empty ones."""
TOKENS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_input_tokens": "cached_input_tokens",
    "cache_write_input_tokens": "cache_write_tokens",
    "reasoning_output_tokens": "reasoning_tokens",
}
"""The end of a counter's name, and the field of `Usage` that it counts."""


class HasSnapshot(Protocol):
    """What gauges are read from: a Cortex."""

    def snapshot(self) -> Snapshot:
        """Return the gateway as it is now."""
        ...


@final
class Prometheus:
    """An observer that counts. One belongs to one gateway.

    Args:
        cortex: the gateway whose state the gauges show. None: `bind` is called later, or there are no gauges.
        registry: takes the metrics. None: a new one, and not the global one of prometheus_client.

    Attributes:
        registry: it has the metrics.
    """

    def __init__(self, cortex: HasSnapshot | None = None, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._gauges = _Gauges(cortex)
        self.registry.register(self._gauges)
        self._duration = self._histogram(
            "gen_ai_client_inference_duration_seconds", "Duration of calls.", (*WORKER, "outcome", "kind")
        )
        self._first_chunk = self._histogram(
            "gen_ai_client_inference_time_to_first_chunk_seconds", "Time to the first content of an answer."
        )
        self._per_chunk = self._histogram(
            "gen_ai_client_inference_time_per_output_chunk_seconds",
            "Mean time between two chunks of an answer.",
        )
        self._overhead = Histogram(
            "cortex_overhead_seconds",
            "Time that the gateway itself spent on a call before its first content.",
            registry=self.registry,
            buckets=OVERHEAD_BUCKETS,
        )
        self._failovers = Counter(
            "cortex_failovers",
            "Calls that went on with another worker after a failure.",
            ("from", "to", "kind"),
            registry=self.registry,
        )
        self._tokens = {
            name: Counter(f"gen_ai_client_inference_usage_{name}", "Tokens.", WORKER, registry=self.registry)
            for name in TOKENS
        }

    def _histogram(self, name: str, description: str, labels: Sequence[str] = WORKER) -> Histogram:
        return Histogram(name, description, labels, registry=self.registry, buckets=SECONDS_BUCKETS)

    def bind(self, cortex: HasSnapshot) -> None:
        """Show the state of a gateway in the gauges from now on.

        Args:
            cortex: the gateway.
        """
        self._gauges.cortex = cortex

    def render(self) -> bytes:
        """Return all metrics in the text format of Prometheus. Call it in the Trio run of the gateway."""
        return generate_latest(self.registry)

    def __call__(self, event: Event) -> None:
        """Receive an event."""
        match event:
            case Attempt():
                self._count_tokens(event)
            case CallEnded():
                self._record_call(event)
            case _:
                pass

    def _count_tokens(self, attempt: Attempt) -> None:
        if attempt.usage is None:
            return
        for name, field in TOKENS.items():
            if count := getattr(attempt.usage, field):
                self._tokens[name].labels(attempt.provider, attempt.model, attempt.worker).inc(count)

    def _record_call(self, event: CallEnded) -> None:
        worker = (event.provider or "", event.model or "", event.worker or "")
        kind = event.failure.value if event.failure is not None else event.error or ""
        self._duration.labels(*worker, event.outcome, kind).observe(event.seconds)
        if event.operation != "embed" and event.time_to_first_token is not None:
            self._first_chunk.labels(*worker).observe(event.time_to_first_token)
        if (seconds := seconds_per_chunk(event)) is not None:
            self._per_chunk.labels(*worker).observe(seconds)
        self._overhead.observe(event.overhead)
        for failover in failovers(event):
            self._failovers.labels(*failover).inc()


@final
class _Gauges(Collector):
    """What is read from a snapshot each time the registry is collected."""

    def __init__(self, cortex: HasSnapshot | None) -> None:
        self.cortex = cortex

    def describe(self) -> Iterable[Metric]:
        """Return the names of the gauges: a registry asks for them without a gateway."""
        return [*_families(), *_link_families()]

    def collect(self) -> Iterable[Metric]:
        """Return the gauges; none before there is a gateway."""
        if self.cortex is None:
            return
        status, in_flight, breaker, cooldown, restarts = _families()
        snapshot = self.cortex.snapshot()
        for worker in snapshot.workers:
            in_flight.add_metric((worker.name,), worker.in_flight)
            for name in get_args(WorkerStatus):
                status.add_metric((worker.name, name), worker.status == name)
            for name in get_args(BreakerName):
                breaker.add_metric((worker.name, name), worker.breaker.state == name)
        for labels, seconds in _cooldowns(snapshot).items():
            cooldown.add_metric(labels, seconds)
        for name, count in _restarts(snapshot.tree).items():
            restarts.add_metric((name,), count)
        connected, processes = _link_families()
        if snapshot.cluster is not None:
            connected.add_metric((), snapshot.cluster.connected)
            processes.add_metric((), snapshot.cluster.processes)
        yield from (status, in_flight, breaker, cooldown, restarts, connected, processes)


def _families() -> tuple[
    GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily, CounterMetricFamily
]:
    return (
        GaugeMetricFamily(
            "cortex_worker_status", "1 for the status of a worker.", labels=("worker", "status")
        ),
        GaugeMetricFamily("cortex_worker_in_flight", "Requests of a worker in flight.", labels=("worker",)),
        GaugeMetricFamily(
            "cortex_worker_breaker_state", "1 for the state of a breaker.", labels=("worker", "state")
        ),
        GaugeMetricFamily(
            "cortex_key_cooldown_seconds", "Time to the end of a cooldown; 0: none.", labels=("worker", "key")
        ),
        CounterMetricFamily("cortex_actor_restarts", "Restarts of an actor.", labels=("actor",)),
    )


def _link_families() -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
    """Return the gauges of the link to a shared store; without a store they have no value."""
    return (
        GaugeMetricFamily("cortex_store_connected", "1 while the shared store is connected.", labels=()),
        GaugeMetricFamily("cortex_store_processes", "Processes that use the shared store.", labels=()),
    )


def _cooldowns(snapshot: Snapshot) -> Mapping[tuple[str, str], float]:
    """Return the longest cooldown of each API key, by worker and masked key: several keys may look alike."""
    found: dict[tuple[str, str], float] = {}
    for key in snapshot.keys:
        if key.key is not None:
            ends = [(cooldown.until - snapshot.at).total_seconds() for cooldown in key.cooldowns]
            found[key.worker, key.key] = max(found.get((key.worker, key.key), 0.0), *ends, 0.0)
    return found


def _restarts(root: ActorSnapshot) -> Mapping[str, int]:
    """Return the restarts by name: a worker may have the name of another actor."""
    found: dict[str, int] = {}
    for actor in _actors(root):
        found[actor.name] = found.get(actor.name, 0) + actor.restarts
    return found


def _actors(actor: ActorSnapshot) -> Iterator[ActorSnapshot]:
    yield actor
    for child in actor.children:
        yield from _actors(child)
