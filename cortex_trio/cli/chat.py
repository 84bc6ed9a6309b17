"""`cortex-trio chat`: stream one answer from the providers of the environment."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import attrs
import trio

from ..errors import AllWorkersFailed, ProviderError
from ..events import Attempt
from ..failures import InvalidRequest
from ..gateway.cortex import open_cortex
from ..gateway.request.stream import ChatStream
from ..gateway.settings.config import Config
from ..messages import Message, system, user
from .facts import event_line, show_attempts, tokens
from .running import run_until_signal
from .screen import Colour, Screen


def chat(arguments: argparse.Namespace) -> int:
    """Stream the answer to standard output; print worker, tokens and failed attempts to standard error.

    Returns:
        The exit status, 0.

    Raises:
        InvalidRequest: The prompt is empty.
        ConfigError: The environment names no provider, or configures one wrongly.
        CortexError: No worker served.
    """
    config = Config.from_env()
    if arguments.strategy:
        config = attrs.evolve(config, strategy=arguments.strategy)
    prompt = sys.stdin.read() if arguments.prompt == "-" else arguments.prompt
    if not prompt.strip():
        raise InvalidRequest("the prompt is empty")
    messages = [system(arguments.system)] if arguments.system else []
    messages.append(user(prompt))
    return run_until_signal(lambda: _chat(config, messages, arguments))


async def _chat(config: Config, messages: list[Message], arguments: argparse.Namespace) -> int:
    out = Screen.on(sys.stdout, no_color=arguments.no_color)
    facts = Screen.on(sys.stderr, no_color=arguments.no_color)

    def print_event(event: object) -> None:
        if line := event_line(event):
            out.end()
            facts.line(*line)

    started = trio.current_time()
    async with open_cortex(config, on_event=print_event) as cortex:
        wanted = {"model": arguments.model, "provider": arguments.provider, "worker": arguments.worker}
        try:
            async with cortex.chat(messages, **wanted) as answer:
                async for text in answer.text():
                    out.piece(text)
        except (ProviderError, AllWorkersFailed) as error:
            out.end()
            _show_failover(facts, error.attempts)
            raise
        finally:
            out.end()
    _show_facts(facts, answer, trio.current_time() - started)
    return 0


def _show_facts(facts: Screen, answer: ChatStream, seconds: float) -> None:
    served = f"{answer.worker} · {answer.model} · {tokens(answer.usage)} · {seconds:.2f} s"
    facts.line(served, Colour.DIM)
    _show_failover(facts, answer.attempts)


def _show_failover(facts: Screen, attempts: Sequence[Attempt]) -> None:
    """Print the attempts if there were several: of a single one, the line above says all."""
    if len(attempts) > 1:
        show_attempts(facts, attempts)
