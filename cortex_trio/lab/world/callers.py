"""The tasks that make the calls, and the record of what each caller saw."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs
import trio

from ...errors import AllWorkersFailed, ProviderError, StreamInterrupted
from ...events import Attempt, Continued, Finished, Reply, Restarted, StreamEvent, TextDelta, ToolCallDelta
from ...failures import CortexError
from ...gateway.cortex import Cortex
from ...messages import Message, ToolResult, user
from .fixtures import LOOK_UP, OBJECT_SCHEMA, prompt_of, texts_of, tool_result
from .load import PlannedCall

SUMMARY_CHARACTERS = 200
"""Characters of an answer in a summary."""


@attrs.define
class ReceivedToolCall:
    """A tool call, as much of it as was received."""

    name: str | None
    arguments: str


@attrs.define
class CallRecord:
    """One call as its caller saw it. Times are Trio times, in seconds."""

    planned: PlannedCall
    started: float = 0.0
    ended: float = 0.0
    """0.0 until the call ends; it stays 0.0 if the gateway stopped first."""
    last_request_at: float = 0.0
    """When the last of the call's requests to the gateway began."""
    paused: float = 0.0
    """Seconds for which the reader paused between events."""
    outcome: str = "running"
    """"running", then "whole", "interrupted", "refused", "left", "cancelled" or "crashed"."""
    text: str = ""
    """The text of the answer; a restart empties it."""
    received_calls: dict[int, ReceivedToolCall] = attrs.field(factory=dict)
    """The tool calls of the answer, by index; a restart removes them."""
    results_sent: bool = False
    """Whether the tool calls were executed and their results sent back."""
    restarted_after_tool_call: bool = False
    """Whether the answer was restarted after a whole tool call, or continued after any part of one."""
    offsets_match: bool = True
    """Whether each Continued named the length of the text at that point."""
    finished_once: bool = True
    """Whether Finished was the last event."""
    vectors: Sequence[Sequence[float]] = ()
    models: Sequence[str] = ()
    """The list of models, of a call of the kind "models"."""
    is_rejected_on_purpose: bool = False
    """Whether a provider rejected a request of this call because of the fault "bad request"."""
    error: BaseException | None = None
    attempts: Sequence[Attempt] | None = None
    """None if the call ended before the caller could read them."""

    @property
    def is_over(self) -> bool:
        """Whether the call ended; False for calls that ran when the gateway stopped after too many restarts."""
        return self.outcome != "running"

    @property
    def is_served(self) -> bool:
        return self.outcome == "whole"

    @property
    def was_rescued(self) -> bool:
        """Whether the call was served after a failure that its caller did not see."""
        return self.is_served and any(attempt.failure for attempt in self.attempts or ())

    @property
    def has_attempts_of_last_request_only(self) -> bool:
        """Whether the error has not all attempts: the texts of one call went in several requests."""
        return self.planned.kind == "embed" and self.planned.requests > 1

    @property
    def last_attempts(self) -> Sequence[Attempt]:
        """Of a refused call: the attempts of the request to the gateway that was refused."""
        return self.error.attempts if isinstance(self.error, ProviderError | AllWorkersFailed) else ()

    def summary(self) -> str:
        error = type(self.error).__name__ if self.error else "-"
        workers = ",".join(attempt.worker for attempt in self.attempts or ())
        calls = "".join(f" {call.name} {call.arguments}" for call in self.received_calls.values())
        text = self.text
        if len(text) > SUMMARY_CHARACTERS:
            text = f"{text[:SUMMARY_CHARACTERS]}… {len(text)} characters"
        received = f"{text!r}{calls}{f' {len(self.vectors)} vectors' if self.vectors else ''}"
        return f"call {self.planned.number} {self.planned.kind} {self.outcome} {error} {workers} {received}"


async def make_call(cortex: Cortex, record: CallRecord) -> None:
    """Make one call and record what its caller sees. Raises nothing but Cancelled from outside."""
    for _ in range(record.planned.rounds):
        await trio.lowlevel.checkpoint()
    record.started = trio.current_time()
    if record.planned.cancel_after_rounds is None:
        await _make(cortex, record)
    else:
        await _make_cancelled(cortex, record, record.planned.cancel_after_rounds)
    record.ended = trio.current_time()


async def _make_cancelled(cortex: Cortex, record: CallRecord, rounds: int) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_after, rounds, nursery.cancel_scope)
        await _make(cortex, record)
        nursery.cancel_scope.cancel()
    if record.outcome == "running":
        record.outcome, record.attempts = "cancelled", None


