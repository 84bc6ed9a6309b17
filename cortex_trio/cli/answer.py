"""One answer on a terminal or in a pipe: the text to standard output, the facts to standard error."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import attrs
import trio

from ..errors import AllWorkersFailed, ProviderError
from ..events import Attempt, Continued, FinishReason, Reply, Restarted, TextDelta
from ..gateway.cortex import Cortex
from ..gateway.request.options import ChatOptions
from ..gateway.request.stream import ChatStream
from ..messages import Message
from .facts import event_line, outcome, show_attempts, tokens
from .running import INCOMPLETE
from .screen import Colour, Screen

INCOMPLETE_NOTES = {
    FinishReason.LENGTH: "the answer is cut: it reached its token limit",
    FinishReason.CONTENT_FILTER: "the answer is incomplete: a filter of the provider stopped it",
    FinishReason.REFUSAL: "the model refused to answer",
}
"""What is printed for answers that end with exit status 3."""


@attrs.frozen
class Printer:
    """Prints answers and what happens meanwhile."""

    out: Screen
    facts: Screen
    quiet: bool
    json: bool

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Printer:
        """Return the printer for the streams and options of this process."""
        return cls(
            Screen.on(sys.stdout, no_color=arguments.no_color),
            Screen.on(sys.stderr, no_color=arguments.no_color),
            arguments.quiet,
            arguments.json,
        )

    def on_event(self, event: object) -> None:
        """Print a failed attempt when it happens: an observer of the gateway."""
        if line := event_line(event):
            self.note(*line)

    def note(self, text: str, colour: Colour = Colour.DIM) -> None:
        """Print one fact. Only on a terminal does it end the line of the answer: a file gets the answer unchanged."""
        if self.quiet:
            return
        if self.out.is_terminal and self.facts.is_terminal:
            self.out.end()
        self.facts.line(text, colour)

    async def ask(self, cortex: Cortex, messages: Sequence[Message], options: ChatOptions) -> Reply:
        """Print one answer and return it. Raises as `Cortex.chat`, after the attempts were printed."""
        options = self._with_interrupt(options)
        started = trio.current_time()
        try:
            async with cortex.chat(messages, **options) as answer:
                await self._print_text(answer)
                reply = await answer.collect()
        except (ProviderError, AllWorkersFailed) as error:
            self._show_failover(error.attempts)
            raise
        finally:
            self.out.end()
        seconds = trio.current_time() - started
        if self.json:
            self.out.raw(as_json(reply, seconds) + "\n")
        self.note(f"{reply.worker} · {reply.model} · {tokens(reply.usage)} · {seconds:.2f} s")
        self._show_failover(reply.attempts)
        return reply

    def _with_interrupt(self, options: ChatOptions) -> ChatOptions:
        """Return the options for an output that cannot take anything back: a pipe never gets an answer twice."""
        how = options.get("on_interrupt", "raise")
        if self.json or (how == "restart" and not self.out.is_terminal):
            how = "buffer"
        return {**options, "on_interrupt": how}

    async def _print_text(self, answer: ChatStream) -> None:
        async for event in answer:
            match event:
                case TextDelta(text=text) if not self.json:
                    self.out.piece(text)
                case Restarted():
                    self.out.end()
                    self.note(f"the answer begins again, from {event.worker}", Colour.YELLOW)
                case Continued():
                    self.note(f"the answer goes on, from {event.worker}", Colour.YELLOW)
                case _:
                    pass

    def _show_failover(self, attempts: Sequence[Attempt]) -> None:
        """Print the attempts if there were several: of a single one, the line above says all."""
        if len(attempts) > 1 and not self.quiet:
            self.out.end()
            show_attempts(self.facts, attempts)

    def status_of(self, reply: Reply) -> int:
        """Return the exit status of an answer; print a note if it is incomplete, also with --quiet."""
        note = INCOMPLETE_NOTES.get(reply.finish_reason)
        if note is None:
            return 0
        self.facts.line(f"cortex-trio: {note}", Colour.YELLOW)
        return INCOMPLETE


def as_json(reply: Reply, seconds: float) -> str:
    """Return an answer and its facts as JSON text, without API keys."""
    facts = {
        "text": reply.text,
        "finish_reason": reply.finish_reason.value,
        "worker": reply.worker,
        "provider": reply.provider,
        "model": reply.model,
        "usage": attrs.asdict(reply.usage),
        "cost": reply.cost,
        "seconds": round(seconds, 3),
        "attempts": [
            {
                "number": attempt.number,
                "worker": attempt.worker,
                "model": attempt.model,
                "outcome": outcome(attempt.failure),
                "seconds": round(attempt.duration, 3),
            }
            for attempt in reply.attempts
        ],
    }
    return json.dumps(facts, indent=2, ensure_ascii=False)
