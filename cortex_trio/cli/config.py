"""`cortex-trio config check`: what is configured, from which variable, and what is wrong."""

from __future__ import annotations

import argparse
import sys

from ..gateway.settings.config import environment
from .running import MISUSED
from .screen import Colour, Row, Screen, counted
from .sources import find, settings_of

HEADS = ("setting", "value", "from")


def config(arguments: argparse.Namespace) -> int:
    """Print all workers and settings, and then all mistakes. Returns 2 if there is a mistake, else 0."""
    screen = Screen.on(sys.stdout, no_color=arguments.no_color)
    environ = environment()
    findings = find(environ)
    for name, worker in findings.workers.items():
        of = "" if name == worker.kind.name else f" ({worker.kind.name})"
        screen.line(f"{name}{of}", Colour.BOLD)
        rows = [Row((one.name, one.value, one.source)) for one in settings_of(worker, environ)]
        screen.table(HEADS, rows, indent="  ")
        screen.line()
    if findings.options:
        screen.line("gateway", Colour.BOLD)
        screen.table(HEADS, [Row((one.name, one.value, one.source)) for one in findings.options], indent="  ")
        screen.line()
    for hint in findings.hints:
        screen.line(hint, Colour.YELLOW)
    for problem in findings.problems:
        screen.line(f"✗ {problem}", Colour.RED)
    if findings.problems:
        screen.line(f"{counted(len(findings.problems), 'problem')} found.", Colour.RED)
        return MISUSED
    screen.line(f"✓ {counted(len(findings.workers), 'worker')}, no problems.", Colour.GREEN)
    return 0
