"""`cortex-trio chat`: one answer from the providers of the environment, or a conversation."""

from __future__ import annotations

import argparse

from ..gateway.cortex import open_cortex
from ..gateway.request.options import ChatOptions
from ..gateway.settings.config import Config
from ..messages import Message, system
from .answer import Printer
from .choice import Choice, configured
from .prompt import has_terminal_input, message_from, prompt_from, schema_from
from .running import run_until_signal


def chat(arguments: argparse.Namespace) -> int:
    """Stream the answer to standard output; print worker, tokens and failed attempts to standard error.

    Returns:
        The exit status: 3 if the answer was cut at its token limit, filtered or refused, else 0.

    Raises:
        InvalidRequest: The prompt is empty, or an option is wrong.
        ConfigError: The environment names no provider, or configures one wrongly.
        CortexError: No worker served.
        OSError: A file cannot be read.
    """
    options = options_from(arguments)
    if arguments.prompt is None and has_terminal_input() and not arguments.json:
        from .conversation import converse

        return converse(configured(arguments), arguments, options)
    config = configured(arguments)
    message = message_from(prompt_from(arguments.prompt), arguments.attach)
    messages = [system(arguments.system)] if arguments.system else []
    options.update(Choice.of(arguments, config).options())
    return run_until_signal(lambda: _chat(config, [*messages, message], options, arguments))


def options_from(arguments: argparse.Namespace) -> ChatOptions:
    """Return the options of the command line that do not choose a worker. Raises InvalidRequest, OSError."""
    options: ChatOptions = {
        "max_tokens": arguments.max_tokens,
        "temperature": arguments.temperature,
        "max_wait": arguments.max_wait,
    }
    if arguments.schema:
        options["response_schema"] = schema_from(arguments.schema)
    if arguments.on_interrupt:
        options["on_interrupt"] = arguments.on_interrupt
    return options


async def _chat(
    config: Config, messages: list[Message], options: ChatOptions, arguments: argparse.Namespace
) -> int:
    printer = Printer.of(arguments)
    async with open_cortex(config, on_event=printer.on_event) as cortex:
        reply = await printer.ask(cortex, messages, options)
    return printer.status_of(reply)
