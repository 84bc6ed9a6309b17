"""One failover, seen in three places: the log, the spans of OpenTelemetry, and the metrics of Prometheus.

Needs the extras `otel` and `prometheus`, and opentelemetry-sdk, which a program chooses and configures. Runs on
simulated providers in memory: no API keys, no network.
"""

import logging
import sys

import trio
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cortex_trio import FailureKind
from cortex_trio.simulator import Behaviour, open_gateway, open_simulator
from cortex_trio.telemetry.otel import OpenTelemetry
from cortex_trio.telemetry.prometheus import Prometheus

SHOWN = (
    "cortex_failovers_total",
    "cortex_worker_status",
    "gen_ai_client_inference_usage_output_tokens_total",
)


async def main() -> None:
    logging.basicConfig(format="log:    %(levelname)s %(message)s", stream=sys.stdout)
    logging.getLogger("cortex_trio").setLevel(logging.INFO)
    spans, tracers = InMemorySpanExporter(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    metrics = Prometheus()

    async with open_simulator() as simulator:
        simulator.add("openai", Behaviour(error=FailureKind.OVERLOADED, retry_after=60))
        simulator.add("anthropic", Behaviour(text="Here I am."))
        async with open_gateway(simulator, on_event=[OpenTelemetry(tracers), metrics]) as cortex:
            metrics.bind(cortex)
            await cortex.complete("Hi", tags={"user": "42"})
            text = metrics.render().decode()

    for span in spans.get_finished_spans():
        attributes = span.attributes or {}
        outcome = attributes.get("cortex_trio.outcome") or attributes.get("error.type") or "served"
        print(f"span:   {span.name}: {attributes['cortex_trio.worker']}, {outcome}")
    for line in text.splitlines():
        if line.startswith(SHOWN) and not line.endswith(" 0.0"):
            print(f"metric: {line}")


if __name__ == "__main__":
    trio.run(main)
