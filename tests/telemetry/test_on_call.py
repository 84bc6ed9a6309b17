"""One outage as it is seen from outside: of one provider, then of all, then recovery.

The log, the spans and the metrics follow from events; the socket, the page and the frame in the terminal are made from
the same snapshot. Each must show what is wrong.
"""

import io
import json
import logging
from pathlib import Path

import pytest
import trio
import trio.testing

from cortex_trio import Config, Cortex, CortexError, FailureKind, open_cortex
from cortex_trio.simulator import Behaviour, open_simulator
from cortex_trio.telemetry import Snapshot, from_json
from cortex_trio.telemetry.page import event
from cortex_trio.telemetry.socket_client import read_snapshot

pytest.importorskip("rich")
pytest.importorskip("opentelemetry.sdk")
pytest.importorskip("prometheus_client")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from cortex_trio.cli.observe_history import History
from cortex_trio.cli.observe_view import Frame
from cortex_trio.telemetry.otel import OpenTelemetry
from cortex_trio.telemetry.prometheus import Prometheus

DOWN = Behaviour(error=FailureKind.OVERLOADED)
RECOVERY_SECONDS = 120.0


def frame(snapshot: Snapshot) -> str:
    history = History()
    history.add(snapshot)
    out = io.StringIO()
    Console(file=out, width=100, highlight=False).print(Frame(snapshot, history, "a program"))
    return out.getvalue()


async def seen(cortex: Cortex, path: Path) -> tuple[Snapshot, str]:
    """The snapshot that the socket sends, and the frame made of it; the page gets an equal one."""
    await trio.testing.wait_all_tasks_blocked()
    snapshot = await read_snapshot(path)
    data = event(cortex.snapshot()).removeprefix(b"data: ")
    assert [worker.status for worker in from_json(data).workers] == [w.status for w in snapshot.workers]
    assert json.loads(data)["totals"]["failed"] == snapshot.totals.failed
    return snapshot, frame(snapshot)


async def ask(cortex: Cortex, times: int) -> int:
    """Calls that were served, of so many."""
    served = 0
    for _ in range(times):
        try:
            await cortex.complete("Hi", max_wait=0)
            served += 1
        except CortexError:
            pass
        await trio.sleep(0.5)
    return served


class Shown:
    """What an operator is shown beside snapshots: log lines, spans of calls, metrics."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        caplog.set_level(logging.INFO, "cortex_trio")
        self._spans = InMemorySpanExporter()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.metrics = Prometheus()
        self.observers = (OpenTelemetry(tracers, MeterProvider()), self.metrics)

    def lines(self) -> list[tuple[str, str]]:
        """The lines since the last look."""
        records = [record for record in self._caplog.records if record.name == "cortex_trio"]
        found = [(record.levelname, record.getMessage()) for record in records]
        self._caplog.clear()
        return found

    def errors_of_calls(self) -> list[object]:
        """The `error.type` of each call since the last look; None for one that was served."""
        spans = [dict(span.attributes or {}) for span in self._spans.get_finished_spans()]
        self._spans.clear()
        return [span.get("error.type") for span in spans if "gen_ai.operation.name" in span]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples with this name and these labels."""
        families = text_string_to_metric_families(self.metrics.render().decode())
        samples = [sample for family in families for sample in family.samples]
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


async def test_an_outage_of_one_provider_then_of_all_and_the_recovery_are_seen(
    tmp_path: Path, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    shown = Shown(caplog)
    path = tmp_path / "c.sock"
    async with open_simulator() as sim:
        for name in ("openai", "anthropic"):
            sim.add(name)
        config = Config(
            workers={
                name: provider.worker(priority=place)
                for place, (name, provider) in enumerate(sim.providers.items())
            }
        )
        async with open_cortex(
            config, http_transport=sim.transport, observe=f"unix:{path}", on_event=shown.observers
        ) as cortex:
            shown.metrics.bind(cortex)
            assert await ask(cortex, 4) == 4
            snapshot, text = await seen(cortex, path)
            assert "2 of 2 workers available" in text
            assert "nothing is wrong" in text
            assert all(level == "INFO" for level, _ in shown.lines())
            assert shown.errors_of_calls() == [None] * 4

            sim["openai"].behave(lambda _: DOWN)
            assert await ask(cortex, 4) == 4  # the callers notice nothing
            snapshot, text = await seen(cortex, path)
            assert (snapshot.worker("openai").status, snapshot.worker("openai").reason) == (
                "unavailable",
                FailureKind.OVERLOADED,
            )
            assert "1 of 2 workers available" in text
            assert "openai overloaded 503" in text
            all_lines = shown.lines()
            assert ("WARNING", "worker openai is unavailable (overloaded)") in all_lines
            assert shown.errors_of_calls() == [None] * 4
            assert shown.metric("cortex_failovers_total", **{"from": "openai", "to": "anthropic"}) > 0

            sim["anthropic"].behave(lambda _: DOWN)
            assert await ask(cortex, 12) == 0
            snapshot, text = await seen(cortex, path)
            assert "anthropic overloaded 529" in text
            assert snapshot.worker("anthropic").failures > 0
            # The breaker of the last worker stays closed, so the failed calls are what is logged.
            all_lines += shown.lines()
            assert [line for level, line in all_lines if level == "WARNING" and "call failed" in line]
            assert None not in shown.errors_of_calls()
            assert shown.metric("gen_ai_client_inference_duration_seconds_count", outcome="failed") == 12

            for provider in sim.providers.values():
                provider.behave(Behaviour())
            await trio.sleep(RECOVERY_SECONDS)
            assert await ask(cortex, 8) == 8
            snapshot, text = await seen(cortex, path)
            assert "2 of 2 workers available" in text
            assert all(worker.breaker.state == "closed" for worker in snapshot.workers)
            of_openai = [
                line for _, line in all_lines + shown.lines() if line.startswith("worker openai is ")
            ]
            assert of_openai[-1] == "worker openai is available again"
            assert shown.errors_of_calls() == [None] * 8
            assert shown.metric("gen_ai_client_inference_duration_seconds_count", outcome="served") == 16