async def _cancel_after(rounds: int, scope: trio.CancelScope) -> None:
    for _ in range(rounds):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def _make(cortex: Cortex, record: CallRecord) -> None:
    planned = record.planned
    try:
        with trio.move_on_after(float("inf") if planned.deadline is None else planned.deadline) as scope:
            await _KINDS[planned.kind](cortex, record)
        if scope.cancelled_caught:
            record.outcome, record.attempts = "cancelled", None
    except StreamInterrupted as error:
        record.outcome, record.error = "interrupted", error
        record.attempts = [*(record.attempts or ()), *error.attempts]
    except CortexError as error:
        record.outcome, record.error = "refused", error
        if (
            isinstance(error, ProviderError | AllWorkersFailed)
            and not record.has_attempts_of_last_request_only
        ):
            record.attempts = [*(record.attempts or ()), *error.attempts]
        else:
            record.attempts = None
    except Exception as error:  # any other type violates an invariant
        record.outcome, record.error = "crashed", error


# ------------------------------------------------------------------ the kinds of calls


async def _story(cortex: Cortex, record: CallRecord) -> None:
    await _chat(cortex, record, [user(prompt_of(record.planned.number))], {})
    _set_served(record)


async def _object(cortex: Cortex, record: CallRecord) -> None:
    """An answer that has to match a JSON schema."""
    await _chat(
        cortex,
        record,
        [user(prompt_of(record.planned.number, "object"))],
        {"response_schema": OBJECT_SCHEMA},
    )
    _set_served(record)


async def _tools(cortex: Cortex, record: CallRecord) -> None:
    """The model calls tools; the caller executes them and sends the results back."""
    prompt: list[Message] = [user(prompt_of(record.planned.number, "tools"))]
    tools = {"tools": [LOOK_UP]}
    reply = await _chat(cortex, record, prompt, tools)
    if reply is None:
        return
    record.results_sent = True
    results = [ToolResult(call.id, tool_result(call), name=call.name) for call in reply.tool_calls]
    await _chat(cortex, record, [*prompt, reply.message, Message("tool", results)], tools)
    _set_served(record)


async def _embed(cortex: Cortex, record: CallRecord) -> None:
    planned = record.planned
    record.last_request_at = trio.current_time()
    record.vectors = await cortex.embed(texts_of(planned.number, planned.texts), **planned.options)
    record.outcome = "whole"


async def _models(cortex: Cortex, record: CallRecord) -> None:
    record.models = await cortex.models(**record.planned.options)
    record.outcome = "whole"


_KINDS: Mapping[str, Callable[[Cortex, CallRecord], Awaitable[None]]] = {
    "story": _story,
    "object": _object,
    "tools": _tools,
    "embed": _embed,
    "models": _models,
}


def _set_served(record: CallRecord) -> None:
    if record.outcome != "left":
        record.outcome = "whole"


# ------------------------------------------------------------------ one answer


async def _chat(
    cortex: Cortex, record: CallRecord, messages: Sequence[Message], wanted: Mapping[str, Any]
) -> Reply | None:
    """Get one answer and add it to the record. Returns None if the caller left the stream early."""
    record.last_request_at = trio.current_time()
    options = {**record.planned.options, **wanted}
    if record.planned.mode != "complete":
        return await _stream(cortex, record, messages, options)
    reply: Reply = await cortex.complete(messages, **options)
    record.text += reply.text
    for call in reply.tool_calls:
        record.received_calls[len(record.received_calls)] = ReceivedToolCall(call.name, call.arguments)
    record.attempts = [*(record.attempts or ()), *reply.attempts]
    return reply


async def _stream(
    cortex: Cortex, record: CallRecord, messages: Sequence[Message], options: Mapping[str, Any]
) -> Reply | None:
    planned, reply, count, finished = record.planned, None, 0, False
    wanted: dict[str, Any] = {**options, "on_interrupt": planned.mode}
    async with cortex.chat(messages, **wanted) as stream:
        async for event in stream:
            record.finished_once &= not finished
            finished |= isinstance(event, Finished)
            add_event(record, event)
            count += 1
            if planned.leaves_after is not None and count > planned.leaves_after:
                record.outcome = "left"
                break
            await trio.sleep(planned.pause)
            record.paused += planned.pause
        else:
            reply = await stream.collect()
    record.attempts = [*(record.attempts or ()), *stream.attempts]
    return reply


def add_event(record: CallRecord, event: StreamEvent) -> None:
    """Add one event of a stream to the record."""
    match event:
        case TextDelta(text):
            record.text += text
        case ToolCallDelta():
            call = record.received_calls.setdefault(event.index, ReceivedToolCall(event.name, ""))
            call.arguments += event.arguments
        case Restarted():
            # A tool call that was cut is discarded, as is the text before it; only a whole one forbids a restart.
            if not record.results_sent:
                record.restarted_after_tool_call |= any(
                    _is_whole(call) for call in record.received_calls.values()
                )
                record.received_calls.clear()
            record.text = ""
        case Continued(offset=offset):
            record.restarted_after_tool_call |= bool(record.received_calls) and not record.results_sent
            record.offsets_match &= offset == len(record.text)
        case _:
            pass


def _is_whole(call: ReceivedToolCall) -> bool:
    """Whether a caller can execute it: its arguments are a complete JSON object."""
    try:
        return isinstance(json.loads(call.arguments), dict)
    except ValueError:
        return False
