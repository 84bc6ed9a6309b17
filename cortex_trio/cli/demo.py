"""`cortex-trio demo`: three answers while providers fail and an actor is killed.

The providers are simulated, but they listen on sockets of this machine; the gateway, its HTTP client and the time are
real. Failures and restarts are printed when they happen, from the telemetry events that every program can observe.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import final

from ..events import Attempt
from ..gateway.cortex import Cortex, open_cortex
from ..otp import Report, ReportKind
from ..simulator import Behaviour, Simulator, open_simulator
from .facts import event_line, show_attempts, show_health
from .running import run_until_signal
from .screen import Colour, Screen
from .story import THINKING_SECONDS, Story

PROVIDERS = ("openai", "anthropic", "ollama")
KEYS = ("sk-sim-openai-0001", "sk-sim-openai-0002")
WORDS_PER_SECOND = 14.0
RATE_LIMIT_BACKOFF_SECONDS = 20.0
INDENT = "    "


def demo(arguments: argparse.Namespace) -> int:
    """Run the demo of `--seed`. It prints to standard output and takes some seconds."""
    # The demo prints the killed actor itself; a log line about it would only repeat that.
    logging.getLogger("cortex_trio").addHandler(logging.NullHandler())
    screen = Screen.on(sys.stdout, no_color=arguments.no_color)
    return run_until_signal(lambda: _demo(screen, Story.by_number(arguments.seed)))


async def _demo(screen: Screen, story: Story) -> int:
    async with open_simulator(sockets=True) as simulator:
        for name in PROVIDERS:
            simulator.add(name)
        config = simulator.config()
        config["openai"]["api_keys"] = list(KEYS)
        screen.line(
            "Three simulated providers are listening on this machine, and a gateway is started on them."
        )
        screen.line("It asks openai first (two keys), then anthropic, then ollama.")
        printer = _EventPrinter(screen)
        async with open_cortex(config, on_event=printer.on_event) as cortex:
            await _Demonstration(screen, story, simulator, cortex).run()
        screen.line()
        screen.line("The gateway has stopped, its actors in order, and nothing of it is left.")
    return 0


@final
class _EventPrinter:
    """Prints failed attempts, actors that ended and actors that were started again."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._ended: set[str] = set()

    def on_event(self, event: object) -> None:
        if line := event_line(event):
            text, colour = line
            self._screen.line(INDENT + text, colour)
        match event:
            case Report(kind=ReportKind.CHILD_TERMINATED):
                self._ended.add(event.child)
            case Report(kind=ReportKind.PROGRESS) if event.child in self._ended:
                self._screen.line(
                    f"{INDENT}✓ {event.supervisor}: the actor {event.child} was started again", Colour.GREEN
                )


@final
class _Demonstration:
    """Three answers, each with a fault, then the tree, the health and the attempts."""

    def __init__(self, screen: Screen, story: Story, simulator: Simulator, cortex: Cortex) -> None:
        self._screen = screen
        self._story = story
        self._simulator = simulator
        self._cortex = cortex
        self._attempts: list[Sequence[Attempt]] = []

    async def run(self) -> None:
        await self._key_is_limited()
        await self._provider_fails()
        await self._actor_is_killed()
        await self._print_results()

    # -------------------------------------------------------------- the three answers

    async def _key_is_limited(self) -> None:
        question, answer = self._story.questions[0]
        self._set_answer(answer)
        limit = Behaviour(
            status=429, retry_after=RATE_LIMIT_BACKOFF_SECONDS, first_token_after=THINKING_SECONDS
        )
        self._simulator["openai"].limit_key(KEYS[0], limit)
        await self._ask(
            1,
            question,
            broken="the first of openai's two keys is over its rate limit (429).",
            explanation="with its other key. The first key cools down until its Retry-After is over.",
        )

    async def _provider_fails(self) -> None:
        question, answer = self._story.questions[1]
        self._set_answer(answer)
        self._simulator["openai"].behave(self._story.mishap.behaviour)
        await self._ask(
            2,
            question,
            broken=f"openai {self._story.mishap.said}.",
            explanation="and no word of this failure reached the reader.",
        )

    async def _actor_is_killed(self) -> None:
        question, answer = self._story.questions[2]
        self._set_answer(answer)
        await self._ask(
            3,
            question,
            broken="openai works again, but the actor behind it is killed in the middle of its answer.",
            explanation="because the caller's own task reads the stream: it outlives the actor.",
            kill_after=self._story.words_before_kill,
        )

    def _set_answer(self, text: str) -> None:
        for name in PROVIDERS:
            good = Behaviour(
                text=text, first_token_after=THINKING_SECONDS, tokens_per_second=WORDS_PER_SECOND
            )
            self._simulator[name].behave(good)

    async def _ask(
        self, number: int, question: str, *, broken: str, explanation: str, kill_after: int | None = None
    ) -> None:
        """Print the fault, stream the answer and print the result.

        Args:
            number: Of the answer.
            question: The message of the user.
            broken: The fault, as a sentence.
            explanation: Completes the sentence of the result.
            kill_after: Kill the actor of the worker after so many words; None: do not kill it.
        """
        screen = self._screen
        screen.line()
        screen.line(f"{number}. {question}", Colour.BOLD)
        screen.line(f"{INDENT}Broken on purpose: {broken}", Colour.YELLOW)
        screen.line(f"{INDENT}… asking", Colour.DIM)
        words = 0
        async with self._cortex.chat(question) as answer:
            async for piece in answer.text():
                screen.piece(piece, Colour.CYAN, indent=INDENT)
                words += 1
                if words == kill_after:
                    self._cortex.actor(answer.worker).kill()
        screen.line(f"{INDENT}✓ The whole answer came from {answer.worker}, {explanation}", Colour.GREEN)
        self._attempts.append(answer.attempts)

    # -------------------------------------------------------------- the results

    async def _print_results(self) -> None:
        screen = self._screen
        screen.line()
        screen.line("The supervision tree now (the killed actor counts one restart):", Colour.BOLD)
        for row in self._cortex.tree().splitlines():
            screen.line(INDENT + row, Colour.YELLOW if "restart" in row else Colour.PLAIN)
        screen.line()
        screen.line("The health of every worker, checked with requests that cost nothing:", Colour.BOLD)
        show_health(screen, await self._cortex.check_health(), indent=INDENT)
        for number, attempts in enumerate(self._attempts, 1):
            screen.line()
            screen.line(f"Attempts for answer {number}:", Colour.BOLD)
            show_attempts(screen, attempts, indent=INDENT)
