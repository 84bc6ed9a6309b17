"""`cortex-trio status`: the status of every worker, of a running program or of the environment."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from enum import Enum
from pathlib import Path

import attrs

from ..failures import InvalidRequest
from ..gateway.cortex import open_cortex
from ..gateway.settings.config import Config, config_from_env, environment
from ..gateway.workers.status import HealthStatus, WorkerInfo, health_of
from ..telemetry import Snapshot
from ..telemetry.socket_client import find_running, read_snapshot
from .facts import show_health
from .running import FAILED, run_until_signal
from .screen import Colour, Screen


def status(arguments: argparse.Namespace) -> int:
    """Print the status of every worker.

    A program that was opened with `observe` is asked if there is one; otherwise the workers of the environment are
    checked.

    Returns:
        The exit status: 0 if at least one worker is available, else 1.

    Raises:
        ConfigError: The environment names no provider, or configures one wrongly.
        InvalidRequest: No program serves snapshots on the socket.
    """
    return run_until_signal(lambda: _status(arguments))


async def _status(arguments: argparse.Namespace) -> int:
    facts = Screen.on(sys.stderr, no_color=arguments.no_color)
    found = None if arguments.check else await _running(arguments.socket)
    if found is None:
        health = await _check(await config_from_env())
    else:
        path, snapshot = found
        facts.line(f"of the program that is running with {path}; --check asks the providers", Colour.DIM)
        health = health_from(snapshot)
    screen = Screen.on(sys.stdout, no_color=arguments.no_color)
    if arguments.json:
        screen.raw(as_json(health) + "\n")
    else:
        show_health(screen, health)
    return FAILED if health.system_health == "unhealthy" else 0


async def _check(config: Config) -> HealthStatus:
    async with open_cortex(config) as cortex:
        return await cortex.check_health()


async def _running(named: str | None) -> tuple[Path, Snapshot] | None:
    if named is None:
        return await find_running(environment())
    path = Path(named.removeprefix("unix:"))
    try:
        return path, await read_snapshot(path)
    except (OSError, EOFError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InvalidRequest(f"{path}: {reason}") from error


def health_from(snapshot: Snapshot) -> HealthStatus:
    """Return the health status that a snapshot shows."""
    infos = [
        WorkerInfo(
            name=worker.name,
            provider=worker.provider,
            models=worker.models,
            priority=worker.priority,
            status=worker.status,
            reason=worker.reason,
            in_flight=worker.in_flight,
            requests=worker.requests,
            failures=worker.failures,
            restarts=worker.restarts,
            keys=[key.key for key in snapshot.keys_of(worker.name) if key.key is not None],
            since=worker.since,
            reopens_in=(worker.until - snapshot.at).total_seconds() if worker.until else None,
            latency=worker.latency,
        )
        for worker in snapshot.workers
    ]
    return health_of(infos, snapshot.checked_at)


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
