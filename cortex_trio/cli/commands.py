"""The commands by name. A command is loaded when it runs: `--help` needs neither Trio nor a gateway."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Literal, assert_never, get_args

CommandName = Literal["demo", "chat", "status", "exam", "simulate", "observe"]
Command = Callable[[argparse.Namespace], int]

COMMAND_NAMES: tuple[CommandName, ...] = get_args(CommandName)


def load_command(name: CommandName) -> Command:
    """Return the function that runs a command: it takes the parsed arguments and returns the exit status."""
    match name:
        case "demo":
            from .demo import demo

            return demo
        case "chat":
            from .chat import chat

            return chat
        case "status":
            from .status import status

            return status
        case "exam":
            from .exam import exam

            return exam
        case "simulate":
            from .simulate import simulate

            return simulate
        case "observe":
            from .observe import observe

            return observe
        case _:
            assert_never(name)


class StrategyNames:
    """The names of the routing strategies, for argparse's `choices`: the gateway is loaded when they are read."""

    def __iter__(self) -> Iterator[str]:
        from ..gateway.routing.strategies import STRATEGIES

        return iter(STRATEGIES)
