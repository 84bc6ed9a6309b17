"""`cortex-trio status`: check every worker with a request that costs nothing."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from enum import Enum

import attrs

from ..gateway.cortex import open_cortex
from ..gateway.settings.config import Config
from ..gateway.workers.status import HealthStatus
from .facts import show_health
from .running import FAILED, run_until_signal
from .screen import Screen


def status(arguments: argparse.Namespace) -> int:
    """Print the status of every worker.

    Returns:
        The exit status: 0 if at least one worker is available, else 1.

    Raises:
        ConfigError: The environment names no provider, or configures one wrongly.
    """
    config = Config.from_env()
    return run_until_signal(lambda: _status(config, arguments))


async def _status(config: Config, arguments: argparse.Namespace) -> int:
    async with open_cortex(config) as cortex:
        health = await cortex.check_health()
    screen = Screen.on(sys.stdout, no_color=arguments.no_color)
    if arguments.json:
        screen.raw(as_json(health) + "\n")
    else:
        show_health(screen, health)
    return FAILED if health.system_health == "unhealthy" else 0


def as_json(health: HealthStatus) -> str:
    """Return the health status as JSON, with the names of its fields. Times are ISO 8601, in UTC."""
    return json.dumps(attrs.asdict(health, value_serializer=_plain), indent=2)


def _plain(_: object, __: object, value: object) -> object:
    match value:
        case datetime():
            return value.isoformat()
        case Enum():
            return value.value
        case _:
            return value
