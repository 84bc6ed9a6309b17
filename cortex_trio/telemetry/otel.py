"""Spans and metrics of OpenTelemetry: an observer. Needs the extra `otel` (opentelemetry-api).

    open_cortex(on_event=OpenTelemetry())

A call is one CLIENT span with the GenAI conventions; each attempt is a child with the stable HTTP conventions and
without token counts, so that nothing is counted twice. The parent of a call is the span that was current in its task
when it began, or the span of another process that the tag `traceparent` names: the endpoint sets it for its clients.
No span of ours is ever made the current one: a stream may be left in another task.

https://github.com/open-telemetry/semantic-conventions-genai (v0.1.0); the names before it left the main repository are
those of version 1.41 there. The constants of the PyPI package are deprecated, so the names that differ are a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, final

import attrs
from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ..events import Attempt, Usage
from ..failures import FailureKind
from ..version import __version__
from .call_events import (
    AnswerInterrupted,
    AttemptStarted,
    CallEnded,
    CallStarted,
    CallWaiting,
)
from .events import Event
from .measures import SECONDS_BUCKETS, seconds_per_chunk

Value = str | bool | int | float | Sequence[str]
Version = Literal["0.1.0", "1.41"]

PROVIDER_NAMES = {
    "gemini": "gcp.gemini",
    "openai_responses": "openai",
    "xai": "x_ai",
    "xai_responses": "x_ai",
}
"""The conventions' names of providers that have another name here."""

TRACE_TAGS = ("traceparent", "tracestate")
"""Tags of a call that name the span of another process, as W3C's headers of the same names do."""


@attrs.frozen
class Conventions:
    """The names that differ between versions of the conventions."""

    metrics: str
    """What the names of the metrics of a call begin with."""
    cache_write: str
    """The attribute and the counter of tokens that were written into the prompt cache."""
    one_token_metric: bool
    """Tokens are one histogram with the attribute `gen_ai.token.type`, and not one counter for each type."""


CONVENTIONS: Mapping[Version, Conventions] = {
    "0.1.0": Conventions("gen_ai.client.inference", "cache_write.input_tokens", one_token_metric=False),
    "1.41": Conventions("gen_ai.client.operation", "cache_creation.input_tokens", one_token_metric=True),
}
TOKENS_BUCKETS = tuple(4.0**power for power in range(14))
"""Boundaries of the histogram of tokens, which only version 1.41 has."""


@attrs.define
class _OpenCall:
    """A call that has not ended."""

    started: CallStarted
    span: Span
    context: Context  # of its attempts
    attempts: dict[int, Span] = attrs.field(factory=dict)  # by number; those that have not ended
    server: AttemptStarted | None = None  # the newest attempt; None before the first


