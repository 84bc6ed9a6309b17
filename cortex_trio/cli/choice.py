"""Which worker a command asks for: the options that choose one, and models that are not configured."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping

import attrs

from ..gateway.request.options import ChatOptions
from ..gateway.settings.config import Config, WorkerConfig
from ..providers import Provider

OTHER_FAMILIES: Mapping[str, tuple[str, ...]] = {"openai": ("o1", "o3", "o4", "chatgpt-")}
"""Beginnings of names that the provider's own data does not show, by the name of the provider."""


@attrs.frozen
class Choice:
    """The worker that a user wants. None in a field: any."""

    model: str | None = None
    provider: str | None = None
    worker: str | None = None

    @classmethod
    def of(cls, arguments: argparse.Namespace, config: Config) -> Choice:
        """Return the choice of the command line; see `for_any_model`."""
        return cls(arguments.model, arguments.provider, arguments.worker).for_any_model(config)

    def for_any_model(self, config: Config) -> Choice:
        """Return the choice with a provider, if a model is named that no worker has but that a provider plainly serves.

        With a provider, the gateway asks for any model.
        """
        if self.model is None or self.provider is not None or self.worker is not None:
            return self
        if self.model in config.aliases:
            return self
        if any(
            self.model in (worker.models or worker.kind.default_models) for worker in config.workers.values()
        ):
            return self
        return attrs.evolve(self, provider=provider_of(self.model, config.workers))

    def options(self) -> ChatOptions:
        """Return the options for `Cortex.chat`."""
        return {"model": self.model, "provider": self.provider, "worker": self.worker}


def configured(arguments: argparse.Namespace) -> Config:
    """Return the configuration of the environment, with the strategy of the command line. Raises ConfigError.

    Health checks are off: a command is over before they help, and a conversation pauses them while a user types.
    """
    config = attrs.evolve(Config.from_env(), health_check_interval=0)
    return attrs.evolve(config, strategy=arguments.strategy) if arguments.strategy else config


def provider_of(model: str, workers: Mapping[str, WorkerConfig]) -> str | None:
    """Return the name of the provider, among those of the workers, whose models are named like `model`; else None."""
    kinds = {worker.kind.name: worker.kind for worker in workers.values()}
    by_priority = sorted(kinds.values(), key=lambda kind: kind.priority)
    return next((kind.name for kind in by_priority if model.startswith(families(kind))), None)


def embedding_provider_of(model: str, workers: Mapping[str, WorkerConfig]) -> str | None:
    """Return the same for a model of embeddings: its name begins like that of the provider's own."""
    kinds = {worker.kind.name: worker.kind for worker in workers.values() if worker.kind.embed_model}
    beginnings = {name: re.match(r"[a-z-]*", kind.embed_model) for name, kind in kinds.items()}
    return next(
        (name for name, found in beginnings.items() if found and found[0] and model.startswith(found[0])),
        None,
    )


def families(kind: Provider) -> tuple[str, ...]:
    """Return how the names of a provider's models begin: "gpt-", "claude-", "openai/"."""
    names = [*kind.default_models, *kind.context_windows]
    found = [match[0] for name in names if (match := re.match(r"[a-z]+[-/]", name))]
    return (*dict.fromkeys(found), *OTHER_FAMILIES.get(kind.name.removesuffix("_responses"), ()))
