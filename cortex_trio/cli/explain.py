"""`cortex-trio explain`: which workers a chat would ask, in which order, and why not the others."""

from __future__ import annotations

import argparse
import sys

from ..gateway.cortex import open_cortex
from ..gateway.settings.config import Config
from .choice import Choice, configured
from .running import run_until_signal
from .screen import Screen


def explain(arguments: argparse.Namespace) -> int:
    """Print one line for each worker. Returns 0. Raises ConfigError, InvalidRequest."""
    config = configured(arguments)
    return run_until_signal(lambda: _explain(config, arguments))


async def _explain(config: Config, arguments: argparse.Namespace) -> int:
    choice = Choice.of(arguments, config)
    async with open_cortex(config) as cortex:
        text = cortex.explain(arguments.prompt, **choice.options())
    screen = Screen.on(sys.stdout, no_color=arguments.no_color)
    for line in text.splitlines():
        screen.line(line)
    return 0
