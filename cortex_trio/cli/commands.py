"""The commands by name. A command is loaded when it runs: `--help` needs neither Trio nor a gateway."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Iterator
from typing import Literal, get_args

CommandName = Literal[
    "chat",
    "embed",
    "models",
    "status",
    "explain",
    "config",
    "keys",
    "demo",
    "exam",
    "simulate",
    "observe",
    "serve",
    "completion",
]
"""A command is the function of this name in the module of this name."""

Command = Callable[[argparse.Namespace], int]

COMMAND_NAMES: tuple[CommandName, ...] = get_args(CommandName)


def load_command(name: CommandName) -> Command:
    """Return the function that runs a command: it takes the parsed arguments and returns the exit status."""
    command: Command = getattr(importlib.import_module(f"{__package__}.{name}"), name)
    return command


class StrategyNames:
    """The names of the routing strategies, for argparse's `choices`: the gateway is loaded when they are read."""

    def __iter__(self) -> Iterator[str]:
        from ..gateway.routing.strategies import STRATEGIES

        return iter(STRATEGIES)
