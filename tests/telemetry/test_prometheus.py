"""Metrics for Prometheus, as its own parser reads the text."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("prometheus_client", reason="needs prometheus_client (the extra `test` has it)")

import trio
import trio.testing
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from watched import (
    SERVED,
    K,
    cancel,
    fail_all,
    fail_over,
    hedge,
    interrupt,
    leave_two_streams_in_other_tasks,
    watched,
)

from cortex_trio.simulator import Behaviour
from cortex_trio.telemetry.prometheus import Prometheus

DURATION = "gen_ai_client_inference_duration_seconds"
DASHBOARD = Path(__file__).resolve().parents[2] / "docs" / "grafana.json"


class Read:
    """The samples of a rendered text."""

    def __init__(self, metrics: Prometheus) -> None:
        self.families = list(text_string_to_metric_families(metrics.render().decode()))
        self.samples = [sample for family in self.families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        return sum(s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items())

    def labels(self, name: str) -> list[dict[str, str]]:
        return [sample.labels for sample in self.samples if sample.name == name]


async def test_a_call_that_is_served(autojump_clock: object) -> None:
    metrics = Prometheus()
    async with watched(metrics, openai=SERVED) as cortex:
        reply = await cortex.complete("Hi")
    read = Read(metrics)
    worker = {"provider": "openai", "model": reply.model, "worker": "openai"}
    assert read.labels(f"{DURATION}_count") == [{**worker, "outcome": "served", "kind": ""}]
    assert read.value(f"{DURATION}_count") == 1
    assert read.value(f"{DURATION}_sum") == pytest.approx(1 + 3 / 2, abs=0.6)
    prefix = "gen_ai_client_inference"
    assert read.value(f"{prefix}_time_to_first_chunk_seconds_sum", **worker) == pytest.approx(1, abs=0.1)
    assert read.value(f"{prefix}_time_per_output_chunk_seconds_sum", **worker) == pytest.approx(0.5, abs=0.1)
    assert read.value(f"{prefix}_usage_input_tokens_total", **worker) == reply.usage.input_tokens
    assert read.value(f"{prefix}_usage_output_tokens_total", **worker) == reply.usage.output_tokens
    assert read.value("cortex_overhead_seconds_count") == 1
    assert read.value("cortex_overhead_seconds_sum") < 1


async def test_a_failover_is_counted_with_both_workers_and_the_kind(autojump_clock: object) -> None:
    metrics = Prometheus()
    await fail_over(metrics)
    read = Read(metrics)
    assert read.labels("cortex_failovers_total") == [
        {"from": "openai", "to": "anthropic", "kind": "overloaded"}
    ]
    assert read.value("cortex_failovers_total") == 1
    assert read.value(f"{DURATION}_count", worker="anthropic", outcome="served") == 1


async def test_a_hedged_attempt_that_lost_is_no_failover(autojump_clock: object) -> None:
    metrics = Prometheus()
    await hedge(metrics)
    assert Read(metrics).labels("cortex_failovers_total") == []


@pytest.mark.parametrize(
    ("run", "outcome", "kind", "calls"),
    [
        (cancel, "cancelled", "", 1),
        (fail_all, "failed", "overloaded", 1),
        (leave_two_streams_in_other_tasks, "cancelled", "", 2),
    ],
)
async def test_a_call_that_is_not_served(
    run: Any, outcome: str, kind: str, calls: int, autojump_clock: object
) -> None:
    metrics = Prometheus()
    await run(metrics)
    read = Read(metrics)
    assert read.value(f"{DURATION}_count") == calls
    assert read.value(f"{DURATION}_count", outcome=outcome, kind=kind) == calls


async def test_a_continued_stream_is_a_failover_and_served(autojump_clock: object) -> None:
    metrics = Prometheus()
    await interrupt(metrics, "continue")
    read = Read(metrics)
    assert read.value(f"{DURATION}_count", outcome="served", worker="anthropic") == 1
    assert read.value("cortex_failovers_total", **{"from": "openai", "kind": "truncated"}) == 1


async def test_gauges_are_read_when_they_are_rendered(autojump_clock: object) -> None:
    metrics = Prometheus()
    limited = Behaviour(error=K.RATE_LIMIT, retry_after=30)
    async with watched(metrics, openai=limited, anthropic=SERVED) as cortex:
        assert Read(metrics).labels("cortex_worker_status") == []
        metrics.bind(cortex)
        await cortex.complete("Hi")
        cortex.actor("keys").kill()
        await trio.testing.wait_all_tasks_blocked()
        read = Read(metrics)
        assert read.value("cortex_worker_status", worker="openai", status="rate_limited") == 1
        assert read.value("cortex_worker_status", worker="openai") == 1  # all others are 0
        assert read.value("cortex_worker_breaker_state", worker="anthropic", state="closed") == 1
        assert read.value("cortex_key_cooldown_seconds", worker="openai") == pytest.approx(28, abs=3)
        assert read.value("cortex_key_cooldown_seconds", worker="anthropic") == 0
        assert read.value("cortex_actor_restarts_total", actor="keys") == 1
        await trio.sleep(31)
        assert Read(metrics).value("cortex_key_cooldown_seconds") == 0
        async with cortex.chat("Hi", worker="anthropic") as stream:
            await stream.__anext__()
            assert Read(metrics).value("cortex_worker_in_flight", worker="anthropic") == 1


async def test_no_api_key_is_in_the_text(autojump_clock: object) -> None:
    metrics = Prometheus()
    async with watched(metrics, openai=SERVED) as cortex:
        metrics.bind(cortex)
        labels = Read(metrics).labels("cortex_key_cooldown_seconds")
    assert labels
    assert all("***" in each["key"] for each in labels)


def test_metrics_have_a_registry_of_their_own_or_the_one_that_is_given() -> None:
    assert Prometheus().registry is not Prometheus().registry  # two in one process do not clash
    registry = CollectorRegistry()
    assert Prometheus(registry=registry).registry is registry


# ------------------------------------------------------------------ the dashboard


async def names_of_all_metrics() -> set[str]:
    metrics = Prometheus()
    async with watched(metrics, openai=SERVED) as cortex:
        metrics.bind(cortex)
        families = Read(metrics).families
    names = {family.name for family in families if family.type in ("gauge", "counter")}
    counters = {f"{family.name}_total" for family in families if family.type == "counter"}
    parts = {
        f"{f.name}_{part}" for f in families if f.type == "histogram" for part in ("bucket", "sum", "count")
    }
    return names | counters | parts


async def test_the_dashboard_names_only_metrics_that_exist(autojump_clock: object) -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    used = {name for query in queries for name in re.findall(r"\b(?:gen_ai|cortex)_\w+", query)}
    assert len(queries) >= 8
    assert used - await names_of_all_metrics() == set()


def test_the_dashboard_has_a_title_and_a_place_for_each_panel() -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    assert all(panel["title"] and panel["gridPos"] for panel in panels)
    assert len({panel["id"] for panel in panels}) == len(panels)
