"""Those who ask, each in a task, and what each of them saw."""

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
from .load import PlannedCall
from .tales import LOOK_UP, OBJECT_SCHEMA, executed, prompt_of, texts_of

SHOWN = 200
"""Characters of an answer in a summary."""


@attrs.define
class HeardCall:
    """A tool call as far as it was heard."""

    name: str | None
    arguments: str


@attrs.define
class Called:
    """One call as its caller saw it. `attempts` is None where the call ended before they could be had."""

    planned: PlannedCall
    started: float = 0.0
    ended: float = 0.0
    asked_at: float = 0.0  # when the last of its requests to the gateway began
    paused: float = 0.0  # seconds the reader took for itself
    outcome: str = "asking"  # "whole" | "interrupted" | "refused" | "left" | "cancelled" | "crashed"
    shown: str = ""  # the text that stands, restarts considered
    heard: dict[int, HeardCall] = attrs.field(factory=dict)  # the tool calls that stand, by index
    results_sent: bool = False  # the tool calls were taken for whole, and executed
    begun_after_a_call: bool = False  # begun again after a whole tool call, or continued after any of one
    offsets_fit: bool = True  # every Continued named the place at which the text stood
    ended_once: bool = True  # nothing came after Finished
    vectors: Sequence[Sequence[float]] = ()
    listed: Sequence[str] = ()
    error: BaseException | None = None
    attempts: Sequence[Attempt] | None = None

    @property
    def is_over(self) -> bool:
        """False for calls that were in the middle when the gateway gave up."""
        return self.ended > 0

    @property
    def is_served(self) -> bool:
        return self.outcome == "whole"

    @property
    def was_rescued(self) -> bool:
        """It was served after a failure that its caller did not see."""
        return self.is_served and any(attempt.failure for attempt in self.attempts or ())

    @property
    def holds_only_its_last_request(self) -> bool:
        """What an error says of attempts is not all there were: a list of texts went in several requests."""
        return self.planned.what == "embed" and self.planned.requests > 1

    @property
    def last_attempts(self) -> Sequence[Attempt]:
        """Of a refused call: the attempts of the request to the gateway that was refused."""
        return self.error.attempts if isinstance(self.error, ProviderError | AllWorkersFailed) else ()

    def summary(self) -> str:
        kind = type(self.error).__name__ if self.error else "-"
        asked = ",".join(attempt.worker for attempt in self.attempts or ())
        heard = "".join(f" {call.name} {call.arguments}" for call in self.heard.values())
        shown = (
            self.shown if len(self.shown) <= SHOWN else f"{self.shown[:SHOWN]}… {len(self.shown)} characters"
        )
        seen = f"{shown!r}{heard}{f' {len(self.vectors)} vectors' if self.vectors else ''}"
        return f"call {self.planned.number} {self.planned.what} {self.outcome} {kind} {asked} {seen}"


async def ask(cortex: Cortex, called: Called) -> None:
    """Make one call and write down what came of it; raises nothing but Cancelled."""
    planned = called.planned
    for _ in range(planned.rounds):
        await trio.lowlevel.checkpoint()
    called.started = trio.current_time()
    try:
        with trio.move_on_after(float("inf") if planned.deadline is None else planned.deadline) as scope:
            await _WAYS[planned.what](cortex, called)
        if scope.cancelled_caught:
            called.outcome, called.attempts = "cancelled", None
    except StreamInterrupted as error:
        called.outcome, called.error = "interrupted", error
        called.attempts = [*(called.attempts or ()), *error.attempts]
    except CortexError as error:
        called.outcome, called.error = "refused", error
        if isinstance(error, ProviderError | AllWorkersFailed) and not called.holds_only_its_last_request:
            called.attempts = [*(called.attempts or ()), *error.attempts]
        else:
            called.attempts = None
    except Exception as error:
        called.outcome, called.error = "crashed", error
    called.ended = trio.current_time()


# ------------------------------------------------------------------ what they ask for


