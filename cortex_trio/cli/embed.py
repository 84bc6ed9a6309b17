"""`cortex-trio embed`: one vector for each text, as lines of JSON."""

from __future__ import annotations

import argparse
import json
import sys

import attrs

from ..failures import InvalidRequest
from ..gateway.cortex import open_cortex
from ..gateway.settings.config import Config
from .choice import embedding_provider_of
from .prompt import has_terminal_input, read_input
from .running import run_until_signal
from .screen import Screen


def embed(arguments: argparse.Namespace) -> int:
    """Print the vectors in the order of the texts. Returns 0. Raises as `Cortex.embed`, and InvalidRequest."""
    texts = _texts(arguments)
    config = attrs.evolve(Config.from_env(), health_check_interval=0)
    return run_until_signal(lambda: _embed(config, texts, arguments))


def _texts(arguments: argparse.Namespace) -> list[str]:
    texts: list[str] = [text for text in arguments.texts if text != "-"]
    if "-" in arguments.texts or arguments.lines or (not texts and not has_terminal_input()):
        read = read_input()
        texts += read.splitlines() if arguments.lines else [read]
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise InvalidRequest("there is no text to embed")
    return texts


def _provider(config: Config, arguments: argparse.Namespace) -> str | None:
    """Return the provider to use: also for a model that no worker has configured but that a provider plainly serves."""
    model: str | None = arguments.model
    provider: str | None = arguments.provider
    if provider is not None or model is None or model in config.aliases:
        return provider
    if any(
        model in (*worker.models, *worker.embed_models, worker.kind.embed_model)
        for worker in config.workers.values()
    ):
        return None
    return embedding_provider_of(model, config.workers)


async def _embed(config: Config, texts: list[str], arguments: argparse.Namespace) -> int:
    screen = Screen.on(sys.stdout, no_color=True)
    async with open_cortex(config) as cortex:
        vectors = await cortex.embed(
            texts,
            model=arguments.model,
            provider=_provider(config, arguments),
            dimensions=arguments.dimensions,
        )
    for vector in vectors:
        screen.raw(json.dumps(list(vector)) + "\n")
    return 0
