"""Reads `$settings`, the entry of the object in CORTEX_PROVIDERS that is about the gateway and no worker.

Its fields are those of Config but for `workers`; times are in milliseconds, as everywhere in that object. Only the
units are handled here: `Config` checks the values.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ...failures import ConfigError
from ...failures.shown import closest, named, shown
from .fields import MAX_SECONDS

SETTINGS = "$settings"
PATH = f"$.{SETTINGS}"
MILLISECONDS = {
    "health_check_interval",
    "health_check_timeout",
    "connect_timeout",
    "idle_timeout",
    "content_timeout",
    "total_timeout",
    "max_wait",
    "rate_limit_rest",
}
"""Fields that are times."""


def settings_in(mapping: Any, allowed: Collection[str]) -> dict[str, Any]:
    """Return the fields of Config that `$settings` sets; empty if there is none.

    Args:
        mapping: the object in CORTEX_PROVIDERS.
        allowed: the names of these fields.

    Raises:
        ConfigError: a field is unknown, or a time is no number.
    """
    if not isinstance(mapping, Mapping) or SETTINGS not in mapping:
        return {}
    settings = mapping[SETTINGS]
    if not isinstance(settings, Mapping):
        raise ConfigError(PATH, f"an object of settings is needed, not {type(settings).__name__}")
    for name in settings:
        if name not in allowed:
            meant = closest(name, allowed) if isinstance(name, str) else None
            hint = f"; did you mean {meant}?" if meant else ""
            raise ConfigError(f"{PATH}.{named(name)}", f"unknown; allowed are {', '.join(allowed)}{hint}")
    return {
        name: _seconds(name, value) if name in MILLISECONDS else value for name, value in settings.items()
    }


def _seconds(name: str, value: Any) -> float:
    wanted = f"milliseconds are needed, a number from 0 to {MAX_SECONDS * 1000:.0f}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{PATH}.{name}", f"{wanted}, not {type(value).__name__}")
    if not 0 <= value <= MAX_SECONDS * 1000:
        raise ConfigError(f"{PATH}.{name}", f"{wanted}, not {shown(value)}")
    return value / 1000
