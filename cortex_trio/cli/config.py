"""`cortex-trio config check`: what is configured, from which variable, and what is wrong."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping

from ..gateway.settings.config import environment
from .running import MISUSED
from .screen import Colour, Row, Screen, counted
from .sources import Findings, Setting, find, settings_of

HEADS = ("setting", "value", "from")


def config(arguments: argparse.Namespace) -> int:
    """Print all workers and settings, and then all mistakes. Returns 2 if there is a mistake, else 0."""
    screen = Screen.on(sys.stdout, no_color=arguments.no_color)
    environ = environment()
    findings = find(environ)
    if arguments.json:
        screen.raw(json.dumps(_found(findings, environ), indent=2) + "\n")
        return MISUSED if findings.problems else 0
    _print_found(screen, findings, environ)
    return MISUSED if findings.problems else 0


def _found(findings: Findings, environ: Mapping[str, str]) -> Mapping[str, object]:
    """Return what `--json` prints; keys are masked."""
    workers = {
        name: {"provider": worker.kind.name, "settings": _settings(settings_of(worker, environ))}
        for name, worker in findings.workers.items()
    }
    return {
        "workers": workers,
        "gateway": _settings(findings.options),
        "problems": [*findings.problems],
        "hints": [*findings.hints],
    }


def _settings(settings: Iterable[Setting]) -> Mapping[str, Mapping[str, str]]:
    return {setting.name: {"value": setting.value, "from": setting.source} for setting in settings}


def _print_found(screen: Screen, findings: Findings, environ: Mapping[str, str]) -> None:
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
    else:
        screen.line(f"✓ {counted(len(findings.workers), 'worker')}, no problems.", Colour.GREEN)
