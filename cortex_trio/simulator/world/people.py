"""Those who ask, each in a task, and what each of them saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import trio

from ...events import Attempt, Continued, Finished, Restarted, StreamEvent, TextDelta
from ...failures import AllWorkersFailed, CortexError, ProviderError, StreamInterrupted
from ...gateway.cortex import Cortex
from .plan import PlannedCall
from .upstream import prompt_of


@attrs.define
class Called:
    """One call as its caller saw it. `attempts` is None where the call ended before they could be had."""

    planned: PlannedCall
    started: float = 0.0
    ended: float = 0.0
    paused: float = 0.0  # seconds the reader took for itself
    outcome: str = "asking"  # "whole" | "interrupted" | "refused" | "left" | "cancelled" | "crashed"
    shown: str = ""  # the text that stands, restarts considered
    offsets_fit: bool = True  # every Continued named the place at which the text stood
    ended_once: bool = True  # nothing came after Finished
    error: BaseException | None = None
    attempts: Sequence[Attempt] | None = None

    @property
    def is_over(self) -> bool:
        """False for calls that were in the middle when the gateway gave up."""
        return self.ended > 0

    @property
    def is_served(self) -> bool:
        return self.outcome == "whole"

    def summary(self) -> str:
        kind = type(self.error).__name__ if self.error else "-"
        asked = ",".join(attempt.worker for attempt in self.attempts or ())
        return f"call {self.planned.number} {self.outcome} {kind} {asked} {self.shown!r}"


async def ask(cortex: Cortex, called: Called) -> None:
    """Make one call and write down what came of it; raises nothing but Cancelled."""
    planned = called.planned
    for _ in range(planned.rounds):
        await trio.lowlevel.checkpoint()
    called.started = trio.current_time()
    try:
        with trio.move_on_after(float("inf") if planned.deadline is None else planned.deadline) as scope:
            await (_complete if planned.how == "complete" else _stream)(cortex, called)
        if scope.cancelled_caught:
            called.outcome = "cancelled"
    except StreamInterrupted as error:
        called.outcome, called.error, called.attempts = "interrupted", error, error.attempts
    except CortexError as error:
        called.outcome, called.error = "refused", error
        if isinstance(error, ProviderError | AllWorkersFailed):
            called.attempts = error.attempts
    except Exception as error:
        called.outcome, called.error = "crashed", error
    called.ended = trio.current_time()


async def _complete(cortex: Cortex, called: Called) -> None:
    reply = await cortex.complete(prompt_of(called.planned.number), **called.planned.options)
    called.shown, called.attempts, called.outcome = reply.text, reply.attempts, "whole"


async def _stream(cortex: Cortex, called: Called) -> None:
    planned = called.planned
    options: dict[str, Any] = {**planned.options, "on_interrupt": planned.how}
    count = 0
    async with cortex.chat(prompt_of(planned.number), **options) as stream:
        async for event in stream:
            _note(called, event)
            count += 1
            if planned.leaves_after is not None and count > planned.leaves_after:
                break
            await trio.sleep(planned.pause)
            called.paused += planned.pause
        else:
            called.outcome = "whole"
    if called.outcome != "whole":
        called.outcome = "left"
    called.attempts = stream.attempts


def _note(called: Called, event: StreamEvent) -> None:
    if called.outcome == "finished":
        called.ended_once = False
    match event:
        case TextDelta(text):
            called.shown += text
        case Restarted():
            called.shown = ""
        case Continued(offset=offset):
            called.offsets_fit &= offset == len(called.shown)
        case Finished():
            called.outcome = "finished"
