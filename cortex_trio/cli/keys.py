"""`cortex-trio keys`: the API keys of each worker, masked."""

from __future__ import annotations

import argparse
import sys

from ..gateway.settings.config import Config, environment
from .screen import Row, Screen
from .sources import settings_of


def keys(arguments: argparse.Namespace) -> int:
    """Print the masked form of each key and the variable it comes from. Returns 0. Raises ConfigError."""
    rows: list[Row] = []
    environ = environment()
    for name, worker in Config.from_env().workers.items():
        source = next(one.source for one in settings_of(worker, environ) if one.name == "api_keys")
        masked = [key.masked for key in worker.api_keys]
        rows += [Row((name, key, source)) for key in masked] or [Row((name, "none needed", ""))]
    Screen.on(sys.stdout, no_color=arguments.no_color).table(("worker", "key", "from"), rows)
    return 0