async def _story(cortex: Cortex, called: Called) -> None:
    await _chat(cortex, called, [user(prompt_of(called.planned.number))], {})
    _served(called)


async def _object(cortex: Cortex, called: Called) -> None:
    """An answer of a given shape."""
    await _chat(
        cortex,
        called,
        [user(prompt_of(called.planned.number, "object"))],
        {"response_schema": OBJECT_SCHEMA},
    )
    _served(called)


async def _tools(cortex: Cortex, called: Called) -> None:
    """The model looks something up: its calls are executed, and the results are sent back."""
    asked: list[Message] = [user(prompt_of(called.planned.number, "tools"))]
    tools = {"tools": [LOOK_UP]}
    reply = await _chat(cortex, called, asked, tools)
    if reply is None:
        return
    called.results_sent = True
    results = [ToolResult(call.id, executed(call), name=call.name) for call in reply.tool_calls]
    await _chat(cortex, called, [*asked, reply.message, Message("tool", results)], tools)
    _served(called)


async def _embed(cortex: Cortex, called: Called) -> None:
    planned = called.planned
    called.asked_at = trio.current_time()
    called.vectors = await cortex.embed(texts_of(planned.number, planned.texts), **planned.options)
    called.outcome = "whole"


async def _models(cortex: Cortex, called: Called) -> None:
    called.listed = await cortex.models(**called.planned.options)
    called.outcome = "whole"


_WAYS: Mapping[str, Callable[[Cortex, Called], Awaitable[None]]] = {
    "story": _story,
    "object": _object,
    "tools": _tools,
    "embed": _embed,
    "models": _models,
}


def _served(called: Called) -> None:
    if called.outcome != "left":
        called.outcome = "whole"


# ------------------------------------------------------------------ how they ask


async def _chat(
    cortex: Cortex, called: Called, messages: Sequence[Message], wanted: Mapping[str, Any]
) -> Reply | None:
    """One answer, added to what was seen; None if the caller left in the middle of it."""
    called.asked_at = trio.current_time()
    options = {**called.planned.options, **wanted}
    if called.planned.how != "complete":
        return await _stream(cortex, called, messages, options)
    reply = await cortex.complete(messages, **options)
    called.shown += reply.text
    for call in reply.tool_calls:
        called.heard[len(called.heard)] = HeardCall(call.name, call.arguments)
    called.attempts = [*(called.attempts or ()), *reply.attempts]
    return reply


async def _stream(
    cortex: Cortex, called: Called, messages: Sequence[Message], options: Mapping[str, Any]
) -> Reply | None:
    planned, reply, count, finished = called.planned, None, 0, False
    async with cortex.chat(messages, **{**options, "on_interrupt": planned.how}) as stream:
        async for event in stream:
            called.ended_once &= not finished
            finished |= isinstance(event, Finished)
            note(called, event)
            count += 1
            if planned.leaves_after is not None and count > planned.leaves_after:
                called.outcome = "left"
                break
            await trio.sleep(planned.pause)
            called.paused += planned.pause
        else:
            reply = await stream.collect()
    called.attempts = [*(called.attempts or ()), *stream.attempts]
    return reply


def _is_whole(call: HeardCall) -> bool:
    """Whether a caller can execute it: its arguments are a JSON object, to its end."""
    try:
        return isinstance(json.loads(call.arguments), dict)
    except ValueError:
        return False


def note(called: Called, event: StreamEvent) -> None:
    """Add what an event of a stream shows to what was seen."""
    match event:
        case TextDelta(text):
            called.shown += text
        case ToolCallDelta():
            call = called.heard.setdefault(event.index, HeardCall(event.name, ""))
            call.arguments += event.arguments
        case Restarted():
            # A call that was cut is no call: it is discarded with the text before it.
            if not called.results_sent:
                called.begun_after_a_call |= any(_is_whole(call) for call in called.heard.values())
                called.heard.clear()
            called.shown = ""
        case Continued(offset=offset):
            called.begun_after_a_call |= bool(called.heard) and not called.results_sent
            called.offsets_fit &= offset == len(called.shown)
        case _:
            pass
