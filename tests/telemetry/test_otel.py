"""Spans and metrics, as the exporters of OpenTelemetry's own SDK receive them."""

from collections.abc import Sequence
from typing import Any

import attrs
import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk (the extra `test` has it)")

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from watched import (
    SERVED,
    cancel,
    fail_all,
    fail_over,
    hedge,
    interrupt,
    leave_two_streams_in_other_tasks,
    watched,
)

from cortex_trio import CortexError, Event, NoWorkersAvailable
from cortex_trio.telemetry.otel import OpenTelemetry


@attrs.define
class Collected:
    """A provider of each kind, with what it has exported."""

    spans: InMemorySpanExporter = attrs.field(factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = attrs.field(factory=InMemoryMetricReader)
    tracers: TracerProvider = attrs.field(factory=TracerProvider)

    def observer(self, conventions: str = "0.1.0") -> OpenTelemetry:
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        meters = MeterProvider([self.reader])
        return OpenTelemetry(self.tracers, meters, conventions)  # type: ignore[arg-type]

    @property
    def calls(self) -> list[ReadableSpan]:
        return [span for span in self.spans.get_finished_spans() if "gen_ai.operation.name" in of(span)]

    @property
    def attempts(self) -> list[ReadableSpan]:
        return [span for span in self.spans.get_finished_spans() if "http.request.method" in of(span)]

    def points(self) -> dict[str, Sequence[Any]]:
        """The data points by metric."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: metric.data.data_points
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def sum_of(self, name: str) -> int:
        return sum(point.value for point in self.points()[name])


@pytest.fixture
def collected() -> Collected:
    return Collected()


def of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_call_that_is_served(collected: Collected, autojump_clock: object) -> None:
    async with watched(collected.observer(), openai=SERVED) as cortex:
        async with cortex.chat("Hi", max_tokens=9, temperature=0.5, top_p=1, stop="x") as stream:
            reply = await stream.collect()
    [call], [attempt] = collected.calls, collected.attempts
    assert (call.name, call.kind, call.parent) == (f"chat {reply.model}", SpanKind.CLIENT, None)
    assert call.status.status_code is StatusCode.UNSET
    seconds = of(call).pop("gen_ai.response.time_to_first_chunk")
    assert seconds == pytest.approx(1, abs=0.1)
    assert {name: value for name, value in of(call).items() if "time_to" not in name} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": reply.model,
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 1,
        "gen_ai.request.stop_sequences": ("x",),
        "gen_ai.output.type": "text",
        "gen_ai.response.id": reply.attempts[0].response_id,
        "gen_ai.response.model": reply.model,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": reply.usage.input_tokens,
        "gen_ai.usage.output_tokens": reply.usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": reply.usage.cached_input_tokens,
        "gen_ai.usage.reasoning.output_tokens": reply.usage.reasoning_tokens,
        "server.address": of(attempt)["server.address"],
        "server.port": of(attempt)["server.port"],
        "cortex_trio.worker": "openai",
        "cortex_trio.attempts": 1,
        "cortex_trio.outcome": "served",
    }
    assert attempt.kind is SpanKind.CLIENT
    assert attempt.parent is not None
    assert call.context is not None
    assert attempt.parent.span_id == call.context.span_id
    assert of(attempt)["http.response.status_code"] == 200
    assert "***" in of(attempt)["cortex_trio.key"]
    assert not [name for name in of(attempt) if name.startswith("gen_ai")]  # nothing is counted twice


async def test_failover_is_a_failed_attempt_and_one_that_served(
    collected: Collected, autojump_clock: object
) -> None:
    await fail_over(collected.observer())
    [call], [failed, served] = collected.calls, collected.attempts
    assert (of(call)["cortex_trio.worker"], of(call)["cortex_trio.attempts"]) == ("anthropic", 2)
    assert of(call)["gen_ai.provider.name"] == "anthropic"
    assert "error.type" not in of(call)
    assert failed.status.status_code is StatusCode.ERROR
    assert of(failed)["error.type"] == of(failed)["cortex_trio.failure"] == "overloaded"
    assert (of(failed)["http.response.status_code"], of(served)["http.response.status_code"]) == (503, 200)
    assert "http.request.resend_count" not in of(failed)
    assert of(served)["http.request.resend_count"] == 1
    assert {span.parent.span_id for span in (failed, served) if span.parent} == {call.context.span_id}  # type: ignore[union-attr]


async def test_a_hedged_attempt_that_lost_is_cancelled_and_no_error(
    collected: Collected, autojump_clock: object
) -> None:
    await hedge(collected.observer())
    [call] = collected.calls
    attempts = {of(span)["cortex_trio.worker"]: span for span in collected.attempts}
    assert of(call)["cortex_trio.outcome"] == "served"
    assert of(attempts["openai"])["error.type"] == "cancelled"
    assert attempts["openai"].status.status_code is StatusCode.UNSET
    assert "error.type" not in of(attempts["anthropic"])


async def test_a_call_that_is_cancelled_has_no_error_status(
    collected: Collected, autojump_clock: object
) -> None:
    await cancel(collected.observer())
    [call] = collected.calls
    assert (call.status.status_code, of(call)["error.type"]) == (StatusCode.UNSET, "cancelled")
    assert of(call)["cortex_trio.outcome"] == "cancelled"
    assert len(collected.attempts) == 1


async def test_a_call_whose_attempts_all_fail_is_an_error(
    collected: Collected, autojump_clock: object
) -> None:
    await fail_all(collected.observer())
    [call] = collected.calls
    assert call.status.status_code is StatusCode.ERROR
    assert (of(call)["error.type"], of(call)["cortex_trio.outcome"]) == ("overloaded", "failed")
    assert [of(span)["error.type"] for span in collected.attempts] == ["overloaded"] * 2


async def test_a_call_that_sends_nothing_names_its_error(
    collected: Collected, autojump_clock: object
) -> None:
    async with watched(collected.observer(), openai=SERVED) as cortex:
        with pytest.raises(NoWorkersAvailable):
            await cortex.complete("Hi", worker="other")
    [call] = collected.calls
    assert (call.name, of(call)["error.type"], collected.attempts) == ("chat", "NoWorkersAvailable", [])


async def test_a_stream_that_is_continued_has_an_event_and_a_normal_end(
    collected: Collected, autojump_clock: object
) -> None:
    await interrupt(collected.observer(), "continue")
    [call] = collected.calls
    [event] = call.events
    assert event.name == "cortex_trio.answer_interrupted"
    assert dict(event.attributes or {}) == {
        "cortex_trio.worker": "openai",
        "cortex_trio.failure": "truncated",
    }
    assert of(call)["gen_ai.response.finish_reasons"] == ("stop",)
    assert of(call)["cortex_trio.worker"] == "anthropic"
    assert len(collected.attempts) >= 2


async def test_a_stream_that_is_cut_has_the_finish_reason_error(
    collected: Collected, autojump_clock: object
) -> None:
    await interrupt(collected.observer(), "raise")
    [call] = collected.calls
    assert of(call)["gen_ai.response.finish_reasons"] == ("error",)
    assert str(of(call)["gen_ai.response.id"]).startswith("chatcmpl-")
    assert (of(call)["error.type"], call.status.status_code) == ("truncated", StatusCode.ERROR)


async def test_two_interleaved_streams_that_are_left_in_another_task_keep_their_parents(
    collected: Collected, autojump_clock: object
) -> None:
    observer = collected.observer()
    with collected.tracers.get_tracer("program").start_as_current_span("program") as program:
        await leave_two_streams_in_other_tasks(observer)
        assert trace.get_current_span() is program  # no span of ours was ever the current one
    calls, attempts = collected.calls, collected.attempts
    assert len(calls) == 2
    assert {call.parent.span_id for call in calls if call.parent} == {program.get_span_context().span_id}
    parents = {attempt.parent.span_id for attempt in attempts if attempt.parent}
    assert parents == {call.context.span_id for call in calls if call.context}
    assert {of(call)["error.type"] for call in calls} == {"cancelled"}


async def test_a_tag_names_the_parent_in_another_process(
    collected: Collected, autojump_clock: object
) -> None:
    trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    async with watched(collected.observer(), openai=SERVED) as cortex:
        await cortex.complete("Hi", tags={"traceparent": f"00-{trace_id}-{span_id}-01"})
        await cortex.complete("Hi", tags={"traceparent": "nonsense"})
    parents = [call.parent for call in collected.calls]
    assert parents[1] is None
    assert parents[0] is not None
    assert (f"{parents[0].trace_id:032x}", f"{parents[0].span_id:016x}") == (trace_id, span_id)


async def test_spans_end_after_they_begin_and_none_is_kept(
    collected: Collected, autojump_clock: object
) -> None:
    observer = collected.observer()
    for run in (fail_over, hedge, cancel, fail_all):
        await run(observer)
    for span in collected.spans.get_finished_spans():
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.start_time <= span.end_time
    assert observer._calls == {}


# ------------------------------------------------------------------ metrics


async def test_the_metrics_of_a_call(collected: Collected, autojump_clock: object) -> None:
    async with watched(collected.observer(), openai=SERVED) as cortex:
        reply = await cortex.complete("Hi")
    points = collected.points()
    [duration] = points["gen_ai.client.inference.duration"]
    assert duration.count == 1
    assert duration.sum == pytest.approx(1 + 3 / 2, abs=0.6)
    assert duration.explicit_bounds == pytest.approx([0.01 * 2**power for power in range(14)])
    assert dict(duration.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": reply.model,
        "server.address": duration.attributes["server.address"],
        "server.port": duration.attributes["server.port"],
    }
    [first] = points["gen_ai.client.inference.time_to_first_chunk"]
    assert first.sum == pytest.approx(1, abs=0.1)
    [chunk] = points["gen_ai.client.inference.time_per_output_chunk"]
    assert chunk.sum == pytest.approx(0.5, abs=0.1)
    prefix = "gen_ai.client.inference.usage"
    assert collected.sum_of(f"{prefix}.input_tokens") == reply.usage.input_tokens
    assert collected.sum_of(f"{prefix}.output_tokens") == reply.usage.output_tokens


async def test_tokens_are_counted_for_each_attempt_because_each_is_billed(
    collected: Collected, autojump_clock: object
) -> None:
    ends: list[Event] = []
    observer = collected.observer()

    def both(event: Event) -> None:
        ends.append(event)
        observer(event)

    await interrupt(both, "restart")
    billed = [event.usage for event in ends if type(event).__name__ == "Attempt" and event.usage]  # type: ignore[union-attr]
    assert collected.sum_of("gen_ai.client.inference.usage.output_tokens") == sum(
        usage.output_tokens or 0 for usage in billed
    )


async def test_a_failed_call_is_in_the_duration_with_its_error(
    collected: Collected, autojump_clock: object
) -> None:
    await fail_all(collected.observer())
    [duration] = collected.points()["gen_ai.client.inference.duration"]
    assert duration.attributes["error.type"] == "overloaded"


async def test_embeddings_have_their_own_operation(collected: Collected, autojump_clock: object) -> None:
    async with watched(collected.observer(), openai=SERVED) as cortex:
        await cortex.embed("Hi")
    [call] = collected.calls
    assert call.name.startswith("embeddings ")
    assert "gen_ai.output.type" not in of(call)
    assert "gen_ai.client.inference.time_to_first_chunk" not in collected.points()


async def test_the_older_conventions_have_one_metric_for_tokens(
    collected: Collected, autojump_clock: object
) -> None:
    async with watched(collected.observer("1.41"), openai=SERVED) as cortex:
        reply = await cortex.complete("Hi")
    points = collected.points()
    assert set(points) == {
        "gen_ai.client.operation.duration",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.client.operation.time_per_output_chunk",
        "gen_ai.client.token.usage",
    }
    by_kind = {
        point.attributes["gen_ai.token.type"]: point.sum for point in points["gen_ai.client.token.usage"]
    }
    assert by_kind == {"input": reply.usage.input_tokens, "output": reply.usage.output_tokens}


async def test_providers_have_the_names_of_the_conventions(
    collected: Collected, autojump_clock: object
) -> None:
    observer = collected.observer()
    for name in ("gemini", "xai", "groq"):
        async with watched(observer, **{name: SERVED}) as cortex:
            await cortex.complete("Hi")
    assert [of(call)["gen_ai.provider.name"] for call in collected.calls] == ["gcp.gemini", "x_ai", "groq"]


async def test_without_an_sdk_nothing_happens(autojump_clock: object) -> None:
    async with watched(OpenTelemetry(), openai=SERVED) as cortex:
        await cortex.complete("Hi")
        with pytest.raises(CortexError):
            await cortex.complete("Hi", worker="other")
