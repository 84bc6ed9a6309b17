"""`cortex-trio models`: the models that the providers list now."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import attrs
import trio

from ..errors import ProviderError
from ..failures import InvalidRequest
from ..gateway.cortex import Cortex, open_cortex
from ..gateway.settings.config import Config
from .running import FAILED, run_until_signal
from .screen import Colour, Row, Screen, counted

HEADS = ("", "worker", "model")


def models(arguments: argparse.Namespace) -> int:
    """Print the models of all workers, or of one.

    Returns:
        The exit status: 1 if no worker has returned a list, else 0.

    Raises:
        ConfigError: The environment names no provider, or configures one wrongly.
        InvalidRequest: There is no worker of this name.
    """
    config = attrs.evolve(Config.from_env(), health_check_interval=0)
    names = [*config.workers]
    if arguments.worker is not None:
        if arguments.worker not in names:
            raise InvalidRequest(f"there is no worker {arguments.worker!r}; there are: {', '.join(names)}")
        names = [arguments.worker]
    return run_until_signal(lambda: _models(config, names, arguments))


async def _models(config: Config, names: Sequence[str], arguments: argparse.Namespace) -> int:
    lists: dict[str, Sequence[str]] = {}
    errors: dict[str, ProviderError] = {}

    async def read(cortex: Cortex, name: str) -> None:
        try:
            lists[name] = await cortex.models(worker=name)
        except ProviderError as error:
            errors[name] = error

    async with open_cortex(config) as cortex, trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(read, cortex, name)
    out = Screen.on(sys.stdout, no_color=arguments.no_color)
    if arguments.json:
        out.raw(json.dumps({name: list(lists[name]) for name in names if name in lists}, indent=2) + "\n")
    else:
        _print_lists(out, config, {name: lists[name] for name in names if name in lists})
    facts = Screen.on(sys.stderr, no_color=arguments.no_color)
    for name in names:
        if name in errors:
            facts.line(f"cortex-trio: {errors[name]}", Colour.RED)
    return 0 if lists else FAILED


def _print_lists(out: Screen, config: Config, lists: dict[str, Sequence[str]]) -> None:
    rows: list[Row] = []
    for name, listed in lists.items():
        own = config.workers[name].models or config.workers[name].kind.default_models
        for model in listed:
            used = model in own
            rows.append(Row(("*" if used else "", name, model), Colour.GREEN if used else Colour.PLAIN))
    out.table(HEADS, rows)
    out.line(f"{counted(len(rows), 'model')} of {counted(len(lists), 'worker')}")
