"""`cortex-trio keys`: the API keys of each worker, masked; `keys new NAME`: a key for a client of the server."""

from __future__ import annotations

import argparse
import json
import sys

from ..failures import InvalidRequest
from ..gateway.settings.config import Config, environment
from .screen import Row, Screen
from .sources import settings_of


def keys(arguments: argparse.Namespace) -> int:
    """Print the masked form of each key and the variable it comes from, or make a new one. Returns 0.

    Raises:
        ConfigError: the configuration is wrong.
        InvalidRequest: the new key has no name.
    """
    if arguments.action == "new":
        return _new(arguments.name)
    rows: list[Row] = []
    environ = environment()
    for name, worker in Config.from_env().workers.items():
        source = next(one.source for one in settings_of(worker, environ) if one.name == "api_keys")
        masked = [key.masked for key in worker.api_keys]
        rows += [Row((name, key, source)) for key in masked] or [Row((name, "none needed", ""))]
    Screen.on(sys.stdout, no_color=arguments.no_color).table(("worker", "key", "from"), rows)
    return 0


def _new(name: str | None) -> int:
    """Print a new key on standard output, and its object for the configuration, which has its hash only."""
    from ..server.virtual_keys import new_key, sha256_of

    if not name or not name.isprintable():
        raise InvalidRequest("keys new: a name is needed: cortex-trio keys new NAME")
    key = new_key()
    print(key)
    print(json.dumps({"name": name, "key_sha256": sha256_of(key)}))
    if sys.stdout.isatty():
        print(
            "The first line is the key: it is not kept and not shown again. The second line is for $keys in the "
            "configuration, or for --keys-file.",
            file=sys.stderr,
        )
    return 0