@final
class OpenTelemetry:
    """An observer that makes spans and metrics. One may serve several gateways.

    Args:
        tracer_provider: None: the global one.
        meter_provider: None: the global one.
        conventions: which version of the names to use. "1.41": the older ones, for dashboards that need them.
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        conventions: Version = "0.1.0",
    ) -> None:
        self._names = CONVENTIONS[conventions]
        self._tracer = trace.get_tracer("cortex_trio", __version__, tracer_provider)
        self._metrics = _Metrics(metrics.get_meter("cortex_trio", __version__, meter_provider), self._names)
        self._calls: dict[str, _OpenCall] = {}

    def __call__(self, event: Event) -> None:
        """Receive an event."""
        match event:
            case CallStarted():
                self._start_call(event)
            case AttemptStarted():
                self._start_attempt(event)
            case Attempt():
                self._end_attempt(event)
            case CallWaiting():
                self._add_event(event.call, "cortex_trio.waiting", event.at, event.worker, event.reason)
            case AnswerInterrupted():
                kind = event.failure.kind
                self._add_event(event.call, "cortex_trio.answer_interrupted", event.at, event.worker, kind)
            case CallEnded():
                self._end_call(event)
            case _:
                pass

    # -------------------------------------------------------------- spans

    def _start_call(self, event: CallStarted) -> None:
        parent = otel_context.get_current()  # of the caller's task
        if trace_of_client := {name: event.tags[name] for name in TRACE_TAGS if name in event.tags}:
            parent = TraceContextTextMapPropagator().extract(trace_of_client, parent)
        operation = _operation(event)
        span = self._tracer.start_span(
            f"{operation} {event.model}" if event.model else operation,
            context=parent,
            kind=SpanKind.CLIENT,
            attributes=_present({"gen_ai.operation.name": operation, **_request_attributes(event)}),
            start_time=_nanoseconds(event.at),
        )
        self._calls[event.call] = _OpenCall(event, span, trace.set_span_in_context(span, parent))

    def _start_attempt(self, event: AttemptStarted) -> None:
        call = self._calls.get(event.call)
        if call is None:
            return
        call.server = event
        attributes: dict[str, Value | None] = {
            "http.request.method": "POST",
            "http.request.resend_count": event.number - 1 or None,
            **_server(event),
            "cortex_trio.worker": event.worker,
            "cortex_trio.key": event.key,
        }
        call.attempts[event.number] = self._tracer.start_span(
            "POST",
            context=call.context,
            kind=SpanKind.CLIENT,
            attributes=_present(attributes),
            start_time=_nanoseconds(event.at),
        )

    def _end_attempt(self, attempt: Attempt) -> None:
        call = self._calls.get(attempt.call or "")
        span = call.attempts.pop(attempt.number, None) if call is not None else None
        if call is None or span is None:
            return
        kind = attempt.failure.kind.value if attempt.failure else None
        attributes: dict[str, Value | None] = {
            "http.response.status_code": attempt.status,
            "error.type": kind,
            "cortex_trio.failure": kind,
        }
        span.set_attributes(_present(attributes))
        if attempt.outcome == "failed":
            span.set_status(Status(StatusCode.ERROR))
        span.end(_nanoseconds(attempt.at))
        if attempt.usage is not None:
            self._metrics.count_tokens(attempt.usage, _common(_operation(call.started), attempt))

    def _add_event(
        self, call: str | None, name: str, at: datetime, worker: str, kind: FailureKind | None
    ) -> None:
        if (known := self._calls.get(call or "")) is not None:
            attributes: dict[str, Value | None] = {
                "cortex_trio.worker": worker,
                "cortex_trio.failure": kind.value if kind else None,
            }
            known.span.add_event(name, _present(attributes), _nanoseconds(at))

    def _end_call(self, event: CallEnded) -> None:
        call = self._calls.pop(event.call, None)
        if call is None:
            return
        operation = _operation(call.started)
        if event.model is not None:
            call.span.update_name(f"{operation} {event.model}")
        server = _server(call.server) if call.server is not None else {}
        common = _present({**_common(operation, event), **server, "error.type": _error_type(event)})
        answer = _answer_attributes(event)
        call.span.set_attributes({**common, **answer, **_usage_attributes(event.usage, self._names)})
        if event.outcome == "failed":
            call.span.set_status(Status(StatusCode.ERROR, event.error))
        call.span.end(_nanoseconds(event.at))
        self._metrics.record_call(event, common)


def _operation(event: CallStarted) -> str:
    return "embeddings" if event.operation == "embed" else "chat"


def _request_attributes(event: CallStarted) -> Mapping[str, Value | None]:
    options = event.options
    is_chat = event.operation != "embed"
    stop = options.get("stop")
    return {
        "gen_ai.request.model": event.model,
        "gen_ai.request.stream": True if event.streamed else None,
        "gen_ai.request.max_tokens": options.get("max_tokens"),
        "gen_ai.request.temperature": options.get("temperature"),
        "gen_ai.request.top_p": options.get("top_p"),
        "gen_ai.request.stop_sequences": tuple(stop) if isinstance(stop, Sequence) else None,
        "gen_ai.output.type": ("json" if "response_schema" in options else "text") if is_chat else None,
    }


def _common(operation: str, of: CallEnded | Attempt) -> dict[str, Value | None]:
    """Return the attributes that spans and metrics share."""
    provider = of.provider
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": PROVIDER_NAMES.get(provider, provider) if provider else None,
        "gen_ai.request.model": of.model,
    }


def _server(event: AttemptStarted) -> dict[str, Value | None]:
    return {"server.address": event.server_address, "server.port": event.server_port}


def _error_type(event: CallEnded) -> str | None:
    """Return the kind of failure, or the error of a call that sent nothing."""
    if event.outcome == "cancelled":
        return FailureKind.CANCELLED.value
    return event.failure.value if event.failure is not None else event.error


def _answer_attributes(event: CallEnded) -> Mapping[str, Value]:
    answers = (attempt for attempt in reversed(event.attempts) if attempt.failure is None or attempt.chunks)
    last = next(answers, None)  # the one that served, or the one that was cut
    finish = event.finish_reason.value if event.finish_reason is not None else None
    if event.outcome == "failed" and event.interruption is not None:
        finish = "error"  # the stream was cut
    attributes: dict[str, Value | None] = {
        "gen_ai.response.id": last.response_id if last is not None else None,
        "gen_ai.response.model": last.response_model if last is not None else None,
        "gen_ai.response.finish_reasons": (finish,) if finish is not None else None,
        "gen_ai.response.time_to_first_chunk": event.time_to_first_token,
        "cortex_trio.worker": event.worker,
        "cortex_trio.attempts": len(event.attempts),
        "cortex_trio.outcome": event.outcome,
    }
    return _present(attributes)


def _usage_attributes(usage: Usage | None, names: Conventions) -> Mapping[str, Value]:
    if usage is None:
        return {}
    return {f"gen_ai.usage.{name}": count for name, count in _token_counts(usage, names).items()}


def _token_counts(usage: Usage, names: Conventions) -> Mapping[str, int]:
    counts = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read.input_tokens": usage.cached_input_tokens,
        names.cache_write: usage.cache_write_tokens,
        "reasoning.output_tokens": usage.reasoning_tokens,
    }
    return {name: count for name, count in counts.items() if count is not None}


def _present(attributes: Mapping[str, Value | None]) -> dict[str, Value]:
    """Return the attributes that have a value."""
    return {name: value for name, value in attributes.items() if value is not None}


def _nanoseconds(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000) * 1_000


# ------------------------------------------------------------------ metrics


@final
class _Metrics:
    """The instruments: histograms for each call, tokens for each attempt, because each attempt is billed."""

    def __init__(self, meter: metrics.Meter, names: Conventions) -> None:
        self._meter = meter
        self._names = names
        self._duration = self._histogram("duration", "Duration of calls.")
        self._first_chunk = self._histogram("time_to_first_chunk", "Time to the first content of an answer.")
        self._per_chunk = self._histogram(
            "time_per_output_chunk", "Mean time between two chunks of an answer."
        )
        self._counters: dict[str, metrics.Counter] = {}  # by name; made when first used
        self._tokens: metrics.Histogram | None = None
        if names.one_token_metric:
            self._tokens = meter.create_histogram(
                "gen_ai.client.token.usage", "{token}", explicit_bucket_boundaries_advisory=TOKENS_BUCKETS
            )

    def _histogram(self, name: str, description: str) -> metrics.Histogram:
        return self._meter.create_histogram(
            f"{self._names.metrics}.{name}",
            "s",
            description,
            explicit_bucket_boundaries_advisory=SECONDS_BUCKETS,
        )

    def record_call(self, event: CallEnded, attributes: Mapping[str, Value]) -> None:
        """Record the times of a call that has ended."""
        self._duration.record(event.seconds, attributes)
        if event.operation != "embed" and event.time_to_first_token is not None:
            self._first_chunk.record(event.time_to_first_token, attributes)
        if (seconds := seconds_per_chunk(event)) is not None:
            self._per_chunk.record(seconds, attributes)

    def count_tokens(self, usage: Usage, attributes: Mapping[str, Value | None]) -> None:
        """Count the tokens of an attempt that has ended."""
        present = _present(attributes)
        if self._tokens is not None:
            for kind, count in (("input", usage.input_tokens), ("output", usage.output_tokens)):
                if count is not None:
                    self._tokens.record(count, {**present, "gen_ai.token.type": kind})
            return
        for name, count in _token_counts(usage, self._names).items():
            self._counter(name).add(count, present)

    def _counter(self, name: str) -> metrics.Counter:
        if name not in self._counters:
            full = f"{self._names.metrics}.usage.{name}"
            self._counters[name] = self._meter.create_counter(full, "{token}")
        return self._counters[name]
